"""The guard: on no grid is a step of higher order much worse than one of first order.

A method of higher order extrapolates the denoised estimate, or looks at it inside the step.  On short steps that makes it
accurate; where a step is long, or much longer than those before it, it can be far worse than a constant estimate, DDIM's.  So
each step is tried on data N(0, d^2) of several deviations d, where the estimate is linear and the exact solution from a state
x_t is known: with sd^2 = alpha^2 d^2 + sigma^2,

    ODE    x_s = (sd_s / sd_t) x_t
    SDE    var x_s = c^2 (sd_s / sd_t)^2 var x_t + (1 - c^2) sd_s^2,      c = (alpha_t sd_s / (alpha_s sd_t))^(tau^2)

e_k(d) is the error of the step of order k, in units of sd_s, from the states that the run so far reaches on such data: of the
state where the ODE is followed (root mean square), of its deviation where an SDE is.  With e_1(d) that of first order,

    R_k = max over d of  e_k(d) / m(d),        m(d) = (3 e_1(d) + max over d of e_1) / 4.

The step of order k is taken whole where R_k is at most 1, not at all from 2 on, and in between in part:

    x <- x + theta_k (x_k - x)        from x = x_1 up to the method's own order; theta_k falls linearly from 1 to 0

As steps become short e_k / e_1 goes to 0, whatever their ratios, so the order stays, and a step that is taken whole is the
published one to the last digit.  R_k is continuous in the levels.  The states that a run reaches, and not exact ones, are
looked at since large weights of both signs multiply what earlier steps did wrong.

States are tensors of float32, and a polynomial through places that are close together, used far from them, multiplies their
rounding: its weights grow as (step / earlier step)^k.  Such a step is left out in the same way, by

    A_k = max over d of  sum_j |w_j| r_j / sd_s,

the rounding that x_k - x_1 adds, in units of float32's: w_j are the weights of x_k - x_1, r_j the size of what they stand on,
and of a slope that was worked out before, the sum of the sizes that it was made of.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from ..levels import Level
from ..tableau import Draft, Draw, Lin, Point, Tableau
from .frames import ramp

__all__ = ["DATA_SCALE", "WIDTHS", "Guard", "unguarded"]

Build = Callable[[Sequence[Level]], Tableau]

WIDTHS = tuple(2.0**k for k in range(-7, 2))
"""The deviations d that steps are tried on, in units of the data's scale."""
DATA_SCALE = 2.0
"""That scale where a solver is not given one: data in [-1, 1] vary by 1/64 to 4, in pixels and along their directions."""

# R up to which a step is taken whole, and from which on not at all.
_WHOLE, _NONE = 1.0, 2.0
# A, in units of float32's rounding, likewise.
_AMPLIFIED = (512.0, 1024.0)
# An error that is rounding, in standard deviations.
_ROUNDING = 1e-12


