"""diffusers' deterministic schedulers as they come, in 217 configurations (the others are in ``_peer_samplers.py``).

The network is one of discrete time: it understands the noise that belongs to a scheduler's timestep, often rounded.  Where a
name says "[exact level]" it is told the noise that the scheduler itself has in mind, as a network of continuous noise could be.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from _contender import Asked, Contender, Sampler
from _problems import LARGEST, SIGMAS, sigma_at

os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
Options = dict[str, Any]
BETAS: Options = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
EXACT = " [exact level]"
TIME, BOTH = (False,), (False, True)  # is the network told the scheduler's own level?
# name -> options, what the network is told
GRIDS: dict[str, tuple[Options, tuple[bool, ...]]] = {
    "linspace": ({"timestep_spacing": "linspace"}, TIME),
    "trailing": ({"timestep_spacing": "trailing"}, TIME),
    "karras": ({"use_karras_sigmas": True}, BOTH),
    "exponential": ({"use_exponential_sigmas": True}, BOTH),
    "beta": ({"use_beta_sigmas": True}, BOTH),
}
MORE_GRIDS = {
    **GRIDS,
    "leading": ({"timestep_spacing": "leading"}, TIME),
    "lu": ({"use_lu_lambdas": True}, BOTH),
}


def diffusers() -> Iterator[Contender]:
    """All of them; each says itself which are as shipped."""
    yield from _on_tables()
    yield from _multistep()
    yield from _correctors()
    yield from _exploding()
    yield from _singlestep()
    yield from _edm()


def _made(scheduler: str, options: Options, steps: int) -> Any:
    import diffusers as library

    made = getattr(library, f"{scheduler}Scheduler")(**options)
    made.set_timesteps(steps)
    return made


def _each(
    label: str, sampler: Any, scheduler: str, options: Options, told: tuple[bool, ...], shipped: bool
) -> Iterator[Contender]:
    """One for each thing that the network may be told; what is shipped knows timesteps alone."""
    for exact in told:
        run = sampler(scheduler, {**BETAS, **options}, exact)
        yield Contender(label + EXACT * exact, "diffusers", shipped and not exact, run)


# How they are driven -----------------------------------------------------------------------------------------------------


def preserving(scheduler: str, options: Options, exact: bool) -> Sampler:
    """Those whose state has alpha^2 + sigma^2 = 1."""

    def run(asked: Asked, steps: int) -> Tensor:
        made, x = _made(scheduler, options, steps), asked.preserving
        for i, t in enumerate(made.timesteps):
            sigma = float(made.sigmas[i]) if exact else sigma_at(float(t))
            alpha = 1.0 / math.hypot(1.0, sigma)
            noise = (x - alpha * asked(x / alpha, sigma)) / (sigma * alpha)
            x = made.step(noise, t, x).prev_sample
        return x

    return run


def exploding(scheduler: str, options: Options, exact: bool) -> Sampler:
    """Those whose state is x_0 + sigma * noise, and what the network is given scaled by them."""

    def own(made: Any) -> float:
        inner = hasattr(made, "sigmas_interpol") and not made.state_in_first_order
        return float((made.sigmas_interpol if inner else made.sigmas)[made.step_index])

    def run(asked: Asked, steps: int) -> Tensor:
        made = _made(scheduler, options, steps)
        x = asked.preserving * math.hypot(1.0, float(made.sigmas[0]))
        for t in made.timesteps:
            told = made.scale_model_input(x, t)
            sigma = own(made) if exact else sigma_at(float(t))
            told = told * math.hypot(1.0, sigma)
            x = made.step((told - asked(told, sigma)) / sigma, t, x).prev_sample
        return x

    return run


def edm(scheduler: str, options: Options) -> Sampler:
    """Those for EDM's networks, whose output is (x_0 - c_skip x) / c_out."""

    def run(asked: Asked, steps: int) -> Tensor:
        made, x = _made(scheduler, options, steps), asked.start.clone()
        data = made.config.sigma_data
        for i, t in enumerate(made.timesteps):
            made.scale_model_input(x, t)
            sigma = float(made.sigmas[i])
            total = math.hypot(sigma, data)
            output = (asked(x, sigma) - (data / total) ** 2 * x) / (sigma * data / total)
            x = made.step(output, t, x).prev_sample
        return x

    return run


