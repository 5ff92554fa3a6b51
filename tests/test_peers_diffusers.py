"""The same solver, the same denoiser, the same levels and the same noise in diffusers and here: the same picture.

As shipped, diffusers works with float32 tables and casts: 1e-5.  With its numbers in float64 and its tables replaced by
ours (one fixture, :func:`in_float64`): 1e-10.  The denoiser is an exact mixture's.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from _peers import Double
from noisepath.exact import Mixture
from noisepath.levels import Level
from noisepath.loop import run_loop
from noisepath.schedules import Schedule, schedule
from noisepath.solvers import Build, adams, ddim, ddpm, dpmpp_2m, heun, pndm, sa_solver, unguarded, unipc
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


@pytest.fixture(params=["as shipped", "in float64"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, float]]:
    """Makes a scheduler and says to what tolerance it must agree."""
    in_float64: bool = request.param == "in float64"

    def scheduler(name: str, module: str, **options: Any) -> tuple[Any, float]:
        source = importlib.import_module(f"diffusers.schedulers.{module}")
        if in_float64:
            monkeypatch.setattr(source, "torch", Double(torch, torch.float64))
            monkeypatch.setattr(source, "np", Double(np, np.float64))
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
    agree(x, ours(heun(levels, guard=False), start), tolerance)


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
    agree(x, ours(dpmpp_2m(levels, guard=False), start), tolerance)


# Multistep solvers, in float64 alone: their own float32 is off by more than 1e-5 at the higher orders.  "sigma_min" leaves out
# the step to data, before which they lower the order by rules of their own.
NO_RULES = {"final_sigmas_type": "sigma_min", "lower_order_final": False}
UNIPC = ("UniPCMultistepScheduler", "scheduling_unipc_multistep", NO_RULES)
DEIS = ("DEISMultistepScheduler", "scheduling_deis_multistep", {"lower_order_final": False})
SA = ("SASolverScheduler", "scheduling_sasolver", {"lower_order_final": False})
MULTISTEP: dict[str, tuple[tuple[str, str, dict[str, Any]], dict[str, Any], Build]] = {
    **{
        f"UniPC {order} {variant}": (
            UNIPC, {"solver_order": order, "solver_type": variant}, partial(unipc, order=order, variant=variant)
        )
        for order in (1, 2, 3) for variant in ("bh1", "bh2")
    },
    "UniPC 2 without corrector": (
        UNIPC, {"solver_order": 2, "disable_corrector": list(range(STEPS))}, partial(unipc, order=2, corrector=False)
    ),
    "UniPC 2 to data": (
        UNIPC, {"solver_order": 2, "final_sigmas_type": "zero", "lower_order_final": True}, unipc
    ),
    **{f"DEIS {order}": (DEIS, {"solver_order": order}, partial(adams, frame="deis", order=order)) for order in (1, 2, 3)},
    **{
        f"SA-Solver {order} {corrector} {tau}": (
            SA,
            {"predictor_order": order, "corrector_order": corrector, "tau_func": lambda t, tau=tau: tau},
            partial(sa_solver, order=order, corrector_order=corrector, tau=tau, simple=True),
        )
        for order, corrector in ((1, 2), (2, 1), (2, 2), (3, 3), (3, 4)) for tau in (0.0, 0.7, 1.0)
    },
}  # fmt: skip


@pytest.mark.parametrize("make", ["in float64"], indirect=True)
@pytest.mark.parametrize("name", MULTISTEP)
def test_multistep(name: str, make: Callable[..., tuple[Any, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    (kind, module, always), options, build = MULTISTEP[name]
    peer, tolerance = make(kind, module, **{**BETAS, **always, **options})
    peer.set_timesteps(STEPS)
    if kind.startswith("SA"):
        step, source = iter(range(STEPS)), importlib.import_module(f"diffusers.schedulers.{module}")
        monkeypatch.setattr(source, "randn_tensor", lambda *a, **k: Z[next(step)])
    levels = []
    for sigma in map(float, peer.sigmas):
        norm = math.hypot(1.0, sigma)
        levels.append(Level(1 / norm, sigma / norm))
    x = start = levels[0].sigma * Z[-1]
    for i, t in enumerate(peer.timesteps):
        x = peer.step(noise_at(x, levels[i]), t, x).prev_sample
    agree(x, ours(unguarded(build)(levels), start, {Draw(i, 0): Z[i] for i in range(STEPS)}), tolerance)


@pytest.mark.parametrize("make", ["in float64"], indirect=True)
def test_plms_with_leading_spacing(make: Callable[..., tuple[Any, float]]) -> None:
    peer, tolerance = make("PNDMScheduler", "scheduling_pndm", skip_prk_steps=True, set_alpha_to_one=True, **BETAS)
    peer.set_timesteps(STEPS)
    path, x = _path(peer), Z[-1]
    for t in peer.timesteps:
        x = peer.step(noise_at(x, path.level(float(t))), t, x).prev_sample
    agree(x, ours(pndm(leading(path, STEPS), start="heun", guard=False), Z[-1]), tolerance)


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
