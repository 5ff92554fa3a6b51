"""A sampler as a table of numbers, and the small algebra in which such a table is written.

Each node of a run is one state, a linear combination of what came before it:

    x_n = sum_k a_nk x_k + sum_k b_nk D_k + sum_j c_nj z_j

with ``x_k`` earlier states, ``D_k`` the denoiser's outputs at them and ``z_j`` independent standard normal draws.  A
solver is a pure function from levels to such a table.  It is written with a :class:`Draft` as in its paper (``p.x``,
``p.D``, ``p.noise``, ``z(step)``), and the algebra collects the weights.  Throughout,

    t, s    a step's noisier and cleaner level
    l       log(alpha / sigma), half the log-SNR
    r       (alpha_t sigma_s) / (alpha_s sigma_t) = exp(l_t - l_s), 0 where t is pure noise or s is data

A run may also go up, from data to noise: then t is the cleaner level and r is above 1.  A table may turn (:func:`joined`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from .levels import Level

__all__ = [
    "START",
    "Draft",
    "Draw",
    "Lin",
    "Node",
    "Point",
    "Tableau",
    "calls",
    "check",
    "check_cleaner",
    "draws",
    "joined",
    "lagrange",
    "ratio",
    "split",
    "weights",
    "z",
]


class Draw(NamedTuple):
    """The place of one noise draw in a run.  A place, not a counter: a draw more or less in one step shifts no other."""

    step: int
    stage: int


START = Draw(-1, 0)
"""The place of a run's initial noise, of which node 0 is made."""


@dataclass(frozen=True, slots=True)
class Node:
    """One state of a run: the weights it is made with, and whether the denoiser is asked there."""

    level: Level
    states: Mapping[int, float]
    outputs: Mapping[int, float]
    draws: Mapping[Draw, float]
    evaluate: bool = True
    kept: bool = False
    """Whether this is no state but a combination that later nodes look at (a noise estimate): no step begins here."""


Tableau = tuple[Node, ...]
"""Strictly lower triangular: node n looks back only.  Node 0 is the given start and has no weights."""


def calls(tableau: Tableau) -> int:
    """How often the denoiser is asked (the field's NFE)."""
    return sum(node.evaluate for node in tableau)


def draws(tableau: Tableau) -> list[Draw]:
    """The places at which the run draws noise, each once, in order of first use (:data:`START` is not among them)."""
    return list(dict.fromkeys(draw for node in tableau for draw in node.draws))


def check(tableau: Tableau) -> None:
    """Raise ValueError unless the table can be run: it looks back only, at finite weights and at outputs there are."""
    if not tableau or tableau[0].states or tableau[0].outputs or tableau[0].draws:
        raise ValueError("a tableau begins with node 0, the given start, which has no weights")
    for n, node in enumerate(tableau):
        for k in node.states:
            if not 0 <= k < n:
                raise ValueError(f"node {n} looks at state {k}, but may look back at 0..{n - 1} only")
        for k in node.outputs:
            if not 0 <= k < n:
                raise ValueError(f"node {n} looks at output {k}, but may look back at 0..{n - 1} only")
            if not tableau[k].evaluate:
                raise ValueError(f"node {n} looks at output {k}, but the denoiser is not asked there")
        for table in (node.states, node.outputs, node.draws):
            for key, weight in table.items():
                if not math.isfinite(weight):
                    raise ValueError(f"node {n} at {node.level} has weight {weight} on {key}; weights must be finite")


def joined(tables: Sequence[Tableau]) -> Tableau:
    """Several tables as one, each going on from the last state of the one before, and looking back at none of its others.

    Their draws are independent: steps are counted on.  ValueError where one does not begin at the level where the other ends.
    """
    nodes = list(tables[0])
    for table in tables[1:]:
        last = nodes.pop()
        shift = len(nodes)  # where its node 0 is now
        if last.level != table[0].level:
            raise ValueError(f"a table that begins at {table[0].level} can't go on from one that ends at {last.level}")
        steps = 1 + max((draw.step for draw in draws((*nodes, last))), default=-1)
        nodes.append(replace(last, evaluate=last.evaluate or table[0].evaluate))
        for node in table[1:]:
            states = {k + shift: w for k, w in node.states.items()}
            outputs = {k + shift: w for k, w in node.outputs.items()}
            drawn = {Draw(draw.step + steps, draw.stage): w for draw, w in node.draws.items()}
            nodes.append(replace(node, states=states, outputs=outputs, draws=drawn))
    return tuple(nodes)


