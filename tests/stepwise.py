"""Samplers written out step by step, as their papers have them, for comparison with the tables: no algebra, no levels.

All are in the coordinates of EDM: states x = x_0 + sigma noise, ``D(x, sigma)`` the belief, ``sigmas`` falling, the last one
maybe 0, ``z(step, stage)`` unit noise.  Integrals are done by numerical quadrature, polynomials by solving for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

Belief = Callable[[Tensor, float], Tensor]
Noise = Callable[[int, int], Tensor]
POINTS, SHARES = np.polynomial.legendre.leggauss(60)


def integral(f: Callable[[float], float], a: float, b: float) -> float:
    return float(sum((b - a) / 2 * w * f((a + b) / 2 + (b - a) / 2 * p) for p, w in zip(POINTS, SHARES, strict=True)))


def lagrange(at: Sequence[float], j: int, u: float) -> float:
    return math.prod((u - other) / (at[j] - other) for i, other in enumerate(at) if i != j)


def euler(D: Belief, x: Tensor, t: float, s: float) -> Tensor:
    return x + (s - t) * (x - D(x, t)) / t


# Runge-Kutta of the three frames: y = x / scale(sigma), u(sigma) and back, dy/du ----------------------------------------

FRAMES: dict[str, tuple[Callable[[float], float], Callable[[float], float], Callable[[float], float]]] = {
    "noise": (lambda s: 1.0, lambda s: s, lambda u: u),
    "flow": (lambda s: 1.0 + s, lambda s: s / (1.0 + s), lambda u: u / (1.0 - u)),
    "trig": (lambda s: math.sqrt(1.0 + s * s), math.atan, math.tan),
}


def slope_of(frame: str, D: Belief) -> Callable[[Tensor, float], Tensor]:
    """dy/du at (y, u), by the chain rule from dx/dsigma = (x - D) / sigma, with numerical derivatives of scale and u."""
    scale, place, back = FRAMES[frame]

    def slope(y: Tensor, u: float) -> Tensor:
        sigma = back(u)
        d = 1e-6 * sigma
        scale_rate = (scale(sigma + d) - scale(sigma - d)) / (2 * d)
        place_rate = (place(sigma + d) - place(sigma - d)) / (2 * d)
        x = scale(sigma) * y
        return ((x - D(x, sigma)) / sigma - scale_rate * y) / (scale(sigma) * place_rate)

    return slope


def midpoint(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, frame: str = "flow") -> Tensor:
    scale, place, _ = FRAMES[frame]
    slope = slope_of(frame, D)
    for t, s in zip(sigmas, sigmas[1:], strict=False):
        if s == 0.0:
            return D(x, t)
        y, u, h = x / scale(t), place(t), place(s) - place(t)
        x = D(x, t) if s == 0 else scale(s) * (y + h * slope(y + h / 2 * slope(y, u), u + h / 2))
    return x


def rk4(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, frame: str = "flow") -> Tensor:
    scale, place, _ = FRAMES[frame]
    slope = slope_of(frame, D)
    for t, s in zip(sigmas, sigmas[1:], strict=False):
        if s == 0.0:
            return D(x, t)
        y, u, h = x / scale(t), place(t), place(s) - place(t)
        a = slope(y, u)
        b = slope(y + h / 2 * a, u + h / 2)
        c = slope(y + h / 2 * b, u + h / 2)
        x = scale(s) * (y + h / 6 * (a + 2 * b + 2 * c + slope(y + h * c, u + h)))
    return x


def adams(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, frame: str = "flow", order: int = 3) -> Tensor:
    scale, place, _ = FRAMES[frame]
    slope = slope_of(frame, D)
    at: list[float] = []
    slopes: list[Tensor] = []
    for t, s in zip(sigmas, sigmas[1:], strict=False):
        at, slopes = [place(t), *at][:order], [slope(x / scale(t), place(t)), *slopes][:order]
        w = [integral(partial(lagrange, at, j), place(t), place(s)) for j in range(len(at))]
        x = scale(s) * (x / scale(t) + sum(a * b for a, b in zip(w, slopes, strict=True)))
    return x


def adams_moulton(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, frame: str = "flow", order: int = 4) -> Tensor:
    scale, place, _ = FRAMES[frame]
    slope = slope_of(frame, D)
    at = [place(sigmas[0])]
    slopes = [slope(x / scale(sigmas[0]), at[0])]
    for n, (t, s) in enumerate(zip(sigmas, sigmas[1:], strict=False)):

        def moved(points: list[float], values: list[Tensor], x: Tensor = x, t: float = t, s: float = s) -> Tensor:
            w = [integral(partial(lagrange, points, j), place(t), place(s)) for j in range(len(points))]
            return scale(s) * (x / scale(t) + sum(a * b for a, b in zip(w, values, strict=True)))

        predicted = moved(at, slopes)
        if n == len(sigmas) - 2:
            return predicted
        points, values = [place(s), *at], [slope(predicted / scale(s), place(s)), *slopes]
        x = moved(points, values)
        # the slope that is kept: the belief at the predicted state, seen from the corrected one
        kept = values[0] + slope_change(frame, s, x, predicted)
        at, slopes = points[:order], [kept, *slopes][:order]
    return x


def slope_change(frame: str, sigma: float, x: Tensor, before: Tensor) -> Tensor:
    """How dy/du changes where x does and D does not."""
    nothing = slope_of(frame, lambda y, s: torch.zeros_like(y))
    scale, place, _ = FRAMES[frame]
    return nothing(x / scale(sigma), place(sigma)) - nothing(before / scale(sigma), place(sigma))


def ipndm(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise) -> Tensor:
    e: list[Tensor] = []
    for t, s in zip(sigmas, sigmas[1:], strict=False):
        e = [(x - D(x, t)) / t, *e]
        if len(e) == 1:
            d = e[0]
        elif len(e) == 2:
            d = (3 * e[0] - e[1]) / 2
        elif len(e) == 3:
            d = (23 * e[0] - 16 * e[1] + 5 * e[2]) / 12
        else:
            d = (55 * e[0] - 59 * e[1] + 37 * e[2] - 9 * e[3]) / 24
        x = x + (s - t) * d
    return x


def pndm(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise) -> Tensor:
    e: list[Tensor] = []
    for t, s in zip(sigmas, sigmas[1:], strict=False):
        one = (x - D(x, t)) / t
        if len(e) < 3 and s > 0:
            m = (t + s) / 2
            y = x + (m - t) * one
            two = (y - D(y, m)) / m
            y = x + (m - t) * two
            three = (y - D(y, m)) / m
            y = x + (s - t) * three
            d = (one + 2 * two + 2 * three + (y - D(y, s)) / s) / 6
        elif len(e) == 0:
            d = one
        elif len(e) == 1:
            d = (3 * one - e[0]) / 2
        elif len(e) == 2:
            d = (23 * one - 16 * e[0] + 5 * e[1]) / 12
        else:
            d = (55 * one - 59 * e[0] + 37 * e[1] - 9 * e[2]) / 24
        e = [one, *e]
        x = x + (s - t) * d
    return x


# Exponential singlestep methods, with u = -log sigma ------------------------------------------------------------------


def phi(k: int, h: float) -> float:
    """phi_k(-h) = integral from 0 to 1 of exp(-(1 - v) h) v^(k-1) / (k-1)! dv."""
    return integral(lambda v: math.exp(-(1 - v) * h) * v ** (k - 1) / math.factorial(k - 1), 0.0, 1.0)


def rk_exponential(D: Belief, x: Tensor, t: float, s: float, c: Sequence[float], a: Sequence[Sequence[float]]) -> Tensor:
    """x_i = exp(-c_i h) x + h sum_j a_ij(h) D_j in x / sigma times sigma: the last row gives the step."""
    h = math.log(t / s)
    beliefs = [D(x, t)]
    state = x
    for share, row in zip([*c, 1.0], a, strict=True):
        sigma = t * math.exp(-share * h)
        state = sigma / t * x + h * sum((w * d for w, d in zip(row, beliefs, strict=True)), torch.zeros_like(x))
        if len(beliefs) <= len(c):
            beliefs.append(D(state, sigma))
    return state


def res(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, order: int = 2) -> Tensor:
    for t, s in zip(sigmas, sigmas[1:], strict=False):
        if s == 0.0:
            return D(x, t)
        h = math.log(t / s)
        half = phi(1, h / 2) / 2
        if order == 2:
            x = rk_exponential(D, x, t, s, [0.5], [[half], [phi(1, h) - 2 * phi(2, h), 2 * phi(2, h)]])
        else:
            a32 = 4 / 2 * phi(2, h / 2) + 2 * phi(2, h)
            b2, b3 = 4 / 3 * phi(2, h), 1 / 3 * phi(2, h)
            rows = [[half], [phi(1, h) - a32, a32], [phi(1, h) - b2 - b3, b2, b3]]
            x = rk_exponential(D, x, t, s, [0.5, 1.0], rows)
    return x


def dpm_solver(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, order: int = 2) -> Tensor:
    """The tables of Lu et al. 2206.00927 in the noise."""

    def e(y: Tensor, sigma: float) -> Tensor:
        return (y - D(y, sigma)) / sigma

    for t, s in zip(sigmas, sigmas[1:], strict=False):
        if s == 0.0:
            return D(x, t)
        h = math.log(t / s)
        if order == 2:
            u = math.sqrt(t * s)
            x = x - s * math.expm1(h) * e(x - u * math.expm1(h / 2) * e(x, t), u)
            continue
        u, w = t * math.exp(-h / 3), t * math.exp(-2 * h / 3)
        first = e(x, t)
        one = e(x - u * math.expm1(h / 3) * first, u) - first
        y = x - w * math.expm1(2 * h / 3) * first - w * 2 * (math.expm1(2 * h / 3) / (2 * h / 3) - 1) * one
        two = e(y, w) - first
        x = x - s * math.expm1(h) * first - s * 1.5 * (math.expm1(h) / h - 1) * two
    return x


def kdpm2(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise) -> Tensor:
    for t, s in zip(sigmas, sigmas[1:], strict=False):
        if s == 0.0:
            return D(x, t)
        m = math.exp((math.log(t) + math.log(s)) / 2)
        y = euler(D, x, t, m)
        x = x + (s - t) * (y - D(y, m)) / m
    return x


def dpmpp_2s(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise) -> Tensor:
    for t, s in zip(sigmas, sigmas[1:], strict=False):
        if s == 0.0:
            return D(x, t)
        m = math.sqrt(t * s)
        x = s / t * x + (1 - s / t) * D(m / t * x + (1 - m / t) * D(x, t), m)
    return x


def dpmpp_3s(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise) -> Tensor:
    for t, s in zip(sigmas, sigmas[1:], strict=False):
        if s == 0.0:
            return D(x, t)
        h = math.log(t / s)
        first = phi(1, h / 3) / 3
        inner = 4 / 9 * 3 * phi(2, 2 * h / 3)  # (c3^2 / c2) phi_2
        last = 1.5 * phi(2, h)
        rows = [[first], [2 / 3 * phi(1, 2 * h / 3) - inner, inner], [phi(1, h) - last, 0.0, last]]
        x = rk_exponential(D, x, t, s, [1 / 3, 2 / 3], rows)
    return x


# SDEs -----------------------------------------------------------------------------------------------------------------


def split(t: float, s: float, eta: float) -> tuple[float, float]:
    """An ancestral step's (down, up), as in k-diffusion."""
    up = min(s, eta * math.sqrt(s**2 * (t**2 - s**2) / t**2))
    return math.sqrt(max(s**2 - up**2, 0.0)), up


