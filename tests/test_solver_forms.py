"""Every solver against another form of it: its law on Gaussian data by hand, or its paper written out step by step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import Tensor

import stepwise
from builds import BUILDS, MEAN, MIXTURE, RATIOS, START_Z, VARIANCE, result, unit_draw
from noisepath import solvers
from noisepath.analysis import gaussian_law
from noisepath.levels import Level
from noisepath.solvers import SOLVERS, Build, unguarded
from noisepath.tableau import Draw
from noisepath.testing import at


def closed_ddim(levels: Sequence[Level], eta: float) -> tuple[float, float]:
    """DDIM on a Gaussian by hand: the deviation from alpha m is multiplied by one number a step, and noise added."""
    deviation, variance = -levels[0].alpha * MEAN, levels[0].sigma ** 2
    for t, s in zip(levels, levels[1:], strict=False):
        r = (t.alpha / s.alpha) * (s.sigma / t.sigma)
        k = math.sqrt(1 - eta**2 * (1 - r**2))
        gain = s.sigma / t.sigma * k + s.alpha * (1 - r * k) * t.alpha * VARIANCE / (t.alpha**2 * VARIANCE + t.sigma**2)
        deviation *= gain
        variance = gain**2 * variance + (eta * s.sigma) ** 2 * (1 - r**2)
    return levels[-1].alpha * MEAN + deviation, variance


def closed_ddpm(levels: Sequence[Level], large: bool) -> tuple[float, float]:
    """Ho et al. 2006.11239 in their own symbols: alpha_bar, beta, beta tilde, for levels with alpha^2 + sigma^2 = 1."""
    mean, variance = 0.0, levels[0].sigma ** 2
    for t, s in zip(levels, levels[1:], strict=False):
        bar, bar_before = t.alpha**2, s.alpha**2
        beta = 1 - bar / bar_before
        c0 = math.sqrt(bar_before) * beta / (1 - bar)
        ct = math.sqrt(1 - beta) * (1 - bar_before) / (1 - bar)
        gain = t.alpha * VARIANCE / (bar * VARIANCE + 1 - bar)  # of D in x
        mean = ct * mean + c0 * (MEAN + gain * (mean - t.alpha * MEAN))
        added = beta if large else beta * (1 - bar_before) / (1 - bar)
        variance = (ct + c0 * gain) ** 2 * variance + (0.0 if s.is_data else added)
    return mean, variance


def closed_heun(levels: Sequence[Level]) -> tuple[float, float]:
    """EDM's algorithm 1 on levels with alpha = 1: d = (x - D) / sigma is linear in the deviation."""
    factor = 1.0
    for t, s in zip(levels, levels[1:], strict=False):
        slope = t.sigma / (VARIANCE + t.sigma**2)
        step = 1 + (s.sigma - t.sigma) * slope
        if s.sigma > 0:
            step = 1 + (s.sigma - t.sigma) * 0.5 * (slope + s.sigma / (VARIANCE + s.sigma**2) * step)
        factor *= step
    return MEAN - factor * MEAN, (factor * levels[0].sigma) ** 2


def closed_two_step(levels: Sequence[Level], exact: bool) -> tuple[float, float]:
    """2M and exponential Adams of order 2 as the product of 2x2 matrices on (deviation of x, that of D before)."""
    matrix = torch.eye(2).double()
    for i, (t, s) in enumerate(zip(levels, levels[1:], strict=False)):
        gain = t.alpha * VARIANCE / (t.alpha**2 * VARIANCE + t.sigma**2)
        extra = 0.0
        if i > 0 and not s.is_data:
            h = s.half_log_snr - t.half_log_snr
            b = t.half_log_snr - levels[i - 1].half_log_snr
            # the weight moved from D before to D now, relative to 1 - exp(-h): 2M takes half a step's slope
            extra = (h - (1 - math.exp(-h))) / (b * (1 - math.exp(-h))) if exact else h / (2 * b)
        r = (t.alpha / s.alpha) * (s.sigma / t.sigma)
        c = s.alpha * (1 - r)
        step = [[s.sigma / t.sigma + c * (1 + extra) * gain, -c * extra], [gain, 0.0]]
        matrix = torch.tensor(step, dtype=torch.float64) @ matrix
    start = torch.tensor([[-levels[0].alpha * MEAN, levels[0].sigma], [0.0, 0.0]], dtype=torch.float64)
    (mean, spread), _ = (matrix @ start).tolist()
    return levels[-1].alpha * MEAN + mean, spread**2


