"""Where tuning begins: solvers of several frames, and levels that are known or found by dynamic programming."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from .._lazy import torch
from ..levels import Level
from ..solvers import adams, adams_moulton, exponential_adams, unipc
from ..spacing import Spacing, alpha_bar, asinh, kl_optimal, reach
from ..tableau import Tableau, ratio

if TYPE_CHECKING:
    from ..schedules import Schedule
    from .teacher import Way

__all__ = ["bases", "grids", "searched"]

Build = Callable[[Sequence[Level]], Tableau]

WIDER = 2.0
"""Levels for data so many times as wide are tried too: they decide modes better, and detail worse."""


def bases(data_scale: float) -> Mapping[str, Build]:
    """The solvers that are tried, by name: one call a step, in every frame; ``data_scale`` is the data's width."""
    made: dict[str, Build] = {
        "the default solver": partial(adams_moulton, data_scale=data_scale),
        "flow 3": partial(adams, frame="flow", order=3),
        "trig 3": partial(adams, frame="trig", order=3),
        "x0 2": partial(exponential_adams, order=2),
        "deis 3": partial(adams, frame="deis", order=3),
        "unipc 2": partial(unipc, order=2),
    }
    if not 0.8 < data_scale < 1.25:  # else the same again
        for frame in ("flow", "trig"):
            made[f"{frame} 3, scale {data_scale:.2g}"] = partial(adams, frame=frame, order=3, data_scale=data_scale)
    return made


def grids(schedule: Schedule, calls: int, way: Way, data_scale: float) -> dict[str, list[Level]]:
    """The levels that are tried, by name; those of spacings that this schedule has no room for are left out."""
    tried: dict[str, Spacing] = {
        "alpha_bar": partial(alpha_bar, data_scale=data_scale),
        "wider alpha_bar": partial(alpha_bar, data_scale=WIDER * data_scale),
        "asinh": asinh,
        "kl_optimal": kl_optimal,
    }
    found = {}
    for name, spacing in tried.items():
        levels = spacing(schedule, calls)
        if all(t.noise_ratio > s.noise_ratio for t, s in pairwise(levels)):
            found[name] = levels
    if (best := searched(schedule, calls, way)) is not None:
        found["searched"] = best
    return found


def searched(schedule: Schedule, calls: int, way: Way) -> list[Level] | None:
    """The levels on the teacher's way whose steps, each by DDIM from the teacher's own state, err least in sum.

    (GITS: Chen et al. 2405.11326, section 4.)  An error made at noise ratio rho moves the end by about c / sqrt(c^2 + rho^2)
    times itself, with c the standard deviation of the ends: so for Gaussian data, exactly.  None if the way is too short.
    """
    levels = way.levels
    count = len(levels) - 1  # steps of the teacher
    if not 1 <= calls <= count:
        return None
    _, _, smallest = reach(schedule)
    scale = float(way.states[-1].std())
    cost = torch.full((count + 1, count + 1), math.inf, dtype=torch.float64)
    for i, t in enumerate(levels[:-1]):
        for j in range(i + 1, count + 1):
            s = levels[j]
            if j < count and s.noise_ratio < smallest:
                continue
            r = ratio(t, s)
            made = (s.sigma / t.sigma) * way.states[i] + (s.alpha * (1.0 - r)) * way.beliefs[i]
            away = ((made - way.states[j]) / s.alpha).flatten(1).pow(2).mean(1).sqrt().mean()
            cost[i, j] = float(away) * scale / math.hypot(scale, s.noise_ratio)
    return [levels[i] for i in _cheapest(cost, calls)]


def _cheapest(cost: torch.Tensor, steps: int) -> list[int]:
    """The path from the first place to the last in so many steps whose costs have the least sum (Bellman)."""
    places = len(cost)
    best = torch.full((places,), math.inf, dtype=torch.float64)
    best[0] = 0.0
    came: list[list[int]] = []
    for _ in range(steps):
        total = best[:, None] + cost
        best, before = total.min(0)
        came.append(before.tolist())
    path = [places - 1]
    for before_ in reversed(came):
        path.append(before_[path[-1]])
    return path[::-1]
