"""What the loop keeps in memory beside the network: as many tensors of a state's size as the tableau looks back on, no more.

    python benchmarks/loop_memory.py [--steps 20]

Every tensor that an operation of the loop makes is watched (torch's dispatch mode, by its storage), with the outputs that
the network gives and the draws; what the network makes inside a call is its own affair, and a draw works in fixed memory
of its own, 400 KB for each thread.  The peak of those alive at once is
set beside what the table needs at its worst moment:

    in a call      the states and outputs that a later node looks at, and the state that is asked about
    between        the states and outputs that this node or a later one looks at, and the new state, unless one that nobody
                   looks at any more can be overwritten; and the draws that are held at once, at most

The last line says how many solvers keep to it, and the worst excess, beside the target.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from noisepath.levels import Level
from noisepath.loop import iterate
from noisepath.noise import Keyed
from noisepath.solvers import SOLVERS
from noisepath.tableau import START, Draw, Tableau
from noisepath.testing import at

SHAPE = (3, 4, 16, 16)


class Watch(TorchDispatchMode):
    """Counts the storages of a state's size that are alive, after each operation; ``peak`` is the most there were."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.peak, self.inside = size, 0, False
        self.known: dict[int, StorageWeakRef] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if not self.inside:
            for tensor in tree_leaves(made) if "out" not in (kwargs or {}) else ():  # what is written into was there before
                self.see(tensor)
            self.count()
        return made

    def see(self, tensor: object) -> None:
        """Watch a tensor's storage from now on."""
        if isinstance(tensor, Tensor) and tensor.untyped_storage().nbytes() >= self.size:
            storage = StorageWeakRef(tensor.untyped_storage())
            self.known[storage.cdata] = storage

    def count(self) -> None:
        """Take stock."""
        self.known = {key: storage for key, storage in self.known.items() if not storage.expired()}
        self.peak = max(self.peak, len(self.known))


def measured(table: Tableau) -> int:
    """The most tensors of a state's size alive at once in a run of the table."""
    source = Keyed(0, list(range(SHAPE[0])), SHAPE[1:])
    x = source(START)
    watch = Watch(x.untyped_storage().nbytes())

    def run(x: Tensor, level: Level) -> Tensor:
        watch.count()
        watch.inside = True
        belief = torch.tanh(x * 0.5) * level.alpha
        watch.inside = False
        watch.see(belief)
        return belief

    watch.see(x)
    with torch.no_grad(), watch:
        events = iterate(table, run, x, source, overwrite=True)
        del x
        for event in events:
            watch.count()
            del event
    return watch.peak


def needed(table: Tableau) -> int:
    """The most tensors that the table needs at once, its draws among them."""
    last_state, last_output = list(range(len(table))), [-1] * len(table)
    span: dict[Draw, list[int]] = {}
    for n, node in enumerate(table):
        for k in node.states:
            last_state[k] = n
        for k in node.outputs:
            last_output[k] = n
        for draw in node.draws:
            span.setdefault(draw, []).append(n)
    last_state[-1] = len(table)
    most = 0
    for n in range(len(table)):
        states = [k for k in range(n) if last_state[k] >= n]
        outputs = sum(last_output[k] >= n for k in range(n))
        # a state that dies here becomes the new one; so does one that only the last call wanted
        spare = any(last_state[k] == n for k in states) or (n > 0 and last_state[n - 1] < n)
        between = len(states) + outputs + (last_state[n - 1] < n if n else 0) + (not spare)
        later = sum(last_state[k] > n for k in range(n)) + 1 + sum(last_output[k] > n for k in range(n))
        most = max(most, between, later + (last_output[n] > n))
    held = max((sum(uses[0] <= n <= uses[-1] for uses in span.values()) for n in range(len(table))), default=0)
    return most + held


def main() -> None:
    """Print a line for each solver."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    ratios = [math.inf, *(30.0 * 0.001 ** (i / (steps - 2)) for i in range(steps - 1)), 0.0]
    levels = [at("flow", ratio) for ratio in ratios]
    size = 4 * math.prod(SHAPE) / 1024
    print(f"{steps} steps, states of {SHAPE} float32 = {size:g} KiB\n{'solver':20}{'alive':>6}{'needed':>8}{'KiB':>7}")
    excess = {}
    for name, solver in SOLVERS.items():
        table = solver.build(levels)
        alive, need = measured(table), needed(table)
        excess[name] = alive - need
        print(f"{name:20}{alive:6d}{need:8d}{alive * size:7.0f}")
    over = [name for name, more in excess.items() if more > 0]
    print(f"\nsolvers that keep to what their tables need: {len(excess) - len(over)} of {len(excess)}", end="")
    print(f"; worst excess {max(0, *excess.values())} tensors{' (' + ', '.join(over) + ')' if over else ''} (target: all, 0)")


if __name__ == "__main__":
    main()
