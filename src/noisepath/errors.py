"""Errors that help: a wrong name is answered with the names there are and the one that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

__all__ = ["lookup", "unknown"]

T = TypeVar("T")


def unknown(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that is not among ``known``, with the nearest one first where there is a near one."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ValueError(f"unknown {kind} {name!r}{hint} (there are: {', '.join(names)})")


def lookup(catalogue: Mapping[str, T], name: str, kind: str) -> T:
    """``catalogue[name]``, or :func:`unknown`'s error."""
    try:
        return catalogue[name]
    except (KeyError, TypeError):
        raise unknown(kind, name, catalogue) from None