def euler_ancestral(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise) -> Tensor:
    for n, (t, s) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        down, up = split(t, s, 1.0)
        x = euler(D, x, t, down) + up * z(n, 0)
    return x


def dpm2_ancestral(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, eta: float = 1.0) -> Tensor:
    for n, (t, s) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        down, up = split(t, s, eta)
        x = kdpm2(D, [t, down], x, z) + up * z(n, 0)
    return x


def dpmpp_2s_ancestral(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, eta: float = 1.0) -> Tensor:
    for n, (t, s) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        down, up = split(t, s, eta)
        x = dpmpp_2s(D, [t, down], x, z) + up * z(n, 0)
    return x


def dpmpp_sde(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, eta: float = 1.0) -> Tensor:
    for n, (t, s) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        if s == 0.0:
            return D(x, t)
        m = math.sqrt(t * s)
        w_m = math.sqrt(t - m) * z(n, 0)  # Brownian motion in sigma, run from t
        w_s = w_m + math.sqrt(m - s) * brownian_rest(t, m, s, z(n, 0), z(n, 1))
        down, up = split(t, m, eta)
        belief = D(down / t * x + (1 - down / t) * D(x, t) + up * w_m / math.sqrt(t - m), m)
        down, up = split(t, s, eta)
        x = down / t * x + (1 - down / t) * belief + up * w_s / math.sqrt(t - s)
    return x


