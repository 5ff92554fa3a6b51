"""What a user calls: new pictures from a denoiser.

    steps -> spacing -> levels -> solver -> tableau -> the loop asks the denoiser -> pictures

A run starts at ``x = sigma_0 * z``: what the picture itself would add, ``alpha_0 x_0``, is not known, and lost in the noise
where a schedule ends in (nearly) pure noise.  A run that starts midway, from pictures that are known, starts at
``x = alpha_0 x_0 + sigma_0 z``, which has exactly the law of its first level.  Picture i is a function of (seed, i) alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from operator import index
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from ._lazy import torch
from .batches import fitting, in_batches
from .conditions import Condition, check_condition, for_batch
from .denoiser import Denoise, begin, check_denoiser, device_named, device_of, rows_of
from .errors import is_whole, lookup, shown, unknown, warn, whole
from .levels import Level
from .loop import Cancelled, Event, Noise, Plan, cancellable, iterate, observed, places, plan, proven_finite, reported
from .modules import warn_of_training
from .noise import Keyed
from .solvers import Build, resolve
from .spacing import SPACINGS, Spacing, check_falling, is_listed, legs, most_steps
from .tableau import START, Draw, Node, Tableau, joined
from .tableau import calls as count_calls
from .tuned import Tuned
from .widths import told

if TYPE_CHECKING:
    from torch import Tensor

    from .schedules import Schedule

__all__ = [
    "DEFAULTS", "Defaults", "Options", "Trajectory", "check_run", "design", "numbers_of", "out_of_range", "sample",
    "sampled", "steps_within", "trajectory",
]  # fmt: skip

T = TypeVar("T")

SIGNAL_LEFT = 0.1
"""alpha / sigma, in units of the data's scale, above which a run's first level is no noise: what ``alpha x_0`` adds to it is
missing from the start ``sigma z``.  Stable Diffusion's table, which ends notoriously early, has 0.068."""
FAR_OUTSIDE = {0.5: 0.05, 1.0: 0.001}
"""The most values, as a share, that may lie beyond the data's range by so many widths of it."""


@dataclass(frozen=True)
class Defaults:
    """What a run is made with unless told otherwise; solver and spacing are told how wide the data are, where that is known.

    Chosen on three ideal denoisers (a grid in the plane, digits, many scales) and three networks (digits, MNIST, CIFAR-10), 4
    to 50 calls, of some forty pairs of solver and spacing: ``docs/solvers.md`` has what was compared.
    """

    solver: str = "adams_moulton"
    spacing: str = "alpha_bar"
    steps: int = 20


DEFAULTS = Defaults()


@dataclass(frozen=True)
class Trajectory:
    """A whole run.  An entry for each call of the denoiser, and the end: the level, the state (B, *), and the belief about it
    (None at the end).  What a solver works out in between is left out."""

    levels: list[Level]
    states: list[Tensor]
    beliefs: list[Tensor | None]

    def __repr__(self) -> str:
        ends = f"{self.levels[0]} to {self.levels[-1]}"
        return f"Trajectory({len(self.states)} states of shape {tuple(self.pictures.shape)}, {ends})"

    @property
    def pictures(self) -> Tensor:
        """The last state: what :func:`sample` returns."""
        return self.states[-1]


class Options(TypedDict, total=False):
    """The arguments that :func:`sample` and :func:`trajectory` share; they are explained there."""

    solver: str | Build | Tuned
    steps: int | None
    calls: int | None
    spacing: str | Spacing | None
    levels: Sequence[Level] | None
    schedule: Schedule | None
    strength: float | Level | None
    start: Tensor | None
    state: Tensor | None
    seed: int
    indices: Sequence[int] | None
    condition: Condition | None
    noise: Noise | None
    batch_size: int | None
    progress: bool
    callback: Callable[[Event], object] | Sequence[Callable[[Event], object]] | None
    cancel: Callable[[], bool] | None
    device: torch.device | str | None
    dtype: torch.dtype | None
    gradients: bool


