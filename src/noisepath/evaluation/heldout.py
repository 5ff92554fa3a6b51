"""How well does a model denoise pictures it has never seen?  The error of its belief, noise level by noise level.

At a level x = alpha x_0 + sigma noise, for pictures x_0 and keyed noise:

    error       E |D(x) - x_0|^2 / number of values
    gaussian    the least error there is for data of independent Gaussian values with the data's variance v:
                v sigma^2 / (alpha^2 v + sigma^2)
    relative    error / gaussian: at high noise the share of the data's variance that is not known yet, at low noise the
                error of the noise in units of its variance.  1 is what knowing no more than v is worth

All three are the same for a network of every prediction and on every path, so models can be compared.  The levels are
multiples of 1.25 in log-SNR within what the model was trained for.  Training pictures have a lower error than held-out
ones where the model has learned them by heart: that gap is overfitting, one noise level at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noisepath import noise
from noisepath._lazy import torch
from noisepath.conditions import Condition
from noisepath.denoiser import Denoise, Moved, begin
from noisepath.levels import Level

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.schedules import Schedule

__all__ = ["Mean", "gaussian_error", "log_snrs_of", "loss_by_level"]

SPACING = 1.25
NOISIEST, CLEANEST = -12.0, 14.0


@dataclass(frozen=True)
class Mean:
    """A mean over pictures, and how far it is likely off."""

    value: float
    standard_error: float
    """0 for a single picture, whose scatter is unknown."""
    count: int


def log_snrs_of(schedule: Schedule) -> list[float]:
    """The multiples of 1.25 among a schedule's log-SNRs (those from -12 to 14), noisiest first.

    They are the same for every model that covers them.  A schedule too short to hold two has its ends.
    """
    ends = schedule.log_snr(torch.tensor([schedule.t_max, schedule.t_min], dtype=torch.float64))
    low, high = max(float(ends[0]), NOISIEST), min(float(ends[1]), CLEANEST)
    found = [SPACING * k for k in range(math.ceil(low / SPACING), math.floor(high / SPACING) + 1)]
    return found if len(found) > 1 else [low, high]


def gaussian_error(log_snr: float, variance: float) -> float:
    """The least error for independent Gaussian values of this variance."""
    return variance / (1 + math.exp(log_snr) * variance)


def loss_by_level(
    denoiser: Denoise,
    pictures: Tensor,
    told: Tensor | Condition | None = None,
    *,
    log_snrs: Sequence[float] | None = None,
    seed: int = 0,
    batch_size: int = 256,
    device: str | torch.device = "cpu",
    progress: bool = False,
) -> list[tuple[float, Mean]]:
    """(log-SNR, error) for each level.

    ``told`` is what the model is told of each picture, or their labels alone (a model that takes none: leave it out).
    Picture i has the same noise whatever the batch, the level's neighbours and the model.
    """
    from tqdm import tqdm

    if log_snrs is None:
        schedule: Schedule | None = getattr(denoiser, "schedule", None)
        if schedule is None:
            raise ValueError("this denoiser has no schedule to take levels from: say log_snrs=")
        log_snrs = log_snrs_of(schedule)
    condition = told if told is None or isinstance(told, Condition) else Condition(label=told)
    levels = [Level.from_log_snr(value) for value in log_snrs]
    run = begin(denoiser, levels)
    found = []
    with tqdm(total=len(levels) * len(pictures), unit="picture", desc="loss by level", disable=not progress) as bar:
        for log_snr, level in zip(log_snrs, levels, strict=True):
            key = noise.key(seed, "loss by level", repr(log_snr))
            errors = []
            for start in range(0, len(pictures), batch_size):
                rows = slice(start, min(start + batch_size, len(pictures)))
                of_these = None if condition is None else condition.rows(rows).to(device)
                errors.append(_errors(run, pictures[rows].to(device), level, of_these, key, start))
                bar.update(rows.stop - rows.start)
            found.append((log_snr, _mean(torch.cat(errors))))
    return found


def _errors(run: Denoise, x0: Tensor, level: Level, told: Condition | None, key: int, start: int) -> Tensor:
    """Mean squared error of each picture, float64 (B,) on the CPU."""
    z = noise.normal(key, range(start, start + len(x0)), x0.shape[1:], x0.device)
    with torch.no_grad():
        belief = run(level.alpha * x0 + level.sigma * z, level, told)
    belief = belief.output if isinstance(belief, Moved) else belief
    return ((belief.cpu().double() - x0.cpu().double()) ** 2).flatten(1).mean(1)


def _mean(values: Tensor) -> Mean:
    spread = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Mean(float(values.mean()), spread, len(values))
