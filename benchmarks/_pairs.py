"""Which solver of the catalogue is which sampler elsewhere: each pair, and what the peer makes of a start.

The denoiser is an exact mixture's; levels, start and draws are the same on both sides.  A pair that must differ says why
(docs/peers.md has the proofs), and where a line of a copy of the peer's source can be repaired, the repaired one is a pair too.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

import _peers
from _peers import SCHEDULERS, follow, noise_in, preserving
from noisepath import solvers
from noisepath.exact import Mixture
from noisepath.levels import Level
from noisepath.loop import run_loop
from noisepath.schedules import schedule
from noisepath.solvers import SOLVERS, Build
from noisepath.spacing import karras
from noisepath.tableau import Draw

STEPS = (4, 8, 15)
TARGET = 1e-8
BELIEF = Mixture([0.5, 0.3, 0.2], [[0.8, -0.5, 0.1], [-0.7, 0.2, 0.4], [0.1, 0.9, -1.0]], [0.1, 0.2, 0.15]).denoiser()
SEED = torch.Generator().manual_seed(2)
START = torch.randn(6, 3, dtype=torch.float64, generator=SEED)
Z = torch.randn(4, 64, 6, 3, dtype=torch.float64, generator=SEED)  # stage, step
LINEAR = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
# The step to data is left out, before which the schedulers lower the order by rules of their own.
NO_RULES = {"final_sigmas_type": "sigma_min", "lower_order_final": False, "prediction_type": "sample"}
SECOND_DIFFERENCE = {"D2 = (1.0 / (r0 + r1))": "D2 = (2.0 / (r0 + r1))"}
SIGN = {"(2.0 * h) ** 2 - 0.5)) * D2": "(2.0 * h) ** 2 + 0.5)) * D2"}
KD_SECOND_DIFFERENCE = {"d2 = (d1_0 - d1_1) / (r0 + r1)": "d2 = 2 * (d1_0 - d1_1) / (r0 + r1)"}
REAB = {"torch.sqrt(alpha_s**2 + sigma_t**2)": "torch.sqrt(alpha_s**2 + sigma_s**2)"}
Run = tuple[list[Level], Tensor, Tensor]  # the levels, the start, what the peer made of it
Peer = Callable[[int], Run]


class Pair(NamedTuple):
    """One comparison."""

    solver: str
    options: str
    build: Build
    library: str
    name: str
    peer: Peer
    reason: str = ""
    """Why the two differ, where they must."""
    over: Sequence[int] = STEPS
    """Numbers of steps."""


def belief(x: Tensor, level: Level) -> Tensor:
    return BELIEF(x, level)


def ours(build: Build, levels: Sequence[Level], start: Tensor) -> Tensor:
    def noise(place: Draw) -> Tensor:
        return Z[place.stage, place.step]

    return run_loop(build(levels), belief, start, noise)


def difference(build: Build, peer: Peer, over: Sequence[int] = STEPS) -> float:
    """The worst over these numbers of steps; infinite where a sample is not finite."""
    worst = 0.0
    for steps in over:
        levels, start, theirs = peer(steps)
        apart = float((ours(build, levels, start) - theirs).abs().max() / theirs.abs().max())
        worst = max(worst, apart if math.isfinite(apart) else math.inf)
    return worst


def exploding(steps: int, *, to_data: bool = True) -> list[Level]:
    """Karras' levels from 14 to 0.03, and 0 where asked for."""
    levels = karras(schedule("edm", sigma_min=0.03, sigma_max=14.0), steps)
    return levels if to_data else [Level(1.0, s) for s in _ratios(steps)]


def _ratios(steps: int) -> list[float]:
    """sigma / alpha of ``steps + 1`` of Karras' levels, the last 0.03."""
    return [level.sigma for level in karras(schedule("edm", sigma_min=0.03, sigma_max=14.0), steps + 1)[:-1]]


def even(steps: int) -> list[Level]:
    """Variance preserving levels uniform in log-SNR: where inner levels at equal shares are levels of the run."""
    return preserving([14.0 * (0.03 / 14.0) ** (i / steps) for i in range(steps + 1)])


