"""One denoiser for every network: D(x, level) = E[x_0 | x_t = x].

Four things meet here.

*A denoiser* is any callable ``(x, level, condition=None)`` that gives its belief D about the clean pictures, of x's
shape (B, *), at a :class:`~noisepath.levels.Level` on any path.  Solvers, guidance and editing know nothing else.

*A run begins* with ``begin(denoiser, levels)``: a denoiser that has a method ``begin`` gives a fresh callable for the
run, which may know all its levels and keep a memory; any other is used as it is.  Nothing is shared between two runs.
A run that remembers its calls may have a method ``fork``: a run that goes on from there and leaves this one as it is
(:func:`fork`); tuning, which goes on from the middle of a run many times, is faster with it.

*A run may be made in batches*: ``rows_of(denoiser, rows, count)`` is the denoiser for some of its pictures, where one has
something of each (a guidance scale, say) in a method ``rows``; any other is used as it is.

*An evaluation may move the state*: it may give ``Moved(x, output)`` in place of D, and the run goes on from the moved x.

:class:`Denoiser` makes one of a network, the schedule it was trained on and what it predicts
(:mod:`noisepath.predictions`).  Asked at a level of another path, it rescales x to its own path's level of the same
log-SNR: so a network trained on one path runs on every other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ._lazy import torch
from .conditions import Condition, as_null
from .data_stats import DataStats
from .errors import number, shown, unknown, warn
from .foreign import wrap_diffusers
from .foreign_schedulers import parts_of_diffusers
from .levels import Level
from .limit import Limit
from .modules import Mode, call, device_in, mode_of
from .predictions import PRECONDITIONINGS, PREDICTIONS, find, preconditioned

if TYPE_CHECKING:
    from torch import Tensor

    from .schedules import Schedule

__all__ = [
    "Condition", "Denoise", "Denoiser", "Memoryless", "Moved", "WrongOutput", "begin", "check_denoiser", "device_named",
    "device_of", "fork", "rows_of",
]  # fmt: skip


class Moved(NamedTuple):
    """An evaluation that also moves the state: the run goes on from ``x``, with ``output`` as its belief there."""

    x: Tensor
    output: Tensor


LARGE_C_OUT = 50.0
"""How often a network's error may be multiplied without a word: at twice as much 1 % of it is the deviation of most data."""


class _Place(NamedTuple):
    """What a call at a level needs; factors are None where there is no answer but the mean of the data."""

    level: Level
    factors: tuple[float, float, float, float] | None
    weights: tuple[float, float] = (1.0, 1.0)
    clamp: tuple[float, float] | None = None


Reading = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class WrongOutput(ValueError):
    """A network's answer is no picture for each picture; the loop adds where in the run that was."""


class Denoise(Protocol):
    """What a denoiser is: its belief D about the clean pictures, (B, *) like x, or :class:`Moved`."""

    def __call__(self, x: Tensor, level: Level, condition: Condition | None = None, /) -> Tensor | Moved: ...


def check_denoiser(denoiser: object) -> None:
    """TypeError for what can't be asked, and does not begin a run that can."""
    if not callable(denoiser) and not hasattr(denoiser, "begin"):
        raise TypeError(f"a denoiser is called as D(x, level, condition), but got {shown(denoiser)}")


def begin(denoiser: Denoise, levels: Iterable[Level] = ()) -> Denoise:
    """The callable of one run: ``denoiser.begin(levels)`` where there is such a method, else the denoiser itself.

    ``levels`` are those at which the run will ask, in its order.
    """
    check_denoiser(denoiser)
    start: Callable[[list[Level]], Denoise] | None = getattr(denoiser, "begin", None)
    return denoiser if start is None else start(list(levels))


@dataclass(frozen=True)
class Memoryless:
    """A run that remembers none of its calls: its fork is the run itself."""

    ask: Denoise

    def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor | Moved:
        return self.ask(x, level, condition)

    def fork(self) -> Memoryless:
        """The run itself."""
        return self