def sample(denoiser: Denoise, shape: Sequence[int], **options: Unpack[Options]) -> Tensor:
    """New pictures, a tensor of ``shape`` (B, *).

    Args:
        denoiser: D(x, level, condition=None); :class:`~noisepath.denoiser.Denoiser`, an exact one, or any such callable.
        shape: of the result; B pictures.
        solver: a name of ``SOLVERS`` (default "adams_moulton"), or a function from levels to a tableau; with options:
            ``functools.partial(ddim, eta=1.0)``; or a :class:`~noisepath.tuned.Tuned` one, which has levels of its own.
        steps: how many steps (default 20, or as many as a table has room for); or
        calls: how often the denoiser is asked (NFE): exactly so often.  Where no number of steps makes so many,
            ``steps=steps_within(schedule, calls, solver=..., data_scale=denoiser.data_scale)`` is the largest run that
            makes no more.
        spacing: a name of ``SPACINGS`` (default "alpha_bar"), or a function (schedule, steps) -> levels.
        levels: the levels themselves, falling in noise, in place of spacing and steps.
        schedule: where the spacing takes its levels from (default: ``denoiser.schedule``).
        strength: where to begin: 1 (default) is the schedule's noisiest level, 0.6 the level at 0.6 of the way from data to
            it, in the schedule's own time; or a Level.  ``steps`` are those really made.
        start: clean samples (B, *) to begin from, noised to the first level by the run's first draw; with ``strength`` or
            ``levels``, which say where that is.
        state: x_t (B, *) itself at the run's first level, to go on from: no noise is drawn for it, and it stays as it is.
        seed: whole number; picture i depends on (seed, i) alone.
        indices: the pictures' numbers i (default 0 .. B-1): ``indices=[7]`` makes picture 7 alone.
        condition: what is asked for, with a row for each picture, or one row for all.
        noise: draws in place of the seed's: ``place -> (B, *)``, a function of the place; ``START`` is the initial one.
        batch_size: at most so many at a time; the pictures are the same.  Default: all, on a CPU as many as its free memory
            surely has room for.  A batch that is out of memory is made again in halves (callbacks then see it begin anew),
            with a warning.
        progress: show a bar that counts calls of the denoiser.
        callback: called with each :class:`~noisepath.loop.Event` where the denoiser was asked, and at the end (a batch at a
            time); or several of them.
        cancel: asked there too; once it says True the run raises :class:`~noisepath.loop.Cancelled`.
        device: default: that of the denoiser's network where it has one, else the CPU.
        dtype: of the states, float32 by default.
        gradients: let gradients through the run, to ``state``, ``start``, handed-in draws, conditions and the network's
            parameters: autograd then keeps what all its evaluations computed.  By default a run has none.

    ValueError, before any work, for unknown names, steps that the schedule has no room for, levels that do not fall, a start
    without a strength and sizes that do not agree; at once for an output of another shape; at the end for NaN, naming where
    it began.  A warning for a run that begins with noise alone where the data still show, and for samples far outside of the
    data's range, where the denoiser knows it.
    """
    samples = sampled(denoiser, shape, options)
    problem = out_of_range(samples, denoiser)
    if problem is not None:
        warn(problem)
    return samples


def sampled(denoiser: Denoise, shape: Sequence[int], options: Options) -> Tensor:
    """What :func:`sample` returns, without a look at the range."""
    batches: list[Tensor] = []
    with _grad_mode(options):
        try:
            for batch in _runs(denoiser, shape, _last, **options):
                batches.append(batch)
        except Cancelled as stop:
            raise Cancelled(stop.event, torch.cat(batches) if batches else None) from None
        return torch.cat(batches)


def _grad_mode(options: Options) -> AbstractContextManager[object]:
    """No gradients, unless they are wanted; ValueError where they are wanted and switched off around the run."""
    if not options.get("gradients", False):
        return torch.no_grad()
    if not torch.is_grad_enabled():
        raise ValueError("gradients=True has no effect inside of torch.no_grad() or inference_mode(): leave one of the two out")
    return nullcontext()


