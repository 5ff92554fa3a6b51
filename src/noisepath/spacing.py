"""Which levels a run visits: ``steps`` steps from a schedule's noisiest level to exactly clean data.

A spacing is ``f(schedule, steps) -> list[Level]`` of ``steps + 1`` levels that fall in noise.  All but "leading" begin at
``schedule.t_max``; all end at a level with sigma = 0: the schedule's own where it has one, else ``Level(1, 0)``.  In
between, "time", "leading", "trailing", "sgm_uniform", "quadratic" and "beta" divide the schedule's time, the others a measure
of noise alone, with

    noise_ratio = sigma / alpha,        log_snr = -2 log(noise_ratio),        angle = atan(noise_ratio)

They stay within what the schedule covers: from its first level to that of ``t_min``, below which a network trained on it
was never asked.  A run that begins midway takes its levels from a part of the schedule
(:class:`noisepath.schedules.Stretch`), so that first and last mean the same there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from .errors import is_whole, lookup, shown, whole
from .levels import Level

if TYPE_CHECKING:
    from .schedules import Schedule

__all__ = [
    "SPACINGS", "Spacing", "alpha_bar", "angle", "asinh", "ays", "beta", "check_falling", "gits", "is_listed", "karras",
    "kl_optimal", "leading", "legs", "log_snr", "most_steps", "polyexponential", "quadratic", "reach", "reversed_levels",
    "sgm_uniform", "time", "trailing",
]  # fmt: skip

Spacing = Callable[["Schedule", int], list[Level]]

# For schedules without levels of their own near an end: EDM's range (Karras et al. 2206.00364, table 1).
SMALLEST_RATIO = 0.002
LARGEST_RATIO = 80.0
# A noisier start than this is as good as pure noise: spread over its whole range, most steps would do nothing.
PURE_RATIO = 1000.0
# Two noise ratios that are one, but for rounding.
ROUNDING = 1e-9


def time(schedule: Schedule, steps: int) -> list[Level]:
    """Uniform in the schedule's time (diffusers' "linspace", but not rounded to whole times of a table).

    On a schedule whose end is exactly clean (flow, cosine) straight to it; else to ``t_min``, and from there to data.
    """
    _check_steps(schedule, steps)
    first, last = schedule.t_max, schedule.t_min
    if schedule.num_timesteps is not None and (first % 1.0 or last % 1.0):  # steps below 1, which an exact end has no room for
        return _at_shares(schedule, _line(1.0, 0.0, steps)[1:])
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
        visited = (low + i * (times // steps) for i in reversed(range(steps)))
        return [*schedule.levels(_within(schedule, t) for t in visited), _clean(schedule)]
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
        visited = (low + round(times - i * (times / steps)) - 1 for i in range(steps))
        return [*schedule.levels(_within(schedule, t) for t in visited), _clean(schedule)]
    return [*schedule.levels(_line(schedule.t_max, schedule.t_min, steps + 1)[:-1]), _clean(schedule)]


def log_snr(schedule: Schedule, steps: int) -> list[Level]:
    """Uniform in log-SNR down to the schedule's smallest noise, and from there to data ("exponential" in k-diffusion and
    diffusers: each noise ratio is the same share of the one before)."""
    return _between(schedule, steps, math.log, math.exp)


def sgm_uniform(schedule: Schedule, steps: int) -> list[Level]:
    """Uniform in the schedule's time, the last step from a whole stretch above ``t_min`` straight to data (Stability's and
    ComfyUI's name; on a table the times are not rounded)."""
    _check_steps(schedule, steps)
    return _at_shares(schedule, [1.0 - i / steps for i in range(1, steps)])


def quadratic(schedule: Schedule, steps: int) -> list[Level]:
    """Uniform in the square root of the schedule's time, so denser at the data (Song et al. 2010.02502, app. D.2).

    Straight to an exactly clean end, or to ``t_min`` and from there to data, as in :func:`time`.
    """
    _check_steps(schedule, steps)
    if schedule.num_timesteps is None and schedule.level(schedule.t_min).is_data:
        return _at_shares(schedule, [root * root for root in _line(1.0, 0.0, steps + 1)[1:-1]])
    return _at_shares(schedule, [root * root for root in _line(1.0, 0.0, steps)[1:]])


def beta(schedule: Schedule, steps: int, *, a: float = 0.6, b: float = 0.6) -> list[Level]:
    """Times at the quantiles of a Beta(a, b) distribution, denser at both ends, and then data (Lee et al. 2407.12173)."""
    _check_steps(schedule, steps)
    if not (0.0 < a < math.inf and 0.0 < b < math.inf):
        raise ValueError(f"the two numbers of a Beta distribution must be positive, but are {a} and {b}")
    return _at_shares(schedule, _beta_quantiles([1.0 - i / steps for i in range(1, steps)], a, b))