def split(table: Tableau, levels: Sequence[Level]) -> list[Tableau] | None:
    """The steps of a falling table, one between each two of ``levels``, as tables of their own: the inverse of :func:`joined`.

    None where one looks back at what came before its beginning.
    """
    steps: list[Tableau] = []
    start, begin = 0, levels[0]
    for end in levels[1:]:
        stop = start + 1
        while stop < len(table) and begin.noise_ratio > table[stop].level.noise_ratio >= end.noise_ratio:
            stop += 1
        nodes = [Node(begin, {}, {}, {}, table[start].evaluate)]
        for node in table[start + 1 : stop]:
            if any(k < start for k in (*node.states, *node.outputs)):
                return None
            states, outputs = ({k - start: w for k, w in part.items()} for part in (node.states, node.outputs))
            nodes.append(replace(node, states=states, outputs=outputs))
        if len(nodes) < 2 or nodes[-1].level != end:
            return None
        steps.append((*nodes[:-1], replace(nodes[-1], evaluate=False)))
        start, begin = stop - 1, end
    return steps if start == len(table) - 1 else None


# The algebra ---------------------------------------------------------------------------------------------------------

Symbol = tuple[str, int | Draw]


class Lin:
    """A linear combination of states, outputs and draws; supports ``+``, ``-``, and ``*``, ``/`` by numbers."""

    __slots__ = ("terms",)

    def __init__(self, terms: dict[Symbol, float] | None = None) -> None:
        self.terms: dict[Symbol, float] = {} if terms is None else terms

    def __add__(self, other: Lin) -> Lin:
        terms = self.terms.copy()
        for symbol, weight in other.terms.items():
            terms[symbol] = terms.get(symbol, 0.0) + weight
        return Lin(terms)

    def __sub__(self, other: Lin) -> Lin:
        terms = self.terms.copy()
        for symbol, weight in other.terms.items():
            terms[symbol] = terms.get(symbol, 0.0) - weight
        return Lin(terms)

    def __mul__(self, factor: float) -> Lin:
        return Lin({symbol: factor * weight for symbol, weight in self.terms.items()})

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Lin:
        return Lin({symbol: weight / divisor for symbol, weight in self.terms.items()})

    def __neg__(self) -> Lin:
        return Lin({symbol: -weight for symbol, weight in self.terms.items()})

    def moved(self, gains: Sequence[float], slopes: Sequence[Lin], held: Lin) -> Lin:
        """``self + sum_j gains_j (slopes_j - held)``, in one go."""
        terms = self.terms.copy()
        for gain, slope in zip(gains, slopes, strict=True):
            for symbol, weight in slope.terms.items():
                terms[symbol] = terms.get(symbol, 0.0) + gain * (weight - held.terms.get(symbol, 0.0))
            for symbol, weight in held.terms.items():
                if symbol not in slope.terms:
                    terms[symbol] = terms.get(symbol, 0.0) - gain * weight
        return Lin(terms)

    def __repr__(self) -> str:
        return f"Lin({' '.join(f'{w:+.6g}*{kind}{k}' for (kind, k), w in self.terms.items())})"


def z(step: int, stage: int = 0) -> Lin:
    """The standard normal draw that belongs to this place of the run; the same place is the same draw."""
    return Lin({("z", Draw(step, stage)): 1.0})


class Point(NamedTuple):
    """A state of the run as a solver's author sees it: its level, the state ``x`` and the denoiser's belief ``D``."""

    level: Level
    x: Lin
    D: Lin

    @property
    def noise(self) -> Lin:
        """The noise that the denoiser believes to be in x: ``(x - alpha D) / sigma``."""
        if self.level.sigma == 0.0:
            raise ValueError(f"there is no noise estimate at {self.level}: nothing there is noise")
        return (self.x - self.level.alpha * self.D) / self.level.sigma


