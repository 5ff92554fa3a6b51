"""What is known of the data: their moments and range, and the best linear estimate of x_0 that these give.

With m the mean of x_0 (given the condition, where its mean is known), C the covariance about it and ``x = alpha x_0 + sigma
noise``, no linear map of x has a smaller squared error than

    L(x) = m + alpha C (alpha^2 C + sigma^2 I)^-1 (x - alpha m)                (Wiener 1949; on Gaussian data it is E[x_0 | x])

C is diagonal in a basis that is found from the shape of the data: for images (C, H, W) the cosine transform of each of the
directions in colour space that vary apart, as in JPEG; for points of up to ``MOST_PRINCIPAL`` values their principal
components; else the values themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ._lazy import torch
from .errors import number, numbers, shown

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DataStats", "LinearEstimate", "cosine_power", "cosine_transform", "cosines"]

MOST_PRINCIPAL = 1024
"""Values of a point up to which principal components are worked out."""
MOST_VALUES = 2**22
"""Values that the class means may have in all: beyond it they are of lower resolution."""


@dataclass(frozen=True, eq=False)
class DataStats:
    """What is known of the data, each None where it is not.

    Args:
        mean: of all values.
        std: standard deviation of all values about it.
        range: the least and the greatest value that there can be, such as (-1, 1).
        scale: how wide the data are (:func:`noisepath.widths.data_scale`), which solvers and spacings may take.
        covariance: mean and covariance as the best linear estimate that they give.
    """

    mean: float | None = None
    std: float | None = None
    range: tuple[float, float] | None = None
    scale: float | None = None
    covariance: LinearEstimate | None = None

    def __post_init__(self) -> None:
        numbers(self, "mean", "std", "scale", optional=True)
        for name in ("std", "scale"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a finite number above 0, or None where it is not known, but got {value}")
        if self.mean is not None and not math.isfinite(self.mean):
            raise ValueError(f"mean must be finite, or None where it is not known, but got {self.mean}")
        if self.range is not None:
            object.__setattr__(self, "range", _ends(self.range))


def _ends(given: object) -> tuple[float, float]:
    """A range as Python's own numbers; an error for what is none."""
    rule = f"range is the least and the greatest value, such as (-1, 1), but got {shown(given)}"
    if not isinstance(given, Iterable) or getattr(given, "ndim", 1) != 1 or isinstance(given, str | bytes):
        raise TypeError(rule)
    ends = [number(end, "an end of the range of DataStats") for end in given]
    if len(ends) != 2 or not -math.inf < ends[0] < ends[1] < math.inf:
        raise ValueError(rule)
    return ends[0], ends[1]