def brownian_rest(t: float, m: float, s: float, first: Tensor, second: Tensor) -> Tensor:
    """The increment from m to s, such that the whole is sqrt(t - s) (c first + sqrt(1 - c^2) second)."""
    c = math.sqrt((t - m) / (t - s))
    return (math.sqrt(t - s) * (c * first + math.sqrt(1 - c * c) * second) - math.sqrt(t - m) * first) / math.sqrt(m - s)


def multistep_sde(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, order: int, half: bool = False) -> Tensor:
    """The SDE with eta = 1: its drift integrated by quadrature over the polynomial through the last beliefs."""
    at: list[float] = []
    beliefs: list[Tensor] = []
    for n, (t, s) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        if s == 0.0:
            return D(x, t)
        now, then = -math.log(t), -math.log(s)
        at, beliefs = [now, *at][:order], [D(x, t), *beliefs][:order]
        if half and len(at) == 2:
            change = 0.5 * (1 - math.exp(-2 * (then - now))) * (then - now) / (at[0] - at[1])
            whole = 1 - math.exp(-2 * (then - now))
            w = [whole + change, -change]
        else:
            w = [integral(partial(decaying, then, at, j), now, then) for j in range(len(at))]
        x = (s / t) ** 2 * x + sum(a * b for a, b in zip(w, beliefs, strict=True))
        x = x + s * math.sqrt(1 - (s / t) ** 2) * z(n, 0)
    return x


