"""Which levels a run visits: ``steps`` steps from a schedule's noisiest level to exactly clean data.

A spacing is ``f(schedule, steps) -> list[Level]`` of ``steps + 1`` levels that fall in noise.  All but "leading" begin at
``schedule.t_max``; all end at a level with sigma = 0: the schedule's own where it has one, else ``Level(1, 0)``.  In
between, "time", "leading" and "trailing" divide the schedule's time, the others a measure of noise alone, with

    noise_ratio = sigma / alpha,        log_snr = -2 log(noise_ratio),        angle = atan(noise_ratio)

They stay within what the schedule covers: from its first level to that of ``t_min``, below which a network trained on it
was never asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from .levels import Level

if TYPE_CHECKING:
    from .schedules import Schedule

__all__ = ["SPACINGS", "Spacing", "angle", "check_falling", "karras", "leading", "log_snr", "most_steps", "time", "trailing"]

Spacing = Callable[["Schedule", int], list[Level]]

# For schedules without levels of their own near an end: EDM's range (Karras et al. 2206.00364, table 1).
SMALLEST_RATIO = 0.002
LARGEST_RATIO = 80.0
# A noisier start than this is as good as pure noise: spread over its whole range, most steps would do nothing.
PURE_RATIO = 1000.0
RHO = 7.0


def time(schedule: Schedule, steps: int) -> list[Level]:
    """Uniform in the schedule's time (diffusers' "linspace", but not rounded to whole times of a table).

    On a schedule whose end is exactly clean (flow, cosine) straight to it; else to ``t_min``, and from there to data.
    """
    _check_steps(schedule, steps)
    first, last = schedule.t_max, schedule.t_min
    if schedule.level(last).is_data:
        return schedule.levels(_line(first, last, steps + 1))
    return [*schedule.levels(_line(first, last, steps)), _clean(schedule)]


def leading(schedule: Schedule, steps: int) -> list[Level]:
    """The low end of each of ``steps`` equal stretches of time, as DDIM took them: it starts below ``t_max``.

    On a table of T times: multiples of ``T // steps``, from 0 (diffusers' "leading", with steps_offset 0).  On a
    continuous schedule with an exactly clean end there is one stretch more, since the lowest end is clean already.
    """
    _check_steps(schedule, steps)
    if schedule.num_timesteps is not None:
        low, times = _noisy_times(schedule)
        return [*schedule.levels(low + i * (times // steps) for i in reversed(range(steps))), _clean(schedule)]
    if schedule.level(schedule.t_min).is_data:
        return schedule.levels(_line(schedule.t_max, schedule.t_min, steps + 2)[1:])
    return [*schedule.levels(_line(schedule.t_max, schedule.t_min, steps + 1)[1:]), _clean(schedule)]


def trailing(schedule: Schedule, steps: int) -> list[Level]:
    """The high end of each of ``steps`` equal stretches of time, and then data (Lin et al. 2305.08891, table 2).

    On a table of T times: ``round(T - i T / steps) - 1`` (diffusers' "trailing").
    """
    _check_steps(schedule, steps)
    if schedule.num_timesteps is not None:
        low, times = _noisy_times(schedule)
        return [*schedule.levels(low + round(times - i * (times / steps)) - 1 for i in range(steps)), _clean(schedule)]
    return [*schedule.levels(_line(schedule.t_max, schedule.t_min, steps + 1)[:-1]), _clean(schedule)]


def log_snr(schedule: Schedule, steps: int) -> list[Level]:
    """Uniform in log-SNR down to the schedule's smallest noise, and from there to data."""
    return _between(schedule, steps, math.log, math.exp)


def karras(schedule: Schedule, steps: int) -> list[Level]:
    """Uniform in noise_ratio^(1/7) down to the smallest noise, and from there to data (Karras et al. 2206.00364, eq. 5)."""
    return _between(schedule, steps, lambda ratio: ratio ** (1.0 / RHO), lambda root: root**RHO)


def angle(schedule: Schedule, steps: int) -> list[Level]:
    """Uniform in the angle atan(sigma / alpha), straight to data (so does cosine's own time).

    Where that leads below the schedule's smallest noise, uniform down to it, and from there to data.
    """
    _check_steps(schedule, steps)
    first, largest, smallest = _reach(schedule)
    highest = math.atan2(first.sigma, first.alpha)
    lowest = max(highest / steps, math.atan(smallest))
    angles = _line(highest, lowest, steps)[1:]
    if first.is_noise and angles:  # no level of the schedule may lie between pure noise and its neighbour
        angles = _line(min(angles[0], math.atan(largest)), lowest, len(angles))
    return [first, *(_at(schedule, math.tan(a)) for a in angles), _clean(schedule)]


SPACINGS: dict[str, Spacing] = {
    "time": time,
    "leading": leading,
    "trailing": trailing,
    "log_snr": log_snr,
    "angle": angle,
    "karras": karras,
}


def check_falling(levels: Sequence[Level]) -> None:
    """ValueError unless there are two levels or more and each is cleaner than the one before."""
    if len(levels) < 2:
        raise ValueError(f"a run needs at least 2 levels, a start and an end, but got {len(levels)}")
    for n, (t, s) in enumerate(pairwise(levels)):
        if not t.noise_ratio > s.noise_ratio:
            raise ValueError(f"levels must fall in noise, but level {n} is {t} and level {n + 1} is {s}")


def most_steps(schedule: Schedule) -> int | None:
    """The largest number of steps there is room for: one for each noisy time of a table; None if it is continuous."""
    return None if schedule.num_timesteps is None else _noisy_times(schedule)[1]


def _between(schedule: Schedule, steps: int, to: Callable[[float], float], back: Callable[[float], float]) -> list[Level]:
    """``steps`` levels uniform in ``to(noise_ratio)`` from the largest to the smallest, and data."""
    _check_steps(schedule, steps)
    first, largest, smallest = _reach(schedule)
    ratios = [back(u) for u in _line(to(largest), to(smallest), steps)]
    return [first, *(_at(schedule, ratio) for ratio in ratios[1:]), _clean(schedule)]


def _reach(schedule: Schedule) -> tuple[Level, float, float]:
    """The first level, and the noise ratios between which the grid is spread: its first place is the first level's."""
    first, last = schedule.level(schedule.t_max), schedule.level(schedule.t_min)
    table = schedule.num_timesteps
    largest = first.noise_ratio
    if largest > PURE_RATIO:
        largest = LARGEST_RATIO
        if first.is_noise and table is not None and table > 1:  # a table has nothing between its end and the entry below
            largest = min(largest, schedule.level(schedule.t_max - 1.0).noise_ratio)
    smallest = last.noise_ratio
    if last.is_data:
        smallest = SMALLEST_RATIO if table is None else schedule.level(min(1.0, schedule.t_max)).noise_ratio
    return first, largest, smallest


def _at(schedule: Schedule, noise_ratio: float) -> Level:
    return schedule.level_at(-2.0 * math.log(noise_ratio))


def _clean(schedule: Schedule) -> Level:
    last = schedule.level(schedule.t_min)
    return last if last.is_data else Level(1.0, 0.0)


def _line(first: float, last: float, count: int) -> list[float]:
    """``count`` numbers from first to last, both included, exactly; the first alone if count is 1."""
    if count == 1:
        return [first]
    return [first + (last - first) * (i / (count - 1)) for i in range(count - 1)] + [last]


def _check_steps(schedule: Schedule, steps: int) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"a run takes a whole number of steps, 1 or more, but got {steps!r}")
    most = most_steps(schedule)
    if most is not None and steps > most:
        raise ValueError(
            f"{steps} steps asked for, but this table of {schedule.num_timesteps} times has room for {most} at most"
        )


def _noisy_times(table: Schedule) -> tuple[int, int]:
    """The first time of a table that is not clean already (0, unless the table says so), and how many there are."""
    low = int(table.level(table.t_min).is_data)
    return low, (table.num_timesteps or 0) - low
