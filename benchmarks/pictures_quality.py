"""How good models of real pictures are after some minutes of training, with nothing said but the data and the time.

    mnist    15 minutes on 6,000 handwritten digits of 28 x 28; 2,000 held out
    cifar10  30 minutes on 16,000 photographs of 32 x 32 in ten classes; 4,000 held out

The network is trained by ``noisepath train`` and judged by ``noisepath.evaluation.evaluate``: a classifier that learns from
the same training pictures reads the samples (its own accuracy on the held-out pictures stands beside), and distances are
taken in its features and in the pixels' principal components, against the held-out pictures.  What is said to be real is
what as many training pictures get against the same held-out ones.

The data are zips of class folders, mnist-8k.zip and cifar10-20k.zip, in the folder that NOISEPATH_DATA names.

    NOISEPATH_DATA=data python benchmarks/pictures_quality.py mnist
    NOISEPATH_DATA=data python benchmarks/pictures_quality.py cifar10 --out runs/cifar10
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from noisepath.cli import main as noisepath
from noisepath.evaluation import Evaluation, evaluate, summary
from noisepath.evaluation.report import Figure


@dataclass(frozen=True)
class Case:
    """A data set, what is held out of it, how long is trained, and what is to be reached."""

    archive: str
    holdout: int
    minutes: float
    read: float
    """Share of guided samples that should be read as asked."""
    word: str
    """What kind of aim that is."""


CASES = {
    "mnist": Case("mnist-8k.zip", 2000, 15.0, 0.95, "target"),
    "cifar10": Case("cifar10-20k.zip", 4000, 30.0, 0.40, "goal"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--minutes", type=float, help="how long to train, if not as above")
    parser.add_argument("--n", type=int, default=1000, help="samples for each guidance scale")
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="keep the run here; one that is there already is judged again")
    parser.add_argument("--grid", type=Path, help="copy the grid of guided samples here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run = args.out or Path(temporary) / args.case
        made = judged(CASES[args.case], run, args)
        if args.grid is not None:
            args.grid.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(made.folder / made.report.samples[-1].grid, args.grid)
        print(summary(made))
        print_targets(args.case, made, args)


def judged(case: Case, run: Path, args: argparse.Namespace) -> Evaluation:
    """Train if need be, as the command line does, and evaluate."""
    minutes = case.minutes if args.minutes is None else args.minutes
    if not (run / "checkpoints").is_dir():
        words = ["train", "--data", str(archive(case)), "--out", str(run), "--minutes", str(minutes)]
        words += ["--holdout", str(case.holdout), "--seed", str(args.seed), "--device", args.device, "--no-evaluate"]
        if code := noisepath(words):
            sys.exit(code)
    return evaluate(run, n=args.n, guidance=[1.0, args.guidance], seed=args.seed, device=args.device)


def archive(case: Case) -> Path:
    """The case's zip, or a line that says what is missing."""
    folder = os.environ.get("NOISEPATH_DATA")
    if folder is None or not (Path(folder) / case.archive).is_file():
        sys.exit(f"NOISEPATH_DATA must name the folder that holds {case.archive}, but is {folder!r}")
    return Path(folder) / case.archive


def print_targets(name: str, made: Evaluation, args: argparse.Namespace) -> None:
    """The figures beside what is to be reached; the last line is the one that counts."""
    case, report = CASES[name], made.report
    accuracy = report.reader.accuracy if report.reader is not None else None
    print(f"\n| {name}, {report.model_steps} steps | unguided | guidance {args.guidance:g} | real pictures |")
    print("|---|---|---|---|")
    rows = (("read_as_asked", None), ("frechet_distance", "classifier"), ("frechet_ratio", "classifier"),
            ("frechet_distance", "pixels"), ("nearest_ratio", "pixels"), ("copies", None))  # fmt: skip
    for figure, features in rows:
        pair = [report.figure(figure, features, scale) for scale in (1.0, args.guidance)]
        real = "" if pair[0].real is None else f"{pair[0].real:.4g}"
        place = f", {features}" if features else ""
        print(f"| {figure.replace('_', ' ')}{place} | {told(pair[0])} | {told(pair[1])} | {real} |")
    print(f"the classifier reads {accuracy:.1%} of held-out pictures right" if accuracy is not None else "no classifier")
    read = report.figure("read_as_asked", guidance=args.guidance).value or 0.0
    verdict = "ok" if read >= case.read else "not reached"
    print(f"{name}, guided samples read as asked: {read:.1%}, {case.word} >= {case.read:.0%}  {verdict}")


def told(figure: Figure) -> str:
    """A value with its interval."""
    if figure.value is None:
        return figure.reason
    if figure.interval is None:
        return f"{figure.value:.4g}"
    return f"{figure.value:.4g} [{figure.interval.low:.4g}, {figure.interval.high:.4g}]"


if __name__ == "__main__":
    main()