@dataclass(frozen=True, eq=False)
class LinearEstimate:
    """The best linear estimate of x_0 from x, about the mean of the class.

    Args:
        basis: "cosine", "principal" or "diagonal".
        means: (K + 1, *): of each class, and last of all data, which is taken where no class is given.
        variance: (2, *) in the basis: about the class means, and about the mean of all data.
        axes: orthonormal rows: of the cosine basis the directions in colour space (C, C), of the principal one (d, d).
    """

    basis: str
    means: Tensor
    variance: Tensor
    axes: Tensor | None = None

    @classmethod
    def measure(cls, x0: Tensor, labels: Tensor | None = None, classes: int = 0) -> LinearEstimate:
        """The estimate from data (B, *) and, where they have classes, their labels (B,) in 0 .. classes - 1."""
        if len(x0) < 2:
            raise ValueError(f"mean and covariance show in 2 samples or more, but there is {len(x0)}")
        shape, x = tuple(x0.shape[1:]), x0.double()
        mean = x.mean(0)
        basis = "cosine" if len(shape) == 3 else "principal" if math.prod(shape) <= MOST_PRINCIPAL else "diagonal"
        axes = _axes(basis, x - mean)
        whole = _spread(basis, x - mean, axes)
        if labels is None or not classes:
            return cls(basis, mean[None].float(), torch.stack([whole, whole]).float(), None if axes is None else axes.float())
        means, own = _class_means(x, labels, classes, mean)
        within = _spread(basis, x - own, axes)
        means = _reduced(torch.cat([means, mean[None]]))
        return cls(basis, means.float(), torch.stack([within, whole]).float(), None if axes is None else axes.float())

    @property
    def classes(self) -> int:
        """K, how many classes have a mean of their own."""
        return len(self.means) - 1

    def mean(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The mean of x_0 for each of x (B, *): of its class ``label`` (B,); K, or no label at all: of all data."""
        means = self.means.to(x.device, x.dtype)
        size = tuple(x.shape[1:])
        if tuple(means.shape[1:]) != size:
            means = self._resized(means, size)
        if label is None or not self.classes:
            return means[-1:].expand(len(x), *size)
        return means[label.to(x.device).clamp(0, self.classes)]

    def __call__(
        self, x: Tensor, alpha: float, sigma: float, label: Tensor | None = None, mean: Tensor | None = None
    ) -> Tensor:
        """L(x), (B, *), in x's dtype, for x at the level (alpha, sigma); ``mean`` (B, *) in place of the classes' own."""
        m = self.mean(x, label) if mean is None else mean.to(x)
        if alpha == 0.0:
            return m.clone()
        size = tuple(x.shape[1:])
        variance = self.variance.to(x.device, x.dtype)
        if self.basis == "cosine" and tuple(variance.shape[1:]) != size:
            variance = self._resized(variance, size)
        gain = alpha * variance / (alpha**2 * variance + sigma**2)  # (2, *)
        known = label is not None and self.classes > 0
        gain = gain[(label.to(x.device) >= self.classes).long()] if known and label is not None else gain[1:]
        about = self._turned(x - alpha * m)
        return m + self._back(gain * about, size)

    def _resized(self, values: Tensor, size: tuple[int, ...]) -> Tensor:
        if values.ndim != 4 or len(size) != 3 or values.shape[1] != size[0]:
            raise ValueError(f"what is known of data of shape {tuple(values.shape[1:])} does not hold for shape {size}")
        return torch.nn.functional.interpolate(values, size=size[1:], mode="bilinear", align_corners=False)

    def _turned(self, x: Tensor) -> Tensor:
        """Coordinates in the basis."""
        if self.basis == "diagonal":
            return x
        assert self.axes is not None
        axes = self.axes.to(x.device, x.dtype)
        if self.basis == "principal":
            return x.flatten(1) @ axes.T
        return cosine_transform(x, axes)

    def _back(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        if self.basis == "diagonal":
            return x
        assert self.axes is not None
        axes = self.axes.to(x.device, x.dtype)
        if self.basis == "principal":
            return (x @ axes).reshape(-1, *size)
        high, wide = (cosines(n).to(x.device, x.dtype) for n in size[1:])
        back: Tensor = torch.einsum("dc,bdhw->bchw", axes, high.T @ x @ wide)
        return back

    def tensors(self) -> dict[str, Tensor]:
        """What makes it, for a file; ``from_tensors`` is the inverse."""
        parts = {f"{self.basis}.means": self.means, f"{self.basis}.variance": self.variance}
        return parts if self.axes is None else {**parts, f"{self.basis}.axes": self.axes}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> LinearEstimate:
        """ValueError for tensors that are not those of an estimate."""
        kinds = {name.partition(".")[0] for name in tensors}
        parts = {name.partition(".")[2]: value for name, value in tensors.items()}
        if len(kinds) != 1 or not {"means", "variance"} <= set(parts) <= {"means", "variance", "axes"}:
            raise ValueError(f"these are not the tensors of a linear estimate: {sorted(tensors)}")
        return cls(kinds.pop(), parts["means"], parts["variance"], parts.get("axes"))


@lru_cache(maxsize=16)
def cosines(size: int) -> Tensor:
    """The orthonormal cosine transform (DCT-II) of ``size`` values, (size, size): frequencies are rows; float64."""
    place = torch.arange(size, dtype=torch.float64, device="cpu")
    rows = torch.cos(math.pi / size * (place + 0.5) * place[:, None]) * math.sqrt(2.0 / size)
    rows[0] /= math.sqrt(2.0)
    return rows


def cosine_transform(x: Tensor, colours: Tensor) -> Tensor:
    """Images (B, C, H, W) by colour direction (a row of ``colours``) and frequency, (B, C, H, W)."""
    high, wide = (cosines(size).to(x.device, x.dtype) for size in x.shape[-2:])
    out: Tensor = high @ torch.einsum("dc,bchw->bdhw", colours.to(x.device, x.dtype), x) @ wide.T
    return out


def colour_directions(x: Tensor) -> Tensor:
    """The directions in colour space along which images (B, C, H, W) vary apart: (C, C), orthonormal, a direction a row."""
    across = torch.einsum("bchw,bdhw->cd", x, x) / (x.numel() // x.shape[1])
    directions: Tensor = torch.linalg.eigh(across).eigenvectors.T.contiguous()
    return directions


def cosine_power(images: Tensor) -> tuple[Tensor, Tensor]:
    """The directions in colour space that vary apart, and the mean power of images (B, C, H, W) along them at each frequency.

    Returns:
        (C, C), orthonormal, a direction a row, and (C, H, W), both float64.  The power is a mean square, not a variance.
    """
    x = images.double()
    colours = colour_directions(x)
    square = torch.zeros(x.shape[1:], dtype=torch.float64, device=x.device)
    for some in torch.split(x, 256):
        square += cosine_transform(some, colours).square().sum(0)
    return colours, square / len(x)


def _axes(basis: str, centred: Tensor) -> Tensor | None:
    if basis == "diagonal":
        return None
    if basis == "cosine":
        return colour_directions(centred)
    flat = centred.flatten(1)
    rows: Tensor = torch.linalg.eigh(flat.T @ flat / len(flat)).eigenvectors.T.contiguous()
    return rows


def _spread(basis: str, centred: Tensor, axes: Tensor | None) -> Tensor:
    """Variance of each coordinate in the basis."""
    if basis == "diagonal":
        return centred.square().mean(0)
    assert axes is not None
    if basis == "principal":
        return (centred.flatten(1) @ axes.T).square().mean(0)
    square = torch.zeros(centred.shape[1:], dtype=torch.float64, device=centred.device)
    for some in torch.split(centred, 256):
        square += cosine_transform(some, axes).square().sum(0)
    return square / len(centred)


def _class_means(x: Tensor, labels: Tensor, classes: int, mean: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of each class (K, *), and that of each sample's own class (B, *).

    Few samples say little of their class: each mean is drawn towards that of all data by the share of its deviation that is
    the scatter of its samples (the best linear estimate of a class's mean; James & Stein 1961).
    """
    count = torch.bincount(labels, minlength=classes).double()
    sums = torch.zeros(classes, *x.shape[1:], dtype=x.dtype, device=x.device).index_add_(0, labels, x)
    each = count.clamp(min=1).view(-1, *[1] * (x.ndim - 1))
    found = torch.where((count > 0).view_as(each), sums / each, mean)
    scatter = float((x - found[labels]).square().mean()) * len(x) / max(1.0, len(x) - float((count > 0).sum()))
    between = float((found[labels] - mean).square().mean())
    true = max(0.0, between - scatter * float((count > 0).sum()) / len(x))
    trust = true / (true + scatter / each) if true + scatter > 0 else torch.ones_like(each)
    means = mean + trust * (found - mean)
    return means, means[labels]


def _reduced(means: Tensor) -> Tensor:
    """Class means of images in a lower resolution, where all of them would be too many values."""
    if means.ndim != 4 or means.numel() <= MOST_VALUES:
        return means
    share = math.sqrt(MOST_VALUES / means.numel())
    high, wide = (max(1, int(n * share)) for n in means.shape[2:])
    return torch.nn.functional.adaptive_avg_pool2d(means, (high, wide))
