"""The numbers of a :class:`~noisepath.tuning.form.Form` fitted to a teacher's ends, by Gauss and Newton's method.

The ends of a run are a smooth function of few numbers, so its derivatives are taken by differences: nothing is asked of the
network but its answers (it may be compiled, quantised, or another library's), and a run whose first nodes are the same goes on
from there, with what the denoiser remembered there (:func:`noisepath.denoiser.fork`; one that can't tell is run anew).  With
residuals r_b (one start's ends less the teacher's, root mean square e_b) what is made small is

    mean_b  s^2 (sqrt(1 + e_b^2 / s^2) - 1)  +  ridge * sum_j ((n_j - n_j0) / scale_j)^2

s a few times the median of e_b: a start that is led to another mode pulls with a constant force, and not with the square of its
error.  Each iteration solves the weighted normal equations, damped until the objective falls (Levenberg, Marquardt).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._lazy import torch
from ..denoiser import Denoise, Moved, begin, fork
from ..tableau import Tableau
from .form import Form
from .teacher import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Errors", "Fit", "errors", "fit"]

_SCALES = {"place": 0.5, "noise": 0.05, "weight": 0.3}
"""By how much each kind of number may well differ from where it began."""
_STEPS = {"place": 2e-3, "noise": 1e-3, "weight": 2e-3}
"""Of the differences: far above the rounding of float32, far below the scales."""
_ROBUST = 3.0
_RIDGE = 1e-3
_PATIENCE = 4


@dataclass(frozen=True)
class Errors:
    """How far the ends of some starts are from the teacher's: each start's root mean square."""

    each: Tensor
    """(B,), float64."""

    @property
    def rmse(self) -> float:
        """Root mean square over everything; ruled by the starts that are led astray."""
        return float(self.each.pow(2).mean().sqrt())

    @property
    def median(self) -> float:
        """Of the starts."""
        return float(self.each.median())

    @property
    def figure(self) -> float:
        """What samplers are compared by: the geometric mean of both."""
        return math.sqrt(self.rmse * self.median)


@dataclass(frozen=True)
class Fit:
    """Fitted numbers, and the errors of held-out starts with them."""

    numbers: list[float]
    held_out: Errors


class _Run:
    """One batch of a task, run by tables that share their first nodes."""

    def __init__(self, task: Task, rows: slice) -> None:
        self._starts = task.starts.part(rows)
        self._noise, self.ends = task.noise[rows], task.ends[rows]
        self._states: list[Tensor] = []
        self._beliefs: list[Tensor | None] = []
        self._forks: list[Denoise | None] = []
        """The denoiser's run as it was before each node, and at the end."""
        self._table: Tableau = ()

    def go(self, table: Tableau, keep: bool = False) -> Tensor:
        """The ends of the batch; ``keep``: tables that begin as this one does will follow."""
        denoiser = self._starts.denoiser
        same = next((n for n, (a, b) in enumerate(zip(self._table, table, strict=False)) if a != b), len(self._table))
        run = self._resumed(same)
        if run is None:
            same, run = 0, begin(denoiser, [node.level for node in table if node.evaluate])
        states, beliefs, forks = self._states[:same], self._beliefs[:same], self._forks[:same]
        for n, node in enumerate(table[same:], same):
            forks.append(fork(denoiser, run) if keep else None)
            x = self._noise * node.level.sigma if n == 0 else torch.zeros_like(self._noise)
            for k, weight in node.states.items():
                x.add_(states[k], alpha=weight)
            for k, weight in node.outputs.items():
                x.add_(beliefs[k], alpha=weight)  # type: ignore[arg-type]
            belief = None
            if node.evaluate:
                answer = self._ask(run, x, node.level)
                if isinstance(answer, Moved):
                    raise ValueError("a denoiser that moves the state can't be tuned for: its way is no sum of its answers")
                belief = answer
            states.append(x)
            beliefs.append(belief)
        if keep:
            forks.append(fork(denoiser, run))
            self._states, self._beliefs, self._forks, self._table = states, beliefs, forks, table
        return states[-1]

    def _resumed(self, node: int) -> Denoise | None:
        """The denoiser's run as it was before a node of the table that was kept; None where that can't be had."""
        before = self._forks[node] if node < len(self._forks) else None
        return None if before is None else fork(self._starts.denoiser, before)

    def _ask(self, run: Denoise, x: Tensor, level: object) -> Tensor | Moved:
        told = self._starts.condition
        return run(x, level) if told is None else run(x, level, told.to(x.device))  # type: ignore[arg-type]


def _batches(tasks: Sequence[Task], size: int) -> Iterator[_Run]:
    for task in tasks:
        for first in range(0, len(task.noise), size):
            yield _Run(task, slice(first, first + size))


