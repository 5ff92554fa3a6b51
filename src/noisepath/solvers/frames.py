"""Frames: the variable y = x / scale, and the quantity, in which a method interpolates.

Along the probability flow each of these quantities is the slope of y over a place u, and a method that holds it constant,
or puts a polynomial through it, is Adams' or Runge's and Kutta's in that frame:

    frame   scale                        place u                       slope                     known as
    x0      sigma                        l = log(alpha / sigma)        D, weighted with exp(l)   DPM-Solver++, UniPC, RES
    noise   alpha                        sigma / alpha                 (x - alpha D) / sigma     LMS, iPNDM, Karras' Heun
    flow    alpha + sigma / c            sigma / (alpha + sigma / c)   (x - scale D) / sigma     flow matching's velocity
    trig    sqrt(alpha^2 + sigma^2/c^2)  c atan(sigma / (c alpha))     see below                 TrigFlow
    deis    alpha                        l, weighted with exp(-l)      (x - alpha D) / sigma     DEIS, DPM-Solver

c is a scale of the data, 1 unless said: "noise" is "flow" with c infinite.  With D held constant x0, noise, flow and deis
are all DDIM.  trig, whose slope is (alpha x - scale^2 D) / (sigma scale), is exact for data N(0, c^2) instead.
(trig: Lu & Song 2410.11081.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..levels import Level
from ..tableau import Lin, Point, lagrange, ratio, weights

__all__ = ["FRAMES", "Frame", "between", "first_order", "frame_of", "integral", "leaves_noise", "mild", "ramp"]


@dataclass(frozen=True)
class Frame:
    """One frame: ``name`` of :data:`FRAMES`, and ``bend`` = 1 / c (flow and trig; 0 for the others)."""

    name: str
    bend: float = 0.0

    def scale(self, level: Level) -> float:
        """What x is divided by."""
        if self.name == "x0":
            return level.sigma
        if self.name == "trig":
            return math.hypot(level.alpha, self.bend * level.sigma)
        return level.alpha + self.bend * level.sigma

    def place(self, level: Level) -> float:
        """Where the level is on the axis of the polynomial."""
        if self.name in ("x0", "deis"):
            return level.half_log_snr
        if self.name == "trig":
            return math.atan2(self.bend * level.sigma, level.alpha) / self.bend
        return level.sigma / self.scale(level) if self.scale(level) else math.inf

    def level(self, place: float) -> Level:
        """The level (variance preserving) of a place."""
        if self.name in ("x0", "deis"):
            return Level.from_log_snr(2.0 * place)
        noise_ratio = math.tan(self.bend * place) / self.bend if self.name == "trig" else place / (1.0 - self.bend * place)
        return Level.from_log_snr(-2.0 * math.log(noise_ratio))

    def slope(self, p: Point) -> Lin:
        """What is interpolated."""
        alpha, sigma, scale = p.level.alpha, p.level.sigma, self.scale(p.level)
        if self.name == "x0":
            return p.D
        if self.name == "trig":
            return (alpha / (sigma * scale)) * p.x - (scale / sigma) * p.D
        return p.x / sigma - (scale / sigma) * p.D

    def fits(self, level: Level) -> bool:
        """Whether a step in this frame may begin here: those with scale alpha have none at pure noise."""
        return level.alpha > 0.0 or self.name == "x0" or self.bend > 0.0

    def held(self, p: Point, s: Level, slope: Lin) -> Lin:
        """The state at s if the slope is this one all the way."""
        (gain,) = self.gains(p.level, s, [0.0])
        return (self.scale(s) / self.scale(p.level)) * p.x + gain * slope

    def step(self, p: Point, s: Level, places: Sequence[float], slopes: Sequence[Lin]) -> Lin:
        """The state at s by the polynomial through the slopes, the first of them that of p.

        As DDIM's step and what the others differ from p's: so nothing large cancels where alpha is small.
        """
        return self.first(p, s, slopes[0]) + self.change(p, s, places, slopes)

    def first(self, p: Point, s: Level, slope: Lin) -> Lin:
        """The state at s by p alone, whose slope this is."""
        return self.held(p, s, slope) if self.name == "trig" else first_order(p, s)

    def change(self, p: Point, s: Level, places: Sequence[float], slopes: Sequence[Lin]) -> Lin:
        """What the other slopes add to that."""
        return Lin().moved(self.gains(p.level, s, places)[1:], slopes[1:], slopes[0])

    def gains(self, t: Level, s: Level, places: Sequence[float]) -> list[float]:
        """The weights of the slopes in x at s."""
        if self.name == "x0":
            return [s.alpha * w for w in weights(places, t.half_log_snr, s.half_log_snr)]
        if self.name == "deis":  # the same integral run backwards, over exp(-l)
            whole = weights([-place for place in places], -s.half_log_snr, -t.half_log_snr)
            return [-s.alpha * t.noise_ratio * w for w in whole]
        return [self.scale(s) * w for w in lagrange(places, self.place(t), self.place(s))]


FRAMES: dict[str, str] = {
    "x0": "the belief D over log(alpha / sigma)",
    "noise": "the noise over sigma / alpha",
    "flow": "the velocity, with a scale of the data",
    "trig": "the velocity on a circle, with a scale of the data",
    "deis": "the noise over log(alpha / sigma)",
}


def frame_of(name: str, data_scale: float = 1.0) -> Frame:
    """The frame of a name; ``data_scale`` is its c.  ValueError for an unknown name or a scale that is no positive number."""
    from ..errors import lookup

    lookup(FRAMES, name, "frame")
    if not 0.0 < data_scale < math.inf:
        raise ValueError(f"data_scale must be a positive number, but got {data_scale}")
    return Frame(name, 1.0 / data_scale if name in ("flow", "trig") else 0.0)


def first_order(p: Point, s: Level) -> Lin:
    """DDIM's step: D held constant, in any frame but trig; finite at both ends."""
    r = ratio(p.level, s)
    return (s.sigma / p.level.sigma) * p.x + (s.alpha * (1.0 - r)) * p.D