class Draft:
    """A tableau in the writing: :meth:`steps` walks the levels, :meth:`add` makes states, :meth:`finish` the table."""

    def __init__(self, levels: Sequence[Level]) -> None:
        """``levels``: those of the run, its start first; at least two, falling in noise all the way or rising all the way."""
        self.rises = _check_direction(levels)
        self.levels = list(levels)
        self._made: list[tuple[Level, Lin]] = []
        self._kept: set[int] = set()
        self.newest = self.add(self.levels[0], Lin())

    def add(self, level: Level, x: Lin) -> Point:
        """Make a new state.  Whether the denoiser is asked there follows from whether its ``D`` is ever used."""
        if self.rises and any(kind == "z" and weight for (kind, _), weight in x.terms.items()):
            check_cleaner(self.levels[0], self.levels[1])
        n = self._last = len(self._made)
        self._made.append((level, x))
        self.newest = Point(level, Lin({("x", n): 1.0}), Lin({("D", n): 1.0}))
        return self.newest

    def keep(self, level: Level, x: Lin) -> Lin:
        """Work out a combination once and keep it: a state at which the denoiser is not asked, and no step begins."""
        n = len(self._made)
        self._made.append((level, x))
        self._kept.add(n)
        return Lin({("x", n): 1.0})

    def node(self, n: int) -> tuple[Level, Lin]:
        """The level of state n, and what it is made with."""
        return self._made[n]

    def is_kept(self, n: int) -> bool:
        """Whether state n is a combination that :meth:`keep` worked out."""
        return n in self._kept

    def steps(self) -> Iterator[tuple[int, Point, Level]]:
        """For each step: its number, the newest point at its beginning, and the level it leads to.

        A step up to pure noise is made here, alike for all solvers: ``sigma_s`` times the noise believed to be in x, which is
        DDIM's.  (What a polynomial in a frame without a place there would say has no limit.)
        """
        for step, level in enumerate(self.levels[1:]):
            if level.is_noise:
                self.add(level, level.sigma * self.newest.noise)
                return
            yield step, self.newest, level

    def finish(self) -> Tableau:
        """The tableau up to the state added last; what that never looks back at is dropped, and so are weights of exactly 0."""
        split = [_split(x) for _, x in self._made[: self._last + 1]]
        needed, asked = {0, len(split) - 1}, set[int]()
        for n in reversed(range(len(split))):
            if n in needed:
                states, outputs, _ = split[n]
                needed.update(states, outputs)
                asked.update(outputs)
        number = {n: i for i, n in enumerate(sorted(needed))}
        if max(number) >= len(split):
            raise ValueError("a state looks at a point that is not of this draft")
        tableau = []
        for n in number:
            states, outputs, made = split[n]
            tableau.append(
                Node(
                    self._made[n][0],
                    {number[k]: w for k, w in states.items()},
                    {number[k]: w for k, w in outputs.items()},
                    made,
                    n in asked,
                    n in self._kept,
                )
            )
        check(tuple(tableau))
        return tuple(tableau)


def _check_direction(levels: Sequence[Level]) -> bool:
    """Whether the levels rise; ValueError where they neither fall nor rise all the way, and where they rise from data."""
    if len(levels) < 2:
        raise ValueError(f"a run needs at least 2 levels, a start and an end, but got {len(levels)}")
    ratios = [level.noise_ratio for level in levels]
    rises = ratios[1] > ratios[0]
    for n, (before, after) in enumerate(pairwise(ratios)):
        if not (before < after if rises else before > after):
            raise ValueError(
                f"a solver's levels fall in noise all the way, or rise all the way, but level {n} is {levels[n]} and level "
                f"{n + 1} is {levels[n + 1]}; sampling.design(levels=..., rising=True) joins the parts of a run that turns"
            )
    if rises and levels[0].is_data:
        raise ValueError(
            f"a run from data to noise can't begin at {levels[0]}: nothing there is noise, so there is no noise estimate; "
            f"begin at a level with a little noise, as spacing.reversed_levels does"
        )
    return rises


def check_cleaner(t: Level, s: Level) -> None:
    """ValueError unless s is cleaner than t, as a step must that adds noise."""
    if not s.noise_ratio < t.noise_ratio:
        raise ValueError(
            f"a step that adds noise must lead to a cleaner level, but this one leads from {t} to {s}: a run up takes a "
            f"solver without noise (ddim, heun, dpmpp_2m ..., or an option eta or tau of 0)"
        )


def _split(x: Lin) -> tuple[dict[int, float], dict[int, float], dict[Draw, float]]:
    states: dict[int, float] = {}
    outputs: dict[int, float] = {}
    made: dict[Draw, float] = {}
    for (kind, key), weight in x.terms.items():
        if weight == 0.0:
            continue
        if isinstance(key, Draw):
            made[key] = weight
        elif kind == "x":
            states[key] = weight
        else:
            outputs[key] = weight
    return states, outputs, made


# The two functions of levels that solvers are made of ----------------------------------------------------------------


def ratio(t: Level, s: Level) -> float:
    """``r = (alpha_t sigma_s) / (alpha_s sigma_t)`` of a step from t to s: 0 from pure noise or to data, 1 for no step."""
    if t.sigma == 0.0 or s.alpha == 0.0:
        raise ValueError(f"no step leads from {t} to {s}: it may not start at data nor end at pure noise")
    return (t.alpha * s.sigma) / (s.alpha * t.sigma)


