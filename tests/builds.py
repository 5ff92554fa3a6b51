"""What the tests of solvers share: the solvers with their options, a mixture, and a run on it with draws that are named."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from noisepath import solvers
from noisepath.exact import Mixture
from noisepath.levels import Level
from noisepath.loop import run_loop
from noisepath.solvers import SOLVERS, Build, ddim, ddpm, exponential_adams, heun
from noisepath.tableau import Draw
from noisepath.testing import RATIOS

__all__ = ["BUILDS", "MEAN", "MIXTURE", "RATIOS", "START_Z", "TOLD", "VARIANCE", "result", "unit_draw"]

# The catalogue with its defaults, and the options that change what is computed: (build, order, is it stochastic?)
BUILDS: dict[str, tuple[Build, int, bool]] = {
    **{name: (solver.build, solver.order, solver.stochastic) for name, solver in SOLVERS.items()},
    "ddim eta=0.4": (partial(ddim, eta=0.4), 1, True),
    "ddpm large": (partial(ddpm, variance="large"), 1, True),
    "ddpm 0.3": (partial(ddpm, variance=0.3), 1, True),
    "heun flow": (partial(heun, frame="flow"), 2, False),
    "midpoint noise": (partial(solvers.midpoint, frame="noise"), 2, False),
    "rk4 noise": (partial(solvers.rk4, frame="noise"), 4, False),
    "rk4 trig": (partial(solvers.rk4, frame="trig"), 4, False),
    "exponential_adams 1": (partial(exponential_adams, order=1), 1, False),
    "exponential_adams 3": (partial(exponential_adams, order=3), 2, False),  # 2: its first steps are of lower order
    "exponential_adams 4": (partial(exponential_adams, order=4), 2, False),
    "exponential_adams tau=1": (partial(exponential_adams, tau=1.0), 2, True),
    "exponential_adams 3 tau=0.5": (partial(exponential_adams, order=3, tau=0.5), 2, True),
    "adams x0": (partial(solvers.adams, frame="x0"), 2, False),
    "adams trig": (partial(solvers.adams, frame="trig", data_scale=0.7), 2, False),
    "adams deis 4": (partial(solvers.adams, frame="deis", order=4), 2, False),
    "adams_moulton x0": (partial(solvers.adams_moulton, frame="x0", order=2), 3, False),
    "adams_moulton noise": (partial(solvers.adams_moulton, frame="noise"), 3, False),
    "adams_moulton trig again": (partial(solvers.adams_moulton, frame="trig", data_scale=1.0, again=True), 3, False),
    "unipc bh1": (partial(solvers.unipc, variant="bh1"), 3, False),
    "unipc 3": (partial(solvers.unipc, order=3), 3, False),
    "unipc without corrector": (partial(solvers.unipc, corrector=False), 2, False),
    "dpmpp_2s 0.3": (partial(solvers.dpmpp_2s, middle=0.3), 2, False),
    "dpm2_ancestral 0.5": (partial(solvers.dpm2_ancestral, eta=0.5), 2, True),
    "dpmpp_2s_ancestral 0.5": (partial(solvers.dpmpp_2s_ancestral, eta=0.5), 2, True),
    "dpmpp_sde 0.5": (partial(solvers.dpmpp_sde, eta=0.5, middle=0.3), 2, True),
    "dpmpp_2m_sde heun": (partial(solvers.dpmpp_2m_sde, variant="heun"), 2, True),
    "dpmpp_3m_sde published": (partial(solvers.dpmpp_3m_sde, eta=0.5, published=True), 2, True),
    "sa_solver 2 0.5": (partial(solvers.sa_solver, order=2, corrector_order=2, tau=0.5), 2, True),
    "seeds_2 0.5": (partial(solvers.seeds, eta=0.5, middle=0.3), 2, True),
    "er_sde ode": (partial(solvers.er_sde, order=2, noise_scale=float), 2, False),
    "edm 4": (partial(solvers.edm, churn=4.0), 2, True),
}

MIXTURE = Mixture(
    [0.5, 0.3, 0.2],
    [[0.8, -0.5, 0.1], [-0.7, 0.2, 0.4], [0.1, 0.9, -1.0]],
    torch.stack(
        [torch.tensor([[0.3, 0.1, 0.0], [0.1, 0.2, 0.05], [0.0, 0.05, 0.25]]), 0.2 * torch.eye(3), 0.15 * torch.eye(3)]
    ),
)


def unit_draw(place: Draw, rows: int = 6, size: int = 3) -> Tensor:
    """A function of the place, so that two tables share the draws that they both have."""
    generator = torch.Generator().manual_seed(1000 * place.step + place.stage)
    return torch.randn(rows, size, dtype=torch.float64, generator=generator)


def result(build: Build, levels: Sequence[Level], z: Tensor) -> Tensor:
    """A run on the mixture from x = sigma_0 z, its draws the same whatever the levels."""
    table = build(levels)
    denoise = MIXTURE.denoiser()
    return run_loop(table, lambda x, level: denoise(x, level), levels[0].sigma * z, lambda place: unit_draw(place, len(z)))


START_Z = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

# The data of one value on which laws are worked out by hand
MEAN, VARIANCE = 0.4, 0.6

# What check_solver is told of a solver beyond its order
TOLD: dict[str, dict[str, Any]] = {
    "langevin": {"noise_tolerance": 0.03},  # its steps keep the variance to first order in their size, 0.05
    "consistency": {"noise_tolerance": 0.02},  # its pictures hold noise of their own: a tenth of the last level's
    "ddpm large": {"noise_tolerance": math.inf},
    "ddpm 0.3": {"noise_tolerance": math.inf},
    "edm": {"steps": (512, 1024)},  # adds churn / steps, but no more than so much
    "sa_solver 2 0.5": {"steps": (256, 512)},  # two parts of its error cancel before
    **{name: {"holds_belief": False} for name in BUILDS if "trig" in name},
    **{name: {"any_grid": False} for name in ("ipndm", "pndm", "plms")},
}
for _name, _solver in SOLVERS.items():
    if _solver.own_order:
        TOLD.setdefault(_name, {}).update(looks_back=_solver.looks_back, own_order=_solver.own_order)
