"""Inversion: the noise from which a solver's run leads to a given picture.

The solver run on the reversed grid makes each step up with the belief at its cleaner end, where the step down uses that at
its noisier end: plain inversion (Song et al. 2010.02502, section 4.3), off by what a step changes.  Here each step is solved:
with F(x_t) the solver's own step from t to s, the x_t is looked for with F(x_t) = x_s.  The plain answer begins, and

    x <- x + (x_s - F(x)) / F',       F' = sigma_s / sigma_t + alpha_s (1 - r) alpha_t / (alpha_t^2 + sigma_t^2)

goes on, F' being DDIM's slope for data of unit width.  It is finite at both ends, where the rule x <- (x_s - b D(x)) / a of
ReNoise (Garibi et al. 2403.14602) and AIDI (Pan et al. 2309.04907) divides by an a of 0; with DDIM's steps, for Gaussian data
no wider than that, it converges, however long they are.  As in AIDI it is accelerated by Anderson's method, for each picture
on its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from .. import noise
from .._lazy import torch
from ..batches import in_batches
from ..conditions import Condition, for_batch
from ..denoiser import Denoise, Moved, begin, check_denoiser, device_named, device_of, fork, rows_of
from ..errors import whole
from ..levels import Level
from ..loop import Plan, Run, plan, run_loop
from ..sampling import check_run, design
from ..solvers import Build, ddim, resolve
from ..spacing import Spacing
from ..tableau import Tableau, draws, ratio, split
from .midway import check_pictures

if TYPE_CHECKING:
    from torch import Tensor

    from ..schedules import Schedule

__all__ = ["Step", "check_iterations", "falling", "invert", "running", "solved", "step_of"]

# How many earlier iterates Anderson's method looks back at.
_MEMORY = 3


def invert(
    denoiser: Denoise,
    pictures: Tensor,
    *,
    solver: str | Build = "ddim",
    steps: int | None = None,
    spacing: str | Spacing | None = None,
    levels: Sequence[Level] | None = None,
    schedule: Schedule | None = None,
    condition: Condition | None = None,
    iterations: int = 5,
    seed: int | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The noise z (B, *) from which ``sample`` with the same solver, steps and condition leads back to the pictures:

        sample(denoiser, pictures.shape, noise=lambda place: z, solver=..., steps=..., condition=...)

    Args:
        denoiser: D(x, level, condition=None); not one that moves the state.
        pictures: (B, *), floats in the data's range.
        solver: one without noise whose steps look back at nothing before them (ddim, heun, midpoint, rk4, dpmpp_2s ...).
        steps, spacing, levels, schedule: of the run to invert, as in :func:`noisepath.sampling.sample`.
        condition: what the pictures are taken to be, a row for each.
        iterations: how often each step is tried; each costs the calls of a step.  0 is plain inversion, on the reversed grid.
        seed: begin from the pictures with noise of the run's last level above data, picture i's a function of (seed, i).  Where
            data do not vary, as at a blank border, a clean picture says nothing of the noise that led to it, and the z found is
            too short; with some of its own z is a fair draw there too, and leads back to the picture as it is seen through that
            noise.  None: from the pictures as they are, met as nearly as can be.
        batch_size, device, dtype: as in :func:`noisepath.sampling.sample`.

    A picture that no noise leads to is met as nearly as the iterations found.  ValueError, before any work, for a solver that
    draws noise or looks back, for a single step from pure noise to data, which forgets its noise, and for a seed where the run
    does not end at data.
    """
    check_pictures(pictures)
    check_iterations(iterations)
    path = falling(denoiser, schedule, steps, spacing, levels)
    build = resolve(solver, getattr(denoiser, "data_scale", None))
    going = _steps(path, build)
    if seed is not None:
        pictures, going = _noised(pictures, path, seed), going[:-1]

    def up(run: Run, x: Tensor) -> Tensor:
        for step in reversed(going):
            x = solved(step, run, x, iterations)
        return x / path[0].sigma

    asked = [node.level for step in going for table in (step.rise, step.table) for node in table if node.evaluate]
    return running(denoiser, asked, pictures, up, condition, batch_size, device, dtype)


def _noised(pictures: Tensor, path: Sequence[Level], seed: int) -> Tensor:
    """The pictures at the last level of a run above data."""
    last, end = path[-2:]
    if not end.is_data:
        raise ValueError(
            f"a seed gives pictures the last noise before data, but this run ends where they have some (sigma = {end.sigma:g})"
        )
    z = noise.normal(noise.key(seed, "inversion"), range(len(pictures)), pictures.shape[1:])
    return pictures * last.alpha + z.to(pictures) * last.sigma


@dataclass(frozen=True)
class Step:
    """One step of the run to invert, from t down to s: its table, and that of the solver from s up to t (none from data)."""

    t: Level
    s: Level
    table: Tableau
    rise: Tableau
    slope: float
    down: Plan = field(repr=False)

    def guess(self, run: Run, x: Tensor) -> Tensor:
        """Plain inversion: the solver's own step up; from data, where there is no noise estimate, the picture faded."""
        return run_loop(self.rise, run, x) if self.rise else x * self.t.alpha


