"""torchdiffeq's methods of fixed step on a straight flow: each run from a start, and which solver it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from _pair import Pair, Peer, Run, belief, pair, start_at
from noisepath.levels import Level


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


def deterministic() -> Iterator[Pair]:
    yield pair("heun", "torchdiffeq", "heun2", in_flow_time("heun2"), frame="flow")
    yield pair("midpoint", "torchdiffeq", "midpoint", in_flow_time("midpoint"))
    yield pair("rk4", "torchdiffeq", "rk4_step_func", in_flow_time("rk4"))
