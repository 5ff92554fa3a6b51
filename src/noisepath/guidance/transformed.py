"""A denoiser seen through a function: what all guidance is made of.

A transformer wraps the *run* of a denoiser (what :func:`noisepath.denoiser.begin` gives), so that memory and tables of
what is inside stay fresh in every run; ``schedule``, ``null`` and ``info`` of the inner denoiser show through.  What it is
told of single pictures follows them into their batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..conditions import Condition
from ..denoiser import Denoise, Moved, begin, check_denoiser, rows_of
from ..levels import Level

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PerPicture", "Transformed", "belief"]


class PerPicture(Protocol):
    """What may differ from picture to picture."""

    def rows(self, rows: slice, count: int) -> Self:
        """That of some of a run's ``count`` pictures; ValueError where it has not one for each, nor one for all."""
        ...


@dataclass(frozen=True)
class Transformed:
    """``inner`` seen through ``transform``: from the inner run, those of ``others`` and what is ``told`` to the outer run."""

    inner: Denoise
    transform: Callable[..., Denoise]
    others: Sequence[Denoise] = ()
    """More denoisers that it asks, begun for the same levels; the inner one again where it is asked twice, as each of its runs
    has a memory of its own."""
    told: Sequence[PerPicture] = ()

    def __post_init__(self) -> None:
        for denoiser in (self.inner, *self.others):
            check_denoiser(denoiser)

    def __repr__(self) -> str:
        return f"Transformed({self.inner!r})"

    def begin(self, levels: Iterable[Level]) -> Denoise:
        """A fresh run: the inner one's, transformed."""
        levels = list(levels)
        return self.transform(begin(self.inner, levels), *(begin(other, levels) for other in self.others), *self.told)

    def rows(self, rows: slice, count: int) -> Transformed:
        """The same for some of a run's ``count`` pictures."""
        return replace(
            self,
            inner=rows_of(self.inner, rows, count),
            others=[rows_of(other, rows, count) for other in self.others],
            told=[part.rows(rows, count) for part in self.told],
        )

    def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor | Moved:
        return self.begin([level])(x, level, condition)

    def __getattr__(self, name: str) -> Any:
        if name in ("schedule", "null", "info", "sigma_data", "data_scale", "prediction", "network"):
            return getattr(self.inner, name)
        raise AttributeError(f"a transformed denoiser has no {name!r}")


def belief(output: Tensor | Moved) -> Tensor:
    """What an inner run answers; TypeError where it moves the state, which only the outermost may."""
    if isinstance(output, Moved):
        raise TypeError("a denoiser that moves the state must be the outermost one: put this transformer inside it")
    return output