CLOSED: dict[str, tuple[str, Callable[[Sequence[Level]], tuple[float, float]]]] = {
    "ddim": ("flow", lambda levels: closed_ddim(levels, 0.0)),
    "ddim eta=0.4": ("flow", lambda levels: closed_ddim(levels, 0.4)),
    "ddpm": ("preserving", lambda levels: closed_ddpm(levels, large=False)),
    "ddpm large": ("preserving", lambda levels: closed_ddpm(levels, large=True)),
    "heun": ("exploding", closed_heun),
    "dpmpp_2m": ("preserving", lambda levels: closed_two_step(levels, exact=False)),
    "exponential_adams": ("preserving", lambda levels: closed_two_step(levels, exact=True)),
}


@pytest.mark.parametrize("name", CLOSED)
def test_the_law_is_the_one_worked_out_by_hand(name: str) -> None:
    frame, closed = CLOSED[name]
    levels = [at(frame, r) for r in (*RATIOS, 0.0)]
    mean, variance = gaussian_law(unguarded(BUILDS[name][0])(levels), MEAN, VARIANCE)
    # 1e-10: the formulas by hand lose digits in 1 - alpha_bar
    assert (float(mean), float(variance)) == pytest.approx(closed(levels), rel=1e-10)


STEPWISE: dict[str, tuple[Build, Callable[..., Tensor]]] = {
    "midpoint": (solvers.midpoint, stepwise.midpoint),
    "midpoint noise": (partial(solvers.midpoint, frame="noise"), partial(stepwise.midpoint, frame="noise")),
    "midpoint trig": (partial(solvers.midpoint, frame="trig"), partial(stepwise.midpoint, frame="trig")),
    "rk4": (solvers.rk4, stepwise.rk4),
    "rk4 noise": (partial(solvers.rk4, frame="noise"), partial(stepwise.rk4, frame="noise")),
    "rk4 trig": (partial(solvers.rk4, frame="trig"), partial(stepwise.rk4, frame="trig")),
    "kdpm2": (solvers.kdpm2, stepwise.kdpm2),
    "dpm_solver_2": (SOLVERS["dpm_solver_2"].build, stepwise.dpm_solver),
    "dpm_solver_3": (SOLVERS["dpm_solver_3"].build, partial(stepwise.dpm_solver, order=3)),
    "dpmpp_2s": (solvers.dpmpp_2s, stepwise.dpmpp_2s),
    "dpmpp_3s": (solvers.dpmpp_3s, stepwise.dpmpp_3s),
    "res_2s": (SOLVERS["res_2s"].build, stepwise.res),
    "res_3s": (SOLVERS["res_3s"].build, partial(stepwise.res, order=3)),
    "adams": (solvers.adams, stepwise.adams),
    "adams trig": (partial(solvers.adams, frame="trig", order=4), partial(stepwise.adams, frame="trig", order=4)),
    "lms": (SOLVERS["lms"].build, partial(stepwise.adams, frame="noise", order=4)),
    "adams_moulton": (partial(solvers.adams_moulton, data_scale=1.0), stepwise.adams_moulton),
    "adams_moulton trig": (
        partial(solvers.adams_moulton, frame="trig", data_scale=1.0),
        partial(stepwise.adams_moulton, frame="trig"),
    ),  # fmt: skip
    "ipndm": (solvers.ipndm, stepwise.ipndm),
    "pndm": (solvers.pndm, stepwise.pndm),
    "euler_ancestral": (SOLVERS["euler_ancestral"].build, stepwise.euler_ancestral),
    "dpm2_ancestral": (solvers.dpm2_ancestral, stepwise.dpm2_ancestral),
    "dpm2_ancestral 0.5": (partial(solvers.dpm2_ancestral, eta=0.5), partial(stepwise.dpm2_ancestral, eta=0.5)),
    "dpmpp_2s_ancestral": (solvers.dpmpp_2s_ancestral, stepwise.dpmpp_2s_ancestral),
    "dpmpp_sde": (solvers.dpmpp_sde, stepwise.dpmpp_sde),
    "dpmpp_2m_sde": (solvers.dpmpp_2m_sde, partial(stepwise.multistep_sde, order=2, half=True)),
    "dpmpp_2m_sde heun": (partial(solvers.dpmpp_2m_sde, variant="heun"), partial(stepwise.multistep_sde, order=2)),
    "dpmpp_3m_sde": (solvers.dpmpp_3m_sde, partial(stepwise.multistep_sde, order=3)),
    "seeds_2": (SOLVERS["seeds_2"].build, stepwise.seeds),
    "seeds_3": (SOLVERS["seeds_3"].build, partial(stepwise.seeds, order=3)),
    "er_sde": (solvers.er_sde, stepwise.er_sde),
    "edm": (solvers.edm, stepwise.edm),
    "restart": (solvers.restart, stepwise.restart),
    "langevin": (solvers.langevin, stepwise.langevin),
    "lcm": (solvers.lcm, partial(stepwise.few_steps, kind="lcm")),
    "tcd": (solvers.tcd, partial(stepwise.few_steps, kind="tcd")),
    "consistency": (solvers.consistency, partial(stepwise.few_steps, kind="consistency")),
}


