"""Scales and conditions that a guidance is told: one for all pictures, or one for each; a scale for each place of them too.

Those for each picture follow the pictures into the batches of a run (:func:`noisepath.denoiser.rows_of`).  A guidance around
another one asks it about whole batches, one after another: then they are used again for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._lazy import torch
from ..conditions import Condition, check_condition
from ..errors import is_number, shown
from ..levels import Level

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ByLevel", "Given", "Scale", "within"]

ByLevel = Callable[[Level], "float | Tensor"]


@dataclass(frozen=True)
class Scale:
    """A guidance scale, of every picture and level.

    value: a number, a tensor (B,) with one for each picture, one (B or 1, *) that goes with the pictures, with one for each
        place, or a function of the level that gives any of these.
    none: the scale that means no guidance (None: there is none such).
    interval: (low, high) of sigma / alpha: ``none`` but at low < sigma / alpha <= high.
    least, most: the range it may have.
    """

    value: float | Tensor | ByLevel
    none: float | None = 1.0
    interval: tuple[float, float] = (0.0, math.inf)
    least: float = -math.inf
    most: float = math.inf

    @classmethod
    def of(
        cls,
        value: float | Tensor | ByLevel,
        none: float | None = 1.0,
        interval: tuple[float, float] | None = None,
        least: float = -math.inf,
        most: float = math.inf,
    ) -> Scale:
        """A scale that has been checked; ValueError for one that is not finite or out of its range, and an empty interval."""
        value = _tensor(value)
        scale = cls(value, none, (0.0, math.inf) if interval is None else _interval(interval), least, most)
        if isinstance(value, torch.Tensor):
            scale._check(value)
            return replace(scale, value=float(value)) if value.ndim == 0 else scale
        if callable(value):
            return scale
        scale._check(value)
        return replace(scale, value=float(value))

    @property
    def is_none(self) -> bool:
        """Whether there is no guidance at any level."""
        return isinstance(self.value, float) and self.value == self.none

    def at(self, x: Tensor, level: Level) -> float | Tensor:
        """The scale for states x (B, *): a number, or a tensor that goes with x.  ``none`` comes as a number."""
        low, high = self.interval
        if self.none is not None and not low < level.noise_ratio <= high:
            return self.none
        value: float | Tensor = _tensor(self.value(level)) if callable(self.value) else self.value
        if value is not self.value:  # a function's answer
            self._check(value)
        if not isinstance(value, torch.Tensor):
            return float(value)
        each = _for_each(value, x).to(x)
        return each if value.ndim > 1 else each.view(-1, *(1,) * (x.ndim - 1))

    def rows(self, rows: slice, count: int) -> Scale:
        """That of some of ``count`` pictures."""
        if callable(self.value):
            return replace(self, value=_Cut(self.value, rows, count))
        return replace(self, value=_cut(self.value, rows, count))

    def _check(self, value: float | Tensor) -> None:
        """ValueError for a scale that can't be; a tensor on an accelerator is not waited for."""
        if isinstance(value, torch.Tensor):
            if value.numel() == 0 or value.is_complex():
                raise ValueError(f"guidance scales are real numbers, one for each picture or place, but got {shown(value)}")
            seen = value.detach().double().flatten().tolist() if value.device.type == "cpu" else []
        else:
            if not is_number(value):
                raise TypeError(
                    f"a guidance scale is a number, a tensor (B,) or (B, *), or a function of the level, but got {shown(value)}"
                )
            seen = [float(value)]
        meaning = "" if self.none is None else f" ({self.none:g} means no guidance)"
        for number in seen:
            if not math.isfinite(number):
                raise ValueError(f"a guidance scale must be a finite number{meaning}, but got {number}")
            if not self.least <= number <= self.most:
                raise ValueError(f"this guidance scale must be from {self.least:g} to {self.most:g}, but got {number}")


@dataclass(frozen=True)
class _Cut:
    """A function of the level, of some of ``count`` pictures."""

    whole: ByLevel
    which: slice
    count: int

    def __call__(self, level: Level) -> float | Tensor:
        return _cut(_tensor(self.whole(level)), self.which, self.count)


def _tensor(value: Any) -> Any:
    """An array or a list of numbers as a tensor; anything else as it is."""
    if not (isinstance(value, list | tuple) or (type(value).__module__ == "numpy" and bool(getattr(value, "ndim", 0)))):
        return value
    try:
        return torch.as_tensor(value, device="cpu")
    except (TypeError, ValueError, RuntimeError):  # texts, rows of several lengths
        return value


def _cut(value: float | Tensor, rows: slice, count: int) -> float | Tensor:
    if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) == 1:
        return value
    if len(value) != count:
        raise ValueError(f"{len(value)} guidance scales for {count} pictures")
    return value[rows]


def _for_each(value: Tensor, x: Tensor) -> Tensor:
    """One for each of x's rows, of one for all or one for each picture of a batch that x holds several times."""
    count = len(value) if value.ndim else 1
    if len(x) % count:
        raise ValueError(f"{count} guidance scales for {len(x)} pictures")
    places = value.shape[1:]
    if places and (len(places) != x.ndim - 1 or any(a not in (1, b) for a, b in zip(places, x.shape[1:], strict=True))):
        wanted = ", ".join(["B"] + [f"1 or {size}" if size != 1 else "1" for size in x.shape[1:]])
        got = tuple(value.shape)
        raise ValueError(f"guidance scales are (B,), or ({wanted}) for each place of these pictures, but have shape {got}")
    return value.repeat(len(x) // count, *(1,) * len(places))


@dataclass(frozen=True)
class Given:
    """A condition that a guidance is told, of one row or one for each picture."""

    condition: Condition

    def __post_init__(self) -> None:
        check_condition(self.condition)

    def rows(self, rows: slice, count: int) -> Given:
        """That of some of ``count`` pictures."""
        if self.condition.batch == 1:
            return self
        if self.condition.batch != count:
            raise ValueError(f"a condition that guidance is told has {self.condition.batch} rows for {count} pictures")
        return Given(self.condition.rows(rows))

    def of(self, x: Tensor) -> Condition:
        """With a row for each of x's, on its device."""
        told = self.condition.to(x.device)
        if told.batch == 1:
            return told.expand(len(x))
        if len(x) % told.batch:
            raise ValueError(f"a condition that guidance is told has {told.batch} rows for {len(x)} pictures")
        return told if told.batch == len(x) else Condition.cat([told] * (len(x) // told.batch))


def _interval(ends: tuple[float, float]) -> tuple[float, float]:
    pair = tuple(ends) if isinstance(ends, Iterable) else ()
    if not (len(pair) == 2 and all(map(is_number, pair)) and 0.0 <= pair[0] < pair[1]):
        raise ValueError(f"an interval is (low, high) of sigma / alpha with 0 <= low < high, but got {shown(ends)}")
    return pair[0], pair[1]


def within(name: str, value: float, low: float, high: float = math.inf, *, above: bool = False) -> None:
    """ValueError where an option is no number from ``low`` (``above``: more than it) to ``high``."""
    if not (is_number(value) and (low < value <= high if above else low <= value <= high)):
        least = f"above {low:g}" if above else f"{low:g} or more"
        most = "" if high == math.inf else f" and at most {high:g}"
        raise ValueError(f"{name} must be {least}{most}, but got {shown(value)}")
