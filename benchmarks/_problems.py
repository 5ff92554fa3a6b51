"""Three problems whose answer is known, on the levels of DDPM's linear schedule: what samplers are judged by.

mixture   9 Gaussians of standard deviation 0.15 in the plane
digits    a Gaussian of standard deviation 0.1 at each of scikit-learn's 1,797 digits
natural   8 Gaussians in 256 dimensions whose spectra fall like 1 / frequency: detail at all scales, as in photographs

Denoisers are told the noise ratio sigma / alpha, and x / alpha; all is float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

import noisepath
from noisepath.denoiser import Condition
from noisepath.levels import Level

F64 = torch.float64
LINEAR = noisepath.schedule("linear")
FIRST = LINEAR.level(LINEAR.t_max)


@dataclass
class Problem:
    """Data, their ideal denoiser, starts and where the probability-flow ODE leads them."""

    name: str
    belief: Callable[[Tensor, float], Tensor]
    """(x / alpha, sigma / alpha) -> E[x_0 | x]."""
    draw: Callable[[int, torch.Generator], Tensor]
    schedule: noisepath.schedules.Schedule = field(default=LINEAR)
    calls: int = 0

    def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        """The problem as a denoiser; counts how often it is asked."""
        self.calls += 1
        return self.belief((x / level.alpha).to(F64), level.noise_ratio).to(x.dtype)

    def starts(self, n: int, seed: int = 0) -> Tensor:
        """n states x / alpha at the noisiest level: data and noise."""
        dice = torch.Generator().manual_seed(seed)
        x0 = self.draw(n, dice)
        return x0 + FIRST.noise_ratio * torch.randn(x0.shape, generator=dice, dtype=F64)

    def ends(self, starts: Tensor, rtol: float = 1e-9) -> Tensor:
        """Where the flow leads them, by DOP853 in log(sigma / alpha), on the scale where the variance stays."""
        from scipy.integrate import solve_ivp

        def slope(u: float, flat: object) -> object:
            noise_ratio = math.exp(u)
            size = math.hypot(1.0, noise_ratio)
            x = torch.as_tensor(flat, dtype=F64).view(starts.shape) * size
            moved = (x - self.belief(x, noise_ratio)) / size - x * (noise_ratio**2 / size**3)
            return moved.reshape(-1).numpy()

        smallest = 1e-5  # the last step to data, by the belief there, changes nothing beyond this
        span = (math.log(FIRST.noise_ratio), math.log(smallest))
        begin = (starts / math.hypot(1.0, FIRST.noise_ratio)).reshape(-1).numpy()
        found = solve_ivp(slope, span, begin, method="DOP853", rtol=rtol, atol=rtol / 10, t_eval=[span[1]])
        return torch.as_tensor(found.y[:, -1].copy(), dtype=F64).view(starts.shape)


def problem(name: str) -> Problem:
    """One of the three by name."""
    return {"mixture": _mixture, "digits": _digits, "natural": _natural}[name]()


NAMES = ("mixture", "digits", "natural")


def _points(name: str, centres: Tensor, weights: Tensor, std: float) -> Problem:
    """Gaussians of one width at points: the belief is a softmax over the points."""
    log_weights, half_squares = weights.log(), 0.5 * (centres**2).sum(1)

    def belief(x: Tensor, noise_ratio: float) -> Tensor:
        variance = std**2 + noise_ratio**2
        mean = torch.softmax(log_weights + (x @ centres.T - half_squares) / variance, 1) @ centres
        return (mean * noise_ratio**2 + x * std**2) / variance

    def draw(n: int, dice: torch.Generator) -> Tensor:
        chosen = torch.multinomial(weights, n, replacement=True, generator=dice)
        return centres[chosen] + std * torch.randn(n, centres.shape[1], generator=dice, dtype=F64)

    return Problem(name, belief, draw)


def _mixture() -> Problem:
    dice = torch.Generator().manual_seed(7)
    centres = torch.rand(9, 2, generator=dice, dtype=F64) * 3 - 1.5
    weights = torch.rand(9, generator=dice, dtype=F64) + 0.2
    return _points("mixture", centres, weights / weights.sum(), 0.15)


def _digits() -> Problem:
    from sklearn.datasets import load_digits

    centres = torch.tensor(load_digits().data / 8.0 - 1.0, dtype=F64)
    return _points("digits", centres, torch.full((len(centres),), 1 / len(centres), dtype=F64), 0.1)


def _natural(side: int = 16, components: int = 8, floor: float = 0.01) -> Problem:
    dice = torch.Generator().manual_seed(11)
    places = torch.arange(side, dtype=F64)
    amplitude = 1 / (torch.hypot(places[:, None], places[None]).flatten() + 0.7)
    amplitude = amplitude / amplitude.pow(2).mean().sqrt() * 0.5
    rough = [torch.exp(0.6 * torch.randn(side**2, generator=dice, dtype=F64)) for _ in range(components)]
    variances = torch.stack([(amplitude * one) ** 2 * 0.35 + floor**2 for one in rough])
    means = torch.stack([amplitude * torch.randn(side**2, generator=dice, dtype=F64) for _ in range(components)])

    def belief(x: Tensor, noise_ratio: float) -> Tensor:
        inverse = 1 / (variances + noise_ratio**2)
        about = x**2 @ inverse.T - 2 * x @ (means * inverse).T + (means**2 * inverse).sum(1) - inverse.log().sum(1)
        weights, gain = torch.softmax(-0.5 * about, 1), variances * inverse
        return x * (weights @ gain) + weights @ (means - means * gain)

    def draw(n: int, dice: torch.Generator) -> Tensor:
        even = torch.full((components,), 1 / components, dtype=F64)
        chosen = torch.multinomial(even, n, replacement=True, generator=dice)
        return means[chosen] + variances[chosen].sqrt() * torch.randn(n, side**2, generator=dice, dtype=F64)

    return Problem("natural", belief, draw)