def integral(points: Sequence[Point], t: Level, s: Level, q: float = 1.0) -> Lin:
    """alpha_s times the integral of the polynomial through the D of ``points`` (:func:`noisepath.tableau.weights`)."""
    w = weights([point.level.half_log_snr for point in points], t.half_log_snr, s.half_log_snr, q)
    return sum(((s.alpha * weight) * point.D for weight, point in zip(w, points, strict=True)), Lin())


def between(t: Level, s: Level, share: float) -> Level:
    """The level (variance preserving) at this share of a step in log-SNR, 0 at t and 1 at s."""
    return Level.from_log_snr(2.0 * (t.half_log_snr + share * (s.half_log_snr - t.half_log_snr)))


def mild(t: Level, s: Level) -> bool:
    """Whether a step is finite in log-SNR; one from pure noise or to data is of first order in all solvers that look inside."""
    return t.alpha > 0.0 and s.sigma > 0.0


# Where the noise frame is left: a step of which both hold, little noise left in s (r) and little picture in t (v_t).
_LONG_STEP = (0.1, 0.05)
_MUCH_NOISE = (0.9, 0.95)


def leaves_noise(t: Level, s: Level) -> float:
    """How far a step has to leave the noise frame, from 0 to 1.

    That frame is not continuous at pure noise: a second slope's weight grows like 1 / alpha_t.  So for very long steps from
    much noise (r below 0.1 and v_t = sigma / (alpha + sigma) above 0.9) it passes linearly into another, reached at r = 0.05
    and v_t = 0.95.  Only grids of very few steps have such steps.
    """
    return ramp(ratio(t, s), *_LONG_STEP) * ramp(t.sigma / (t.alpha + t.sigma), *_MUCH_NOISE)


def ramp(value: float, zero: float, one: float) -> float:
    """0 on the one side of ``zero``, 1 beyond ``one``, linear between."""
    return min(max((value - zero) / (one - zero), 0.0), 1.0)
