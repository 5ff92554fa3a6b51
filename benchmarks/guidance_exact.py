"""Guided runs against the guided field's own ODE, worked out here in numpy from closed forms.

    python benchmarks/guidance_exact.py [--n 1000] [--steps 60] [--seed 0]

Data are a mixture of two Gaussians in four dimensions, whose components are the classes.  Its beliefs are written out here
again, and a Runge-Kutta of fourth order in log sigma carries starts of its own from sigma = 40 to 0.02 (alpha = 1) through each
paper's guided field.  The library's run (Heun, other starts) must end in the same distribution: by the energy distance of the
two samples, with a test that permutes within each class, whose p must be above 0.01.  That the test can see something is shown
beside: the same ends against those of the unguided field.  CFG++, APG and CFG-Zero* (whose papers state steps, not fields) are
stepped by hand through DDIM on the same starts, and must agree to 1e-9; scale 1 must be no guidance to 1e-9, but for CFG++.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from noisepath import Condition, Level, sample
from noisepath.denoiser import Denoise
from noisepath.exact import Mixture
from noisepath.guidance import apg, autoguidance, cfg_plus_plus, cfg_zero_star, classifier, classifier_free, composed

Points = Any
"""(n, 4), float64"""
Field = Callable[[Points, float], Points]

MEANS = np.array([[0.8, -0.4, 0.2, 0.5], [-0.5, 0.3, 0.4, -0.2]])
VARIANCES, WEIGHTS = np.array([0.05, 0.12]), np.array([0.4, 0.6])
TARGET = np.array([0.3, 0.2, 0.6, 0.1])
CORNERS = (40.0, 2.0, 0.25, 0.02)
INTERVAL = (0.25, 2.0)
PERMUTATIONS = 999


def belief(x: Points, sigma: float, classes: Points | None = None, widen: float = 1.0) -> Points:
    """E[x_0 | x], of any class or of the one that each point is asked for."""
    about = x[:, None] - MEANS
    total = widen * VARIANCES + sigma**2
    logs = np.log(WEIGHTS) - 0.5 * (about**2).sum(2) / total - 0.5 * x.shape[1] * np.log(total)
    if classes is not None:
        logs = np.where(classes[:, None] == np.arange(2), logs, -np.inf)
    shares = np.exp(logs - logs.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    parts = MEANS + (widen * VARIANCES / total)[:, None] * about
    return (shares[..., None] * parts).sum(1)


def grid(each: int) -> list[float]:
    """Levels even in log sigma between the corners, which are among them."""
    made = [CORNERS[0]]
    for high, low in zip(CORNERS, CORNERS[1:], strict=False):
        made += [high * (low / high) ** ((i + 1) / each) for i in range(each - 1)] + [low]
    return made


def carried(field: Field, x: Points, each: int) -> Points:
    """dx / d log sigma = x - D by Runge-Kutta; slopes are taken just inside a step, as a field may jump at its ends."""
    for high, low in zip(sigmas := grid(each), sigmas[1:], strict=False):
        h, first, middle, last = math.log(low / high), high * (1 - 1e-9), math.sqrt(high * low), low * (1 + 1e-9)
        k1 = x - field(x, first)
        k2 = (y := x + h / 2 * k1) - field(y, middle)
        k3 = (y := x + h / 2 * k2) - field(y, middle)
        k4 = (y := x + h * k3) - field(y, last)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


# --- fields of the papers --------------------------------------------------------------------------------------------


def fields(c: Points) -> dict[str, tuple[Field, Denoise, bool]]:
    """Each guidance as a field here, as the library's denoiser, and whether its run is told the classes."""
    model = Mixture(WEIGHTS.tolist(), MEANS.tolist(), VARIANCES.tolist()).denoiser()
    weak = Mixture(WEIGHTS.tolist(), MEANS.tolist(), (4 * VARIANCES).tolist()).denoiser()
    told: Field = lambda x, s: belief(x, s, c)  # noqa: E731
    both: Callable[[Points, float, float], Points] = lambda x, s, w: (1 - w) * belief(x, s) + w * told(x, s)  # noqa: E731

    def rescaled(x: Points, s: float) -> Points:
        guided, own = both(x, s, 3.0), told(x, s)
        ratio = own.std(1, ddof=1, keepdims=True) / guided.std(1, ddof=1, keepdims=True)
        return 0.7 * guided * ratio + 0.3 * guided

    def towards_target(x: Points, s: float) -> Points:
        own, v = told(x, s), VARIANCES[c][:, None]
        return own + 1.5 * s * s * (v / (v + s * s)) * (TARGET - own) / 0.5

    def composition(x: Points, s: float) -> Points:
        none = belief(x, s)
        return none + 2.0 * (told(x, s) - none) - 0.5 * (belief(x, s, 0 * c) - none)

    labels, target = Condition(label=torch.as_tensor(c)), torch.as_tensor(TARGET)
    pairs = [(labels, 2.0), (Condition(label=torch.tensor([0])), -0.5)]
    return {
        "classifier-free, 3": (lambda x, s: both(x, s, 3.0), classifier_free(model, 3.0), True),
        "interval, 3 at 0.25 to 2": (
            lambda x, s: both(x, s, 3.0 if INTERVAL[0] < s <= INTERVAL[1] else 1.0),
            classifier_free(model, 3.0, interval=INTERVAL), True,
        ),
        "rescale, 3 and 0.7": (rescaled, classifier_free(model, 3.0, rescale=0.7), True),
        "composition, 2 and -0.5": (composition, composed(model, pairs), False),
        "classifier, 1.5": (
            towards_target, classifier(model, lambda D: -0.5 * (D - target.to(D)).square().sum(1) / 0.5, 1.5), True
        ),
        "autoguidance, 2": (
            lambda x, s: 2 * told(x, s) - belief(x, s, c, widen=4.0), autoguidance(model, weak, 2.0), True
        ),
    }  # fmt: skip


