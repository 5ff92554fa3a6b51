"""Closed forms against numerical integration, sampling and each other."""

import math

import pytest
import torch
from torch import Tensor

from noisepath import exact
from noisepath.denoiser import Condition
from noisepath.exact import Exact, FiniteData, Gaussian, Mixture
from noisepath.levels import Level
from noisepath.schedules import Flow

COV = torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.05, -0.02], [-0.02, 0.4]]], dtype=torch.float64)
MEANS = torch.tensor([[0.5, -0.5], [-1.0, 0.3]], dtype=torch.float64)
MIXTURE = Mixture([2.0, 1.0], MEANS, COV)
GAUSSIAN = Gaussian(MEANS[0], COV[0])
POINTS = FiniteData(torch.tensor([[0.1, 0.2], [0.5, -0.7], [-0.9, 0.4], [-0.8, 0.4]]))
KINDS: dict[str, Exact] = {"gaussian": GAUSSIAN, "mixture": MIXTURE, "finite": POINTS}
kinds = pytest.mark.parametrize("data", KINDS.values(), ids=KINDS.keys())
LEVELS = [Level(1.0, 0.3), Level(0.8, 0.6), Level(0.05, 1.0), Level(2.0, 30.0)]
levels = pytest.mark.parametrize("level", LEVELS, ids=str)


def points_at(level: Level, n: int = 6) -> Tensor:
    z = torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return level.alpha * MIXTURE.sample(n, 5) + level.sigma * z


@kinds
@levels
def test_belief_is_tweedies_formula_on_log_p(data: Exact, level: Level) -> None:
    x = points_at(level).requires_grad_()
    (score,) = torch.autograd.grad(data.log_p(x, level).sum(), x)
    with torch.no_grad():  # E[x_0 | x] = (x + sigma^2 grad log p) / alpha (Efron 2011)
        torch.testing.assert_close(data.belief(x, level), (x + level.sigma**2 * score) / level.alpha, rtol=1e-9, atol=1e-9)


