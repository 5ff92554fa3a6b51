"""A feature space: a named function from pictures to features, with a hash of the numbers that it is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from noisepath._lazy import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Features = NDArray[np.float64]

__all__ = ["Space", "hash_of"]


@dataclass(frozen=True)
class Space:
    """A function from pictures to features, and what a report says of it."""

    name: str
    identity: str
    """sha256 of the numbers it is made of."""
    resize: str
    """What is done to the pictures' size first."""
    embed: Callable[[Tensor], Tensor | NDArray[Any]]
    """Pictures (B, C, H, W) in [-1, 1] -> features (B, D)."""

    def __call__(self, pictures: Tensor, batch_size: int = 256) -> Features:
        """Features (N, D), float64."""
        if not len(pictures):
            return np.empty((0, 1))
        with torch.no_grad():
            parts = [self.embed(part) for part in torch.split(pictures, batch_size)]
        arrays = [part.detach().cpu().double().numpy() if isinstance(part, torch.Tensor) else part for part in parts]
        features: Features = np.concatenate([np.asarray(array, dtype=np.float64) for array in arrays])
        if features.ndim != 2 or len(features) != len(pictures):
            raise ValueError(
                f"features {self.name!r} must be (N, D) for N pictures, but are {features.shape} for {len(pictures)}"
            )
        if not np.isfinite(features).all():
            raise ValueError(f"features {self.name!r} hold NaN or infinite values")
        return features


def hash_of(weights: Iterable[tuple[str, Tensor]]) -> str:
    """sha256 of named tensors, in the order of their names."""
    found = hashlib.sha256()
    for name, value in sorted(weights, key=lambda pair: pair[0]):
        array = value.detach().cpu().contiguous()
        found.update(f"{name} {array.dtype} {tuple(array.shape)} ".encode())
        found.update(array.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