@pytest.mark.parametrize("name", STEPWISE)
@pytest.mark.parametrize("to_data", [True, False])
def test_the_table_is_the_method_written_out(name: str, to_data: bool) -> None:
    """Against plain loops in the coordinates of EDM.  Rounding, and the numerical derivatives and sums of the plain ones."""
    build, plain = STEPWISE[name]
    sigmas = [*RATIOS, 0.0] if to_data else RATIOS
    levels = [Level(1.0, sigma) for sigma in sigmas]
    denoise = MIXTURE.denoiser()
    x = RATIOS[0] * START_Z
    expected = plain(
        lambda y, sigma: denoise(y, Level(1.0, sigma)), sigmas, x, lambda step, stage: unit_draw(Draw(step, stage))
    )
    tolerance = 1e-6 if name == "er_sde" else 1e-8 if name.startswith(ROUGH) else 1e-11
    torch.testing.assert_close(result(unguarded(build), levels, START_Z), expected, rtol=0, atol=tolerance)


ROUGH = ("midpoint", "rk4", "adams", "lms")  # by numerical derivatives

# compared with diffusers in test_peers_diffusers.py
PEERED = {"deis", "plms", "unipc", "sa_solver"}


def test_every_solver_of_the_catalogue_is_compared_with_another_form_of_it() -> None:
    assert set(SOLVERS) <= set(CLOSED) | set(STEPWISE) | PEERED


def test_on_a_long_step_out_of_noise_dpm_solver_corrects_the_belief() -> None:
    """There the correction is DPM-Solver++'s, alpha_s (1 - exp(-h)) (D_u - D_t) / (2 r_1) with r_1 = 1/2: D_u alone is left."""
    t, s = at("preserving", 1e5), at("preserving", 0.4)
    last = solvers.dpm_solver([t, s], order=2)[-1]
    r = t.alpha * s.sigma / (s.alpha * t.sigma)
    assert last.outputs[1] == pytest.approx(s.alpha * (1 - r))
    assert last.outputs.get(0, 0.0) == pytest.approx(0.0, abs=1e-9)
    assert last.states == pytest.approx({0: s.sigma / t.sigma})


def test_churn_asks_for_no_more_noise_than_the_run_began_with() -> None:
    levels = [at("preserving", ratio) for ratio in (1.0, 0.9, 0.5, 0.0)]
    table = solvers.edm(levels)
    assert max(node.level.noise_ratio for node in table) <= 1.0 + 1e-12
    assert any(abs(node.level.noise_ratio - 1.0) < 1e-12 for node in table[1:])  # the second step has gone up, as far as it may


@pytest.mark.parametrize("ratios", [[80.0, 9.0, 5.0, 0.0], [5.0, 1.0, 0.0], [0.09, 0.05, 0.02, 0.01]])
def test_restart_without_a_stretch_to_repeat_is_heun(ratios: list[float]) -> None:
    levels = [at("preserving", ratio) for ratio in ratios]
    assert solvers.restart(levels) == solvers.heun(levels)
    longer = [at("preserving", ratio) for ratio in (5.0, 2.0, 0.1, 0.0)]
    assert solvers.restart(longer) != solvers.heun(longer)
