"""Solvers of the reverse SDE: each step draws fresh noise, and takes as much more away.

``eta`` scales the noise: 0 is the ODE.  In "ancestral" methods a step goes with the ODE to a cleaner level than s (down) and
has noise added up to s: with r = (alpha_t sigma_s) / (alpha_s sigma_t), the share eta sqrt(1 - r^2) of the noise at s is
fresh, and down is where the rest of it is all there is.  The others follow an SDE whose noise grows with eta, and a state at
s keeps exp(-eta h) of what x holds.  A step to data draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

from ..levels import Level
from ..tableau import Draft, Lin, Point, Tableau, check_cleaner, ratio, weights, z
from .frames import between, first_order, leaves_noise, mild
from .guard import Guard

__all__ = ["dpm2_ancestral", "dpmpp_2m_sde", "dpmpp_2s_ancestral", "dpmpp_3m_sde", "dpmpp_sde", "er_sde", "seeds"]


def dpm2_ancestral(levels: Sequence[Level], *, eta: float = 1.0, guard: bool = True) -> Tableau:
    """k-diffusion's DPM2 ancestral: the midpoint rule of Karras et al. 2206.00364 in the noise down to the lower level (middle
    at the geometric mean of sigma / alpha), then fresh noise; 2 calls a step."""

    def changes(p: Point, inner: Point, down: Level) -> list[Lin]:
        left = leaves_noise(p.level, down)
        of_belief = (down.alpha * (1.0 - ratio(p.level, down))) * (inner.D - p.D)
        if left == 1.0:
            return [of_belief]
        part = (1.0 - left) * down.alpha * (p.level.noise_ratio - down.noise_ratio)
        return [of_belief, left * of_belief - part * (inner.noise - p.noise)]

    return _ancestral(levels, eta, changes, guard)


def dpmpp_2s_ancestral(levels: Sequence[Level], *, eta: float = 1.0) -> Tableau:
    """k-diffusion's DPM-Solver++(2S) ancestral: 2S (Lu et al. 2211.01095, algorithm 1) to the lower level, then fresh noise; 2
    calls a step."""

    def changes(p: Point, inner: Point, down: Level) -> list[Lin]:
        return [(down.alpha * (1.0 - ratio(p.level, down))) * (inner.D - p.D)]

    return _ancestral(levels, eta, changes, guard=False)  # the belief alone is never much worse than first order


def _ancestral(
    levels: Sequence[Level], eta: float, changes: Callable[[Point, Point, Level], list[Lin]], guard: bool
) -> Tableau:
    """DDIM down to the lower level, changed by what a call at the middle says: the last of ``changes(p, inner, down)``, or as
    much of them as the guard lets by; then fresh noise."""
    check_eta(eta, 1.0)
    draft = Draft(levels)
    careful = Guard(draft, guard)
    for step, p, s in draft.steps():
        down, fresh = lower(p.level, s, eta)
        state, u = first_order(p, down), _middle(p.level, s, eta)
        if u is not None:
            state += careful.change(p, down, state, changes(p, draft.add(u, first_order(p, u)), down))
        draft.add(s, state + (s.sigma * fresh) * z(step))
    return draft.finish()


def _middle(t: Level, s: Level, eta: float) -> Level | None:
    """The level half way in log-SNR from t to the lower level, which for eta = 1 is s; None at an end."""
    if s.is_data or (t.is_noise and eta < 1.0):
        return None
    if eta == 1.0:
        return s
    lowest = s.noise_ratio * math.hypot(math.sqrt((1.0 - eta) * (1.0 + eta)) * t.noise_ratio, eta * s.noise_ratio)
    return Level.from_log_snr(-math.log(lowest))


def dpmpp_sde(levels: Sequence[Level], *, eta: float = 1.0, middle: float = 0.5, correlated: bool = True) -> Tableau:
    """k-diffusion's DPM-Solver++ SDE: two ancestral steps of first order, to the middle and with the belief from there to s; 2
    calls a step.

    middle: where in the step's log-SNR.  correlated: both draws are increments of one Brownian motion in sigma / alpha, as in
    k-diffusion; drawn independently the weak order is 1.
    """
    check_eta(eta, 1.0)
    if not 0.0 < middle < 1.0:
        raise ValueError(f"middle is a share of the step, above 0 and below 1, but got {middle}")
    draft = Draft(levels)
    for step, p, s in draft.steps():
        down, fresh = lower(p.level, s, eta)
        if not mild(p.level, s):
            draft.add(s, first_order(p, down) + (s.sigma * fresh) * z(step))
            continue
        u = between(p.level, s, middle)
        inner_down, inner_fresh = lower(p.level, u, eta)
        inner = draft.add(u, first_order(p, inner_down) + (u.sigma * inner_fresh) * z(step))
        ratios = [level.noise_ratio for level in (p.level, u, s)]
        same = math.sqrt((ratios[0] - ratios[1]) / (ratios[0] - ratios[2])) if correlated else 0.0
        drawn = same * z(step) + math.sqrt((1.0 - same) * (1.0 + same)) * z(step, 1)
        change = (down.alpha * (1.0 - ratio(p.level, down)) / (2.0 * middle)) * (inner.D - p.D)
        draft.add(s, first_order(p, down) + change + (s.sigma * fresh) * drawn)
    return draft.finish()


def dpmpp_2m_sde(levels: Sequence[Level], *, eta: float = 1.0, variant: str = "midpoint", guard: bool = True) -> Tableau:
    """k-diffusion's DPM-Solver++(2M) SDE, 1 call a step.

    variant: "midpoint" gives the slope of D the weight (1 - exp(-(1 + eta) h)) / 2, "heun" the exact one.
    """
    if variant not in ("midpoint", "heun"):
        raise ValueError(f'variant is "midpoint" or "heun", but got {variant!r}')
    q = 1.0 + check_eta(eta)

    def belief(p: Point, s: Level, before: Sequence[Point]) -> Lin:
        if variant == "heun" or not before or s.is_data or before[0].level.is_noise:
            return _polynomial([p, *before[:1]], p.level, s, q)
        h, gap = (s.half_log_snr - p.level.half_log_snr, p.level.half_log_snr - before[0].level.half_log_snr)
        whole = -math.expm1(-q * h)
        return whole * p.D + (0.5 * whole * h / gap) * (p.D - before[0].D)

    return _multistep(levels, eta, belief, guard)


def dpmpp_3m_sde(levels: Sequence[Level], *, eta: float = 1.0, published: bool = False, guard: bool = True) -> Tableau:
    """DPM-Solver++(3M) SDE, 1 call a step: the exact integral of the parabola through the last three beliefs.

    published: k-diffusion's formula, whose second difference lacks a factor 2 (it is half the second derivative), for
        comparison: it is of second order.
    """
    q = 1.0 + check_eta(eta)

    def belief(p: Point, s: Level, before: Sequence[Point]) -> Lin:
        known = [p, *before[:2]]
        exact = _polynomial(known, p.level, s, q)
        if not published or len(known) < 3 or s.is_data or known[2].level.is_noise:
            return exact
        at = [point.level.half_log_snr for point in known]
        h = s.half_log_snr - at[0]
        newer, older = (known[0].D - known[1].D) / (at[0] - at[1]), (known[1].D - known[2].D) / (at[1] - at[2])
        H = q * h  # phi_3 times the second difference, h^2 (newer - older) / (at[0] - at[2])
        phi_3 = (math.expm1(-H) / H + 1.0) / H - 0.5
        return exact + (phi_3 * h * h / (at[0] - at[2])) * (newer - older)

    return _multistep(levels, eta, belief, guard)


def _multistep(
    levels: Sequence[Level], eta: float, belief: Callable[[Point, Level, Sequence[Point]], Lin], guard: bool
) -> Tableau:
    """x_s = (sigma_s / sigma_t) exp(-eta h) x_t + alpha_s (weighted beliefs) + sigma_s sqrt(1 - exp(-2 eta h)) z."""
    draft = Draft(levels)
    careful = Guard(draft, guard)
    before: list[Point] = []
    for step, p, s in draft.steps():
        if eta > 0.0:
            check_cleaner(p.level, s)
        kept = ratio(p.level, s) ** eta
        carried = (s.sigma / p.level.sigma * kept) * p.x
        drawn = (s.sigma * math.sqrt((1.0 - kept) * (1.0 + kept))) * z(step)
        orders = [carried + s.alpha * belief(p, s, before[: k - 1]) + drawn for k in careful.orders(1 + len(before))]
        draft.add(s, careful.step(p, s, orders, eta))
        before = [p, *before][:2]
    return draft.finish()


def _polynomial(known: Sequence[Point], t: Level, s: Level, q: float) -> Lin:
    w = weights([point.level.half_log_snr for point in known], t.half_log_snr, s.half_log_snr, q)
    return sum((weight * point.D for weight, point in zip(w, known, strict=True)), Lin())


def seeds(levels: Sequence[Level], *, order: int = 2, eta: float = 1.0, middle: float = 0.5) -> Tableau:
    """SEEDS-2 and -3 (Gonzalez et al. 2305.14267, algorithms 2 and 3): exponential Runge-Kutta for the SDE; ``order`` calls a
    step, whose draws are increments of one Brownian motion in the SDE's own clock.

    middle: of SEEDS-2, as a share of the step in log-SNR; SEEDS-3 has its inner levels at 1/3 and 2/3.
    """
    if order not in (2, 3):
        raise ValueError(f"SEEDS is of order 2 or 3, but got {order!r}")
    if not 0.0 < middle < 1.0:
        raise ValueError(f"middle is a share of the step, above 0 and below 1, but got {middle}")
    q = 1.0 + check_eta(eta)
    draft = Draft(levels)
    for step, p, s in draft.steps():
        t = p.level
        if not mild(t, s):
            draft.add(s, _held(p, s, eta, p.D) + _fresh_noise(t, s, eta) * z(step, order - 1))
            continue
        shares = [middle, 1.0] if order == 2 else [1.0 / 3.0, 2.0 / 3.0, 1.0]
        noise, last, inner = Lin(), t, p
        for stage, share in enumerate(shares):
            level = s if share == 1.0 else between(t, s, share)
            H = q * (level.half_log_snr - t.half_log_snr)
            moved = level.sigma / last.sigma * ratio(last, level) ** eta
            noise = moved * noise + _fresh_noise(last, level, eta) * z(step, stage)
            state = _held(p, level, eta, p.D)
            if stage:  # the slope of D from t to the last inner level, integrated exactly
                state += (level.alpha * (1.0 + math.expm1(-H) / H) * share / shares[stage - 1]) * (inner.D - p.D)
            inner, last = draft.add(level, state + noise), level
    return draft.finish()


def _held(p: Point, s: Level, eta: float, D: Lin) -> Lin:
    """The SDE's step with this belief all the way, but for its noise."""
    r = ratio(p.level, s)
    kept: float = r**eta
    return (s.sigma / p.level.sigma * kept) * p.x + (s.alpha * (1.0 - r * kept)) * D


