"""Errors that help: a wrong name is answered with the names there are and the one that was probably meant."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, SupportsFloat, TypeVar

__all__ = ["explain_options", "is_number", "lookup", "shown", "unknown"]

T = TypeVar("T")

MOST_NAMES = 60
"""Names that an error lists; of more it gives the number."""
MOST_LETTERS = 80
"""Of something that was given, as an error repeats it."""


def unknown(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that is not among ``known``, with the nearest one first where there is a near one."""
    names = list(known)
    near = difflib.get_close_matches(str(name)[:MOST_LETTERS], names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    more = f" ... {len(names):,} in all" if len(names) > MOST_NAMES else ""
    return ValueError(f"unknown {kind} {shown(name)}{hint} (there are: {', '.join(names[:MOST_NAMES])}{more})")


def is_number(value: object) -> bool:
    """Whether ``float(value)`` is meant; a text that holds a number is none."""
    return isinstance(value, SupportsFloat) and getattr(value, "ndim", 0) == 0


def shown(value: object) -> str:
    """What was given, as an error repeats it: not in full where it is long, and in one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 4]} ..."


def lookup(catalogue: Mapping[str, T], name: str, kind: str) -> T:
    """``catalogue[name]``, or :func:`unknown`'s error."""
    try:
        return catalogue[name]
    except (KeyError, TypeError):
        raise unknown(kind, name, catalogue) from None


def explain_options(elsewhere: Mapping[str, str]) -> Callable[[type[T]], type[T]]:
    """Decorator of a dataclass: an option that it does not have is a TypeError that names the nearest one.

    ``elsewhere``: what other libraries call an option -> its name here.
    """

    def explain(cls: type[T]) -> type[T]:
        names = [f.name for f in dataclasses.fields(cls) if f.init]  # type: ignore[arg-type]
        plain: Callable[..., None] = cls.__init__

        @wraps(plain)
        def init(self: T, *args: Any, **options: Any) -> None:
            for option in options:
                if option not in names:
                    near = elsewhere.get(option) or next(iter(difflib.get_close_matches(option, names, n=1)), None)
                    hint = f": did you mean {near}?" if near else ""
                    raise TypeError(f"{cls.__name__} has no option {option!r}{hint} (there are: {', '.join(names)})")
            plain(self, *args, **options)

        cls.__init__ = init  # type: ignore[method-assign, assignment]
        return cls

    return explain
