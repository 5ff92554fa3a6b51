"""Breakages of tableaus, the loop, spacings and sampling."""

from __future__ import annotations

from .breakage import Breakage

__all__ = ["BREAKAGES"]

BREAKAGES = (
    Breakage(
        "the weights of an integrator forget q",
        "tableau.py",
        "moments = _moments(q * (b - a), len(finite))",
        "moments = _moments(b - a, len(finite))",
        ("tableau", "solvers"),
    ),
    Breakage(
        "a moment's recursion is off by one",
        "tableau.py",
        "moments.append(1.0 - k / H * moments[-1])",
        "moments.append(1.0 - (k + 1) / H * moments[-1])",
        ("tableau",),
    ),
    Breakage(
        "the noise estimate's sign",
        "tableau.py",
        "(self.x - self.level.alpha * self.D) / self.level.sigma",
        "(self.x + self.level.alpha * self.D) / self.level.sigma",
        ("tableau",),
    ),
    Breakage(
        "a step's ratio is turned round",
        "tableau.py",
        "return (t.alpha * s.sigma) / (s.alpha * t.sigma)",
        "return (s.alpha * t.sigma) / (t.alpha * s.sigma)",
        ("tableau", "solvers"),
    ),
    Breakage(
        "a state is overwritten while it is still wanted",
        "loop.py",
        "dying = [k for k in states if last_state[k] == n]",
        "dying = list(states)",
        ("loop",),
    ),
    Breakage(
        "a draw is made anew at each use",
        "loop.py",
        "if not last:\n            self._kept",
        "if last:\n            self._kept",
        ("loop",),
    ),
    Breakage(
        "an output's weight is dropped",
        "loop.py",
        "x.add_(outputs[k], alpha=weight)",
        "x.add_(outputs[k])",
        ("loop", "solvers"),
    ),
    Breakage(
        "a run shows what a solver works out in between",
        "loop.py",
        "if event.output is not None or event.node == last:",
        "if event.node <= last:",
        ("sampling",),
    ),
    Breakage(
        "a run does not show its end",
        "loop.py",
        "if event.output is not None or event.node == last:",
        "if event.output is not None:",
        ("sampling",),
    ),
    Breakage(
        "alpha_bar's power is not taken back whole",
        "spacing.py",
        "math.sqrt(math.expm1(u ** (1.0 / power)))",
        "math.expm1(u ** (1.0 / power))",
        ("spacing",),
    ),
    Breakage(
        "alpha_bar's scale is not taken back",
        "spacing.py",
        "[scale * math.sqrt(math.expm1(",
        "[math.sqrt(math.expm1(",
        ("spacing",),
    ),
    Breakage("Karras' levels with another exponent", "spacing.py", "rho: float = 7.0", "rho: float = 6.0", ("spacing",)),
    Breakage(
        "trailing is one timestep late",
        "spacing.py",
        "low + round(times - i * (times / steps)) - 1 for i",
        "low + round(times - i * (times / steps)) - 2 for i",
        ("spacing",),
    ),
    Breakage(
        "a run starts with unit noise whatever its level",
        "sampling.py",
        "source(START).to(device, dtype) * level.sigma",
        "source(START).to(device, dtype)",
        ("sampling",),
    ),
    Breakage(
        "a picture's noise depends on its batch",
        "sampling.py",
        "Keyed(asked.seed, self.numbers[rows], self.shape[1:])",
        "Keyed(asked.seed, self.numbers[: rows.stop - rows.start], self.shape[1:])",
        ("sampling",),
    ),
    Breakage(
        "the largest run within some calls makes one too few",
        "sampling.py",
        "    return fewer\n",
        "    return max(fewer - 1, 1)\n",
        ("sampling",),
    ),
    Breakage(
        "a step up has the moments of a step down",
        "tableau.py",
        "    return H * total\n",
        "    return abs(H) * total\n",
        ("tableau",),
    ),
    Breakage(
        "tables that are joined look one node too far back",
        "tableau.py",
        "{k + shift: w for k, w in node.outputs.items()}",
        "{k + shift - 1: w for k, w in node.outputs.items()}",
        ("rising",),
    ),
    Breakage(
        "a run up begins one level too high",
        "spacing.py",
        "noisy = space(path, steps + 1)[:-2]",
        "noisy = space(path, steps + 1)[1:-1]",
        ("spacing",),
    ),
    Breakage(
        "pictures to begin from are not scaled to their level",
        "sampling.py",
        "x.add_(start.to(device, dtype), alpha=level.alpha)",
        "x.add_(start.to(device, dtype))",
        ("sampling",),
    ),
    Breakage(
        "a batch that did not fit is left out",
        "batches.py",
        "                shrunk(-(-(count - first) // fits))\n            continue",
        "                shrunk(-(-(count - first) // fits))\n            first = rows.stop\n            continue",
        ("batches",),
    ),
)
