"""Figures of quality, against what is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from noisepath.data import Dataset, digits
from noisepath.evaluation import (
    DigitsJudge,
    frechet_distance,
    gaussian_frechet,
    half_split_distance,
    nearest_ratio,
    pca_features,
)


@pytest.fixture(scope="module")
def judge() -> DigitsJudge:
    return DigitsJudge(digits())


def test_gaussians_with_commuting_covariances_have_the_textbook_distance() -> None:
    """Diagonal covariances: |m_a - m_b|^2 + sum (s_a - s_b)^2; turned into any other basis it stays the same."""
    a, b = np.array([1.0, 2.0, 0.0]), np.array([0.5, 2.0, 3.0])
    mean = np.array([1.0, -2.0, 0.5])
    expected = float((mean**2).sum() + ((a - b) ** 2).sum())
    assert gaussian_frechet(mean, np.diag(a**2), np.zeros(3), np.diag(b**2)) == pytest.approx(expected, rel=1e-12)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = gaussian_frechet(turn @ mean, turn @ np.diag(a**2) @ turn.T, np.zeros(3), turn @ np.diag(b**2) @ turn.T)
    assert turned == pytest.approx(expected, rel=1e-7)  # the root of an eigenvalue 0 is off by sqrt(1e-16)


def test_gaussians_with_other_covariances_have_the_distance_of_their_optimal_map() -> None:
    """2 x 2: tr (A B)^(1/2) = sqrt(tr(A B) + 2 sqrt(det(A B))), in closed form."""
    a, b = np.array([[2.0, 0.6], [0.6, 1.0]]), np.array([[1.0, -0.8], [-0.8, 3.0]])
    root = math.sqrt(np.trace(a @ b) + 2 * math.sqrt(np.linalg.det(a @ b)))
    expected = np.trace(a) + np.trace(b) - 2 * root
    assert gaussian_frechet(np.zeros(2), a, np.zeros(2), b) == pytest.approx(expected, rel=1e-12)
    assert gaussian_frechet(np.zeros(2), b, np.zeros(2), a) == pytest.approx(expected, rel=1e-12)


def test_the_distance_between_samples_is_that_of_their_gaussians_with_the_bias_that_theory_gives() -> None:
    """Same law twice, D = 5, N = 4,000: E is about (D + D (D + 1) / 4) / N * (1/2 + 1/2) ... here bounded by 3 D^2 / N."""
    random = np.random.default_rng(1)
    one, two = random.normal(size=(2, 4000, 5))
    assert 0 < frechet_distance(one, two) < 3 * 25 / 4000
    # moved by 1 in one coordinate and twice as wide in another: 1 + (2 - 1)^2, to 5 standard errors (about 0.05 each)
    two[:, 0] += 1.0
    two[:, 1] *= 2.0
    assert frechet_distance(one, two) == pytest.approx(2.0, abs=0.25)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)


def test_features_of_one_dimension_and_singular_ones_are_fine() -> None:
    a, b = np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]])
    assert frechet_distance(a, b) == pytest.approx(4.0 + 2.0 * (2.0 - 1.0) ** 2)  # variances 2 and 8
    flat = np.zeros((5, 3))
    assert frechet_distance(flat, flat + 1.0) == pytest.approx(3.0)


@pytest.mark.parametrize(("a", "b"), [((5, 3), (5, 4)), ((5,), (5,)), ((1, 3), (5, 3))])
def test_features_that_have_no_distance_are_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="features must be"):
        frechet_distance(np.zeros(a), np.zeros(b))


def test_the_half_split_distance_is_the_mean_over_splits_into_disjoint_halves() -> None:
    features = np.random.default_rng(0).normal(size=(400, 4))
    found = half_split_distance(features, splits=20)
    # each half has 200: mean part 2 D / 200 = 0.04; the covariances' part adds D (D + 1) / 2 * 2 / 200 / 4 = 0.025
    assert found == pytest.approx(0.065, rel=0.3)
    assert half_split_distance(features, splits=20) == found
    assert half_split_distance(features, splits=20, seed=1) != found


def test_principal_components_keep_the_variance_in_falling_order() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(500, 6)) * np.array([5.0, 3.0, 1.0, 0.1, 0.1, 0.1])
    found = pca_features(values, 3)(values)
    assert found.shape == (500, 3)
    assert np.allclose(found.std(0), [5.0, 3.0, 1.0], rtol=0.15)


def test_copies_have_a_nearest_ratio_of_0_and_pictures_like_the_real_ones_one_of_1() -> None:
    """Points on a lattice: the nearest other is at distance 1, a copy at 0, a point midway at 1/2."""
    real = torch.tensor([[float(i), float(j)] for i in range(10) for j in range(10)]).view(100, 1, 1, 2)
    assert nearest_ratio(real[:7], real) == 0
    assert nearest_ratio(real + torch.tensor([0.5, 0.0]), real) == pytest.approx(0.5, rel=1e-6)
    assert nearest_ratio(real * 1.0, real, chunk=7) == 0
    random = torch.Generator().manual_seed(0)
    cloud = torch.randn(1000, 1, 2, 2, generator=random)
    assert nearest_ratio(torch.randn(1000, 1, 2, 2, generator=random), cloud) == pytest.approx(1.0, abs=0.1)


def test_real_digits_are_read_right_and_stand_at_distance_0(judge: DigitsJudge) -> None:
    data = digits()
    pictures, labels = data.batch(range(len(data)))
    figures = judge.report(pictures, labels)
    assert figures.frechet == pytest.approx(0.0, abs=1e-6) and figures.nearest_ratio == 0
    assert figures.read_as_asked is not None and figures.read_as_asked > 0.99  # the SVC's own training pictures
    assert figures.pictures == 1797
    assert judge.half_split > 1.0


def test_the_figures_tell_good_from_bad(judge: DigitsJudge) -> None:
    data = digits()
    pictures, labels = data.batch(range(600))
    assert labels is not None
    random = torch.Generator().manual_seed(0)
    blurred = judge.report((pictures + 0.5 * torch.randn(pictures.shape, generator=random)).clamp(-1, 1), labels)
    clean = judge.report(pictures, labels)
    assert blurred.frechet_ratio > 3 * clean.frechet_ratio and blurred.nearest_ratio > 1
    swapped = judge.report(pictures, (labels + 1) % 10)
    assert swapped.read_as_asked is not None and swapped.read_as_asked < 0.02
    half = torch.where(torch.arange(600) % 2 == 0, labels, (labels + 1) % 10)
    assert judge.report(pictures, half).read_as_asked == pytest.approx(0.5, abs=0.01)
    only_sevens = torch.where(labels == 7, (labels + 1) % 10, labels)
    assert judge.report(pictures, only_sevens).worst_class == pytest.approx(
        float((labels == 8).sum() / ((labels == 8) | (labels == 7)).sum()), abs=0.02
    )


def test_samples_are_judged_at_the_datas_grey_values(judge: DigitsJudge) -> None:
    """What rounding to 17 greys takes away is not held against a sample: noise below half a step changes nothing."""
    pictures, _ = digits().batch(range(300))
    nearly = (pictures + 0.06 * (2 * torch.rand(pictures.shape, generator=torch.Generator().manual_seed(0)) - 1)).clamp(-1, 1)
    assert judge.report(nearly).frechet == judge.report(pictures).frechet
    assert judge.report(pictures).read_as_asked is None


def test_the_reader_is_right_on_most_digits_it_has_not_seen(judge: DigitsJudge) -> None:
    assert judge.real_read(folds=3) == pytest.approx(0.97, abs=0.02)


def test_what_the_judge_cannot_judge_is_refused(judge: DigitsJudge) -> None:
    with pytest.raises(ValueError, match=r"pictures must be \(N, 1, 8, 8\)"):
        judge.report(torch.zeros(3, 1, 9, 9))
    with pytest.raises(ValueError, match="needs their labels"):
        DigitsJudge(Dataset(torch.zeros(3, 1, 8, 8)))
