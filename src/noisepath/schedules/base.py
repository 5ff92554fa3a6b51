"""What a schedule is: a clock on a Gaussian path, with an inverse and rates."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .._lazy import torch
from ..errors import number
from ..levels import Level
from ..scalings import SCALINGS

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ROUNDING", "Derived", "Schedule", "rates_from_slope"]

# A time this near to an end of the axis, relative to its length, is that end: t -> log_snr -> t rounds.
ROUNDING = 1e-9


class Schedule(ABC):
    """What every schedule offers.  One of your own defines ``log_snr``, ``t``, ``rates``, ``t_min``, ``t_max``, ``scaling``.

    Whatever a class defines as ``log_snr``, ``alpha_sigma`` and ``rates`` is called with times that :meth:`on_axis` has
    checked: numbers and tensors alike come as float64, and a time off the axis is refused.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("log_snr", "alpha_sigma", "rates"):
            if name in vars(cls):
                setattr(cls, name, _checked(vars(cls)[name]))

    @property
    @abstractmethod
    def scaling(self) -> str:
        """The name of the frame, one of ``SCALINGS``."""

    @property
    def num_timesteps(self) -> int | None:
        """The length of a table; None for a continuous schedule."""
        return None

    @property
    @abstractmethod
    def t_min(self) -> float:
        """The last time of a run, nearest to the data."""

    @property
    @abstractmethod
    def t_max(self) -> float:
        """The first time of a run, nearest to pure noise."""

    @property
    def t_low(self) -> float:
        """The end of the time axis at the data."""
        return 0.0

    @property
    def t_high(self) -> float:
        """The end of the time axis at the noise."""
        return 1.0

    @abstractmethod
    def log_snr(self, t: Tensor) -> Tensor:
        """``log(alpha^2 / sigma^2)`` at time t; falls as t rises."""

    @abstractmethod
    def t(self, log_snr: Tensor) -> Tensor:
        """The time at which the path has this log-SNR, the inverse of :meth:`log_snr`."""

    @abstractmethod
    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``(d alpha / dt, d sigma / dt)``; may be infinite at an end of the axis."""

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """``(alpha, sigma)`` at time t."""
        return SCALINGS[self.scaling].alpha_sigma(self.log_snr(t))

    def check(self, t: Tensor) -> Tensor:
        """``t`` as float64 on the CPU, or ValueError where one lies off the time axis (nothing wraps or is clamped)."""
        return self.on_axis(t).cpu()

    def on_axis(self, t: Tensor | float) -> Tensor:
        """Times as float64, a tensor on its own device; ValueError, naming the range, where one lies off the time axis.

        A time that is beyond an end by no more than rounding is that end.
        """
        if isinstance(t, torch.Tensor):  # Apple's devices have no float64
            t = t.to("cpu" if t.device.type == "mps" else t.device, torch.float64)
        else:
            t = torch.as_tensor(t, dtype=torch.float64, device="cpu")
        bad = ~((t >= self.t_low) & (t <= self.t_high))
        if not bad.any():
            return t
        low, high, slack = self.t_low, self.t_high, ROUNDING * (self.t_max - self.t_low)
        wrong = bad & ~((t >= low - slack) & (t <= high + slack))
        if wrong.any():
            value = float(t[wrong].flatten()[0])
            nearest = "" if math.isnan(value) else f"; the nearest time is {min(max(value, low), high):g}"
            raise ValueError(f"t = {value:g} is off the time axis of {type(self).__name__}, [{low:g}, {high:g}]{nearest}")
        return t.clamp(low, high)

    def level(self, t: float) -> Level:
        """The level at time t."""
        return self.levels([t])[0]

    def levels(self, times: Iterable[float]) -> list[Level]:
        """The levels at several times."""
        alpha, sigma = self.alpha_sigma(torch.tensor([number(t, "a time") for t in times], dtype=torch.float64, device="cpu"))
        return [Level(a, s) for a, s in zip(alpha.tolist(), sigma.tolist(), strict=True)]

    def level_at(self, log_snr: float) -> Level:
        """This path's level of a log-SNR, whether or not a time of the schedule has it."""
        alpha, sigma = SCALINGS[self.scaling].alpha_sigma(torch.tensor(log_snr, dtype=torch.float64, device="cpu"))
        return Level(float(alpha), float(sigma))

    def entries(self, index: Tensor) -> Tensor:
        """The times, float64, of a table's entries 0 .. num_timesteps - 1 between ``t_min`` and ``t_max``: whole ones, but for
        the two ends of a stretch, which need not be."""
        return (math.floor(self.t_min) + index.double()).clamp(self.t_min, self.t_max)

    def t_of(self, level: Level) -> float:
        """The time at which the path has the level's log-SNR (its scale does not matter); ValueError where none has."""
        log_snr = level.log_snr
        t = float(self.t(torch.tensor(log_snr, dtype=torch.float64, device="cpu")))
        slack = ROUNDING * (min(self.t_high, 1e6) - self.t_low)
        if not (math.isfinite(t) and self.t_low - slack <= t <= self.t_high + slack):
            raise ValueError(self._unknown(log_snr))
        return min(max(t, self.t_low), self.t_high)

    def _unknown(self, log_snr: float) -> str:
        """Why no time has this log-SNR, and the nearest that one has."""
        name = type(self).__name__
        noisiest, cleanest = self._log_snrs(self.t_high, self.t_low)
        if not noisiest <= log_snr <= cleanest:
            what, near = ("noise", noisiest) if log_snr < noisiest else ("detail", cleanest)
            range_ = f"{noisiest:.6g} to {cleanest:.6g}"
            said = f"lies outside {name}'s {range_}: a network trained on it was never shown that much {what}"
        elif self.num_timesteps is None:
            (near,) = self._log_snrs(self.t_max)
            said = f"is at no time of {name}, where pure noise is infinitely far away"
        else:
            above, below = self._log_snrs(self.t_low + 1.0, self.t_high - 1.0)
            end, near = ("data", above) if log_snr > above else ("pure noise", below)
            said = f"lies between {end}, an end of {name}'s table, and the entry beside it: a network was shown nothing there"
        return f"log-SNR {log_snr:.6g} {said}; the nearest level has sigma / alpha = {math.exp(-near / 2):.6g}"

    def _log_snrs(self, *times: float) -> list[float]:
        found: list[float] = self.log_snr(torch.tensor(times, dtype=torch.float64, device="cpu")).tolist()
        return found


