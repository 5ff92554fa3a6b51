"""Which solver of the catalogue is which sampler elsewhere: every pair, gathered from a file for each library.

A pair that must differ says why (docs/peers.md has the proofs), and where a line of a copy of the peer's source can be
repaired, the repaired one is a pair too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import _pairs_azula
import _pairs_diffusers
import _pairs_kdiffusion
import _pairs_torchdiffeq
from _pair import Pair
from noisepath.solvers import SOLVERS

THAT_DRAW = (_pairs_kdiffusion, _pairs_azula, _pairs_diffusers)
LIBRARIES = (*THAT_DRAW, _pairs_torchdiffeq)


def deterministic() -> list[Pair]:
    return _in_order(library.deterministic() for library in LIBRARIES)


def stochastic() -> list[Pair]:
    return _in_order(library.stochastic() for library in THAT_DRAW)


def _in_order(pairs: Iterable[Iterable[Pair]]) -> list[Pair]:
    """All of them as the catalogue goes."""
    place = {name: n for n, name in enumerate(SOLVERS)}
    return sorted(itertools.chain.from_iterable(pairs), key=lambda pair: place[pair.solver])


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