def out_of_range(samples: Tensor, denoiser: Denoise) -> str | None:
    """What is wrong with samples (B, *) that lie far outside of the data's range, where the denoiser knows it; else None.

    Far outside: more than 5 % of the values lie beyond the range by half its width, or more than 0.1 % by the whole of it.
    """
    limits = _data_range(denoiser)
    if limits is None:
        return None
    low, high = limits
    values, width = samples.detach(), high - low
    off = torch.maximum(values - high, low - values)
    figures = [values.min(), values.max(), *((off > reach * width).float().mean() for reach in FAR_OUTSIDE)]
    least, most, *shares = torch.stack([figure.float() for figure in figures]).tolist()
    if all(share <= allowed for share, allowed in zip(shares, FAR_OUTSIDE.values(), strict=True)):
        return None
    return (
        f"these samples go from {least:.4g} to {most:.4g}, but the data lie in [{low:g}, {high:g}]: {100 * shares[0]:.3g} % of "
        "the values are far outside. Most often the network's error is multiplied where there is much noise (a prediction of "
        "noise or score: noisepath.clip(denoiser) holds its estimates to the range), the guidance scale is too high, or "
        "schedule and prediction are not those of its training"
    )


def _data_range(denoiser: Denoise) -> tuple[float, float] | None:
    """The least and the greatest value of the data, where they are known."""
    limits = getattr(getattr(denoiser, "data_stats", None), "range", None)
    if limits is None:
        limits = (getattr(denoiser, "info", None) or {}).get("data_range")
    return None if limits is None else (float(limits[0]), float(limits[1]))


def trajectory(denoiser: Denoise, shape: Sequence[int], **options: Unpack[Options]) -> Trajectory:
    """The same run with every state and belief kept; arguments and errors as for :func:`sample`."""
    with _grad_mode(options):
        runs = list(_runs(denoiser, shape, _whole, **options))
        states = [torch.cat(batches) for batches in zip(*(run.states for run in runs), strict=True)]
        beliefs = zip(*(run.beliefs for run in runs), strict=True)
        believed = [torch.cat(kept) if (kept := [d for d in batches if d is not None]) else None for batches in beliefs]
    return Trajectory(runs[0].levels, states, believed)


def _last(run: Iterator[Event]) -> Tensor:
    """The last state of a run; the others are let go."""
    return deque(run, maxlen=1)[0].x


def _whole(run: Iterator[Event]) -> Trajectory:
    """Everything of a run."""
    kept = Trajectory([], [], [])
    for event in run:
        kept.levels.append(event.level)
        kept.states.append(event.x.clone())
        kept.beliefs.append(None if event.output is None else event.output.clone())
    return kept


def design(
    schedule: Schedule | str | None = None,
    *,
    solver: str | Build | Tuned = DEFAULTS.solver,
    steps: int | None = None,
    calls: int | None = None,
    spacing: str | Spacing | None = None,
    levels: Sequence[Level] | None = None,
    strength: float | Level = 1.0,
    rising: bool = False,
    data_scale: float | None = None,
) -> Tableau:
    """The tableau that a run with these arguments follows; they are :func:`sample`'s.

    data_scale: how wide the data are, which solvers and spacings that take it are given; a run takes its denoiser's.
    rising: ``levels`` may rise, and may turn: a run from data to noise (:func:`noisepath.spacing.reversed_levels`), or up and
        down again.  Multistep solvers begin anew where it turns; those that draw noise only fall.  Such a table starts from a
        state that is known, not from noise, so it is run with :func:`noisepath.loop.run_loop`.
    """
    from .schedules import as_schedule, begun

    schedule = None if schedule is None else as_schedule(schedule)
    if isinstance(solver, Tuned):
        if rising or strength != 1.0:
            raise ValueError("a tuned sampler runs from pure noise to data: leave out strength= and rising=")
        return _tuned(solver, schedule, steps, calls, (spacing, levels))
    build = resolve(solver, data_scale)
    if levels is not None:
        if steps is not None or calls is not None or spacing is not None or strength != 1.0:
            raise ValueError("levels= says all about the steps: leave out steps=, calls=, spacing= and strength=")
        if rising:
            return joined([build(leg) for leg in legs(levels)])
        check_falling(levels)
        return _built(build, levels)
    if rising:
        raise ValueError("rising=True is about levels=, which may rise then: say them (see spacing.reversed_levels)")
    if steps is not None and calls is not None:
        raise ValueError("say either steps= or calls=, not both")
    if schedule is None:
        raise ValueError("this denoiser has no schedule to take levels from: say schedule= or levels=")
    path = begun(schedule, strength)
    space = _space(spacing, data_scale)

    def table(steps: int) -> Tableau:
        falling = space(path, steps)
        if not is_listed(falling):
            raise TypeError(f"a spacing gives a list of levels, the noisiest first, but {shown(space)} gave {shown(falling)}")
        check_falling(falling)
        return _built(build, falling)

    room = most_steps(path)
    if calls is not None:
        return _with_calls(table, whole(calls, _CALLS, 1), room)
    if steps is None:  # nobody asks for more than there is room for
        steps = DEFAULTS.steps if room is None else min(DEFAULTS.steps, room)
    return table(whole(steps, "a run takes a whole number of steps, 1 or more", 1))