def fork(denoiser: Denoise, run: Denoise) -> Denoise | None:
    """A run that goes on from where ``run``, which ``begin(denoiser)`` gave, has come to, and leaves that one as it is.

    It may be asked at other levels than those that the run began with.  None where nobody can tell what the run remembers: it
    was made by the denoiser's ``begin`` and has no method ``fork``, or that one gives None.
    """
    own: Callable[[], Denoise | None] | None = getattr(run, "fork", None)
    if own is not None:
        return own()
    return None if hasattr(denoiser, "begin") else run  # without begin the denoiser is its own run, and remembers nothing


def rows_of(denoiser: Denoise, rows: slice, count: int) -> Denoise:
    """The denoiser for some of a run's ``count`` pictures: ``denoiser.rows(rows, count)`` where there is such a method.

    One that is told something of each picture (a scale, a condition of its own) has one, so that a picture is the same in
    every batch; any other is used as it is.
    """
    part: Callable[[slice, int], Denoise] | None = getattr(denoiser, "rows", None)
    return denoiser if part is None else part(rows, count)


def device_of(denoiser: Denoise) -> torch.device:
    """Where the denoiser's network has its parameters; the CPU where there are none; ValueError for the meta device."""
    return device_in(getattr(denoiser, "network", None))


def device_named(device: torch.device | str) -> torch.device:
    """A device that is there to compute on; ValueError for any other."""
    try:
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError, TypeError):  # whatever torch says of a name, or of a device that is not there
        raise ValueError(f"no device {device!r} is here to compute on: say cpu, cuda, mps or another that torch has") from None
    return torch.device(device)


def _null(given: Any) -> Condition | None:
    """:func:`noisepath.conditions.as_null`, which may be given the label as an array or a tensor of one whole number too."""
    single = not isinstance(given, Condition) and getattr(given, "ndim", None) in (0, 1) and math.prod(given.shape) == 1
    return as_null(given.reshape(())[()] if single else given)


