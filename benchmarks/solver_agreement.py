"""The catalogue's solvers against independent implementations: one denoiser, levels, start and noise, all in float64.

    python benchmarks/solver_agreement.py       about half a minute

The denoiser is an exact mixture's.  The figure is the largest difference over runs of 4, 8 and 15 steps, relative to the
largest value of the peer's samples.  Where a peer is known to compute something else, the line says what.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable

from _pair import TARGET, Pair, difference
from _pairs import ALONE, deterministic, stochastic
from _peers import version
from noisepath.solvers import SOLVERS


def show(title: str, pairs: Iterable[Pair]) -> tuple[int, list[str], float]:
    """Print each pair; how many must agree, which do not, and the worst of those that do."""
    print(f"\n{title}")
    count, wrong, worst = 0, list[str](), 0.0
    for pair in pairs:
        if not version(pair.library):
            wrong.append(f"{pair.library} is not installed (make peers)")
            continue
        apart = difference(pair.build, pair.peer, pair.over)
        own = f"{pair.solver}({pair.options})"
        print(f"  {own:<62} {pair.library + ' ' + pair.name:<48} {apart:8.1e}  {pair.reason}")
        if pair.reason:
            continue
        count += 1
        worst = max(worst, apart)
        if not apart <= TARGET:
            wrong.append(f"{own} and {pair.library} {pair.name}")
    return count, wrong, worst


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(", ".join(f"{name} {version(name)}" for name in ("diffusers", "k-diffusion", "azula", "torchdiffeq")))
    counts, failures, figures = zip(show("deterministic", deterministic()), show("the same draws", stochastic()), strict=True)
    print("\nwithout a peer that could be compared")
    for name, reason in ALONE.items():
        print(f"  {name:<16} {reason}")
    compared = {pair.solver for pair in (*deterministic(), *stochastic())}
    missing = sorted(set(SOLVERS) - compared - set(ALONE))
    wrong = [*failures[0], *failures[1], *(f"{name} is neither compared nor said to be alone" for name in missing)]
    for line in dict.fromkeys(wrong):
        print(f"NOT THE SAME: {line}")
    word = "ok" if not wrong else f"{len(wrong)} differ"
    print(
        f"\n{len(compared)} of {len(SOLVERS)} solvers; worst difference of {counts[0]} deterministic pairs {figures[0]:.1e}, "
        f"of {counts[1]} stochastic {figures[1]:.1e} <= {TARGET:g}  {word}"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
