"""The breakages that ``make mutants`` applies, one at a time: what is changed where, and which tests must notice.

Each is a mistake that a person makes and a look at shapes does not find: a sign, a factor, a neighbour's index, a swapped
pair, a dropped term.  ``old`` must stand in the file exactly once.  A file for each part of the package.
"""

from __future__ import annotations

from . import (
    asking,
    board,
    data,
    denoising,
    editing,
    guidance,
    limit,
    nn,
    process,
    results,
    sampling,
    solvers,
    training,
    tuning,
)
from .breakage import Breakage

__all__ = ["BREAKAGES", "Breakage"]

_PARTS = (
    process, denoising, limit, guidance, asking, sampling, solvers, editing, nn, training, tuning, data, board, results,
)  # fmt: skip

BREAKAGES: tuple[Breakage, ...] = tuple(breakage for part in _PARTS for breakage in part.BREAKAGES)
