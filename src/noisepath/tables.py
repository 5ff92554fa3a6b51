"""The tables of a discrete noise process, each entry correctly rounded: betas in, everything DDPM needs out.

Notation, with t = 0 .. T-1 from data to noise (Ho et al., Denoising diffusion probabilistic models, 2006.11239):

    beta_t                                      noise added at step t
    alpha_t = 1 - beta_t
    alpha_bar_t = alpha_0 * ... * alpha_t       x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise
    snr_t = alpha_bar_t / (1 - alpha_bar_t)

``1 - alpha_bar`` loses four digits at t = 0 when it is subtracted in float64 and nearly all in float32.  So the tables are
accumulated once in 50 decimal digits, cached, and rounded to float64 at the very end.  Nothing here needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from functools import lru_cache
from operator import index

from .errors import explain_options, is_number, lookup, shown

__all__ = [
    "ALIASES",
    "BETAS",
    "DiffusionConfig",
    "Tables",
    "cosine_betas",
    "from_alphas_cumprod",
    "from_betas",
    "linear_betas",
    "named",
    "quadratic_betas",
    "sigmoid_betas",
    "zero_terminal_snr",
]

_DIGITS = 50
_EXACT = Context(prec=_DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN)
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
_COSINE_OFFSET = Decimal("0.008")
_COSINE_CAP = Decimal("0.999")


# ---------------------------------------------------------------------------------------------------- betas by name


def linear_betas(num_timesteps: int, beta_start: float, beta_end: float) -> list[float]:
    """Betas on a straight line from ``beta_start`` to ``beta_end`` (Ho et al., 2006.11239, section 4)."""
    with localcontext(_EXACT):
        return [float(b) for b in _ramp(Decimal(beta_start), Decimal(beta_end), num_timesteps)]


def quadratic_betas(num_timesteps: int, beta_start: float, beta_end: float) -> list[float]:
    """Betas whose square roots lie on a straight line ("scaled linear": latent diffusion, 2112.10752)."""
    with localcontext(_EXACT):
        return [float(r * r) for r in _ramp(Decimal(beta_start).sqrt(), Decimal(beta_end).sqrt(), num_timesteps)]


def sigmoid_betas(num_timesteps: int, beta_start: float, beta_end: float) -> list[float]:
    """Betas on a logistic curve over [-6, 6], scaled to ``beta_start .. beta_end`` (GeoDiff, 2203.02923)."""
    with localcontext(_EXACT):
        first, last = Decimal(beta_start), Decimal(beta_end)
        fade = Decimal(6).exp()  # exp(-x) at x = -6; each step multiplies it by one and the same factor
        factor = (Decimal(-12) / max(num_timesteps - 1, 1)).exp()
        betas = []
        for _ in range(num_timesteps):
            betas.append(float(first + (last - first) / (1 + fade)))
            fade *= factor
        return betas


def cosine_betas(num_timesteps: int, beta_start: float = 0.0, beta_end: float = 0.0) -> list[float]:
    """Betas of ``alpha_bar ~ cos^2``, at most 0.999 (Nichol & Dhariwal, Improved DDPM, 2102.09672, eq. 17).

    The number of steps is its only parameter; ``beta_start`` and ``beta_end`` are there because every entry of
    :data:`BETAS` is called alike.
    """
    with localcontext(_EXACT):
        # cos(pi/2 (t/T + s)/(1 + s)) = sin(k d) with k = T - t and d = pi/2 / (T (1 + s)): no cancellation as k -> 0.
        # So beta = 1 - sin^2((k-1) d) / sin^2(k d) = sin(d) sin((2k-1) d) / sin^2(k d).
        sines = _sines(_PI / 2 / (num_timesteps * (1 + _COSINE_OFFSET)), 2 * num_timesteps)
        betas = (sines[1] * sines[2 * k - 1] / (sines[k] * sines[k]) for k in range(num_timesteps, 0, -1))
        return [float(min(beta, _COSINE_CAP)) for beta in betas]


def _ramp(first: Decimal, last: Decimal, count: int) -> list[Decimal]:
    step = (last - first) / max(count - 1, 1)
    return [first + i * step for i in range(count)]


def _sines(d: Decimal, count: int) -> list[Decimal]:
    """``sin(0), sin(d), ..., sin(count d)`` by the addition theorem; the error grows as ``count``, not as a power."""
    sin_d, cos_d = _series(d, d), _series(Decimal(1), d)
    sin, cos, sines = Decimal(0), Decimal(1), []
    for _ in range(count + 1):
        sines.append(sin)
        sin, cos = sin * cos_d + cos * sin_d, cos * cos_d - sin * sin_d
    return sines


def _series(term: Decimal, x: Decimal) -> Decimal:
    """The Taylor series of sin (first term x) or cos (first term 1), for ``|x| < 2``."""
    total, n = Decimal(0), 0 if term == 1 else 1
    while abs(term) > Decimal(10) ** (-_DIGITS - 5):
        total += term
        term *= -x * x / ((n + 1) * (n + 2))
        n += 2
    return total


BETAS: dict[str, Callable[[int, float, float], list[float]]] = {
    "linear": linear_betas,
    "cosine": cosine_betas,
    "quadratic": quadratic_betas,
    "sigmoid": sigmoid_betas,
}
"""Name -> ``f(num_timesteps, beta_start, beta_end)``, the betas as correctly rounded floats."""

ALIASES = {"scaled_linear": "quadratic", "squaredcos_cap_v2": "cosine"}
"""The names that diffusers gives to two of :data:`BETAS`."""


# ----------------------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True, repr=False)
class Tables:
    """Everything about a discrete process that depends on t alone: tuples of T floats, each correctly rounded.

    Without torch; as tensors they are attributes of :class:`~noisepath.discrete.NoiseScheduler`.

    At zero terminal SNR (``alphas_cumprod[-1] == 0``) every entry is finite but ``log_snr[-1] = -inf``.
    """

    betas: tuple[float, ...]
    alphas: tuple[float, ...]
    alphas_cumprod: tuple[float, ...]
    one_minus_alphas_cumprod: tuple[float, ...]
    alphas_cumprod_prev: tuple[float, ...]
    """``alpha_bar`` one step earlier, 1 at t = 0."""
    sqrt_alphas_cumprod: tuple[float, ...]
    sqrt_one_minus_alphas_cumprod: tuple[float, ...]
    snr: tuple[float, ...]
    log_snr: tuple[float, ...]
    """``log(snr)``, to a rounding error or two also where snr is near 1."""
    posterior_variance: tuple[float, ...]
    """Variance of ``x_{t-1}`` given ``x_t`` and ``x_0`` (Ho et al. eq. 7); 0 at t = 0."""
    posterior_mean_x0: tuple[float, ...]
    """Weight of ``x_0`` in the mean of ``x_{t-1}`` given ``x_t`` and ``x_0`` (Ho et al. eq. 7)."""
    posterior_mean_xt: tuple[float, ...]
    """Weight of ``x_t`` in that mean."""
    exact: tuple[Decimal, ...] = field(repr=False, compare=False)
    """``alpha_bar`` before it was rounded, 50 digits: what a rescaling has to start from."""

    @property
    def num_timesteps(self) -> int:
        """T, the number of entries."""
        return len(self.betas)

    def __repr__(self) -> str:
        ends = (f"{name} {_ends(getattr(self, name))}" for name in ("betas", "alphas_cumprod"))
        return f"Tables({self.num_timesteps} timesteps, {', '.join(ends)})"


def from_betas(betas: Iterable[float]) -> Tables:
    """The tables of given betas, each in (0, 1); the last alone may be exactly 1 (zero terminal SNR).

    ValueError names the first beta that is not.
    """
    return _from_betas(tuple(float(b) for b in betas))


def from_alphas_cumprod(alphas_cumprod: Iterable[float]) -> Tables:
    """The tables of given ``alpha_bar``: in (0, 1), strictly falling; the last alone may be exactly 0.

    ValueError names the first entry that is not.
    """
    return _from_alphas_cumprod(tuple(float(a) for a in alphas_cumprod))


@lru_cache(maxsize=64)
def named(kind: str, num_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Tables:
    """The tables of a schedule of :data:`BETAS` (or :data:`ALIASES`) with T = ``num_timesteps`` steps.

    ValueError for an unknown name, T < 1, or a ``beta_start`` or ``beta_end`` outside (0, 1).
    """
    _check_ramp(num_timesteps, beta_start, beta_end)
    return from_betas(_betas_of(kind)(num_timesteps, beta_start, beta_end))


def zero_terminal_snr(tables: Tables) -> Tables:
    """The tables rescaled so that the last step is pure noise, ``alpha_bar = 0`` exactly; the first step stays.

    Lin et al., Common diffusion noise schedules and sample steps are flawed, 2305.08891, algorithm 1: shift and
    stretch ``sqrt(alpha_bar)``.  ValueError for a table of fewer than two steps.
    """
    if tables.num_timesteps < 2:
        raise ValueError("zero terminal SNR needs at least 2 timesteps, since the first keeps its level, but there is 1")
    with localcontext(_EXACT):
        roots = [a.sqrt() for a in tables.exact]
        stretch = roots[0] / (roots[0] - roots[-1])
        abar = [((r - roots[-1]) * stretch) ** 2 for r in roots]
        return _tabulate(_steps(abar), abar)


@lru_cache(maxsize=64)
def _from_betas(betas: tuple[float, ...]) -> Tables:
    if not betas:
        raise ValueError("betas are empty; a process needs at least one step")
    for i, value in enumerate(betas):
        if not (0.0 < value < 1.0 or (value == 1.0 and i == len(betas) - 1)):
            raise ValueError(f"betas[{i}] = {value} is outside (0, 1); exactly 1 is allowed for the last step only")
    with localcontext(_EXACT):
        exact = [Decimal(b) for b in betas]
        product, abar = Decimal(1), []
        for beta in exact:
            product *= 1 - beta
            abar.append(product)
        return _tabulate(exact, abar)


@lru_cache(maxsize=64)
def _from_alphas_cumprod(values: tuple[float, ...]) -> Tables:
    if not values:
        raise ValueError("alphas_cumprod are empty; a process needs at least one step")
    previous = 1.0
    for i, value in enumerate(values):
        if not (0.0 < value < previous or (value == 0.0 and i == len(values) - 1)):
            raise ValueError(
                f"alphas_cumprod[{i}] = {value} is not between 0 and the one before it ({previous}); "
                "they fall strictly within (0, 1), and exactly 0 is allowed for the last step only"
            )
        previous = value
    with localcontext(_EXACT):
        abar = [Decimal(a) for a in values]
        return _tabulate(_steps(abar), abar)


def _steps(abar: Sequence[Decimal]) -> list[Decimal]:
    """The betas of ``alpha_bar``: ``1 - alpha_bar_t / alpha_bar_{t-1}``."""
    return [(prev - a) / prev for prev, a in zip([Decimal(1), *abar[:-1]], abar, strict=True)]


def _tabulate(betas: Sequence[Decimal], abar: Sequence[Decimal]) -> Tables:
    """Every column from exact betas and alpha_bar; called inside the 50-digit context."""
    prev = [Decimal(1), *abar[:-1]]
    noise = [1 - a for a in abar]
    noise_prev = [Decimal(0), *noise[:-1]]
    alphas = [1 - b for b in betas]
    signal_root = [a.sqrt() for a in abar]
    snr = [a / n for a, n in zip(abar, noise, strict=True)]
    share = [b / n for b, n in zip(betas, noise, strict=True)]
    root_prev = [Decimal(1), *signal_root[:-1]]
    mean_x0 = [r * s for r, s in zip(root_prev, share, strict=True)]
    mean_xt = [r / p * m / n for r, p, m, n in zip(signal_root, root_prev, noise_prev, noise, strict=True)]
    return Tables(
        betas=_round(betas),
        alphas=_round(alphas),
        alphas_cumprod=_round(abar),
        one_minus_alphas_cumprod=_round(noise),
        alphas_cumprod_prev=_round(prev),
        sqrt_alphas_cumprod=_round(signal_root),
        sqrt_one_minus_alphas_cumprod=_round([n.sqrt() for n in noise]),
        snr=_round(snr),
        log_snr=tuple(_log(s) for s in snr),
        posterior_variance=_round([s * m for s, m in zip(share, noise_prev, strict=True)]),
        posterior_mean_x0=_round(mean_x0),
        posterior_mean_xt=_round(mean_xt),
        exact=tuple(abar),
    )


def _round(column: Sequence[Decimal]) -> tuple[float, ...]:
    return tuple(map(float, column))


def _log(ratio: Decimal) -> float:
    """The logarithm as a float; Decimal.ln is exact too, but takes 40 times longer than all the rest."""
    value = float(ratio)
    if value == 0.0:
        return -math.inf
    return math.log1p(float(ratio - 1)) if 0.5 < value < 2.0 else math.log(value)


# ---------------------------------------------------------------------------------------------------- configuration


_ELSEWHERE = {
    "beta_schedule": "schedule",
    "num_train_timesteps": "num_timesteps",
    "timesteps": "num_timesteps",
    "T": "num_timesteps",
    "trained_betas": "betas",
    "rescale_betas_zero_snr": "zero_terminal_snr",
}
"""What other libraries call an option -> its name here."""

_FEW = 4
"""Given numbers that are printed in full."""


@explain_options(_ELSEWHERE)
@dataclass(frozen=True, repr=False)
class DiffusionConfig:
    """A discrete noise process in plain values: checked when made, readable without torch, JSON and back.

    Args:
        num_timesteps: T, the number of noising steps; with given numbers it is theirs.
        beta_start: beta of the first step, t = 0; in (0, 1).
        beta_end: beta of the last step, t = T - 1; in (0, 1).
        schedule: how the betas go from one to the other, a name of :data:`BETAS` or :data:`ALIASES`.  "cosine" is made
            from T alone.
        betas: given ones, any sequence of floats, in place of the four above; else None.
        alphas_cumprod: given ones, any sequence of floats that fall within (0, 1), in place of all above; else None.
        zero_terminal_snr: rescale them so that the last step is pure noise (Lin et al., 2305.08891).

    These are what the process is made from.  What is made of it are the tables: ``NoiseScheduler(config).betas`` and its
    siblings as tensors, ``config.tables().betas`` as floats.  ValueError says which value is wrong and what is allowed.
    """

    num_timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    schedule: str = "linear"
    betas: tuple[float, ...] | None = None
    alphas_cumprod: tuple[float, ...] | None = None
    zero_terminal_snr: bool = False

    def __post_init__(self) -> None:
        if self.betas is not None and self.alphas_cumprod is not None:
            raise ValueError("betas and alphas_cumprod are both given; give one, the other follows from it")
        for name in ("betas", "alphas_cumprod"):
            if getattr(self, name) is not None:
                self._adopt(name)
        _check_ramp(self.num_timesteps, self.beta_start, self.beta_end)
        for name, plain in (("num_timesteps", int), ("beta_start", float), ("beta_end", float)):
            object.__setattr__(self, name, plain(getattr(self, name)))  # numbers of numpy are none of JSON's
        if type(self.zero_terminal_snr) is not bool:
            if not is_number(self.zero_terminal_snr) or self.zero_terminal_snr not in (0, 1):
                raise TypeError(f"zero_terminal_snr must be True or False, but is {shown(self.zero_terminal_snr)}")
            object.__setattr__(self, "zero_terminal_snr", bool(self.zero_terminal_snr))
        _betas_of(self.schedule)
        if self.zero_terminal_snr or self.betas is not None or self.alphas_cumprod is not None:
            self.tables()  # which refuses what can't be; of a name alone they can be made

    def __repr__(self) -> str:
        given = [f"{name}={_in_short(v)}" for name in ("betas", "alphas_cumprod") if (v := getattr(self, name)) is not None]
        ramp = [f"{name}={getattr(self, name)!r}" for name in ("num_timesteps", "beta_start", "beta_end", "schedule")]
        rescaled = ["zero_terminal_snr=True"] if self.zero_terminal_snr else []
        return f"DiffusionConfig({', '.join([*(given or ramp), *rescaled])})"

    def _adopt(self, name: str) -> None:
        """Make given numbers a tuple of floats, and their length the number of steps."""
        try:
            values = tuple(float(v) for v in getattr(self, name))
        except (TypeError, ValueError):
            raise TypeError(f"{name} must be a sequence of numbers, but is {shown(getattr(self, name))}") from None
        default = type(self).num_timesteps
        if self.num_timesteps not in (default, len(values)):
            raise ValueError(f"num_timesteps is {self.num_timesteps}, but {name} has {len(values)} entries")
        object.__setattr__(self, name, values)
        object.__setattr__(self, "num_timesteps", len(values) or default)

    def tables(self) -> Tables:
        """The process's tables, worked out once and kept."""
        return _tables_of(self)


