"""Other libraries' deterministic samplers as they come, in 439 configurations, for problems that know the answer.

A sampler is told a number of steps and asks for beliefs; how many it asks for is counted.  A contender gets the most steps
whose calls fit a budget: they are found with a denoiser that says nothing, so that no real call is wasted.  Nothing of a
library is changed: where its code rounds to float32, it does.

*shipped* are a library's defaults; what it leaves open is taken from the process that all share:

    diffusers        the schedulers as constructed, told the network's betas; DDIM without its clipping, which is for pictures
    k-diffusion      its samplers on its two grids for a table's network: Karras' over the table's range, and even in time
    azula            its samplers on its geometric and on a variance-preserving schedule, both down to its 0.001
    smalldiffusion   its sampler, even in time
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

import _peers
from _contender import Asked, Contender, Sampler
from _peer_schedulers import diffusers
from _problems import LARGEST, sigma_at


def contenders() -> list[Contender]:
    """All that can be compared; a library that is not installed is an error."""
    found = [*diffusers(), *k_diffusion(), *azula(), *smalldiffusion()]
    assert len({contender.name for contender in found}) == len(found), "a name must say which one is meant"
    return found


# k-diffusion -------------------------------------------------------------------------------------------------------------


@cache
def _k_diffusion() -> Any:
    return _peers.k_diffusion()


def k_diffusion_grid(kind: str, smallest: float, steps: int) -> Tensor:
    """Levels in sigma, 0 at the end: "karras7" (the number is rho), "exponential", or "vp-time", even in the table's time."""
    if kind == "vp-time":
        times = torch.linspace(999.0, 0.0, steps, dtype=torch.float64)
        return torch.tensor([*(sigma_at(float(t)) for t in times), 0.0], dtype=torch.float64)
    if kind == "exponential":
        return _k_diffusion().get_sigmas_exponential(steps, smallest, LARGEST).double()
    return _k_diffusion().get_sigmas_karras(steps, smallest, LARGEST, rho=float(kind.removeprefix("karras"))).double()


def _no_noise(sigma: Any, after: Any) -> float:
    return 0.0


_QUIET = {"eta": 0.0, "noise_sampler": _no_noise}
# name -> function, options
_K_SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("sample_euler", {}),
    "heun": ("sample_heun", {}),
    "dpm_2": ("sample_dpm_2", {}),
    "lms": ("sample_lms", {}),
    "dpmpp_2m": ("sample_dpmpp_2m", {}),
    "dpmpp_2s": ("sample_dpmpp_2s_ancestral", {"eta": 0.0}),
    "dpmpp_2m_sde eta0 midpoint": ("sample_dpmpp_2m_sde", _QUIET),
    "dpmpp_2m_sde eta0 heun": ("sample_dpmpp_2m_sde", {**_QUIET, "solver_type": "heun"}),
    "dpmpp_3m_sde eta0": ("sample_dpmpp_3m_sde", _QUIET),
}
_K_GRIDS = (
    *(("karras7", smallest) for smallest in (0.002, 0.01, 0.03, 0.06)),
    *(("exponential", smallest) for smallest in (0.01, 0.03, 0.06)),
    *((f"karras{rho}", 0.03) for rho in (3, 5, 10)),
    ("vp-time", 0.0),
)
_K_OWN = (("karras7", 0.01), ("vp-time", 0.0))


def k_diffusion() -> Iterator[Contender]:
    for (kind, smallest), (name, (function, options)) in itertools.product(_K_GRIDS, _K_SAMPLERS.items()):
        shipped = (kind, smallest) in _K_OWN and not options
        sampler = _on_grid(function, kind, smallest, options)
        yield Contender(f"{name} {kind} smin={smallest}", "k-diffusion", shipped, sampler)
    for smallest in (0.002, 0.01, 0.03):
        yield Contender(f"dpm_fast smin={smallest}", "k-diffusion", smallest == 0.01, _fast(smallest))


def _on_grid(function: str, kind: str, smallest: float, options: dict[str, Any]) -> Sampler:
    def run(asked: Asked, steps: int) -> Tensor:
        sigmas = k_diffusion_grid(kind, smallest, steps)
        sampler = getattr(_k_diffusion(), function)
        return sampler(lambda x, sigma: asked(x, float(sigma[0])), asked.start.clone(), sigmas, disable=True, **options)

    return run


def _fast(smallest: float) -> Sampler:
    def run(asked: Asked, steps: int) -> Tensor:
        def model(x: Tensor, sigma: Tensor) -> Tensor:
            return asked(x, float(sigma[0]))

        return _k_diffusion().sample_dpm_fast(model, asked.start.clone(), smallest, LARGEST, steps, disable=True)

    return run