def _built(build: Build, levels: Sequence[Level]) -> Tableau:
    """The table that a solver makes of levels; TypeError where it gives none."""
    table = build(levels)
    if not (isinstance(table, tuple) and all(isinstance(node, Node) for node in table)):
        raise TypeError(f"a solver gives a tableau (Draft.finish() makes one), but {shown(build)} gave {shown(table)}")
    return table


def _tuned(
    solver: Tuned,
    schedule: Schedule | None,
    steps: int | None,
    calls: int | None,
    others: tuple[object, object],
) -> Tableau:
    """The table of a tuned sampler, if nothing else is said of levels and it holds for the schedule."""
    if others != (None, None):
        raise ValueError("a tuned sampler has levels of its own: leave out spacing= and levels=")
    for said in (steps, calls):
        if said not in (None, solver.calls):
            raise ValueError(f"this sampler was tuned for {solver.calls} calls, but {said} are asked for")
    solver.check(schedule)
    return solver.tableau


def steps_within(
    schedule: Schedule,
    calls: int,
    *,
    solver: str | Build = DEFAULTS.solver,
    spacing: str | Spacing | None = None,
    data_scale: float | None = None,
) -> int:
    """The most steps whose run asks the denoiser at most ``calls`` times: with Heun and 8 calls it is 4, which make 7.

    data_scale: the model's own (``denoiser.data_scale``), which a run gives to a solver and a spacing that take it: how many
        calls some of them make depends on the levels that they visit.

    ValueError where one step makes more already.
    """
    _check_calls(calls)
    build, space = resolve(solver, data_scale), _space(spacing, data_scale)
    fewer, high = _reaching(lambda steps: build(space(schedule, steps)), calls + 1, most_steps(schedule))
    if count_calls(build(space(schedule, high))) <= calls:
        return high  # a table has no more steps
    if fewer == 0:
        least = count_calls(build(space(schedule, 1)))
        raise ValueError(f"this solver makes {least} calls in one step already, but {calls} are the most allowed")
    return fewer


def _with_calls(table: Callable[[int], Tableau], calls: int, most: int | None) -> Tableau:
    """The table that makes exactly so many calls; the number of calls may not fall as steps are added."""
    low, high = _reaching(table, calls, most)
    found = table(high)
    if count_calls(found) != calls:
        around = (high,) if low == 0 or count_calls(found) < calls else (low, high)
        near = sorted({count_calls(table(steps)): steps for steps in around}.items())
        offers = " or ".join(f"{n} calls ({steps} step{'s' * (steps > 1)})" for n, steps in near)
        raise ValueError(f"no number of steps of this solver makes exactly {calls} calls; the nearest: {offers}")
    return found


def _reaching(table: Callable[[int], Tableau], calls: int, most: int | None) -> tuple[int, int]:
    """The most steps that make fewer calls, and the next number of steps, which is ``most`` where none makes so many."""
    low, high = 0, 1
    while count_calls(table(high)) < calls and high != most:
        low, high = high, 2 * high if most is None else min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count_calls(table(middle)) < calls else (low, middle)
    return low, high


