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
_FEW_CLASSES, _CLASSES_PER_IMAGE = 1000, 10
"""Labels may name so many classes, and so many more for each image, before they are taken for something else."""


def as_data(given: Any) -> Data:
    """What :func:`noisepath.train` is given as data that is no path.

    Args:
        given: images (N, C, H, W), a tensor or an array of floats in [-1, 1] or of uint8 in 0 .. 255; or a pair of images and
            labels (N,), whole numbers from 0; or data that have all that a run asks for (:class:`noisepath.data.Data`), which
            come back as they are.

    A warning for floats without a value below 0, which lie in [0, 1], and for bytes without one above 1.  ValueError for
    another shape or range, and for labels of far more classes than there are images, with what to do about it; TypeError for
    anything else, a DataLoader or a torch Dataset among it.
    """
    _refuse_lists(given)
    if isinstance(given, tuple | list) and len(given) == 2 and all(map(_is_array, given)):
        pictures = _checked(given[0])
        return _dataset(pictures, _labels(_tensor(given[1]), len(pictures)))
    if _is_array(given):
        return _dataset(_checked(given), None)
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


def _refuse_lists(given: Any) -> None:
    """TypeError for a list of images, and for labels beside images that are a list."""
    if not isinstance(given, tuple | list) or not given or not _is_array(given[0]):
        return
    if all(_is_array(one) and one.ndim > 1 and one.shape == given[0].shape for one in given):
        raise TypeError(
            f"{_WANTED}, but got {len(given)} of them in a {type(given).__name__}: train(torch.stack(list(images)), ...), or "
            "torch.cat where each is a batch"
        )
    if len(given) == 2 and isinstance(given[1], tuple | list):
        raise TypeError(
            f"labels are a tensor or an array beside the images, but got a {type(given[1]).__name__}: "
            "train((images, torch.tensor(labels)), ...)"
        )


def _tensor(values: Any) -> Tensor:
    if getattr(getattr(values, "device", None), "type", "") == "meta":
        raise ValueError(f"{_WANTED}, but got some on the meta device, which holds no values")
    try:
        return torch.as_tensor(values).detach().cpu()
    except TypeError:  # numbers that torch does not have, texts, objects
        raise TypeError(f"{_WANTED}, but got an array of {values.dtype}") from None


def _dataset(images: Tensor, labels: Tensor | None) -> Dataset:
    images = _check_bytes(images) if images.dtype == torch.uint8 else _check_range(images)
    names = () if labels is None else tuple(map(str, range(int(labels.max()) + 1)))
    return Dataset(images.contiguous(), labels, names)


def _checked(values: Any) -> Tensor:
    """Images of a shape that there can be."""
    images = _tensor(values)
    _check_shape(images)
    return images


def _check_shape(images: Tensor) -> None:
    shape = tuple(images.shape)
    if images.ndim == 3:
        raise ValueError(f"{_WANTED}, but got shape {shape}: of grey images without a channel x[:, None] has one")
    if images.ndim != 4 or 0 in shape:
        raise ValueError(f"{_WANTED}, but got shape {shape}")
    if shape[-1] in (1, 3, 4) and shape[1] > 4:
        raise ValueError(f"{_WANTED}, but got shape {shape}, with the channels last: torch.as_tensor(x).permute(0, 3, 1, 2)")


def _check_bytes(images: Tensor) -> Tensor:
    if int(images.max()) <= 1:
        warn(
            "the images are bytes, 0 .. 255, but have no value above 1, so that all of them are nearly black: where they are "
            "masks of 0 and 1, train on x.float() * 2 - 1"
        )
    return images


def _check_range(images: Tensor) -> Tensor:
    """float32 in [-1, 1]."""
    if not images.is_floating_point():
        raise TypeError(f"{_WANTED}, but got {images.dtype}: {_whole_advice(images)}")
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


def _whole_advice(images: Tensor) -> str:
    """What to do with values that are booleans, whole or complex numbers."""
    if images.is_complex():
        return "complex numbers are no colours"
    least, most = int(images.min()), int(images.max())
    if least >= 0 and most <= 1:
        return "a mask of 0 and 1 is x.float() * 2 - 1"
    if least >= 0 and most <= 255:
        return "whole numbers from 0 to 255 are x.to(torch.uint8)"
    return f"these go from {least} to {most}: (x - x.min()) / (x.max() - x.min()) * 2 - 1 of x.double()"


def _labels(labels: Tensor, count: int) -> Tensor:
    if labels.is_floating_point() or labels.dtype == torch.bool or tuple(labels.shape) != (count,):
        raise ValueError(
            f"labels are whole numbers from 0, one for each of {count} images, but got {labels.dtype} of shape "
            f"{tuple(labels.shape)}"
        )
    if int(labels.min()) < 0:
        raise ValueError(f"labels are whole numbers from 0, but one is {int(labels.min())}")
    most = _FEW_CLASSES + _CLASSES_PER_IMAGE * count
    if int(labels.max()) >= most:
        raise ValueError(
            f"the labels go up to {int(labels.max()):,}, which makes {int(labels.max()) + 1:,} classes of {count:,} images: "
            "number those that there are, labels.unique(return_inverse=True)[1]"
        )
    return labels.to(torch.int64)