class Guard:
    """The guard of one run; ``on=False`` takes every step as it is published.

    data_scale: of the data (:mod:`noisepath.widths`), for a solver that takes one; None for any others.
    """

    def __init__(self, draft: Draft, on: bool = True, data_scale: float | None = None) -> None:
        self.draft = draft
        self.on = on
        self._scale = DATA_SCALE if data_scale is None else data_scale
        self._nodes: list[tuple[Any, Any]] = []
        self._sizes: dict[tuple[str, int | Draw], Any] = {}
        self._rows: dict[Draw, int] = {}

    def orders(self, most: int) -> range:
        """The orders whose steps are looked at: all up to the method's own, or that one alone."""
        return range(1 if self.on else most, most + 1)

    def step(self, p: Point, s: Level, orders: Sequence[Lin], tau2: float = 0.0) -> Lin:
        """The state at s, of those of rising order in ``orders`` (the first is DDIM's, or the SDE's of first order), blended.

        p: the point that the step begins at.  tau2: tau^2 of the SDE, 0 for the ODE.
        """
        if not self.on or len(orders) < 2:
            return orders[-1]
        return _blend(orders, self._shares(p, s, orders, tau2))

    def change(self, p: Point, s: Level, first: Lin, changes: Sequence[Lin]) -> Lin:
        """The same for what each order adds to the ``first`` state, so that rounding leaves nothing of what all hold."""
        if not self.on or not changes:
            return changes[-1] if changes else Lin()
        return _blend([Lin(), *changes], self._shares(p, s, [first, *(first + x for x in changes)]))

    def _shares(self, p: Point, s: Level, orders: Sequence[Lin], tau2: float = 0.0) -> list[float]:
        """How much of each order but the first is taken: theta."""
        first, *others = self._errors(p, s, orders, tau2)
        scale = 0.75 * first + 0.25 * first.max() + _ROUNDING
        exact = [ramp(float((error / scale).max()), _NONE, _WHOLE) for error in others]
        return [theta and theta * self._sound(x - orders[0], s) for theta, x in zip(exact, orders[1:], strict=True)]

    def _sound(self, change: Lin, s: Level) -> float:
        """How much of a change the rounding of what it is made of lets by, 0 to 1."""
        return ramp(float((self._rounding(change) / self._deviation(s)).max()), *reversed(_AMPLIFIED))

    def _rounding(self, made: Lin) -> Any:
        """The rounding of a combination, in units of float32's, for each d."""
        return sum((abs(weight) * self._size(symbol) for symbol, weight in made.terms.items() if weight), 0.0 * _widths())

    def _size(self, symbol: tuple[str, int | Draw]) -> Any:
        """The size of a state, an output or a draw, whose rounding goes with it; of a kept slope, that of all it is made of."""
        if symbol not in self._sizes:
            import numpy as np

            _, n = symbol
            if not isinstance(n, Draw) and self.draft.is_kept(n):
                self._sizes[symbol] = self._rounding(self.draft.node(n)[1])
            else:
                (value,) = self._values([Lin({symbol: 1.0})])
                self._sizes[symbol] = np.sqrt((value * value).sum(0))
        return self._sizes[symbol]

    def _errors(self, p: Point, s: Level, orders: Sequence[Lin], tau2: float) -> Any:
        """The error of each of these states at s, reached from p's, in standard deviations: (orders, widths)."""
        import numpy as np

        before, *found = self._values([p.x, *orders])
        sd = self._deviation(s)
        moved = sd / self._deviation(p.level)
        if not tau2:
            apart = found - moved * before
            return np.sqrt((apart * apart).sum(1)) / sd
        c = (p.level.alpha / s.alpha * moved) ** tau2
        true = (c * moved) ** 2 * (before * before).sum(0) + (1.0 - c) * (1.0 + c) * sd**2
        return abs(np.sqrt(np.square(found).sum(1)) - np.sqrt(true)) / sd

    def _values(self, states: Sequence[Lin]) -> Any:
        """What states are on the data, by the start's draw and the others, for each d: (states, draws, widths)."""
        import numpy as np

        symbols = list({symbol: None for x in states for symbol in x.terms})
        rows = {key: self._row(key) for _, key in symbols if isinstance(key, Draw)}
        nodes: list[Any] = [None if isinstance(key, Draw) else self._node(key)[kind == "D"] for kind, key in symbols]
        basis = np.zeros((len(symbols), 1 + len(self._rows), len(WIDTHS)))
        for place, (_, key), value in zip(basis, symbols, nodes, strict=True):
            if isinstance(key, Draw):
                place[rows[key]] = 1.0
            else:
                place[: len(value)] = value
        weights = np.array([[x.terms.get(symbol, 0.0) for symbol in symbols] for x in states])
        return (weights[:, :, None, None] * basis).sum(1)

    def _node(self, n: int) -> tuple[Any, Any]:
        """A state of the run, and the denoised estimate there: (draws, widths)."""
        while len(self._nodes) <= n:
            level, made = self.draft.node(len(self._nodes))
            (x,) = self._values([made]) if self._nodes else (self._deviation(level)[None],)
            self._nodes.append((x, self._gain(level) * x))
        return self._nodes[n]

    def _deviation(self, level: Level) -> Any:
        """sqrt(alpha^2 d^2 + sigma^2) for each d."""
        import numpy as np

        return np.hypot(level.alpha * self._scale * _widths(), level.sigma)

    def _gain(self, level: Level) -> Any:
        """D = gain x."""
        d = self._scale * _widths()
        return level.alpha * d * d / ((level.alpha * d) ** 2 + level.sigma**2)

    def _row(self, draw: Draw) -> int:
        return self._rows.setdefault(draw, 1 + len(self._rows))


def unguarded(build: Build) -> Build:
    """The solver as it is published: with ``guard=False`` where it has a guard, else as it is."""
    off: dict[str, Any] = {"guard": False}
    return partial(build, **off) if "guard" in inspect.signature(build).parameters else build


def _blend(orders: Sequence[Lin], shares: Sequence[float]) -> Lin:
    chosen = orders[0]
    for x, theta in zip(orders[1:], shares, strict=True):
        chosen = x if theta == 1.0 else chosen + theta * (x - chosen) if theta else chosen
    return chosen


@cache
def _widths() -> Any:
    import numpy as np

    return np.asarray(WIDTHS)
