"""Methods that look inside a step: some calls a step, no memory of earlier ones.

A step from pure noise or to data has no inside in log-SNR: it is DDIM's, of one call.  Methods in the noise frame leave it on
very long steps from much noise (:func:`noisepath.solvers.frames.leaves_noise`), so that all of them are continuous at both
ends.  h is the step in l = log(alpha / sigma), u a level inside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..levels import Level
from ..tableau import Draft, Lin, Point, Tableau, ratio
from .frames import Frame, between, first_order, frame_of, leaves_noise, mild
from .guard import Guard

__all__ = ["dpm_solver", "dpmpp_2s", "dpmpp_3s", "kdpm2", "midpoint", "res", "rk4", "runge_kutta_slopes"]


def midpoint(levels: Sequence[Level], *, frame: str = "flow", data_scale: float = 1.0, guard: bool = True) -> Tableau:
    """The explicit midpoint rule in the frame "noise", "flow" or "trig": the slope at half the step; 2 calls a step.

    The step to data is of first order: half way there a network may be asked for finer detail than it was ever shown.
    """
    draft = Draft(levels)
    careful = Guard(draft, guard, None if frame == "noise" else data_scale)
    for _, p, s in draft.steps():
        f = _frame_for(frame, data_scale, p.level, s)
        if f is None or s.is_data:
            draft.add(s, first_order(p, s))
            continue
        u = f.level((f.place(p.level) + f.place(s)) / 2.0)
        inner = draft.add(u, f.held(p, u, f.slope(p)))
        draft.add(s, careful.step(p, s, [f.first(p, s, f.slope(p)), f.held(p, s, f.slope(inner))]))
    return draft.finish()


def rk4(levels: Sequence[Level], *, frame: str = "flow", data_scale: float = 1.0, guard: bool = True) -> Tableau:
    """Runge and Kutta's classical method in the frame "noise", "flow" or "trig"; fourth order, 4 calls a step."""
    draft = Draft(levels)
    careful = Guard(draft, guard, None if frame == "noise" else data_scale)
    for _, p, s in draft.steps():
        f = _frame_for(frame, data_scale, p.level, s)
        if f is None or s.is_data:
            draft.add(s, first_order(p, s))
            continue
        slopes = runge_kutta_slopes(draft, f, p, s)
        draft.add(s, careful.step(p, s, [f.first(p, s, f.slope(p)), *(f.held(p, s, slope) for slope in slopes)]))
    return draft.finish()


def runge_kutta_slopes(draft: Draft, f: Frame, p: Point, s: Level) -> tuple[Lin, Lin]:
    """The slope at a step's middle, and its mean slope by the classical method; asks at p, twice at the middle and at s."""
    u = f.level((f.place(p.level) + f.place(s)) / 2.0)
    one = f.slope(p)
    two = draft.keep(u, f.slope(draft.add(u, f.held(p, u, one))))
    three = draft.keep(u, f.slope(draft.add(u, f.held(p, u, two))))
    four = f.slope(draft.add(s, f.held(p, s, three)))
    return two, (one + 2.0 * two + 2.0 * three + four) / 6.0


def kdpm2(levels: Sequence[Level], *, guard: bool = True) -> Tableau:
    """Karras et al. 2206.00364, algorithm 2 without churn, as in k-diffusion's DPM2: the noise at the geometric middle of
    sigma / alpha, held for the whole step; second order, 2 calls a step."""
    draft = Draft(levels)
    careful = Guard(draft, guard)
    for _, p, s in draft.steps():
        if not mild(p.level, s):
            draft.add(s, first_order(p, s))
            continue
        f = Frame("noise", leaves_noise(p.level, s))
        u = between(p.level, s, 0.5)
        inner = draft.add(u, f.held(p, u, f.slope(p)))
        first = first_order(p, s)
        of_belief = first + (s.alpha * (1.0 - ratio(p.level, s))) * (inner.D - p.D)
        draft.add(s, careful.step(p, s, [first, of_belief, f.held(p, s, f.slope(inner))]))
    return draft.finish()


def dpm_solver(levels: Sequence[Level], *, order: int = 2, guard: bool = True) -> Tableau:
    """DPM-Solver-2 and -3 (Lu et al. 2206.00927, algorithms 1 and 2), singlestep in the noise; ``order`` calls a step.

    With e the noise, e_u at r_1 = 1/2 (order 2), at 1/3 and 2/3 (order 3):

        x_s = (DDIM) - sigma_s / (2 r_1) (exp(h) - 1) (e_u - e_t)
        x_s = (DDIM) - sigma_s / r_2 ((exp(h) - 1) / h - 1) (e_u2 - e_t)
    """
    if order not in (2, 3):
        raise ValueError(f"the order of DPM-Solver is 2 or 3 (1 is DDIM), but got {order!r}")
    draft = Draft(levels)
    careful = Guard(draft, guard)
    for _, p, s in draft.steps():
        first = first_order(p, s)
        if not mild(p.level, s):
            draft.add(s, first)
            continue
        t, h = p.level, s.half_log_snr - p.level.half_log_snr
        u = between(t, s, 1.0 / order)
        inner = draft.add(u, first_order(p, u))
        if order == 2:
            changes = _turned(p, inner, s, math.expm1(h), -math.expm1(-h))
            draft.add(s, first + careful.change(p, s, first, changes))
            continue
        w, share = between(t, s, 2.0 / 3.0), 2.0 / 3.0
        changes = _turned(p, inner, w, 2.0 * _grown(share * h), 2.0 * _shrunk(share * h))
        second = draft.add(w, first_order(p, w) + careful.change(p, w, first_order(p, w), changes))
        changes = _turned(p, second, s, _grown(h) / share, _shrunk(h) / share)
        draft.add(s, first + careful.change(p, s, first, changes))
    return draft.finish()


