"""k-diffusion's samplers: each run from a start, and which solver it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

import _peers
from _pair import STEPS, Pair, Peer, Run, Z, belief, exploding, pair, start_at
from noisepath.levels import Level

KD_SECOND_DIFFERENCE = {"d2 = (d1_0 - d1_1) / (r0 + r1)": "d2 = 2 * (d1_0 - d1_1) / (r0 + r1)"}
FACTOR = "factor 2 (docs/peers.md, 1)"
LONG = "so long a step leaves the noise frame here (docs/solvers.md, at the ends)"


@cache
def kd(repairs: tuple[tuple[str, str], ...] = ()) -> Any:
    return _peers.k_diffusion(dict(repairs))


def kd_model(x: Tensor, sigma: Tensor) -> Tensor:
    return belief(x, Level(1.0, float(sigma.flatten()[0])))


def k_diffusion(
    sampler: str, repairs: Mapping[str, str] | None = None, noise: Callable[[], Any] | None = None, **options: Any
) -> Peer:
    def peer(steps: int) -> Run:
        levels = exploding(steps)
        given = {**options, "noise_sampler": noise()} if noise else options
        sigmas = torch.tensor([level.sigma for level in levels], dtype=torch.float64)
        source = kd(tuple((repairs or {}).items()))
        made = getattr(source, sampler)(kd_model, start_at(levels[0]), sigmas, disable=True, **given)
        return levels, start_at(levels[0]), made

    return peer


def one_draw_a_step() -> Callable[..., Tensor]:
    draws = iter(Z[0])
    return lambda sigma, after: next(draws)


def one_brownian_motion() -> Callable[..., Tensor]:
    """Both increments from one sigma: the longer is made of the shorter and of another draw, as of a motion in sigma."""
    step, first = -1, (0.0, 0.0)

    def noise(sigma: Tensor, after: Tensor) -> Tensor:
        nonlocal step, first
        a, b = float(sigma), float(after)
        if a != first[0]:
            step, first = step + 1, (a, b)
            return Z[0, step]
        c = math.sqrt((a - first[1]) / (a - b))
        return c * Z[0, step] + math.sqrt(1 - c * c) * Z[1, step]

    return noise


def churned(steps: int, noise_scale: float = 1.003) -> Run:
    """Its Heun with churn, whose noise is ``torch.randn_like``: drawn at every step, also where nothing is added."""
    source, draws = kd(()), iter(Z[0])
    plain, source.torch = source.torch, _peers.Double(torch, torch.float64)
    source.torch.randn_like = lambda x: next(draws)
    try:
        return k_diffusion("sample_heun", s_churn=4.0, s_tmin=0.05, s_tmax=5.0, s_noise=noise_scale)(steps)
    finally:
        source.torch = plain


def kd_singlestep(order: int) -> Peer:
    """The steps of its DPMSolver, one after another."""

    def peer(steps: int) -> Run:
        levels = exploding(steps, to_data=False)
        solver, x = kd(()).DPMSolver(kd_model), start_at(levels[0])
        t = [torch.tensor(-math.log(level.sigma), dtype=torch.float64) for level in levels]
        for now, then in zip(t, t[1:], strict=False):
            x, _ = getattr(solver, f"dpm_solver_{order}_step")(x, now, then)
        return levels, start_at(levels[0]), x

    return peer


def deterministic() -> Iterator[Pair]:
    yield pair("ddim", "k-diffusion", "euler", k_diffusion("sample_euler"))
    yield pair("heun", "k-diffusion", "heun", k_diffusion("sample_heun"))
    yield pair("kdpm2", "k-diffusion", "dpm_2", k_diffusion("sample_dpm_2"))
    for order in (2, 3):
        yield pair(f"dpm_solver_{order}", "k-diffusion", f"DPMSolver, order {order}", kd_singlestep(order))
    yield pair("dpmpp_2s", "k-diffusion", "dpmpp_2s_ancestral, eta 0", k_diffusion("sample_dpmpp_2s_ancestral", eta=0.0))
    yield pair("dpmpp_2m", "k-diffusion", "dpmpp_2m", k_diffusion("sample_dpmpp_2m"))
    yield pair("lms", "k-diffusion", "lms", k_diffusion("sample_lms"))


def stochastic() -> Iterator[Pair]:
    step = one_draw_a_step
    yield pair("euler_ancestral", "k-diffusion", "euler_ancestral", k_diffusion("sample_euler_ancestral", noise=step))
    for eta in (0.5, 1.0):
        for name in ("dpm2_ancestral", "dpmpp_2s_ancestral"):
            theirs = name.replace("dpm2", "dpm_2")
            made = k_diffusion(f"sample_{theirs}", noise=step, eta=eta)
            whole = pair(name, "k-diffusion", f"{theirs}, eta {eta}", made, eta=eta)
            if name == "dpm2_ancestral" and eta == 1.0:
                yield whole._replace(over=STEPS[1:])
                yield whole._replace(over=STEPS[:1], reason=LONG, name=whole.name + ", 4 steps")
            else:
                yield whole
        made = k_diffusion("sample_dpmpp_sde", noise=one_brownian_motion, eta=eta)
        yield pair("dpmpp_sde", "k-diffusion", f"dpmpp_sde, eta {eta}", made, eta=eta)
        for variant in ("midpoint", "heun"):
            made = k_diffusion("sample_dpmpp_2m_sde", noise=step, eta=eta, solver_type=variant)
            yield pair("dpmpp_2m_sde", "k-diffusion", f"dpmpp_2m_sde, eta {eta}", made, eta=eta, variant=variant)
        made = k_diffusion("sample_dpmpp_3m_sde", noise=step, eta=eta)
        yield pair("dpmpp_3m_sde", "k-diffusion", f"dpmpp_3m_sde, eta {eta}", made, FACTOR, eta=eta)
        yield pair("dpmpp_3m_sde", "k-diffusion", "the same", made, eta=eta, published=True)
        repaired = k_diffusion("sample_dpmpp_3m_sde", KD_SECOND_DIFFERENCE, step, eta=eta)
        yield pair("dpmpp_3m_sde", "k-diffusion", "the same, repaired", repaired, eta=eta)
    options = {"churn": 4.0, "churn_min": 0.05, "churn_max": 5.0, "noise_scale": 1.003}
    yield pair("edm", "k-diffusion", "heun, s_churn 4", churned, **options)
