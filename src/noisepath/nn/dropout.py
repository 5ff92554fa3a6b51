"""Dropout whose mask belongs to a sample and not to the batch that it is computed in.

    y = x * keep / (1 - p),      keep = [hash(key, sample, layer, place in the sample) >= p]

so that a batch that is cut into parts, or shared by several processes, is the whole, on every device.  The hash is of 32-bit
integers, two rounds of a multiply-and-shift mixer; each round has a key of its own, so that no two samples have the same
sequence at another offset.  A hash decides two places, by 16 bits each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisepath import noise

__all__ = ["Dropout", "sample_keys"]

_MASK = 0xFFFFFFFF
# odd multipliers below 2^31: a product with 32 bits stays below 2^63
_GOLDEN, _FIRST, _SECOND = 0x1E3779B1, 0x7FEB352D, 0x31848BAB


class _Batch:
    """The keys of the samples that a network is called with, and how many of its dropouts were asked already."""

    def __init__(self, key: int, samples: Sequence[int]) -> None:
        rows = [noise.key(key, "dropout", int(sample)) for sample in samples]
        self.keys = torch.tensor([[row & _MASK, row >> 32 & _MASK] for row in rows], dtype=torch.int64)
        self.layer = 0

    def keep(self, shape: torch.Size, p: float, device: torch.device) -> Tensor:
        """Booleans of ``shape`` (B, *), false with probability p."""
        if shape[0] != len(self.keys):
            raise ValueError(f"dropout has the keys of {len(self.keys)} samples, but is asked for {shape[0]}")
        self.layer += 1
        keys = self.keys.to(device)
        places = shape[1:].numel()
        x = torch.arange(-(-places // 2), dtype=torch.int64, device=device)
        x = _mixed(x.mul_(_GOLDEN).add_(self.layer * _FIRST).bitwise_and_(_MASK) ^ keys[:, :1])
        x = _mixed(x.bitwise_xor_(keys[:, 1:]))
        least = round(p * 2**16)
        kept = torch.cat([(x & 0xFFFF) >= least, (x >> 16) >= least], 1)
        return kept[:, :places].view(shape)


_CURRENT: ContextVar[_Batch | None] = ContextVar("dropout", default=None)


@contextmanager
def sample_keys(key: int, samples: Sequence[int]) -> Iterator[None]:
    """While a network is called with a batch of these samples: its dropout is a function of (key, sample).

    Args:
        key: of the step, such as :func:`noisepath.noise.key` of seed and step.
        samples: a number for each row of the batch.
    """
    token = _CURRENT.set(_Batch(key, samples))
    try:
        yield
    finally:
        _CURRENT.reset(token)


class Dropout(nn.Module):
    """Dropout with probability ``p`` in training mode: by the samples' keys within :func:`sample_keys`, else torch's own."""

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, *) -> same shape."""
        if not self.training or self.p == 0.0:
            return x
        batch = _CURRENT.get()
        if batch is None:
            return F.dropout(x, self.p, training=True)
        return torch.where(batch.keep(x.shape, self.p, x.device), x * (1.0 / (1.0 - self.p)), 0.0)

    def extra_repr(self) -> str:
        """What ``print`` of the network says."""
        return f"p={self.p}"


def _mixed(x: Tensor) -> Tensor:
    """A bijection of 32-bit numbers, in place; a change of one bit changes each of the others half of the time."""
    x.bitwise_xor_(x >> 16).mul_(_FIRST).bitwise_and_(_MASK)
    x.bitwise_xor_(x >> 15).mul_(_SECOND).bitwise_and_(_MASK)
    return x.bitwise_xor_(x >> 16)