def _checked(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a time, called with what :meth:`Schedule.on_axis` makes of it."""

    @functools.wraps(method)
    def call(self: Schedule, t: Tensor) -> Any:
        return method(self, self.on_axis(t))

    return call


class Derived(Schedule):
    """A schedule seen through another one, ``base``: its time axis, its frame and its table's length, unless told otherwise."""

    base: Schedule

    @property
    def t_min(self) -> float:
        return self.base.t_min

    @property
    def t_max(self) -> float:
        return self.base.t_max

    @property
    def t_low(self) -> float:
        return self.base.t_low

    @property
    def t_high(self) -> float:
        return self.base.t_high

    @property
    def scaling(self) -> str:
        return self.base.scaling

    @property
    def num_timesteps(self) -> int | None:
        return self.base.num_timesteps


def rates_from_slope(schedule: Schedule, t: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Rates from d log_snr / dt.  With w = alpha sigma' - alpha' sigma = -alpha sigma slope / 2 and the frame's skip
    c = sigma' / w: sigma' = c w and alpha' = (alpha c - 1) w / sigma."""
    alpha, sigma = schedule.alpha_sigma(t)
    skip = SCALINGS[schedule.scaling].velocity_skip(alpha, sigma)
    # w / sigma = -alpha slope / 2: written so, nothing is divided by sigma
    return -0.5 * alpha * slope * (alpha * skip - 1), -0.5 * alpha * sigma * slope * skip
