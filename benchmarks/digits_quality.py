"""How good the demo's model is: 3 runs of 3 minutes on scikit-learn's 1,797 digits of 8 x 8, the median of each figure.

Each run is the library's default recipe and default sampler, nothing tuned to the digits.  Judged are, class-conditional:

    unguided   1,797 pictures, of the classes of the 1,797 real ones
    guided     1,000 pictures, the ten classes in turn, classifier-free guidance 1.5

An SVC (scikit-learn's default: rbf kernel) trained on all real digits' whole grey values 0 .. 16 reads them; the Frechet
distance is taken in the first 40 principal components of those values and divided by the mean distance of 20 random
half-splits of the real digits; the nearest ratio is the mean distance to the nearest training picture over that of a
real one to its nearest other.  Beside them: what the SVC reads of real digits it was not trained on (ten folds), and
the Frechet ratio of real digits drawn with replacement, which no sampler can be expected to beat.

    python benchmarks/digits_quality.py                      about 12 minutes on 2 cores
    python benchmarks/digits_quality.py --seeds 1 --steps 500
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from noisepath import Condition, classifier_free, load, sample, train
from noisepath.data import Dataset, digits
from noisepath.evaluation import DigitsJudge, DigitsReport
from noisepath.training import TrainConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--steps", type=int, help="length of a run in steps, in place of minutes")
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--out", type=Path, help="keep the runs here; runs that are there already are judged again")
    args = parser.parse_args()
    dataset = digits()
    judge = DigitsJudge(dataset)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.out or Path(temporary)
        rows = [one_run(seed, folder / f"seed-{seed}", dataset, judge, args) for seed in range(args.seeds)]
    print_table(rows, dataset, judge, args)


def one_run(seed: int, folder: Path, dataset: Dataset, judge: DigitsJudge, args: argparse.Namespace) -> dict[str, DigitsReport]:
    """Train (or load) one model and judge its pictures."""
    start = time.perf_counter()
    if not (folder / "run.toml").exists():
        config = TrainConfig(minutes=args.minutes, steps=args.steps, seed=seed)
        train(dataset, folder, config, progress=False)
    trained = time.perf_counter() - start
    model = load(folder)
    labels, in_turn = dataset.labels, torch.arange(1000) % 10
    assert labels is not None
    reports = {}
    for name, denoiser, wanted in (
        ("unguided", model, labels), ("guided", classifier_free(model, args.guidance), in_turn)
    ):  # fmt: skip
        told = Condition(label=wanted)
        pictures = sample(denoiser, (len(wanted), 1, 8, 8), condition=told, seed=seed, batch_size=300)
        reports[name] = judge.report(pictures, wanted)
    figures = {name: {k: v and round(v, 4) for k, v in dataclasses.asdict(r).items()} for name, r in reports.items()}
    about = {"seed": seed, "steps": model.info["steps"], "training_s": round(trained), "threads": torch.get_num_threads()}
    print(json.dumps(about | figures), flush=True)
    return reports


def print_table(rows: list[dict[str, DigitsReport]], dataset: Dataset, judge: DigitsJudge, args: argparse.Namespace) -> None:
    """The medians, each beside its target."""
    real, labels = dataset.batch(range(len(dataset)))
    chosen = np.random.default_rng(0).integers(0, len(real), (5, len(real)))
    perfect = statistics.mean(judge.report(real[torch.from_numpy(i)]).frechet_ratio for i in chosen)

    def median(kind: str, name: str) -> float:
        return float(statistics.median(getattr(row[kind], name) for row in rows))

    length = f"{args.steps} steps" if args.steps else f"{args.minutes:g} minutes"
    print(f"\n| digits, {length}, median of {len(rows)} | noisepath | target | real digits |\n|---|---|---|---|")
    for kind, target in (("unguided", ">= 97 %"), ("guided", ">= 99.5 %")):
        read = f"{median(kind, 'read_as_asked'):.1%}"
        print(f"| read as asked, {kind} | {read} | {target} | {judge.real_read():.1%} |")
    print(f"| Frechet ratio, unguided | {median('unguided', 'frechet_ratio'):.2f} | <= 0.50, goal 0.45 | {perfect:.2f} |")
    print(f"| nearest ratio, unguided | {median('unguided', 'nearest_ratio'):.2f} | 0.95 to 1.2 | 1.00 |")


if __name__ == "__main__":
    main()
