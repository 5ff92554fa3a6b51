"""Tuned samplers on starts that they have not seen, beside the best of other libraries' configurations in hindsight.

    python benchmarks/quality_tuned.py [--problem mixture digits natural] [--calls 4 5 6 8 10]       about ten minutes on a core
    python benchmarks/quality_tuned.py --problem --run runs/digits                                   the same on a network

On the problems of ``_problems.py`` a sampler is tuned from the denoiser alone, with noise of its own, and measured on the 2,048
starts that ``quality_peers.py`` measured 439 configurations on: "in hindsight" is the best of these, chosen anew in each cell.

On a network it is tuned to guidance 1, 2 and 4 together, and to all classes but the last three (so far as there are classes).
It is measured with other noise at each of the three scales, on the classes it was tuned to and on those it has not seen.  The
answers are runs of 160 steps.  The others are those of the 439 that are the best in a cell of some problem, and all that are
shipped; they ask the same network, at the noise levels of DDPM's linear process, from the same starts.

A cell's figure is the RMSE over the starts.  The verdict is the geometric mean over all cells of tuned / best in hindsight.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

import _kept  # noqa: E402
from _peer_samplers import contenders  # noqa: E402
from _problems import CACHE, LARGEST, PROBLEMS, SCHEDULE, answers, errors, figures, problem  # noqa: E402
from noisepath import Condition, Level, Tuned, classifier_free, load, noise, sample, tune  # noqa: E402
from noisepath.solvers import adams  # noqa: E402
from noisepath.spacing import asinh  # noqa: E402
from noisepath.tableau import Draw  # noqa: E402

CALLS = (4, 5, 6, 8, 10)
SCALES = (1.0, 2.0, 4.0)
UNSEEN = 3
"""Classes of a network that nothing is tuned to."""
REFERENCE = 160


@dataclass(frozen=True)
class Row:
    """One cell."""

    where: str
    calls: int
    tuned: float
    default: float
    hindsight: float
    whose: str
    begun_from: str

    @property
    def ratio(self) -> float:
        return self.tuned / self.hindsight


# Problems whose answers are known ------------------------------------------------------------------------------------------


def on_problem(name: str, calls: Sequence[int], starts: int, folder: Path, cache: Path) -> list[Row]:
    """A sampler for each number of calls, on the starts that the others had."""
    kept = _kept.read_all(folder)[name]
    asked = problem(name, kept.starts)
    if asked.mark != kept.mark:
        sys.exit(f"{name}: the others' figures are of other starts; measure them anew with quality_peers.py")
    answer, _ = answers(asked, cache)
    run = partial(
        sample, asked.denoiser, asked.start.shape, noise=lambda place: asked.start / LARGEST, dtype=torch.float64
    )
    began = time.perf_counter()
    made = tune(asked.denoiser, (asked.start.shape[1],), calls, starts=starts, dtype=torch.float64)
    print(f"{name}: tuned in {time.perf_counter() - began:.0f} s")
    rows = []
    for sampler in made:
        own = figures(errors(run(solver=sampler), answer))[0]
        default = figures(errors(run(calls=sampler.calls), answer))[0]
        rows.append(Row(name, sampler.calls, own, default, *kept.best(sampler.calls, 0), str(sampler.about["from"])))
    return rows


# Networks ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Networked:
    """A network as the samplers of a problem ask it: ``start`` is (n, d), beliefs are at sigma / alpha."""

    denoiser: Any
    shape: tuple[int, ...]
    condition: Condition | None
    noise: Tensor

    @property
    def start(self) -> Tensor:
        return LARGEST * self.noise.double().flatten(1)

    @torch.no_grad()
    def belief(self, x: Tensor, sigma: float) -> Tensor:
        if sigma == 0.0:
            return x
        told = None if self.condition is None else self.condition.rows(slice(0, len(x)))
        found: Tensor = self.denoiser(x.view(-1, *self.shape).float(), Level(1.0, sigma), told)
        return found.double().flatten(1)

    def made(self, **options: Any) -> Tensor:
        """Our last states, (n, d)."""

        def given(place: Draw) -> Tensor:
            return self.noise

        shape = (len(self.noise), *self.shape)
        told = {"noise": given, "condition": self.condition, "schedule": SCHEDULE, **options}
        return sample(self.denoiser, shape, **told).double().flatten(1)


def labels_of(known: Sequence[int]) -> Callable[[Sequence[int]], Condition]:
    """The classes in turn."""
    return lambda numbers: Condition(label=torch.tensor([known[i % len(known)] for i in numbers]))


def on_network(run: Path, calls: Sequence[int], starts: int, tests: int, folder: Path) -> list[Row]:
    """A sampler for each number of calls, at each scale and on both kinds of classes."""
    denoiser = load(run)
    shape, classes = tuple(denoiser.info["shape"]), len(denoiser.info["class_names"])
    seen, unseen = range(classes - UNSEEN), range(classes - UNSEEN, classes)
    groups: dict[str, Sequence[int] | None] = {"classes seen": seen, "unseen": unseen} if classes else {"": None}
    scales = SCALES if classes else SCALES[:1]
    learned = next(iter(groups.values()))
    began = time.perf_counter()
    made = tune(
        [classifier_free(denoiser, scale) for scale in scales], shape, calls, schedule=SCHEDULE, starts=starts,
        condition=None if learned is None else labels_of(learned),
    )  # fmt: skip
    print(f"{run.name}: tuned in {time.perf_counter() - began:.0f} s")
    rows = []
    for scale in scales:
        for group, known in groups.items():
            z = noise.normal(noise.key(1, "tests"), range(tests), shape)
            told = None if known is None else labels_of(known)(range(tests))
            asked = Networked(classifier_free(denoiser, scale), shape, told, z)
            rows += cells(f"{run.name}, guidance {scale:g}, {group}".rstrip(", "), asked, made, folder)
    return rows


def cells(where: str, asked: Networked, made: Sequence[Tuned], folder: Path) -> list[Row]:
    """Ours and the others' on one kind of request."""
    answer = asked.made(solver=partial(adams, frame="flow", order=4), levels=asinh(SCHEDULE, REFERENCE))
    rows = []
    for sampler in made:
        own, default = (
            figures(errors(asked.made(**told), answer))[0] for told in ({"solver": sampler}, {"calls": sampler.calls})
        )
        tried = [(_other(name, asked, sampler.calls, answer), name) for name in rivals(folder)]
        rows.append(Row(where, sampler.calls, own, default, *min(tried), str(sampler.about["from"])))
        said = f"{own:.4f}, by default {default:.4f}, hindsight {min(tried)[0]:.4f}"
        print(f"  {where}, {sampler.calls} calls: {said}", flush=True)
    return rows


