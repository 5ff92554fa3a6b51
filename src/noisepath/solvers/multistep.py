"""One call a step, and a polynomial through earlier outputs: exponential multistep methods.

    x_s = (sigma_s / sigma_t) x_t + sigma_s * integral from l_t to l_s of exp(l) D(l) dl,        l = log(alpha / sigma)

with D(l) interpolated through the last few beliefs.  At both ends the order falls by itself: a belief at pure noise is
infinitely far away and drops out, a step to data takes the last belief alone (by choice: extrapolation has no limit there).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..levels import Level
from ..tableau import Draft, Point, Tableau, check_cleaner, ratio, z
from .frames import first_order, integral
from .guard import Guard

__all__ = ["dpmpp_2m", "exponential_adams"]


def dpmpp_2m(levels: Sequence[Level], *, guard: bool = True) -> Tableau:
    """DPM-Solver++(2M) as published (Lu et al. 2211.01095, algorithm 2); second order, 1 call a step.

        x_s = (sigma_s / sigma_t) x_t + alpha_s (1 - r) ((1 + 1/(2 rho)) D_t - 1/(2 rho) D_before),     rho = h_before / h

    with h = log(1 / r).  Not the exact integral of the interpolated D, which is :func:`exponential_adams` of order 2;
    they differ in third order.  The first step, and the last one to data, are of first order.
    """
    draft = Draft(levels)
    careful = Guard(draft, guard)
    before: Point | None = None
    h_before = 0.0
    for _, p, s in draft.steps():
        r = ratio(p.level, s)
        h = s.half_log_snr - p.level.half_log_snr
        orders = [first_order(p, s)]
        if before is not None and not s.is_data:
            extra = h / (2.0 * h_before)  # 1 / (2 rho), 0 after a start at pure noise
            D = (1.0 + extra) * p.D - extra * before.D
            orders.append((s.sigma / p.level.sigma) * p.x + (s.alpha * (1.0 - r)) * D)
        draft.add(s, careful.step(p, s, orders))
        before, h_before = p, h
    return draft.finish()


def exponential_adams(levels: Sequence[Level], *, order: int = 2, tau: float = 0.0, guard: bool = True) -> Tableau:
    """Exponential Adams-Bashforth in D: the exact integral of the polynomial through the last ``order`` beliefs.

        x_s = (sigma_s / sigma_t) r^(tau^2) x_t + alpha_s sum_j w_j D_j + sigma_s sqrt(1 - r^(2 tau^2)) z

    with ``weights(..., q = 1 + tau^2)`` (:func:`noisepath.tableau.weights`).  order: 1 to 4.  tau: 0 is the ODE, 1 the
    reverse SDE (SA-Solver's predictor, Xue et al. 2309.05019, eq. 11-14; weak order as the interpolation's).  The first steps
    look back at what there is; with that start of first order the whole run is of second order at best.
    """
    if order not in (1, 2, 3, 4):
        raise ValueError(f"the order of exponential Adams is 1, 2, 3 or 4, but got {order!r}")
    if not 0.0 <= tau < math.inf:
        raise ValueError(f"tau must be a finite number, 0 (the ODE) or more, but got {tau}")
    draft = Draft(levels)
    careful = Guard(draft, guard)
    points: list[Point] = []
    for step, p, s in draft.steps():
        points = [p, *points][:order]
        r = ratio(p.level, s)
        if tau > 0.0:
            check_cleaner(p.level, s)
        kept = r ** (tau * tau)
        carried = (s.sigma / p.level.sigma * kept) * p.x + (s.sigma * math.sqrt((1.0 - kept) * (1.0 + kept))) * z(step)
        orders = [carried + integral(points[:k], p.level, s, 1.0 + tau * tau) for k in careful.orders(len(points))]
        draft.add(s, careful.step(p, s, orders, tau * tau))
    return draft.finish()