def decaying(end: float, at: Sequence[float], j: int, u: float) -> float:
    return 2 * math.exp(-2 * (end - u)) * lagrange(at, j, u)


def seeds(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, order: int = 2) -> Tensor:
    """Exponential Runge-Kutta for the SDE with eta = 1, whose noise is a Brownian motion in sigma^-2."""
    shares = {2: [0.5], 3: [1 / 3, 2 / 3]}[order]
    for n, (t, s) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        if s == 0.0:
            return D(x, t)
        h = math.log(t / s)
        belief, wiener, before = D(x, t), torch.zeros_like(x), t
        last = belief
        for stage, share in enumerate([*shares, 1.0]):
            sigma = t * math.exp(-share * h)
            wiener = wiener + math.sqrt(sigma**-2 - before**-2) * z(n, stage)
            y = (sigma / t) ** 2 * x + (1 - (sigma / t) ** 2) * belief + sigma**2 * wiener
            if stage:
                H = 2 * share * h
                y = y + H * phi(2, H) * share / shares[stage - 1] * (last - belief)
            before, state = sigma, y
            if share < 1.0:
                last = D(y, sigma)
        x = state
    return x


def er_sde(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise) -> Tensor:
    """Cui et al. 2309.06169, with sums of 20,000 rectangles for the integrals."""

    def phi_of(v: float) -> float:
        return v * (math.exp(v**0.3) + 10.0)

    old: list[tuple[float, Tensor]] = []
    for n, (t, s) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        belief = D(x, t)
        if s == 0.0:
            return belief
        r = phi_of(s) / phi_of(t)
        y = r * x + (1 - r) * belief
        grid = np.linspace(s, t, 20001)[:-1] + (t - s) / 40000
        scale = np.array([phi_of(v) for v in grid])
        if old:
            slope = (belief - old[0][1]) / (t - old[0][0])
            y = y + (s - t + phi_of(s) * float((1 / scale).sum()) * (t - s) / 20000) * slope
        if len(old) > 1:
            before = (old[0][1] - old[1][1]) / (old[0][0] - old[1][0])
            bend = (slope - before) / ((t - old[1][0]) / 2)
            # the parabola's slope at t is the last difference and half of bend times that step more
            y = y + (s - t + phi_of(s) * float((1 / scale).sum()) * (t - s) / 20000) * bend * (t - old[0][0]) / 2
            y = y + ((s - t) ** 2 / 2 + phi_of(s) * float(((grid - t) / scale).sum()) * (t - s) / 20000) * bend
        old = [(t, belief), *old][:2]
        x = y + math.sqrt(s**2 - t**2 * r**2) * z(n, 0)
    return x