def errors(table: Tableau, tasks: Sequence[Task], batch_size: int) -> Errors:
    """Of every start of the tasks, in order."""
    with torch.no_grad():
        return Errors(torch.cat([_each(batch.go(table) - batch.ends) for batch in _batches(tasks, batch_size)]))


def _each(residuals: Tensor) -> Tensor:
    return residuals.flatten(1).pow(2).mean(1).sqrt().cpu().double()  # not every device has float64


def fit(
    form: Form,
    numbers: list[float],
    tasks: Sequence[Task],
    held_out: Sequence[Task],
    *,
    batch_size: int,
    iterations: int,
    told: Callable[[int, Errors], object] | None = None,
) -> Fit:
    """The best numbers found on the way from ``numbers``, as the held-out starts judge; these are never fitted to.

    told: called after each iteration with its number and the held-out errors.
    """
    kinds = [kind for kind, _, _ in form.kinds]
    scales = torch.tensor([_SCALES[kind] for kind in kinds], dtype=torch.float64)
    began = now = torch.tensor(numbers, dtype=torch.float64)
    found = errors(form.table(numbers), tasks, batch_size)
    best = Fit(numbers, errors(form.table(numbers), held_out, batch_size))
    damping, waited = 1e-2, 0
    for iteration in range(iterations if numbers else 0):  # a single step has nothing to be fitted
        robust = max(_ROBUST * found.median, 1e-9)
        normal, slope = _normal_equations(form, now, tasks, robust, batch_size)
        ridge = 2 * _RIDGE * _loss(found, robust) / scales**2
        before = _loss(found, robust)
        normal, slope = normal + torch.diag(ridge), slope + ridge * (now - began)
        before = before + 0.5 * float((ridge * (now - began) ** 2).sum())
        for _ in range(8):
            damp = damping * (normal.diagonal() + 1e-3 * normal.diagonal().mean())
            moved = now - torch.linalg.solve(normal + torch.diag(damp), slope)
            moved = torch.tensor(form.held(moved.tolist()), dtype=torch.float64)
            if form.fits(moved.tolist()):
                found_there = errors(form.table(moved.tolist()), tasks, batch_size)
                after = _loss(found_there, robust) + 0.5 * float((ridge * (moved - began) ** 2).sum())
                if after < before:
                    break
            damping = max(4 * damping, 1e-6)
        else:
            return best
        now, found, damping = moved, found_there, max(damping / 5, 1e-8)
        judged = errors(form.table(now.tolist()), held_out, batch_size)
        if told is not None:
            told(iteration, judged)
        waited = 0 if judged.figure < 0.998 * best.held_out.figure else waited + 1
        if judged.figure < best.held_out.figure:
            best = Fit(now.tolist(), judged)
        if waited >= _PATIENCE or before - after < 1e-3 * before:
            break
    return best


def _loss(found: Errors, robust: float) -> float:
    return float((robust**2 * (torch.sqrt(1 + (found.each / robust) ** 2) - 1)).mean())


def _normal_equations(
    form: Form, numbers: Tensor, tasks: Sequence[Task], robust: float, batch_size: int
) -> tuple[Tensor, Tensor]:
    """J' W J and J' W r of the robust loss, the sums over all starts; J by differences, a batch at a time."""
    count = len(numbers)
    total = sum(len(task.noise) for task in tasks)
    table, others = form.table(numbers.tolist()), [_stepped(form, numbers, j) for j in range(count)]
    normal, slope = torch.zeros(count, count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    with torch.no_grad():
        for batch in _batches(tasks, batch_size):
            ends = batch.go(table, keep=True)
            residuals = ends - batch.ends
            each = _each(residuals)
            weight = (1 / torch.sqrt(1 + (each / robust) ** 2) / (total * residuals[0].numel())).sqrt()
            rows = torch.stack([(batch.go(other) - ends).flatten(1) / step for other, step in others])
            weight = weight.to(rows)[:, None]
            jacobian = (rows * weight).flatten(1)
            normal += (jacobian @ jacobian.T).cpu().double()
            slope += (jacobian @ (residuals.flatten(1) * weight).flatten()).cpu().double()
    return normal, slope


def _stepped(form: Form, numbers: Tensor, j: int) -> tuple[Tableau, float]:
    """The table with one number a little changed, to the other side where there is no room."""
    step = _STEPS[form.kinds[j][0]]
    for signed in (step, -step):
        moved = numbers.clone()
        moved[j] += signed
        if form.fits(moved.tolist()):
            return form.table(moved.tolist()), signed
    return form.table(numbers.tolist()), math.inf  # no room on either side: it stays
