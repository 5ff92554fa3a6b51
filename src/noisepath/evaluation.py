"""How good are the pictures?  Honest figures for small data sets, each beside what real pictures get.

    Frechet distance     between Gaussians fitted to two sets of features (Heusel et al. 1706.08500, eq. 6):
                         |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2))
    half-split distance  the same between random halves of the real set: what mere chance gives.  A ratio to it is free of
                         the features' unit; a perfect sampler is below 1, because whole sets scatter less than halves
    read as asked        the share that a classifier trained on the real pictures reads as the class asked for
    nearest ratio        mean distance to the nearest training picture, over that of a real picture to its nearest other:
                         well below 1 the pictures are copies, about 1 they are as new as real ones

Features are numpy arrays (N, D); pictures are (N, C, H, W) in [-1, 1].  Needs scikit-learn, imported where it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from noisepath._lazy import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from noisepath.data.dataset import Dataset

    Features = NDArray[np.float64]

__all__ = [
    "DigitsJudge",
    "Report",
    "frechet_distance",
    "gaussian_frechet",
    "half_split_distance",
    "nearest_ratio",
    "pca_features",
]


def gaussian_frechet(mean_a: Features, cov_a: Features, mean_b: Features, cov_b: Features) -> float:
    """Squared Frechet (2-Wasserstein) distance between two Gaussians; the covariances may be singular."""
    overlap = np.linalg.norm(_root(cov_a) @ _root(cov_b), "nuc")  # sum of singular values: tr (A^(1/2) B A^(1/2))^(1/2)
    gap = ((mean_a - mean_b) ** 2).sum()
    return float(gap + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap)


def frechet_distance(a: Features, b: Features) -> float:
    """The same between Gaussians fitted to features a: (N, D) and b: (M, D); N and M at least 2.

    Biased upwards by about (1/N + 1/M) times a trace: compare only figures for the same numbers of pictures.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"features must be (N, D) and (M, D) with N, M >= 2, but are {a.shape} and {b.shape}")
    return gaussian_frechet(a.mean(0), _covariance(a), b.mean(0), _covariance(b))


def half_split_distance(features: Features, splits: int = 20, seed: int = 0) -> float:
    """Mean Frechet distance between the two halves of ``features`` (N, D), over ``splits`` random splits."""
    random = np.random.default_rng(seed)
    orders = [random.permutation(len(features)) for _ in range(splits)]
    return float(np.mean([frechet_distance(features[p[::2]], features[p[1::2]]) for p in orders]))


def pca_features(real: Features, dimensions: int) -> Callable[[Features], Features]:
    """A map from raw values (N, V) to the first ``dimensions`` principal components of ``real``."""
    from sklearn.decomposition import PCA

    fitted: Any = PCA(dimensions, random_state=0).fit(real)

    def features(values: Features) -> Features:
        projected: Features = fitted.transform(values)
        return projected

    return features


def nearest_ratio(pictures: Tensor, real: Tensor, chunk: int = 1000) -> float:
    """Mean distance from ``pictures`` to their nearest in ``real``, over that from ``real`` to their nearest others."""
    flat, known = pictures.flatten(1).double(), real.flatten(1).double()
    new = torch.cat([torch.cdist(part, known).amin(1) for part in torch.split(flat, chunk)])
    old = torch.cat([torch.cdist(part, known).topk(2, largest=False).values[:, 1] for part in torch.split(known, chunk)])
    return float(new.mean() / old.mean())


@dataclass(frozen=True)
class Report:
    """Figures of a set of pictures; ``None`` where there was nothing to judge."""

    pictures: int
    frechet: float
    """Frechet distance to the real pictures, in the judge's features."""
    frechet_ratio: float
    """The same over the mean of half-splits of the real pictures."""
    nearest_ratio: float
    """Mean distance to the nearest training picture, over the same among real ones."""
    read_as_asked: float | None = None
    """Share that the classifier reads as the class asked for."""
    worst_class: float | None = None
    """The same for the class it reads worst."""


class DigitsJudge:
    """A judge of samples of scikit-learn's digits: an SVC (rbf kernel, defaults) and 40 principal components.

    Both are fitted to all real pictures as the data has them, whole grey values 0 .. 16; samples are rounded to such values
    first.  ``real_read`` is the SVC's ten-fold cross-validated accuracy on the real pictures, the figure to expect of a
    perfect sampler at most.
    """

    def __init__(self, dataset: Dataset, dimensions: int = 40) -> None:
        from sklearn.svm import SVC

        if dataset.labels is None:
            raise ValueError("the judge of digits needs their labels")
        self._real = dataset.batch(range(len(dataset)))[0]
        self._labels: NDArray[np.int64] = dataset.labels.numpy()
        values = _grey_values(self._real)
        self._features = pca_features(values, dimensions)
        self._real_features = self._features(values)
        self._reader: Any = SVC().fit(values, self._labels)
        self.half_split = half_split_distance(self._real_features)

    def read(self, pictures: Tensor) -> NDArray[np.int64]:
        """The class that the SVC reads each picture as, (N,)."""
        classes: NDArray[np.int64] = self._reader.predict(_grey_values(pictures))
        return classes

    def real_read(self, folds: int = 10) -> float:
        """The SVC's accuracy on real pictures that it was not trained on: the mean over ``folds`` of cross-validation."""
        from sklearn.model_selection import cross_val_score
        from sklearn.svm import SVC

        return float(np.mean(cross_val_score(SVC(), _grey_values(self._real), self._labels, cv=folds)))

    def report(self, pictures: Tensor, asked: Tensor | None = None) -> Report:
        """Figures for pictures (N, 1, 8, 8) and, if they were asked for by class, those classes (N,)."""
        if pictures.shape[1:] != self._real.shape[1:]:
            raise ValueError(
                f"pictures must be (N, {', '.join(map(str, self._real.shape[1:]))}), but are {tuple(pictures.shape)}"
            )
        pictures = pictures.detach().cpu()
        distance = frechet_distance(self._features(_grey_values(pictures)), self._real_features)
        near = nearest_ratio(pictures.clamp(-1, 1), self._real)
        figures = Report(len(pictures), distance, distance / self.half_split, near)
        return figures if asked is None else _with_reading(figures, self.read(pictures), asked.cpu().numpy())


def _with_reading(figures: Report, read: NDArray[np.int64], asked: NDArray[np.int64]) -> Report:
    right = read == asked
    worst = min(float(right[asked == label].mean()) for label in np.unique(asked))
    return replace(figures, read_as_asked=float(right.mean()), worst_class=worst)


def _grey_values(pictures: Tensor) -> Features:
    """[-1, 1] -> the digits' whole grey values 0 .. 16, one row per picture."""
    values: Features = ((pictures.double() + 1) * 8).round().clamp(0, 16).flatten(1).numpy()
    return values


def _covariance(features: Features) -> Features:
    return np.atleast_2d(np.cov(features, rowvar=False))


def _root(matrix: Features) -> Features:
    """The symmetric square root of a covariance; what rounding made negative counts as 0."""
    values, vectors = np.linalg.eigh(matrix)
    root: Features = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    return root