def start_at(level: Level) -> Tensor:
    return level.sigma * START


# k-diffusion -----------------------------------------------------------------------------------------------------------


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


def churned(steps: int) -> Run:
    """Its Heun with churn, whose noise is ``torch.randn_like``: drawn at every step, also where nothing is added."""
    source, draws = kd(()), iter(Z[0])
    plain, source.torch = source.torch, _peers.Double(torch, torch.float64)
    source.torch.randn_like = lambda x: next(draws)
    try:
        return k_diffusion("sample_heun", s_churn=4.0, s_tmin=0.05, s_tmax=5.0, s_noise=1.003)(steps)
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


# azula -----------------------------------------------------------------------------------------------------------------


def azula(sampler: str, repairs: Mapping[str, str] | None = None, **options: Any) -> Peer:
    def peer(steps: int) -> Run:
        levels = preserving(_ratios(steps))
        source, draws = _peers.copy_of("azula.sample", repairs), iter(Z[0])
        source.torch.randn_like = lambda x: next(draws)  # type: ignore[attr-defined]
        made = _peers.azula_sampler(source, sampler, levels, belief, **options)(start_at(levels[0]))
        return levels, start_at(levels[0]), made

    return peer


# diffusers -------------------------------------------------------------------------------------------------------------


@cache
def source_of(module: str, repairs: tuple[tuple[str, str], ...] = ()) -> ModuleType:
    return _peers.copy_of(SCHEDULERS + module, dict(repairs))


def multistep(name: str, module: str, repairs: Mapping[str, str] | None = None, **options: Any) -> Peer:
    """A scheduler with one call a step that holds sigma / alpha in a table, on variance preserving levels."""

    def peer(steps: int) -> Run:
        levels = preserving(_ratios(steps))
        source = source_of(module, tuple((repairs or {}).items()))
        _peers.give_noise(source, iter(Z[0]))
        known = inspect.signature(getattr(source, name).__init__).parameters
        rules = {key: value for key, value in NO_RULES.items() if key in known}
        made = _peers.scheduler(source, name, levels, **{**rules, **options})
        return levels, start_at(levels[0]), follow(made, levels, belief, start_at(levels[0]))

    return peer


def in_sigma(name: str, module: str, network: Callable[[Any], _peers.Denoise] | None = None, **options: Any) -> Peer:
    """The same for those whose state is x_0 + sigma noise."""

    def peer(steps: int) -> Run:
        levels = exploding(steps)
        source = source_of(module)
        _peers.give_noise(source, iter(Z[0]))
        made = _peers.scheduler(source, name, levels, **options)
        made.is_scale_input_called = True
        says = network(made) if network else noise_in(belief)
        return levels, start_at(levels[0]), follow(made, levels, says, start_at(levels[0]))

    return peer


def two_calls(name: str, module: str, middle: str = "sigmas", back: int = 0, **options: Any) -> Peer:
    """Schedulers of two calls a step, on their own grid: the second is made where ``middle`` says, ``back`` entries ago."""

    def peer(steps: int) -> Run:
        source = source_of(module)
        made = getattr(source, name)(**options)
        made.set_timesteps(steps)
        made.set_begin_index(0)
        _peers.give_noise(source, iter(Z[0]))
        sigmas = [float(s) for s in made.sigmas]
        levels = [Level(1.0, s) for s in sorted(set(sigmas), reverse=True)]
        inner = [float(s) for s in getattr(made, middle)]
        x = start_at(levels[0])
        for i, t in enumerate(made.timesteps):
            level = Level(1.0, inner[i - back] if i % 2 else sigmas[i])
            x = made.step(noise_in(belief)(x, level), t, x).prev_sample
        return levels, start_at(levels[0]), x

    return peer


