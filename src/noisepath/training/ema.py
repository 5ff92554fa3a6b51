"""The moving average of the weights, which makes better pictures than the weights themselves.

Its memory grows with the run (the power-function profile of Karras et al. 2312.02696, eq. 122-127): after step n

    average_n = beta_n average_(n-1) + (1 - beta_n) weights_n,      beta_n = (1 - 1 / n)^(gamma + 1)

so that weights_k counts like k^gamma: the average forgets the start by itself, needs no warm-up, and its width is a fixed
share of the steps made so far, sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3)), whatever the run's length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["EMA", "gamma_of_length", "length_of_gamma"]

_LONGEST = math.sqrt(1 / 12)  # gamma = 0: the plain mean of all steps


def length_of_gamma(gamma: float) -> float:
    """Width (standard deviation) of the profile k^gamma as a share of the run."""
    return math.sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2)


def gamma_of_length(length: float) -> float:
    """The exponent whose profile has this width, by bisection; ``length`` in (0, 0.288]."""
    if not 0.0 < length <= _LONGEST:
        raise ValueError(f"the moving average's length is a share of the run in (0, {_LONGEST:.3f}], but is {length}")
    low, high = 0.0, 1.0 / length
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if length_of_gamma(middle) > length else (low, middle)
    return (low + high) / 2


class EMA:
    """The average of a network's floating-point parameters and buffers, in float32 on the same device."""

    def __init__(self, network: nn.Module, length: float) -> None:
        self.gamma = gamma_of_length(length)
        self._live = dict(network.state_dict(keep_vars=True))
        self.average = {name: _copy(value) for name, value in self._live.items()}

    def beta(self, n: int) -> float:
        """How much of the old average is kept at step n = 1, 2, ...: 0 at the first."""
        return float((1 - 1 / n) ** (self.gamma + 1))

    @torch.no_grad()
    def update(self, n: int) -> None:
        """Take in the weights after step n = 1, 2, ..."""
        floats = [name for name, value in self._live.items() if value.is_floating_point()]
        live = [self._live[name].detach().float() for name in floats]
        torch._foreach_lerp_([self.average[name] for name in floats], live, 1 - self.beta(n))
        for name in self._live.keys() - set(floats):
            self.average[name].copy_(self._live[name])

    def state_dict(self) -> dict[str, Tensor]:
        """The average, under the network's own names."""
        return self.average

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a stored average; its names must be the network's."""
        if state.keys() != self.average.keys():
            raise ValueError("the stored moving average belongs to another network: its names differ")
        for name, value in state.items():
            self.average[name].copy_(value)


def _copy(value: Tensor) -> Tensor:
    value = value.detach().clone()
    return value.float() if value.is_floating_point() else value
