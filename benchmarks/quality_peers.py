"""Quality per call of the network on ideal denoisers: 439 configurations of four other libraries.

    python benchmarks/quality_peers.py [--problem mixture digits natural] [--starts 2048] [--threads 1]    40 minutes on a core

Each gets the problems of ``_problems.py``, 2,048 starts and so many calls, and is measured by what lies between its last
states and the exact answers.  Its figures are written to benchmarks/peers_quality/PROBLEM.json as soon as it is done; what is
there is not done again.  At the end the errors of each start are kept for those that matter (``_kept.py``), which
``quality.py`` compares noisepath with.  A number of calls at which a configuration fails, or is not finite, is null.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from tqdm import tqdm  # noqa: E402

import _kept  # noqa: E402
from _contender import Contender  # noqa: E402
from _kept import Cell, Kept, Row  # noqa: E402
from _peer_samplers import contenders  # noqa: E402
from _peers import version  # noqa: E402
from _problems import CACHE, CALLS, PROBLEMS, STARTS, Problem, answers, disagreement, errors, figures, problem  # noqa: E402

LIBRARIES = ("torch", "numpy", "scipy", "diffusers", "k-diffusion", "azula", "smalldiffusion")
AGREED = 1e-10


def measured(contender: Contender, asked: Problem, answer: Tensor, calls: Sequence[int], failed: Counter[str]) -> Row:
    """Its figures at every number of calls."""
    cells: dict[int, Cell] = {}
    for count in calls:
        cells[count] = None
        try:
            found = figures(errors(contender.run(asked, count), answer))
        except Exception as error:
            failed[f"{contender.library}: {contender.name}: {type(error).__name__}: {str(error)[:80]}"] += 1
            continue
        if all(map(math.isfinite, found)):
            cells[count] = found
        else:
            failed[f"{contender.library}: {contender.name}: not finite"] += 1
    return Row(contender.library, contender.shipped, cells)


def resumed(asked: Problem, calls: list[int], apart: float, folder: Path) -> Kept:
    """What an earlier run kept, or nothing yet."""
    versions = {name: version(name) for name in LIBRARIES}
    fresh = Kept(asked.name, len(asked.start), asked.mark, calls, apart, versions)
    path = folder / f"{asked.name}.json"
    if not path.is_file():
        return fresh
    before = _kept.read(path)
    if not before.same_terms(fresh):
        sys.exit(f"{path} has other starts, calls or versions: move it and its .npz away, or say another --out")
    return before


def first_pass(asked: Problem, answer: Tensor, kept: Kept, entered: Sequence[Contender], folder: Path) -> None:
    """The figures of all that are not there yet."""
    left = [contender for contender in entered if contender.name not in kept.rows]
    failed: Counter[str] = Counter()
    with tqdm(total=len(left) * sum(kept.calls), unit="call", desc=asked.name) as bar:
        for contender in left:
            kept.rows[contender.name] = measured(contender, asked, answer, kept.calls, failed)
            _kept.write(kept, folder)
            bar.update(sum(kept.calls))
    for reason, count in failed.items():
        print(f"  null in {count} cells: {reason}")


def second_pass(asked: Problem, answer: Tensor, kept: Kept, entered: Sequence[Contender], folder: Path) -> None:
    """The errors of each start for those that matter."""
    others = [other for other in _kept.read_all(folder).values() if (other.starts, other.calls) == (kept.starts, kept.calls)]
    wanted, before = _kept.matter(kept, others), _kept.read_errors(asked.name, folder)
    by_name = {contender.name: contender for contender in entered}
    found = {key: array for key, array in before.items() if key[1] in wanted.get(key[0], ())}
    total = sum(calls for name, counts in wanted.items() for calls in counts if (name, calls) not in found)
    with tqdm(total=total, unit="call", desc=f"{asked.name}, start by start") as bar:
        for name, counts in wanted.items():
            left = [calls for calls in counts if (name, calls) not in found]
            for calls in left:
                found[name, calls] = errors(by_name[name].run(asked, calls), answer).numpy()
            if left:
                _kept.write_errors(asked.name, found, folder)
            bar.update(sum(left))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--starts", type=int, default=STARTS)
    parser.add_argument("--calls", type=int, nargs="+", default=list(CALLS))
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="configurations whose names hold one of these")
    parser.add_argument("--out", type=Path, default=_kept.FOLDER)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the exact answers are kept")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Both passes over all problems; the last line counts what there is."""
    given = arguments()
    torch.set_num_threads(given.threads)
    logging.disable(logging.WARNING)
    everyone = contenders()
    entered = [c for c in everyone if given.only is None or any(text in c.name for text in given.only)]
    print(", ".join(f"{name} {version(name)}" for name in LIBRARIES))
    known: dict[str, tuple[Problem, Tensor, Kept]] = {}
    for name in given.problem:
        asked = problem(name, given.starts)
        answer, apart = answers(asked, given.cache)
        differ = disagreement(asked)
        print(f"{name}: two solutions of its ODE are {apart:.1e} apart; its belief is the library's to {differ:.1e}")
        assert differ <= AGREED
        known[name] = asked, answer, resumed(asked, sorted(set(given.calls)), apart, given.out)
        first_pass(*known[name], entered, given.out)
    for asked, answer, kept in known.values():
        second_pass(asked, answer, kept, everyone, given.out)
    counts = ", ".join(f"{name} {len(kept.rows)}" for name, (_, _, kept) in known.items())
    print(f"configurations with figures in {given.out}: {counts}, target {len(entered)}")


if __name__ == "__main__":
    main()
