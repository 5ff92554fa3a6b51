"""How far two sets of features lie apart, with intervals; all in float64.

    Frechet distance     between Gaussians fitted to the sets (Heusel et al. 1706.08500, eq. 6):
                         |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2));  biased upwards, by about (1/N + 1/M) times a trace
    kernel distance      unbiased MMD^2 with the kernel k(x, y) = (x y / d + 1)^3 (Binkowski et al. 1801.01401), over all
                         pairs: what the usual mean over subsets estimates, with less scatter
    precision, recall    share of one set that lies within the other's k-nearest-neighbour balls
                         (Kynkaanniemi et al. 1904.06991): precision of the generated ones, recall of the real ones

Features are arrays (N, D) and (M, D).  What one distance is worth is seen from what real pictures get with the same
numbers, and from its interval: *bootstrap* intervals redraw the rows of both sets with replacement.  Redrawing makes a
Frechet distance larger by itself, up to twice for sets that are alike, so what is redrawn is scaled (a kernel distance and
a ratio: moved) to have the measured value as its mean: percentiles tell the scatter at these N and M, not the bias.
Shares have Wilson's interval, which is honest at 0 and 1 too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from noisepath import noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Features = NDArray[np.float64]

__all__ = [
    "Interval",
    "frechet_distance",
    "frechet_draws",
    "frechet_interval",
    "gaussian_frechet",
    "half_split_distance",
    "inside",
    "kernel_distance",
    "kernel_interval",
    "percentiles",
    "precision_recall",
    "ratio_interval",
    "share_interval",
]

_ROWS = 512  # rows of a distance or kernel matrix that are held at once
RESAMPLES = 200


@dataclass(frozen=True)
class Interval:
    """Where the figure would mostly lie if the pictures were drawn again."""

    low: float
    high: float
    method: str
    """How it was made: "bootstrap of 200", "Wilson"."""
    level: float = 0.95


# --- Frechet ---------------------------------------------------------------------------------------------------------


def gaussian_frechet(mean_a: Features, cov_a: Features, mean_b: Features, cov_b: Features) -> float:
    """Squared Frechet (2-Wasserstein) distance between two Gaussians; the covariances may be singular."""
    return _between(mean_a, _root(cov_a), mean_b, _root(cov_b))


def frechet_distance(a: Features, b: Features) -> float:
    """The same between Gaussians fitted to features a: (N, D) and b: (M, D); N and M at least 2.

    Biased upwards by about (1/N + 1/M) times a trace: compare only figures for the same numbers of pictures.
    """
    _check(a, b)
    return _between(*_fitted(a, np.ones(len(a))), *_fitted(b, np.ones(len(b))))


def _between(mean_a: Features, a: Features, mean_b: Features, b: Features) -> float:
    """The distance between Gaussians whose covariances are a^T a and b^T b: tr (A^(1/2) B A^(1/2))^(1/2) is the sum of
    the singular values of a b^T."""
    overlap = np.linalg.norm(a @ b.T, "nuc")
    return float(((mean_a - mean_b) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * overlap)


def _fitted(features: Features, counts: NDArray[Any]) -> tuple[Features, Features]:
    """Mean (D,), and a factor (K, D) of the covariance, K at most N and D; each row is counted so often."""
    there = counts > 0
    rows, weights = features[there], counts[there].astype(np.float64)
    mean = weights @ rows / weights.sum()
    scaled = np.sqrt(weights / (weights.sum() - 1))[:, None] * (rows - mean)
    return mean, np.asarray(np.linalg.qr(scaled, mode="r"))


def frechet_interval(a: Features, b: Features, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """The bootstrap interval of :func:`frechet_distance`; N and M at least 2."""
    return percentiles(frechet_draws(a, b, seed, resamples))


def frechet_draws(a: Features, b: Features, seed: int = 0, resamples: int = RESAMPLES) -> Features:
    """The distances that the interval is made of, scaled to have the measured one as their mean: (resamples,)."""
    _check(a, b)
    counts = zip(*(_redrawn(len(rows), resamples, seed, which) for rows, which in ((a, "a"), (b, "b"))), strict=True)
    drawn = np.array([_between(*_fitted(a, wa), *_fitted(b, wb)) for wa, wb in counts])
    middle = float(drawn.mean())
    scaled: Features = drawn * (frechet_distance(a, b) / middle if middle > 0 else 1.0)
    return scaled


def half_split_distance(features: Features, splits: int = 20, seed: int = 0) -> float:
    """Mean Frechet distance between the two halves of ``features`` (N, D), over ``splits`` random splits."""
    random = np.random.default_rng(seed)
    orders = [random.permutation(len(features)) for _ in range(splits)]
    return float(np.mean([frechet_distance(features[p[::2]], features[p[1::2]]) for p in orders]))


def _root(matrix: Features) -> Features:
    """The symmetric square root of a covariance; what rounding made negative counts as 0."""
    values, vectors = np.linalg.eigh(matrix)
    root: Features = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    return root


# --- kernel ----------------------------------------------------------------------------------------------------------


def kernel_distance(a: Features, b: Features) -> float:
    """Unbiased MMD^2 between a: (N, D) and b: (M, D), N and M at least 2; may be negative where the two are alike."""
    _check(a, b)
    ones = np.ones((1, len(a))), np.ones((1, len(b)))
    return float(_weighted_mmd(a, b, *ones)[0])


def kernel_interval(a: Features, b: Features, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """The bootstrap interval of :func:`kernel_distance`.

    A row that is drawn twice is not paired with itself: the kernel of a picture with itself says nothing of the other
    pictures, and would make every redrawn set look clumped.
    """
    _check(a, b)
    counts = [_redrawn(len(rows), resamples, seed, which).astype(np.float64) for rows, which in ((a, "a"), (b, "b"))]
    return percentiles(_moved(_weighted_mmd(a, b, *counts), kernel_distance(a, b)))


def _weighted_mmd(a: Features, b: Features, in_a: Features, in_b: Features) -> Features:
    """MMD^2 over pairs of different rows, for each of R ways (R, N), (R, M) to count the rows."""
    within_a, within_b = _mean_kernel(a, a, in_a, in_a, True), _mean_kernel(b, b, in_b, in_b, True)
    mmd: Features = within_a + within_b - 2 * _mean_kernel(a, b, in_a, in_b, False)
    return mmd


def _mean_kernel(a: Features, b: Features, in_a: Features, in_b: Features, same: bool) -> Features:
    """Weighted mean of k over all pairs, without the diagonal if the two are the same set: (R,)."""
    total = np.zeros(len(in_a))
    for start in range(0, len(a), _ROWS):
        rows = slice(start, start + _ROWS)
        kernel = a[rows] @ b.T / a.shape[1] + 1.0
        kernel *= kernel * kernel  # many times faster than ** 3
        if same:
            np.fill_diagonal(kernel[:, start:], 0.0)
        total += (in_a[:, rows] * (in_b @ kernel.T)).sum(1)
    pairs = in_a.sum(1) * in_b.sum(1) - ((in_a * in_b).sum(1) if same else 0.0)
    mean: Features = total / pairs
    return mean


# --- precision and recall --------------------------------------------------------------------------------------------


def precision_recall(real: Features, generated: Features, k: int = 3) -> tuple[float, float]:
    """(precision, recall): the shares of ``generated`` near ``real`` and of ``real`` near ``generated``; see :func:`inside`.

    Each set needs more than k rows.
    """
    return float(inside(generated, real, k).mean()), float(inside(real, generated, k).mean())


def inside(points: Features, known: Features, k: int = 3) -> NDArray[np.bool_]:
    """Which ``points`` lie in a ball around some row of ``known`` that reaches to this row's k-th nearest other, (N,)."""
    if not 1 <= k < len(known):
        raise ValueError(f"the {k}-th nearest neighbour needs more than {k} pictures in each set, but one has {len(known)}")
    radii = np.concatenate([_kth_nearest(known, slice(i, i + _ROWS), k) for i in range(0, len(known), _ROWS)])
    parts = [points[i : i + _ROWS] for i in range(0, len(points), _ROWS)]
    return np.concatenate([(_squares(part, known) <= radii).any(1) for part in parts])


