"""A sampler made to measure: :func:`tune`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import noise
from .._lazy import torch
from ..denoiser import Denoise
from ..errors import shown, whole
from ..gaussian_start import GaussianStart
from ..guidance.transformed import views_of
from ..levels import Level
from ..sampling import design
from ..schedules import begun
from ..spacing import most_steps, reach
from ..tuned import Tuned, fingerprint
from ..widths import data_scale
from .fit import Errors, Fit, errors, fit
from .form import Form
from .search import Build, bases, grids
from .teacher import Starts, Task, Way, solve, watch

if TYPE_CHECKING:
    from torch import Tensor

    from ..conditions import Condition
    from ..schedules import Schedule

__all__ = ["tune"]

TOLERANCE = 5e-3
"""How exact the teacher is to be, as a share of the data's standard deviation."""
WATCHED = 64
"""Starts whose whole way is looked at for levels."""
TRIED = 128
"""Starts that the candidates to begin from are judged by."""


def tune(
    denoiser: Denoise | Sequence[Denoise],
    shape: Sequence[int] | None = None,
    calls: int | Sequence[int] | None = None,
    *,
    steps: int | Sequence[int] | None = None,
    condition: Callable[[Sequence[int]], Condition] | None = None,
    starts: int = 256,
    held_out: int | None = None,
    begin_from: int = 2,
    analytic_start: bool = False,
    schedule: Schedule | None = None,
    seed: int = 0,
    batch_size: int = 256,
    progress: bool = False,
    told: Callable[[float, str], object] | None = None,
    **options: Any,
) -> list[Tuned]:
    """Samplers of so many calls, fitted to where the model's own runs of many calls end.

    Args:
        denoiser: the model; or several views of it, such as several guidance scales, that one sampler is to serve.
        shape: of one picture, without the batch (default: ``denoiser.info["shape"]``).
        calls: of the network; one number or several, one sampler for each.  Or
        steps: the same number, as a tuned sampler makes one call a step.
        condition: from pictures' numbers to what is asked for, a row for each; ``None`` for a model without conditions.
        starts: runs to fit to.
        held_out: runs that say when to stop, and whether anything was gained; as many if not given.
        begin_from: so many of the best solvers and levels are fitted to a quarter of the starts, and the best of them to all.
        analytic_start: begin each run with the flow of the Gaussian of the teacher's ends, down to a level that is chosen too
            (:mod:`noisepath.gaussian_start`): "n calls + analytic start".
        schedule: where levels are taken from (default: the denoiser's).
        seed: of the starts.  Sampling's pictures of the same seed are others: it uses the seed itself, this a key of it.
        batch_size: pictures at once; changes nothing but memory and speed.
        progress: show a bar, with the time that is left at most.
        told: called now and then with the share of the work that is done at most, 0 to 1, and a line about it.
        options: ``dtype`` and ``device`` of the runs, as for :func:`noisepath.sampling.sample`.

    Returns:
        One sampler for each number of calls, in order.  Its ``about`` holds the errors of held-out starts (root mean square
        over all, and the median of the starts') with it and with the default sampler, and the ``seconds`` that it took; where
        nothing better is found it is the default sampler.

    How long it takes is said once it is known, after the teacher's runs (``progress``, ``told``): for n calls and s starts the
    network answers for about 45 n (n + 2) s images at most, and for 64 s to 256 s before.

    ValueError for numbers that make no sense, a denoiser without a schedule, and a schedule without room for so many steps.
    """
    views = [denoiser] if callable(denoiser) else list(denoiser)
    wanted = _wanted(calls, steps)
    shape = shape_of(views[0] if views else None, shape)
    schedule = schedule if schedule is not None else getattr(views[0], "schedule", None) if views else None
    held_out = starts if held_out is None else held_out
    _check(views, wanted, starts, held_out, begin_from, schedule)
    assert schedule is not None
    with _bar(progress) as bar:
        say = told or bar or (lambda share, line: None)
        learn, judge = (
            _starts(views, condition, noise.key(seed, what), n) for what, n in (("tune", starts), ("judge", held_out))
        )
        way = watch(learn[0].part(slice(0, WATCHED)), schedule, shape, TOLERANCE, batch_size=batch_size, **options)
        say(0.0, f"the teacher takes {way.steps} steps; its pictures are known to {way.doubt:.1g} of their standard deviation")
        began = time.monotonic()
        tasks, held = (
            [solve(part, schedule, shape, way.steps, batch_size=batch_size, **options) for part in parts]
            for parts in (learn, judge)
        )
        each = (time.monotonic() - began) / ((starts + held_out) * way.steps)
        longest = each * sum(answers(number, starts, held_out, begin_from, analytic_start) for number in wanted)
        say(0.0, f"{'the sampler' if len(wanted) == 1 else f'all {len(wanted)} samplers'} in {spoken(longest)} at most")
        ends = torch.cat([task.ends for task in tasks])
        gaussian = GaussianStart.of(ends, way.levels[0]) if analytic_start else None
        scales = _Scales(getattr(views[0], "data_scale", None), _width(ends, schedule))
        seen = tuple(dict.fromkeys(views_of(view) for view in views))
        made = []
        for done, number in enumerate(wanted):

            def said(share: float, line: str, done: int = done) -> None:
                say((done + share) / len(wanted), line)

            work = _Work(schedule, way, scales, tasks, held, batch_size, begin_from, said, seen, gaussian)
            made.append(_tuned(work, number))
        return made