def karras(schedule: Schedule, steps: int, *, rho: float = 7.0) -> list[Level]:
    """Uniform in noise_ratio^(1/rho) down to the smallest noise, and from there to data (Karras et al. 2206.00364, eq. 5)."""
    _check_positive("rho", rho)
    return _between(schedule, steps, lambda ratio: ratio ** (1.0 / rho), lambda root: root**rho)


def polyexponential(schedule: Schedule, steps: int, *, rho: float = 2.0) -> list[Level]:
    """The logarithm of noise_ratio falls as (1 - i/n)^rho to the smallest noise, and from there to data (k-diffusion): rho = 1
    is :func:`log_snr`, more is denser at the data."""
    _check_positive("rho", rho)
    return _shaped(schedule, steps, lambda share: share**rho)


def asinh(schedule: Schedule, steps: int, *, scale: float = 0.1) -> list[Level]:
    """Uniform in asinh(noise_ratio / scale) down to the smallest noise, and from there to data: logarithmic above the scale
    and uniform below it."""
    _check_positive("scale", scale)
    return _between(schedule, steps, lambda ratio: math.asinh(ratio / scale), lambda u: scale * math.sinh(u))


def kl_optimal(schedule: Schedule, steps: int) -> list[Level]:
    """Uniform in the angle atan(sigma / alpha) down to the smallest noise, and from there to data (Sabour et al. 2404.14507,
    section 3: the best levels for data N(0, 1)); :func:`angle` goes straight to data."""
    return _between(schedule, steps, math.atan, math.tan)


def ays(schedule: Schedule, steps: int, *, model: str = "sd") -> list[Level]:
    """Align Your Steps' published levels (Sabour et al. 2404.14507), for "sd", "sdxl" or "svd", interpolated in log-SNR to so
    many steps and stretched to the schedule's range."""
    return _tabled(schedule, steps, lookup(AYS, model, "model of Align Your Steps"))


def gits(schedule: Schedule, steps: int) -> list[Level]:
    """GITS' published levels for Stable Diffusion (Chen et al. 2405.11326; coefficient 1.2, 10 steps), interpolated and
    stretched as those of :func:`ays`."""
    return _tabled(schedule, steps, GITS)


def alpha_bar(
    schedule: Schedule, steps: int, *, power: float = 0.15, data_scale: float = 2.0, detail: float = 0.5
) -> list[Level]:
    """Uniform in (-log alpha_bar)^power, where alpha_bar = 1 / (1 + (noise_ratio / data_scale)^2), and from there to data.

    DDPM's linear betas make its time such a scale with a power of about 1/2, and as the power goes to 0 it is logarithmic at
    little noise, as :func:`log_snr` is everywhere: 0.15 has many levels about ``data_scale``, where it is decided what a
    picture shows, and enough below.  With few steps the last noise is not worth a call, so the smallest ratio visited is
    ``detail / steps`` where the schedule goes lower.
    """
    _check_positive("power", power)
    _check_positive("data_scale", data_scale)
    if not 0.0 <= detail < math.inf:
        raise ValueError(f"detail must be 0 or a positive number, but got {detail}")
    _check_steps(schedule, steps)
    first, largest, smallest = reach(schedule)
    smallest = max(smallest, min(detail / steps, 0.1 * largest))
    low, high = (math.log1p((ratio / data_scale) ** 2) ** power for ratio in (smallest, largest))
    ratios = [data_scale * math.sqrt(math.expm1(u ** (1.0 / power))) for u in _line(high, low, steps)]
    return [first, *(_at(schedule, ratio) for ratio in ratios[1:]), _clean(schedule)]


def angle(schedule: Schedule, steps: int) -> list[Level]:
    """Uniform in the angle atan(sigma / alpha), straight to data (so does cosine's own time).

    Where that leads below the schedule's smallest noise, uniform down to it, and from there to data.
    """
    _check_steps(schedule, steps)
    first, largest, smallest = reach(schedule)
    highest = math.atan2(first.sigma, first.alpha)
    lowest = max(highest / steps, math.atan(smallest))
    angles = _line(highest, lowest, steps)[1:]
    if first.is_noise and angles:  # no level of the schedule may lie between pure noise and its neighbour
        angles = _line(min(angles[0], math.atan(largest)), lowest, len(angles))
    return [first, *(_at(schedule, math.tan(a)) for a in angles), _clean(schedule)]


# sigma / alpha at each level; the last step, to data, is not among them.
AYS = {
    "sd": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "svd": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}
