"""diffusers' schedulers: which solver each is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from _pair import STEPS, Pair, pair
from _schedulers import (
    KARRAS,
    TCD_SHARE,
    brownian,
    consistency,
    edm_network,
    flow,
    in_sigma,
    ipndm,
    lcm,
    multistep,
    on_a_table,
    singlestep,
    tcd,
    tcd_by_time,
    two_calls,
)

SECOND_DIFFERENCE = {"D2 = (1.0 / (r0 + r1))": "D2 = (2.0 / (r0 + r1))"}
SIGN = {"(2.0 * h) ** 2 - 0.5)) * D2": "(2.0 * h) ** 2 + 0.5)) * D2"}
MULTI = ("DPMSolverMultistepScheduler", "dpmsolver_multistep")
UNIPC = ("UniPCMultistepScheduler", "unipc_multistep")
SA = ("SASolverScheduler", "sasolver")
SDE = {"algorithm_type": "sde-dpmsolver++"}
THIRD = {"solver_order": 3, "solver_type": "heun"}
FACTOR = "factor 2 (docs/peers.md, 1)"
INNER = "another weight in its second stage (docs/peers.md, conventions)"


def deterministic() -> Iterator[Pair]:
    return itertools.chain(one_call(), two_calls_a_step(), singlesteps(), multisteps(), other_multisteps())


def one_call() -> Iterator[Pair]:
    """Those of first order."""
    yield pair("ddim", "diffusers", "EulerDiscrete", in_sigma("EulerDiscreteScheduler", "euler_discrete"))
    yield pair("ddim", "diffusers", "EDMEuler", in_sigma("EDMEulerScheduler", "edm_euler", edm_network))
    yield pair("ddim", "diffusers", "FlowMatchEuler", flow("FlowMatchEulerDiscreteScheduler", "flow_match_euler_discrete"))
    yield pair("ddim", "diffusers", "DDIM, leading", on_a_table("DDIMScheduler", "ddim", clip_sample=False))
    yield pair(
        "ddim",
        "diffusers",
        "DDIM, linspace",
        on_a_table("DDIMScheduler", "ddim", clip_sample=False, timestep_spacing="linspace"),
        "steps of T // n whatever the grid (docs/peers.md, 6)",
    )


def two_calls_a_step() -> Iterator[Pair]:
    yield pair("heun", "diffusers", "HeunDiscrete", two_calls("HeunDiscreteScheduler", "heun_discrete", **KARRAS))
    yield pair(
        "heun",
        "diffusers",
        "FlowMatchHeun",
        flow("FlowMatchHeunDiscreteScheduler", "flow_match_heun_discrete", doubled=True),
        frame="flow",
    )
    inner = two_calls("KDPM2DiscreteScheduler", "k_dpm_2_discrete", "sigmas_interpol", **KARRAS)
    yield pair("kdpm2", "diffusers", "KDPM2Discrete", inner)


def singlesteps() -> Iterator[Pair]:
    for order in (2, 3):
        name, reason = f"dpm_solver_{order}", INNER if order == 3 else ""
        yield pair(name, "diffusers", f"DPMSolverSinglestep {order}, dpmsolver", singlestep(order, "dpmsolver"), reason)
    yield pair("dpm_solver_3", "diffusers", "the same, second stages heun", singlestep(3, "dpmsolver", inner="heun"))
    yield pair("dpmpp_2s", "diffusers", "DPMSolverSinglestep 2", singlestep(2, "dpmsolver++"))
    yield pair("dpmpp_3s", "diffusers", "DPMSolverSinglestep 3", singlestep(3, "dpmsolver++"), INNER)
    yield pair("dpmpp_3s", "diffusers", "the same, second stages heun", singlestep(3, "dpmsolver++", inner="heun"))


def multisteps() -> Iterator[Pair]:
    """DPMSolverMultistep, in its kinds and orders."""
    yield pair("dpmpp_2m", "diffusers", "DPMSolverMultistep", multistep(*MULTI))
    yield pair(
        "dpmpp_2m",
        "diffusers",
        "EDMDPMSolverMultistep",
        in_sigma("EDMDPMSolverMultistepScheduler", "edm_dpmsolver_multistep", edm_network),
    )
    yield pair("exponential_adams", "diffusers", "DPMSolverMultistep, heun", multistep(*MULTI, solver_type="heun"), order=2)
    shipped, repaired = (multistep(*MULTI, repairs, **THIRD) for repairs in (None, SECOND_DIFFERENCE))
    yield pair("exponential_adams", "diffusers", "DPMSolverMultistep 3", shipped, FACTOR, order=3)
    yield pair("exponential_adams", "diffusers", "the same, repaired", repaired, order=3)
    made = multistep(*MULTI, algorithm_type="dpmsolver", **THIRD)
    yield pair("deis", "diffusers", "DPMSolverMultistep 3, dpmsolver", made, FACTOR, order=3)


def other_multisteps() -> Iterator[Pair]:
    yield pair("lms", "diffusers", "LMSDiscrete", in_sigma("LMSDiscreteScheduler", "lms_discrete"))
    for order in (1, 2, 3):
        deis = multistep("DEISMultistepScheduler", "deis_multistep", solver_order=order)
        yield pair("deis", "diffusers", f"DEISMultistep {order}", deis, order=order)
    yield pair("ipndm", "diffusers", "IPNDM", ipndm)
    plms = on_a_table("PNDMScheduler", "pndm", skip_prk_steps=True, set_alpha_to_one=True)
    yield pair("plms", "diffusers", "PNDM, skip_prk_steps", plms)
    for order in (1, 2, 3):
        for variant in ("bh1", "bh2"):
            made = multistep(*UNIPC, solver_order=order, solver_type=variant)
            yield pair("unipc", "diffusers", f"UniPC {order} {variant}", made, order=order, variant=variant)


def stochastic() -> Iterator[Pair]:
    return itertools.chain(ancestral(), multistep_sdes(), sa_solvers(), few_steps())


def ancestral() -> Iterator[Pair]:
    """One draw or two a step, and no memory."""
    for variance in ("small", "large"):
        made = on_a_table("DDPMScheduler", "ddpm", clip_sample=False, variance_type=f"fixed_{variance}")
        yield pair("ddpm", "diffusers", f"DDPM, fixed_{variance}", made, variance=variance)
    yield pair("ddim", "diffusers", "DDIM, eta 0.7", on_a_table("DDIMScheduler", "ddim", clip_sample=False, eta=0.7), eta=0.7)
    yield pair(
        "euler_ancestral",
        "diffusers",
        "EulerAncestralDiscrete",
        in_sigma("EulerAncestralDiscreteScheduler", "euler_ancestral_discrete"),
    )
    yield pair("dpmpp_sde", "diffusers", "DPMSolverSDE", brownian)
    inner = two_calls("KDPM2AncestralDiscreteScheduler", "k_dpm_2_ancestral_discrete", "sigmas_interpol", 1, **KARRAS)
    yield pair("dpm2_ancestral", "diffusers", "KDPM2AncestralDiscrete", inner)._replace(over=STEPS[1:])


def multistep_sdes() -> Iterator[Pair]:
    for variant in ("midpoint", "heun"):
        made = multistep(*MULTI, **SDE, solver_type=variant)
        yield pair("dpmpp_2m_sde", "diffusers", "DPMSolverMultistep 2, SDE", made, variant=variant)
    made = multistep(*MULTI, **SDE, solver_type="heun")
    yield pair("exponential_adams", "diffusers", "DPMSolverMultistep 2, SDE, heun", made, order=2, tau=1.0)
    made = multistep(*MULTI, **SDE, **THIRD)
    yield pair("dpmpp_3m_sde", "diffusers", "DPMSolverMultistep 3, SDE", made, "a sign (docs/peers.md, 2)")
    repaired = multistep(*MULTI, {**SIGN, **SECOND_DIFFERENCE}, **SDE, **THIRD)
    yield pair("dpmpp_3m_sde", "diffusers", "the same, sign and factor repaired", repaired)


def sa_solvers() -> Iterator[Pair]:
    for order, corrector in ((1, 2), (2, 1), (2, 2), (3, 3), (3, 4)):
        made = multistep(*SA, predictor_order=order, corrector_order=corrector, tau_func=lambda t: 0.7)
        name = f"SASolver {order} {corrector}, tau 0.7"
        yield pair("sa_solver", "diffusers", name, made, order=order, corrector_order=corrector, tau=0.7, simple=True)
    made = multistep(*SA, predictor_order=2, corrector_order=2, tau_func=lambda t: 1.0)
    yield pair("sa_solver", "diffusers", "SASolver 2 2", made, "a shortcut (docs/peers.md, 7)", order=2, corrector_order=2)


def few_steps() -> Iterator[Pair]:
    """For distilled networks."""
    yield pair("lcm", "diffusers", "LCM", lcm)
    yield pair("tcd", "diffusers", "TCD, eta 0.3", tcd, "its share is of the table's time", gamma=TCD_SHARE)
    yield Pair("tcd", "share of time", tcd_by_time, "diffusers", "TCD, eta 0.3", tcd)
    yield pair("consistency", "diffusers", "CMStochasticIterative", consistency)