def _grown(h: float) -> float:
    """(exp(h) - 1) / h - 1."""
    return math.expm1(h) / h - 1.0


def _shrunk(h: float) -> float:
    """1 - (1 - exp(-h)) / h, the same for the belief D; 1 for an infinite step."""
    return 1.0 + math.expm1(-h) / h


def _turned(p: Point, inner: Point, s: Level, of_noise: float, of_belief: float) -> list[Lin]:
    """A correction by the change of the belief, and one by that of the noise; that passes into the other where the noise frame
    must be left."""
    share = leaves_noise(p.level, s)
    belief = (s.alpha * of_belief) * (inner.D - p.D)
    change = (-(1.0 - share) * s.sigma * of_noise) * (inner.noise - p.noise) if share < 1.0 else Lin()
    return [belief, change + share * belief if share else change]


def dpmpp_2s(levels: Sequence[Level], *, middle: float = 0.5) -> Tableau:
    """DPM-Solver++(2S) (Lu et al. 2211.01095, algorithm 1); second order, 2 calls a step.

        x_s = (sigma_s / sigma_t) x_t + alpha_s (1 - r) ((1 - 1/(2 m)) D_t + 1/(2 m) D_u),        u at the share m of h

    middle: m, above 0 and at most 1.
    """
    _check_share("middle", middle)
    draft = Draft(levels)
    for _, p, s in draft.steps():
        if not mild(p.level, s):
            draft.add(s, first_order(p, s))
            continue
        u = s if middle == 1.0 else between(p.level, s, middle)
        inner = draft.add(u, first_order(p, u))
        draft.add(s, first_order(p, s) + (s.alpha * (1.0 - ratio(p.level, s)) / (2.0 * middle)) * (inner.D - p.D))
    return draft.finish()


def dpmpp_3s(levels: Sequence[Level]) -> Tableau:
    """DPM-Solver++(3S) (Lu et al. 2211.01095, appendix), inner levels at 1/3 and 2/3; third order, 3 calls a step."""
    draft = Draft(levels)
    for _, p, s in draft.steps():
        if not mild(p.level, s):
            draft.add(s, first_order(p, s))
            continue
        h = s.half_log_snr - p.level.half_log_snr
        u, w = between(p.level, s, 1.0 / 3.0), between(p.level, s, 2.0 / 3.0)
        one = draft.add(u, first_order(p, u))
        two = draft.add(w, first_order(p, w) + (2.0 * w.alpha * _shrunk(2.0 / 3.0 * h)) * (one.D - p.D))
        draft.add(s, first_order(p, s) + (1.5 * s.alpha * _shrunk(h)) * (two.D - p.D))
    return draft.finish()


def res(levels: Sequence[Level], *, order: int = 2) -> Tableau:
    """RES (Zhang et al. 2308.02157): exponential Runge-Kutta of Hochbruck & Ostermann, whose weights hold for stiff problems.

    Order 2, with the inner level at half the step, integrates the line through both beliefs exactly (eq. 2.39 of their
    survey, Acta Numerica 2010); order 3 has inner levels at 1/2 and 1 (Hochbruck & Ostermann 2005, eq. 5.8).
    """
    if order not in (2, 3):
        raise ValueError(f"the order of RES is 2 or 3, but got {order!r}")
    draft = Draft(levels)
    for _, p, s in draft.steps():
        if s.is_data or (p.level.is_noise and order == 2):
            draft.add(s, first_order(p, s))
            continue
        t, h = p.level, s.half_log_snr - p.level.half_log_snr
        whole = _shrunk(h)
        # from pure noise the middle is noise too, and what is believed there is believed here
        one = p if t.is_noise else draft.add(between(t, s, 0.5), first_order(p, between(t, s, 0.5)))
        if order == 2:
            draft.add(s, first_order(p, s) + (2.0 * s.alpha * whole) * (one.D - p.D))
            continue
        # c2 = 1/2, c3 = 1, gamma = (3 c3^2 - 2 c3) / (c2 (2 - 3 c2)) = 4
        two = draft.add(s, first_order(p, s) + (s.alpha * (4.0 * _shrunk(h / 2.0) + 2.0 * whole)) * (one.D - p.D))
        draft.add(s, first_order(p, s) + (s.alpha * whole / 3.0) * (4.0 * (one.D - p.D) + (two.D - p.D)))
    return draft.finish()


def _frame_for(name: str, data_scale: float, t: Level, s: Level) -> Frame | None:
    """The frame of a step, bent where it must be; None where it has none."""
    if name not in ("noise", "flow", "trig"):
        raise ValueError(f'these methods run in the frames "noise", "flow" and "trig", but got {name!r}')
    f = frame_of(name, data_scale)
    if name == "noise":
        f = Frame("noise", leaves_noise(t, s))
    return f if f.fits(t) else None


def _check_share(name: str, share: float) -> None:
    if not 0.0 < share <= 1.0:
        raise ValueError(f"{name} is a share of the step, above 0 and at most 1, but got {share}")
