"""Multistep methods of any order in any frame: a polynomial through the last slopes, integrated exactly over the step.

The order falls by itself: the first steps look back at what there is, and a frame that has no value at a level is left for
DDIM's step there.  Methods known under names of their own are here too, where they are something of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..levels import Level
from ..tableau import Draft, Lin, Point, Tableau
from .frames import Frame, first_order, frame_of, leaves_noise
from .guard import Guard
from .singlestep import runge_kutta_slopes

__all__ = ["adams", "adams_moulton", "check_order", "ipndm", "pndm"]


def adams(
    levels: Sequence[Level], *, frame: str = "flow", order: int = 3, data_scale: float = 1.0, guard: bool = True
) -> Tableau:
    """Adams-Bashforth of the given order in a frame of :data:`noisepath.solvers.frames.FRAMES`; 1 call a step.

    "noise" is k-diffusion's LMS and iPNDM's variable form (Zhang & Chen 2204.13902, app. B), "deis" rho-AB DEIS over log
    rho (the same, eq. 15), "flow" the velocity form, "x0" exponential Adams, "trig" the one for N(0, data_scale^2).

    order: 1 to 6.  data_scale: the scale c of "flow" and "trig"; the others have none.
    """
    check_order("adams", order, 6)
    f = frame_of(frame, data_scale)
    draft = Draft(levels)
    careful = Guard(draft, guard, data_scale if f.bend else None)
    places: list[float] = []
    slopes: list[Lin] = []
    for _, p, s in draft.steps():
        if not f.fits(p.level):
            draft.add(s, first_order(p, s))
            continue
        places, slope = [f.place(p.level), *places][:order], f.slope(p)
        known = [slope, *slopes]
        draft.add(s, careful.step(p, s, [f.step(p, s, places[:k], known[:k]) for k in careful.orders(len(places))]))
        slopes = [_kept(draft, f, p, slope), *slopes][: order - 1]
    return draft.finish()


def adams_moulton(
    levels: Sequence[Level],
    *,
    frame: str = "flow",
    order: int = 4,
    data_scale: float = 2.0,
    again: bool = False,
    guard: bool = True,
) -> Tableau:
    """Adams' predictor of the given order, and his corrector of the next one; 1 call a step.

    The corrected state takes the slope at the predicted one into its polynomial.  The denoiser is asked at the predicted
    state (PEC); with ``again`` also at the corrected one, whose slope is the one kept (PECE, 2 calls a step).  In the frame
    "x0" it is UniPC's scheme (Zhao et al. 2302.04867) with exact weights.  The last step is the predictor's.

    order: of the predictor, 1 to 5.
    data_scale: as in :func:`adams`; about 1 for pictures of 8 pixels, 2 for 28, 3 for 32 in colour
        (:func:`noisepath.widths.data_scale`).
    """
    check_order("adams_moulton", order, 5)
    f = frame_of(frame, data_scale)
    draft = Draft(levels)
    careful = Guard(draft, guard, data_scale if f.bend else None)
    places: list[float] = []
    slopes: list[Lin] = []
    for step, p, s in draft.steps():
        if not f.fits(p.level):
            draft.add(s, first_order(p, s))
            continue
        slope = f.slope(p)
        places, known = [f.place(p.level), *places][:order], [slope, *slopes]
        slopes = [_kept(draft, f, p, slope), *slopes][: order - 1]
        first = f.first(p, s, slope)
        lower = [f.change(p, s, places[:k], known[:k]) for k in careful.orders(len(places)) if k > 1]
        made = careful.change(p, s, first, lower)
        predicted = draft.add(s, first + made)
        if step == len(levels) - 2:
            continue
        better = f.change(p, s, [places[0], f.place(s), *places[1:]], [slope, f.slope(predicted), *known[1:]])
        better = careful.change(p, s, first, [made, better])
        left = leaves_noise(p.level, s) if frame in ("noise", "deis") else 0.0  # the corrector goes where it has no limit
        corrected = draft.add(s, predicted.x + (1.0 - left) * (better - made))
        if not again:
            draft.newest = Point(s, corrected.x, predicted.D)
    return draft.finish()


def _kept(draft: Draft, f: Frame, p: Point, slope: Lin) -> Lin:
    """The slope at p for later steps: one tensor, in place of a state and an output."""
    return slope if f.name == "x0" else draft.keep(p.level, slope)


def ipndm(levels: Sequence[Level], *, order: int = 4) -> Tableau:
    """iPNDM (Zhang & Chen 2204.13902, eq. 28): Adams-Bashforth's weights for equal steps, whatever the steps; 1 call a step.

    The noise is held at 3/2 e_0 - 1/2 e_1, 23/12 e_0 - 16/12 e_1 + 5/12 e_2 and so on, and the state moves as in DDIM.  Of
    higher order on grids uniform in sigma / alpha alone; its variable form is :func:`adams` in the frame "noise".
    """
    check_order("ipndm", order, 4)
    draft = Draft(levels)
    kept: list[Lin] = []
    for _, p, s in draft.steps():
        known = [p.noise, *kept]
        draft.add(s, _extrapolated(p, s, known))
        kept = [draft.keep(p.level, p.noise), *kept][: order - 1]
    return draft.finish()


def pndm(levels: Sequence[Level], *, start: str = "runge_kutta", guard: bool = True) -> Tableau:
    """PNDM (Liu et al. 2202.09778, algorithm 2): iPNDM of order 4 after a start of high order; 1 call a step.

    start: "runge_kutta" makes the first three steps with four calls each (eq. 13); "heun" makes the first with two, as
        Stable Diffusion's PLMS does, and goes on with the orders 2 and 3.
    """
    if start not in ("runge_kutta", "heun"):
        raise ValueError(f'PNDM starts with "runge_kutta" or "heun", but got {start!r}')
    draft = Draft(levels)
    careful = Guard(draft, guard)
    kept: list[Lin] = []
    starts = 3 if start == "runge_kutta" else 1
    for _, p, s in draft.steps():
        f = Frame("noise", leaves_noise(p.level, s))
        if len(kept) >= starts or s.is_data:
            made = _extrapolated(p, s, [p.noise, *kept])
        elif start == "runge_kutta":
            made = f.held(p, s, runge_kutta_slopes(draft, f, p, s)[1])
        else:
            predicted = draft.add(s, first_order(p, s))
            made = f.held(p, s, 0.5 * (f.slope(p) + f.slope(predicted)))
        draft.add(s, careful.step(p, s, [first_order(p, s), made]))
        kept = [draft.keep(p.level, p.noise), *kept][:3]
    return draft.finish()


_EQUAL = ((1.0,), (1.5, -0.5), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def _extrapolated(p: Point, s: Level, noises: list[Lin]) -> Lin:
    """The state at s with the noise of Adams-Bashforth for equal steps, held all the way; the first of them is p's.

    As DDIM's step and what it differs from that, so that nothing large cancels where alpha is small.
    """
    gain = s.sigma - s.alpha / p.level.alpha * p.level.sigma if len(noises) > 1 else 0.0
    changes = (c * (noise - noises[0]) for c, noise in zip(_EQUAL[len(noises) - 1][1:], noises[1:], strict=True))
    return first_order(p, s) + gain * sum(changes, Lin())


def check_order(name: str, order: int, most: int) -> None:
    if isinstance(order, bool) or not isinstance(order, int) or not 1 <= order <= most:
        raise ValueError(f"the order of {name} is a whole number from 1 to {most}, but got {order!r}")