_CALLS = "the number of calls must be a whole number, 1 or more"


def _check_calls(calls: int) -> None:
    whole(calls, _CALLS, 1)


def _space(spacing: str | Spacing | None, data_scale: float | None = None) -> Spacing:
    spacing = DEFAULTS.spacing if spacing is None else spacing
    return told(spacing if callable(spacing) else lookup(SPACINGS, spacing, "spacing"), data_scale)


@dataclass(frozen=True)
class _Asked:
    """:class:`Options`, with what each is if nothing is said."""

    solver: str | Build | Tuned = DEFAULTS.solver
    steps: int | None = None
    calls: int | None = None
    spacing: str | Spacing | None = None
    levels: Sequence[Level] | None = None
    schedule: Schedule | None = None
    strength: float | Level | None = None
    start: Tensor | None = None
    state: Tensor | None = None
    seed: int = 0
    indices: Sequence[int] | None = None
    condition: Condition | None = None
    noise: Noise | None = None
    batch_size: int | None = None
    progress: bool = False
    callback: Callable[[Event], object] | Sequence[Callable[[Event], object]] | None = None
    cancel: Callable[[], bool] | None = None
    device: torch.device | str | None = None
    dtype: torch.dtype | None = None
    gradients: bool = False

    def check(self, shape: tuple[int, ...]) -> None:
        """ValueError for sizes that do not agree with the pictures' shape (B, *)."""
        check_run(shape[0], self.condition, self.batch_size, self.dtype)
        whole(self.seed, "a seed is a whole number", error=TypeError)
        if not all(map(callable, self.callbacks)):
            raise TypeError(f"a callback is called with each event, but got {shown(self.callback)}")
        if self.cancel is not None and not callable(self.cancel):
            raise TypeError(f"cancel is a function without arguments that says whether to stop, but got {shown(self.cancel)}")
        if self.noise is not None and not callable(self.noise):
            raise TypeError(
                f"noise is a function from the place of a draw to a tensor of shape {shape}, such as lambda place: z, but got "
                f"{shown(self.noise)}"
            )
        self._check_beginning(shape)

    def _check_beginning(self, shape: tuple[int, ...]) -> None:
        """ValueError or TypeError for a start or a state that a run can't begin from."""
        for name, value in (("start", self.start), ("state", self.state)):
            if value is not None:
                _check_samples(name, value, shape)
        if self.start is not None and self.state is not None:
            raise ValueError("a run begins from start= (clean samples, to be noised) or from state= (an x_t): leave one out")
        if isinstance(self.solver, Tuned) and self.solver.start is not None:
            self.solver.start.check(shape, self.start if self.state is None else self.state)
        if self.start is not None and self.strength is None and self.levels is None:
            raise ValueError(
                "start= has no effect on a run that begins in noise: say where it begins, with strength=0.6 for 0.6 of the way "
                "from data to noise, or a Level, or levels= (an x_t of your own is state=)"
            )

    def tableau(self, denoiser: Denoise) -> Tableau:
        """What the run follows."""
        if isinstance(self.solver, Tuned):
            self.solver.check_view(denoiser)
        return design(
            self.schedule if self.schedule is not None else getattr(denoiser, "schedule", None),
            solver=self.solver,
            steps=self.steps,
            calls=self.calls,
            spacing=self.spacing,
            levels=self.levels,
            strength=1.0 if self.strength is None else self.strength,
            data_scale=getattr(denoiser, "data_scale", None),
        )

    @property
    def callbacks(self) -> list[Callable[[Event], object]]:
        if self.callback is None:
            return []
        return list(self.callback) if isinstance(self.callback, Sequence) else [self.callback]


