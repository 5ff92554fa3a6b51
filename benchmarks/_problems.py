"""Three problems with a known answer: ideal denoisers, starts that all samplers share, and where the ODE carries them.

    mixture   9 Gaussians in the plane, of unequal weight, standard deviation 0.15
    digits    a Gaussian of standard deviation 0.1 about each of scikit-learn's 1,797 digits, scaled to [-1, 1]
    natural   8 Gaussians in 256 dimensions whose amplitude falls as 1 / frequency, down to 0.01: detail at all scales

The process is DDPM's linear one of 1,000 steps.  States are x = x_0 + sigma * noise here, sigma = noise / signal.  All
mixtures are diagonal in one basis (natural is given in it), so a belief is two or three matrix products:

    E[x_0 | x] = sum_k w_k(x) (m_k + g_k (x - m_k)),        g_k = v_k / (v_k + sigma^2)

The answer is that of the probability-flow ODE, solved in float64 by DOP853 until a solution that is ten times as loose
agrees to 1e-8; it is kept in a folder.  An error is the root mean square over the coordinates of one start.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisepath.exact import Mixture
from noisepath.files import write_whole
from noisepath.levels import Level
from noisepath.schedules import Schedule, schedule
from noisepath.widths import data_scale

SCHEDULE = schedule("linear")
SIGMAS = np.array([SCHEDULE.level(float(t)).noise_ratio for t in range(1000)])
"""sigma / alpha at each time of the process, 0.01 to 157."""
LARGEST = float(SIGMAS[-1])

CACHE = Path(__file__).parent / ".cache"
CALLS = (4, 5, 6, 8, 10, 15, 20, 50)
STARTS = 2048
TOLERANCE, LOOSER = 1e-10, 10.0
CONVERGED = 1e-8
LAST = 1e-6  # the ODE is solved in log sigma, down to here
_ROWS = 128  # beliefs about so many at a time: what is worked out for them stays in a core's cache
_TOGETHER = 512  # starts that the ODE is solved for at a time, with one step for all
_NO_WEIGHT = -600.0  # a logarithm below which a weight is nothing; exp gives slow, denormal numbers soon after


def sigma_at(t: float) -> float:
    """The noise that a network of the process understands by a time, which may lie between two of the table."""
    return float(np.exp(np.interp(t, np.arange(len(SIGMAS)), np.log(SIGMAS))))


@dataclass(frozen=True)
class Blend:
    """A mixture of Gaussians, diagonal in one basis: weights (K,), means (K, d), variances (K, d), or (1, 1) for all."""

    weights: Tensor
    means: Tensor
    variances: Tensor

    def belief(self, x: Tensor, sigma: float) -> Tensor:
        """E[x_0 | x_0 + sigma * noise = x], worked out in float64 and given in x's dtype."""
        if sigma == 0.0:
            return x
        rows = self._shared(sigma) if self.variances.numel() == 1 else self._own(sigma)
        return torch.cat([rows(part) for part in x.double().split(_ROWS)]).to(x.dtype)

    def _shared(self, sigma: float) -> Callable[[Tensor], Tensor]:
        """Where all have one variance |x|^2 is the same for each of them, and so is the share of x that is kept."""
        total = float(self.variances) + sigma**2
        gain = float(self.variances) / total
        slopes, offset = self.means.T / total, self.weights.log() - (self.means**2).sum(1) / (2.0 * total)

        def rows(x: Tensor) -> Tensor:
            w = _softmax(torch.addmm(offset, x, slopes))
            return ((w @ self.means) / w.sum(1, keepdim=True)).mul_(1.0 - gain).add_(x, alpha=gain)

        return rows

    def _own(self, sigma: float) -> Callable[[Tensor], Tensor]:
        total = self.variances + sigma**2
        gain = self.variances / total
        slopes, bends, kept = (self.means / total).T, -0.5 / total.T, self.means * (1.0 - gain)
        offset = self.weights.log() - 0.5 * (self.means**2 / total + total.log()).sum(1)

        def rows(x: Tensor) -> Tensor:
            w = _softmax(torch.addmm(offset, x, slopes).addmm_(x**2, bends))
            w /= w.sum(1, keepdim=True)
            return (w @ kept).addcmul_(w @ gain, x)

        return rows

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        chosen = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        spread = self.variances if self.variances.numel() == 1 else self.variances[chosen]
        return self.means[chosen] + spread.sqrt() * z

    def exact(self) -> Mixture:
        """The same as the library has it, any covariance allowed."""
        return Mixture(self.weights, self.means, self.variances.expand_as(self.means))


def _softmax(logits: Tensor) -> Tensor:
    """In place, the sum still to be divided by."""
    return logits.sub_(logits.amax(1, keepdim=True)).clamp_(min=_NO_WEIGHT).exp_()


@dataclass(frozen=True)
class Problem:
    """Data and starts: ``start`` (n, d) is x_0 + LARGEST * noise."""

    name: str
    data: Blend
    start: Tensor

    def belief(self, x: Tensor, sigma: float) -> Tensor:
        return self.data.belief(x, sigma)

    @property
    def denoiser(self) -> Ideal:
        return Ideal(self.data, SCHEDULE)

    @property
    def knowing(self) -> Ideal:
        """The same, which knows as a run does how wide its data are: by as many pictures as a run looks at."""
        pictures = self.data.sample(512, torch.Generator().manual_seed(5))
        return replace(self.denoiser, data_scale=data_scale(pictures))

    def few(self, n: int) -> Problem:
        """The first n starts alone."""
        return replace(self, start=self.start[:n])

    @property
    def mark(self) -> str:
        """By which its starts are told from others."""
        return f"{float(self.start.abs().mean()):.9f}"