# azula -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AzulaSchedule:
    """t in [0, 1] to (alpha, sigma), from ``smallest`` to the process's largest: "ve-exp" is azula's own geometric one,
    "ve-karras" is even in sigma^(1/7), "vp" is the process's own clock where alpha^2 + sigma^2 = 1."""

    kind: str
    smallest: float

    def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
        t = t.double()
        if self.kind == "ve-exp":
            sigma = torch.exp((1.0 - t) * math.log(self.smallest) + t * math.log(LARGEST))
        elif self.kind == "ve-karras":
            low, high = self.smallest ** (1 / 7), LARGEST ** (1 / 7)
            sigma = (low + t * (high - low)) ** 7
        else:  # betas rise from 0.1 to 20
            noise = torch.expm1(math.log1p(LARGEST**2) * (0.1 * t + 9.95 * t**2) / 10.05)
            sigma = torch.sqrt((noise + self.smallest**2) / (1.0 + (self.smallest / LARGEST) ** 2))
            alpha = torch.rsqrt(1.0 + sigma**2)
            return alpha, alpha * sigma
        return torch.ones_like(sigma), sigma


class AzulaNetwork:
    """A denoiser as azula's samplers ask it."""

    def __init__(self, asked: Asked, schedule: AzulaSchedule) -> None:
        self.asked, self.schedule = asked, schedule

    def __call__(self, x: Tensor, t: Tensor, **unused: Any) -> Any:
        from azula.denoise import DiracPosterior

        alpha, sigma = self.schedule(t)
        return DiracPosterior(mean=self.asked(x / alpha, float(sigma / alpha)))


def azula() -> Iterator[Contender]:
    samplers: list[tuple[str, str, dict[str, int]]] = [(name, name, {}) for name in ("Euler", "Heun")]
    families = ("zAB", "vAB", "zEAB", "xEAB", "REAB")
    samplers += [(f"{name}{order}", name, {"order": order}) for name, order in itertools.product(families, (2, 3))]
    for kind, smallest in itertools.product(("ve-exp", "ve-karras", "vp"), (0.001, 0.01, 0.03)):
        for name, sampler, options in samplers:
            own = options.get("order", 2) == 2 and kind != "ve-karras" and smallest == 0.001
            run = _azula(f"{sampler}Sampler", AzulaSchedule(kind, smallest), options)
            yield Contender(f"{name} {kind} smin={smallest}", "azula", own, run)


def _azula(sampler: str, schedule: AzulaSchedule, options: dict[str, int]) -> Sampler:
    def run(asked: Asked, steps: int) -> Tensor:
        import azula.sample

        network: Any = AzulaNetwork(asked, schedule)
        made = getattr(azula.sample, sampler)(network, steps=steps, silent=True, dtype=torch.float64, **options)
        return made(asked.preserving if schedule.kind == "vp" else asked.start.clone())

    return run


# smalldiffusion ----------------------------------------------------------------------------------------------------------


@cache
def _smalldiffusion() -> Any:
    return _peers.smalldiffusion()


class SmallNetwork:
    """A network that predicts the noise, as smalldiffusion's sampler asks it."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    def eval(self) -> None:
        """Nothing to switch over."""

    def rand_input(self, batch: int) -> Tensor:
        """Of weight 0, as no noise is added."""
        return torch.zeros(batch, self.asked.start.shape[1], dtype=torch.float64)

    def predict_eps_cfg(self, x: Tensor, sigma: Tensor, condition: object, scale: float) -> Tensor:
        return (x - self.asked(x, float(sigma))) / sigma


def smalldiffusion() -> Iterator[Contender]:
    grids = (("karras7", 0.01), ("karras7", 0.03), ("exponential", 0.03), ("vp-time", 0))
    for (kind, smallest), gam in itertools.product(grids, (1.0, 1.5, 2.0)):
        name = f"samples gam={gam} {kind} smin={smallest}"
        yield Contender(name, "smalldiffusion", kind == "vp-time" and gam == 1.0, _small(kind, smallest, gam))


def _small(kind: str, smallest: float, gam: float) -> Sampler:
    def run(asked: Asked, steps: int) -> Tensor:
        sigmas = k_diffusion_grid(kind, smallest, steps)
        elsewhere = object()  # in place of an Accelerator, which is only asked where to draw a start
        states = _smalldiffusion().samples(SmallNetwork(asked), sigmas, gam=gam, xt=asked.start, accelerator=elsewhere)
        return deque(states, maxlen=1)[0]

    return run