def _fresh_noise(t: Level, s: Level, eta: float) -> float:
    if eta > 0.0:
        check_cleaner(t, s)
    kept = ratio(t, s) ** eta
    return s.sigma * math.sqrt((1.0 - kept) * (1.0 + kept))


def er_sde(
    levels: Sequence[Level], *, order: int = 3, noise_scale: Callable[[float], float] | None = None, guard: bool = True
) -> Tableau:
    """ER-SDE-Solver (Cui et al. 2309.06169, algorithms 1 to 3): an SDE whose noise follows a function of sigma / alpha, and a
    polynomial through the last ``order`` beliefs in it; 1 call a step.

    With l = sigma / alpha and the noise's scale phi(l), for D held constant:

        x_s / alpha_s = (phi_s / phi_t) x_t / alpha_t + (1 - phi_s / phi_t) D + sqrt(l_s^2 - l_t^2 (phi_s / phi_t)^2) z

    order: 1 to 3 (the paper's third stage leaves the first difference as it is; here it is the parabola).
    noise_scale: phi, by default l (exp(l^0.3) + 10) (the paper's SDE 5); phi(l) = l is the ODE and l^2 the reverse SDE.
    """
    if order not in (1, 2, 3):
        raise ValueError(f"the order of ER-SDE is 1, 2 or 3, but got {order!r}")
    phi = noise_scale or (lambda ratio: ratio * (math.exp(ratio**0.3) + 10.0))
    draft = Draft(levels)
    careful = Guard(draft, guard)
    known: list[Point] = []
    for step, p, s in draft.steps():
        known = [p, *known][:order]
        if s.is_data:
            draft.add(s, s.alpha * p.D)
            continue
        start, end = _reach(p.level), _reach(s)
        carried = start / phi(start) * phi(end)  # what x keeps of its sigma / alpha
        if carried > end * (1.0 + 1e-9):  # phi(l) = l is the ODE, which goes both ways
            check_cleaner(p.level, s)
        noise = math.sqrt(max(end - carried, 0.0) * (end + carried))
        state = (s.alpha / p.level.sigma * carried) * p.x + (s.alpha * noise) * z(step)
        orders = [state + _er_integral(known[:k], start, s, phi) for k in careful.orders(len(known))]
        tau2 = max(math.log(carried / start) / math.log(end / start) - 1.0, 0.0)  # phi as a power of the ratio
        draft.add(s, careful.step(p, s, orders, tau2))
    return draft.finish()


