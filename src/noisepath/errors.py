"""Errors that help: a wrong name is answered with the names there are and the one that was probably meant."""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from operator import index
from typing import Any, SupportsFloat, TypeVar

__all__ = [
    "explain_options", "is_number", "is_whole", "lookup", "number", "numbers", "once", "shown", "unknown", "warn", "whole",
]  # fmt: skip

T = TypeVar("T")

MOST_NAMES = 60
"""Names that an error lists; of more it gives the number."""
MOST_LETTERS = 80
"""Of something that was given, as an error repeats it."""


def unknown(kind: str, name: object, known: Iterable[str], aliases: Iterable[str] = ()) -> ValueError:
    """The error for a name that is not among ``known``, with the nearest one, or of ``aliases``, where there is a near one."""
    names = list(known)
    near = _nearest(str(name)[:MOST_LETTERS], [*names, *aliases], 0.5)
    hint = f"; did you mean {near!r}?" if near else ""
    more = f" ... {len(names):,} in all" if len(names) > MOST_NAMES else ""
    return ValueError(f"unknown {kind} {shown(name)}{hint} (there are: {', '.join(names[:MOST_NAMES])}{more})")


_given: ContextVar[set[str] | None] = ContextVar("given", default=None)
"""The warnings that were given, where each is to be given once."""


@contextmanager
def once() -> Iterator[None]:
    """Inside, each warning is given once: work of many runs says what holds for all of them one time."""
    token = _given.set(set())
    try:
        yield
    finally:
        _given.reset(token)


def _nearest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    """The nearest of the ``known`` names: "DDIM" is ddim and "dpm++2m" dpmpp_2m, whatever the case and the signs between."""
    plain: dict[str, str] = {}
    for one in known:
        plain.setdefault(_plain(one), one)
    near = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=cutoff)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    return name.lower().replace("+", "p").replace("-", "").replace("_", "").replace(" ", "")


def warn(message: str) -> None:
    """A warning at the line outside of this package that the work was called from; inside of :func:`once` one of each text."""
    given = _given.get()
    if given is not None:
        if message in given:
            return
        given.add(message)
    package, level, frame = os.path.dirname(__file__) + os.sep, 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def is_number(value: object) -> bool:
    """Whether ``float(value)`` is meant; a text that holds a number is none, numpy's own texts among them."""
    text = isinstance(value, str | bytes) or getattr(getattr(value, "dtype", None), "kind", "f") in "USOcmM"
    return isinstance(value, SupportsFloat) and getattr(value, "ndim", 0) == 0 and not text


def is_whole(value: object) -> bool:
    """Whether a whole number is meant: Python's, numpy's or a tensor's of no dimension, but no boolean and no 3.0."""
    if isinstance(value, bool) or getattr(value, "ndim", 0) != 0 or "bool" in str(getattr(value, "dtype", "")):
        return False
    try:
        index(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def number(value: object, what: str) -> float:
    """``value`` as Python's own float, whichever library's number it is; TypeError, which begins with ``what``, for none."""
    if type(value) is float:
        return value
    try:
        if is_number(value) and not isinstance(value, bool):
            return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):  # a complex number, one on the meta device
        pass
    raise TypeError(f"{what} must be a number, but got {shown(value)}")


def numbers(record: object, *names: str, optional: bool = False) -> None:
    """Make fields of a frozen dataclass Python's own floats, which JSON can store; ``optional``: None stays.

    Errors as :func:`number`.
    """
    for name in names:
        value = getattr(record, name)
        if value is not None or not optional:
            object.__setattr__(record, name, number(value, f"{name} of {type(record).__name__}"))


def whole(
    value: object, rule: str, least: int | None = None, most: int | None = None, error: type[Exception] = ValueError
) -> int:
    """``value`` as Python's own whole number, from ``least`` to ``most``.

    ``error`` for anything else; it begins with the ``rule``, such as "a run takes a whole number of steps, 1 or more".
    """
    number = index(value) if is_whole(value) else None  # type: ignore[arg-type]
    if number is None or (least is not None and number < least) or (most is not None and number > most):
        raise error(f"{rule}, but got {shown(value)}")
    return number


def shown(value: object) -> str:
    """What was given, as an error repeats it: not in full where it is long, and in one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 4]} ..."


def lookup(catalogue: Mapping[str, T], name: str, kind: str, aliases: Iterable[str] = ()) -> T:
    """``catalogue[name]``, or :func:`unknown`'s error, in which the nearest name may be one of the ``aliases``."""
    try:
        return catalogue[name]
    except (KeyError, TypeError):
        raise unknown(kind, name, catalogue, aliases) from None


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
                    near = elsewhere.get(option) or _nearest(option, names, 0.6)
                    hint = f": did you mean {near}?" if near else ""
                    raise TypeError(f"{cls.__name__} has no option {option!r}{hint} (there are: {', '.join(names)})")
            plain(self, *args, **options)

        cls.__init__ = init  # type: ignore[method-assign, assignment]
        return cls

    return explain
