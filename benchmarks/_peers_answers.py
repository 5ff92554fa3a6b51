"""Sections 6 to 8, 11 and 15: right orders, and another answer: off the grid, by a shortcut, by the batch, by rounding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

import _peers
from _peers import SCHEDULERS, Law, copy_of, follow, give_noise, noise_in
from _peers_measured import MEAN, MULTI, SDE_STEPS, VARIANCE, line, slope_line, title
from noisepath import solvers
from noisepath.analysis import gaussian_law, measured_order, smooth_levels
from noisepath.exact import Mixture
from noisepath.levels import Level
from noisepath.schedules import schedule
from noisepath.spacing import karras

MIXTURE = Mixture([0.5, 0.3, 0.2], [[0.8, -0.5, 0.1], [-0.7, 0.2, 0.4], [0.1, 0.9, -1.0]], [0.1, 0.2, 0.15]).denoiser()


def steps_off_the_grid() -> None:
    title("6  diffusers' DDIM steps by T // n, whatever its grid")
    for spacing, steps, missed in (
        ("leading", 10, 0), ("leading", 15, 0), ("linspace", 10, 9), ("linspace", 15, 14), ("linspace", 50, 19),
        ("trailing", 10, 0), ("trailing", 15, 9), ("trailing", 30, 10),
    ):  # fmt: skip
        off, gap, apart = ddim_off(spacing, steps)
        shown = f"off in {off:2} of {steps - 1:2} steps, by up to {gap:.2f} in log-SNR; samples differ by {apart:.3f}"
        line(f"DDIM {spacing}, {steps} steps", shown, off == missed and (apart > 1e-3) == (off > 0))

    for spacing in ("leading", "linspace", "trailing"):
        missed = sum(ddpm_missed(spacing, steps) for steps in (10, 15, 30, 50))
        line(f"DDPM {spacing}, 10, 15, 30 and 50 steps", f"off in {missed} steps", missed == 0)


def ddpm_missed(spacing: str, steps: int) -> int:
    peer = copy_of(SCHEDULERS + "ddpm").DDPMScheduler(timestep_spacing=spacing)
    peer.set_timesteps(steps)
    times = [int(t) for t in peer.timesteps]
    return sum(int(peer.previous_timestep(t)) != s for t, s in itertools.pairwise(times))


def ddim_off(spacing: str, steps: int) -> tuple[int, float, float]:
    """Steps that miss the next timestep, by how much, and what that changes: the largest relative difference between its
    samples of a mixture and those of the same rule stepped over its own timesteps."""
    peer = copy_of(SCHEDULERS + "ddim").DDIMScheduler(timestep_spacing=spacing, clip_sample=False)
    peer.set_timesteps(steps)
    times = [int(t) for t in peer.timesteps]
    levels = [_level_of(peer, t) for t in times]
    x = y = torch.randn(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for n, (t, level) in enumerate(zip(times, levels, strict=True)):
        x = peer.step(noise_in(MIXTURE)(x, level), t, x).prev_sample
        end = levels[n + 1] if n + 1 < steps else Level(1.0, 0.0)
        belief = MIXTURE(y, level)
        y = end.alpha * belief + end.sigma / level.sigma * (y - level.alpha * belief)
    reached = [(max(t - 1000 // steps, 0), s) for t, s in itertools.pairwise(times)]
    gap = max(abs(_level_of(peer, to).log_snr - _level_of(peer, asked).log_snr) for to, asked in reached)
    return sum(to != asked for to, asked in reached), gap, float((x - y).abs().max() / y.abs().max())


def _level_of(peer: Any, t: int) -> Level:
    bar = float(peer.alphas_cumprod[t])
    return Level(math.sqrt(bar), math.sqrt(1.0 - bar))


def sa_shortcut() -> None:
    title("7  SASolver's shortcut at order 2: variance that comes out / true variance, data of variance 4, tau 1, 80 to 0.02")
    for steps in (6, 10, 20, 40):
        figures = []
        levels = [Level(1 / math.hypot(1, s), s / math.hypot(1, s)) for s in _ratios(steps, 0.02, 80.0)]
        for simple in (True, False):
            build = partial(solvers.sa_solver, order=2, corrector_order=2, tau=1.0, simple=simple)
            figures.append(_variance_ratio(build(levels), levels))
        theirs = sa_peer(levels)
        line(f"SASolver 2 2, {steps} steps", f"{theirs:.2f}   noisepath simple=True {figures[0]:.2f}, plain {figures[1]:.2f}",
             abs(theirs / figures[0] - 1) < 1e-8 and abs(figures[1] - 1) < abs(theirs - 1))  # fmt: skip
    for order in (2, 3):
        ours = measured_order(partial(solvers.sa_solver, order=order, corrector_order=order), stochastic=True, steps=SDE_STEPS)
        slope_line(f"noisepath sa_solver {order} {order}", SDE_STEPS, ours.errors, 1.8, 3.2)


def _ratios(steps: int, smallest: float, largest: float) -> list[float]:
    levels = karras(schedule("edm", sigma_min=smallest, sigma_max=largest), steps + 1)
    return [level.sigma for level in levels[:-1]]


def _variance_ratio(table: Any, levels: Sequence[Level]) -> float:

    start = levels[0].alpha ** 2 * 4.0 + levels[0].sigma ** 2
    variance = gaussian_law(table, 0.0, 4.0, 0.0, start)[1]
    return float(variance) / (levels[-1].alpha ** 2 * 4.0 + levels[-1].sigma ** 2)


def sa_peer(levels: Sequence[Level]) -> float:
    source, law = copy_of(SCHEDULERS + "sasolver"), Law(0.0, 4.0, len(levels))
    give_noise(source, law.draws())
    options = {"predictor_order": 2, "corrector_order": 2, "tau_func": lambda t: 1.0, "lower_order_final": False}
    peer = _peers.scheduler(source, "SASolverScheduler", levels, prediction_type="sample", **options)
    x = follow(peer, levels, law.denoise, law.start(levels[0]))
    return float((x[1:] ** 2).sum()) / (levels[-1].alpha ** 2 * 4.0 + levels[-1].sigma ** 2)


def flow_churn() -> None:
    title("8  FlowMatchHeunDiscrete's s_churn: error of the law, s_churn 5, and how it falls")
    errors = [flow_heun_error(steps, 5.0) for steps in SDE_STEPS]
    slope_line("FlowMatchHeun, s_churn 5", SDE_STEPS, errors, -0.2, 0.2)
    slope_line("FlowMatchHeun, s_churn 0", SDE_STEPS, [flow_heun_error(steps, 0.0) for steps in SDE_STEPS], 1.9, 2.1)
    ours = measured_order(partial(solvers.edm, churn=5.0), stochastic=True, steps=SDE_STEPS)
    slope_line("noisepath edm(churn=5)", SDE_STEPS, ours.errors, 0.9, 2.2)


def flow_heun_error(steps: int, churn: float) -> float:
    source, law = copy_of(SCHEDULERS + "flow_match_heun_discrete"), Law(MEAN, VARIANCE, 2 * steps)
    give_noise(source, law.draws())
    sums = [level.alpha + level.sigma for level in smooth_levels(steps)]
    levels = [Level(level.alpha / s, level.sigma / s) for level, s in zip(smooth_levels(steps), sums, strict=True)]
    peer = source.FlowMatchHeunDiscreteScheduler()
    peer.set_timesteps(steps)
    peer.set_begin_index(0)
    asked = [levels[0], *(level for level in levels[1:] for _ in range(2))]
    peer.sigmas = torch.tensor([level.sigma for level in asked], dtype=torch.float64)
    x = law.start(levels[0])
    for level in asked[:-1]:
        belief = law.denoise(x, level)
        velocity = (x - level.alpha * belief) / level.sigma - belief
        x = peer.step(velocity, torch.tensor(level.sigma), x, s_churn=churn).prev_sample
    return law.error(x, levels[-1])


def batch() -> None:
    title("11  ScoreSdeVe's corrector: a picture alone, and beside one whose score is ten times as large")
    source = copy_of(SCHEDULERS + "sde_ve")
    generator = torch.Generator().manual_seed(0)
    x, z = (torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=generator) for _ in range(2))
    score = -x * torch.tensor([1.0, 10.0], dtype=torch.float64)[:, None, None, None]
    made = []
    for count in (1, 2):
        give_noise(source, iter([z[:count]]))
        peer = source.ScoreSdeVeScheduler()
        peer.set_timesteps(10)
        peer.set_sigmas(10)
        made.append(peer.step_correct(score[:count], x[:count]).prev_sample[0])
    apart = float((made[0] - made[1]).abs().max() / made[0].abs().max())
    line("the picture's largest difference, relative", f"{apart:.2f}", apart > 0.01)


def single_precision() -> None:
    title("15  float32 tables and casts: sample of 20 steps on a mixture, as shipped and in float64, largest difference")
    x = torch.randn(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for name, module, options in (
        (*MULTI, {"solver_order": 2}), (*MULTI, {"solver_order": 3}),
        ("UniPCMultistepScheduler", "unipc_multistep", {"solver_order": 3}),
        ("DEISMultistepScheduler", "deis_multistep", {"solver_order": 3}),
    ):  # fmt: skip
        made = []
        for float64 in (False, True):
            peer = getattr(copy_of(SCHEDULERS + module, float64=float64), name)(prediction_type="sample", **options)
            peer.set_timesteps(20)
            levels = _peers.preserving([float(s) for s in peer.sigmas])
            made.append(follow(peer, levels, MIXTURE, x))
        apart = float((made[0] - made[1]).abs().max() / made[1].abs().max())
        line(f"{name.removesuffix('Scheduler')} {options['solver_order']}", f"{apart:.1e}", apart < 1e-2)
