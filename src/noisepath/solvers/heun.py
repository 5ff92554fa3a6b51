"""Two calls a step: a first-order prediction, and its correction with the mean of both slopes."""

from __future__ import annotations

from collections.abc import Sequence

from ..levels import Level
from ..tableau import Draft, Point, Tableau
from .frames import Frame, first_order, leaves_noise
from .guard import Guard

__all__ = ["heun", "heun_step"]


def heun(levels: Sequence[Level], *, frame: str = "noise", guard: bool = True) -> Tableau:
    """Heun's method (Karras et al. 2206.00364, algorithm 1, without churn); second order, 2 calls a step.

    The trapezoidal rule for dx/du, in coordinates where DDIM is Euler's rule.  With D' the belief at the predicted state,

        x_s = (predicted) + c (D' - D)
        frame "noise",  u = sigma / alpha:                  c = alpha_s / 2 (1 / r - 1)
        frame "flow",   u = v = sigma / (alpha + sigma):    c = (alpha_s + sigma_s) / 2 (v_t / v_s - 1)

    The noise frame is EDM's, the flow frame is Heun on a rectified flow.  The noise frame is not continuous at pure noise (c
    grows like 1 / alpha_t): on very long steps from much noise it passes into the other
    (:func:`noisepath.solvers.frames.leaves_noise`), and is EDM's on every usual grid.  The last step, to data, is of first
    order (one call).
    """
    if frame not in ("noise", "flow"):
        raise ValueError(f'the frame of Heun\'s method is "noise" or "flow", but got {frame!r}')
    draft = Draft(levels)
    careful = Guard(draft, guard)
    for _, p, s in draft.steps():
        heun_step(careful, p, s, frame)
    return draft.finish()


def heun_step(careful: Guard, p: Point, s: Level, frame: str = "noise") -> None:
    """One step from p, which need not be the newest point, to s."""
    draft = careful.draft
    predicted = draft.add(s, first_order(p, s))
    if s.is_data:
        return
    frames = [Frame("flow", 1.0)]
    if frame == "noise":
        frames.append(Frame("noise", leaves_noise(p.level, s)))
    c = [f.scale(s) / 2.0 * (f.place(p.level) / f.place(s) - 1.0) for f in frames]
    draft.add(s, predicted.x + careful.change(p, s, predicted.x, [c_f * (predicted.D - p.D) for c_f in c]))
