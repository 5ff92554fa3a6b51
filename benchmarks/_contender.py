"""What a library's sampler is to a comparison: it is told a number of steps, and asks for beliefs that are counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from _problems import LARGEST, Problem


class Spent(Exception):
    """More calls than there may be."""


class Asked:
    """A problem as samplers see it: a start, and a belief that may be asked for so many times."""

    def __init__(self, start: Tensor, belief: Callable[[Tensor, float], Tensor], most: int) -> None:
        self.start, self.belief, self.left = start, belief, most

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """E[x_0 | x_0 + sigma * noise = x]."""
        if self.left == 0:
            raise Spent
        self.left -= 1
        return self.belief(x, sigma)

    @property
    def preserving(self) -> Tensor:
        """The start where alpha^2 + sigma^2 = 1."""
        return self.start / math.hypot(1.0, LARGEST)


Sampler = Callable[[Asked, int], Tensor]
"""(problem, steps) -> the last state."""


@dataclass(frozen=True)
class Contender:
    """One configuration of a library's sampler."""

    name: str
    library: str
    shipped: bool
    sampler: Sampler

    def steps(self, problem: Problem, calls: int) -> int:
        """The most steps that make no more calls."""
        for steps in range(calls, 0, -1):
            try:
                self.sampler(Asked(problem.start[:2], lambda x, sigma: torch.zeros_like(x), calls), steps)
            except Spent:
                continue
            return steps
        raise ValueError(f"{self.name} makes more than {calls} calls in one step")

    def run(self, problem: Problem, calls: int) -> Tensor:
        """What it makes of the problem's starts with no more than so many calls."""
        steps = self.steps(problem, calls)
        return self.sampler(Asked(problem.start, problem.belief, calls), steps)
