"""A denoiser seen through a function: what all guidance is made of.

A transformer wraps the *run* of a denoiser (what :func:`noisepath.denoiser.begin` gives), so that memory and tables of
what is inside stay fresh in every run; all that the inner denoiser has (schedule, null, vocabulary, info ...) shows through.
What it is told of single pictures follows them into their batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..conditions import Condition
from ..denoiser import Denoise, Moved, begin, check_denoiser, fork, rows_of
from ..levels import Level

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HOLDING", "PerPicture", "Transformed", "belief", "views_of"]


HOLDING = "holding"
"""The name of what :func:`noisepath.editing.holding` makes."""


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
    memory: Callable[[], Any] | None = None
    """Makes what an outer run remembers from call to call, if anything: ``transform`` gets it as the keyword ``memory`` and may
    set its attributes.  A fork of the run has a shallow copy."""
    stateless: bool = False
    """That an outer run remembers nothing of its calls.  With neither this nor ``memory`` it is not known, and a run can't be
    forked: tuning then makes each of its runs from the first level."""
    name: str = ""
    """What it is called: a sampler that was tuned for this view of a denoiser knows it again."""

    def __post_init__(self) -> None:
        for denoiser in (self.inner, *self.others):
            check_denoiser(denoiser)

    def __repr__(self) -> str:
        return f"Transformed({self.inner!r})"

    def begin(self, levels: Iterable[Level]) -> Denoise:
        """A fresh run: the inner one's, transformed."""
        levels = list(levels)
        runs = [begin(denoiser, levels) for denoiser in (self.inner, *self.others)]
        return _Run(self, runs, None if self.memory is None else self.memory())

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
        if name.startswith("_") or name == "inner":  # Python's own questions, and those of a half-made object
            raise AttributeError(f"a transformed denoiser has no {name!r}")
        return getattr(self.inner, name)


class _Run:
    """A run of a transformed denoiser."""

    def __init__(self, of: Transformed, runs: Sequence[Denoise], memory: Any) -> None:
        self._of, self._runs, self._memory = of, runs, memory
        self._ask = of.transform(*runs, *of.told, **({} if of.memory is None else {"memory": memory}))

    def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor | Moved:
        return self._ask(x, level) if condition is None else self._ask(x, level, condition)

    def fork(self) -> Denoise | None:
        """A run with copies of what this one and those inside remember; itself where that is nothing."""
        if not self._of.stateless and self._of.memory is None:
            return None
        forks: list[Denoise] = []
        for denoiser, run in zip((self._of.inner, *self._of.others), self._runs, strict=True):
            own = fork(denoiser, run)
            if own is None:
                return None
            forks.append(own)
        if self._of.memory is None and all(a is b for a, b in zip(forks, self._runs, strict=True)):
            return self
        return _Run(self._of, forks, copy(self._memory))


def belief(output: Tensor | Moved) -> Tensor:
    """What an inner run answers; TypeError where it moves the state, which only the outermost may."""
    if isinstance(output, Moved):
        raise TypeError("a denoiser that moves the state must be the outermost one: put this transformer inside it")
    return output


def views_of(denoiser: Denoise) -> tuple[str, ...]:
    """The names of the transformers that a denoiser is seen through, the outermost first; none of a plain one.  What holds a
    part of an image for an edit is no view of the model."""
    if not isinstance(denoiser, Transformed):
        return ()
    own = denoiser.name or getattr(denoiser.transform, "__qualname__", type(denoiser.transform).__name__)
    return views_of(denoiser.inner) if own == HOLDING else (own, *views_of(denoiser.inner))