# --- two samples -----------------------------------------------------------------------------------------------------


def same_law(a: Points, b: Points, classes: Points, seed: int) -> float:
    """p of the energy distance between two samples of the same classes, by permutation within each."""
    both = np.concatenate([a, b])
    apart = np.sqrt(np.maximum((both**2).sum(1)[:, None] + (both**2).sum(1) - 2 * both @ both.T, 0))
    signs = np.repeat([1.0, -1.0], len(a))
    random = np.random.default_rng(seed)
    drawn, twice = np.tile(signs, (PERMUTATIONS + 1, 1)), np.tile(classes, 2)
    for row in drawn[1:]:
        for k in range(2):
            row[twice == k] = random.permutation(row[twice == k])
    distances = -((drawn @ apart) * drawn).sum(1)
    return float((distances >= distances[0]).mean())


def ran(model: Denoise, told: bool, c: Points, levels: list[Level], solver: str, seed: int) -> Points:
    condition = Condition(label=torch.as_tensor(c)) if told else None
    made = sample(model, (len(c), 4), levels=levels, solver=solver, seed=seed, condition=condition, dtype=torch.float64)
    return made.numpy()


# --- steps of the papers ---------------------------------------------------------------------------------------------


def stepped(rule: Callable[[Points, Level, Any], tuple[Points, Points]], x: Points, levels: list[Level]) -> Points:
    """DDIM by hand: from the belief and the noise that a rule gives; ``rule`` may keep something in its third argument."""
    memory: dict[str, Points] = {}
    for level, after in zip(levels, levels[1:], strict=False):
        D, noise = rule(x, level, memory)
        x = after.alpha * D + after.sigma * noise
    return x


def at(x: Points, level: Level, c: Points | None = None) -> Points:
    return belief(x / level.alpha, level.sigma / level.alpha, c)