def brownian(steps: int) -> Run:
    """Its DPMSolverSDE, with the noise of one motion in place of its tree."""
    with _peers.stand_in("torchsde"):
        source = source_of("dpmsolver_sde")
    made = source.DPMSolverSDEScheduler(**KARRAS)
    made.set_timesteps(steps)
    sigmas = [float(s) for s in made.sigmas]
    levels = [Level(1.0, s) for s in sorted(set(sigmas), reverse=True)]
    x, made.noise_sampler = start_at(levels[0]), one_brownian_motion()
    for i, t in enumerate(made.timesteps):
        level = Level(1.0, math.sqrt(sigmas[i] * sigmas[i - 1]) if i % 2 else sigmas[i])
        x = made.step(noise_in(belief)(x, level), t, x).prev_sample
    return levels, start_at(levels[0]), x


def singlestep(order: int, algorithm: str, *, inner: str = "", **options: Any) -> Peer:
    """Its inner levels are of the run's grid, so ours are every second or third of them.  inner: the type of its second
    stages, where another is wanted than that of its steps."""

    def stages(made: Any, i: int, x: Tensor) -> Tensor:
        made.register_to_config(solver_type=inner if made.order_list[i] == 2 else "midpoint")
        return x

    def peer(steps: int) -> Run:
        levels = even(order * steps)
        made = _peers.scheduler(
            source_of("dpmsolver_singlestep"),
            "DPMSolverSinglestepScheduler",
            levels,
            solver_order=order,
            algorithm_type=algorithm,
            **NO_RULES,
            **options,
        )
        moved = partial(stages, made) if inner else None
        return levels[::order], start_at(levels[0]), follow(made, levels, belief, start_at(levels[0]), moved)

    return peer


def on_a_table(name: str, module: str, *, eta: float | None = None, **options: Any) -> Peer:
    """Schedulers that step over a table of alpha_bar, from their timesteps to data."""

    def peer(steps: int) -> Run:
        source = source_of(module)
        made = getattr(source, name)(**LINEAR, **options)
        made.set_timesteps(steps)
        _peers.give_noise(source, iter(Z[0]))
        given = {} if eta is None else {"eta": eta}
        level = partial(_level_of, made)
        levels = [*(level(t) for t in dict.fromkeys(int(t) for t in made.timesteps)), Level(1.0, 0.0)]
        x = start_at(levels[0])
        for t in made.timesteps:
            x = made.step(noise_in(belief)(x, level(int(t))), t, x, **given).prev_sample
        return levels, start_at(levels[0]), x

    return peer


def _level_of(made: Any, t: int) -> Level:
    bar = float(made.alphas_cumprod[t])
    return Level(math.sqrt(bar), math.sqrt(1.0 - bar))


def ipndm(steps: int) -> Run:
    source = source_of("ipndm")
    made = source.IPNDMScheduler()
    made.set_timesteps(steps)
    place = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    made.betas = torch.sin(place * math.pi / 2) ** 2
    made.alphas = (1 - made.betas**2).sqrt()
    levels = [Level(max(float(a), 0.0), float(b)) for a, b in zip(made.alphas, made.betas, strict=True)][1:]
    # from the second level on: the first is pure noise, where it divides by 1e-8 in place of 0
    made.set_begin_index(1)
    says = noise_in(belief)
    x = start_at(levels[0])
    for i, level in enumerate(levels[:-1]):
        made.set_begin_index(i + 1)
        e = says(x, level)
        x = made.step((e - x * level.sigma) / level.alpha, made.timesteps[i + 1], x).prev_sample
    return levels, start_at(levels[0]), x


def flow(name: str, module: str, *, doubled: bool = False) -> Peer:
    """Schedulers of straight flows: x = (1 - sigma) x_0 + sigma noise, and the network gives noise - x_0."""

    def peer(steps: int) -> Run:
        levels = [Level(1.0 - s, s) for s in (0.98 * (1 - (i / steps) ** 1.3) for i in range(steps + 1))]
        made = getattr(source_of(module), name)()
        made.set_timesteps(steps)
        inner = [level.sigma for level in levels]
        if doubled:
            inner = [inner[0], *(s for s in inner[1:-1] for _ in range(2)), inner[-1]]
        made.sigmas = torch.tensor(inner, dtype=torch.float64)
        made.set_begin_index(0)
        x = start_at(levels[0])
        for i, t in enumerate(made.timesteps):
            level = Level(1.0 - inner[i], inner[i])
            x = made.step((x - belief(x, level)) / level.sigma, t, x).prev_sample
        return levels, start_at(levels[0]), x

    return peer