@dataclass(frozen=True)
class Ideal:
    """A problem's belief as noisepath's denoisers are asked: at any level of any path."""

    data: Blend
    schedule: Schedule
    data_scale: float | None = None

    def __call__(self, x: Tensor, level: Level, condition: object = None) -> Tensor:
        return self.data.belief(x / level.alpha, level.noise_ratio)


# The data ----------------------------------------------------------------------------------------------------------------


def mixture() -> Blend:
    random = torch.Generator().manual_seed(7)
    means = 3.0 * torch.rand(9, 2, generator=random, dtype=torch.float64) - 1.5
    weights = torch.rand(9, generator=random, dtype=torch.float64) + 0.2
    return Blend(weights / weights.sum(), means, _same(0.15))


def digits() -> Blend:
    from sklearn.datasets import load_digits

    means = torch.from_numpy(load_digits().data / 8.0 - 1.0)
    return Blend(torch.full((len(means),), 1.0 / len(means), dtype=torch.float64), means, _same(0.1))


def natural(side: int = 16, components: int = 8, floor: float = 0.01) -> Blend:
    random = torch.Generator().manual_seed(11)
    frequency = np.hypot(*np.indices((side, side))).ravel() + 0.7
    amplitude = torch.from_numpy(0.5 / frequency / np.sqrt((1.0 / frequency**2).mean()))
    draws = [torch.randn(side * side, generator=random, dtype=torch.float64) for _ in range(2 * components)]
    variances = [0.35 * (amplitude * torch.exp(0.6 * z)) ** 2 + floor**2 for z in draws[:components]]
    means = [amplitude * z for z in draws[components:]]
    weights = torch.full((components,), 1.0 / components, dtype=torch.float64)
    return Blend(weights, torch.stack(means), torch.stack(variances))


def _same(deviation: float) -> Tensor:
    return torch.full((1, 1), deviation**2, dtype=torch.float64)


PROBLEMS: dict[str, Callable[[], Blend]] = {"mixture": mixture, "digits": digits, "natural": natural}


def problem(name: str, starts: int = STARTS, seed: int = 0) -> Problem:
    """Another number of starts is other starts."""
    data, random = PROBLEMS[name](), torch.Generator().manual_seed(seed)
    clean = data.sample(starts, random)
    return Problem(name, data, clean + LARGEST * torch.randn(clean.shape, generator=random, dtype=torch.float64))


def disagreement(asked: Problem, starts: int = 4) -> float:
    """The largest difference from the library's own exact denoiser, over states of a few starts on the way."""
    library, worst = asked.data.exact().denoiser(), 0.0
    clean = asked.data.sample(starts, torch.Generator().manual_seed(1))
    for sigma in (LARGEST, 20.0, 3.0, 1.0, 0.3, 0.1, 0.01):
        x = clean + sigma / LARGEST * (asked.start[:starts] - clean)
        worst = max(worst, float((asked.belief(x, sigma) - library(x, Level(1.0, sigma))).abs().max()))
    return worst


# The answers -------------------------------------------------------------------------------------------------------------


def answers(asked: Problem, cache: Path = CACHE, progress: bool = True) -> tuple[Tensor, float]:
    """Where the ODE carries each start, (n, d), and how far from it a looser solution is; read if it is kept there."""
    path = cache / f"answers-{asked.name}-{len(asked.start)}-{asked.mark}.npz"
    if not path.is_file():
        tight = solved(asked, TOLERANCE, progress)
        apart = figures(errors(solved(asked, LOOSER * TOLERANCE, progress), tight))[0]
        if not apart <= CONVERGED:
            raise ArithmeticError(f"{asked.name}: two solutions of the ODE are {apart:.1e} apart, above {CONVERGED:g}")
        with write_whole(path) as part, part.open("wb") as file:
            np.savez(file, answers=tight.numpy(), apart=np.array(apart))
    kept = np.load(path)
    return torch.from_numpy(kept["answers"]), float(kept["apart"])


def solved(asked: Problem, tolerance: float, progress: bool) -> Tensor:
    """The probability-flow ODE in u = log sigma and y = x / sqrt(1 + sigma^2), some starts at a time."""
    from scipy.integrate import solve_ivp
    from tqdm import tqdm

    def slope(u: float, y: Any) -> Any:
        sigma = math.exp(u)
        reach = math.hypot(1.0, sigma)
        x = torch.from_numpy(y).view(-1, asked.start.shape[1]) * reach
        moved = (x - asked.belief(x, sigma)) / reach - x * (sigma**2 / reach**3)
        return moved.view(-1).numpy()

    ends = (math.log(LARGEST), math.log(LAST))
    found = []
    for part in tqdm(asked.start.split(_TOGETHER), desc=f"answers, {asked.name}, {tolerance:g}", disable=not progress):
        y = (part / math.hypot(1.0, LARGEST)).reshape(-1).numpy()
        run = solve_ivp(slope, ends, y, method="DOP853", rtol=tolerance, atol=0.1 * tolerance, t_eval=ends[1:])
        if not run.success:
            raise ArithmeticError(f"{asked.name}: {run.message}")
        found.append(torch.from_numpy(run.y[:, -1].copy()).view(part.shape))
    return torch.cat(found)


def errors(made: Tensor, answer: Tensor) -> Tensor:
    """Of each start (n,): the root mean square over its coordinates."""
    return (made.double() - answer).square().mean(1).sqrt()


def figures(errors: Tensor) -> tuple[float, float]:
    """Over all starts: the root mean square, which the few that end at another mode rule, and the median."""
    return float(errors.square().mean().sqrt()), float(errors.median())
