"""What a training step minimises, as a function of (seed, step, sample) and nothing else.

    t, weight ~ times          noise ~ N(0, 1)          x_t = alpha(t) x_0 + sigma(t) noise
    F = network(c_in x_t, c_noise, condition)           F* = the F for which D = c_skip x_t + c_out F is x_0
    loss = weight * w(log_snr) * c_out^2 * mean |F - F*|^2        (w is the weighting on |D - x_0|^2)

Every draw is a hash of (seed, step, purpose, sample): the same whatever the batch is cut into and wherever a run was
resumed.  A *sample* is one picture shown once; its index counts through the whole run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from noisepath import noise
from noisepath.conditions import Condition
from noisepath.errors import lookup, unknown
from noisepath.predictions import PREDICTIONS, find, preconditioned
from noisepath.schedules import Schedule
from noisepath.training.weighting import WEIGHTINGS

__all__ = ["Losses", "Objective", "check_options"]


def check_options(of: str, make: Callable[..., Any], options: Collection[str], given: Collection[str] = ()) -> None:
    """ValueError for a name that ``make`` does not take, or that is ``given`` already."""
    known = [name for name in inspect.signature(make).parameters if name not in given]
    for name in options:
        if name not in known:
            raise unknown(f"option of {of}", name, known)


class Losses(NamedTuple):
    """One training batch: the loss of each sample and how much it counts, (B,) each; t is float64 on the CPU."""

    loss: Tensor
    weight: Tensor
    t: Tensor

    @property
    def weighted(self) -> Tensor:
        """``weight * loss``: (B,); its mean is what is minimised."""
        return self.weight * self.loss


@dataclass(frozen=True)
class Objective:
    """A training loss: schedule, kind of prediction, sampler of times, weighting.

    Args:
        schedule: the path (:mod:`noisepath.schedules`).
        prediction: a name of ``PREDICTIONS``.
        times: a sampler of :mod:`noisepath.times`; has ``draw(schedule, key, indices, positions, total)``.
        weighting: a name of ``WEIGHTINGS``.
        options: of the weighting, such as ``{"gamma": 5.0}`` or ``{"bias": -1.0}``.
        sigma_data: standard deviation of the data.
        drop: share of the samples whose condition is replaced by the null.
        drop_each: share of the samples of which each part of the condition is so by itself, where it has several.
        preconditioning: a name of ``PRECONDITIONINGS``: how the network sees its prediction.
    """

    schedule: Schedule
    prediction: str
    times: Any
    weighting: str = "plain"
    options: dict[str, float] = field(default_factory=dict)
    sigma_data: float = 0.5
    drop: float = 0.0
    drop_each: float = 0.0
    preconditioning: str = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "prediction", find(self.prediction))
        kind = PREDICTIONS[self.prediction]
        weighting = lookup(WEIGHTINGS, self.weighting, "weighting")
        check_options(f"weighting {self.weighting!r}", weighting, self.options, given={"log_snr", "sigma_data"})
        if self.schedule.num_timesteps and self.schedule.level(self.schedule.t_max).is_noise and not kind.at_pure_noise:
            can = ", ".join(name for name, other in PREDICTIONS.items() if other.at_pure_noise)
            raise ValueError(
                f"the schedule's last step is pure noise (alpha = 0), where {self.prediction!r} says nothing about the "
                f"picture; predictions that do: {can}"
            )

    def losses(
        self,
        network: Callable[..., Tensor],
        x0: Tensor,
        condition: Condition | None = None,
        *,
        null: Condition | None = None,
        seed: int,
        step: int,
        samples: Sequence[int],
        positions: Sequence[int] | None = None,
        total: int | None = None,
    ) -> Losses:
        """Losses of a batch, or of a part of one.

        Args:
            network: called as ``network(x, c_noise, **condition)``.
            x0: (B, *) clean pictures, float32.
            condition: what the network is told, B rows; ``null`` takes its place for a share ``drop`` of the samples.
            seed, step: of the run.
            samples: B indices of the samples in the run, each the key of its draws.
            positions: their places in the whole batch, 0 .. total - 1 (default: this is the whole batch).
            total: size of the whole batch.
        """
        positions = range(len(x0)) if positions is None else positions
        t, weight = self.times.draw(
            self.schedule, noise.key(seed, step, "time"), samples, positions, len(x0) if total is None else total
        )
        z = noise.normal(noise.key(seed, step, "noise"), samples, x0.shape[1:]).to(x0.device, x0.dtype)
        if condition is not None and null is not None:
            condition = self._hidden(condition, null, seed, step, samples)
        error = self._errors(network, x0, z, t, condition)
        return Losses(error, weight.to(error.dtype).to(error.device), t)

    def _hidden(self, condition: Condition, null: Condition, seed: int, step: int, samples: Sequence[int]) -> Condition:
        """The condition, of some samples hidden as a whole, of some in part."""
        if self.drop > 0:
            whole = noise.uniform(noise.key(seed, step, "drop"), samples) < self.drop
            condition = condition.drop(null, whole.to(next(iter(condition.values())).device))
        if self.drop_each > 0 and len(condition) > 1:
            each = {
                name: (noise.uniform(noise.key(seed, step, "drop", name), samples) < self.drop_each).to(value.device)
                for name, value in condition.items()
            }
            condition = condition.drop(null, each)
        return condition

    def _errors(self, network: Callable[..., Tensor], x0: Tensor, z: Tensor, t: Tensor, condition: Condition | None) -> Tensor:
        """The weighted squared error of each picture in the network's terms, (B,)."""
        alpha, sigma = self.schedule.alpha_sigma(t)
        kind = PREDICTIONS[self.prediction]
        factors = preconditioned(kind, self.schedule, t, alpha, sigma, self.sigma_data, self.preconditioning)
        of_x0, of_noise = factors.target(alpha, sigma)
        if not torch.isfinite(of_x0 + of_noise).all():
            raise ValueError(f"{self.prediction!r} can't be trained at t = {float(t[~torch.isfinite(of_x0 + of_noise)][0])}")
        weight = self._weight(t, factors.c_out)

        def like_x0(values: Tensor) -> Tensor:
            return values.to(x0.dtype).to(x0.device)  # in this order: not every device has float64

        def per_picture(values: Tensor) -> Tensor:
            return like_x0(values).view(-1, *[1] * (x0.ndim - 1))

        seen = x0 * per_picture(factors.c_in * alpha) + z * per_picture(factors.c_in * sigma)
        target = x0 * per_picture(of_x0) + z * per_picture(of_noise)
        output = network(seen, like_x0(factors.c_noise), **(condition if condition is not None else {}))
        if output.shape != x0.shape:
            raise ValueError(f"the network gives shape {tuple(output.shape)} for pictures of shape {tuple(x0.shape)}")
        square = (output.to(x0.dtype) - target).square().flatten(1).mean(1)
        return square if weight is None else square * like_x0(weight)

    def _weight(self, t: Tensor, c_out: Tensor) -> Tensor | None:
        """Weight on the network's squared error: the weighting on x_0 times c_out^2, (B,)."""
        log_weight = WEIGHTINGS[self.weighting](self.schedule.log_snr(t), sigma_data=self.sigma_data, **self.options)
        return None if log_weight is None else torch.exp(log_weight + 2 * torch.log(c_out.abs()))
