"""torch, loaded when it is first used: names, configurations and ``--help`` must not wait for it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["torch"]

if TYPE_CHECKING:
    import torch
else:

    class _Torch:
        def __getattr__(self, name: str) -> Any:
            value = getattr(importlib.import_module("torch"), name)
            setattr(self, name, value)  # the next use finds it at once
            return value

    torch = _Torch()
