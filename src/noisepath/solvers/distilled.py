"""Samplers of models trained for few steps, whose output is a picture at once: guess the picture, make noise of it again.

    x_s = alpha_s D(x_t) + sigma_s z

On other models they are poor: D is the mean of what is possible, not a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..levels import Level
from ..tableau import Draft, Tableau, z
from .frames import first_order

__all__ = ["consistency", "lcm", "tcd"]


def lcm(levels: Sequence[Level]) -> Tableau:
    """Multistep sampling of latent consistency models (Luo et al. 2310.04378, algorithm 3); 1 call a step."""
    return tcd(levels, gamma=1.0)


def tcd(levels: Sequence[Level], *, gamma: float = 0.3) -> Tableau:
    """Strategic stochastic sampling of trajectory consistency models (Zheng et al. 2402.19159, algorithm 4); 1 call a step.

    Each step goes with the belief to a cleaner level, (1 - gamma) of the sigma / alpha of s, and is noised up to s: gamma 0 is
    DDIM, 1 is :func:`lcm`.  (The paper takes the share of a table's time; it is of the noise here, so that any path will do.)
    """
    if not 0.0 <= gamma <= 1.0:
        raise ValueError(f"gamma must be in [0, 1] (0 is DDIM, 1 draws all noise anew), but got {gamma}")
    draft = Draft(levels)
    for step, p, s in draft.steps():
        lower = Level(s.alpha, s.sigma * (1.0 - gamma)) if s.alpha > 0.0 else s
        fresh = math.sqrt(gamma * (2.0 - gamma))
        draft.add(s, first_order(p, lower) + (s.sigma * fresh) * z(step))
    return draft.finish()


def consistency(levels: Sequence[Level], *, smallest: float = 0.002) -> Tableau:
    """Multistep sampling of consistency models (Song et al. 2303.01469, algorithm 1); 1 call a step.

    smallest: the noise, as sigma / alpha, that their pictures still hold; less is added:
        x_s = alpha_s (D + sqrt((sigma/alpha)^2 - smallest^2) z).
    """
    if not 0.0 <= smallest < math.inf:
        raise ValueError(f"smallest must be a finite number >= 0, but got {smallest}")
    draft = Draft(levels)
    for step, p, s in draft.steps():
        more = math.sqrt(max(s.sigma**2 - (s.alpha * smallest) ** 2, 0.0))
        draft.add(s, s.alpha * p.D + more * z(step))
    return draft.finish()