# Back to more noise, and models for few steps ---------------------------------------------------------------------------


def heun(D: Belief, x: Tensor, t: float, s: float) -> Tensor:
    slope = (x - D(x, t)) / t
    y = x + (s - t) * slope
    return y if s == 0.0 else x + (s - t) * (slope + (y - D(y, s)) / s) / 2


def edm(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, churn: float = 40.0) -> Tensor:
    for n, (t, s) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        gamma = min(churn / (len(sigmas) - 1), math.sqrt(2) - 1) if 0.05 <= t <= 50.0 and n else 0.0
        up = min(t + gamma * t, sigmas[0])
        x = heun(D, x + math.sqrt(up**2 - t**2) * z(n, 0) if gamma else x, up, s)
    return x


def restart(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise) -> Tensor:
    """One repetition between the levels nearest to 2 and 0.1, which must be sigmas[top] and sigmas[bottom]."""
    inside = [s for s in sigmas if s > 0]
    top = min(range(len(inside)), key=lambda n: abs(math.log(inside[n] / 2.0)))
    bottom = min(range(len(inside)), key=lambda n: abs(math.log(inside[n] / 0.1)))
    for n in range(bottom):
        x = heun(D, x, sigmas[n], sigmas[n + 1])
    x = x + math.sqrt(sigmas[top] ** 2 - sigmas[bottom] ** 2) * z(bottom - 1, 0)
    for n in range(top, len(sigmas) - 1):
        x = heun(D, x, sigmas[n], sigmas[n + 1])
    return x


def langevin(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise) -> Tensor:
    for n, (t, s) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        x = euler(D, x, t, s)
        if s > 0.0:
            score = (D(x, s) - x) / s**2
            x = x + 0.05 * s**2 * score + math.sqrt(2 * 0.05) * s * z(n, 0)
    return x


def few_steps(D: Belief, sigmas: Sequence[float], x: Tensor, z: Noise, kind: str) -> Tensor:
    for n, (t, s) in enumerate(zip(sigmas, sigmas[1:], strict=False)):
        picture = D(x, t)
        if kind == "tcd":
            lower = 0.7 * s
            x = picture + lower * (x - picture) / t + math.sqrt(s**2 - lower**2) * z(n, 0)
        else:
            kept = 0.002 if kind == "consistency" else 0.0
            x = picture + math.sqrt(max(s**2 - kept**2, 0.0)) * z(n, 0)
    return x