def in_flow_time(method: str) -> Peer:
    """A fixed-step method of torchdiffeq for the velocity of a straight flow, with sigma as the time."""

    def velocity(sigma: Tensor, x: Tensor, **unused: Any) -> Tensor:
        return (x - belief(x, Level(1.0 - float(sigma), float(sigma)))) / sigma

    def peer(steps: int) -> Run:
        from torchdiffeq import odeint
        from torchdiffeq._impl.rk_common import rk4_step_func

        sigmas = torch.tensor([0.98 - 0.96 * (i / steps) ** 0.8 for i in range(steps + 1)], dtype=torch.float64)
        levels = [Level(1.0 - s, s) for s in sigmas.tolist()]
        x = start_at(levels[0])
        if method == "rk4":  # its own method of that name is the 3/8 rule, its function is the classical one
            for t, s in itertools.pairwise(sigmas):
                x = x + rk4_step_func(velocity, t, s - t, s, x)
        else:
            x = odeint(velocity, x, sigmas, method=method)[-1]
        return levels, start_at(levels[0]), x

    return peer


def edm_network(made: Any) -> _peers.Denoise:
    """The output that EDM's preconditioning turns into D."""
    scale = made.config.sigma_data

    def says(x: Tensor, level: Level) -> Tensor:
        total = level.sigma**2 + scale**2
        return (belief(x, level) - scale**2 / total * x) * math.sqrt(total) / (level.sigma * scale)

    return says


def consistency(steps: int) -> Run:
    source = source_of("consistency_models")
    made = source.CMStochasticIterativeScheduler(clip_denoised=False)
    made.set_timesteps(steps)
    made.is_scale_input_called = True
    _peers.give_noise(source, iter(Z[0]))
    levels = [Level(1.0, float(s)) for s in made.sigmas]
    x = start_at(levels[0])
    for level, sigma, t in zip(levels, made.sigmas, made.timesteps, strict=False):
        c_skip, c_out = made.get_scalings_for_boundary_condition(sigma)
        x = made.step((belief(x, level) - c_skip * x) / c_out, t, x).prev_sample
    return levels, start_at(levels[0]), x


def lcm(steps: int) -> Run:
    source = source_of("lcm")
    made = source.LCMScheduler(prediction_type="sample", clip_sample=False, **LINEAR)
    made.set_timesteps(steps)
    _peers.give_noise(source, iter(Z[0]))
    levels = [*(_level_of(made, int(t)) for t in made.timesteps), Level(1.0, 0.0)]
    x = start_at(levels[0])
    for level, t in zip(levels, made.timesteps, strict=False):
        c_skip, c_out = made.get_scalings_for_boundary_condition_discrete(t)
        x = made.step((belief(x, level) - c_skip * x) / c_out, t, x).prev_sample
    return levels, start_at(levels[0]), x


TCD_SHARE = 0.3


def tcd_levels(steps: int) -> tuple[Any, list[Level]]:
    made = source_of("tcd").TCDScheduler(**LINEAR)
    made.set_timesteps(steps)
    return made, [*(_level_of(made, int(t)) for t in made.timesteps), _level_of(made, 0)]


def tcd(steps: int) -> Run:
    made, levels = tcd_levels(steps)
    _peers.give_noise(source_of("tcd"), iter(Z[0]))
    x = start_at(levels[0])
    for level, t in zip(levels, made.timesteps, strict=False):
        x = made.step(noise_in(belief)(x, level), t, x, eta=TCD_SHARE).prev_sample
    return levels, start_at(levels[0]), x


