"""Methods that go back to more noise on the way: EDM's churn, Restart, and Langevin steps at a level."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..levels import Level
from ..tableau import Draft, Lin, Point, Tableau, check_cleaner, z
from .frames import first_order
from .guard import Guard
from .heun import heun_step

__all__ = ["edm", "langevin", "restart"]


def edm(
    levels: Sequence[Level],
    *,
    churn: float = 40.0,
    churn_min: float = 0.05,
    churn_max: float = 50.0,
    noise_scale: float = 1.0,
    guard: bool = True,
) -> Tableau:
    """EDM's stochastic sampler (Karras et al. 2206.00364, algorithm 2): noise is added before each of Heun's steps; 2 calls a
    step.

    churn: S_churn; each step raises sigma / alpha by the factor 1 + min(churn / steps, sqrt(2) - 1), where it lies between
        churn_min and churn_max (S_min, S_max), but never above the run's first level: a network may have been shown no more
        noise.  The defaults are the paper's for ImageNet-64; a churn of 0 is Heun's method.
    noise_scale: S_noise, the standard deviation of what is added: a little above 1 (1.003) makes up for a network that takes
        too much away; an exact denoiser wants 1.
    """
    if not (0.0 <= churn < math.inf and noise_scale >= 0.0):
        raise ValueError(f"churn and noise_scale must be numbers >= 0, but got {churn} and {noise_scale}")
    draft = Draft(levels)
    careful = Guard(draft, guard)
    gamma = min(churn / (len(levels) - 1), math.sqrt(2.0) - 1.0)
    if gamma > 0.0:
        check_cleaner(*levels[:2])
    for step, p, s in draft.steps():
        here, most = p.level.noise_ratio, levels[0].noise_ratio
        if gamma > 0.0 and churn_min <= here <= churn_max and here < most:
            p = noised(draft, p, min(here * (1.0 + gamma), most), noise_scale * z(step))
        heun_step(careful, p, s)
    return draft.finish()


def restart(
    levels: Sequence[Level],
    *,
    repeats: int = 1,
    lowest: float = 0.1,
    highest: float = 2.0,
    noise_scale: float = 1.0,
    guard: bool = True,
) -> Tableau:
    """Restart (Xu et al. 2306.14878, algorithm 1): Heun's method, which at one level goes back to more noise and repeats; 2
    calls a step, those of the repeated stretch again each time.

    lowest, highest: sigma / alpha between which the stretch lies: the levels of the run nearest to them.  repeats: how often
        it is gone through again; 0 is Heun's method.  noise_scale: of what is added, 1 unless errors are to be covered.

    A run that has no such stretch is plain Heun: where one level is nearest to both, as in a run of a few steps or one that
    stays above ``highest`` or below ``lowest``, there is nothing to repeat and no noise is drawn.
    """
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 0:
        raise ValueError(f"repeats is a whole number, 0 or more, but got {repeats!r}")
    if not 0.0 < lowest < highest:
        raise ValueError(f"Restart goes from lowest to a highest above it, but got {lowest} and {highest}")
    draft = Draft(levels)
    careful = Guard(draft, guard)
    if repeats:
        check_cleaner(*levels[:2])
    inner = [n for n, level in enumerate(levels) if 0.0 < level.noise_ratio < math.inf]
    top, bottom = (min(inner, key=lambda n: abs(math.log(levels[n].noise_ratio / to)), default=0) for to in (highest, lowest))
    for step, p, s in draft.steps():
        heun_step(careful, p, s)
        if step + 1 != bottom or bottom <= top:
            continue
        for again in range(repeats):
            noised(draft, draft.newest, levels[top].noise_ratio, noise_scale * z(step, again))
            for level in levels[top + 1 : bottom + 1]:
                heun_step(careful, draft.newest, level)
    return draft.finish()


def langevin(levels: Sequence[Level], *, corrections: int = 1, size: float = 0.05) -> Tableau:
    """Predictor and corrector of Song et al. (2011.13456, algorithm 1) with steps of fixed size: DDIM from level to level, and
    at each level Langevin steps x + size sigma^2 score + sqrt(2 size) sigma z; 1 + corrections calls a step.

    corrections: how many at each level.  size: in units of sigma^2, above 0 and below 1.  (The paper's size depends on the
    norms of a batch, so a picture would depend on its neighbours.)
    """
    if isinstance(corrections, bool) or not isinstance(corrections, int) or corrections < 0:
        raise ValueError(f"corrections is a whole number, 0 or more, but got {corrections!r}")
    if not 0.0 < size < 1.0:
        raise ValueError(f"size is in units of sigma^2, above 0 and below 1, but got {size}")
    draft = Draft(levels)
    for step, p, s in draft.steps():
        p = draft.add(s, first_order(p, s))
        for again in range(0 if s.is_data else corrections):
            drift = (1.0 - size) * p.x + (size * s.alpha) * p.D
            p = draft.add(s, drift + (math.sqrt(2.0 * size) * s.sigma) * z(step, again))
    return draft.finish()


def noised(draft: Draft, p: Point, noise_ratio: float, noise: Lin) -> Point:
    """The point with noise added up to a larger sigma / alpha (at the same alpha)."""
    more = math.sqrt(noise_ratio**2 - p.level.noise_ratio**2)
    return draft.add(Level(p.level.alpha, p.level.alpha * noise_ratio), p.x + (p.level.alpha * more) * noise)
