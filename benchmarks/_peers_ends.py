"""Sections 9, 10 and 12: runs that end in NaN or in an error that does not say why."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

import _peers
from _peers_measured import SDE, line, outcome, title
from noisepath import solvers
from noisepath.levels import Level


def ends() -> None:
    import diffusers

    title("9  ends: what comes of a start without signal (zero terminal SNR) and of an end without noise")
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    zero = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "epsilon"}

    def run(name: str, steps: int, **options: Any) -> Tensor:
        peer = getattr(diffusers, name)(**options)
        peer.set_timesteps(steps)
        y = x
        for t in peer.timesteps:
            y = peer.step(0.1 * y, t, y).prev_sample
        return y

    for name in ("DDIMScheduler", "DDPMScheduler", "LCMScheduler", "TCDScheduler", "DDIMParallelScheduler"):
        found = outcome(partial(run, name, 10, **zero, clip_sample=False))
        line(f"{name} zero terminal SNR, noise prediction", found, found == "not finite")
    for order in (2, 3):
        options = {"solver_order": order, "lower_order_final": False}
        found = {outcome(partial(run, "UniPCMultistepScheduler", n, **options)) for n in range(3, 21)}
        line(f"UniPC {order} lower_order_final=False, 3 to 20 steps", ", ".join(sorted(found)), "finite" not in found)
    finite = {
        outcome(partial(run, name, n, solver_order=order))
        for name in ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler")
        for order in (1, 2, 3)
        for n in range(1, 21)
    }
    line("those three with default options, orders 1 to 3, 1 to 20 steps", ", ".join(sorted(finite)), finite == {"finite"})
    ours = map(solvers.resolve, solvers.SOLVERS)
    bad = sum(not _finite_table(build, steps) for build in ours for steps in range(1, 21))
    line("noisepath: every solver, from alpha = 0 to sigma = 0, 1 to 20 steps", f"{bad} tables not finite", bad == 0)


def _finite_table(build: solvers.Build, steps: int) -> bool:
    levels = [Level(math.sin(math.pi / 2 * i / steps), math.cos(math.pi / 2 * i / steps)) for i in range(steps)]
    table = build([*levels, Level(1.0, 0.0)])  # the table's own check refuses what is not finite
    return all(math.isfinite(w) for node in table for part in (node.states, node.outputs, node.draws) for w in part.values())


def whole_timesteps() -> None:
    import diffusers

    title("10  cosine schedule with Karras' sigmas: timesteps cut to whole numbers fall together")
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    for name in ("DPMSolverMultistep", "UniPCMultistep", "DEISMultistep", "SASolver"):
        peer = getattr(diffusers, f"{name}Scheduler")(beta_schedule="squaredcos_cap_v2", use_karras_sigmas=True)
        peer.set_timesteps(20)
        twice = len(peer.timesteps) - len(set(peer.timesteps.tolist()))

        def run(peer: Any = peer) -> Tensor:
            y = x
            for t in peer.timesteps:
                y = peer.step(0.1 * y, t, y).prev_sample
            return y

        found = outcome(run)
        line(f"{name}, 20 steps", f"{twice} timesteps twice; {found}", twice > 0 and "Error" in found)


def crashes() -> None:
    import diffusers

    title("12  options that end in an error that does not say why")
    source = _peers.k_diffusion()
    one = torch.tensor([1.0, 0.0])
    for name in ("sample_dpmpp_2m_sde", "sample_dpmpp_3m_sde", "sample_dpmpp_2m", "sample_dpmpp_sde"):
        given = {"noise_sampler": lambda a, b: 0.0} if "sde" in name else {}
        sampler = getattr(source, name)
        found = outcome(lambda s=sampler, g=given: s(lambda x, sigma: 0 * x, torch.ones(2, 1), one, disable=True, **g))
        line(f"k-diffusion {name}, one step", found, ("Error" in found) == (name.endswith("m_sde")))

    def run(name: str, steps: int, **options: Any) -> Tensor:
        peer = getattr(diffusers, name)(**options)
        peer.set_timesteps(steps)
        y = torch.ones(1, 1, 2, 2)
        for t in peer.timesteps:
            y = peer.step(0.1 * y, t, y).prev_sample
        return y

    sde = {"algorithm_type": "sde-dpmsolver", "solver_order": 3, "final_sigmas_type": "sigma_min"}
    for name, steps, options in (
        ("DPMSolverMultistepScheduler", 20, sde),
        ("DPMSolverMultistepInverseScheduler", 20, {**SDE, "solver_order": 3}),
        ("PNDMScheduler", 3, {}),
    ):
        shown = ", ".join(f"{k}={v}" for k, v in options.items() if k != "final_sigmas_type")
        found = outcome(partial(run, name, steps, **options))
        line(f"{name.removesuffix('Scheduler')} {steps} steps {shown}", found, "Error" in found)