GITS = (14.6146, 5.8552, 2.84485, 1.6705, 1.08895, 0.74807, 0.501184, 0.321048, 0.198949, 0.0982453, 0.0291675)

SPACINGS: dict[str, Spacing] = {
    "time": time,
    "leading": leading,
    "trailing": trailing,
    "sgm_uniform": sgm_uniform,
    "quadratic": quadratic,
    "beta": beta,
    "log_snr": log_snr,
    "alpha_bar": alpha_bar,
    "angle": angle,
    "karras": karras,
    "polyexponential": polyexponential,
    "asinh": asinh,
    "kl_optimal": kl_optimal,
    "ays": ays,
    "gits": gits,
}


def check_falling(levels: Sequence[Level]) -> None:
    """ValueError unless there are two levels or more and each is cleaner than the one before; TypeError for no levels."""
    if not is_listed(levels):
        raise TypeError(f"levels are a list of Level(alpha, sigma), the noisiest first, but got {shown(levels)}")
    if len(levels) < 2:
        raise ValueError(f"a run needs at least 2 levels, a start and an end, but got {len(levels)}")
    for one in levels:
        if not isinstance(one, Level):
            raise TypeError(f"levels are of type Level(alpha, sigma), but one is {one!r}")
    for n, (t, s) in enumerate(pairwise(levels)):
        if not t.noise_ratio > s.noise_ratio:
            raise ValueError(f"levels must fall in noise, but level {n} is {t} and level {n + 1} is {s}")


def is_listed(levels: object) -> bool:
    """Whether these are several things in order, and no text."""
    return isinstance(levels, Sequence) and not isinstance(levels, str | bytes)


def legs(levels: Sequence[Level]) -> list[list[Level]]:
    """The parts of a run that turns, each falling or rising all the way; the level of a turn ends one and begins the next."""
    if not is_listed(levels):
        raise TypeError(f"levels are a list of Level(alpha, sigma), but got {shown(levels)}")
    parts: list[list[Level]] = []
    rose: bool | None = None
    for n, (t, s) in enumerate(pairwise(levels)):
        if t.noise_ratio == s.noise_ratio:
            raise ValueError(f"a step leads to another level, but level {n} is {t} and level {n + 1} has the same noise, {s}")
        rises = t.noise_ratio < s.noise_ratio
        if rises is not rose:
            parts.append([t])
        parts[-1].append(s)
        rose = rises
    if not parts:
        raise ValueError(f"a run needs at least 2 levels, a start and an end, but got {len(levels)}")
    return parts


def reversed_levels(
    schedule: Schedule, steps: int, spacing: str | Spacing = "log_snr", *, smallest: Level | None = None
) -> list[Level]:
    """``steps + 1`` levels of a run from data to noise: a spacing's own turned round, from the smallest to the first.

    smallest: where the run begins (by its log-SNR); by default the cleanest noisy level that the schedule's runs visit.  It
        has some noise: at sigma = 0 there is no noise estimate, so no step leads up from there.

    Where the spacing has no level there (trailing ends a whole stretch above it), one step leads from it to the spacing's.
    """
    from .schedules.stretch import Stretch, time_at

    space = spacing if callable(spacing) else lookup(SPACINGS, spacing, "spacing")
    own = _at(schedule, reach(schedule)[2])
    if smallest is not None and smallest.is_data:
        raise ValueError(
            f"at {smallest} there is no noise estimate, so a run from data to noise can't begin there: begin at a level with "
            f"a little noise; the smallest that a run of this schedule visits is {own}"
        )
    path = Stretch(schedule, schedule.t_max, time_at(schedule, smallest or own, "begin"))
    last = path.level(path.t_min)
    most = most_steps(path)
    if most is not None and is_whole(steps) and steps >= most:
        raise ValueError(f"{steps} steps asked for, but from {last} up this table has room for {most - 1} at most")
    noisy = space(path, steps)[:-1]
    if noisy[-1].noise_ratio <= last.noise_ratio * (1.0 + ROUNDING):
        noisy = space(path, steps + 1)[:-2]
    return [last, *reversed(noisy)]


def most_steps(schedule: Schedule) -> int | None:
    """The largest number of steps there is room for: one for each noisy time of a table; None if it is continuous."""
    return None if schedule.num_timesteps is None else _noisy_times(schedule)[1]


def _between(schedule: Schedule, steps: int, to: Callable[[float], float], back: Callable[[float], float]) -> list[Level]:
    """``steps`` levels uniform in ``to(noise_ratio)`` from the largest to the smallest, and data."""
    _check_steps(schedule, steps)
    first, largest, smallest = reach(schedule)
    ratios = [back(u) for u in _line(to(largest), to(smallest), steps)]
    return [first, *(_at(schedule, ratio) for ratio in ratios[1:]), _clean(schedule)]


