"""How wide data are, and who is told of it.

A solver and a spacing that need one scale of the data take it as ``data_scale``: where on the way a picture is decided.  Data
have many: a value varies by s, the pictures along their strongest direction (the first principal component) by S, which for
photographs is some thirty times as much.  As sigma / alpha falls, it is at S that a picture begins to show and at s that half
of it is known.  ``data_scale`` is their geometric mean, sqrt(s S): the middle, in the logarithm, of where it is decided.

A solver or spacing that takes ``data_scale`` is given the model's own (``Denoiser.data_scale``), by name and as a function
alike, where that is known; one that was given with ``functools.partial(f, data_scale=...)`` stays as it is.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["data_scale", "told"]

F = TypeVar("F", bound=Callable[..., Any])

_ROUNDS = 64
"""Of the power method; a strongest direction that is slow to be found has a rival of its own size."""
_DIGITS = 3


def data_scale(pictures: Tensor) -> float | None:
    """sqrt(s S) of pictures (B, *), B >= 2, to three digits: s the root mean square of a value about its mean, S that of the
    pictures along their strongest direction.  None where all are the same."""
    x = pictures.flatten(1).double()
    if len(x) < 2:
        raise ValueError(f"how wide data are shows in 2 pictures or more, but there is {len(x)}")
    x = x - x.mean(0)
    single = float(x.square().mean().sqrt())
    if not 0.0 < single < math.inf:
        return None
    direction = x[x.square().sum(1).argmax()]
    for _ in range(_ROUNDS):
        direction = x.T @ (x @ (direction / direction.norm()))
    strongest = math.sqrt(float(direction.norm()) / len(x))
    return float(f"{math.sqrt(single * strongest):.{_DIGITS}g}")


def told(function: F, scale: float | None) -> F:
    """The function with ``data_scale`` said, if it takes one by that name, has none yet, and there is one to say."""
    if scale is None or _is_bound(function) or not _takes_scale(function):
        return function
    return cast(F, partial(function, data_scale=scale))


def _is_bound(function: Callable[..., Any]) -> bool:
    """Whether a ``functools.partial`` has settled the scale already."""
    return isinstance(function, partial) and "data_scale" in function.keywords


def _takes_scale(function: Callable[..., Any]) -> bool:
    try:
        parameter = inspect.signature(function).parameters.get("data_scale")
    except (TypeError, ValueError):  # a callable whose arguments Python can't tell
        return False
    return parameter is not None and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
