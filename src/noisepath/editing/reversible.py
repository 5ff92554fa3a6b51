"""BDIA: a solver whose every step can be undone exactly, whatever the denoiser is.

Zhang, Lewis & Kleijn 2307.10829, section 4.  With DDIM's step from x_i to a neighbouring level written down(x_i) and
up(x_i), both with the one belief at x_i, and i + 1 the noisier neighbour,

    x_{i-1} = down(x_i) + gamma (x_{i+1} - up(x_i)).

Turned round it is the same rule with 1 / gamma, so two neighbouring states give all the others back, up to rounding: the
denoiser is asked at the same x_i both ways, and nothing is solved.  The bracket is taken in the variance-preserving frame, the
paper's, so that pictures do not depend on the path.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .._lazy import torch
from ..conditions import Condition
from ..denoiser import Denoise
from ..errors import is_number, shown
from ..levels import Level
from ..loop import Run, iterate, run_loop
from ..solvers import ddim
from ..spacing import Spacing, check_falling
from ..tableau import Draft, Draw, Node, Tableau
from .inversion import check_iterations, falling, running, solved, step_of
from .midway import check_alike, check_pictures

if TYPE_CHECKING:
    from torch import Tensor

    from ..schedules import Schedule

__all__ = ["Reversed", "bdia", "invert_exactly", "restore"]

# Where the second of two states that a run begins from is handed in.
_SECOND = Draw(-1, 1)


def bdia(levels: Sequence[Level], *, gamma: float = 1.0) -> Tableau:
    """BDIA on falling levels: one call a step, the first step is DDIM's.

    gamma: above 0 and at most 1.  1 is a leapfrog, of second order where steps change smoothly and of first where long and
        short ones alternate; less damps its error and is of first order, and the reversal amplifies rounding by 1 / gamma a
        step.
    """
    _check_gamma(gamma)
    Draft(levels)  # refuses levels that turn, or rise from data
    return _table(levels, gamma, None)


@dataclass(frozen=True)
class Reversed:
    """Two neighbouring states at the noisy end of a run, from which it leads back exactly."""

    first: Tensor
    """The state at the run's first level, (B, *); over ``levels[0].sigma`` it is its noise."""
    second: Tensor
    """That at its second level."""
    levels: tuple[Level, ...]
    gamma: float

    def __post_init__(self) -> None:
        check_alike(self.first, self.second, "states")
        check_falling(self.levels)
        _check_gamma(self.gamma)

    @property
    def noise(self) -> Tensor:
        """What :func:`noisepath.sampling.sample` takes for its start: unit normals where the levels begin in pure noise."""
        return self.first / self.levels[0].sigma


def invert_exactly(
    denoiser: Denoise,
    pictures: Tensor,
    *,
    steps: int | None = None,
    spacing: str | Spacing | None = None,
    levels: Sequence[Level] | None = None,
    schedule: Schedule | None = None,
    gamma: float = 1.0,
    condition: Condition | None = None,
    iterations: int = 5,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Reversed:
    """Pictures (B, *) led up by BDIA turned round; :func:`restore` leads the two states back to them, to rounding.

    The second state, beside the pictures, is the one from which DDIM's last step leads to them, as nearly as ``iterations``
    trials find it (:func:`noisepath.editing.invert`); whatever it is, the way back is exact.  One call a step.

    gamma: of :func:`bdia`.  Other arguments and errors as for :func:`noisepath.editing.invert`; at least 2 steps.
    """
    check_pictures(pictures)
    _check_gamma(gamma)
    check_iterations(iterations)
    path = falling(denoiser, schedule, steps, spacing, levels)
    if len(path) < 3:
        raise ValueError("two neighbouring states begin a run of 2 steps or more, but 1 is asked for")
    last, table = step_of(path[-2], path[-1], ddim), _table(path[::-1], 1.0 / gamma, _SECOND)

    def up(run: Run, x: Tensor) -> Tensor:
        beside = solved(last, run, x, iterations)
        *_, second, first = (event.x.clone() for event in iterate(table, run, x, lambda place: beside))
        return torch.stack([first, second], 1)

    asked = [level for level in path if not level.is_data]
    made = running(denoiser, asked, pictures, up, condition, batch_size, device, dtype)
    return Reversed(made[:, 0], made[:, 1], tuple(path), gamma)


def restore(
    denoiser: Denoise, states: Reversed, *, condition: Condition | None = None, batch_size: int | None = None
) -> Tensor:
    """The pictures (B, *) that two states lead to: with the same condition those that were inverted, with another its own."""
    if not isinstance(states, Reversed):
        raise TypeError(f"restore takes the two states that invert_exactly gave, a Reversed, but got {shown(states)}")
    table = _table(states.levels, states.gamma, _SECOND)

    def down(run: Run, both: Tensor) -> Tensor:
        first, second = both.unbind(1)
        return run_loop(table, run, first.contiguous(), lambda place: second)

    both = torch.stack([states.first, states.second], 1)
    asked = [level for level in states.levels[1:] if not level.is_data]
    return running(denoiser, asked, both, down, condition, batch_size, both.device, both.dtype)


def _table(levels: Sequence[Level], gamma: float, second: Draw | None) -> Tableau:
    """BDIA on levels that fall or rise, from data too; the second state is DDIM's, or handed in where a draw would be."""
    beside = _node(levels[1], {0: _euler(levels[0], levels[1])}) if second is None else Node(levels[1], {}, {}, {second: 1.0})
    nodes = [Node(levels[0], {}, {}, {}, evaluate=second is None), beside]
    for n, (before, here, level) in enumerate(zip(levels, levels[1:], levels[2:], strict=False)):
        share = gamma * math.hypot(level.alpha, level.sigma) / math.hypot(before.alpha, before.sigma)
        on, back = _euler(here, level), _euler(here, before)
        nodes.append(_node(level, {n: (share, 0.0), n + 1: (on[0] - share * back[0], on[1] - share * back[1])}))
    return (*nodes[:-1], replace(nodes[-1], evaluate=False))


def _node(level: Level, weights: Mapping[int, tuple[float, float]]) -> Node:
    """A state of weights on earlier states and on the beliefs there."""
    states, outputs = ({k: pair[i] for k, pair in weights.items() if pair[i]} for i in (0, 1))
    return Node(level, states, outputs, {})


def _euler(t: Level, s: Level) -> tuple[float, float]:
    """DDIM's step from t to any level, the belief with the noise believed to be in x: its weights on x and on D."""
    return s.sigma / t.sigma, s.alpha - s.sigma * t.alpha / t.sigma


def _check_gamma(gamma: float) -> None:
    if not (is_number(gamma) and 0.0 < gamma <= 1.0):
        raise ValueError(f"gamma must be above 0 and at most 1, but got {shown(gamma)}")