def rules(c: Points) -> dict[str, tuple[Any, Callable[[Denoise], Denoise]]]:
    def plus_plus(x: Points, level: Level, memory: Any) -> tuple[Points, Points]:
        none = at(x, level)
        return none + 0.6 * (at(x, level, c) - none), (x - level.alpha * none) / level.sigma

    def projected(x: Points, level: Level, memory: Any) -> tuple[Points, Points]:
        own = at(x, level, c)
        memory["average"] = d = own - at(x, level) - 0.5 * memory.get("average", 0.0)
        d = d * np.minimum(1.0, 0.8 / np.linalg.norm(d, axis=1, keepdims=True))
        unit = own / np.linalg.norm(own, axis=1, keepdims=True)
        D = own + 2.0 * (d - (d * unit).sum(1, keepdims=True) * unit)
        return D, (x - level.alpha * D) / level.sigma

    def zero_star(x: Points, level: Level, memory: Any) -> tuple[Points, Points]:
        size = level.alpha + level.sigma
        t, y = level.sigma / size, x / size
        own, none = (y - at(x, level, c)) / t, (y - at(x, level)) / t
        s = (own * none).sum(1, keepdims=True) / (none * none).sum(1, keepdims=True)
        D = y - t * (s * none + 3.0 * (own - s * none))
        return D, (x - level.alpha * D) / level.sigma

    return {
        "CFG++, 0.6": (plus_plus, lambda d: cfg_plus_plus(d, 0.6)),
        "APG, 3, norm 0.8, momentum -0.5": (projected, lambda d: apg(d, 3.0, norm=0.8)),
        "CFG-Zero*, 3": (zero_star, lambda d: cfg_zero_star(d, 3.0)),
    }


def main() -> None:
    """A line for each guidance; the last line is the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=60, help="between two corners")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random = np.random.default_rng(args.seed)
    c = np.arange(args.n) % 2
    starts = CORNERS[0] * random.standard_normal((args.n, 4))
    levels = [Level(1.0, s) for s in grid(args.steps)]
    unguided = {True: carried(lambda x, s: belief(x, s, c), starts, args.steps), False: carried(belief, starts, args.steps)}
    print("| guidance | p, same law | p against the unguided ends | moved by halving the truth's steps |\n|---|---|---|---|")
    held = []
    for name, (field, model, told) in fields(c).items():
        truth = carried(field, starts, args.steps)
        off = np.abs(truth - carried(field, starts, args.steps // 2)).max()
        made = ran(model, told, c, levels, "heun", args.seed + 1)
        p, blank = same_law(made, truth, c, args.seed), same_law(made, unguided[told], c, args.seed)
        held.append(p > 0.01 and off < 1e-2)
        print(f"| {name} | {p:.3f} | {blank:.3f} | {off:.1e} |")
    print("| step by step | largest difference |\n|---|---|")
    model = Mixture(WEIGHTS.tolist(), MEANS.tolist(), VARIANCES.tolist()).denoiser()
    flow = [Level(1 - t, t) for t in np.linspace(0.99, 0.0, 21)]
    z = random.standard_normal((args.n, 4))
    condition = Condition(label=torch.as_tensor(c))

    def ddim(guided: Denoise) -> Points:
        given = torch.as_tensor(z)
        return sample(guided, z.shape, levels=flow, solver="ddim", noise=lambda place: given, condition=condition,
                      dtype=torch.float64).numpy()  # fmt: skip

    for name, (rule, make) in rules(c).items():
        off = np.abs(stepped(rule, 0.99 * z, flow) - ddim(make(model))).max()
        held.append(off < 1e-9)
        print(f"| {name} | {off:.1e} |")
    weak, ones = Mixture([0.4, 0.6], MEANS.tolist(), [0.2, 0.4]).denoiser(), torch.ones(args.n)
    none = [classifier_free(model, ones, rescale=0.7), classifier_free(model, ones, interval=INTERVAL),
            cfg_zero_star(model, ones), apg(model, ones), autoguidance(model, weak, ones)]  # fmt: skip
    off = max(float(np.abs(ddim(guided) - ddim(model)).max()) for guided in none)
    held.append(off < 1e-9)
    print(f"| scale 1 of five of them, as tensors | {off:.1e} |")
    print(f"{sum(held)} of {len(held)} hold at n = {args.n} (p > 0.01; 1e-9), target all  {'ok' if all(held) else 'MISSED'}")


if __name__ == "__main__":
    main()
