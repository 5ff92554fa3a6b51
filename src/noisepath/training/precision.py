"""A network that computes in half precision while its weights, its output and the loss stay float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["half"]


def half(called: Callable[..., Tensor], device: str) -> Callable[..., Tensor]:
    """``called`` under autocast to bfloat16 on a type of device; its output is float32."""

    def network(*args: Tensor, **condition: Tensor) -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            if device != "cpu":
                return called(*args, **condition).float()
            with _AttentionInFloat32():
                return called(*args, **condition).float()

    return network


class _AttentionInFloat32(TorchFunctionMode):
    """Attention alone is computed in float32: on a CPU the gradient of torch's attention takes three times as long in bfloat16,
    and six times with few places (torch 2.13), while all else gains."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        told = dict(kwargs or {})
        if func is not F.scaled_dot_product_attention:
            return func(*args, **told)
        with torch.autocast("cpu", enabled=False):
            mixed = func(*map(_exact, args), **{name: _exact(value) for name, value in told.items()})
        return mixed.to(torch.bfloat16)


def _exact(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
