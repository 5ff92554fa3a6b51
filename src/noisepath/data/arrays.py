"""Images that are in memory already, as a run's data: a tensor or an array, with or without labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisepath.data.dataset import Data, Dataset
from noisepath.errors import shown, warn

__all__ = ["as_data"]

_WANTED = "images are a tensor or an array (N, C, H, W) of floats in [-1, 1], or of uint8"
_ROUNDING = 1e-5
"""How far beyond [-1, 1] arithmetic may have led."""


def as_data(given: Any) -> Data:
    """What :func:`noisepath.train` is given as data that is no path.

    Args:
        given: images (N, C, H, W), a tensor or an array of floats in [-1, 1] or of uint8 in 0 .. 255; or a pair of images and
            labels (N,), whole numbers from 0; or data that have all that a run asks for (:class:`noisepath.data.Data`), which
            come back as they are.

    A warning for floats without a value below 0, which lie in [0, 1].  ValueError for another shape or range, with what to do
    about it; TypeError for anything else, a DataLoader or a torch Dataset among it.
    """
    if isinstance(given, tuple | list) and len(given) == 2 and all(map(_is_array, given)):
        return _dataset(_tensor(given[0]), _labels(_tensor(given[1]), len(given[0])))
    if _is_array(given):
        return _dataset(_tensor(given), None)
    if isinstance(given, torch.utils.data.DataLoader | torch.utils.data.Dataset):
        batches = isinstance(given, torch.utils.data.DataLoader)
        images = "torch.cat([batch[0] for batch in loader])" if batches else "torch.stack([item[0] for item in dataset])"
        raise TypeError(
            f"training takes images themselves, not a {type(given).__name__}: train({images}, ...), or with labels "
            "train((images, labels), ...), or name the folder or zip that the files are in"
        )
    if not all(hasattr(given, name) for name in ("shape", "batch", "sigma_data")):
        raise TypeError(f"training takes a folder, a zip, a DataConfig, or images ({_WANTED}), but got {shown(given)}")
    data: Data = given
    return data


def _is_array(value: object) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray)


def _tensor(values: Any) -> Tensor:
    try:
        return torch.as_tensor(values).detach().cpu()
    except TypeError:  # numbers that torch does not have, texts, objects
        raise TypeError(f"{_WANTED}, but got an array of {values.dtype}") from None


def _dataset(images: Tensor, labels: Tensor | None) -> Dataset:
    _check_shape(images)
    images = images if images.dtype == torch.uint8 else _check_range(images)
    names = () if labels is None else tuple(map(str, range(int(labels.max()) + 1)))
    return Dataset(images.contiguous(), labels, names)


def _check_shape(images: Tensor) -> None:
    shape = tuple(images.shape)
    if images.ndim == 3:
        raise ValueError(f"{_WANTED}, but got shape {shape}: of grey images without a channel x[:, None] has one")
    if images.ndim != 4 or 0 in shape:
        raise ValueError(f"{_WANTED}, but got shape {shape}")
    if shape[-1] in (1, 3, 4) and shape[1] > 4:
        raise ValueError(f"{_WANTED}, but got shape {shape}, with the channels last: torch.as_tensor(x).permute(0, 3, 1, 2)")


def _check_range(images: Tensor) -> Tensor:
    """float32 in [-1, 1]."""
    if not images.is_floating_point():
        raise TypeError(f"{_WANTED}, but got {images.dtype}: whole numbers from 0 to 255 are x.to(torch.uint8)")
    least, most = map(float, torch.aminmax(images))
    if not (torch.isfinite(images).all()):
        raise ValueError("the images hold NaN or infinity")
    if least < -1.0 - _ROUNDING or most > 1.0 + _ROUNDING:
        rule = "x / 127.5 - 1" if least >= 0.0 and 2.0 < most <= 255.0 else "(x - x.min()) / (x.max() - x.min()) * 2 - 1"
        raise ValueError(f"images have values in [-1, 1], but these go from {least:g} to {most:g}: train({rule}, ...)")
    if least >= 0.0:
        warn(
            f"the images have no value below 0 (they go from {least:g} to {most:g}): where they lie in [0, 1], train on "
            "x * 2 - 1, as all that is made of them is taken to lie in [-1, 1]"
        )
    return images.float().clamp(-1.0, 1.0)


def _labels(labels: Tensor, count: int) -> Tensor:
    if labels.is_floating_point() or labels.dtype == torch.bool or tuple(labels.shape) != (count,):
        raise ValueError(
            f"labels are whole numbers from 0, one for each of {count} images, but got {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
    if int(labels.min()) < 0:
        raise ValueError(f"labels are whole numbers from 0, but one is {int(labels.min())}")
    return labels.to(torch.int64)
