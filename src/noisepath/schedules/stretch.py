"""A part of a schedule: where a run begins midway, or ends before the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import is_number, numbers
from ..levels import Level
from .base import ROUNDING, Derived, Schedule

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Stretch", "begun", "time_at"]


@dataclass(frozen=True)
class Stretch(Derived):
    """Another schedule with runs from time ``first`` to ``last``: all else, its whole time axis too, is the other's.

    Every spacing divides the stretch as it divides a whole schedule.  A table's stretch has the table's times within it, and
    its two ends, which need not be whole.
    """

    base: Schedule
    first: float
    last: float

    def __post_init__(self) -> None:
        from . import as_schedule

        object.__setattr__(self, "base", as_schedule(self.base))
        numbers(self, "first", "last")
        if not self.base.t_min <= self.last <= self.first <= self.base.t_max:
            raise ValueError(
                f"a stretch of {type(self.base).__name__} goes from t = {self.base.t_max:g} at most to {self.base.t_min:g} "
                f"at least, but got {self.first:g} to {self.last:g}"
            )

    @property
    def t_max(self) -> float:
        return self.first

    @property
    def t_min(self) -> float:
        return self.last

    @property
    def num_timesteps(self) -> int | None:
        return None if self.base.num_timesteps is None else math.ceil(self.t_max) - math.floor(self.t_min) + 1

    def log_snr(self, t: Tensor) -> Tensor:
        return self.base.log_snr(t)

    def t(self, log_snr: Tensor) -> Tensor:
        return self.base.t(log_snr)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.base.rates(t)

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.base.alpha_sigma(t)


def begun(schedule: Schedule | str, strength: float | Level) -> Schedule:
    """The schedule (or that of this name) from where a run of this strength begins.  1 is the schedule itself.

    strength: the share of the way from the data to the noise, above 0 and at most 1, in the schedule's own time: of t_min to
        t_max where it is continuous; of a table's noisy times, to the nearest whole one and to no less than the first.  Or a
        Level, whose log-SNR is where to begin (its scale does not matter); on a table it may lie between two entries.
    """
    from . import as_schedule

    schedule = as_schedule(schedule)
    if isinstance(strength, Level):
        return Stretch(schedule, time_at(schedule, strength, "begin"), schedule.t_min)
    if isinstance(strength, bool) or not is_number(strength) or not 0.0 < strength <= 1.0:
        raise ValueError(f"strength is a share of the schedule's time, above 0 and at most 1, or a Level, but got {strength!r}")
    strength = float(strength)
    if strength == 1.0:
        return schedule
    low, high = schedule.t_min, schedule.t_max
    if schedule.num_timesteps is None:
        return Stretch(schedule, low + (high - low) * strength, low)
    clean = int(schedule.level(low).is_data)
    times = schedule.num_timesteps - clean
    return Stretch(schedule, min(math.floor(low) + clean + max(round(strength * times), 1) - 1.0, high), low)


def time_at(schedule: Schedule, level: Level, what: str) -> float:
    """The time of a level that a run is to ``begin`` or ``end`` at; ValueError for one that its runs do not pass."""
    if not level.is_data:
        t = schedule.t_of(level)
        slack = ROUNDING * (schedule.t_max - schedule.t_min)
        whole = [] if schedule.num_timesteps is None else [float(round(t))]
        t = next((known for known in (schedule.t_min, schedule.t_max, *whole) if abs(t - known) <= slack), t)
        if schedule.t_min <= t <= schedule.t_max:
            return t
    first, last = schedule.level(schedule.t_max), schedule.level(schedule.t_min)
    why = ", which is data: there is no noise in it" if level.is_data else ""
    raise ValueError(f"a run can't {what} at {level}{why}; runs of {type(schedule).__name__} go from {first} to {last}")
