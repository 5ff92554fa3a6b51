"""What docs/peers.md says about other libraries' samplers, measured: every figure of that page.

    python benchmarks/peers_errors.py       about a minute

Orders are measured as everywhere here (noisepath.analysis): levels uniform in log-SNR from log(alpha/sigma) = -2 to 2, in
float64.  ODE: the largest error of 41 states on an exact mixture, from exact start values.  SDE: the exact law on N(0.3, 0.7),
the peer's own steps run on the unit vectors of its draws, so without any sampling error; variance (relative) plus mean (in
standard deviations).  "Repaired" is a copy of the peer's source with the named line changed.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

import _peers
from _peers import SCHEDULERS, Law, copy_of, follow, give_noise, noise_in
from noisepath import solvers
from noisepath.analysis import PROBLEMS, measured_order, smooth_levels
from noisepath.exact import Mixture
from noisepath.levels import Level
from noisepath.schedules import schedule
from noisepath.spacing import karras

ODE_STEPS, SDE_STEPS = (16, 32, 64, 128), (18, 36, 72, 144, 288)
MEAN, VARIANCE = 0.3, 0.7
RULES = {"lower_order_final": False, "final_sigmas_type": "sigma_min", "prediction_type": "sample"}
MULTI = ("DPMSolverMultistepScheduler", "dpmsolver_multistep")
SINGLE = ("DPMSolverSinglestepScheduler", "dpmsolver_singlestep")
SDE = {"algorithm_type": "sde-dpmsolver++"}
SECOND_DIFFERENCE = {"D2 = (1.0 / (r0 + r1))": "D2 = (2.0 / (r0 + r1))"}
SIGN = {"(2.0 * h) ** 2 - 0.5)) * D2": "(2.0 * h) ** 2 + 0.5)) * D2"}
SINGLE_SIGN = {"(-2.0 * h) ** 2 - 0.5)) * D2": "(-2.0 * h) ** 2 + 0.5)) * D2"}
KD_SECOND_DIFFERENCE = {"d2 = (d1_0 - d1_1) / (r0 + r1)": "d2 = 2 * (d1_0 - d1_1) / (r0 + r1)"}
REAB = {"torch.sqrt(alpha_s**2 + sigma_t**2)": "torch.sqrt(alpha_s**2 + sigma_s**2)"}
MIXTURE = Mixture([0.5, 0.3, 0.2], [[0.8, -0.5, 0.1], [-0.7, 0.2, 0.4], [0.1, 0.9, -1.0]], [0.1, 0.2, 0.15]).denoiser()
failures: list[str] = []


# What is printed --------------------------------------------------------------------------------------------------------


def title(text: str) -> None:
    print(f"\n{text}")


def line(name: str, figure: str, holds: bool = True) -> None:
    """One figure; ``holds`` is whether it shows what the page says."""
    print(f"  {name:<66} {figure}{'' if holds else '   NOT AS THE PAGE SAYS'}")
    if not holds:
        failures.append(name)


def slope_line(name: str, steps: Sequence[int], errors: Sequence[float], low: float, high: float) -> None:
    """Errors and the last slope, which the page says lies between ``low`` and ``high``."""
    last = _peers.slopes(steps, errors)[-1]
    line(name, f"slope {last:5.2f}   errors {' '.join(f'{error:.2g}' for error in errors)}", low <= last <= high)


def outcome(run: Callable[[], Any]) -> str:
    """What a call comes to: an exception's name, "not finite" or "finite"."""
    try:
        made = run()
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:60]}".rstrip(": ")
    return "finite" if bool(torch.isfinite(made).all()) else "not finite"


# Orders ------------------------------------------------------------------------------------------------------------------


def column(levels: Sequence[Level]) -> Tensor:
    return torch.linspace(-2.0, 2.0, 41, dtype=torch.float64)[:, None] * math.hypot(levels[0].alpha, levels[0].sigma)


def exploding(steps: int) -> list[Level]:
    """The same levels in the frame of EDM and k-diffusion."""
    return [Level(1.0, level.noise_ratio) for level in smooth_levels(steps)]


def state_errors(
    name: str, module: str, repairs: Mapping[str, str] | None = None, *, starts: int = 2, **options: Any
) -> list[float]:
    """Of a scheduler on the mixture, its first ``starts`` results put right."""
    source, problem, errors = copy_of(SCHEDULERS + module, repairs), PROBLEMS["mixture"](), []
    edm, back = "EDM" in name, "Inverse" in name
    known = inspect.signature(getattr(source, name).__init__).parameters
    rules = {key: value for key, value in RULES.items() if key in known}
    for steps in ODE_STEPS:
        levels = exploding(steps) if edm else smooth_levels(steps)
        levels = levels[::-1] if back else levels
        chosen = {**rules, **options, **({"prediction_type": "epsilon"} if edm else {})}
        peer = _scheduler(source, name, levels, **chosen)
        start = column(levels)

        def put_right(
            i: int, x: Tensor, levels: Sequence[Level] = levels, start: Tensor = start, problem: Any = problem
        ) -> Tensor:
            return problem.flow(start, levels[0], levels[i]) if 0 < i <= starts else x  # type: ignore[no-any-return]

        network = _edm(peer, problem.denoise) if edm else problem.denoise
        x = follow(peer, levels, network, start, put_right)
        errors.append(float((x - problem.flow(start, levels[0], levels[-1])).abs().max()))
    return errors


def _scheduler(source: Any, name: str, levels: Sequence[Level], **options: Any) -> Any:
    peer = _peers.scheduler(source, name, levels, **options)
    peer.is_scale_input_called = True
    return peer


