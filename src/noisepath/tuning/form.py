"""A tableau as a function of few numbers, around a deterministic solver of one call a step.

    places    log(alpha / sigma) of the inner levels.  The solver's own weights follow them.
    noises    at an inner level the weight of the state before is (1 + e) times the solver's: the noise left there is not
              quite what the level says, which asks a network at another level than its state has
    weights   each step adds  alpha_s (1 - r) d_j (D_j - D)  for a few earlier beliefs D_j, with D the newest one

The first and the last level are fixed.  The last step ends at data, and is put right so that a belief that never changes is
where every run ends, whatever the numbers (and whatever the solver's frame: in "trig" it is not by itself).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..levels import Level
from ..tableau import Node, Tableau, ratio

__all__ = ["Form"]

_NEAREST = 1e-3
"""Two levels are at least so far apart in log(alpha / sigma)."""


@dataclass(frozen=True)
class Form:
    """The numbers of a run of ``calls`` calls, in one list: first the places, then the noises, then the weights.

    build: the solver.  first, last: where the run starts and ends (data).  level_at: a path's level of a log-SNR.
    range: least and greatest place of an inner level.  memory: how many earlier beliefs may be added.
    """

    build: Callable[[Sequence[Level]], Tableau]
    first: Level
    last: Level
    level_at: Callable[[float], Level]
    calls: int
    range: tuple[float, float]
    memory: int = 3

    @property
    def kinds(self) -> list[tuple[str, int, int]]:
        """What each number is: ("place" | "noise", level, 0) or ("weight", step, how far back); steps count from 1."""
        inner = range(1, self.calls)
        steps = range(2, self.calls + 1)
        weights = [("weight", n, back) for n in steps for back in range(1, min(n - 1, self.memory) + 1)]
        return [*(("place", n, 0) for n in inner), *(("noise", n, 0) for n in inner), *weights]

    def begin(self, levels: Sequence[Level]) -> list[float]:
        """The numbers at which the table is the solver's own on these levels."""
        places = [level.half_log_snr for level in levels[1:-1]]
        return [places[n - 1] if kind == "place" else 0.0 for kind, n, _ in self.kinds]

    def levels(self, numbers: Sequence[float]) -> list[Level]:
        """The levels of the run."""
        return [self.first, *(self.level_at(2.0 * place) for place in numbers[: self.calls - 1]), self.last]

    def fits(self, numbers: Sequence[float]) -> bool:
        """Whether the levels fall in noise and stay where the network may be asked."""
        places = list(numbers[: self.calls - 1])
        low, high = self.range
        inside = not places or (places[0] > max(low, self.first.half_log_snr) - 1e-9 and places[-1] < high + 1e-9)
        return inside and all(b - a > _NEAREST for a, b in pairwise([self.first.half_log_snr, *places]))

    def held(self, numbers: Sequence[float]) -> list[float]:
        """The numbers with the places brought back to where the network may be asked."""
        low, high = self.range
        inner = self.calls - 1
        return [*(min(max(place, low), high) for place in numbers[:inner]), *numbers[inner:]]

    def table(self, numbers: Sequence[float]) -> Tableau:
        """The tableau of these numbers."""
        nodes = list(self.build(self.levels(numbers)))
        asked = [n for n, node in enumerate(nodes) if node.evaluate]
        made = [*asked[1:], len(nodes) - 1]  # the node that step 1, 2, .. makes
        for (kind, n, back), value in zip(self.kinds, numbers, strict=True):
            if kind == "place" or value == 0.0:
                continue
            node = nodes[made[n - 1]]
            if kind == "noise":
                states = {k: (1.0 + value) * weight for k, weight in node.states.items()}
                nodes[made[n - 1]] = Node(node.level, states, node.outputs, {}, node.evaluate)
                continue
            now, before = asked[n - 1], asked[n - 1 - back]
            added = value * node.level.alpha * (1.0 - ratio(nodes[now].level, node.level))
            outputs = dict(node.outputs)
            outputs[before] = outputs.get(before, 0.0) + added
            outputs[now] = outputs.get(now, 0.0) - added
            nodes[made[n - 1]] = Node(node.level, node.states, outputs, {}, node.evaluate)
        nodes[-1] = _ending_at_constants(nodes)
        return tuple(nodes)


def _ending_at_constants(nodes: Sequence[Node]) -> Node:
    """The last node with what makes it D where every belief is D: no trace of the start, and all weight on the beliefs.

    With a belief that is always D each state is  a x_0 + b D.  What is left of x_0 is taken out as noise of the last state but
    one, what is missing of D is added to its newest belief.
    """
    a, b = [1.0], [0.0]
    for node in nodes[1:]:
        a.append(sum(weight * a[k] for k, weight in node.states.items()))
        b.append(sum(weight * b[k] for k, weight in node.states.items()) + sum(node.outputs.values()))
    last = nodes[-1]
    now = max(n for n, node in enumerate(nodes) if node.evaluate)
    taken = -a[-1] / a[now]
    states, outputs = dict(last.states), dict(last.outputs)
    if taken:
        states[now] = states.get(now, 0.0) + taken
    outputs[now] = outputs.get(now, 0.0) - taken * b[now] + 1.0 - b[-1]
    return Node(last.level, states, outputs, {}, last.evaluate)
