"""Where starts really lead: runs of many calls, and how far these are to be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._lazy import torch
from ..denoiser import Denoise, rows_of
from ..levels import Level
from ..noise import Keyed
from ..sampling import sample, trajectory
from ..solvers import adams
from ..spacing import asinh
from ..tableau import START, Tableau

if TYPE_CHECKING:
    from torch import Tensor

    from ..conditions import Condition
    from ..schedules import Schedule

__all__ = ["Starts", "Task", "Way", "solve", "watch"]

FEWEST_STEPS, MOST_STEPS = 32, 128


@dataclass(frozen=True)
class Starts:
    """Runs to learn from or to be judged by: pictures ``indices`` of ``seed``, asked for by ``condition`` (a row for each),
    as ``denoiser`` sees them."""

    denoiser: Denoise
    indices: Sequence[int]
    condition: Condition | None = None
    seed: int = 0

    def part(self, rows: slice) -> Starts:
        """Some of them; what a guidance is told of each goes with it."""
        told = None if self.condition is None else self.condition.rows(rows)
        return Starts(rows_of(self.denoiser, rows, len(self.indices)), list(self.indices)[rows], told, self.seed)

    def draws(self, shape: Sequence[int]) -> Tensor:
        """The noise that the runs start from, (B, *)."""
        return Keyed(self.seed, list(self.indices), shape)(START)


@dataclass(frozen=True)
class Way:
    """The teacher's way from noise to data, for a few starts."""

    levels: list[Level]
    states: Tensor
    """(M + 1, B, *), at the levels."""
    beliefs: Tensor
    """(M, B, *), at all levels but the last."""
    doubt: float
    """By how much the ends moved when the number of steps was last doubled, as a share of their standard deviation."""

    @property
    def steps(self) -> int:
        """How many the teacher makes."""
        return len(self.levels) - 1


@dataclass(frozen=True)
class Task:
    """Starts and the ends that they should be led to."""

    starts: Starts
    noise: Tensor
    """(B, *), unit normals."""
    ends: Tensor
    """(B, *)."""


def teacher(levels: Sequence[Level]) -> Tableau:
    """Adams' method of order 4 on the velocity: on exact mixtures 64 of its steps end within 4e-4 of the truth."""
    return adams(levels, frame="flow", order=4)


def watch(starts: Starts, schedule: Schedule, shape: Sequence[int], tolerance: float, **options: Any) -> Way:
    """The teacher's way for ``starts`` (few: all of it is kept), with as many steps as it takes: they are doubled until the
    ends move by less than ``tolerance`` times their standard deviation, root mean square, or there are 128."""
    steps, before = FEWEST_STEPS, None
    while True:
        levels = asinh(schedule, steps)
        way = trajectory(starts.denoiser, (len(starts.indices), *shape), **_asked(starts, levels), **options)
        ends = way.pictures
        doubt = float("inf") if before is None else float((ends - before).pow(2).mean().sqrt() / ends.std())
        if doubt < tolerance or steps >= MOST_STEPS:
            beliefs = torch.stack([belief for belief in way.beliefs if belief is not None])
            return Way(levels, torch.stack(way.states), beliefs, doubt)
        steps, before = 2 * steps, ends


def solve(starts: Starts, schedule: Schedule, shape: Sequence[int], steps: int, **options: Any) -> Task:
    """The ends that the teacher finds in so many steps."""
    told = _asked(starts, asinh(schedule, steps))
    ends = sample(starts.denoiser, (len(starts.indices), *shape), **told, **options)
    return Task(starts, starts.draws(shape).to(ends), ends)


def _asked(starts: Starts, levels: list[Level]) -> dict[str, Any]:
    return {
        "solver": teacher,
        "levels": levels,
        "seed": starts.seed,
        "indices": list(starts.indices),
        "condition": starts.condition,
    }
