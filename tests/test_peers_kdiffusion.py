"""The same solver in k-diffusion and here, in float64: the same picture to 1e-10.

The pairs of the benchmarks, and options that none of them has.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

import _peers
from _pair import Pair, Peer, difference, exploding, pair
from _pairs_kdiffusion import (
    churned,
    deterministic,
    k_diffusion,
    kd,
    one_brownian_motion,
    one_draw_a_step,
    stochastic,
)
from noisepath.solvers import dpmpp_2m
from noisepath.tableau import draws

STEPS = (10,)
SAME = 1e-10


@pytest.fixture(autouse=True)
def _there() -> None:
    if not _peers.version("k-diffusion"):
        pytest.skip("k-diffusion is not installed (make peers)")


pytestmark = pytest.mark.peers


def with_eta(solver: str, sampler: str, eta: float, kind: str = "", **options: Any) -> Pair:
    """A pair that draws once a step; ``kind`` is what theirs calls its solver_type."""
    theirs = {"solver_type": kind} if kind else {}
    peer = k_diffusion(f"sample_{sampler}", noise=one_draw_a_step, eta=eta, **theirs)
    return pair(solver, "k-diffusion", f"{sampler}, eta {eta}", peer, eta=eta, **options)


def dpmpp_sde(eta: float, middle: float) -> Pair:
    """A pair whose two draws a step are of one Brownian motion."""
    peer = k_diffusion("sample_dpmpp_sde", noise=one_brownian_motion, eta=eta, r=middle)
    return pair("dpmpp_sde", "k-diffusion", f"dpmpp_sde, eta {eta}, r {middle}", peer, eta=eta, middle=middle)


def churn(noise_scale: float) -> Pair:
    options = {"churn": 4.0, "churn_min": 0.05, "churn_max": 5.0, "noise_scale": noise_scale}
    return pair("edm", "k-diffusion", f"heun, s_noise {noise_scale}", partial(churned, noise_scale=noise_scale), **options)


PAIRS = [
    *(one for one in (*deterministic(), *stochastic()) if not one.reason),
    *(with_eta("ddim", "euler_ancestral", eta) for eta in (0.0, 0.4, 1.0)),
    with_eta("dpm2_ancestral", "dpm_2_ancestral", 0.0),
    with_eta("dpmpp_2s_ancestral", "dpmpp_2s_ancestral", 0.0),
    *(with_eta("dpmpp_2m_sde", "dpmpp_2m_sde", 0.0, kind, variant=kind) for kind in ("midpoint", "heun")),
    with_eta("dpmpp_3m_sde", "dpmpp_3m_sde", 0.0, published=True),
    *(dpmpp_sde(eta, middle) for eta in (0.0, 0.5, 1.0) for middle in (0.3, 0.5)),
    churn(1.0),
]


@pytest.mark.parametrize("one", [pytest.param(one, id=f"{one.solver}({one.options}) {one.name}") for one in PAIRS])
def test_a_solver_is_its_sampler_to_ten_digits(one: Pair) -> None:
    assert difference(one.build, one.peer, STEPS) < SAME


def test_the_karras_grid_is_the_same_to_their_float32() -> None:
    theirs = kd().get_sigmas_karras(10, 0.03, 14.0)
    torch.testing.assert_close(theirs.double(), torch.tensor([x.sigma for x in exploding(10)]).double(), rtol=1e-5, atol=0)


def test_the_comparison_tells_two_solvers_apart() -> None:
    heun: Peer = k_diffusion("sample_heun")
    assert difference(dpmpp_2m, heun, STEPS) > 1e-4
    assert not draws(dpmpp_2m(exploding(10)))
