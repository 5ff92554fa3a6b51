"""Distances between sets of features, against closed forms and against plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from noisepath.evaluation.distances import (
    _weighted_mmd,
    frechet_distance,
    frechet_interval,
    gaussian_frechet,
    inside,
    kernel_distance,
    kernel_interval,
    precision_recall,
    ratio_interval,
    share_interval,
)


def _kernel(x: np.ndarray, y: np.ndarray) -> float:
    return (sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3


def _mmd_by_loops(a: np.ndarray, b: np.ndarray) -> float:
    within = [np.mean([_kernel(x, y) for x, y in itertools.permutations(rows, 2)]) for rows in (a, b)]
    return float(within[0] + within[1] - 2 * np.mean([_kernel(x, y) for x in a for y in b]))


def test_the_kernel_distance_is_the_mean_over_all_pairs_of_different_pictures() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(9, 3)), random.normal(size=(7, 3)) + 0.5
    assert kernel_distance(a, b) == pytest.approx(_mmd_by_loops(a, b), rel=1e-12)
    assert kernel_distance(b, a) == pytest.approx(_mmd_by_loops(a, b), rel=1e-12)


def test_more_rows_than_are_held_at_once_make_no_difference() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(size=(1100, 2)), random.normal(size=(600, 2))
    aa, bb, ab = ((x @ y.T / 2 + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    plain = (aa.sum() - np.trace(aa)) / (1100 * 1099) + (bb.sum() - np.trace(bb)) / (600 * 599) - 2 * ab.mean()
    assert kernel_distance(a, b) == pytest.approx(plain, rel=1e-9)


def test_rows_that_are_counted_several_times_are_not_paired_with_themselves() -> None:
    """Counts (2, 1, 0) and (1, 2): every pair of different rows, as often as the product of their counts says."""
    random = np.random.default_rng(11)
    a, b = random.normal(size=(3, 2)), random.normal(size=(2, 2))
    found = _weighted_mmd(a, b, np.array([[2.0, 1.0, 0.0]]), np.array([[1.0, 2.0]]))
    across = (2 * _kernel(a[0], b[0]) + 4 * _kernel(a[0], b[1]) + _kernel(a[1], b[0]) + 2 * _kernel(a[1], b[1])) / 9
    assert found.tolist() == pytest.approx([_kernel(a[0], a[1]) + _kernel(b[0], b[1]) - 2 * across])


def test_the_kernel_distance_of_gaussians_is_what_their_moments_say() -> None:
    """One dimension: (x y + 1)^3 is a product of (1, 3^(1/2) x, 3^(1/2) x^2, x^3), so MMD^2 is the sum of the squared
    differences of moments 1, 2, 3, weighted 3, 3, 1."""
    mean, spread, n, times = 0.4, 1.3, 200, 400
    random = np.random.default_rng(2)
    found = [
        kernel_distance(random.normal(size=(n, 1)), mean + spread * random.normal(size=(n, 1))) for _ in range(times)
    ]
    moments = (mean, mean**2 + spread**2, mean**3 + 3 * mean * spread**2)
    expected = 3 * moments[0] ** 2 + 3 * (moments[1] - 1) ** 2 + moments[2] ** 2
    assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / math.sqrt(times))
    assert np.std(found) / math.sqrt(times) < 0.05 * expected


def test_the_kernel_distance_of_centred_gaussians_is_that_of_their_covariances() -> None:
    """In d dimensions, means 0: MMD^2 = 3 |A - B|^2 / d^2, since the odd moments vanish."""
    random = np.random.default_rng(3)
    mix = random.normal(size=(4, 4)) / 2
    a, b = random.normal(size=(4000, 4)), random.normal(size=(4000, 4)) @ mix.T
    expected = 3 * ((np.eye(4) - mix @ mix.T) ** 2).sum() / 16
    assert kernel_distance(a, b) == pytest.approx(expected, rel=0.1)


def test_the_kernel_distance_of_one_law_to_itself_is_0_on_average() -> None:
    random = np.random.default_rng(4)
    found = [kernel_distance(*random.normal(size=(2, 20, 3))) for _ in range(400)]
    assert abs(np.mean(found)) < 4 * np.std(found) / 20  # four standard errors of the mean of 400
    assert min(found) < 0  # unbiased: it falls below 0 as often as above


def test_precision_and_recall_are_what_can_be_counted_by_hand() -> None:
    """Real ones at 0, 1, ..., 9 on a line: with k = 2 an end's ball reaches 2, every other one 1.  Samples at 0, 0.5, 1
    and at 50: three of four within; their own balls reach 1, 0.5, 1 and 49.5."""
    real = np.arange(10.0)[:, None]
    made = np.array([[0.0], [0.5], [1.0], [50.0]])
    assert inside(made, real, k=2).tolist() == [True, True, True, False]
    # the far sample's ball reaches its second nearest, at distance 49.5: it holds the real ones from 0.5 on, all but 0
    assert inside(real, made, k=2).all()  # and 0 lies in the ball of the sample at 0
    assert precision_recall(real, made, k=2) == (0.75, 1.0)
    assert inside(real, made[:3], k=2).tolist() == [True, True, True] + [False] * 7  # the balls reach up to 2


def test_precision_falls_with_bad_samples_and_recall_with_missing_ones() -> None:
    random = np.random.default_rng(5)
    real = random.normal(size=(800, 3))
    real[400:] += 20
    only_half = random.normal(size=(300, 3))
    precision, recall = precision_recall(real, only_half)
    assert precision > 0.9 and recall == pytest.approx(0.5, abs=0.05)
    half_bad = np.concatenate([only_half, random.normal(size=(300, 3)) + 20 * np.array([1, -1, 1])])
    assert precision_recall(real, half_bad)[0] == pytest.approx(0.5, abs=0.05)


def test_precision_and_recall_agree_with_plain_loops_beyond_one_block_of_rows() -> None:
    random = np.random.default_rng(6)
    real, made = random.normal(size=(600, 2)), random.normal(size=(60, 2)) * 1.5
    radii = [np.sort(np.hypot(*(real - x).T))[3] for x in real]  # the 0-th is the picture itself
    plain = np.mean([(np.hypot(*(real - m).T) <= radii).any() for m in made])
    assert precision_recall(real, made)[0] == plain


def test_no_picture_is_its_own_neighbour_in_any_block_of_rows() -> None:
    """350 pairs at distance 1, far from each other: a ball reaches the partner, so it holds the place between the two."""
    starts = 100.0 * np.arange(350)
    real = np.sort(np.concatenate([starts, starts + 1]))[:, None]
    assert inside(starts[:, None] + 0.5, real, k=1).all()
    assert not inside(starts[:, None] + 2.5, real, k=1).any()


def test_too_few_pictures_for_the_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="needs more than 3 pictures"):
        precision_recall(np.zeros((3, 2)), np.zeros((9, 2)))


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)]
)
def test_the_interval_of_a_share_is_wilsons(hits: int, count: int, low: float, high: float) -> None:
    """81 of 263 is the worked example of Newcombe 1998, table I; at the ends z^2 / (n + z^2)."""
    found = share_interval(hits, count)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert found.low <= hits / count <= found.high


def test_a_share_of_nothing_is_refused() -> None:
    for hits, count in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="a share is some of at least one"):
            share_interval(hits, count)


@pytest.mark.parametrize(("n", "m", "d"), [(40, 60, 5), (6, 60, 20), (4, 3, 20), (2, 9, 1)])
def test_the_frechet_distance_is_that_of_the_fitted_gaussians_with_many_pictures_and_with_few(n: int, m: int, d: int) -> None:
    random = np.random.default_rng(n)
    a, b = random.normal(size=(n, d)), 2 * random.normal(size=(m, d)) + 1
    fitted = [(rows.mean(0), np.atleast_2d(np.cov(rows, rowvar=False))) for rows in (a, b)]
    assert frechet_distance(a, b) == pytest.approx(gaussian_frechet(*fitted[0], *fitted[1]), rel=1e-6)


def test_the_frechet_interval_is_as_wide_as_the_figure_scatters_when_everything_is_drawn_again() -> None:
    random = np.random.default_rng(7)

    def drawn() -> tuple[np.ndarray, np.ndarray]:
        return random.normal(size=(150, 3)), random.normal(size=(200, 3)) * 1.3 + 0.4

    scatter = np.std([frechet_distance(*drawn()) for _ in range(300)])
    found = [frechet_interval(*drawn(), seed=i) for i in range(8)]
    assert np.mean([f.high - f.low for f in found]) == pytest.approx(2 * 1.96 * scatter, rel=0.25)
    assert found[0].method == "bootstrap of 200" and found[0].level == 0.95


def test_the_kernel_interval_is_as_wide_as_the_figure_scatters_when_everything_is_drawn_again() -> None:
    random = np.random.default_rng(8)

    def drawn() -> tuple[np.ndarray, np.ndarray]:
        return random.normal(size=(150, 3)), random.normal(size=(200, 3)) * 1.3 + 0.4

    scatter = np.std([kernel_distance(*drawn()) for _ in range(400)])
    found = [kernel_interval(*drawn(), seed=i) for i in range(10)]
    assert np.mean([f.high - f.low for f in found]) == pytest.approx(2 * 1.96 * scatter, rel=0.25)


def test_the_interval_of_a_ratio_is_that_of_the_delta_method() -> None:
    random = np.random.default_rng(9)
    above, below = random.normal(3.0, 1.0, size=400), random.normal(2.0, 0.5, size=300)
    ratio = above.mean() / below.mean()
    spread = ratio * math.hypot(above.std() / above.mean() / math.sqrt(400), below.std() / below.mean() / math.sqrt(300))
    found = ratio_interval(above, below)
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.1)
    assert found.low < ratio < found.high


def test_intervals_hold_the_measured_value_and_depend_on_the_seed_alone() -> None:
    """A Frechet distance grows when its rows are redrawn, here to twice: the interval is about the value all the same."""
    random = np.random.default_rng(10)
    a, b = random.normal(size=(2, 60, 10))
    value = frechet_distance(a, b)
    found = frechet_interval(a, b, seed=1)
    assert found.low < value < found.high
    assert frechet_interval(a, b, seed=1) == found != frechet_interval(a, b, seed=2)
    within = kernel_interval(a, b, seed=1)
    assert within.low < kernel_distance(a, b) < within.high


@pytest.mark.parametrize("measure", [frechet_distance, kernel_distance, frechet_interval, kernel_interval])
def test_sets_that_cannot_be_compared_are_refused(measure: object) -> None:
    assert callable(measure)
    for a, b in (((5, 3), (5, 4)), ((5,), (5,)), ((1, 3), (5, 3))):
        with pytest.raises(ValueError, match="features must be"):
            measure(np.zeros(a), np.zeros(b))
