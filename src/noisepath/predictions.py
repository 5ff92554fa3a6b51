"""What a network was trained to predict, as factors: every kind is the same denoiser.

The belief of a network about the clean picture, ``D(x, level) = E[x_0 | x_t = x]``, is

    D = c_skip * x + c_out * network(c_in * x, c_noise)

and a kind of prediction is nothing but these factors as functions of the level.  With a = alpha, s = sigma,
``w = a s' - a' s`` (a prime is d/dt) and d = sigma_data:

    noise      c_skip = 1 / a            c_out = -s / a                      the noise                 Ho et al. 2006.11239
    x0         0                         1                                   the picture
    v          a / (a^2 + s^2)           -s / (a^2 + s^2)                    a noise - s x_0           Salimans & Ho 2202.00512
    velocity   s' / w                    -s / w                              dx/dt = a' x_0 + s' noise Lipman et al. 2210.02747
    score      1 / a                     s^2 / a                             grad log p(x) = -noise/s  Song et al. 2011.13456
    edm        a d^2 / (s^2 + a^2 d^2)   s d / sqrt(s^2 + a^2 d^2)           the unit-variance mix     Karras et al. 2206.00364

c_in is 1 and c_noise the schedule's time, but for edm:
c_in = 1 / sqrt(s^2 + a^2 d^2), c_noise = log(s / a) / 4.  A network may also be given its input and asked for its output in
units of their own size at each level (:func:`preconditioned`).  noise and score divide by alpha, and edm's c_noise takes the
logarithm of s / a: none of them has a limit at alpha = 0, and each says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ._lazy import torch
from .errors import unknown
from .scalings import SCALINGS

if TYPE_CHECKING:
    from torch import Tensor

    from .schedules import Schedule

__all__ = ["PRECONDITIONINGS", "PREDICTIONS", "Factors", "Prediction", "find", "preconditioned"]


class Factors(NamedTuple):
    """c_skip, c_out, c_in and c_noise of ``D = c_skip x + c_out network(c_in x, c_noise)``; float64, one shape."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    c_noise: Tensor

    def target(self, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Weights on (x_0, noise) of what the network should answer: the F with c_skip x + c_out F = x_0 for a true x."""
        return (1 - self.c_skip * alpha) / self.c_out, -self.c_skip * sigma / self.c_out


@dataclass(frozen=True)
class Prediction:
    """A kind of prediction: ``factors(schedule, t, alpha, sigma, sigma_data) -> Factors``, and whether alpha = 0 has one."""

    factors: Callable[[Schedule, Tensor, Tensor, Tensor, float], Factors]
    at_pure_noise: bool
    aliases: tuple[str, ...] = ()
    """Other names that are understood: those of diffusers, ComfyUI and papers."""


def _noise(schedule: Schedule, t: Tensor, alpha: Tensor, sigma: Tensor, sigma_data: float) -> Factors:
    return Factors(1 / alpha, -sigma / alpha, torch.ones_like(t), t)


def _x0(schedule: Schedule, t: Tensor, alpha: Tensor, sigma: Tensor, sigma_data: float) -> Factors:
    return Factors(torch.zeros_like(t), torch.ones_like(t), torch.ones_like(t), t)


def _v(schedule: Schedule, t: Tensor, alpha: Tensor, sigma: Tensor, sigma_data: float) -> Factors:
    norm2 = alpha**2 + sigma**2
    return Factors(alpha / norm2, -sigma / norm2, torch.ones_like(t), t)


def _velocity(schedule: Schedule, t: Tensor, alpha: Tensor, sigma: Tensor, sigma_data: float) -> Factors:
    alpha_rate, sigma_rate = schedule.rates(t)
    w = alpha * sigma_rate - alpha_rate * sigma
    # s' / w is the frame's own: written so, an infinite rate at an end has its limit (c_out = -s / inf = 0 there)
    skip = SCALINGS[schedule.scaling].velocity_skip(alpha, sigma)
    return Factors(skip, -sigma / w, torch.ones_like(t), t)


def _score(schedule: Schedule, t: Tensor, alpha: Tensor, sigma: Tensor, sigma_data: float) -> Factors:
    return Factors(1 / alpha, sigma**2 / alpha, torch.ones_like(t), t)


def _edm(schedule: Schedule, t: Tensor, alpha: Tensor, sigma: Tensor, sigma_data: float) -> Factors:
    variance = sigma**2 + (alpha * sigma_data) ** 2
    root = variance.sqrt()
    return Factors(alpha * sigma_data**2 / variance, sigma * sigma_data / root, 1 / root, torch.log(sigma / alpha) / 4)


PREDICTIONS: dict[str, Prediction] = {
    "noise": Prediction(_noise, at_pure_noise=False, aliases=("epsilon", "eps", "pred_noise")),
    "x0": Prediction(_x0, at_pure_noise=True, aliases=("sample", "x_0", "x_start", "pred_x0")),
    "v": Prediction(_v, at_pure_noise=True, aliases=("v_prediction", "pred_v")),
    "velocity": Prediction(_velocity, at_pure_noise=True, aliases=("flow_prediction",)),
    "score": Prediction(_score, at_pure_noise=False),
    "edm": Prediction(_edm, at_pure_noise=False),
}


def find(name: str) -> str:
    """The catalogue's own name for a name or an alias; ValueError with the nearest one for any other."""
    if isinstance(name, str) and name in PREDICTIONS:
        return name
    aliases = {alias: own for own, kind in PREDICTIONS.items() for alias in kind.aliases}
    if not isinstance(name, str) or name not in aliases:
        raise unknown("prediction", name, PREDICTIONS, aliases)
    return aliases[name]


PRECONDITIONINGS = ("none", "unit")
"""How a network sees its prediction: as it is, or with unit variance in and out."""


def preconditioned(
    kind: Prediction, schedule: Schedule, t: Tensor, alpha: Tensor, sigma: Tensor, sigma_data: float, preconditioning: str
) -> Factors:
    """The factors of a prediction, as they are ("none") or so that what enters the network and what it is to answer have about
    unit variance at every level ("unit"), which Karras et al. 2206.00364 ask of EDM's prediction (appendix B.6).

    A score has the size 1 / sigma, a velocity over the 1,000 times of a table that of one thousandth, and the input of a
    network on the path of EDM that of sigma: a network begins to learn none of these soon.  With d = sigma_data and the target
    F* = u x_0 + v noise, c_in becomes 1 / sqrt(a^2 d^2 + s^2) and c_out is multiplied by sqrt(u^2 d^2 + v^2).  On exploding
    paths, whose time has no end, c_noise is EDM's.
    """
    if preconditioning not in PRECONDITIONINGS:
        raise unknown("preconditioning", preconditioning, PRECONDITIONINGS)
    plain = kind.factors(schedule, t, alpha, sigma, sigma_data)
    if preconditioning == "none":
        return plain
    of_x0, of_noise = plain.target(alpha, sigma)
    size = torch.sqrt((of_x0 * sigma_data) ** 2 + of_noise**2)
    c_in = 1 / torch.sqrt((alpha * sigma_data) ** 2 + sigma**2)
    c_noise = torch.log(sigma / alpha) / 4 if schedule.scaling == "exploding" else plain.c_noise
    return Factors(plain.c_skip, plain.c_out * size, c_in, c_noise)