def _other(name: str, asked: Networked, calls: int, answer: Tensor) -> float:
    one = next(contender for contender in contenders() if contender.name == name)
    try:
        found = figures(errors(one.run(asked, calls), answer))[0]  # type: ignore[arg-type]
    except Exception:
        return math.inf
    return found if math.isfinite(found) else math.inf


def rivals(folder: Path) -> list[str]:
    """The best in a cell of a problem, and the shipped ones."""
    known = _kept.read_all(folder).values()
    names = {kept.best(calls, 0)[1] for kept in known for calls in CALLS}
    return sorted(names.union(*(kept.shipped() for kept in known)))


# What is said --------------------------------------------------------------------------------------------------------------


def show(rows: Sequence[Row]) -> None:
    print("\n| where | calls | default | tuned | begun from | best of others in hindsight | tuned / it |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        others = f"{row.hindsight:.4f} ({row.whose})"
        told = (f"{row.default:.4f}", f"{row.tuned:.4f}", row.begun_from, others, f"{row.ratio:.2f}")
        print(f"| {row.where} | {row.calls} | {' | '.join(told)} |")


def verdict(label: str, rows: Sequence[Row]) -> None:
    mean = math.exp(sum(math.log(row.ratio) for row in rows) / len(rows))
    print(f"{label:44} tuned / hindsight {mean:.3f}, target <= 0.8, goal 0.6  {'ok' if mean <= 0.8 else 'MISSED'}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", nargs="*", choices=[*PROBLEMS, []], default=list(PROBLEMS))
    parser.add_argument("--run", nargs="*", type=Path, default=[])
    parser.add_argument("--calls", type=int, nargs="+", default=list(CALLS))
    parser.add_argument("--starts", type=int, default=512, help="that a sampler is tuned to, and as many to stop by")
    parser.add_argument("--tests", type=int, default=256, help="starts that it is measured on, on a network")
    parser.add_argument("--peers", type=Path, default=_kept.FOLDER, help="where the others' figures are kept")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the exact answers are kept")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Tune, measure; the last lines are the verdict."""
    given = arguments()
    torch.set_num_threads(given.threads)
    logging.disable(logging.WARNING)
    groups = {name: on_problem(name, given.calls, given.starts, given.peers, given.cache) for name in given.problem}
    groups |= {run.name: on_network(run, given.calls, given.starts, given.tests, given.peers) for run in given.run}
    show([row for rows in groups.values() for row in rows])
    print()
    for name, rows in groups.items():
        verdict(name, rows)
    everything = [row for rows in groups.values() for row in rows]
    worse = [row for row in everything if row.tuned > row.default]
    print(f"{'cells where tuned is worse than the default':44} {len(worse)} of {len(everything)}, target 0")
    verdict("all", everything)


if __name__ == "__main__":
    main()
