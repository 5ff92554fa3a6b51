"""The best linear estimate of x_0: on Gaussian data it is the posterior mean, in every basis, at every level."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from noisepath.data_stats import DataStats, LinearEstimate, cosine_transform, cosines
from noisepath.exact import Gaussian
from noisepath.levels import Level

LEVELS = [(1.0, 0.0), (1.0, 0.3), (0.6, 0.8), (0.01, 1.0), (0.0, 1.0)]
CHANNELS, HEIGHT, WIDTH = 3, 4, 5


def _colours() -> Tensor:
    return torch.linalg.qr(torch.randn(CHANNELS, CHANNELS, generator=torch.Generator().manual_seed(1))).Q.contiguous()


def _image_gaussian() -> tuple[LinearEstimate, Gaussian]:
    """Images whose covariance is diagonal by colour direction and frequency, and the same Gaussian by its whole covariance."""
    generator = torch.Generator().manual_seed(0)
    shape = (CHANNELS, HEIGHT, WIDTH)
    mean = torch.randn(shape, generator=generator)
    variance = torch.rand(shape, generator=generator) + 0.01
    colours = _colours()
    basis = torch.einsum("dc,fh,gw->dfgchw", colours.double(), cosines(HEIGHT), cosines(WIDTH)).reshape(60, 60)
    covariance = basis.T @ torch.diag(variance.flatten().double()) @ basis
    return LinearEstimate("cosine", mean[None], torch.stack([variance] * 2), colours), Gaussian(mean.double(), covariance)


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
def test_on_gaussian_images_it_is_the_posterior_mean(alpha: float, sigma: float) -> None:
    estimate, truth = _image_gaussian()
    x = torch.randn(7, CHANNELS, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2)).double()
    level = Level(alpha, sigma)
    wanted = truth.belief(x, level) if sigma else x / alpha
    torch.testing.assert_close(estimate(x, alpha, sigma), wanted, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("shape", "basis"), [((6,), "principal"), ((2, 3), "principal"), ((1, 4, 4), "cosine"), ((1025,), "diagonal")]
)
def test_moments_of_a_sample_are_found_in_the_basis_of_its_shape(shape: tuple[int, ...], basis: str) -> None:
    """From n samples a variance is known to a relative sqrt(2 / n); the estimate moves by less than its own share of that."""
    n = 4000 if basis != "diagonal" else 200
    d = math.prod(shape)
    variance = torch.linspace(0.1, 2.0, d, dtype=torch.float64)
    if basis == "principal":
        turn = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
        covariance: Tensor = turn @ torch.diag(variance) @ turn.T
    elif basis == "cosine":
        rows = torch.einsum("fh,gw->fghw", cosines(shape[1]), cosines(shape[2])).reshape(d, d)
        covariance = rows.T @ torch.diag(variance) @ rows
    else:
        covariance = variance
    truth = Gaussian(torch.linspace(-1, 1, d, dtype=torch.float64).reshape(shape), covariance)
    estimate = LinearEstimate.measure(truth.sample(n, seed=4))
    assert estimate.basis == basis and estimate.classes == 0
    x = truth.sample(20, seed=5)
    x = 0.6 * x + 0.8 * torch.randn(x.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    error = (estimate(x, 0.6, 0.8) - truth.belief(x, Level(0.6, 0.8))).square().mean().sqrt()
    assert error < 6 * math.sqrt(d / n) * (0.2 if basis == "principal" else 0.1)


def _classes(n: int) -> tuple[Tensor, Tensor]:
    """Two classes of points apart by 4 along one axis, with a deviation of 0.5."""
    labels = torch.arange(n) % 2
    x = 0.5 * torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 0] += torch.where(labels == 1, 2.0, -2.0)
    return x, labels


def test_a_class_has_a_mean_and_a_variance_of_its_own_and_no_class_those_of_all() -> None:
    x, labels = _classes(4000)
    estimate = LinearEstimate.measure(x, labels, 2)
    at = torch.zeros(3, 2)
    means = estimate(at, 0.0, 1.0, torch.tensor([0, 1, 2]))
    wanted = torch.tensor([[-2.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(means, wanted, rtol=0, atol=5 * 0.5 / math.sqrt(2000))
    # with a class 0.25 is the variance everywhere; without one 4.25 along the axis on which classes differ
    moved = estimate(at + 1.0, 1.0, 1.0, torch.tensor([1, 1, 2]))
    assert moved[0, 0] == pytest.approx(2 + (1 - 2) * 0.25 / 1.25, abs=0.05)
    assert moved[2, 0] == pytest.approx(4.25 / 5.25, abs=0.05) and moved[2, 1] == pytest.approx(0.25 / 1.25, abs=0.05)
    torch.testing.assert_close(estimate(at, 0.0, 1.0), means[2:].expand(3, 2))


def test_few_samples_of_a_class_are_drawn_towards_the_mean_of_all() -> None:
    """Labels that mean nothing: class means of 4 samples scatter by 1/2 of the deviation, their estimates by far less."""
    x = torch.randn(400, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    labels = torch.arange(400) % 100
    estimate = LinearEstimate.measure(x, labels, 101)
    assert estimate.means[:100].std() < 0.2 < 0.4 < torch.stack([x[labels == k].mean(0) for k in range(100)]).std()
    torch.testing.assert_close(estimate.means[100], estimate.means[101])  # a class of which there is nothing


def test_it_comes_back_from_its_tensors_and_refuses_others() -> None:
    estimate, _ = _image_gaussian()
    x = torch.randn(2, CHANNELS, HEIGHT, WIDTH)
    assert torch.equal(LinearEstimate.from_tensors(estimate.tensors())(x, 0.5, 0.5), estimate(x, 0.5, 0.5))
    with pytest.raises(ValueError, match="not the tensors of a linear estimate"):
        LinearEstimate.from_tensors({"cosine.means": x})


def test_images_of_another_size_have_their_spectrum_and_mean_stretched() -> None:
    estimate, _ = _image_gaussian()
    x = torch.randn(2, CHANNELS, 2 * HEIGHT, 2 * WIDTH)
    assert estimate(x, 0.5, 0.5).shape == x.shape
    with pytest.raises(ValueError, match="does not hold for shape"):
        estimate(torch.randn(2, 1, HEIGHT, WIDTH), 0.5, 0.5)


def test_many_classes_of_large_images_have_means_of_lower_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noisepath.data_stats.MOST_VALUES", 100)
    x, labels = torch.rand(40, 1, 8, 8), torch.arange(40) % 4
    estimate = LinearEstimate.measure(x, labels, 4)
    assert estimate.means.numel() <= 100 and estimate(x, 0.5, 0.5, labels).shape == x.shape


def test_the_transform_is_orthonormal() -> None:
    x = torch.randn(2, CHANNELS, HEIGHT, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(cosine_transform(x, _colours()).square().sum(), x.square().sum(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"range": (1, -1)}, "least and the greatest"),
        ({"range": (0, math.inf)}, "least and the greatest"),
        ({"std": 0.0}, "std must be"),
        ({"scale": -1.0}, "scale must be"),
        ({"mean": math.nan}, "mean must be"),
    ],
)
def test_what_can_not_be_known_of_data_is_refused(given: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        DataStats(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"std": "1"}, "std of DataStats must be a number, but got '1'"),
        ({"mean": "a"}, "mean of DataStats must be a number, but got 'a'"),
        ({"range": ("a", "b")}, "an end of the range of DataStats must be a number, but got 'a'"),
        ({"range": 3}, "least and the greatest value, such as .* but got 3"),
    ],
)
def test_what_is_no_number_is_refused_by_its_name(given: dict[str, object], match: str) -> None:
    with pytest.raises(TypeError, match=match):
        DataStats(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [np.float32, np.array, torch.tensor])
def test_numbers_of_any_library_are_stored_as_plain_ones(kind: Callable[[object], object]) -> None:
    known = DataStats(mean=kind(0.5), std=kind(2.0), scale=kind(2.0), range=np.array([-1, 1]))  # type: ignore[arg-type]
    assert json.loads(json.dumps([known.mean, known.std, known.scale, known.range])) == [0.5, 2.0, 2.0, [-1.0, 1.0]]


def test_one_sample_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="2 samples or more"):
        LinearEstimate.measure(torch.zeros(1, 3))
