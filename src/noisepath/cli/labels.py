"""Classes that are asked for by name, as labels for a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from noisepath.conditions import Condition
from noisepath.denoiser import device_of
from noisepath.errors import unknown

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.denoiser import Denoiser

__all__ = ["asked_for", "labels_for"]


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


def asked_for(denoiser: Denoiser, classes: tuple[str, ...], guidance: float, n: int) -> Condition | None:
    """What n pictures that are there already are taken to be: the classes said, in turn; nothing in particular if none are.

    ValueError for an unknown class, guidance towards none, and what the model never learnt: to be told nothing.
    """
    if not denoiser.info["class_names"]:
        labels_for(denoiser, classes, n)  # refuses classes
        if guidance != 1.0:
            raise ValueError(f"guidance {guidance:g} leads towards a class, but this model was trained without classes")
        return None
    dropped = float(denoiser.info.get("training", {}).get("drop_condition", 0.0)) > 0.0
    if guidance != 1.0 and not dropped:
        raise ValueError(
            f"guidance {guidance:g} needs a model that was trained with its condition dropped now and then, but this one was "
            "not (drop_condition 0): leave guidance at 1"
        )
    if classes:
        labels = labels_for(denoiser, classes, n)
        assert labels is not None
        return Condition(label=labels.to(device_of(denoiser)))
    if guidance != 1.0:
        raise ValueError(f"guidance {guidance:g} leads towards a class: say which with --classes")
    if not dropped or denoiser.null is None:
        raise ValueError("this model always needs a class (it was trained with drop_condition 0): say one with --classes")
    return denoiser.null.expand(n)