def _reach(level: Level) -> float:
    """sigma / alpha, as far as a noise scale need be asked: beyond it there is nothing but noise."""
    return min(level.noise_ratio, 1e8)


def _er_integral(known: Sequence[Point], start: float, s: Level, phi: Callable[[float], float]) -> Lin:
    """alpha_s phi_s times the integral of phi' / phi^2 and the polynomial D(l) through the beliefs, which is by parts

    alpha_s (D(l_s) - (phi_s / phi_t) D(l_t) + phi_s * integral from l_s to l_t of D'(l) / phi(l) dl).
    """
    end = s.noise_ratio
    kept, length = phi(end) / phi(start), math.log(start / end)
    at = [_reach(point.level) for point in known]
    places = [(end * math.exp(length * node), length * share) for node, share in _gauss()]  # even in the logarithm
    total = Lin()
    for j, point in enumerate(known):
        integral = sum(share * l * _slope(at, j, l) / phi(l) for l, share in places)  # noqa: E741
        total += (s.alpha * (_value(at, j, end) - kept * _value(at, j, start) + phi(end) * integral)) * point.D
    return total


def _value(at: Sequence[float], j: int, place: float) -> float:
    """The j-th Lagrange polynomial."""
    return math.prod((place - other) / (at[j] - other) for i, other in enumerate(at) if i != j)