def tcd_by_time(levels: Sequence[Level]) -> Any:
    """Our tcd with its share of sigma / alpha chosen at each step so that it is their share of the table's time."""
    made, _ = tcd_levels(len(levels) - 1)
    table: list[Any] = []
    for n, (t, s) in enumerate(zip(levels, levels[1:], strict=False)):
        time = int(made.timesteps[n + 1]) if n + 2 < len(levels) else 0
        lower = _level_of(made, int((1 - TCD_SHARE) * time))
        share = 1.0 - lower.noise_ratio / s.noise_ratio if n + 2 < len(levels) else 0.0
        start, node = solvers.tcd([t, s], gamma=share)
        place = {Draw(n, 0): weight for weight in node.draws.values()}
        table += [] if n else [start]
        states, outputs = {n: node.states.get(0, 0.0)}, {n: node.outputs.get(0, 0.0)}
        table.append(type(node)(s, states, outputs, place, n + 2 < len(levels)))
    return tuple(table)


# The pairs -------------------------------------------------------------------------------------------------------------

MULTI = ("DPMSolverMultistepScheduler", "dpmsolver_multistep")
UNIPC = ("UniPCMultistepScheduler", "unipc_multistep")
SA = ("SASolverScheduler", "sasolver")
SDE = {"algorithm_type": "sde-dpmsolver++"}
FACTOR = "factor 2 (docs/peers.md, 1)"
LONG = "so long a step leaves the noise frame here (docs/solvers.md, at the ends)"
INNER = "another weight in its second stage (docs/peers.md, conventions)"
TRAPEZES = "its integral is a sum of 256 trapezes"
KARRAS = {"use_karras_sigmas": True, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear"}


def deterministic() -> Iterator[Pair]:
    def pair(solver: str, library: str, name: str, peer: Peer, reason: str = "", **options: Any) -> Pair:
        text = ", ".join(f"{k}={v}" for k, v in options.items())
        return Pair(solver, text, partial(SOLVERS[solver].build, **options), library, name, peer, reason)

    yield pair("ddim", "k-diffusion", "euler", k_diffusion("sample_euler"))
    yield pair("ddim", "azula", "Euler", azula("EulerSampler"))
    yield pair("ddim", "azula", "DDIM", azula("DDIMSampler"))
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
    yield pair("heun", "k-diffusion", "heun", k_diffusion("sample_heun"))
    yield pair("heun", "azula", "Heun", azula("HeunSampler"))
    yield pair("heun", "diffusers", "HeunDiscrete", two_calls("HeunDiscreteScheduler", "heun_discrete", **KARRAS))
    yield pair(
        "heun",
        "diffusers",
        "FlowMatchHeun",
        flow("FlowMatchHeunDiscreteScheduler", "flow_match_heun_discrete", doubled=True),
        frame="flow",
    )
    yield pair("heun", "torchdiffeq", "heun2", in_flow_time("heun2"), frame="flow")
    yield pair("midpoint", "torchdiffeq", "midpoint", in_flow_time("midpoint"))
    yield pair("rk4", "torchdiffeq", "rk4_step_func", in_flow_time("rk4"))
    yield pair("kdpm2", "k-diffusion", "dpm_2", k_diffusion("sample_dpm_2"))
    inner = two_calls("KDPM2DiscreteScheduler", "k_dpm_2_discrete", "sigmas_interpol", **KARRAS)
    yield pair("kdpm2", "diffusers", "KDPM2Discrete", inner)
    for order in (2, 3):
        name = f"dpm_solver_{order}"
        yield pair(name, "k-diffusion", f"DPMSolver, order {order}", kd_singlestep(order))
        reason = INNER if order == 3 else ""
        yield pair(name, "diffusers", f"DPMSolverSinglestep {order}, dpmsolver", singlestep(order, "dpmsolver"), reason)
    yield pair("dpm_solver_3", "diffusers", "the same, second stages heun", singlestep(3, "dpmsolver", inner="heun"))
    yield pair("dpmpp_2s", "k-diffusion", "dpmpp_2s_ancestral, eta 0", k_diffusion("sample_dpmpp_2s_ancestral", eta=0.0))
    yield pair("dpmpp_2s", "diffusers", "DPMSolverSinglestep 2", singlestep(2, "dpmsolver++"))
    yield pair("dpmpp_3s", "diffusers", "DPMSolverSinglestep 3", singlestep(3, "dpmsolver++"), INNER)
    yield pair("dpmpp_3s", "diffusers", "the same, second stages heun", singlestep(3, "dpmsolver++", inner="heun"))
    yield pair("dpmpp_2m", "k-diffusion", "dpmpp_2m", k_diffusion("sample_dpmpp_2m"))
    yield pair("dpmpp_2m", "diffusers", "DPMSolverMultistep", multistep(*MULTI))
    yield pair(
        "dpmpp_2m",
        "diffusers",
        "EDMDPMSolverMultistep",
        in_sigma("EDMDPMSolverMultistepScheduler", "edm_dpmsolver_multistep", edm_network),
    )
    yield pair("exponential_adams", "diffusers", "DPMSolverMultistep, heun", multistep(*MULTI, solver_type="heun"), order=2)
    for order in (1, 2, 3, 4):
        yield pair("exponential_adams", "azula", f"xEAB {order}", azula("xEABSampler", order=order), order=order)
    third = {"solver_order": 3, "solver_type": "heun"}
    shipped, repaired = (multistep(*MULTI, repairs, **third) for repairs in (None, SECOND_DIFFERENCE))
    yield pair("exponential_adams", "diffusers", "DPMSolverMultistep 3", shipped, FACTOR, order=3)
    yield pair("exponential_adams", "diffusers", "the same, repaired", repaired, order=3)
    for order in (1, 2, 3, 4):
        yield pair("adams", "azula", f"vAB {order}", azula("vABSampler", order=order), frame="flow", order=order)
    shipped, repaired = (azula("REABSampler", repairs, order=1) for repairs in (None, REAB))
    yield pair("adams", "azula", "REAB 1", shipped, "sigma_t for sigma_s (docs/peers.md, 5)", frame="trig", order=1)
    yield pair("adams", "azula", "the same, repaired", repaired, TRAPEZES, frame="trig", order=1)
    yield pair("lms", "k-diffusion", "lms", k_diffusion("sample_lms"))
    yield pair("lms", "diffusers", "LMSDiscrete", in_sigma("LMSDiscreteScheduler", "lms_discrete"))
    yield pair("lms", "azula", "zAB 4", azula("zABSampler", order=4))
    for order in (1, 2, 3):
        deis = multistep("DEISMultistepScheduler", "deis_multistep", solver_order=order)
        yield pair("deis", "diffusers", f"DEISMultistep {order}", deis, order=order)
    for order in (2, 3, 4):
        yield pair("deis", "azula", f"zEAB {order}", azula("zEABSampler", order=order), order=order)
    made = multistep(*MULTI, algorithm_type="dpmsolver", **third)
    yield pair("deis", "diffusers", "DPMSolverMultistep 3, dpmsolver", made, FACTOR, order=3)
    yield pair("ipndm", "diffusers", "IPNDM", ipndm)
    plms = on_a_table("PNDMScheduler", "pndm", skip_prk_steps=True, set_alpha_to_one=True)
    yield pair("plms", "diffusers", "PNDM, skip_prk_steps", plms)
    for order in (1, 2, 3):
        for variant in ("bh1", "bh2"):
            made = multistep(*UNIPC, solver_order=order, solver_type=variant)
            yield pair("unipc", "diffusers", f"UniPC {order} {variant}", made, order=order, variant=variant)


def stochastic() -> Iterator[Pair]:
    def pair(solver: str, library: str, name: str, peer: Peer, reason: str = "", **options: Any) -> Pair:
        text = ", ".join(f"{k}={v}" for k, v in options.items())
        return Pair(solver, text, partial(SOLVERS[solver].build, **options), library, name, peer, reason)

    step, third = one_draw_a_step, {"solver_order": 3, "solver_type": "heun"}
    for variance in ("small", "large"):
        made = on_a_table("DDPMScheduler", "ddpm", clip_sample=False, variance_type=f"fixed_{variance}")
        yield pair("ddpm", "diffusers", f"DDPM, fixed_{variance}", made, variance=variance)
    yield pair("ddpm", "azula", "DDPM", azula("DDPMSampler"), variance="small")
    yield pair("ddim", "diffusers", "DDIM, eta 0.7", on_a_table("DDIMScheduler", "ddim", clip_sample=False, eta=0.7), eta=0.7)
    yield pair("ddim", "azula", "DDIM, eta 0.49", azula("DDIMSampler", eta=0.49), eta=0.7)
    reason = "its eta is a variance (docs/peers.md, conventions)"
    yield pair("ddim", "azula", "DDIM, eta 0.7", azula("DDIMSampler", eta=0.7), reason, eta=0.7)
    yield pair("euler_ancestral", "k-diffusion", "euler_ancestral", k_diffusion("sample_euler_ancestral", noise=step))
    yield pair(
        "euler_ancestral",
        "diffusers",
        "EulerAncestralDiscrete",
        in_sigma("EulerAncestralDiscreteScheduler", "euler_ancestral_discrete"),
    )
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
    yield pair("dpmpp_sde", "diffusers", "DPMSolverSDE", brownian)
    inner = two_calls("KDPM2AncestralDiscreteScheduler", "k_dpm_2_ancestral_discrete", "sigmas_interpol", 1, **KARRAS)
    yield pair("dpm2_ancestral", "diffusers", "KDPM2AncestralDiscrete", inner)._replace(over=STEPS[1:])
    for variant in ("midpoint", "heun"):
        made = multistep(*MULTI, **SDE, solver_type=variant)
        yield pair("dpmpp_2m_sde", "diffusers", "DPMSolverMultistep 2, SDE", made, variant=variant)
    made = multistep(*MULTI, **SDE, solver_type="heun")
    yield pair("exponential_adams", "diffusers", "DPMSolverMultistep 2, SDE, heun", made, order=2, tau=1.0)
    made = multistep(*MULTI, **SDE, **third)
    yield pair("dpmpp_3m_sde", "diffusers", "DPMSolverMultistep 3, SDE", made, "a sign (docs/peers.md, 2)")
    repaired = multistep(*MULTI, {**SIGN, **SECOND_DIFFERENCE}, **SDE, **third)
    yield pair("dpmpp_3m_sde", "diffusers", "the same, sign and factor repaired", repaired)
    for order, corrector in ((1, 2), (2, 1), (2, 2), (3, 3), (3, 4)):
        made = multistep(*SA, predictor_order=order, corrector_order=corrector, tau_func=lambda t: 0.7)
        name = f"SASolver {order} {corrector}, tau 0.7"
        yield pair("sa_solver", "diffusers", name, made, order=order, corrector_order=corrector, tau=0.7, simple=True)
    made = multistep(*SA, predictor_order=2, corrector_order=2, tau_func=lambda t: 1.0)
    yield pair("sa_solver", "diffusers", "SASolver 2 2", made, "a shortcut (docs/peers.md, 7)", order=2, corrector_order=2)
    options = {"churn": 4.0, "churn_min": 0.05, "churn_max": 5.0, "noise_scale": 1.003}
    yield pair("edm", "k-diffusion", "heun, s_churn 4", churned, **options)
    yield pair("lcm", "diffusers", "LCM", lcm)
    yield pair("tcd", "diffusers", "TCD, eta 0.3", tcd, "its share is of the table's time", gamma=TCD_SHARE)
    yield Pair("tcd", "share of time", tcd_by_time, "diffusers", "TCD, eta 0.3", tcd)
    yield pair("consistency", "diffusers", "CMStochasticIterative", consistency)


ALONE = {
    "res_2s": "ComfyUI's is not a package; written out step by step instead (tests/stepwise.py)",
    "res_3s": "the same",
    "pndm": "diffusers' Runge-Kutta steps have their middle in the table's time, ours in sigma / alpha; step by step instead",
    "adams_moulton": "none; written out step by step instead",
    "seeds_2": "ComfyUI's is not a package; written out step by step instead",
    "seeds_3": "the same",
    "er_sde": "the same",
    "restart": "the same",
    "langevin": "diffusers' ScoreSdeVe takes its step's size from the batch (docs/peers.md, 11); step by step instead",
}
