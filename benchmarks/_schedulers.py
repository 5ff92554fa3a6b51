"""diffusers' schedulers, each run from a start on levels that ours can have too."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

import _peers
from _pair import Peer, Run, Z, belief, even, exploding, ratios, start_at
from _pairs_kdiffusion import one_brownian_motion
from _peers import SCHEDULERS, follow, noise_in, preserving
from noisepath import solvers
from noisepath.levels import Level
from noisepath.tableau import Draw

LINEAR = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
KARRAS = {"use_karras_sigmas": True, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear"}
# The step to data is left out, before which the schedulers lower the order by rules of their own.
NO_RULES = {"final_sigmas_type": "sigma_min", "lower_order_final": False, "prediction_type": "sample"}


@cache
def source_of(module: str, repairs: tuple[tuple[str, str], ...] = ()) -> ModuleType:
    return _peers.copy_of(SCHEDULERS + module, dict(repairs))


def multistep(name: str, module: str, repairs: Mapping[str, str] | None = None, **options: Any) -> Peer:
    """A scheduler with one call a step that holds sigma / alpha in a table, on variance preserving levels."""

    def peer(steps: int) -> Run:
        levels = preserving(ratios(steps))
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