ITERATIONS = 12
"""Of Gauss and Newton's method at most, from each beginning."""
ROUNDING = 1e-6
"""A sampler that is so near is exact: what is left is not the solver's."""
STARTS = (1.0, 2.0, 4.0)
"""sigma / alpha at which an analytic start may end, in standard deviations of the data's strongest direction."""
SHARE = 4
"""Beginnings are fitted to one start in so many; the best of them goes on with all."""


class _Scales(NamedTuple):
    """How wide the data are."""

    told: float | None
    """By the denoiser."""
    own: float
    """By the teacher's ends."""


class _Work(NamedTuple):
    """What the samplers of all numbers of calls have in common."""

    schedule: Schedule
    way: Way
    scales: _Scales
    tasks: list[Task]
    held: list[Task]
    batch_size: int
    begin_from: int
    say: Callable[[float, str], object]
    views: tuple[tuple[str, ...], ...]
    start: GaussianStart | None = None


class _Candidate(NamedTuple):
    """A solver on levels that fitting may begin from."""

    figure: float
    name: str
    build: Build
    levels: list[Level]


def _tuned(work: _Work, calls: int) -> Tuned:
    began, schedule_mark = time.monotonic(), fingerprint(work.schedule)
    default = design(work.schedule, calls=calls, data_scale=work.scales.told)
    plain = errors(default, work.held, work.batch_size)
    best, table, base, start = plain, default, "the default sampler", None
    work, candidates = _best_start(work, calls)
    within = places_within(work.schedule)
    beginnings = candidates[: work.begin_from]
    stages = len(beginnings) + 2  # the last is counted twice: it has more starts

    def fitted(form: Form, numbers: list[float], tasks: list[Task], name: str, stage: int, weight: int = 1) -> Fit:
        def told(iteration: int, found: Errors) -> None:
            share = (stage + weight * (iteration + 1) / ITERATIONS) / stages
            work.say(share, f"{calls} calls, from {name}: error {found.figure:.4g} after fitting {iteration + 1} times")

        return fit(form, numbers, tasks, work.held, batch_size=work.batch_size, iterations=ITERATIONS, told=told)

    few = [_few(task, -(-len(task.noise) // SHARE)) for task in work.tasks]
    tried = []
    for stage, beginning in enumerate(beginnings):
        first, last = beginning.levels[0], beginning.levels[-1]
        form = Form(beginning.build, first, last, work.schedule.level_at, calls, within)
        tried.append((fitted(form, form.begin(beginning.levels), few, beginning.name, stage), form, beginning.name))
    begun_with, form, name = min(tried, key=lambda one: one[0].held_out.figure)
    found = fitted(form, begun_with.numbers, work.tasks, name, len(beginnings), 2)
    if found.held_out.figure < plain.figure and plain.figure > ROUNDING:
        best, table, base, start = found.held_out, form.table(found.numbers), name, work.start
    work.say(1.0, f"{calls} calls: error {best.figure:.4g}, from {base}; by default {plain.figure:.4g}")
    about = {
        "calls": calls,
        "from": base,
        "rmse": best.rmse,
        "median": best.median,
        "default_rmse": plain.rmse,
        "default_median": plain.median,
        "starts": sum(len(task.noise) for task in work.tasks),
        "held_out": sum(len(task.noise) for task in work.held),
        "teacher_steps": work.way.steps,
        "teacher_doubt": work.way.doubt,
        "analytic_start": None if start is None else table[0].level.noise_ratio,
        "seconds": round(time.monotonic() - began, 1),
    }
    return Tuned(table, schedule_mark, about, start, work.views)


def _best_start(work: _Work, calls: int) -> tuple[_Work, list[_Candidate]]:
    """What there is to do from the best level that an analytic start may lead to, if there is to be one; and candidates."""
    if work.start is None:
        return work, _candidates(work, calls)
    deviation = math.sqrt(float(work.start.variances[0]))
    ratios = [level.noise_ratio for level in work.way.levels]
    wanted = {min(range(1, len(ratios) - 1), key=lambda i: abs(math.log(ratios[i] / (r * deviation)))) for r in STARTS}
    tried = [(other, _candidates(other, calls)) for other in (_started(work, i) for i in sorted(wanted))]
    return min(tried, key=lambda one: one[1][0].figure)


def _started(work: _Work, place: int) -> _Work:
    """The same from a level of the teacher's way, where the analytic start has led to."""
    way, start, level = work.way, work.start, work.way.levels[place]
    assert start is not None

    def moved(task: Task) -> Task:
        return Task(task.starts, start(task.noise, level) / level.sigma, task.ends)

    cut = Way(way.levels[place:], way.states[place:], way.beliefs[place:], way.doubt)
    tasks, held = ([moved(task) for task in some] for some in (work.tasks, work.held))
    return work._replace(schedule=begun(work.schedule, level), way=cut, tasks=tasks, held=held)


def _candidates(work: _Work, calls: int) -> list[_Candidate]:
    """Solvers and levels, best first, each solver once: judged by a few of the starts that are fitted to."""
    few = [_few(task, max(TRIED // len(work.tasks), 1)) for task in work.tasks]
    best: dict[str, _Candidate] = {}
    levels = grids(work.schedule, calls, work.way, work.scales.own)
    for solver, build in bases(work.scales.own).items():
        for spacing, grid in levels.items():
            figure = errors(build(grid), few, work.batch_size).figure
            if solver not in best or figure < best[solver].figure:
                best[solver] = _Candidate(figure, f"{solver} on {spacing}", build, grid)
    return sorted(best.values(), key=lambda candidate: candidate.figure)


def _few(task: Task, count: int) -> Task:
    rows = slice(0, count)
    return Task(task.starts.part(rows), task.noise[rows], task.ends[rows])


def _width(ends: Tensor, schedule: Schedule) -> float:
    """How wide the data are by these, and no less than the least noise there is (all may end at one point)."""
    return max(data_scale(ends) or 0.0, reach(schedule)[2])


def places_within(schedule: Schedule) -> tuple[float, float]:
    """Least and greatest log(alpha / sigma) at which a run on the schedule may have an inner level."""
    _, largest, smallest = reach(schedule)
    return -math.log(largest), -math.log(smallest)


def _starts(
    views: Sequence[Denoise], condition: Callable[[Sequence[int]], Condition] | None, seed: int, count: int
) -> list[Starts]:
    """So many starts, dealt out to the views."""
    dealt = [range(n, count, len(views)) for n in range(len(views))]
    told = [None if condition is None else condition(numbers) for numbers in dealt]
    return [Starts(view, numbers, asked, seed) for view, numbers, asked in zip(views, dealt, told, strict=True)]


def _wanted(calls: int | Sequence[int] | None, steps: int | Sequence[int] | None) -> list[int]:
    """The numbers of calls; ValueError where both names have some, or neither."""
    if (calls is None) == (steps is None):
        what = "both are given" if calls is not None else "neither is given"
        raise ValueError(f"tuning takes calls=, or steps=, which are the same here, as in tune(model, steps=8), but {what}")
    given = calls if calls is not None else steps
    numbers = list(given) if isinstance(given, Iterable) else [given]
    return [_whole(number) for number in numbers]


def _whole(number: Any) -> int:
    try:
        return number if isinstance(number, bool) else index(number)
    except TypeError:
        raise ValueError(f"a sampler makes a whole number of calls, 1 or more, but {shown(number)} are asked for") from None


def shape_of(denoiser: Denoise | None, shape: Sequence[int] | None) -> tuple[int, ...]:
    """The shape of one image: as given, or as the denoiser says; ValueError where neither does."""
    known = (getattr(denoiser, "info", None) or {}).get("shape") if shape is None else shape
    if known is None:
        raise ValueError("this denoiser does not say what shape its images have: give shape=, that of one image")
    if isinstance(known, int):
        raise ValueError(f"a shape is that of one image, as in (1, 8, 8), but got {known!r}: for a number of calls say calls=")
    return tuple(known)


def answers(calls: int, starts: int, held_out: int, begin_from: int, analytic_start: bool = False) -> int:
    """How many images the network answers for at most while a sampler of so many calls is fitted: each iteration runs all
    starts once for the ends, once or twice to try, and for each number from its own place on, half of the way on average."""
    numbers = 5 * calls
    few = -(-starts // SHARE)
    judging = (1 + ITERATIONS * (begin_from + 1)) * held_out * calls
    fitting = ITERATIONS * (begin_from * few + starts) * calls * (2.5 + numbers / 2)
    candidates = len(bases(2.0)) * 5 * TRIED * calls * (len(STARTS) if analytic_start else 1)
    return round(judging + fitting + candidates)


def spoken(seconds: float) -> str:
    """A duration in words: 40 s, 3 min, 1.5 h."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


@contextmanager
def _bar(progress: bool) -> Iterator[Callable[[float, str], object] | None]:
    """A bar of the share that is done, with the last line beside it."""
    if not progress:
        yield None
        return
    from tqdm import tqdm

    form = "{desc} {percentage:3.0f}% |{bar:20}| {elapsed}<{remaining} {postfix}"
    with tqdm(total=1000, desc="tuning", bar_format=form) as bar:

        def told(share: float, line: str) -> None:
            bar.update(max(round(1000 * share) - bar.n, 0))
            bar.set_postfix_str(line)

        yield told


def _check(
    views: Sequence[Denoise], calls: Sequence[int], starts: int, held_out: int, begin_from: int, schedule: Schedule | None
) -> None:
    if not views or not calls:
        raise ValueError("tuning needs a denoiser and a number of calls")
    if schedule is None:
        raise ValueError("this denoiser has no schedule to take levels from: say schedule=")
    most = most_steps(schedule)
    for number in calls:
        whole(number, "a sampler makes a whole number of calls, 1 or more", 1)
        if most is not None and number > most:
            raise ValueError(f"{number} calls asked for, but this table has room for {most} steps at most")
    for name, value in (("starts", starts), ("held_out", held_out)):
        if value < 2 * len(views):
            raise ValueError(f"{name} must be 2 or more for each denoiser, but is {value} for {len(views)}")
    if begin_from < 1:
        raise ValueError(f"begin_from must be 1 or more, but is {begin_from}")