def step_of(t: Level, s: Level, build: Build, table: Tableau | None = None) -> Step:
    """One step by itself, or as a run of more steps makes it (``table``)."""
    table = build([t, s]) if table is None else table
    if draws(table):
        raise ValueError(
            "a run that draws noise on the way does not follow from its start: invert with a solver without noise (ddim, heun)"
        )
    if s.is_data and t.is_noise:
        raise ValueError("one step from pure noise to data forgets its noise, so nothing leads back: take 2 steps or more")
    slope = s.sigma / t.sigma + s.alpha * (1.0 - ratio(t, s)) * t.alpha / (t.alpha**2 + t.sigma**2)
    return Step(t, s, table, () if s.is_data else build([s, t]), slope, plan(table))


def _steps(levels: Sequence[Level], build: Build) -> list[Step]:
    """The steps of the run, as it makes them; ValueError where one looks back at earlier ones."""
    run = build(levels)
    tables: Sequence[Tableau | None] | None = [None] * (len(levels) - 1) if draws(run) else split(run, levels)
    if tables is None:
        raise ValueError(
            "a solver that looks back at earlier steps can't be inverted step by step: take one that begins each step anew "
            "(ddim, heun, midpoint, rk4, dpmpp_2s)"
        )
    return [step_of(t, s, build, table) for (t, s), table in zip(pairwise(levels), tables, strict=True)]


def solved(step: Step, run: Run, target: Tensor, iterations: int) -> Tensor:
    """The x at the step's beginning that it leads from to ``target``, after so many trials; for each picture the better of
    the last trial's successor and the best trial."""
    x = step.guess(run, target)
    best, nearest = x, torch.full((len(x),), math.inf, dtype=torch.float32, device=x.device)
    tried: list[tuple[Tensor, Tensor]] = []
    for _ in range(iterations):
        missing = target - run_loop(step.down, run, x)
        far = missing.flatten(1).float().norm(dim=1)
        tried = [*tried[-_MEMORY:], (x, missing)]
        onward = _accelerated(tried, 1.0 / step.slope)
        better = _per_picture(far <= nearest, x)
        best, nearest = torch.where(better, onward, best), torch.minimum(far, nearest)
        x = onward
    return best


def _accelerated(tried: Sequence[tuple[Tensor, Tensor]], gain: float) -> Tensor:
    """Anderson's next iterate (1965): the combination of the last ones whose linear part misses least, and a step from there.

    With dX, dR the differences to the last x and its miss r:  x + gain r - (dX + gain dR) g,  g = argmin |r - dR g|.
    """
    x, missing = tried[-1]
    plain: Tensor = x + gain * missing
    if len(tried) == 1:
        return plain
    exact = torch.float32 if x.device.type == "mps" else torch.float64
    xs, misses = (torch.stack([pair[i].flatten(1).to(exact) for pair in tried[:-1]], 1) for i in (0, 1))
    last = missing.flatten(1).to(exact)
    d_x, d_miss = x.flatten(1).to(exact)[:, None] - xs, last[:, None] - misses
    square = d_miss @ d_miss.mT
    ridge = 1e-10 * square.diagonal(dim1=1, dim2=2).sum(1) + torch.finfo(exact).tiny
    square = square + ridge[:, None, None] * torch.eye(len(tried) - 1, dtype=exact, device=x.device)
    g = torch.linalg.solve(square, (d_miss @ last[:, :, None]))
    back: Tensor = ((d_x + gain * d_miss) * g).sum(1)
    return plain - back.reshape(x.shape).to(x.dtype)


def _per_picture(which: Tensor, like: Tensor) -> Tensor:
    return which.view(-1, *(1,) * (like.ndim - 1))


# What inversions share -----------------------------------------------------------------------------------------------------


def check_iterations(iterations: int) -> None:
    """ValueError for what is no number of trials."""
    whole(iterations, "iterations is a whole number, 0 or more", 0)


def falling(
    denoiser: Denoise,
    schedule: Schedule | None,
    steps: int | None,
    spacing: str | Spacing | None,
    levels: Sequence[Level] | None,
) -> list[Level]:
    """The levels of the run that is inverted: those that ``sample`` takes."""
    check_denoiser(denoiser)
    path = schedule if schedule is not None else getattr(denoiser, "schedule", None)
    scale = getattr(denoiser, "data_scale", None)
    table = design(path, solver=ddim, steps=steps, spacing=spacing, levels=levels, data_scale=scale)
    return [node.level for node in table]


def running(
    denoiser: Denoise,
    asked: Sequence[Level],
    pictures: Tensor,
    work: Callable[[Run, Tensor], Tensor],
    condition: Condition | None,
    batch_size: int | None,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> Tensor:
    """``work(run, x)`` of each batch, on the device, without gradients."""
    count = len(pictures)
    check_run(count, condition, batch_size, dtype)
    condition = for_batch(condition, count)
    there = device_of(denoiser) if device is None else device_named(device)
    plain = begin(denoiser, asked)
    if fork(denoiser, plain) not in (plain, None):
        raise ValueError(
            "this denoiser remembers its calls, so that the way back is no reversal of the way there: give one that does not "
            "(apg with momentum=0)"
        )

    def make(rows: slice) -> Tensor:
        told = None if condition is None else condition.rows(rows).to(there)
        begun = begin(rows_of(denoiser, rows, count), asked)

        def run(x: Tensor, level: Level) -> Tensor:
            belief = begun(x, level, told)
            if isinstance(belief, Moved):
                raise TypeError("a denoiser that moves the state can't be inverted")
            return belief

        return work(run, pictures[rows].to(there, dtype or torch.float32))

    with torch.no_grad():
        return torch.cat(list(in_batches(count, min(batch_size or count, count), make, there)))
