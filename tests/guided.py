"""Data with classes, their beliefs in closed form, and an example of every guidance."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from noisepath.conditions import Condition
from noisepath.denoiser import Denoise, Moved
from noisepath.exact import Mixture
from noisepath.guidance import (
    apg,
    autoguidance,
    cfg_plus_plus,
    cfg_zero_star,
    classifier,
    classifier_free,
    clip,
    composed,
    dynamic_threshold,
)
from noisepath.levels import Level

WEIGHTS = [0.5, 0.2, 0.3]
MEANS = torch.tensor([[1.0, 0.0, 0.3, -0.6], [-1.0, 0.5, 0.2, 0.8], [0.0, -1.0, -0.4, 0.1]], dtype=torch.float64)
VARIANCES = [0.0625, 0.125, 0.25]  # exact in binary
SHAPE = (2, 1, 2)
DATA = Mixture(WEIGHTS, MEANS.view(3, *SHAPE), torch.tensor(VARIANCES))
WIDE = Mixture(WEIGHTS, MEANS.view(3, *SHAPE), 3 * torch.tensor(VARIANCES))
LABEL = Condition(label=torch.tensor([0, 1, 2, 1, 2]))
OTHER = Condition(label=torch.tensor([1, 2, 0, 0, 1]))
X = torch.randn(5, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def believed(x: Tensor, level: Level, label: Tensor | None = None, widen: float = 1.0) -> Tensor:
    """E[x_0 | x, class] of :data:`DATA`, picture by picture and class by class; a label of 3, or none: of any class."""
    rows = []
    for i, row in enumerate(x.reshape(len(x), -1)):
        k = 3 if label is None else int(label[i])
        parts, weights = [], []
        for j in range(3) if k == 3 else [k]:
            variance = level.alpha**2 * widen * VARIANCES[j] + level.sigma**2
            about = row - level.alpha * MEANS[j]
            parts.append(MEANS[j] + level.alpha * widen * VARIANCES[j] / variance * about)
            weights.append(WEIGHTS[j] * math.exp(-float(about @ about) / (2 * variance)) / variance**2)
        rows.append(sum(w * part for w, part in zip(weights, parts, strict=True)) / sum(weights))
    return torch.stack(rows).view(x.shape)


def nearness(pictures: Tensor, towards: Condition | None = None) -> Tensor:
    """A log p of pictures, up to a constant: how near they are to a class's mean."""
    wanted = MEANS[0] if towards is None else MEANS[towards["label"]]
    return -2.0 * (pictures.flatten(1) - wanted.to(pictures)).square().sum(1)


SCALES = torch.tensor([2.0, 0.5, 3.0, 1.0, -0.5], dtype=torch.float64)
EXAMPLES: dict[str, Callable[[Denoise], Denoise]] = {
    "classifier_free": lambda d: classifier_free(d, SCALES, negative=OTHER, interval=(0.05, 20.0), rescale=0.4),
    "composed": lambda d: composed(d, [(LABEL, SCALES), (OTHER, -0.5)]),
    "cfg_plus_plus": lambda d: cfg_plus_plus(d, SCALES.abs() / 4),
    "cfg_zero_star": lambda d: cfg_zero_star(d, lambda level: SCALES * level.sigma, zero=0.05),
    "apg": lambda d: apg(d, SCALES, norm=1.5, eta=0.25),
    "autoguidance": lambda d: autoguidance(d, WIDE.denoiser(), SCALES),
    "classifier": lambda d: classifier(d, nearness, SCALES / 2, towards=OTHER, interval=(0.0, 10.0)),
    "clip": partial(clip, low=-0.9, high=0.9),
    "dynamic_threshold": partial(dynamic_threshold, percentile=80.0),
}


def asks(name: str) -> Condition | None:
    """The condition that a run of this example is given."""
    return None if name == "composed" else LABEL

LEVELS = [Level(0.0, 1.0), Level(0.3, 0.9), Level(1.0, 0.2), Level(0.5, 0.0)]
NOISY = LEVELS[:3]


def same(given: Tensor | Moved, expected: Tensor) -> None:
    """Equal to 1e-9, and no state moved."""
    assert isinstance(given, Tensor)
    torch.testing.assert_close(given, expected, rtol=1e-9, atol=1e-9)


def beside(scales: Tensor) -> Tensor:
    """One scale for each picture, to be multiplied with pictures."""
    return scales.double().view(-1, 1, 1, 1)


def both(level: Level, x: Tensor = X) -> tuple[Tensor, Tensor]:
    """Told and untold."""
    if level.is_data:
        return x / level.alpha, x / level.alpha
    return believed(x, level, LABEL["label"]), believed(x, level)