@dataclass(frozen=True)
class _Work:
    """What all batches of a run have in common."""

    denoiser: Denoise
    shape: tuple[int, ...]
    asked: _Asked
    tableau: Tableau
    operations: Plan
    numbers: Sequence[int]
    device: torch.device
    bar: Any

    def events(self, rows: slice) -> Iterator[Event]:
        """The run of the pictures in these rows."""
        asked, whole = self.asked, rows == slice(0, self.shape[0])
        noise = asked.noise
        keyed = Keyed(index(asked.seed), self.numbers[rows], self.shape[1:])
        source = keyed if noise is None else _rows_of(noise, rows, self.shape)
        told = asked.condition if asked.condition is None or whole else asked.condition.rows(rows)
        run = _run(rows_of(self.denoiser, rows, self.shape[0]), self.tableau, told, self.device)
        x = self._first(source, rows)
        events = proven_finite(iterate(self.operations, run, x, source, overwrite=True))
        events = places(events, len(self.tableau) - 1)
        if asked.callbacks:
            events = observed(events, *asked.callbacks)
        if self.bar is not None:
            events = reported(events, self.bar)
        return events if asked.cancel is None else cancellable(events, asked.cancel)

    def _first(self, source: Noise, rows: slice) -> Tensor:
        """The state at the first level: the one that was given, or of the run's first draw and what it begins from."""
        dtype = self.asked.dtype or torch.float32
        if self.asked.state is not None:
            return self.asked.state[rows].to(self.device, dtype, copy=True)
        level, z = self.tableau[0].level, source(START).to(self.device, dtype)
        solver = self.asked.solver
        if isinstance(solver, Tuned) and solver.start is not None:
            return solver.start(z, level)
        x = z * level.sigma
        if self.asked.start is None or level.is_noise:
            return x
        return torch.add(x, self.asked.start[rows].to(x), alpha=level.alpha)

    def shrunk(self, left: int) -> None:
        """Batches have become smaller: ``left`` are still to be made."""
        if self.bar is not None:  # the calls of the batch that did not fit were made, too
            self.bar.total = self.bar.n + count_calls(self.tableau) * left
            self.bar.refresh()


