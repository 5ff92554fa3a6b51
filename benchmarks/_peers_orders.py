"""Sections 1 to 5, 13, 14 and 16: samplers whose order is another than theirs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

import _peers
from _peers import SCHEDULERS, Law, copy_of, follow
from _peers_measured import (
    MULTI,
    ODE_STEPS,
    RULES,
    SDE,
    SDE_STEPS,
    column,
    correlation,
    exploding,
    kd_law_errors,
    law_errors,
    line,
    scheduler,
    sde_clock,
    slope_line,
    state_errors,
    title,
)
from noisepath import solvers
from noisepath.analysis import PROBLEMS, measured_order, smooth_levels
from noisepath.levels import Level

SINGLE = ("DPMSolverSinglestepScheduler", "dpmsolver_singlestep")
SECOND_DIFFERENCE = {"D2 = (1.0 / (r0 + r1))": "D2 = (2.0 / (r0 + r1))"}
SIGN = {"(2.0 * h) ** 2 - 0.5)) * D2": "(2.0 * h) ** 2 + 0.5)) * D2"}
SINGLE_SIGN = {"(-2.0 * h) ** 2 - 0.5)) * D2": "(-2.0 * h) ** 2 + 0.5)) * D2"}
KD_SECOND_DIFFERENCE = {"d2 = (d1_0 - d1_1) / (r0 + r1)": "d2 = 2 * (d1_0 - d1_1) / (r0 + r1)"}
REAB = {"torch.sqrt(alpha_s**2 + sigma_t**2)": "torch.sqrt(alpha_s**2 + sigma_s**2)"}


def factor_two() -> None:
    title("1  the second difference, taken for the second derivative (order 3)")
    for name, module, options in (
        (*MULTI, {}),
        (*MULTI, {"algorithm_type": "dpmsolver"}),
        ("DPMSolverMultistepInverseScheduler", "dpmsolver_multistep_inverse", {}),
        ("EDMDPMSolverMultistepScheduler", "edm_dpmsolver_multistep", {}),
    ):
        label = f"{name.removesuffix('Scheduler')} {options.get('algorithm_type', 'dpmsolver++')} 3"
        for repairs, low, high in ((None, 1.8, 2.3), (SECOND_DIFFERENCE, 2.7, 3.3)):
            shown = label + (", repaired" if repairs else "")
            slope_line(shown, ODE_STEPS, state_errors(name, module, repairs, solver_order=3, **options), low, high)
    for repairs, low, high in ((None, 1.8, 2.3), (KD_SECOND_DIFFERENCE, 2.7, 3.3)):
        name = "k-diffusion dpmpp_3m_sde, eta 0" + (", repaired" if repairs else "")
        slope_line(name, ODE_STEPS, kd_state_errors(repairs), low, high)
    for repairs in (None, SECOND_DIFFERENCE):
        name = f"DPMSolverMultistep{', repaired' if repairs else ''}, its own start (orders 1 and 2)"
        errors = state_errors(*MULTI, repairs, starts=0, solver_order=3, solver_type="heun")
        slope_line(name, ODE_STEPS, errors, 1.8, 2.5)
    third = partial(solvers.exponential_adams, order=3)
    for starts, low, high in ((2, 2.7, 3.3), (0, 1.8, 2.5)):
        ours = measured_order(third, problem="mixture", exact_starts=starts, steps=ODE_STEPS)
        name = f"noisepath exponential_adams(order=3){'' if starts else ', its own start'}"
        slope_line(name, ODE_STEPS, ours.errors, low, high)


def kd_state_errors(repairs: Mapping[str, str] | None) -> list[float]:
    source, problem, errors = _peers.k_diffusion(repairs), PROBLEMS["mixture"](), []
    for steps in ODE_STEPS:
        levels = exploding(steps)
        start = column(levels)
        sigmas = torch.tensor([level.sigma for level in levels], dtype=torch.float64)
        asked = -1

        def model(
            x: Tensor, sigma: Tensor, levels: Sequence[Level] = levels, start: Tensor = start, problem: Any = problem
        ) -> Tensor:
            nonlocal asked
            asked += 1
            if 0 < asked <= 2:  # x is the sampler's own tensor: put right in place
                x.copy_(problem.flow(start, levels[0], levels[asked]))
            return problem.denoise(x, levels[asked])  # type: ignore[no-any-return]

        x = source.sample_dpmpp_3m_sde(model, start.clone(), sigmas, disable=True, eta=0.0, noise_sampler=lambda a, b: 0.0)
        errors.append(float((x - problem.flow(start, levels[0], levels[-1])).abs().max()))
    return errors


def multistep_sign() -> None:
    title("2  a sign in sde-dpmsolver++ of order 3, multistep")
    for order, low, high in ((1, 0.9, 1.1), (2, 1.9, 2.1), (3, 0.8, 1.1)):
        name = f"DPMSolverMultistep sde-dpmsolver++ {order}"
        slope_line(name, SDE_STEPS, law_errors(*MULTI, **SDE, solver_order=order), low, high)
    errors = law_errors(*MULTI, SIGN, **SDE, solver_order=3)
    slope_line("  order 3, the sign repaired", SDE_STEPS, errors, 1.9, 2.2)
    errors = law_errors(*MULTI, {**SIGN, **SECOND_DIFFERENCE}, **SDE, solver_order=3)
    slope_line("  order 3, sign and factor repaired", SDE_STEPS, errors, 1.9, 2.2)
    ours = measured_order(solvers.dpmpp_3m_sde, stochastic=True, steps=SDE_STEPS)
    slope_line("noisepath dpmpp_3m_sde", SDE_STEPS, ours.errors, 1.9, 2.2)
    slope_line("k-diffusion dpmpp_3m_sde", SDE_STEPS, kd_law_errors("sample_dpmpp_3m_sde"), 1.9, 2.2)


def singlestep() -> None:
    title("3  the same sign, singlestep; 4  stages with draws of their own")
    for order, kind, low, high in (
        (1, "midpoint", 0.9, 1.1), (2, "midpoint", 0.85, 1.1), (2, "heun", 0.85, 1.1), (3, "midpoint", 0.85, 1.1),
        (3, "heun", -0.3, 0.1),
    ):  # fmt: skip
        name = f"DPMSolverSinglestep sde-dpmsolver++ {order} {kind}"
        slope_line(name, SDE_STEPS, law_errors(*SINGLE, **SDE, solver_order=order, solver_type=kind), low, high)
    options = {**SDE, "solver_order": 3, "solver_type": "heun"}
    slope_line("  3 heun, the sign repaired", SDE_STEPS, law_errors(*SINGLE, SINGLE_SIGN, **options), 0.85, 1.1)
    for kind in ("midpoint", "heun"):
        options = {**SDE, "solver_order": 2, "solver_type": kind}
        errors = law_errors(*SINGLE, None, _one_motion, **options)
        slope_line(f"  2 {kind}, given increments of one Brownian motion", SDE_STEPS, errors, 1.9, 2.2)
    ours = measured_order(solvers.resolve("seeds_2"), stochastic=True, steps=SDE_STEPS)
    slope_line("noisepath seeds_2", SDE_STEPS, ours.errors, 1.9, 2.2)


def _one_motion(law: Law, levels: Sequence[Level]) -> Iterator[Tensor]:
    ratios = [level.noise_ratio for level in levels]
    for n in range(0, len(ratios) - 1, 2):
        c = correlation(sde_clock, *ratios[n : n + 3])
        yield law.draw(n)
        yield c * law.draw(n) + math.sqrt(1.0 - c * c) * law.draw(n + 1)


def reab() -> None:
    title("5  azula's REABSampler: sigma_t in place of sigma_s")
    for order, low, high in ((1, 0.9, 1.1), (2, 1.8, 2.1), (3, 2.2, 3.1)):
        slope_line(f"REAB {order}", ODE_STEPS, azula_errors(None, order), 0.9, 1.1)
        slope_line(f"REAB {order}, repaired", ODE_STEPS, azula_errors(REAB, order), low, high)


def azula_errors(repairs: Mapping[str, str] | None, order: int) -> list[float]:
    source, problem, errors = copy_of("azula.sample", repairs, float64=False), PROBLEMS["mixture"](), []
    for steps in ODE_STEPS:
        levels = smooth_levels(steps)
        start = column(levels)
        x = _peers.azula_sampler(source, "REABSampler", levels, problem.denoise, order=order)(start)
        errors.append(float((x - problem.flow(start, levels[0], levels[-1])).abs().max()))
    return errors


def clocks() -> None:
    title("13  DPM-Solver++ SDE's two draws: which Brownian motion they belong to (k-diffusion dpmpp_sde)")
    slope_line("a motion in sigma, as its default tree", SDE_STEPS, kd_law_errors("sample_dpmpp_sde", clock=float), 1.9, 2.2)
    slope_line("a motion in the SDE's clock, sigma^-2", SDE_STEPS, kd_law_errors("sample_dpmpp_sde", clock=sde_clock), 1.9, 2.2)
    slope_line("independent draws (noise_sampler=randn)", SDE_STEPS, kd_law_errors("sample_dpmpp_sde"), 0.9, 1.1)
    ours = measured_order(solvers.dpmpp_sde, stochastic=True, steps=SDE_STEPS)
    slope_line("noisepath dpmpp_sde", SDE_STEPS, ours.errors, 1.9, 2.2)
    slope_line("noisepath dpmpp_sde(correlated=False)", SDE_STEPS, measured_order(
        partial(solvers.dpmpp_sde, correlated=False), stochastic=True, steps=SDE_STEPS).errors, 0.9, 1.1)  # fmt: skip
    correlations = [correlation(clock, 10.0, math.sqrt(10.0), 1.0) for clock in (float, sde_clock)]
    line("correlation in a step from sigma 10 to 1", f"{correlations[0]:.2f} in sigma, {correlations[1]:.2f} in sigma^-2")
    if not _peers.version("torchsde"):
        line("torchsde is not installed: its tree is not measured", "")
        return
    source, generator = _peers.k_diffusion(), 20_000
    tree = source.BrownianTreeNoiseSampler(torch.zeros(generator), 1.0, 10.0, seed=0)
    a, b = tree(torch.tensor(10.0), torch.tensor(math.sqrt(10.0))), tree(torch.tensor(10.0), torch.tensor(1.0))
    measured = float((a * b).mean() / (a.std() * b.std()))
    line("  measured of its tree, 20,000 values", f"{measured:.2f}", abs(measured - correlations[0]) < 0.03)


def final_orders() -> None:
    title("14  lower_order_final where the run ends before data (UniPC 3, exact start values)")
    for final in (False, True):
        errors = state_errors("UniPCMultistepScheduler", "unipc_multistep", solver_order=3, lower_order_final=final)
        slope_line(f"UniPC 3, lower_order_final={final}", ODE_STEPS, errors, 1.9 if final else 2.9, 2.2 if final else 4.8)


def inner_stages() -> None:
    title("16  DPMSolverSinglestep 3: another weight in its second stage, third order all the same")
    for algorithm in ("dpmsolver", "dpmsolver++"):
        errors = []
        for calls in (24, 48, 96, 192):
            levels, problem = smooth_levels(calls), PROBLEMS["mixture"]()
            options = {**RULES, "solver_order": 3, "algorithm_type": algorithm}
            peer = scheduler(copy_of(SCHEDULERS + SINGLE[1]), SINGLE[0], levels, **options)
            x = follow(peer, levels, problem.denoise, column(levels))
            errors.append(float((x - problem.flow(column(levels), levels[0], levels[-1])).abs().max()))
        slope_line(f"DPMSolverSinglestep 3 {algorithm} midpoint", (24, 48, 96, 192), errors, 2.9, 3.2)
