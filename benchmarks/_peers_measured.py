"""How peers_errors.py measures a peer, and how it prints a figure beside what the page says.

Errors by number of steps: of states on an exact mixture (:func:`state_errors`), of the law on a Gaussian (:func:`law_errors`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

import _peers
from _peers import SCHEDULERS, Law, copy_of, follow, give_noise
from noisepath.analysis import PROBLEMS, smooth_levels
from noisepath.levels import Level

ODE_STEPS, SDE_STEPS = (16, 32, 64, 128), (18, 36, 72, 144, 288)
MEAN, VARIANCE = 0.3, 0.7
RULES = {"lower_order_final": False, "final_sigmas_type": "sigma_min", "prediction_type": "sample"}
MULTI = ("DPMSolverMultistepScheduler", "dpmsolver_multistep")
SDE = {"algorithm_type": "sde-dpmsolver++"}
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


# Errors ---------------------------------------------------------------------------------------------------------------


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
        peer = scheduler(source, name, levels, **chosen)
        start = column(levels)

        def put_right(
            i: int, x: Tensor, levels: Sequence[Level] = levels, start: Tensor = start, problem: Any = problem
        ) -> Tensor:
            return problem.flow(start, levels[0], levels[i]) if 0 < i <= starts else x  # type: ignore[no-any-return]

        network = _edm(peer, problem.denoise) if edm else problem.denoise
        x = follow(peer, levels, network, start, put_right)
        errors.append(float((x - problem.flow(start, levels[0], levels[-1])).abs().max()))
    return errors


def scheduler(source: Any, name: str, levels: Sequence[Level], **options: Any) -> Any:
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
        peer = scheduler(source, name, levels, **{**RULES, **options})
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
        c = correlation(clock, a, first[1], b)
        return c * law.draw(count - 1) + math.sqrt(1.0 - c * c) * law.draw(count)

    return noise


def correlation(clock: Callable[[float], float], a: float, middle: float, b: float) -> float:
    """Of a Brownian motion's increments from a to the middle and from a to b."""
    return math.sqrt(abs(clock(middle) - clock(a)) / abs(clock(b) - clock(a)))


def sde_clock(sigma: float) -> float:
    """The time in which the noise of the reverse SDE is a Brownian motion, with eta = 1."""
    return sigma**-2
