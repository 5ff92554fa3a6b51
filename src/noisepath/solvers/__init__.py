"""Solvers: functions from levels to a tableau, one file per family, and their catalogue.

    ddim.py      first order: DDIM with eta, and DDPM's own ancestral step
    heun.py      two calls a step: predict, then correct with the mean of both slopes
    multistep.py one call a step, looking back at earlier outputs: DPM-Solver++(2M), exponential Adams

A solver is ``f(levels, **options) -> Tableau``.  Add one to its family's file (or a new one) and to ``SOLVERS``: the
laws are then tested on it, and every user can name it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ..errors import unknown
from ..levels import Level
from ..tableau import Tableau
from .adams import adams, adams_moulton, ipndm, pndm
from .churn import edm, langevin, restart
from .correctors import sa_solver, unipc
from .ddim import ddim, ddpm
from .distilled import consistency, lcm, tcd
from .heun import heun
from .multistep import dpmpp_2m, exponential_adams
from .sde import dpm2_ancestral, dpmpp_2m_sde, dpmpp_2s_ancestral, dpmpp_3m_sde, dpmpp_sde, er_sde, seeds
from .singlestep import dpm_solver, dpmpp_2s, dpmpp_3s, kdpm2, midpoint, res, rk4

__all__ = ["SOLVERS", "Build", "Solver", "ddim", "ddpm", "dpmpp_2m", "exponential_adams", "heun", "resolve"]

Build = Callable[[Sequence[Level]], Tableau]


@dataclass(frozen=True)
class Solver:
    """A catalogue entry.  ``order`` is the global one of a whole run with the default options: of the state where the
    solver is deterministic, of the distribution (weak order) where it is ``stochastic``."""

    build: Callable[..., Tableau]
    order: int
    stochastic: bool
    summary: str
    source: str
    aliases: tuple[str, ...] = ()


SOLVERS: dict[str, Solver] = {
    "ddim": Solver(
        ddim,
        order=1,
        stochastic=False,
        summary="first order, one call a step; eta > 0 adds noise",
        source="Song et al. 2010.02502, eq. 12",
        aliases=("euler",),
    ),
    "ddpm": Solver(
        ddpm,
        order=1,
        stochastic=True,
        summary="ancestral sampling, one call and one draw a step; for many steps",
        source="Ho et al. 2006.11239, eq. 7 and algorithm 2",
        aliases=("ancestral",),
    ),
    "heun": Solver(
        heun,
        order=2,
        stochastic=False,
        summary="second order, two calls a step",
        source="Karras et al. 2206.00364, algorithm 1",
    ),
    "dpmpp_2m": Solver(
        dpmpp_2m,
        order=2,
        stochastic=False,
        summary="second order, one call a step; a good first choice",
        source="Lu et al. 2211.01095, algorithm 2",
        aliases=("dpmsolver++", "dpmpp"),
    ),
    "exponential_adams": Solver(
        exponential_adams,
        order=2,
        stochastic=False,
        summary="exact exponential multistep of order 1 to 4, one call a step; tau > 0 adds noise",
        source="Hochbruck & Ostermann 2005, eq. 2.2; Xue et al. 2309.05019 (tau)",
        aliases=("res_2m",),
    ),
    "adams": Solver(
        adams,
        order=2,
        stochastic=False,
        summary="Adams-Bashforth of any order in any frame (the velocity's unless told)",
        source="Adams & Bashforth; Zhang & Chen 2204.13902",
        aliases=("vab",),
    ),
    "lms": Solver(
        partial(adams, frame="noise", order=4),
        order=2,
        stochastic=False,
        summary="Adams-Bashforth in the noise over sigma / alpha",
        source="Zhang & Chen 2204.13902, app. B",
        aliases=("ipndm_v",),
    ),
    "deis": Solver(
        partial(adams, frame="deis", order=3),
        order=2,
        stochastic=False,
        summary="exponential multistep in the noise",
        source="Zhang & Chen 2204.13902, eq. 15",
    ),
    "ipndm": Solver(
        ipndm,
        order=1,
        stochastic=False,
        summary="Adams-Bashforth's weights for equal steps, whatever the steps",
        source="Zhang & Chen 2204.13902, eq. 28",
    ),
    "pndm": Solver(
        pndm,
        order=1,
        stochastic=False,
        summary="iPNDM after three Runge-Kutta steps",
        source="Liu et al. 2202.09778, algorithm 2",
    ),
    "plms": Solver(
        partial(pndm, start="heun"),
        order=1,
        stochastic=False,
        summary="iPNDM after one step of Heun's kind, as in Stable Diffusion",
        source="Liu et al. 2202.09778; Rombach et al. 2112.10752",
    ),
    "adams_moulton": Solver(
        adams_moulton,
        order=2,
        stochastic=False,
        summary="Adams' predictor and corrector in any frame, one call a step",
        source="Adams & Moulton; Zhao et al. 2302.04867",
    ),
    "unipc": Solver(
        unipc,
        order=2,
        stochastic=False,
        summary="exponential Adams with a corrector that costs no call",
        source="Zhao et al. 2302.04867, algorithms 1 and 2",
    ),
    "midpoint": Solver(
        midpoint, order=2, stochastic=False, summary="the slope at half the step, two calls", source="Runge 1895"
    ),
    "rk4": Solver(rk4, order=4, stochastic=False, summary="Runge and Kutta's method, four calls", source="Kutta 1901"),
    "kdpm2": Solver(
        kdpm2,
        order=2,
        stochastic=False,
        summary="the noise at the geometric middle of the step, two calls",
        source="Karras et al. 2206.00364, algorithm 2",
        aliases=("dpm_2",),
    ),
    "dpm_solver_2": Solver(
        partial(dpm_solver, order=2),
        order=2,
        stochastic=False,
        summary="singlestep in the noise, two calls",
        source="Lu et al. 2206.00927, algorithm 1",
    ),
    "dpm_solver_3": Solver(
        partial(dpm_solver, order=3),
        order=3,
        stochastic=False,
        summary="singlestep in the noise, three calls",
        source="Lu et al. 2206.00927, algorithm 2",
    ),
    "dpmpp_2s": Solver(
        dpmpp_2s,
        order=2,
        stochastic=False,
        summary="singlestep in the belief, two calls",
        source="Lu et al. 2211.01095, algorithm 1",
    ),
    "dpmpp_3s": Solver(
        dpmpp_3s,
        order=3,
        stochastic=False,
        summary="singlestep in the belief, three calls",
        source="Lu et al. 2211.01095, appendix",
    ),
    "res_2s": Solver(
        partial(res, order=2),
        order=2,
        stochastic=False,
        summary="exponential Runge-Kutta, two calls",
        source="Zhang et al. 2308.02157",
    ),
    "res_3s": Solver(
        partial(res, order=3),
        order=3,
        stochastic=False,
        summary="exponential Runge-Kutta, three calls",
        source="Zhang et al. 2308.02157; Hochbruck & Ostermann 2005, eq. 5.8",
    ),
    "euler_ancestral": Solver(
        partial(ddim, eta=1.0),
        order=1,
        stochastic=True,
        summary="DDIM with all the noise of DDPM's posterior",
        source="Song et al. 2010.02502, eq. 16",
        aliases=("euler_a",),
    ),
    "dpm2_ancestral": Solver(
        dpm2_ancestral, order=1, stochastic=True, summary="kdpm2 with fresh noise, two calls", source="k-diffusion"
    ),
    "dpmpp_2s_ancestral": Solver(
        dpmpp_2s_ancestral, order=1, stochastic=True, summary="dpmpp_2s with fresh noise, two calls", source="k-diffusion"
    ),
    "dpmpp_sde": Solver(
        dpmpp_sde, order=2, stochastic=True, summary="singlestep SDE in the belief, two calls", source="k-diffusion"
    ),
    "dpmpp_2m_sde": Solver(
        dpmpp_2m_sde, order=2, stochastic=True, summary="multistep SDE in the belief, one call", source="k-diffusion"
    ),
    "dpmpp_3m_sde": Solver(
        dpmpp_3m_sde, order=2, stochastic=True, summary="multistep SDE through three beliefs, one call", source="k-diffusion"
    ),
    "sa_solver": Solver(
        sa_solver,
        order=2,
        stochastic=True,
        summary="stochastic Adams with predictor and corrector, one call",
        source="Xue et al. 2309.05019, algorithm 1",
    ),
    "seeds_2": Solver(
        partial(seeds, order=2),
        order=2,
        stochastic=True,
        summary="exponential Runge-Kutta SDE, two calls",
        source="Gonzalez et al. 2305.14267, algorithm 2",
    ),
    "seeds_3": Solver(
        partial(seeds, order=3),
        order=2,
        stochastic=True,
        summary="exponential Runge-Kutta SDE, three calls",
        source="Gonzalez et al. 2305.14267, algorithm 3",
    ),
    "er_sde": Solver(
        er_sde,
        order=1,
        stochastic=True,
        summary="an SDE with noise of a chosen scale, one call",
        source="Cui et al. 2309.06169, algorithms 1 to 3",
    ),
    "edm": Solver(
        edm, order=1, stochastic=True, summary="Heun's method with churn, two calls", source="Karras et al. 2206.00364, alg. 2"
    ),
    "restart": Solver(
        restart,
        order=2,
        stochastic=True,
        summary="Heun's method that goes back once and repeats, two calls",
        source="Xu et al. 2306.14878, algorithm 1",
    ),
    "langevin": Solver(
        langevin,
        order=1,
        stochastic=True,
        summary="DDIM with Langevin steps at each level",
        source="Song et al. 2011.13456, algorithm 1",
    ),
    "lcm": Solver(lcm, order=0, stochastic=True, summary="for latent consistency models", source="Luo et al. 2310.04378, alg. 3"),
    "tcd": Solver(
        tcd, order=0, stochastic=True, summary="for trajectory consistency models", source="Zheng et al. 2402.19159, alg. 4"
    ),
    "consistency": Solver(
        consistency, order=0, stochastic=True, summary="for consistency models", source="Song et al. 2303.01469, algorithm 1"
    ),
}


def resolve(solver: str | Build) -> Build:
    """The function from levels to a tableau that a name, an alias or a callable stands for.

    Options are given with ``functools.partial(ddim, eta=1.0)``.  ValueError for an unknown name, TypeError for anything else.
    """
    if callable(solver):
        return solver
    if not isinstance(solver, str):
        raise TypeError(f"a solver is a name or a function from levels to a tableau, but got {solver!r}")
    for name, entry in SOLVERS.items():
        if solver == name or solver in entry.aliases:
            return entry.build
    raise unknown("solver", solver, [n for name, entry in SOLVERS.items() for n in (name, *entry.aliases)])
