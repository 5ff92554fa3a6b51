"""Judging scikit-learn's digits, in terms of them alone: an SVC reads them, principal components are the features.

Each figure stands beside what real pictures get:

    half-split distance  the Frechet distance between random halves of the real set: what mere chance gives.  A ratio to it
                         is free of the features' unit; a perfect sampler is below 1: whole sets scatter less than halves
    read as asked        the share that a classifier trained on the real pictures reads as the class asked for
    nearest ratio        mean distance to the nearest training picture, over that of a real picture to its nearest other:
                         well below 1 the pictures are copies, about 1 they are as new as real ones

Needs scikit-learn, imported where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from noisepath.evaluation.distances import frechet_distance, half_split_distance
from noisepath.evaluation.features import pca_features
from noisepath.evaluation.neighbours import nearest_ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from noisepath.data.dataset import Dataset

    Features = NDArray[np.float64]

__all__ = ["DigitsJudge", "DigitsReport"]


@dataclass(frozen=True)
class DigitsReport:
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

    def report(self, pictures: Tensor, asked: Tensor | None = None) -> DigitsReport:
        """Figures for pictures (N, 1, 8, 8) and, if they were asked for by class, those classes (N,)."""
        if pictures.shape[1:] != self._real.shape[1:]:
            raise ValueError(
                f"pictures must be (N, {', '.join(map(str, self._real.shape[1:]))}), but are {tuple(pictures.shape)}"
            )
        pictures = pictures.detach().cpu()
        distance = frechet_distance(self._features(_grey_values(pictures)), self._real_features)
        near = nearest_ratio(pictures.clamp(-1, 1), self._real)
        figures = DigitsReport(len(pictures), distance, distance / self.half_split, near)
        return figures if asked is None else _with_reading(figures, self.read(pictures), asked.cpu().numpy())


def _with_reading(figures: DigitsReport, read: NDArray[np.int64], asked: NDArray[np.int64]) -> DigitsReport:
    right = read == asked
    worst = min(float(right[asked == label].mean()) for label in np.unique(asked))
    return replace(figures, read_as_asked=float(right.mean()), worst_class=worst)


def _grey_values(pictures: Tensor) -> Features:
    """[-1, 1] -> the digits' whole grey values 0 .. 16, one row per picture."""
    values: Features = ((pictures.double() + 1) * 8).round().clamp(0, 16).flatten(1).numpy()
    return values
