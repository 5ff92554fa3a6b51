"""One comparison of a solver with a sampler elsewhere: the problem, the levels, the draws and the difference.

The denoiser is an exact mixture's; levels, start and draws are the same on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from _peers import preserving
from noisepath.exact import Mixture
from noisepath.levels import Level
from noisepath.loop import run_loop
from noisepath.schedules import schedule
from noisepath.solvers import SOLVERS, Build, unguarded
from noisepath.spacing import karras
from noisepath.tableau import Draw

STEPS = (4, 8, 15)
TARGET = 1e-8
BELIEF = Mixture([0.5, 0.3, 0.2], [[0.8, -0.5, 0.1], [-0.7, 0.2, 0.4], [0.1, 0.9, -1.0]], [0.1, 0.2, 0.15]).denoiser()
SEED = torch.Generator().manual_seed(2)
START = torch.randn(6, 3, dtype=torch.float64, generator=SEED)
Z = torch.randn(4, 64, 6, 3, dtype=torch.float64, generator=SEED)  # stage, step
Run = tuple[list[Level], Tensor, Tensor]  # the levels, the start, what the peer made of it
Peer = Callable[[int], Run]


class Pair(NamedTuple):
    """One comparison."""

    solver: str
    options: str
    build: Build
    library: str
    name: str
    peer: Peer
    reason: str = ""
    """Why the two differ, where they must."""
    over: Sequence[int] = STEPS
    """Numbers of steps."""


def pair(solver: str, library: str, name: str, peer: Peer, reason: str = "", **options: Any) -> Pair:
    """A solver of the catalogue with these options, as it is published, and its peer."""
    text = ", ".join(f"{k}={v}" for k, v in options.items())
    return Pair(solver, text, unguarded(partial(SOLVERS[solver].build, **options)), library, name, peer, reason)


def belief(x: Tensor, level: Level) -> Tensor:
    return BELIEF(x, level)


def ours(build: Build, levels: Sequence[Level], start: Tensor) -> Tensor:
    def noise(place: Draw) -> Tensor:
        return Z[place.stage, place.step]

    return run_loop(build(levels), belief, start, noise)


def difference(build: Build, peer: Peer, over: Sequence[int] = STEPS) -> float:
    """The worst over these numbers of steps; infinite where a sample is not finite."""
    worst = 0.0
    for steps in over:
        levels, start, theirs = peer(steps)
        apart = float((ours(build, levels, start) - theirs).abs().max() / theirs.abs().max())
        worst = max(worst, apart if math.isfinite(apart) else math.inf)
    return worst


def exploding(steps: int, *, to_data: bool = True) -> list[Level]:
    """Karras' levels from 14 to 0.03, and 0 where asked for."""
    levels = karras(schedule("edm", sigma_min=0.03, sigma_max=14.0), steps)
    return levels if to_data else [Level(1.0, s) for s in ratios(steps)]


def ratios(steps: int) -> list[float]:
    """sigma / alpha of ``steps + 1`` of Karras' levels, the last 0.03."""
    return [level.sigma for level in karras(schedule("edm", sigma_min=0.03, sigma_max=14.0), steps + 1)[:-1]]


def even(steps: int) -> list[Level]:
    """Variance preserving levels uniform in log-SNR: where inner levels at equal shares are levels of the run."""
    return preserving([14.0 * (0.03 / 14.0) ** (i / steps) for i in range(steps + 1)])


def start_at(level: Level) -> Tensor:
    return level.sigma * START