def ipndm(asked: Asked, steps: int) -> Tensor:
    """It holds cosines and sines of an angle, its "betas" the sines, and moves by the angle's velocity: the process's levels
    at whole times are given as such."""
    times = np.linspace(999.0, 0.0, steps + 1).round()[:-1]
    levels = np.append(np.interp(times, np.arange(len(SIGMAS)), SIGMAS), 0.0)
    made, x = _made("IPNDM", {"trained_betas": list(levels / np.hypot(1.0, levels))}, steps), asked.preserving
    for i, t in enumerate(made.timesteps):
        sigma, alpha = float(made.betas[i]), float(made.alphas[i])
        noise = (x - alpha * asked(x / alpha, sigma / alpha)) / sigma
        x = made.step((noise - x * sigma) / alpha, t, x).prev_sample
    return x


# What there is -----------------------------------------------------------------------------------------------------------


def _on_tables() -> Iterator[Contender]:
    for spacing in ("leading", "linspace", "trailing"):
        ddim: Options = {"timestep_spacing": spacing, "clip_sample": False}
        plms: Options = {"timestep_spacing": spacing, "skip_prk_steps": True}
        yield from _each(f"DDIM {spacing}", preserving, "DDIM", ddim, TIME, spacing == "leading")
        yield from _each(f"PNDM(PLMS) {spacing}", preserving, "PNDM", plms, TIME, False)
    yield from _each("PNDM(PRK) leading", preserving, "PNDM", {}, TIME, True)
    yield Contender("iPNDM linspace", "diffusers", False, ipndm)


def _multistep() -> Iterator[Contender]:
    scheduler = "DPMSolverMultistep"
    eps: Options = {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}
    for grid, (options, told) in MORE_GRIDS.items():
        for order, euler in itertools.product((2, 3), (False, True)):
            label = f"DPM++{order}M {grid}{' euler_at_final' * euler}"
            given = {"solver_order": order, "euler_at_final": euler, **options}
            shipped = (order, euler, grid) == (2, False, "linspace")
            yield from _each(label, preserving, scheduler, given, told, shipped)
        third: Options = {"solver_order": 3, "lower_order_final": False, **options}
        heun: Options = {"solver_type": "heun", **options}
        yield from _each(f"DPM++2M heun {grid}", preserving, scheduler, heun, told, False)
        yield from _each(f"DPM++3M no-lower-final {grid}", preserving, scheduler, third, told, False)
        yield from _each(f"DPM(eps)2M {grid}", preserving, scheduler, {**eps, **options}, told, False)


def _correctors() -> Iterator[Contender]:
    """UniPC, and DEIS."""
    for grid, (options, told) in GRIDS.items():
        for order, kind in itertools.product((2, 3), ("bh1", "bh2")):
            given = {"solver_order": order, "solver_type": kind, **options}
            shipped = (order, kind, grid) == (2, "bh2", "linspace")
            yield from _each(f"UniPC{order} {kind} {grid}", preserving, "UniPCMultistep", given, told, shipped)
        for order in (2, 3):
            shipped = (order, grid) == (2, "linspace")
            given = {"solver_order": order, **options}
            yield from _each(f"DEIS{order} {grid}", preserving, "DEISMultistep", given, told, shipped)


def _exploding() -> Iterator[Contender]:
    for (grid, (options, _)), name in itertools.product(GRIDS.items(), ("Euler", "Heun", "LMS", "KDPM2")):
        yield from _each(f"{name} {grid}", exploding, f"{name}Discrete", options, BOTH, grid == "linspace")


def _singlestep() -> Iterator[Contender]:
    """Where the run ends at data, as by default, they lower the last order themselves, whatever they are told."""
    for grid, (options, told) in GRIDS.items():
        if grid == "trailing":
            continue
        options = {key: value for key, value in options.items() if key != "timestep_spacing"}
        for order in (2, 3):
            given = {"solver_order": order, "lower_order_final": True, **options}
            shipped = (order, grid) == (2, "linspace")
            yield from _each(f"DPM++{order}S {grid}", preserving, "DPMSolverSinglestep", given, told, shipped)


def _edm() -> Iterator[Contender]:
    for smallest, grid in itertools.product((0.002, 0.01, 0.03), ("karras", "exponential")):
        reach: Options = {"sigma_min": smallest, "sigma_max": LARGEST, "sigma_schedule": grid}
        own = (smallest, grid) == (0.002, "karras")
        yield Contender(f"EDM-Euler {grid} smin={smallest}", "diffusers", own, edm("EDMEuler", reach))
        for order, euler in itertools.product((2, 3), (False, True)):
            label = f"EDM-DPM++{order}M {grid} smin={smallest}{' euler_at_final' * euler}"
            run = edm("EDMDPMSolverMultistep", {"solver_order": order, "euler_at_final": euler, **reach})
            yield Contender(label, "diffusers", own and (order, euler) == (2, False), run)
