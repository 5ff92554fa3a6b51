"""First-order solvers: the denoiser's belief D is held constant over the step.

    x_s = (sigma_s / sigma_t) k x_t + alpha_s (1 - r k) D_t + (noise),        r = (alpha_t sigma_s) / (alpha_s sigma_t)

k = 1 is the ODE (DDIM), k = r the whole posterior q(x_s | x_t, x_0 = D) of DDPM.  r is 0 from pure noise and to data, so
all of it is finite at both ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..levels import Level
from ..tableau import Draft, Tableau, check_cleaner, ratio, z

__all__ = ["ddim", "ddpm"]


def ddim(levels: Sequence[Level], *, eta: float = 0.0) -> Tableau:
    """DDIM (Song et al. 2010.02502, eq. 12), also known as Euler in sigma or on a straight flow: there it is the same.

    eta: in [0, 1].  0 is deterministic; each step draws ``eta`` times the noise that DDPM would draw (eq. 16), so 1 is DDPM
    with the small variance.  In sigma this is k-diffusion's Euler ancestral, with the same eta.
    """
    if not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta must be in [0, 1] (0 draws no noise, 1 is DDPM), but got {eta}")
    draft = Draft(levels)
    for step, p, s in draft.steps():
        r = ratio(p.level, s)
        fresh = eta * _fresh(r, p.level, s) if eta else 0.0  # the share of new noise, as a standard deviation
        k = math.sqrt((1.0 - eta) * (1.0 + eta) + (eta * r) ** 2)  # sqrt(1 - fresh^2), without its cancellation
        draft.add(s, (s.sigma / p.level.sigma * k) * p.x + (s.alpha * (1.0 - r * k)) * p.D + (s.sigma * fresh) * z(step))
    return draft.finish()


def ddpm(levels: Sequence[Level], *, variance: str | float = "small") -> Tableau:
    """DDPM's ancestral sampling (Ho et al. 2006.11239, algorithm 2): mean (sigma_s/sigma_t) r x + alpha_s (1 - r^2) D.

    variance: "small" is the posterior's for known x_0 (beta tilde, eq. 7), "large" is beta, and a number f from 0 to 1
    lies between them, small^(1-f) large^f (Nichol & Dhariwal 2102.09672, eq. 15).  beta is that of the variance
    preserving frame whatever the path, so pictures do not depend on the frame.  A step to data draws no noise.
    """
    large = {"small": 0.0, "large": 1.0}.get(variance) if isinstance(variance, str) else float(variance)
    if large is None or not 0.0 <= large <= 1.0:
        raise ValueError(f'variance must be "small", "large" or a number from 0 (small) to 1 (large), but got {variance!r}')
    draft = Draft(levels)
    for step, p, s in draft.steps():
        t, r = p.level, ratio(p.level, s)
        x = (s.sigma / t.sigma * r) * p.x + (s.alpha * (1.0 - r * r)) * p.D
        if not s.is_data:
            small = s.sigma * _fresh(r, t, s)
            beta = t.sigma * math.hypot(s.alpha, s.sigma) / math.hypot(t.alpha, t.sigma) * _fresh(r, t, s)
            x += (small ** (1.0 - large) * beta**large) * z(step)
        draft.add(s, x)
    return draft.finish()


def _fresh(r: float, t: Level, s: Level) -> float:
    """``sqrt(1 - r^2)``: of the noise at s, the part that a full ancestral step draws anew."""
    check_cleaner(t, s)
    return math.sqrt((1.0 - r) * (1.0 + r))
