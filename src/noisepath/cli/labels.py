"""Classes that are asked for by name, as labels for a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from noisepath.errors import unknown

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.denoiser import Denoiser

__all__ = ["labels_for"]


def labels_for(denoiser: Denoiser, classes: tuple[str, ...], n: int) -> Tensor | None:
    """The classes asked for, in turn, as labels (n,); all of the model's if none are; None of a model without classes."""
    known: tuple[str, ...] = tuple(denoiser.info["class_names"])
    if not known:
        if classes:
            raise ValueError("this model was trained without classes, so none can be asked for")
        return None
    for name in classes:
        if name not in known:
            raise unknown("class", name, known)
    wanted = [known.index(name) for name in classes] or list(range(len(known)))
    return torch.tensor([wanted[i % len(wanted)] for i in range(n)])