@kinds
@levels
def test_p_integrates_to_one_and_belief_is_a_mean_under_it(data: Exact, level: Level) -> None:
    # a grid of 401 x 401 over 9 standard deviations: the trapezium rule is exact to rounding for Gaussians
    half = 9 * math.hypot(level.sigma, 0.7 * level.alpha) + 1.5 * level.alpha
    axis = torch.linspace(-half, half, 801 if level.sigma < 0.5 else 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    density = data.log_p(grid, level).exp() * float(axis[1] - axis[0]) ** 2
    assert float(density.sum()) == pytest.approx(1, abs=1e-9)
    overall = (density[:, None] * data.belief(grid, level)).sum(0)  # E[E[x_0 | x]] = E[x_0]
    means = {"gaussian": MEANS[0], "mixture": (2 * MEANS[0] + MEANS[1]) / 3, "finite": POINTS.points.mean(0)}
    truth = next(means[name] for name, kind in KINDS.items() if kind is data)
    torch.testing.assert_close(overall, truth, rtol=0, atol=1e-9)


@kinds
def test_samples_have_the_datas_moments(data: Exact) -> None:
    n = 40_000
    x = data.sample(n, 3)
    if isinstance(data, FiniteData):
        mean, cov = data.points.mean(0), torch.cov(data.points.T.clone(), correction=0)
    else:
        assert isinstance(data, Mixture)
        w = data.log_weights.exp()
        mean = w @ data.means
        spread = data.axes @ torch.diag_embed(data.variances) @ data.axes.mT
        cov = (w[:, None, None] * spread).sum(0) + torch.cov(data.means.T.clone(), aweights=w, correction=0)
    error = cov.diagonal().sqrt() / math.sqrt(n)
    assert ((x.mean(0) - mean).abs() < 4 * error).all()
    assert ((torch.cov(x.T.clone()) - cov).abs() < 4 * math.sqrt(3 / n) * cov.diagonal().max()).all()
    assert torch.equal(data.sample(7, 3), x[:7])


@kinds
def test_the_ends_are_the_prior_mean_and_the_picture_itself(data: Exact) -> None:
    x = points_at(LEVELS[0])
    at_noise = data.denoiser()(x, Level(0.0, 2.0))
    assert isinstance(at_noise, Tensor)
    torch.testing.assert_close(at_noise, at_noise[:1].expand_as(x))  # the same belief whatever x is
    torch.testing.assert_close(data.denoiser()(x, Level(0.5, 0.0)), 2 * x)


def test_gaussian_belief_is_linear_regression() -> None:
    level = Level(0.8, 0.6)
    x = points_at(level)
    gain = 0.8 * COV[0] @ torch.linalg.inv(0.64 * COV[0] + 0.36 * torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(GAUSSIAN.belief(x, level), MEANS[0] + (x - 0.8 * MEANS[0]) @ gain.T, rtol=1e-12, atol=1e-12)


def test_gaussian_flow_solves_the_ode() -> None:
    # Runge and Kutta's fourth order, 200 steps from sigma 2 to 0.1 at alpha = 1, in u = log sigma: dx/du = x - D
    def rate(y: torch.Tensor, u: float) -> torch.Tensor:
        return y - GAUSSIAN.belief(y, Level(1.0, math.exp(u)))

    x = points_at(Level(1.0, 2.0))
    y, u, step = x.clone(), math.log(2.0), math.log(0.1 / 2.0) / 200
    for i in range(200):
        at = u + i * step
        a = rate(y, at)
        b = rate(y + step / 2 * a, at + step / 2)
        c = rate(y + step / 2 * b, at + step / 2)
        d = rate(y + step * c, at + step)
        y = y + step / 6 * (a + 2 * b + 2 * c + d)
    torch.testing.assert_close(GAUSSIAN.flow(x, Level(1.0, 2.0), Level(1.0, 0.1)), y, rtol=1e-6, atol=1e-6)


def test_a_finite_set_is_a_mixture_without_spread() -> None:
    same = Mixture(torch.ones(4), POINTS.points, torch.zeros(4))
    for level in LEVELS:
        x = points_at(level)
        torch.testing.assert_close(POINTS.belief(x, level), same.belief(x, level), rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(POINTS.log_p(x, level), same.log_p(x, level), rtol=1e-11, atol=1e-11)


def test_working_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = FiniteData(torch.randn(1000, 3, generator=torch.Generator().manual_seed(0)))
    x = data.sample(20, 1) + 0.3 * torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = data.belief(x, Level(1.0, 0.3)), data.log_p(x, Level(1.0, 0.3))
    monkeypatch.setattr(exact, "_PAIRS", 200)
    pieces = data.belief(x, Level(1.0, 0.3)), data.log_p(x, Level(1.0, 0.3))
    assert len(list(data._pieces(x))) == 100
    torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=1e-12)


def test_tiny_noise_neither_overflows_nor_forgets_the_nearest_point() -> None:
    for data in (POINTS, MIXTURE):
        belief = data.belief(POINTS.points + 1e-9, Level(1.0, 1e-7))
        assert torch.isfinite(belief).all()
    torch.testing.assert_close(POINTS.belief(POINTS.points + 1e-9, Level(1.0, 1e-7)), POINTS.points)


@kinds
def test_one_component_can_be_asked_for(data: Exact) -> None:
    level = LEVELS[1]
    x = points_at(level, 3)
    asked = data.denoiser(Flow())(x, level, Condition(label=torch.tensor([0, data.components - 1, data.components])))
    assert isinstance(asked, Tensor)
    torch.testing.assert_close(asked[2], data.belief(x, level)[2])
    if isinstance(data, FiniteData):
        torch.testing.assert_close(asked[:2], data.points[[0, -1]])
    else:
        assert isinstance(data, Mixture)
        first = Mixture([1.0], data.means[:1], (data.axes @ torch.diag_embed(data.variances) @ data.axes.mT)[:1])
        torch.testing.assert_close(asked[0], first.belief(x, level)[0])
    with pytest.raises(ValueError, match="component must be"):
        data.denoiser()(x, level, Condition(label=torch.tensor([0, 1, 9])))


def test_pictures_keep_their_shape_and_dtype() -> None:
    data = Mixture([1.0, 1.0], torch.zeros(2, 1, 4, 3), torch.tensor([0.1, 0.2]))
    x = torch.randn(5, 1, 4, 3)
    out = data.belief(x, LEVELS[0])
    assert out.shape == x.shape and out.dtype == torch.float32 and data.sample(2).shape == (2, 1, 4, 3)


def test_data_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="symmetric"):
        Gaussian([0.0, 0.0], torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="negative variance"):
        Gaussian([0.0, 0.0], torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match="above 0"):
        Mixture([1.0, 0.0], MEANS, COV)
    with pytest.raises(ValueError, match="expected"):
        Mixture([1.0], MEANS, COV)
    with pytest.raises(ValueError, match="covariances"):
        Mixture([1.0, 1.0], MEANS, torch.ones(2, 3))
    with pytest.raises(ValueError, match="N >= 1"):
        FiniteData(torch.zeros(0, 2))
    with pytest.raises(ValueError, match="shape"):
        MIXTURE.belief(torch.zeros(2, 3), LEVELS[0])
    for data in (POINTS, Mixture([1.0], MEANS[:1], torch.zeros(1))):
        with pytest.raises(ValueError, match="infinite"):
            data.log_p(torch.zeros(2, 2), Level(1.0, 0.0))
