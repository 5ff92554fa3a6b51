"""The same solver, the same denoiser, the same levels and the same noise in diffusers and here: the same picture.

As shipped, diffusers works with float32 tables and casts: 1e-5.  With its numbers in float64 and its tables replaced by
ours (one fixture, :func:`in_float64`): 1e-10.  The denoiser is an exact mixture's.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from noisepath.exact import Mixture
from noisepath.levels import Level
from noisepath.loop import run_loop
from noisepath.schedules import Schedule, schedule
from noisepath.solvers import ddim, ddpm, dpmpp_2m, heun
from noisepath.spacing import leading
from noisepath.tableau import Draw, Tableau

diffusers = pytest.importorskip("diffusers")

DATA = Mixture([0.5, 0.3, 0.2], [[0.8, -0.5, 0.1], [-0.7, 0.2, 0.4], [0.1, 0.9, -1.0]], [0.1, 0.2, 0.15])
BELIEF = DATA.denoiser()
STEPS = 10
SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own, of numpy

BETAS = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
Z = torch.randn(STEPS + 1, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


class _Double(ModuleType):
    """A module seen with float32 meaning float64."""

    def __init__(self, module: ModuleType, double: Any) -> None:
        super().__init__(module.__name__)
        self._module, self.float32 = module, double

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@pytest.fixture(params=["as shipped", "in float64"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, float]]:
    """Makes a scheduler and says to what tolerance it must agree."""
    in_float64: bool = request.param == "in float64"

    def scheduler(name: str, module: str, **options: Any) -> tuple[Any, float]:
        source = importlib.import_module(f"diffusers.schedulers.{module}")
        if in_float64:
            monkeypatch.setattr(source, "torch", _Double(torch, torch.float64))
            monkeypatch.setattr(source, "np", _Double(np, np.float64))
        made = getattr(source, name)(**options)
        if in_float64:
            own = _table(made)
            made.betas, made.alphas = own["betas"], 1 - own["betas"]
            made.alphas_cumprod = own["alphas_cumprod"]
            if hasattr(made, "one"):
                made.one = torch.tensor(1.0, dtype=torch.float64)
            if hasattr(made, "final_alpha_cumprod"):
                made.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
        return made, 1e-10 if in_float64 else 1e-5

    return scheduler


def _path(scheduler: Any) -> Schedule:
    config = scheduler.config
    kind = {"linear": "linear", "scaled_linear": "quadratic"}[config.beta_schedule]
    return schedule(kind, beta_start=config.beta_start, beta_end=config.beta_end)


def _table(scheduler: Any) -> dict[str, Tensor]:
    tables = _path(scheduler).config.tables()  # type: ignore[attr-defined]
    return {name: torch.tensor(getattr(tables, name), dtype=torch.float64) for name in ("betas", "alphas_cumprod")}


def noise_at(x: Tensor, level: Level) -> Tensor:
    """What a perfect network that predicts the noise says."""
    return (x - level.alpha * BELIEF(x, level)) / level.sigma


def ours(table: Tableau, x: Tensor, draws: dict[Draw, Tensor] | None = None) -> Tensor:
    return run_loop(table, lambda y, level: BELIEF(y, level), x, None if draws is None else draws.__getitem__)


def agree(got: Tensor, expected: Tensor, tolerance: float) -> None:
    assert float((got - expected).abs().max() / expected.abs().max()) < tolerance


@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm(variance: str, make: Callable[..., tuple[Any, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    peer, tolerance = make("DDPMScheduler", "scheduling_ddpm", variance_type=f"fixed_{variance}", clip_sample=False, **BETAS)
    peer.set_timesteps(STEPS)
    path = _path(peer)
    step = iter(range(STEPS))
    monkeypatch.setattr(
        importlib.import_module("diffusers.schedulers.scheduling_ddpm"), "randn_tensor", lambda *a, **k: Z[next(step)]
    )
    x = Z[-1]
    for t in peer.timesteps:
        x = peer.step(noise_at(x, path.level(float(t))), t, x).prev_sample
    levels = leading(path, STEPS)
    start = Z[-1]
    expected = ours(ddpm(levels, variance=variance), start, {Draw(i, 0): Z[i] for i in range(STEPS)})
    agree(x, expected, tolerance)


@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
def test_ddim_with_leading_spacing(eta: float, make: Callable[..., tuple[Any, float]]) -> None:
    peer, tolerance = make("DDIMScheduler", "scheduling_ddim", clip_sample=False, **BETAS)
    peer.set_timesteps(STEPS)
    path = _path(peer)
    x = Z[-1]
    for i, t in enumerate(peer.timesteps):
        x = peer.step(noise_at(x, path.level(float(t))), t, x, eta=eta, variance_noise=Z[i]).prev_sample
    expected = ours(ddim(leading(path, STEPS), eta=eta), Z[-1], {Draw(i, 0): Z[i] for i in range(STEPS)})
    agree(x, expected, tolerance)


def test_heun_on_its_sigmas(make: Callable[..., tuple[Any, float]]) -> None:
    peer, tolerance = make("HeunDiscreteScheduler", "scheduling_heun_discrete", **BETAS)
    peer.set_timesteps(STEPS)
    sigmas = [float(s) for s in peer.sigmas]
    levels = [Level(1.0, s) for s in sorted(set(sigmas), reverse=True)]
    x = start = levels[0].sigma * Z[-1]
    for i, t in enumerate(peer.timesteps):
        x = peer.step(noise_at(x, Level(1.0, sigmas[i])), t, x).prev_sample
    assert len(levels) == STEPS + 1
    agree(x, ours(heun(levels), start), tolerance)


@pytest.mark.parametrize("options", [{}, {"use_karras_sigmas": True}, {"timestep_spacing": "trailing"}], ids=str)
@pytest.mark.parametrize("betas", [BETAS, SCALED], ids=["linear", "scaled"])
def test_dpm_solver_pp_2m_on_its_sigmas(
    options: dict[str, Any], betas: dict[str, Any], make: Callable[..., tuple[Any, float]]
) -> None:
    peer, tolerance = make("DPMSolverMultistepScheduler", "scheduling_dpmsolver_multistep", **betas, **options)
    peer.set_timesteps(STEPS)
    levels = []
    for sigma in map(float, peer.sigmas):
        norm = math.hypot(1.0, sigma)
        levels.append(Level(1 / norm, sigma / norm))
    x = start = levels[0].sigma * Z[-1]
    for i, t in enumerate(peer.timesteps):
        x = peer.step(noise_at(x, levels[i]).to(x.dtype), t, x).prev_sample
    agree(x, ours(dpmpp_2m(levels), start), tolerance)


def test_the_comparison_sees_a_small_error(make: Callable[..., tuple[Any, float]]) -> None:
    """A weight wrong by ten times the tolerance is seen, so that agreement above means something."""
    peer, tolerance = make("DDIMScheduler", "scheduling_ddim", clip_sample=False, **BETAS)
    peer.set_timesteps(STEPS)
    path = _path(peer)
    x = Z[-1]
    for t in peer.timesteps:
        x = peer.step(noise_at(x, path.level(float(t))), t, x).prev_sample
    table = list(ddim(leading(path, STEPS)))
    wrong = {k: w * (1 + 20 * tolerance) for k, w in table[7].outputs.items()}
    table[7] = type(table[7])(table[7].level, table[7].states, wrong, table[7].draws, table[7].evaluate)
    with pytest.raises(AssertionError):
        agree(x, ours(tuple(table), Z[-1]), tolerance)
