"""What guidance buys and what it costs: pictures read as asked against their Frechet distance, method by method.

    python benchmarks/guidance_sweep.py --run runs/digits [--n 1000] [--calls 8] [--seeds 1 2 3] [--out FILE.png]

Classifier-free guidance at a dense set of scales is a curve: more of it, and more pictures are read as what was asked for, but
they become alike, and their distance from the real ones grows.  The others are wanted beyond that curve.  Each family is tried
on one seed, where its best member is chosen: the one that beats most of the curve's points on both axes at once (the lower
distance decides where several do).  Chosen members and the curve are then drawn again with other seeds, and judged by those.

All pictures of a seed begin with the same noise and classes; the sampler is noisepath's default (CFG++: DDIM), with the same
number of steps.  Reader and features are the run's own classifier's (that of RUN/evaluation, or one trained here); the
reference is the held-out pictures, or those of training where they are fewer than 500.  The weaker model of autoguidance is an
earlier snapshot of the same run.
Differences from the curve's points are bootstrap's, both sets redrawn together, picture by picture (``paired``): a point is
beaten on an axis where the 95 % interval of the difference does not reach 0.  An accuracy of 100 % can't be beaten, so what
counts is told apart: points beaten on both axes, and points that are nearer, or read better.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frechet_calls import real_and_reader
from noisepath import Condition, load, noise, sample
from noisepath.denoiser import Denoise
from noisepath.evaluation.classifier import Classifier
from noisepath.evaluation.distances import frechet_distance, frechet_draws, percentiles
from noisepath.evaluation.features import classifier_space
from noisepath.evaluation.judging import in_proportion
from noisepath.evaluation.pictures import as_saved
from noisepath.files import write_whole
from noisepath.guidance import apg, autoguidance, cfg_plus_plus, cfg_zero_star, classifier_free
from noisepath.sampling import DEFAULTS
from noisepath.training.earlier import load_earlier

CURVE = "classifier-free"
SCALES = (1.0, 1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
RESAMPLES = 200
Make = Callable[[Denoise], Denoise]


@dataclass(frozen=True)
class Way:
    """A guidance with its numbers."""

    family: str
    name: str
    make: Make
    evaluations: float
    """Of the network, a call."""
    solver: str = DEFAULTS.solver


def ways(weaker: dict[str, Denoise], scales: Sequence[float] = SCALES) -> list[Way]:
    """The curve, and what is tried beside it; ``weaker`` are earlier models by name."""
    made = [Way(CURVE, f"{s:g}", lambda d, s=s: classifier_free(d, s), 1 if s == 1 else 2) for s in scales]
    for low, high in ((0.2, 1.0), (0.3, 2.0), (0.5, 4.0)):
        for s in (2.0, 3.0):
            made.append(Way("interval", f"{s:g} at {low:g} to {high:g}",
                            lambda d, s=s, i=(low, high): classifier_free(d, s, interval=i), 2))  # fmt: skip
    made += [Way("rescale", f"{s:g}, 0.7", lambda d, s=s: classifier_free(d, s, rescale=0.7), 2) for s in (1.5, 2.5)]
    made += [Way("CFG++", f"{s:g}", lambda d, s=s: cfg_plus_plus(d, s), 2, "ddim") for s in (0.1, 0.2, 0.4, 0.7)]
    made += [Way("CFG-Zero*", f"{s:g}", lambda d, s=s: cfg_zero_star(d, s), 2) for s in (1.25, 2.0)]
    for s, momentum in ((1.5, 0.0), (2.5, 0.0), (2.0, -0.5), (3.0, -0.5)):
        made.append(Way("APG", f"{s:g}, momentum {momentum:g}", lambda d, s=s, m=momentum: apg(d, s, momentum=m), 2))
    for name, bad in weaker.items():
        for s in (1.25, 1.5, 2.0):
            made.append(Way("autoguidance", f"{s:g}, {name}", lambda d, s=s, b=bad: autoguidance(d, b, s), 2))
        for s in (1.5, 2.5):
            made.append(Way("autoguidance, interval", f"{s:g} at 0.2 to 2, {name}",
                            lambda d, s=s, b=bad: autoguidance(d, b, s, interval=(0.2, 2.0)), 2))  # fmt: skip
        for s, w in ((1.25, 1.5), (1.5, 1.5), (1.25, 2.0)):
            made.append(Way("autoguidance of classifier-free", f"{w:g} of {s:g}, {name}",
                            lambda d, s=s, w=w, b=bad: autoguidance(classifier_free(d, s), b, w), 3))  # fmt: skip
    return made


# --- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What every way is told, and what reads its pictures."""

    denoiser: Denoise
    shape: tuple[int, ...]
    labels: Tensor
    calls: int
    batch_size: int
    reader: Classifier
    reference: Any


