"""The linear part of a network: on Gaussian data it is the truth, before anything is learned."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from noisepath import exact
from noisepath.data import Dataset
from noisepath.data_stats import cosine_power, cosines
from noisepath.denoiser import Denoiser
from noisepath.levels import Level
from noisepath.nn import LinearPart, UNet, UNetConfig
from noisepath.schedules import schedule
from noisepath.training import TrainConfig
from noisepath.training.plan import choose
from noisepath.training.run import build

C, H, W = 3, 4, 6  # of two colours the directions may form a mirror, which is its own inverse
LEVELS = (0.002, 0.1, 0.7, 5.0, 80.0)
CONFIG = UNetConfig(
    in_channels=C, out_channels=C, channels=(8,), attention=(), head_channels=4, groups=4, embedding=16, spectrum=(H, W)
)


def field(count: int = 4000) -> tuple[Tensor, Tensor]:
    """Pictures whose frequencies and three mixed colours are independent, and their exact covariance, float64."""
    generator = torch.Generator().manual_seed(3)
    power = 0.5 / (1.0 + torch.arange(H)[:, None] + 0.5 * torch.arange(W)) ** 2 * torch.tensor([1.0, 0.3, 0.1])[:, None, None]
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, 0.4, -0.7], [-0.4, 0.0, 0.2], [0.7, -0.2, 0.0]], dtype=torch.float64))
    basis = torch.einsum("dc,ki,lj->dklcij", turn, cosines(H), cosines(W)).reshape(C * H * W, C * H * W)
    drawn = torch.randn(count, C * H * W, dtype=torch.float64, generator=generator) * power.double().flatten().sqrt()
    return (drawn @ basis).view(count, C, H, W), basis.T @ torch.diag(power.double().flatten()) @ basis


def measured(network: UNet, pictures: Tensor, sigma_data: float = 0.4) -> Denoiser:
    assert network.linear is not None
    network.double().linear.measure(pictures, sigma_data)  # type: ignore[union-attr]
    return Denoiser(network, schedule("edm"), "edm", sigma_data=sigma_data)


def test_cosines_are_an_orthonormal_basis_that_begins_with_the_mean() -> None:
    assert torch.allclose(cosines(7) @ cosines(7).T, torch.eye(7, dtype=torch.float64), atol=1e-14)
    assert torch.allclose(cosines(7)[0], torch.full((7,), 1 / math.sqrt(7), dtype=torch.float64))


def test_the_power_of_pictures_is_found_along_the_colours_that_vary_apart() -> None:
    pictures, covariance = field(20_000)
    colours, power = cosine_power(pictures)
    assert torch.allclose(colours @ colours.T, torch.eye(C, dtype=torch.float64), atol=1e-12)
    basis = torch.einsum("dc,ki,lj->dklcij", colours, cosines(H), cosines(W)).reshape(C * H * W, -1)
    true = torch.diagonal(basis @ covariance @ basis.T)
    assert torch.allclose(power.flatten(), true, rtol=5 * math.sqrt(2 / 20_000))  # five standard errors of a variance


@pytest.mark.parametrize("sigma_data", [0.3, 1.0])
@pytest.mark.parametrize("sigma", LEVELS)
def test_before_training_it_is_the_exact_denoiser_of_gaussian_pictures(sigma: float, sigma_data: float) -> None:
    pictures, _ = field(500)
    denoiser = measured(UNet(CONFIG), pictures, sigma_data)
    colours, power = cosine_power(pictures)
    basis = torch.einsum("dc,ki,lj->dklcij", colours, cosines(H), cosines(W)).reshape(C * H * W, -1)
    truth = exact.Gaussian(torch.zeros(C * H * W, dtype=torch.float64), basis.T @ torch.diag(power.flatten()) @ basis)
    x = (pictures[:20] + sigma * torch.randn(20, C, H, W, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    level = Level(1.0, sigma)
    assert torch.allclose(denoiser(x, level).flatten(1), truth.belief(x.flatten(1), level), rtol=1e-9, atol=1e-12)


def test_what_is_left_to_the_network_is_as_large_as_the_filter_s_error() -> None:
    pictures, _ = field(500)
    part = LinearPart(C, H, W).double()
    part.measure(pictures, 0.4)
    _, power = cosine_power(pictures)
    s = torch.tensor(LEVELS, dtype=torch.float64)
    size = part(torch.zeros(len(s), C, H, W, dtype=torch.float64), torch.log(s) / 4)[2].flatten()
    error = torch.stack([(power * v**2 / (power + v**2)).mean() for v in LEVELS])
    c_out = s * 0.4 / torch.sqrt(s**2 + 0.16)
    assert torch.allclose(c_out * size, error.sqrt(), rtol=1e-12)


def test_the_noise_it_tells_the_network_is_what_the_filter_takes_away() -> None:
    pictures, _ = field(500)
    network = UNet(CONFIG)
    denoiser, part = measured(network, pictures), network.linear
    assert part is not None
    for sigma in LEVELS:
        x = pictures[:5] + sigma
        noise = part(x / math.sqrt(sigma**2 + 0.16), torch.full((5,), math.log(sigma) / 4, dtype=torch.float64))[1]
        assert torch.allclose(noise, (x - denoiser(x, Level(1.0, sigma))) / sigma, atol=1e-9)


def test_nearly_pure_noise_other_sizes_and_half_precision_are_finite() -> None:
    pictures, _ = field(100)
    network = UNet(CONFIG)
    assert network.linear is not None
    network.linear.measure(pictures, 0.4)
    x = torch.randn(2, C, 9, 5)
    for t in (torch.tensor([-2.0, 1.0]), torch.tensor([3.0, 30.0])):
        assert torch.isfinite(network(x, t)).all() and network(x, t).shape == x.shape
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x, torch.tensor([-2.0, 1.0]))
    assert torch.equal(half, network(x, torch.tensor([-2.0, 1.0])))  # the linear part does not know of it


def test_a_spectrum_needs_two_sizes_and_as_many_channels_out_as_in() -> None:
    with pytest.raises(ValueError, match=r"spectrum is a height and a width in pixels, or None, but is \(4,\)"):
        UNetConfig(spectrum=(4,))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="in_channels is 3 and out_channels 1: leave out spectrum"):
        UNetConfig(in_channels=3, out_channels=1, spectrum=(4, 4))
    assert UNetConfig.from_dict(CONFIG.to_dict()) == CONFIG


def test_the_plan_gives_it_to_larger_pictures_with_edm_s_prediction() -> None:
    config, network, choices = choose(TrainConfig(), (3, 32, 32), 0, "cpu")
    assert config.linear and network.spectrum == (32, 32)
    assert next(choice for choice in choices if choice.name == "linear").value == "yes"
    assert choose(TrainConfig(), (1, 8, 8), 0, "cpu")[1].spectrum is None
    assert choose(TrainConfig(linear=True), (1, 8, 8), 0, "cpu")[1].spectrum == (8, 8)
    assert choose(TrainConfig(prediction="v", schedule="cosine"), (3, 32, 32), 0, "cpu")[1].spectrum is None
    with pytest.raises(ValueError, match="with prediction 'edm' alone, but is to predict 'v'"):
        choose(TrainConfig(prediction="v", linear=True), (3, 32, 32), 0, "cpu")


def test_a_run_measures_it_on_its_own_pictures() -> None:
    pictures, _ = field(40)
    data = Dataset(pictures.clamp(-1, 1).float())
    made = build(data, TrainConfig(linear=True, size="tiny", steps=1))
    assert made.network.linear is not None
    _, power = cosine_power(data.pictures)
    assert torch.allclose(made.network.linear.power.double() * data.sigma_data**2, power.clamp(min=1e-8), rtol=1e-4, atol=1e-7)