def lagrange(points: Sequence[float], a: float, b: float) -> list[float]:
    """The integrals from a to b of the Lagrange polynomials of ``points``, which are distinct: Adams' weights on any grid."""
    if not points or len(set(points)) != len(points):
        raise ValueError(f"a polynomial needs distinct points, but got {list(points)}")
    if a == b:
        return [0.0] * len(points)
    moments = [1.0 / (k + 1) for k in range(len(points))]
    shares = [(point - a) / (b - a) for point in points]
    return [(b - a) * _integral_of_lagrange(shares, i, moments) for i in range(len(points))]


def weights(half_log_snrs: Sequence[float], a: float, b: float, q: float = 1.0) -> list[float]:
    """The weights of an exponential integrator, one for each point it interpolates through.

        w_j = q * integral from a to b of exp(-q (b - l)) L_j(l) dl,        l = log(alpha / sigma),

    with L_j the Lagrange polynomials of ``half_log_snrs``.  With ``q = 1`` it is exponential Adams and the multistep
    form of DPM-Solver++ (arXiv 2211.01095, eq. 3.4); with ``q = 1 + tau^2`` that of its SDE (SA-Solver, arXiv
    2309.05019, eq. 11).  The weights sum to ``1 - exp(-q (b - a))``.

    half_log_snrs: distinct, ``-inf`` allowed: a point at pure noise gets the weight 0, which is the limit, unless there
    is no other.  a, b: the step, from noise to data with a < b, ``a = -inf`` and ``b = inf`` allowed, or back with both
    finite.  At ``b = inf`` (data) the method is of first order by choice: all the weight is on the point nearest to data.
    """
    if not half_log_snrs or len(set(half_log_snrs)) != len(half_log_snrs) or math.inf in half_log_snrs:
        raise ValueError(f"weights need distinct points before data, but got half log-SNRs {list(half_log_snrs)}")
    if not ((a < b or -math.inf < b < a < math.inf) and q > 0.0):
        raise ValueError(f"weights need a step from a to b, finite where b < a, and q > 0, but got a={a}, b={b}, q={q}")
    finite = [j for j, point in enumerate(half_log_snrs) if point != -math.inf]
    total = -math.expm1(-q * (b - a))
    result = [0.0] * len(half_log_snrs)
    if b == math.inf or len(finite) <= 1:
        result[max(range(len(result)), key=half_log_snrs.__getitem__)] = total
        return result
    if a == -math.inf:  # in u = q (b - l) from 0 to infinity, where the moments are factorials
        points = [q * (b - half_log_snrs[j]) for j in finite]
        moments = [float(math.factorial(k)) for k in range(len(finite))]
    else:  # in v = (l - a) / (b - a) from 0 to 1: the known points have v <= 0, so nothing cancels
        points = [(half_log_snrs[j] - a) / (b - a) for j in finite]
        moments = _moments(q * (b - a), len(finite))
    for i, j in enumerate(finite):
        result[j] = _integral_of_lagrange(points, i, moments)
    return result


def _integral_of_lagrange(points: list[float], i: int, moments: list[float]) -> float:
    """The i-th Lagrange polynomial, expanded in powers and with each power replaced by its moment."""
    powers, scale = [1.0], 1.0
    for m, point in enumerate(points):
        if m != i:
            powers.append(powers[-1])
            for k in range(len(powers) - 2, 0, -1):  # times (v - point), from the highest power down
                powers[k] = powers[k - 1] - point * powers[k]
            powers[0] *= -point
            scale *= points[i] - point
    total: float = sum(map(operator.mul, powers, moments))
    return total / scale


def _moments(H: float, count: int) -> list[float]:
    """``M_k = H * integral from 0 to 1 of exp(-H (1 - v)) v^k dv`` for k < count; H may be negative.

    By parts M_k = 1 - (k / H) M_{k-1}.  Upwards an error grows by k / |H|, so below 2 the last one is taken from a series
    whose terms have one sign, and the recursion is run downwards: exp(-H) sum_n H^(n+1) / (n! (n+k+1)) for H > 0, and
    H sum_n (-H)^n k! / (n+k+1)! for H < 0.
    """
    if abs(H) >= 2.0:
        moments = [-math.expm1(-H)]
        for k in range(1, count):
            moments.append(1.0 - k / H * moments[-1])
        return moments
    last = count - 1
    moments = [_last_moment(H, last)]
    for k in range(last, 0, -1):
        moments.insert(0, (1.0 - moments[0]) * H / k)
    return moments


def _last_moment(H: float, k: int) -> float:
    """M_k for |H| < 2, by its series."""
    total, n = 0.0, 0
    if H > 0.0:
        term = H
        while term > 1e-18 * total:
            total += term / (n + k + 1)
            n += 1
            term *= H / n
        return math.exp(-H) * total
    term = 1.0 / (k + 1)
    while term > 1e-18 * total:
        total += term
        n += 1
        term *= -H / (n + k + 1)
    return H * total
