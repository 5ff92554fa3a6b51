"""azula's samplers: each run from a start, and which solver it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import _peers
from _pair import Pair, Peer, Run, Z, belief, pair, ratios, start_at
from _peers import preserving

REAB = {"torch.sqrt(alpha_s**2 + sigma_t**2)": "torch.sqrt(alpha_s**2 + sigma_s**2)"}
TRAPEZES = "its integral is a sum of 256 trapezes"


def azula(sampler: str, repairs: Mapping[str, str] | None = None, **options: Any) -> Peer:
    def peer(steps: int) -> Run:
        levels = preserving(ratios(steps))
        source, draws = _peers.copy_of("azula.sample", repairs), iter(Z[0])
        source.torch.randn_like = lambda x: next(draws)  # type: ignore[attr-defined]
        made = _peers.azula_sampler(source, sampler, levels, belief, **options)(start_at(levels[0]))
        return levels, start_at(levels[0]), made

    return peer


def deterministic() -> Iterator[Pair]:
    yield pair("ddim", "azula", "Euler", azula("EulerSampler"))
    yield pair("ddim", "azula", "DDIM", azula("DDIMSampler"))
    yield pair("heun", "azula", "Heun", azula("HeunSampler"))
    for order in (1, 2, 3, 4):
        yield pair("exponential_adams", "azula", f"xEAB {order}", azula("xEABSampler", order=order), order=order)
    for order in (1, 2, 3, 4):
        yield pair("adams", "azula", f"vAB {order}", azula("vABSampler", order=order), frame="flow", order=order)
    shipped, repaired = (azula("REABSampler", repairs, order=1) for repairs in (None, REAB))
    yield pair("adams", "azula", "REAB 1", shipped, "sigma_t for sigma_s (docs/peers.md, 5)", frame="trig", order=1)
    yield pair("adams", "azula", "the same, repaired", repaired, TRAPEZES, frame="trig", order=1)
    yield pair("lms", "azula", "zAB 4", azula("zABSampler", order=4))
    for order in (2, 3, 4):
        yield pair("deis", "azula", f"zEAB {order}", azula("zEABSampler", order=order), order=order)


def stochastic() -> Iterator[Pair]:
    yield pair("ddpm", "azula", "DDPM", azula("DDPMSampler"), variance="small")
    yield pair("ddim", "azula", "DDIM, eta 0.49", azula("DDIMSampler", eta=0.49), eta=0.7)
    reason = "its eta is a variance (docs/peers.md, conventions)"
    yield pair("ddim", "azula", "DDIM, eta 0.7", azula("DDIMSampler", eta=0.7), reason, eta=0.7)
