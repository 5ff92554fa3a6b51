"""Solvers side by side on one denoiser: how far each ends from where the probability flow would have led.

The flow's ODE has one solution for each initial noise.  The *reference* is that solution for pictures 0 .. n-1 of a seed:
exponential Adams of order 4, evenly in log-SNR, with the number of calls doubled until the final pictures move by less than a
tolerance (RMS); like every usual run it makes its last step, from the schedule's smallest noise to data, with the last belief.
A deterministic solver is then judged by the distance of its own pictures, of the same noise, from these:

    rmse      root of the mean square difference over all values of all pictures
    median    of the pictures' own root mean square differences: what a typical picture has, whatever a few do

A spacing that begins at another level than the schedule's noisiest ("leading") is charged with that too.  A solver that draws
noise on the way follows no single path: it has no such distance (None), and is shown by its pictures alone.  Distances below
what the reference itself moved by say nothing.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ._lazy import torch
from .denoiser import Denoise
from .errors import lookup, once, unknown, warn, whole
from .guidance import classifier_free
from .loop import Event
from .sampling import DEFAULTS, Options, out_of_range, sampled, steps_within
from .solvers import Build, exponential_adams, find, resolve
from .spacing import SPACINGS, log_snr, most_steps
from .tableau import calls as count_calls
from .tableau import draws
from .tuned import Tuned
from .widths import told

if TYPE_CHECKING:
    from torch import Tensor

    from .conditions import Condition
    from .levels import Level
    from .schedules import Schedule

__all__ = ["TUNED", "Comparison", "Entry", "Reference", "compare"]

REFERENCE_CALLS, MOST_REFERENCE_CALLS = 64, 1024
TOLERANCE = 0.002
"""A quarter of the step between two of 256 grey values, which is 2/255."""
CALLS = (5, 10, 20)
TUNED = "tuned"
"""What tuned samplers are called here; their spacing is their own."""
_FORMAT = "noisepath comparison 1"


@dataclass(frozen=True)
class Reference:
    """How the reference was found at one guidance scale."""

    guidance: float
    calls: int
    moved: float | None
    """RMS by which the pictures moved when the calls were last doubled; None if there was no room to double them."""
    tolerance: float
    pictures: Tensor | None = field(default=None, compare=False, repr=False)
    """The first few of them, (K, *)."""

    @property
    def converged(self) -> bool:
        """Whether the last doubling moved the pictures by less than the tolerance."""
        return self.moved is not None and self.moved < self.tolerance


@dataclass(frozen=True)
class Entry:
    """One solver with one number of steps."""

    solver: str
    spacing: str
    guidance: float
    steps: int
    calls: int
    """Of the denoiser; guidance asks the network for two pictures in each."""
    rmse: float | None
    median: float | None
    pictures: Tensor | None = field(default=None, compare=False, repr=False)
    """The first few, (K, *): those of the reference's noise."""

    @property
    def name(self) -> str:
        """Solver and spacing as they are said in one word."""
        return f"{self.solver}@{self.spacing}"


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found; equal to another one whose figures are equal, whatever pictures are kept."""

    n: int
    seed: int
    shape: tuple[int, ...]
    """Of one picture."""
    references: tuple[Reference, ...]
    """One for each guidance scale."""
    entries: tuple[Entry, ...]

    def reference(self, guidance: float) -> Reference:
        """The one at this scale."""
        return next(found for found in self.references if found.guidance == guidance)

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values for JSON; the pictures are left out."""
        bare = replace(
            self,
            references=tuple(replace(found, pictures=None) for found in self.references),
            entries=tuple(replace(entry, pictures=None) for entry in self.entries),
        )
        plain = asdict(bare)
        for row in (*plain["references"], *plain["entries"]):
            del row["pictures"]
        return {"format": _FORMAT, **plain}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Comparison:
        """The comparison that :meth:`to_dict` given of; ValueError for anything else."""
        if given.get("format") != _FORMAT:
            raise ValueError(f"this is no comparison of solvers: its format is {given.get('format')!r}, not {_FORMAT!r}")
        try:
            return cls(
                n=given["n"],
                seed=given["seed"],
                shape=tuple(given["shape"]),
                references=tuple(Reference(**row) for row in given["references"]),
                entries=tuple(Entry(**row) for row in given["entries"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"this comparison of solvers lacks a value, or has one too many: {error}") from error


def compare(
    denoiser: Denoise,
    solvers: Sequence[str] | Mapping[str, str | Build] = (DEFAULTS.solver,),
    *,
    calls: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    spacings: Sequence[str] = (DEFAULTS.spacing,),
    tuned: Sequence[Tuned] = (),
    guidance: Sequence[float] = (1.0,),
    condition: Condition | None = None,
    n: int = 64,
    shape: Sequence[int] | None = None,
    schedule: Schedule | None = None,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    keep: int = 8,
    batch_size: int | None = None,
    progress: bool = False,
    dtype: torch.dtype | None = None,
) -> Comparison:
    """Run every solver with every number of calls (or steps), and measure its distance from the reference.

    Args:
        denoiser: as for :func:`noisepath.sample`.
        solvers: names of ``SOLVERS``, each alone (with every spacing of ``spacings``) or as "solver@spacing"; or a mapping
            from a label to a name or to a function from levels to a tableau.
        calls: the most that a run may ask the denoiser (default 5, 10, 20): each makes as many steps as fit; or
        steps: the numbers of steps.
        spacings: names of ``SPACINGS``.
        tuned: samplers tuned to the model, each compared where the calls asked for (or steps) are its own.
        guidance: classifier-free guidance scales (1 is none); each has a reference of its own.
        condition: what is asked for, with a row for each of the n pictures.
        n: how many pictures.
        shape: of one picture (default: ``denoiser.info["shape"]``).
        schedule: where the levels are taken from (default: ``denoiser.schedule``).
        seed: picture i depends on (seed, i) alone, and begins with the same noise in every run.
        tolerance: the reference is converged when twice the calls move its pictures by less than this (RMS).
        keep: how many pictures of each run are kept.
        batch_size, progress, dtype: as for :func:`noisepath.sample`.

    ValueError, before any work, for names and numbers that can't be had.
    """
    counts = _counts(calls, steps)
    size = _shape_of(denoiser, shape)
    source = schedule if schedule is not None else getattr(denoiser, "schedule", None)
    width: float | None = getattr(denoiser, "data_scale", None)
    if source is None:
        raise ValueError("this denoiser has no schedule to take levels from: say schedule=")
    _check(n, keep, tolerance, guidance)
    guided = {float(scale): classifier_free(denoiser, scale) for scale in guidance}
    runs = [
        *_planned(
            _contenders(solvers, spacings, width) if solvers or not tuned else [], source, counts, width, within=steps is None
        ),
        *_tuned(tuned, source, counts, list(guided.values())),
    ]
    with _Bar(progress) as bar, once():
        work = _Work((n, *size), source, condition, seed, batch_size, dtype, bar)
        bar.expect(work.batches * len(guided) * sum(run.calls for run in runs))
        found = [_compared(work, model, scale, runs, tolerance, keep) for scale, model in guided.items()]
    references, entries = zip(*found, strict=True)
    _warn_of_range(work.off)
    return Comparison(n, seed, size, references, tuple(itertools.chain.from_iterable(entries)))


def _compared(
    work: _Work, model: Denoise, scale: float, runs: Sequence[_Run], tolerance: float, keep: int
) -> tuple[Reference, list[Entry]]:
    """The reference at one guidance scale, and every run's distance from it."""
    most = max(run.calls for run in runs)
    room = min(most_steps(work.schedule) or sys.maxsize, max(MOST_REFERENCE_CALLS, 4 * most))
    solved = partial(work.solved, model)
    truth, reference = _reference(solved, max(REFERENCE_CALLS, 2 * most), room, tolerance, scale)
    entries = []
    for run in runs:
        made = work.pictures(model, run.sampler, run.levels)
        rmse, median = (None, None) if run.stochastic else _distances(made, truth)
        entries.append(Entry(run.solver, run.spacing, scale, run.steps, run.calls, rmse, median, made[:keep].clone()))
    return replace(reference, pictures=truth[:keep].clone()), entries


@dataclass(frozen=True)
class _Work:
    """How pictures are made: the same ones, of the same noise, in every run."""

    shape: tuple[int, ...]
    """(n, *)."""
    schedule: Schedule
    condition: Condition | None
    seed: int
    batch_size: int | None
    dtype: torch.dtype | None
    bar: _Bar
    off: list[str] = field(default_factory=list)
    """What is wrong with each run whose samples lie far outside of the data's range."""

    @property
    def batches(self) -> int:
        count = self.shape[0]
        return -(-count // (self.batch_size or count))

    def pictures(self, denoiser: Denoise, solver: Build | Tuned, levels: Sequence[Level] | None) -> Tensor:
        """Those of one run, on the CPU."""
        options: Options = {
            "solver": solver,
            "levels": levels,
            "schedule": self.schedule,
            "condition": self.condition,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "dtype": self.dtype,
            "callback": self.bar.count,
        }
        samples = sampled(denoiser, self.shape, options).cpu()
        problem = out_of_range(samples, denoiser)
        if problem is not None:
            self.off.append(problem)
        return samples

    def solved(self, denoiser: Denoise, calls: int) -> Tensor:
        """The flow's, by the reference's solver with so many calls."""
        self.bar.expect(self.batches * calls)
        return self.pictures(denoiser, partial(exponential_adams, order=4), log_snr(self.schedule, calls))


def _warn_of_range(problems: Sequence[str]) -> None:
    """One warning for all runs whose samples lie far outside of the data's range."""
    if problems:
        warn(f"the samples of {len(problems)} runs are no samples of the data, so their distances say little: {problems[0]}")


# --- the truth -------------------------------------------------------------------------------------------------------


def _reference(
    solved: Callable[[int], Tensor], first: int, room: int, tolerance: float, scale: float
) -> tuple[Tensor, Reference]:
    """The flow's pictures (n, *), and how they were found: ``solved(calls)``, from ``first`` to at most ``room`` calls."""
    made = min(first, room)
    truth, moved = solved(made), None
    while made < room and (moved is None or moved >= tolerance):
        made = min(2 * made, room)
        finer = solved(made)
        moved, truth = _distances(truth, finer)[0], finer
    return truth, Reference(scale, made, moved, tolerance)


def _distances(made: Tensor, truth: Tensor) -> tuple[float, float]:
    """(rmse, median) between pictures (n, *)."""
    squares = (made.double() - truth.double()).square().flatten(1).mean(1)
    return float(squares.mean().sqrt()), float(squares.sqrt().median())


# --- what is compared ------------------------------------------------------------------------------------------------


class _Contender(NamedTuple):
    label: str
    build: Build
    spacing: str


class _Run(NamedTuple):
    solver: str
    spacing: str
    sampler: Build | Tuned
    levels: list[Level] | None
    steps: int
    calls: int
    stochastic: bool


def _contenders(
    solvers: Sequence[str] | Mapping[str, str | Build], spacings: Sequence[str], width: float | None
) -> list[_Contender]:
    """Each solver with its own spacing, or with every one of ``spacings``."""
    if isinstance(solvers, str) or isinstance(spacings, str):
        raise TypeError('solvers and spacings are lists of names, such as ["ddim", "heun@karras"]')
    if not solvers or not spacings:
        raise ValueError("there is nothing to compare: at least one solver and one spacing are needed")
    for spacing in spacings:
        lookup(SPACINGS, spacing, "spacing")
    named = dict(solvers) if isinstance(solvers, Mapping) else None
    found = []
    for label in solvers:
        given: str | Build = label if named is None else named[label]
        name, at, own = given.partition("@") if isinstance(given, str) else ("", "", "")
        if at and own not in SPACINGS:
            raise unknown(f"spacing in {given!r}", own, SPACINGS)
        build = resolve(name if isinstance(given, str) else given, width)
        found += [
            _Contender(find(name) if named is None else label, build, spacing) for spacing in ([own] if at else spacings)
        ]
    names = [f"{contender.label}@{contender.spacing}" for contender in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} would be compared with itself: each solver and spacing is named once")
    return found


def _planned(
    contenders: Sequence[_Contender], schedule: Schedule, counts: Sequence[int], width: float | None, *, within: bool
) -> Iterator[_Run]:
    """Every run that is to be made; ``within``: the counts are calls, and each makes as many steps as fit."""
    for label, build, spacing in contenders:
        fitting = partial(steps_within, schedule, solver=build, spacing=spacing, data_scale=width)
        numbers = [fitting(n) for n in counts] if within else counts
        for steps in dict.fromkeys(numbers):
            levels = told(SPACINGS[spacing], width)(schedule, steps)
            table = build(levels)
            yield _Run(label, spacing, build, levels, steps, count_calls(table), bool(draws(table)))


def _tuned(
    tuned: Sequence[Tuned], schedule: Schedule, counts: Sequence[int], models: Sequence[Denoise]
) -> Iterator[_Run]:
    """The tuned samplers for these counts; there must be one at least, and each must hold for all models."""
    known = {sampler.calls: sampler for sampler in tuned}
    for sampler in tuned:
        sampler.check(schedule)
    if known and not known.keys() & set(counts):
        there, asked = (", ".join(map(str, sorted(numbers))) for numbers in (known, counts))
        raise ValueError(f"samplers were tuned for {there} calls, but {asked} are asked for")
    for count in counts:
        if count in known:
            for model in models:
                known[count].check_view(model)
            yield _Run(TUNED, "own", known[count], None, count, count, False)


def _counts(calls: Sequence[int] | None, steps: Sequence[int] | None) -> Sequence[int]:
    if calls is not None and steps is not None:
        raise ValueError("say either steps or calls, not both")
    what, counts = ("steps", steps) if steps is not None else ("calls", CALLS if calls is None else calls)
    counts = [whole(count, f"a number of {what} must be a whole number, 1 or more", 1) for count in counts]
    if not counts or len(set(counts)) < len(counts):
        raise ValueError(f"{what} must name one number or more, each once, but are {list(counts)}")
    return sorted(counts)


def _shape_of(denoiser: Denoise, shape: Sequence[int] | None) -> tuple[int, ...]:
    known = getattr(denoiser, "info", {}).get("shape") if shape is None else shape
    if known is None:
        raise ValueError("this denoiser does not say what shape its pictures have: say shape=, that of one picture")
    return tuple(known)


def _check(n: int, keep: int, tolerance: float, guidance: Sequence[float]) -> None:
    for name, value, least in (("n", n, 1), ("keep", keep, 0)):
        whole(value, f"{name} is a number of pictures, {least} or more", least)
    if not tolerance > 0:
        raise ValueError(f"the tolerance of the reference must be above 0, but is {tolerance}")
    if not guidance or len(set(guidance)) < len(guidance):
        raise ValueError(f"guidance must name one scale or more (1 is none), each once, but is {list(guidance)}")


class _Bar:
    """A bar of the calls that are made, which learns while they are made how many the reference needs."""

    def __init__(self, progress: bool) -> None:
        self._bar: Any = None
        if progress:
            from tqdm import tqdm

            self._bar = tqdm(total=0, unit="call", desc="comparing")

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *ended: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def expect(self, calls: int) -> None:
        """So many calls more."""
        if self._bar is not None:
            self._bar.total += calls

    def count(self, event: Event) -> None:
        """One is made, if the denoiser was asked."""
        if self._bar is not None and event.output is not None:
            self._bar.update()