def _kth_nearest(known: Features, rows: slice, k: int) -> Features:
    """Squared distance from some rows to their k-th nearest other."""
    squares = _squares(known[rows], known)
    np.fill_diagonal(squares[:, rows.start :], np.inf)
    kth: Features = np.partition(squares, k - 1, axis=1)[:, k - 1]
    return kth


def _squares(a: Features, b: Features) -> Features:
    squares: Features = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T)
    return squares.clip(min=0.0)


# --- intervals -------------------------------------------------------------------------------------------------------


def share_interval(hits: int, count: int, level: float = 0.95) -> Interval:
    """Wilson's interval of a share, ``hits`` of ``count``."""
    from statistics import NormalDist

    if not 0 <= hits <= count or count < 1:
        raise ValueError(f"a share is some of at least one, but got {hits} of {count}")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, spread = hits / count, z * z / count
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    middle = share + spread / 2
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return Interval(0.0 if hits == 0 else low, 1.0 if hits == count else high, "Wilson", level)


def ratio_interval(above: Features, below: Features, seed: int = 0, resamples: int = 1000) -> Interval:
    """The bootstrap interval of mean(above) / mean(below), for two independent sets of numbers."""
    drawn = [
        _redrawn(len(values), resamples, seed, which) @ values / len(values)
        for values, which in ((above, "a"), (below, "b"))
    ]
    return percentiles(_moved(drawn[0] / drawn[1], float(above.mean() / below.mean())))


def _redrawn(count: int, resamples: int, seed: int, which: str) -> NDArray[np.int64]:
    """How often each of ``count`` rows is drawn, in each of ``resamples`` redrawings: (resamples, count)."""
    random = np.random.default_rng(noise.key(seed, "bootstrap", which))
    even = np.full(count, 1 / count)
    counts: NDArray[np.int64] = random.multinomial(count, even, size=resamples)
    while count > 1 and (alike := (counts.max(1) == count)).any():  # one row alone has no scatter and no pairs
        counts[alike] = random.multinomial(count, even, size=int(alike.sum()))
    return counts


def percentiles(drawn: Features, level: float = 0.95) -> Interval:
    """What lies between: the interval that redrawn values (R,) give."""
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), f"bootstrap of {len(drawn)}", level)


def _moved(drawn: Features, value: float) -> Features:
    moved: Features = drawn - drawn.mean() + value
    return moved


def _check(a: Features, b: Features) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"features must be (N, D) and (M, D) with N, M >= 2, but are {a.shape} and {b.shape}")
