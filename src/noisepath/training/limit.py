"""The limit of a trained network (:mod:`noisepath.limit`), measured with the weights that are saved.

The mean and covariance come from the training data; the weights from data that are held out, where there are enough.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from noisepath import noise
from noisepath.conditions import Condition
from noisepath.data import Data
from noisepath.data_stats import DataStats, LinearEstimate
from noisepath.denoiser import Denoiser, begin
from noisepath.levels import Level
from noisepath.limit import Limit, ramp
from noisepath.predictions import PREDICTIONS, preconditioned
from noisepath.schedules import Schedule
from noisepath.training.trainer import Trainer

__all__ = ["Limits", "Probe", "estimate_of", "limited_log_snrs", "measure_limit", "probe_of"]

LEVELS = 16
"""Log-SNRs at which the weights are measured."""
NOISIEST = -20.0
"""The least log-SNR at which they are: sigma / alpha is 22,000 there."""
TIMES = 1024
"""Times of a continuous schedule at which the factors are looked at."""
MEASURED_ON, LEAST_MEASURED_ON = 256, 32
"""Samples that the weights are measured on."""
SHARE = 0.01
"""Of the training's passes through the network, a step counted as three for each sample, that a measurement takes."""
LEAST_HELD_OUT = 16
MOMENTS_OF = 4096
"""Samples that mean and covariance are measured on, and ``PER_CLASS`` of each class at least."""
PER_CLASS = 64
MOST_NUMBERS = 2**27
"""Values that these samples may have in all."""


class Limits:
    """The limits of a run's averages, measured anew at each step at which they are asked for, and the averages as denoisers.

    ``held_out``: data that the network is not trained on; None: the training data are measured on.
    """

    def __init__(self, trainer: Trainer, held_out: Data | None, wanted: bool = True) -> None:
        self._trainer, self._held_out = trainer, held_out
        o = trainer.objective
        found = limited_log_snrs(o.schedule, o.prediction, o.sigma_data, o.preconditioning) if wanted else ()
        self.log_snrs = found if len(trainer.data) > 1 else ()
        self._step, self._found = -1, dict[str, Limit]()

    @cached_property
    def estimate(self) -> LinearEstimate | None:
        """What the data's mean and covariance say; None where no limit is needed."""
        return estimate_of(self._trainer.data) if self.log_snrs else None

    def denoiser(self, average: str = "model") -> Denoiser:
        """A copy of the network with averaged weights, limited as it will be loaded."""
        return self._denoiser(average, self.limit(average), (-1.0, 1.0))

    def _denoiser(self, average: str, limit: Limit | None = None, ends: tuple[float, float] | None = None) -> Denoiser:
        trainer, o = self._trainer, self._trainer.objective
        network = deepcopy(trainer.network).eval().requires_grad_(False)
        network.load_state_dict(trainer.averages[average].state_dict())
        stats = DataStats(float(trainer.data.mean), o.sigma_data, ends)
        return Denoiser(
            network, o.schedule, o.prediction, sigma_data=o.sigma_data, null=trainer.null, data_stats=stats, limit=limit,
            preconditioning=o.preconditioning,
        )  # fmt: skip

    def limit(self, average: str = "model") -> Limit | None:
        """The limit of an average's weights as they are now."""
        if self.estimate is None:
            return None
        if self._step != self._trainer.done:
            self._step, self._found = self._trainer.done, {}
        if average not in self._found:
            # without a range: what is measured is the network as it is, not clamped
            self._found[average] = measure_limit(
                self._denoiser(average), self.estimate, self.log_snrs, self._probe(), self._trainer.config.seed
            )
        return self._found[average]

    @property
    def measured(self) -> dict[str, Limit]:
        """The limits that were measured last, by average; {} where none is needed, or none was measured yet."""
        return dict(self._found)

    def to_dict(self) -> dict[str, Any] | None:
        """The limits of all averages, for ``config.json``."""
        found = {name: self.limit(name) for name in self._trainer.averages}
        return None if self.estimate is None else {name: limit.to_dict() for name, limit in found.items() if limit is not None}

    def _probe(self) -> Probe:
        """As many samples as a small share of the training so far is worth, in passes through the network."""
        trainer = self._trainer
        passes = 3 * trainer.done * trainer.config.batch_size * SHARE
        count = min(MEASURED_ON, max(LEAST_MEASURED_ON, int(passes / (4 * len(self.log_snrs)))))
        return probe_of(
            trainer.data, self._held_out, count, lambda data, rows: trainer.vocabulary.told(data, rows, trainer.device),
            trainer.device,
        )  # fmt: skip


@dataclass(frozen=True)
class Probe:
    """Data that weights are measured on: x_0 (B, *), and what is known of each sample."""

    x0: Tensor
    condition: Condition | None


