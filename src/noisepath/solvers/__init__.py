"""Solvers: functions from levels to a tableau, one file per family, and their catalogue.

    frames.py      the variables in which methods interpolate, and what all families share
    guard.py       the guard: on no grid much worse than first order
    ddim.py        first order: DDIM with eta, and DDPM's own ancestral step
    heun.py        two calls a step: predict, then correct with the mean of both slopes
    singlestep.py  calls inside the step: midpoint, Runge-Kutta, DPM-Solver, DPM-Solver++(2S, 3S), RES
    multistep.py   one call a step, looking back: DPM-Solver++(2M), exponential Adams
    adams.py       the same of any order in any frame: LMS, DEIS, iPNDM, PNDM; Adams and Moulton's correctors
    correctors.py  UniPC, SA-Solver
    sde.py         with fresh noise: ancestral steps, DPM-Solver++ SDE, SEEDS, ER-SDE
    churn.py       back to more noise on the way: EDM's churn, Restart, Langevin steps
    distilled.py   for models trained for few steps: LCM, TCD, consistency
    catalogue.py   SOLVERS

A solver is ``f(levels, **options) -> Tableau``.  Add one to its family's file (or a new one) and to ``SOLVERS``: the
laws are then tested on it, and every user can name it.
"""

from __future__ import annotations

from .adams import adams, adams_moulton, ipndm, pndm
from .catalogue import SOLVERS, Build, Solver, find, resolve
from .churn import edm, langevin, restart
from .correctors import sa_solver, unipc
from .ddim import ddim, ddpm
from .distilled import consistency, lcm, tcd
from .frames import FRAMES
from .guard import Guard, unguarded
from .heun import heun
from .multistep import dpmpp_2m, exponential_adams
from .sde import dpm2_ancestral, dpmpp_2m_sde, dpmpp_2s_ancestral, dpmpp_3m_sde, dpmpp_sde, er_sde, seeds
from .singlestep import dpm_solver, dpmpp_2s, dpmpp_3s, kdpm2, midpoint, res, rk4

__all__ = [
    "FRAMES", "SOLVERS", "Build", "Guard", "Solver", "adams", "adams_moulton", "consistency", "ddim", "ddpm", "dpm2_ancestral",
    "dpm_solver", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s", "dpmpp_2s_ancestral", "dpmpp_3m_sde", "dpmpp_3s", "dpmpp_sde",
    "edm", "er_sde", "exponential_adams", "find", "heun", "ipndm", "kdpm2", "langevin", "lcm", "midpoint", "pndm", "res",
    "resolve", "restart", "rk4", "sa_solver", "seeds", "tcd", "unguarded", "unipc",
]  # fmt: skip