@dataclass(frozen=True)
class Seen:
    """A way's pictures, as the reader sees them."""

    way: Way
    features: Any
    """(N, D)"""
    right: Any
    """(N,) 0 or 1: read as asked"""

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


def seen(asked: Asked, way: Way, seeds: Sequence[int]) -> Seen:
    """The pictures of all seeds, one after another."""
    features, right = [], []
    space = classifier_space(asked.reader)
    for seed in seeds:
        pictures = as_saved(
            sample(
                way.make(asked.denoiser), asked.shape, solver=way.solver, calls=asked.calls, seed=seed,
                condition=Condition(label=asked.labels), batch_size=asked.batch_size,
            )
        )  # fmt: skip
        features.append(space(pictures))
        right.append((asked.reader.read(pictures) == asked.labels).double().numpy())
    return Seen(way, np.concatenate(features), np.concatenate(right))


@dataclass(frozen=True)
class Point:
    """A way on both axes, with redrawn values that go together from way to way."""

    way: Way
    accuracy: float
    distance: float
    accuracies: Any
    distances: Any

    def row(self) -> dict[str, Any]:
        a, d = percentiles(self.accuracies), percentiles(self.distances)
        return {
            "family": self.way.family, "name": self.way.name, "evaluations a call": self.way.evaluations,
            "read as asked": [self.accuracy, a.low, a.high], "frechet": [self.distance, d.low, d.high],
        }  # fmt: skip


def point(found: Seen, reference: Any, resamples: int = RESAMPLES) -> Point:
    """The same redrawings for every way of as many pictures: so differences are paired."""
    n = len(found.right)
    counts = np.random.default_rng(noise.key(0, "accuracy")).multinomial(n, np.full(n, 1 / n), size=resamples)
    return Point(
        found.way, found.accuracy, frechet_distance(found.features, reference), counts @ found.right / n,
        frechet_draws(found.features, reference, 0, resamples),
    )  # fmt: skip


# --- judging ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """A way against one point of the curve; 1 better, -1 worse, 0 not told apart."""

    accuracy: int
    distance: int


def against(one: Point, other: Point) -> Standing:
    """By the paired intervals of both differences."""
    return Standing(_sign(one.accuracies - other.accuracies), -_sign(one.distances - other.distances))


def _sign(differences: Any) -> int:
    within = percentiles(differences)
    return 1 if within.low > 0 else -1 if within.high < 0 else 0


def chosen(family: Sequence[Point], curve: Sequence[Point]) -> Point:
    """The member that beats most points of the curve on both axes, by values; the nearest to the real ones of those."""
    def beaten(one: Point) -> int:
        return sum(one.accuracy > other.accuracy and one.distance < other.distance for other in curve)

    return max(family, key=lambda one: (beaten(one), -one.distance))


BOTH, ONE = "beaten on both axes", "beaten on one, not told apart on the other"
TRADED, NOT = "better on one, worse on the other", "not beaten"


def of_families(tried: Sequence[Point]) -> list[Point]:
    """The chosen member of each family but the curve."""
    curve = [one for one in tried if one.way.family == CURVE]
    families = dict.fromkeys(one.way.family for one in tried if one.way.family != CURVE)
    return [chosen([one for one in tried if one.way.family == family], curve) for family in families]