def limited_log_snrs(
    schedule: Schedule, prediction: str, sigma_data: float, preconditioning: str = "none"
) -> tuple[float, ...]:
    """The log-SNRs, rising, at which a limit is to be measured; () where no error is multiplied, and none is needed."""
    low, high = schedule.t_min, schedule.t_max
    count = schedule.num_timesteps or TIMES
    t = torch.linspace(low, high, count, dtype=torch.float64, device="cpu")
    alpha, sigma = schedule.alpha_sigma(t)
    kind = PREDICTIONS[prediction]
    c_out = preconditioned(kind, schedule, t, alpha, sigma, sigma_data, preconditioning).c_out
    log_snr = schedule.log_snr(t)
    needed = torch.tensor([ramp(c, sigma_data) > 0 for c in c_out.tolist()])
    needed |= ~torch.isfinite(c_out) & (alpha < sigma)
    if not kind.at_pure_noise:
        needed |= alpha == 0  # where only the mean is an answer
    if not needed.any():
        return ()
    ends = log_snr[needed]
    least, most = max(NOISIEST, float(ends.min())), float(ends.max())
    if not least < most:
        return (least,)
    return tuple(torch.linspace(least, most, LEVELS, dtype=torch.float64, device="cpu").tolist())


def estimate_of(data: Data) -> LinearEstimate | None:
    """Mean and covariance of the training data; None where there is but one sample."""
    size = max(1, torch.Size(data.shape).numel())
    most = max(2, min(len(data), max(MOMENTS_OF, PER_CLASS * data.classes), MOST_NUMBERS // size))
    x0, rows = _readable(data, most)
    if len(x0) < 2:
        return None
    labels = None if data.labels is None else data.labels[torch.tensor(rows)]
    return LinearEstimate.measure(x0, labels, data.classes)


def probe_of(
    data: Data,
    held_out: Data | None,
    count: int,
    condition: Callable[[Data, list[int]], Condition | None],
    device: torch.device | str = "cpu",
) -> Probe:
    """``count`` samples to measure on; ``condition(data, numbers)`` is what is known of them."""
    source = held_out if held_out is not None and len(held_out) >= LEAST_HELD_OUT else data
    x0, rows = _readable(source, count)
    return Probe(x0.to(device), condition(source, rows))


def measure_limit(
    denoiser: Denoiser, estimate: LinearEstimate, log_snrs: tuple[float, ...], probe: Probe, seed: int = 0, batch_size: int = 64
) -> Limit:
    """The limit of a denoiser that has none yet: at each log-SNR the weight of the least squared error, with the condition of
    each sample and without one."""
    levels = [Level.from_log_snr(value) for value in log_snrs]
    cond = _weights(denoiser, estimate, levels, probe, seed, batch_size)
    hidden = denoiser.null
    if hidden is None or probe.condition is None:
        return Limit(estimate, log_snrs, cond, cond)
    without = Probe(probe.x0, hidden.expand(len(probe.x0)) if _one_size(hidden, probe.condition) else _blank(probe, hidden))
    return Limit(estimate, log_snrs, cond, _weights(denoiser, estimate, levels, without, seed, batch_size))


def _one_size(hidden: Condition, condition: Condition) -> bool:
    return all(hidden[name].shape[1:] == value.shape[1:] for name, value in condition.items())


def _blank(probe: Probe, hidden: Condition) -> Condition:
    """The null of images that are conditions is one pixel: as large as these."""
    assert probe.condition is not None
    every = torch.ones(len(probe.x0), dtype=torch.bool, device=next(iter(probe.condition.values())).device)
    return probe.condition.drop(hidden, every)


@torch.no_grad()
def _weights(
    denoiser: Denoiser, estimate: LinearEstimate, levels: list[Level], probe: Probe, seed: int, batch_size: int
) -> tuple[float, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its error is multiplied is why it is measured
        run = begin(denoiser, levels)
    found = []
    for level in levels:
        key = noise.key(seed, "limit", repr(level.log_snr))
        both = square = 0.0
        for start in range(0, len(probe.x0), batch_size):
            rows = slice(start, min(start + batch_size, len(probe.x0)))
            x0 = probe.x0[rows]
            condition = None if probe.condition is None else probe.condition.rows(rows)
            z = noise.normal(key, range(rows.start, rows.stop), x0.shape[1:]).to(x0)
            x = level.alpha * x0 + level.sigma * z
            linear = estimate(x, level.alpha, level.sigma, None if condition is None else condition.get("label")).double()
            denoised = run(x, level, condition)
            assert isinstance(denoised, Tensor), "a network moves no state"
            moved = denoised.double() - linear
            both += float((moved * (x0.double() - linear)).sum())
            square += float(moved.square().sum())
        weight = both / square if 0.0 < square < float("inf") else 1.0 if square == 0.0 else 0.0
        found.append(min(1.0, max(0.0, weight)) if weight == weight else 0.0)
    return tuple(round(value, 6) for value in found)


def _readable(data: Data, most: int) -> tuple[Tensor, list[int]]:
    """At most so many samples from all over the data, and their numbers; those that can't be read are left out."""
    found, rows = [], []
    for number in torch.linspace(0, len(data) - 1, min(len(data), most), dtype=torch.float64).round().long().tolist():
        try:
            found.append(data.batch([number])[0])
            rows.append(number)
        except ValueError:  # it is named once training comes to it
            continue
    return (torch.cat(found), rows) if found else (torch.zeros(0, *data.shape), rows)
