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

from ..errors import unknown
from ..levels import Level
from ..tableau import Tableau
from .ddim import ddim, ddpm
from .heun import heun
from .multistep import dpmpp_2m, exponential_adams

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