def _slope(at: Sequence[float], j: int, place: float) -> float:
    """Its derivative."""
    total = 0.0
    for m, skipped in enumerate(at):
        if m != j:
            rest = math.prod((place - o) / (at[j] - o) for i, o in enumerate(at) if i not in (j, m))
            total += rest / (at[j] - skipped)
    return total


@cache
def _gauss() -> list[tuple[float, float]]:
    """Gauss and Legendre's 32 points on [0, 1] and their weights."""
    import numpy as np

    points, shares = np.polynomial.legendre.leggauss(32)
    return [((float(point) + 1.0) / 2.0, float(share) / 2.0) for point, share in zip(points, shares, strict=True)]


def lower(t: Level, s: Level, eta: float) -> tuple[Level, float]:
    """Where an ancestral step goes before noise is added, and the share of the noise at s that is fresh.

    The lower level has the alpha of s and sigma_s sqrt(1 - fresh^2) of noise, fresh = eta sqrt(1 - r^2).
    """
    if eta == 0.0:
        return s, 0.0
    check_cleaner(t, s)
    r = ratio(t, s)
    fresh = eta * math.sqrt((1.0 - r) * (1.0 + r))
    return Level(s.alpha, s.sigma * math.sqrt((1.0 - eta) * (1.0 + eta) + (eta * r) ** 2)), fresh


def check_eta(eta: float, most: float = math.inf) -> float:
    """eta itself, or ValueError."""
    if not (0.0 <= eta <= most and eta < math.inf):
        limit = "0 (no noise) or more" if most == math.inf else f"from 0 (no noise) to {most:g}"
        raise ValueError(f"eta must be a number, {limit}, but got {eta}")
    return eta
