"""Two calls a step: a first-order prediction, and its correction with the mean of both slopes."""

from __future__ import annotations

from collections.abc import Sequence

from ..levels import Level
from ..tableau import Draft, Tableau, ratio

__all__ = ["heun"]

# Where the noise frame is left: a step of which both hold, little picture in t (v_t) and little noise left in s (r).
# From the first number to the second the weight goes over to the flow frame, linearly.
_LONG_STEP = (0.1, 0.05)
_MUCH_NOISE = (0.9, 0.95)


def heun(levels: Sequence[Level], *, frame: str = "noise") -> Tableau:
    """Heun's method (Karras et al. 2206.00364, algorithm 1, without churn); second order, 2 calls a step.

    The trapezoidal rule for dx/du, in coordinates where DDIM is Euler's rule.  With D' the belief at the predicted state,

        x_s = (predicted) + c (D' - D)
        frame "noise",  u = sigma / alpha:                  c = alpha_s / 2 (1 / r - 1)
        frame "flow",   u = v = sigma / (alpha + sigma):    c = (alpha_s + sigma_s) / 2 (v_t / v_s - 1)

    The noise frame is EDM's, the flow frame is Heun on a rectified flow.  The noise frame is not continuous at pure
    noise (c grows like 1 / alpha_t), so for very long steps from much noise (r below 0.1 and v_t above 0.9) c passes into
    the flow frame's, reached at r = 0.05 and v_t = 0.95: c is finite and continuous everywhere, and EDM's on every usual
    grid.  The last step, to data, is of first order (one call).
    """
    if frame not in ("noise", "flow"):
        raise ValueError(f'the frame of Heun\'s method is "noise" or "flow", but got {frame!r}')
    draft = Draft(levels)
    for _, p, s in draft.steps():
        t, r = p.level, ratio(p.level, s)
        predicted = draft.add(s, (s.sigma / t.sigma) * p.x + (s.alpha * (1.0 - r)) * p.D)
        if s.is_data:
            continue
        v_t, v_s = t.sigma / (t.alpha + t.sigma), s.sigma / (s.alpha + s.sigma)
        flow = (s.alpha + s.sigma) / 2.0 * (v_t / v_s - 1.0)
        share = 1.0 if frame == "flow" else _ramp(r, *_LONG_STEP) * _ramp(v_t, *_MUCH_NOISE)
        c = flow if share == 1.0 else share * flow + (1.0 - share) * s.alpha / 2.0 * (1.0 / r - 1.0)
        draft.add(s, predicted.x + c * (predicted.D - p.D))
    return draft.finish()


def _ramp(value: float, zero: float, one: float) -> float:
    """0 on the one side of ``zero``, 1 beyond ``one``, linear between."""
    return min(max((value - zero) / (one - zero), 0.0), 1.0)
