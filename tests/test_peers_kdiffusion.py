"""The same solver in k-diffusion and here, in float64: the same picture to 1e-10."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import _peers
from noisepath import solvers
from noisepath.exact import Mixture
from noisepath.levels import Level
from noisepath.loop import run_loop
from noisepath.schedules import schedule
from noisepath.solvers import Build, adams, ddim, dpmpp_2m, heun, kdpm2, resolve
from noisepath.spacing import karras
from noisepath.tableau import Draw, draws

pytestmark = pytest.mark.peers

DATA = Mixture([0.5, 0.3, 0.2], [[0.8, -0.5, 0.1], [-0.7, 0.2, 0.4], [0.1, 0.9, -1.0]], [0.1, 0.2, 0.15])
BELIEF = DATA.denoiser()
LEVELS = karras(schedule("edm", sigma_min=0.03, sigma_max=14.0), 10)
Z = torch.randn(12, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
SECOND = torch.randn(12, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def peer() -> Any:
    """A copy of k_diffusion.sampling."""
    try:
        return _peers.k_diffusion()
    except ModuleNotFoundError as missing:
        pytest.skip(str(missing))


def both(peer: Any, name: str, build: Build, **options: Any) -> tuple[Tensor, Tensor]:
    start = LEVELS[0].sigma * Z[-1]
    sigmas = torch.tensor([level.sigma for level in LEVELS], dtype=torch.float64)
    theirs = getattr(peer, name)(
        lambda x, sigma: BELIEF(x, Level(1.0, float(sigma[0]))), start, sigmas, disable=True, **options
    )
    table = build(LEVELS)
    noise = {place: Z[place.step] if place.stage == 0 else SECOND[place.step] for place in draws(table)}
    return theirs, run_loop(table, lambda x, level: BELIEF(x, level), start, noise.__getitem__)


def difference(theirs: Tensor, ours: Tensor) -> float:
    return float((theirs - ours).abs().max() / theirs.abs().max())


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("sample_euler", resolve("euler")),
        ("sample_heun", heun),
        ("sample_dpmpp_2m", dpmpp_2m),
        ("sample_dpm_2", kdpm2),
        ("sample_lms", partial(adams, frame="noise", order=4)),
    ],
)
def test_a_deterministic_solver_is_the_same(peer: Any, name: str, build: Build) -> None:
    assert difference(*both(peer, name, build)) < 1e-10


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_euler_ancestral_is_ddim_with_the_same_eta(peer: Any, eta: float) -> None:
    step = iter(range(len(LEVELS)))
    options = {"eta": eta, "noise_sampler": lambda sigma, after: Z[next(step)]}
    assert difference(*both(peer, "sample_euler_ancestral", partial(ddim, eta=eta), **options)) < 1e-10


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("name", "build", "options"),
    [
        ("sample_dpm_2_ancestral", solvers.dpm2_ancestral, {}),
        ("sample_dpmpp_2s_ancestral", solvers.dpmpp_2s_ancestral, {}),
        ("sample_dpmpp_2m_sde", solvers.dpmpp_2m_sde, {}),
        ("sample_dpmpp_2m_sde", partial(solvers.dpmpp_2m_sde, variant="heun"), {"solver_type": "heun"}),
        ("sample_dpmpp_3m_sde", partial(solvers.dpmpp_3m_sde, published=True), {}),
    ],
)
def test_a_stochastic_solver_is_the_same(peer: Any, name: str, build: Build, options: dict[str, Any], eta: float) -> None:
    step = iter(range(len(LEVELS)))
    options = {**options, "eta": eta, "noise_sampler": lambda sigma, after: Z[next(step)]}
    assert difference(*both(peer, name, partial(build, eta=eta), **options)) < 1e-10


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("middle", [0.3, 0.5])
def test_dpmpp_sde_with_one_brownian_motion(peer: Any, eta: float, middle: float) -> None:
    step, last = -1, (0.0, 0.0)

    def noise(sigma: Tensor, after: Tensor) -> Tensor:
        """Both increments from sigma, the longer one made of the shorter and another draw."""
        nonlocal step, last
        a, b = float(sigma), float(after)
        if a != last[0]:
            step, last = step + 1, (a, b)
            return Z[step]
        c = math.sqrt((a - last[1]) / (a - b))
        return c * Z[step] + math.sqrt(1 - c * c) * SECOND[step]

    build = partial(solvers.dpmpp_sde, eta=eta, middle=middle)
    assert difference(*both(peer, "sample_dpmpp_sde", build, eta=eta, r=middle, noise_sampler=noise)) < 1e-10


@pytest.mark.parametrize("noise_scale", [1.0, 1.003])
def test_churn(peer: Any, noise_scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    step = iter(range(len(LEVELS)))  # it draws at every step, also where it does not churn
    monkeypatch.setattr(torch, "randn_like", lambda x: Z[next(step)])
    build = partial(solvers.edm, churn=4.0, churn_min=0.05, churn_max=5.0, noise_scale=noise_scale)
    options = {"s_churn": 4.0, "s_tmin": 0.05, "s_tmax": 5.0, "s_noise": noise_scale}
    assert difference(*both(peer, "sample_heun", build, **options)) < 1e-10


def test_the_karras_grid_is_the_same_to_their_float32(peer: Any) -> None:
    theirs = peer.get_sigmas_karras(10, 0.03, 14.0)
    torch.testing.assert_close(theirs.double(), torch.tensor([x.sigma for x in LEVELS]).double(), rtol=1e-5, atol=0)


def test_the_comparison_tells_two_solvers_apart(peer: Any) -> None:
    assert difference(*both(peer, "sample_heun", dpmpp_2m)) > 1e-4
    assert Draw(0, 0) not in draws(dpmpp_2m(LEVELS))