@lru_cache(maxsize=64)
def _tables_of(config: DiffusionConfig) -> Tables:
    if config.betas is not None:
        tables = from_betas(config.betas)
    elif config.alphas_cumprod is not None:
        tables = from_alphas_cumprod(config.alphas_cumprod)
    else:
        tables = named(config.schedule, config.num_timesteps, config.beta_start, config.beta_end)
    return zero_terminal_snr(tables) if config.zero_terminal_snr else tables


def _betas_of(kind: str) -> Callable[[int, float, float], list[float]]:
    return lookup({**BETAS, **{alias: BETAS[name] for alias, name in ALIASES.items()}}, kind, "schedule")


def _check_ramp(num_timesteps: int, beta_start: float, beta_end: float) -> None:
    try:
        whole = 0 if isinstance(num_timesteps, bool) else index(num_timesteps)
    except TypeError:
        whole = 0
    if whole < 1:
        raise ValueError(f"num_timesteps must be a whole number of at least 1, but is {num_timesteps!r}")
    for name, beta in (("beta_start", beta_start), ("beta_end", beta_end)):
        if not is_number(beta) or isinstance(beta, bool):
            raise TypeError(f"{name} must be a number in (0, 1), but is {shown(beta)}")
        if not 0.0 < beta < 1.0:
            raise ValueError(f"{name} = {beta} is outside (0, 1)")


def _in_short(values: Sequence[float]) -> str:
    """Few numbers in full, of many their ends."""
    return repr(tuple(values)) if len(values) <= _FEW else f"<{len(values)} numbers, {_ends(values)}>"


def _ends(values: Sequence[float]) -> str:
    return f"{values[0]:.4g} .. {values[-1]:.4g}"