def _at_shares(schedule: Schedule, shares: Sequence[float]) -> list[Level]:
    """The level of ``t_max``, those at shares of the way up from ``t_min`` to it, falling and below 1, and data.

    A table has nothing between an exactly noisy or clean end and the entry beside it: what would fall there makes room.
    """
    first, low = schedule.t_max, schedule.t_min
    if schedule.num_timesteps is not None and schedule.level(low).is_data:
        low += 1.0
    times = [low + (first - low) * share for share in shares]
    if schedule.num_timesteps is not None and schedule.level(first).is_noise and times and times[0] > first - 1.0:
        squeeze = (first - 1.0 - low) / (times[0] - low)
        times = [low + (t - low) * squeeze for t in times]
    return [*schedule.levels([first, *times]), _clean(schedule)]


def _shaped(schedule: Schedule, steps: int, share_of: Callable[[float], float]) -> list[Level]:
    """``steps`` levels whose place between the smallest (0) and the largest noise (1), in the logarithm, is ``share_of`` a
    share that falls evenly from 1 to 0; and data."""
    _check_steps(schedule, steps)
    first, largest, smallest = reach(schedule)
    low, length = math.log(smallest), math.log(largest) - math.log(smallest)
    ratios = [math.exp(low + length * share_of(share)) for share in _line(1.0, 0.0, steps)[1:]]
    return [first, *(_at(schedule, ratio) for ratio in ratios), _clean(schedule)]


def _tabled(schedule: Schedule, steps: int, table: Sequence[float]) -> list[Level]:
    """The shape of a table of noise ratios: its ends become those of the schedule, its inside is interpolated."""
    low, length = math.log(table[-1]), math.log(table[0]) - math.log(table[-1])
    known = [(math.log(ratio) - low) / length for ratio in table]

    def share_of(share: float) -> float:
        place = (1.0 - share) * (len(known) - 1)
        before = min(int(place), len(known) - 2)
        return known[before] + (place - before) * (known[before + 1] - known[before])

    return _shaped(schedule, steps, share_of)


def _beta_quantiles(shares: Sequence[float], a: float, b: float) -> list[float]:
    """Where a Beta(a, b) variable has these shares below it.

    Its distribution function is an integral over theta, with x = sin^2(theta), of sin^(2a-1) cos^(2b-1), which is tame at both
    ends: summed over 4,000 midpoints, and read backwards.
    """
    import numpy as np

    theta = (np.arange(4000) + 0.5) * (math.pi / 2 / 4000)
    mass = np.cumsum(np.sin(theta) ** (2 * a - 1) * np.cos(theta) ** (2 * b - 1))
    ends = np.concatenate([[0.0], mass / mass[-1]])
    found = np.interp(shares, ends, np.linspace(0.0, math.pi / 2, 4001))
    return [float(x) for x in np.sin(found) ** 2]


def _check_positive(name: str, value: float) -> None:
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number, but got {value}")


def reach(schedule: Schedule) -> tuple[Level, float, float]:
    """The first level, and the noise ratios between which the grid is spread: its first place is the first level's."""
    first, last = schedule.level(schedule.t_max), schedule.level(schedule.t_min)
    table = schedule.num_timesteps
    largest = first.noise_ratio
    if largest > PURE_RATIO:
        largest = LARGEST_RATIO
        if first.is_noise and table is not None and table > 1:  # a table has nothing between its end and the entry below
            largest = min(largest, schedule.level(schedule.t_max - 1.0).noise_ratio)
    smallest = last.noise_ratio
    if last.is_data and table is None:  # a run that begins with hardly more noise still has a range to spread over
        smallest = min(SMALLEST_RATIO, 0.1 * largest)
    elif last.is_data:
        smallest = schedule.level(min(schedule.t_min + 1.0, schedule.t_max)).noise_ratio
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
    steps = whole(steps, "a run takes a whole number of steps, 1 or more", 1)
    most = most_steps(schedule)
    if most is not None and steps > most:
        begins = "" if schedule.t_max == schedule.t_high else f" from t = {schedule.t_max:g} down"
        raise ValueError(
            f"{steps} steps asked for, but this table of {schedule.num_timesteps} times{begins} has room for {most} at most"
        )


def _noisy_times(table: Schedule) -> tuple[int, int]:
    """The first time of a table that is not clean already (0, unless the table says so), and how many there are."""
    clean = int(table.level(table.t_min).is_data)
    return math.floor(table.t_min) + clean, (table.num_timesteps or 0) - clean


def _within(table: Schedule, t: float) -> float:
    """A whole time, or the end of the table's stretch that lies before it."""
    return min(max(t, table.t_min), table.t_max)