def _edm(peer: Any, denoise: _peers.Denoise) -> _peers.Denoise:
    scale = peer.config.sigma_data

    def says(x: Tensor, level: Level) -> Tensor:
        total = level.sigma**2 + scale**2
        return (denoise(x, level) - scale**2 / total * x) * math.sqrt(total) / (level.sigma * scale)

    return says


def law_errors(
    name: str,
    module: str,
    repairs: Mapping[str, str] | None = None,
    noise: Callable[[Law, Sequence[Level]], Iterator[Tensor]] | None = None,
    **options: Any,
) -> list[float]:
    """Of a stochastic scheduler's law on the Gaussian."""
    source, errors = copy_of(SCHEDULERS + module, repairs), []
    for steps in SDE_STEPS:
        levels, law = smooth_levels(steps), Law(MEAN, VARIANCE, steps)
        give_noise(source, noise(law, levels) if noise else law.draws())
        peer = _scheduler(source, name, levels, **{**RULES, **options})
        errors.append(law.error(follow(peer, levels, law.denoise, law.start(levels[0])), levels[-1]))
    return errors


def kd_law_errors(
    sampler: str, repairs: Mapping[str, str] | None = None, clock: Callable[[float], float] | None = None, **options: Any
) -> list[float]:
    """The same of k-diffusion; with a ``clock`` its draws are increments of one Brownian motion in clock(sigma)."""
    source, errors = _peers.k_diffusion(repairs), []
    for steps in SDE_STEPS:
        levels, law = exploding(steps), Law(MEAN, VARIANCE, 2 * steps)
        noise = _increments(law, clock)
        sigmas = torch.tensor([level.sigma for level in levels], dtype=torch.float64)

        def model(x: Tensor, sigma: Tensor, law: Law = law) -> Tensor:
            return law.denoise(x, Level(1.0, float(sigma[0])))

        x = getattr(source, sampler)(model, law.start(levels[0]), sigmas, disable=True, noise_sampler=noise, **options)
        errors.append(law.error(x, levels[-1]))
    return errors


def _increments(law: Law, clock: Callable[[float], float] | None) -> Callable[[Any, Any], Tensor]:
    count, first = -1, (0.0, 0.0)

    def noise(sigma: Any, after: Any) -> Tensor:
        nonlocal count, first
        a, b = float(sigma), float(after)
        count += 1
        if clock is None or a != first[0]:
            first = a, b
            return law.draw(count)
        c = _correlation(clock, a, first[1], b)
        return c * law.draw(count - 1) + math.sqrt(1.0 - c * c) * law.draw(count)

    return noise


def _correlation(clock: Callable[[float], float], a: float, middle: float, b: float) -> float:
    """Of a Brownian motion's increments from a to the middle and from a to b."""
    return math.sqrt(abs(clock(middle) - clock(a)) / abs(clock(b) - clock(a)))


def sde_clock(sigma: float) -> float:
    """The time in which the noise of the reverse SDE is a Brownian motion, with eta = 1."""
    return sigma**-2


# The page's sections -----------------------------------------------------------------------------------------------------


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
        c = _correlation(sde_clock, *ratios[n : n + 3])
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
    from noisepath.analysis import gaussian_law

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


def clocks() -> None:
    title("13  DPM-Solver++ SDE's two draws: which Brownian motion they belong to (k-diffusion dpmpp_sde)")
    slope_line("a motion in sigma, as its default tree", SDE_STEPS, kd_law_errors("sample_dpmpp_sde", clock=float), 1.9, 2.2)
    slope_line("a motion in the SDE's clock, sigma^-2", SDE_STEPS, kd_law_errors("sample_dpmpp_sde", clock=sde_clock), 1.9, 2.2)
    slope_line("independent draws (noise_sampler=randn)", SDE_STEPS, kd_law_errors("sample_dpmpp_sde"), 0.9, 1.1)
    ours = measured_order(solvers.dpmpp_sde, stochastic=True, steps=SDE_STEPS)
    slope_line("noisepath dpmpp_sde", SDE_STEPS, ours.errors, 1.9, 2.2)
    slope_line("noisepath dpmpp_sde(correlated=False)", SDE_STEPS, measured_order(
        partial(solvers.dpmpp_sde, correlated=False), stochastic=True, steps=SDE_STEPS).errors, 0.9, 1.1)  # fmt: skip
    correlations = [_correlation(clock, 10.0, math.sqrt(10.0), 1.0) for clock in (float, sde_clock)]
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
            peer = _scheduler(copy_of(SCHEDULERS + SINGLE[1]), SINGLE[0], levels, **options)
            x = follow(peer, levels, problem.denoise, column(levels))
            errors.append(float((x - problem.flow(column(levels), levels[0], levels[-1])).abs().max()))
        slope_line(f"DPMSolverSinglestep 3 {algorithm} midpoint", (24, 48, 96, 192), errors, 2.9, 3.2)


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


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(", ".join(f"{name} {_peers.version(name)}" for name in ("diffusers", "k-diffusion", "azula")))
    for section in (
        factor_two, multistep_sign, singlestep, reab, steps_off_the_grid, sa_shortcut, flow_churn, ends, whole_timesteps,
        batch, crashes, clocks, final_orders, single_precision, inner_stages,
    ):  # fmt: skip
        try:
            section()
        except _peers.Changed as changed:
            line(str(changed), "", False)
    word = "ok" if not failures else "; ".join(failures)
    print(f"\nfigures that are not as docs/peers.md says: {len(failures)}   target 0   {word}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