class Denoiser:
    """A network, the schedule it was trained on and what it predicts, as a denoiser.

    Args:
        network: called as ``network(x, c_noise, **condition)`` with x (B, *) and c_noise (B,), x's dtype; gives (B, *).  One
            is given x and the condition's floats in the dtype of its parameters, whatever the run's is, and c_noise so too, in
            float32 at least (999 is no bfloat16 number); factors and D keep the dtype of the run.  One in training mode is
            called in evaluation mode.  From one with a method ``reading()`` each run has a function of the condition's parts,
            which may remember what it made of them.
        schedule: the path of its training (:mod:`noisepath.schedules`), or its name.
        prediction: a name of ``PREDICTIONS``: "noise", "x0", "v", "velocity", "score", "edm"; or an alias, such as "epsilon".
        sigma_data: standard deviation of the training data; used by "edm", and by unit preconditioning.
        data_stats: what is known of the data (:class:`~noisepath.data_stats.DataStats`): their ``scale`` reaches solvers and
            spacings; with a ``range`` and no limit, D is clamped to it where |c_out| exceeds its width.
        limit: how far the network is followed where |c_out| is large (:class:`~noisepath.limit.Limit`); None: everywhere.
        preconditioning: "none": the network gives the prediction itself; "unit": it was trained on input and output of unit
            variance (:func:`noisepath.predictions.preconditioned`).
        null: the condition of one picture that says nothing, for guidance (None: there is none); ``null=10`` is
            ``Condition(label=10)``.
        clamp: what is done to the denoised estimate (B, *) at every level, such as clipping it to the data's range.
        vocabulary: what the model can be asked for in words (:class:`noisepath.asking.Vocabulary`), kept for the user.
        info: what else is known of the model, kept for the user (classes, shape, data range ...).
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        schedule: Schedule | str,
        prediction: str = "noise",
        *,
        sigma_data: float = 0.5,
        data_stats: DataStats | None = None,
        limit: Limit | None = None,
        preconditioning: str = "none",
        null: Condition | int | None = None,
        clamp: Callable[[Tensor], Tensor] | None = None,
        vocabulary: Any = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        from .discrete import NoiseScheduler
        from .schedules import as_schedule

        if not callable(network):
            raise TypeError(f"a network must be callable as network(x, c_noise), but got {network!r}")
        sigma_data = number(sigma_data, "sigma_data")
        if not 0 < sigma_data < math.inf:
            raise ValueError(f"sigma_data must be a finite number above 0, but got {sigma_data}")
        if not isinstance(data_stats, DataStats | None):
            got = shown(data_stats)
            raise TypeError(f"data_stats is a noisepath.DataStats, such as DataStats(range=(-1, 1)), but got {got}")
        if not isinstance(limit, Limit | None):
            raise TypeError(f"limit is a noisepath.limit.Limit, or None for none, but got {shown(limit)}")
        if clamp is not None and not callable(clamp):
            got = shown(clamp)
            raise TypeError(f"clamp is a function of the denoised estimate, such as lambda x: x.clamp(-1, 1), but got {got}")
        if preconditioning not in PRECONDITIONINGS:
            raise unknown("preconditioning", preconditioning, PRECONDITIONINGS)
        self.network = network
        self.schedule = schedule.schedule if isinstance(schedule, NoiseScheduler) else as_schedule(schedule)
        self.prediction = find(prediction)
        self._kind = PREDICTIONS[self.prediction]
        self.sigma_data = sigma_data
        self.data_stats = data_stats if data_stats is not None else DataStats()
        self.limit = limit
        self.preconditioning = preconditioning
        self._warned = False
        self.null = _null(null)
        self.clamp = clamp
        self.vocabulary = vocabulary
        self.info: dict[str, Any] = dict(info or {})

    def __repr__(self) -> str:
        parameters = getattr(self.network, "parameters", None)
        size = f" of {sum(p.numel() for p in parameters()):,} parameters" if callable(parameters) else ""
        name = getattr(self.network, "__name__", type(self.network).__name__)
        path = repr(self.schedule) if len(repr(self.schedule)) < 120 else type(self.schedule).__name__
        return f"Denoiser({name}{size}, {self.prediction!r} on {path})"

    @classmethod
    def from_diffusers(
        cls,
        network: Callable[..., Any],
        scheduler: Any,
        *,
        null: Condition | int | None = None,
        data_stats: DataStats | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> Denoiser:
        """A network of diffusers (UNet2DModel, UNet2DConditionModel, transformers) as a denoiser.

        It is called by keyword after its own signature, with the time in its own unit; of its answer ``.sample`` is taken, and
        of a learned variance the first half.  ``Condition(label=...)`` reaches it as ``class_labels``, ``text=`` as
        ``encoder_hidden_states``, any other part by its own name; ``text_embeds``, ``time_ids`` and the like go into
        ``added_cond_kwargs``, and ``Condition({"joint_attention_kwargs.scale": ...})`` into any other argument that is a dict.

        Args:
            network: the module, or a function ``(x, t, **condition)`` that calls one.
            scheduler: the scheduler it was trained with, or its ``config``.  Betas, straight paths and EDM are read, with what
                is predicted, the unit of time, and ``clip_sample`` and ``thresholding``, which are done to the denoised
                estimate at every call.  Which levels a run visits is the spacing's business: a flow's ``shift`` is
                ``sample(..., schedule=Shifted(schedule("flow"), shift), spacing="time")``.
            null: the condition of one image that says nothing, for guidance: ``Condition(label=torch.tensor([10]))``, in short
                10, where class 10 of 11 is the one that says nothing; ``Condition(text=empty)`` with the (1, tokens, width)
                states of an empty prompt.
            data_stats: what is known of the data, such as ``DataStats(range=(-1, 1))``, where the scheduler clips nothing.
            arguments: what the network is given at every call beside, by its own names: ``{"num_frames": 4, "height": 8}``.

        Raises:
            TypeError: no network (a folder, a pipeline), or no scheduler.
            ValueError: a key of the configuration that changes what the network is and is not read, a class of schedulers that
                is no denoiser's, arguments that the network does not take.  When called: a part of the condition that the
                network does not take, or one that it lacks.
        """
        parts = parts_of_diffusers(scheduler)
        wrapped = wrap_diffusers(network, parts, arguments)
        return cls(
            wrapped, parts.schedule, parts.prediction, sigma_data=parts.sigma_data, data_stats=data_stats, null=null,
            clamp=parts.clamp,
        )  # fmt: skip

    @property
    def data_scale(self) -> float | None:
        """How wide the data are, which solvers and spacings may take; None: not known."""
        return self.data_stats.scale

    def factors(self, level: Level) -> tuple[float, float, float, float]:
        """(c_skip, c_out, c_in, c_noise) at a level of any path, for x as it is at that level.

        ValueError where the prediction has no limit (noise, score and edm at alpha = 0) or the schedule no such level.
        """
        if level.is_noise and not self._kind.at_pure_noise:
            raise ValueError(
                f"a network that predicts {self.prediction!r} says nothing about the picture at alpha = 0 (pure noise): "
                f"{self._instead()}"
            )
        t = torch.tensor(self.schedule.t_of(level), dtype=torch.float64, device="cpu")
        alpha, sigma = self.schedule.alpha_sigma(t)
        # the path's own level has the same log-SNR: one factor scales x from one to the other, finite at both ends
        scale = float(alpha + sigma) / (level.alpha + level.sigma)
        found = preconditioned(self._kind, self.schedule, t, alpha, sigma, self.sigma_data, self.preconditioning)
        c_skip, c_out, c_in, c_noise = map(float, found)
        if not all(map(math.isfinite, (c_skip, c_out, c_in, c_noise))):
            raise ValueError(
                f"a network that predicts {self.prediction!r} on {type(self.schedule).__name__} has no answer at "
                f"alpha = {level.alpha:g}, sigma = {level.sigma:g}: its factors are not finite there; {self._instead()}"
            )
        return c_skip * scale, c_out, c_in * scale, c_noise

    def _instead(self) -> str:
        """What can be done where the network has no answer at pure noise."""
        can = [name for name, kind in PREDICTIONS.items() if kind.at_pure_noise and name != self.prediction]
        return (
            "begin the run where there is some picture (strength=0.99, say, or a Level), use a network that predicts "
            f"{', '.join(can)}, or give the denoiser a limit="
        )

    def begin(self, levels: Iterable[Level]) -> Denoise:
        """A run that will ask at ``levels``: their factors are worked out (and refused) before the first call."""
        table = {level: self._place(level) for level in levels}
        self._warn(table.values())
        mode = mode_of(self.network)
        reading: Callable[[], Reading] | None = getattr(self.network, "reading", None)
        read = None if reading is None else reading()

        def run(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
            place = table.get(level)
            if place is None:
                place = table[level] = self._place(level)
            return self._denoised(x, place, condition, mode, read)

        return Memoryless(run)

    def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        """The belief about x_0, (B, *), at one level for all pictures."""
        device_in(self.network)  # refuses the meta device
        return self._denoised(x, self._place(level), condition, mode_of(self.network))

    def _place(self, level: Level) -> _Place:
        """What a call at this level needs: the factors, and how D is limited there."""
        if level.is_noise and self.limit is not None and not self._kind.at_pure_noise:
            return _Place(level, None)
        factors = self.factors(level)
        if self.limit is not None:
            return _Place(level, factors, self.limit.weights(level.log_snr, factors[1], self.data_stats.std))
        ends = self.data_stats.range
        return _Place(level, factors, clamp=ends if ends and abs(factors[1]) > ends[1] - ends[0] else None)

    def _warn(self, places: Iterable[_Place]) -> None:
        """One warning where a network's errors are multiplied and nothing limits them."""
        held = self.limit is not None or self.clamp is not None or self.data_stats.range is not None
        if self._warned or held or self._kind.at_pure_noise:
            return
        large = [p.level.noise_ratio for p in places if p.factors is not None and abs(p.factors[1]) > LARGE_C_OUT]
        if large:
            self._warned = True
            warn(
                f"a network that predicts {self.prediction!r} is asked where its error is multiplied by more than "
                f"{LARGE_C_OUT:g} (sigma / alpha from {min(large):.3g} to {max(large):.3g}), so that even an error of 1 % may "
                "decide the result. If the data are known to lie in a range, give it to the denoiser: "
                "data_stats=noisepath.DataStats(range=(-1, 1))"
            )

    def _denoised(
        self, x: Tensor, place: _Place, condition: Condition | None, mode: Mode, read: Reading | None = None
    ) -> Tensor:
        """D at a place of a run, limited where it has to be."""
        level = place.level
        parts = self._parts(condition, mode, read)
        if place.factors is None:
            assert self.limit is not None
            return self.limit.linear(x, level.alpha, level.sigma, condition, self._mean_image(x, parts, mode))
        denoised = self._ask(x, place.factors, parts, mode)
        if place.clamp is not None:
            return denoised.clamp_(*place.clamp)
        if self.limit is None or place.weights == (1.0, 1.0):
            return denoised
        mean = self._mean_image(x, parts, mode)
        return self.limit(denoised, x, level.alpha, level.sigma, place.weights, condition, self.null, mean)

    def _parts(self, condition: Condition | None, mode: Mode, read: Reading | None) -> Mapping[str, Any]:
        """The condition as the network is given it."""
        parts: Mapping[str, Any] = {} if condition is None else dict(condition)
        if mode.dtype is not None:
            parts = {name: value.to(mode.dtype) if value.is_floating_point() else value for name, value in parts.items()}
        return parts if read is None else read(parts)

    def _mean_image(self, x: Tensor, parts: Mapping[str, Any], mode: Mode) -> Tensor | None:
        """The network's own mean given the condition, where the limit is about that."""
        if self.limit is None or not self.limit.mean_image:
            return None
        mean: Tensor = self.network.mean_image(x if mode.dtype is None else x.to(mode.dtype), **parts)  # type: ignore[attr-defined]
        return mean.to(x.dtype)

    def _ask(
        self,
        x: Tensor,
        factors: tuple[float, float, float, float],
        parts: Mapping[str, Any],
        mode: Mode,
    ) -> Tensor:
        c_skip, c_out, c_in, c_noise = factors
        shown = x if c_in == 1.0 else x * c_in
        if mode.dtype is not None:
            shown = shown.to(mode.dtype)
        fine = next((d for d in (mode.dtype, x.dtype) if d is not None and d.itemsize >= 4), torch.float32)
        times = torch.full((len(x),), c_noise, dtype=fine, device=x.device)
        output = call(self.network, mode, shown, times, parts)
        if not isinstance(output, torch.Tensor) or output.shape != x.shape:
            got = f"shape {tuple(output.shape)}" if isinstance(output, torch.Tensor) else type(output).__name__
            raise WrongOutput(f"the network must give a tensor of its input's shape {tuple(x.shape)}, but gave {got}")
        if output.device != x.device:
            raise WrongOutput(f"the network must answer on its input's device {x.device}, but gave a tensor on {output.device}")
        # the network may run in half precision, and may have given its own memory: neither reaches the state
        belief = output.to(x.dtype) * c_out
        belief = belief if c_skip == 0.0 else belief.add_(x, alpha=c_skip)
        return belief if self.clamp is None else self.clamp(belief)
