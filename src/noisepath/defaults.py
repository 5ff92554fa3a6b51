"""torch's defaults for the time of a piece of work, whatever the user has set: float32, and the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from ._lazy import torch

__all__ = ["torch_defaults"]


@contextmanager
def torch_defaults() -> Iterator[None]:
    """float32 on the CPU where nothing else is named, and the user's own defaults again afterwards; also a decorator.

    For work that makes networks and data of its own, such as training: what it gives must not depend on
    ``torch.set_default_dtype`` and ``torch.set_default_device``.  Both are settings of the whole process in torch.
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:  # a default device costs a little in every call of torch, so none is set where none is needed
        with nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)
