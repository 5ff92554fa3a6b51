"""Predictor and corrector over the belief D: the output at the predicted state improves the state, at no further call.

The corrected state is the predicted one plus the sum of (corrector's - predictor's weight) * D: noise that was drawn in the
prediction, and whatever moved the predicted state, is in it by itself.  The belief kept for later steps is that at the
predicted state.  The last step has no corrector: it would cost a call.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..levels import Level
from ..tableau import Draft, Lin, Point, Tableau, check_cleaner, ratio, z
from .adams import check_order
from .frames import first_order, integral, leaves_noise
from .guard import Guard

__all__ = ["sa_solver", "unipc"]


def unipc(
    levels: Sequence[Level], *, order: int = 2, corrector: bool = True, variant: str = "bh2", guard: bool = True
) -> Tableau:
    """UniPC (Zhao et al. 2302.04867, algorithms 1 and 2), 1 call a step: exponential Adams with its corrector of the same
    number of earlier beliefs, and shortcuts of its own at the lowest orders.

    order: 1 to 4.  variant: "bh1", B(h) = h, or "bh2", B(h) = exp(h) - 1 of the paper; they differ only in the weight
    1/2 B(h) that the slope of D gets in the predictor of order 2 and the corrector of order 1.
    """
    check_order("UniPC", order, 4)
    if variant not in ("bh1", "bh2"):
        raise ValueError(f'UniPC\'s variant is "bh1" or "bh2", but got {variant!r}')
    draft = Draft(levels)
    careful = Guard(draft, guard)
    known: list[Point] = []
    for step, p, s in draft.steps():
        known = [p, *known][:order]
        t, r = p.level, ratio(p.level, s)
        h = s.half_log_snr - t.half_log_snr
        left = leaves_noise(t, s) if variant == "bh1" else 1.0  # h has no limit on the longest steps, 1 - exp(-h) has
        half = 0.5 * s.alpha * ((1.0 - r) if left == 1.0 or s.is_data else (1.0 - left) * h + left * (1.0 - r))
        orders = []
        for k in careful.orders(len(known)):
            if k == 2 and not s.is_data and known[1].level.alpha > 0.0:
                before = known[1]
                share = h / (t.half_log_snr - before.level.half_log_snr)
                orders.append(first_order(p, s) + (half * share) * (p.D - before.D))
            else:
                orders.append((s.sigma / t.sigma) * p.x + integral(known[:k], t, s))
        made = careful.step(p, s, orders)
        predicted = draft.add(s, made)
        if not corrector or step == len(levels) - 2:
            continue
        if len(known) == 1:
            better = first_order(p, s) + half * (predicted.D - p.D)
        else:
            better = (s.sigma / t.sigma) * p.x + integral([predicted, *known], t, s)
        better = careful.step(p, s, [first_order(p, s), made, better])
        draft.newest = Point(s, draft.add(s, predicted.x + (better - made)).x, predicted.D)
    return draft.finish()


def sa_solver(
    levels: Sequence[Level],
    *,
    order: int = 3,
    corrector_order: int = 3,
    tau: float = 1.0,
    simple: bool = False,
    guard: bool = True,
) -> Tableau:
    """SA-Solver (Xue et al. 2309.05019, algorithm 1), stochastic Adams with predictor and corrector; 1 call a step.

    order: beliefs in the predictor, 1 to 4.  corrector_order: those in the corrector, the new one among them; 0 for none.
    tau: 0 is the ODE, 1 the reverse SDE.  simple: the shortcut h^2/2 that the published code takes in both at order 2; it grows
    with the step, so it is for comparison.
    """
    check_order("SA-Solver", order, 4)
    if isinstance(corrector_order, bool) or corrector_order not in range(5):
        raise ValueError(f"the corrector's order is a whole number from 0 (none) to 4, but got {corrector_order!r}")
    if not 0.0 <= tau < math.inf:
        raise ValueError(f"tau must be a finite number, 0 (the ODE) or more, but got {tau}")
    draft = Draft(levels)
    careful = Guard(draft, guard)
    known: list[Point] = []
    q = 1.0 + tau * tau
    for step, p, s in draft.steps():
        known = [p, *known][:4]
        if tau > 0.0:
            check_cleaner(p.level, s)
        kept = ratio(p.level, s) ** (tau * tau)
        carried = (s.sigma / p.level.sigma * kept) * p.x + (s.sigma * math.sqrt((1.0 - kept) * (1.0 + kept))) * z(step)
        most = min(len(known), order)
        orders = [carried + _integral(known[:k], p.level, s, q, simple) for k in careful.orders(most)]
        made = careful.step(p, s, orders, tau * tau)
        predicted = draft.add(s, made)
        if not corrector_order or step == len(levels) - 2:
            continue
        looked = [predicted, *known[: max(corrector_order - 1, 0)]]
        better = carried + _integral(looked, p.level, s, q, simple)
        better = careful.step(p, s, [orders[0], made, better], tau * tau)
        draft.newest = Point(s, draft.add(s, predicted.x + (better - made)).x, predicted.D)
    return draft.finish()


def _integral(points: Sequence[Point], t: Level, s: Level, q: float, simple: bool) -> Lin:
    """:func:`~noisepath.solvers.frames.integral`, or with the shortcut of the published code."""
    if simple and len(points) == 2 and t.alpha > 0.0 and not s.is_data:
        now = next(i for i, point in enumerate(points) if point.level == t)  # 0 in the predictor, 1 in the corrector
        h, gap = s.half_log_snr - t.half_log_snr, points[0].level.half_log_snr - points[1].level.half_log_snr
        w = [0.5 * q * h * h / gap, -0.5 * q * h * h / gap]
        w[now] -= math.expm1(-q * h)
        return sum(((s.alpha * weight) * point.D for weight, point in zip(w, points, strict=True)), Lin())
    return integral(points, t, s, q)
