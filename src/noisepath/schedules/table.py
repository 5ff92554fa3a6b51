"""Tables of log-SNRs read as continuous schedules; any schedule cut to a table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from .._lazy import torch
from ..errors import lookup, number, shown, whole
from ..scalings import SCALINGS
from ..tables import DiffusionConfig
from .base import ROUNDING, Schedule, rates_from_slope

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Discrete", "Table", "cut"]


@dataclass(frozen=True)
class Table(Schedule):
    """A table of log-SNRs, one for each t = 0 .. T-1, read as continuous: linear between its finite entries.

    An entry of ``inf`` at the start or ``-inf`` at the end is a level of its own (exact data, exact noise); there is
    nothing between it and its neighbour.  ``scaling`` is the frame of its levels.
    """

    log_snrs: tuple[float, ...]
    scaling: str = "preserving"
    t_min: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        lookup(SCALINGS, self.scaling, "scaling")
        object.__setattr__(self, "log_snrs", _own_numbers(self.log_snrs))
        _check_table(self.log_snrs)

    def __repr__(self) -> str:
        ends = f"{self.log_snrs[0]:.4g} .. {self.log_snrs[-1]:.4g}"
        return f"Table(<{len(self.log_snrs)} log-SNRs, {ends}>, scaling={self.scaling!r})"

    @property
    def num_timesteps(self) -> int:
        return len(self.log_snrs)

    @property
    def t_max(self) -> float:
        return float(len(self.log_snrs) - 1)

    @property
    def t_high(self) -> float:
        return self.t_max

    @cached_property
    def _entries(self) -> Tensor:
        return torch.tensor(self.log_snrs, dtype=torch.float64, device="cpu")

    def _finite(self) -> tuple[int, int]:
        """First and last index with a finite log-SNR."""
        return int(self.log_snrs[0] == math.inf), len(self.log_snrs) - 1 - int(self.log_snrs[-1] == -math.inf)

    def log_snr(self, t: Tensor) -> Tensor:
        low = t.floor()
        index, entries = low.long(), self._entries.to(t.device)
        here, there = entries[index], entries[(index + 1).clamp(max=len(self.log_snrs) - 1)]
        part = t - low
        inside = torch.lerp(here, there, part)
        gap = (part > 0) & ~torch.isfinite(here + there)
        if gap.any():
            raise ValueError(
                f"t = {float(t[gap].flatten()[0]):g} lies between an exact end of the table and its neighbour, where "
                f"there is no level; the nearest times are {math.floor(float(t[gap].flatten()[0]))} and the next"
            )
        return torch.where(part > 0, inside, here)

    def t(self, log_snr: Tensor) -> Tensor:
        first, last = self._finite()
        falling = self._entries[first : last + 1].to(log_snr.device)
        # position in the table turned round, which rises; outside it the end interval goes on, for t_of to refuse
        right = torch.searchsorted(-falling, (-log_snr).contiguous()).clamp(1, max(len(falling) - 1, 1))
        left = right - 1
        if len(falling) == 1:
            gap = falling[0] - log_snr
            t = torch.where(gap.abs() <= ROUNDING * (1 + falling[0].abs()), 0.0, torch.sign(gap) * math.inf)
        else:
            t = left + (falling[left] - log_snr) / (falling[left] - falling[right])
        t = t + first
        if first:
            t = torch.where(log_snr == math.inf, 0.0, torch.where(t < first - ROUNDING, -math.inf, t.clamp(min=first)))
        if last < len(self.log_snrs) - 1:
            t = torch.where(log_snr == -math.inf, self.t_max, torch.where(t > last + ROUNDING, math.inf, t.clamp(max=last)))
        return t

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        first, last = self._finite()
        left = t.floor().clamp(first, max(last - 1, first)).long()
        entries = self._entries.to(t.device)
        slope = entries[(left + 1).clamp(max=last)] - entries[left]
        return rates_from_slope(self, t, slope)


@dataclass(frozen=True)
class Discrete(Table):
    """The table of a discrete DDPM process, by its configuration; t = 0 .. T-1 counts its noising steps."""

    log_snrs: tuple[float, ...] = field(init=False, repr=False, compare=False)
    scaling: str = field(init=False, repr=False, compare=False, default="preserving")
    config: DiffusionConfig = field(default_factory=DiffusionConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_snrs", self.config.tables().log_snr)
        _check_table(self.log_snrs)

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        index = t.round().long()
        alpha, sigma = super().alpha_sigma(t)
        exact = index == t  # at whole times the tables have the last digit, too
        roots = self._roots.to(t.device)
        return torch.where(exact, roots[0][index], alpha), torch.where(exact, roots[1][index], sigma)

    @cached_property
    def _roots(self) -> Tensor:
        tables = self.config.tables()
        pair = (tables.sqrt_alphas_cumprod, tables.sqrt_one_minus_alphas_cumprod)
        return torch.tensor(pair, dtype=torch.float64, device="cpu")


def cut(schedule: Schedule | str, num_timesteps: int) -> Table:
    """A continuous schedule, or one's name, as a table of T entries: entry i is at t_min + (t_max - t_min) (i + 1) / T."""
    from . import as_schedule

    schedule = as_schedule(schedule)
    num_timesteps = whole(num_timesteps, "a table needs a whole number of timesteps, 1 or more", 1)
    part = torch.arange(1, num_timesteps + 1, dtype=torch.float64, device="cpu") / num_timesteps
    log_snrs = schedule.log_snr(schedule.t_min + (schedule.t_max - schedule.t_min) * part)
    return Table(tuple(log_snrs.tolist()), schedule.scaling)


def _own_numbers(log_snrs: object) -> tuple[float, ...]:
    if not isinstance(log_snrs, Iterable) or isinstance(log_snrs, str | bytes) or getattr(log_snrs, "ndim", 1) != 1:
        raise TypeError(f"log_snrs of a table are a sequence of numbers, but got {shown(log_snrs)}")
    return tuple(number(value, "an entry of log_snrs") for value in log_snrs)


def _check_table(log_snrs: tuple[float, ...]) -> None:
    if not log_snrs:
        raise ValueError("a table of log-SNRs needs at least one entry")
    for i, (one, two) in enumerate(zip(log_snrs, log_snrs[1:], strict=False)):
        if not one > two:
            raise ValueError(f"log-SNRs must fall from data to noise, but entries {i} and {i + 1} are {one} and {two}")
    if any(math.isnan(v) for v in log_snrs) or log_snrs[0] == -math.inf or log_snrs[-1] == math.inf:
        raise ValueError("log-SNRs must be numbers; only the first may be inf and only the last -inf, and not alone")
