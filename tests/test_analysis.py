"""The instruments themselves: the exact law, the exact flow, and the measure of order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from noisepath.analysis import PROBLEMS, gaussian_flow, gaussian_law, measured_order, smooth_levels
from noisepath.levels import Level
from noisepath.solvers import adams_moulton, ddim, ddpm, heun, pndm, unipc
from noisepath.tableau import Draft, Draw, Node, Tableau


def test_the_law_of_a_table_by_hand() -> None:
    """One evaluation, one shared draw: x1 = 2 x0 + D0 + 3 z, x2 = x1 - z; all numbers worked out on paper."""
    levels = [Level(0.6, 0.8), Level(0.8, 0.6), Level(1.0, 0.5)]
    place = Draw(0, 0)
    table = (
        Node(levels[0], {}, {}, {}),
        Node(levels[1], {0: 2.0}, {0: 1.0}, {place: 3.0}, False),
        Node(levels[2], {1: 1.0}, {}, {place: -1.0}, False),
    )
    m, v = 0.5, 2.0
    gain = 0.6 * v / (0.36 * v + 0.64)
    mean, variance = gaussian_law(table, m, v, start_mean=0.1, start_variance=0.25)
    assert float(mean) == pytest.approx(2 * 0.1 + m + gain * (0.1 - 0.6 * m), rel=1e-14)
    assert float(variance) == pytest.approx((2 + gain) ** 2 * 0.25 + (3 - 1) ** 2, rel=1e-14)


def test_the_law_takes_one_eigenvalue_or_many() -> None:
    table = ddpm([Level.from_log_snr(v) for v in (-4.0, -1.0, 1.0)] + [Level(1.0, 0.0)])
    means, variances = gaussian_law(table, np.array([0.1, -0.3]), np.array([[0.2], [2.0]]))
    assert means.shape == variances.shape == (2, 2)
    one = gaussian_law(table, -0.3, 2.0)
    assert (means[1, 1], variances[1, 1]) == pytest.approx((float(one[0]), float(one[1])), rel=1e-14)


def test_a_run_starts_from_noise_alone_unless_told() -> None:
    levels = [Level(0.6, 0.8), Level(0.8, 0.6)]
    still = (Node(levels[0], {}, {}, {}, False), Node(levels[1], {0: 1.0}, {}, {}, False))
    mean, variance = gaussian_law(still, 0.5, 2.0)
    assert (float(mean), float(variance)) == (0.0, pytest.approx(0.64, rel=1e-15))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_exact_flow_of_a_problem_solves_its_equation(problem: str) -> None:
    """d(x / alpha) / dl = D - x / alpha, by a central difference along the flow: error h^2 = 1e-8."""
    known = PROBLEMS[problem]()
    start, x, h = Level.from_log_snr(-3.0), torch.linspace(-2, 2, 9, dtype=torch.float64), 1e-4

    def at(half: float) -> torch.Tensor:
        level = Level.from_log_snr(2 * half)
        return known.flow(x, start, level) / level.alpha

    here = Level.from_log_snr(1.0)
    slope = (at(0.5 + h) - at(0.5 - h)) / (2 * h)
    y = at(0.5)
    torch.testing.assert_close(slope, known.denoise(y * here.alpha, here) - y, rtol=0, atol=1e-7)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_s_mean_and_variance_are_those_of_its_denoiser(problem: str) -> None:
    """At pure noise the belief is the mean; and E[D^2] + E[posterior variance] is the second moment: at nearly pure
    noise the slope of D in x is alpha v / sigma^2."""
    known = PROBLEMS[problem]()
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    assert float(known.denoise(x.detach(), Level(0.0, 1.0))) == pytest.approx(known.mean, abs=1e-14)
    level = Level(1e-5, 1.0)
    (slope,) = torch.autograd.grad(known.denoise(x, level).sum(), x)
    assert float(slope) / level.alpha == pytest.approx(known.variance, rel=1e-6)


def test_the_gaussian_flow_keeps_the_law_and_is_its_own_inverse() -> None:
    t, s = Level(0.3, 0.9), Level(0.9, 0.2)
    m, v = 0.4, 1.7
    one, minus = (gaussian_flow(t.alpha * m + k * math.sqrt(t.alpha**2 * v + t.sigma**2), t, s, m, v) for k in (1, -1))
    assert (one - minus) / 2 == pytest.approx(math.sqrt(s.alpha**2 * v + s.sigma**2), rel=1e-14)
    assert (one + minus) / 2 == pytest.approx(s.alpha * m, rel=1e-14)
    assert gaussian_flow(one, s, t, m, v) == pytest.approx(t.alpha * m + math.sqrt(t.alpha**2 * v + t.sigma**2), rel=1e-14)


def skewed(levels: list[Level]) -> Tableau:
    """Heun with a weight that is wrong by a hundredth of its correction: it still converges, with order 1."""
    draft = Draft(levels)
    for _, p, s in draft.steps():
        r = math.exp(p.level.half_log_snr - s.half_log_snr)
        q = draft.add(s, (s.sigma / p.level.sigma) * p.x + (s.alpha * (1 - r)) * p.D)
        draft.add(s, q.x + (0.9 * s.alpha / 2 * (1 / r - 1)) * (q.D - p.D))
    return draft.finish()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_measure_tells_a_wrong_weight_from_a_right_one(problem: str) -> None:
    steps = (128, 256)
    assert measured_order(heun, problem=problem, steps=steps).order == pytest.approx(2.0, abs=0.05)
    assert measured_order(skewed, problem=problem, steps=steps).order < 1.3  # type: ignore[arg-type]


def test_the_measure_gives_the_errors_it_was_made_of() -> None:
    measured = measured_order(ddim, steps=(8, 32))
    assert measured.steps == (8, 32) and measured.errors[0] > measured.errors[1] > 0
    assert measured.order == pytest.approx(math.log(measured.errors[0] / measured.errors[1]) / math.log(4), rel=1e-12)


def test_smooth_levels_are_uniform_in_log_snr_and_have_no_ends() -> None:
    halves = [level.half_log_snr for level in smooth_levels(4, -1.0, 3.0)]
    assert halves == pytest.approx([-1.0, 0.0, 1.0, 2.0, 3.0], abs=1e-14)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'gaussian'"):
        measured_order(ddim, problem="gausian")
    with pytest.raises(ValueError, match="weak order is measured on"):
        measured_order(ddpm, problem="mixture", stochastic=True)
    with pytest.raises(ValueError, match="stochastic=True"):
        measured_order(ddpm)
    with pytest.raises(ValueError, match="draws no noise"):
        measured_order(ddpm, stochastic=True, exact_starts=1)


def test_exact_starts_put_right_what_a_corrector_made_and_no_kept_slope() -> None:
    """Up to the last level: what comes out is the exact answer, whatever the method, to the rounding of the quantile."""
    for build in (unipc, adams_moulton, pndm):
        for steps in (1, 4):
            assert measured_order(build, problem="mixture", steps=(steps, steps + 1), exact_starts=5).errors[0] < 1e-13
    kept = [node for node in pndm(smooth_levels(8)) if node.kept]
    assert kept and all(not node.evaluate for node in kept)