def _runs(
    denoiser: Denoise, shape: Sequence[int], take: Callable[[Iterator[Event]], T], **options: Unpack[Options]
) -> Iterator[T]:
    """What ``take`` makes of each batch's events."""
    check_denoiser(denoiser)
    for name in options:
        if name not in Options.__annotations__:
            raise TypeError(str(unknown("option of a run", name, Options.__annotations__)))
    asked, sizes = _Asked(**options), _check_shape(shape)
    count = sizes[0]
    numbers = numbers_of(asked.indices, count)
    asked.check(sizes)
    asked = replace(asked, condition=for_batch(asked.condition, count))
    tableau = asked.tableau(denoiser)
    _warn_of_signal(tableau[0].level, asked, denoiser)
    if asked.gradients:
        warn_of_training(getattr(denoiser, "network", None))
    operations = plan(tableau)
    device = device_of(denoiser) if asked.device is None else device_named(asked.device)
    room = fitting(getattr(denoiser, "network", None), sizes[1:], asked.dtype or torch.float32, device)
    most = min(count, room if asked.batch_size is None else index(asked.batch_size))
    bar = _bar(asked.progress, count_calls(tableau) * -(-count // most))
    work = _Work(denoiser, sizes, asked, tableau, operations, numbers, device, bar)
    try:
        yield from in_batches(count, most, lambda rows: take(work.events(rows)), device, work.shrunk)
    finally:
        if bar is not None:
            bar.close()


def _warn_of_signal(first: Level, asked: _Asked, denoiser: Denoise) -> None:
    """A warning where a run begins with noise alone though the data still show at its first level."""
    analytic = isinstance(asked.solver, Tuned) and asked.solver.start is not None
    if analytic or asked.start is not None or asked.state is not None:
        return
    scale = getattr(denoiser, "data_scale", None) or 1.0
    if first.alpha * scale <= SIGNAL_LEFT * first.sigma:
        return
    warn(
        f"this run begins with noise alone at alpha = {first.alpha:.3g}, sigma = {first.sigma:.3g}, where the data still show: "
        "its samples will lack contrast and variety. Hand in what it begins from (start= clean samples, or state= an x_t), "
        "or begin where there is hardly anything but noise: strength=1, a spacing that begins at the last time (not "
        "'leading'), or a schedule that ends in noise (more timesteps or a larger beta_end)"
    )


def _run(
    denoiser: Denoise, tableau: Tableau, condition: Condition | None, device: torch.device
) -> Callable[[Tensor, Level], Any]:
    asked = [node.level for node in tableau if node.evaluate]
    try:
        begun = begin(denoiser, asked)
    except ValueError as error:
        first = tableau[0].level.noise_ratio
        if all(level.noise_ratio <= first for level in asked):
            raise
        raise ValueError(
            f"{error}; this solver adds noise above the run's first level, where it is {first:.6g}: let it add less, or begin "
            f"lower (strength=)"
        ) from None
    if condition is None:
        return begun
    there = condition.to(device)
    return lambda x, level: begun(x, level, there)


def _rows_of(noise: Noise, rows: slice, shape: Sequence[int]) -> Noise:
    """The rows of handed draws that belong to one batch."""

    def source(place: Draw) -> Tensor:
        drawn = noise(place)
        if not isinstance(drawn, torch.Tensor):
            raise TypeError(f"noise gives a tensor of shape {tuple(shape)} for each draw, but gave {shown(drawn)} for {place}")
        if tuple(drawn.shape) != tuple(shape):
            raise ValueError(f"the draw for {place} has shape {tuple(drawn.shape)}, but {tuple(shape)} is sampled")
        return drawn[rows]

    return source


def numbers_of(indices: Sequence[int] | None, count: int) -> list[int]:
    """The numbers i of so many pictures, as they are told."""
    if indices is None:
        return list(range(count))
    try:
        numbers = [index(number) for number in indices]
    except TypeError:
        raise TypeError(f"indices are whole numbers, one for each picture, but got {shown(indices)}") from None
    if len(numbers) != count:
        raise ValueError(f"{len(numbers)} indices for {count} pictures")
    return numbers


def check_run(count: int, condition: object, batch_size: object, dtype: object) -> None:
    """ValueError or TypeError for what does not go with ``count`` pictures, or is none of what a run is told."""
    if condition is not None:
        check_condition(condition, count)
        assert isinstance(condition, Condition)
        for name, value in condition.items():
            if value.is_meta:
                raise ValueError(f"condition {name!r} is on the meta device, where it has no values: hand in real ones")
    if batch_size is not None:
        whole(batch_size, "batch_size must be 1 or more", 1)
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype is torch.float32 or another of floats, but got {shown(dtype)}")


def _check_shape(shape: Sequence[int]) -> tuple[int, ...]:
    if getattr(shape, "ndim", 0) == 1 and hasattr(shape, "tolist"):  # an array or a tensor
        shape = shape.tolist()
    sizes = tuple(shape) if isinstance(shape, Sequence) else ()
    if not sizes or not all(is_whole(n) and n >= 1 for n in sizes):
        raise ValueError(f"a shape is (B, *) in whole numbers, 1 or more, but got {shown(shape)}")
    return tuple(map(index, sizes))


def _check_samples(name: str, given: Tensor, shape: tuple[int, ...]) -> None:
    """TypeError or ValueError unless ``given`` is a tensor of finite floats of this shape."""
    if not isinstance(given, torch.Tensor):
        raise TypeError(f"{name} is a tensor of floats of shape {shape}, but got {shown(given)}")
    if tuple(given.shape) != shape or not given.is_floating_point():
        got = f"{str(given.dtype).removeprefix('torch.')} of shape {tuple(given.shape)}"
        raise ValueError(f"{name} has a picture for each of those that are made, floats of shape {shape}, but is {got}")
    if given.is_meta:
        raise ValueError(f"{name} is on the meta device, where it has no values: hand in a tensor on a real device")
    wrong = ~torch.isfinite(given).flatten(1).all(1) if given.ndim > 1 else ~torch.isfinite(given)
    if bool(wrong.any()):
        raise ValueError(f"{name} holds NaN or infinity, first in picture {int(wrong.nonzero()[0])}")


def _bar(progress: bool, total: int) -> Any:
    if not progress:
        return None
    from tqdm import tqdm

    return tqdm(total=total, unit="call", desc="sampling")