def verdict(one: Point, curve: Sequence[Point]) -> dict[str, list[str]]:
    """Which of the curve's scales a way beats."""
    stands = {other.way.name: against(one, other) for other in curve}
    kinds = {BOTH: [(1, 1)], ONE: [(1, 0), (0, 1)], TRADED: [(1, -1), (-1, 1)]}
    told = {kind: [name for name, s in stands.items() if (s.accuracy, s.distance) in pairs] for kind, pairs in kinds.items()}
    return told | {NOT: [name for name in stands if not any(name in names for names in told.values())]}


def line(one: Point) -> str:
    row = one.row()
    (a, alow, ahigh), (d, dlow, dhigh) = row["read as asked"], row["frechet"]
    told = f"{100 * a:.2f} % [{100 * alow:.2f}, {100 * ahigh:.2f}] | {d:.4g} [{dlow:.4g}, {dhigh:.4g}]"
    return f"| {one.way.family} | {one.way.name} | {one.way.evaluations:g} | {told} |"


# --- what is drawn ---------------------------------------------------------------------------------------------------


def draw(curve: list[Point], others: list[Point], tried: list[Point], title: str, path: Path) -> None:
    """The curve and the chosen ones with their intervals; what was tried on the first seed in pale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.2, 5.2), dpi=100, layout="constrained")
    ax = figure.add_subplot()
    families = [one.way.family for one in others]
    colours = {family: f"C{number + 1}" for number, family in enumerate(families)} | {CURVE: "0.15"}
    for one in tried:
        ax.plot(100 * (1 - one.accuracy), one.distance, ".", color=colours[one.way.family], alpha=0.25, markersize=5)
    ax.plot([100 * (1 - one.accuracy) for one in curve], [one.distance for one in curve], color=colours[CURVE], linewidth=1.5)
    for one in [*curve, *others]:
        row = one.row()
        (a, alow, ahigh), (d, dlow, dhigh) = row["read as asked"], row["frechet"]
        across, up = [[100 * (ahigh - a)], [100 * (a - alow)]], [[d - dlow], [dhigh - d]]
        reach = {"xerr": np.maximum(across, 0), "yerr": np.maximum(up, 0)}
        label = None if one.way.family == CURVE and one is not curve[0] else (
            CURVE if one.way.family == CURVE else f"{one.way.family}: {one.way.name}"
        )
        ax.errorbar(100 * (1 - a), d, marker="o", markersize=4.5, capsize=2, linewidth=1, color=colours[one.way.family],
                    linestyle="none", label=label, **reach)  # fmt: skip
        if one.way.family == CURVE:
            ax.annotate(one.way.name, (100 * (1 - a), d), xytext=(4, 4), textcoords="offset points", fontsize=7)
    ax.set_xlabel("not read as asked (%): more exact to the left")
    ax.set_ylabel("Frechet distance: nearer to real pictures below")
    least = min(percentiles(one.accuracies).low for one in [*curve, *others])
    ax.set_xlim(-4 * (1 - least), 110 * (1 - least) + 0.1)  # what was tried and is far out does not press the rest together
    ax.set_yscale("log")
    ax.set_title(title, fontsize=9)
    ax.grid(alpha=0.3, which="both")
    ax.legend(fontsize=7.5)
    with write_whole(path) as part:
        figure.savefig(part, format="png")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/digits"))
    parser.add_argument("--data", help="where the run's pictures are now, if not where they were")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--choose-n", type=int, help="how many pictures are chosen on; half as many if not given")
    parser.add_argument("--calls", type=int, default=8)
    parser.add_argument("--choose-on", type=int, default=0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--scales", type=float, nargs="+", default=list(SCALES), help="the curve")
    parser.add_argument("--families", nargs="*", help="of these alone, beside the curve")
    parser.add_argument("--members", nargs="*", metavar="FAMILY: NAME", help="judge these, which were chosen before")
    parser.add_argument("--batch-size", type=int, default=250)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="the plot; RUN/guidance_sweep.png if not given, with a .json beside it")
    return parser.parse_args()


def measured(asked: Asked, which: Sequence[Way], seeds: Sequence[int]) -> list[Point]:
    found = []
    for way in which:
        began = time.monotonic()
        found.append(point(seen(asked, way, seeds), asked.reference))
        print(f"  seeds {list(seeds)}: {line(found[-1])} {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Try, choose, draw again with other seeds, judge; the last line is the verdict."""
    args = arguments()
    if args.choose_on in args.seeds:
        raise SystemExit(f"seed {args.choose_on} is chosen on, so it can't be judged by")
    args.seed, args.features = 0, "auto"
    real, reader = real_and_reader(args)
    denoiser = load(args.run, args.device)
    if reader is None or denoiser.null is None or real.train.labels is None:
        raise SystemExit(f"{args.run} has no classes, so nothing can be read as asked")
    steps = denoiser.info["steps"]
    earlier = [load_earlier(args.run, steps, args.device, share) for share in (0.25, 0.0625)]
    weaker: dict[str, Denoise] = {told.split(" of ")[1]: bad for bad, told in earlier}
    reference = classifier_space(reader)(real.reference)

    def asked(n: int) -> Asked:
        labels = in_proportion(real.train.labels, real.train.classes, n)
        return Asked(denoiser, (n, *real.train.shape), labels, args.calls, args.batch_size, reader, reference)

    every = ways(weaker, args.scales)
    first = [way for way in every if way.family == CURVE]
    tried: list[Point] = []
    with torch.no_grad():
        if args.members:
            best = [way for way in every if f"{way.family}: {way.name}" in args.members]
        else:
            rest = [way for way in every if way.family != CURVE and (not args.families or way.family in args.families)]
            tried = measured(asked(args.choose_n or args.n // 2), [*first, *rest], [args.choose_on])
            best = [one.way for one in of_families(tried)]
        found = measured(asked(args.n), [*first, *best], args.seeds)
    curve, others = found[: len(first)], found[len(first) :]
    out = args.out or args.run / "guidance_sweep.png"
    title = (
        f"{args.run.name}: {len(args.seeds)} x {args.n} samples of {args.calls} steps against {len(real.reference)} "
        f"{real.kind} pictures, the classifier's features"
    )
    draw(curve, others, tried, title, out)
    verdicts = {f"{one.way.family} {one.way.name}": verdict(one, curve) for one in others}
    told = {"n": args.n, "calls": args.calls, "chosen on seed": args.choose_on, "judged by seeds": args.seeds,
            "tried": [one.row() for one in tried], "found": [one.row() for one in found], "verdicts": verdicts}  # fmt: skip
    with write_whole(out.with_suffix(".json")) as part:
        part.write_text(json.dumps(told, indent=1) + "\n")
    print("| guidance | scale | evaluations a call | read as asked | Frechet distance |\n|---|---|---|---|---|")
    print("\n".join(line(one) for one in found))
    print(f"\n{title}; drawn in {out}")
    for name, stands in verdicts.items():
        print(f"{name}: " + "; ".join(f"{what}: {', '.join(names) or 'none'}" for what, names in stands.items()))
    whole = [name for name, stands in verdicts.items() if len(stands[BOTH]) == len(curve)]
    name, stands = max(verdicts.items(), key=lambda item: (len(item[1][BOTH]), len(item[1][ONE])))
    print(f"beyond the whole curve on both axes: {', '.join(whole) or 'none'}; most points of it: {name}, "
          f"{len(stands[BOTH])} of {len(curve)} on both axes, {len(stands[ONE])} on one and not told apart on the other; "
          f"target one beyond all  {'ok' if whole else 'MISSED'}")  # fmt: skip


if __name__ == "__main__":
    main()
