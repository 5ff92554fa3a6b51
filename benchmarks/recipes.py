"""Every recipe that training offers: each schedule x prediction, and each sampler of training times, on the digits.

Each is trained for the same few steps of the same tiny network with all else as it is by default, and asked for 1,797 digits of
the classes of the real ones by the default sampler, unguided.  Beside the default recipe stand

    deviation, mean   of the samples' values; the data's are 0.752 and -0.389
    read              the share that a classifier reads as the class asked for, over the default recipe's
    Frechet           the Frechet distance in 40 principal components, over the default recipe's

What is refused before any work is listed with its reason.

    python benchmarks/recipes.py                             about 25 minutes on 2 cores (--jobs 2)
    python benchmarks/recipes.py --only linear:noise flow:velocity:uniform
    python benchmarks/recipes.py --network dit
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import torch

from noisepath import PREDICTIONS, SCHEDULES, TIMES, Condition, TrainConfig, sample, train
from noisepath.data import digits
from noisepath.evaluation import DigitsJudge

TINY = {"unet": {"channels": (16, 16), "blocks": 1, "attention": ()}, "dit": {"size": "tiny"}}
DEFAULT = "edm:edm"
TIMED = ("linear:noise", "cosine:v", "flow:velocity")
"""The recipes that each sampler of times is tried with; "importance" counts timesteps, and takes tables in their place."""
TABLES = ("linear:noise", "cosine:v", "quadratic:x0")


@dataclass(frozen=True)
class Row:
    """Figures of a recipe, or why it was refused."""

    recipe: str
    deviation: float = 0.0
    mean: float = 0.0
    read: float = 0.0
    frechet: float = 0.0
    seconds: float = 0.0
    refused: str = ""


def recipes() -> list[str]:
    """``schedule:prediction`` and ``schedule:prediction:times``."""
    every = [f"{schedule}:{prediction}" for schedule in SCHEDULES for prediction in PREDICTIONS]
    return every + [f"{r}:{times}" for times in TIMES for r in (TABLES if times == "importance" else TIMED)]


@lru_cache(maxsize=1)
def judge() -> DigitsJudge:
    return DigitsJudge(digits())


def measure(recipe: str, steps: int, network: str, seed: int) -> Row:
    """Train and judge one."""
    torch.set_num_threads(1)
    schedule, prediction, *times = recipe.split(":")
    data, start = digits(), time.perf_counter()
    config = TrainConfig(
        steps=steps, seed=seed, precision="float32", schedule=schedule, prediction=prediction,
        times=times[0] if times else None, network=network, **TINY[network],
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        try:
            model = train(data, Path(folder) / "run", config, progress=False)
        except ValueError as error:
            return Row(recipe, refused=str(error))
    labels = data.labels
    assert labels is not None
    images = sample(model, (len(labels), 1, 8, 8), condition=Condition(label=labels), seed=seed)
    found = judge().report(images, labels)
    read, seconds = float(found.read_as_asked or 0.0), time.perf_counter() - start
    return Row(recipe, float(images.std()), float(images.mean()), read, found.frechet_ratio, seconds)


def fails(row: Row, base: Row, std: float, mean: float) -> list[str]:
    """Which targets a row misses."""
    if row.refused:
        return []
    checks = {
        "deviation": abs(row.deviation / std - 1) <= 0.1,
        "mean": abs(row.mean - mean) <= 0.05,
        "read": row.read >= 0.9 * base.read,
        "Frechet": row.frechet <= 3 * base.frechet,
    }
    return [name for name, good in checks.items() if not good]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="schedule:prediction or schedule:prediction:times")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--network", choices=sorted(TINY), default="unet")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the rows as JSON lines here, and go on with those that are in it")
    args = parser.parse_args()
    rows = {}
    if args.out is not None and args.out.exists():
        rows = {row["recipe"]: Row(**row) for row in map(json.loads, args.out.read_text().splitlines())}
    wanted = [DEFAULT, *(r for r in args.only or recipes() if r != DEFAULT)]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(measure, r, args.steps, args.network, args.seed) for r in wanted if r not in rows]
        for job in jobs:
            row = job.result()
            rows[row.recipe] = row
            print(json.dumps(asdict(row)), flush=True)
            if args.out is not None:
                with args.out.open("a") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
    print_table([rows[r] for r in wanted], rows[DEFAULT])


def print_table(rows: list[Row], base: Row) -> None:
    x0 = digits().batch(range(len(digits())))[0]
    std, mean = float(x0.std()), float(x0.mean())
    columns = ("deviation / data's", "mean - data's", "read", "read / default's", "Frechet", "/ default's")
    print("\n| schedule | prediction | times | " + " | ".join(columns) + " |")
    print("|---|---|---|---|---|---|---|---|---|")
    missed = 0
    for row in rows:
        schedule, prediction, *times = row.recipe.split(":")
        name = f"| {schedule} | {prediction} | {times[0] if times else ''} "
        if row.refused:
            print(f"{name}| refused: {row.refused} |||||| ")
            continue
        wrong = fails(row, base, std, mean)
        missed += bool(wrong)
        print(
            f"{name}| {row.deviation / std:.3f} | {row.mean - mean:+.3f} | {row.read:.3f} | {row.read / base.read:.3f} "
            f"| {row.frechet:.2f} | {row.frechet / base.frechet:.2f} |" + (f" missed: {', '.join(wrong)}" if wrong else "")
        )
    trained = [row for row in rows if not row.refused]
    worst = max(trained, key=lambda row: row.frechet)
    print(
        f"\n{len(trained)} recipes, {len(rows) - len(trained)} refused; {missed} miss a target (deviation within 10 %, mean "
        "within 0.05, read >= 0.9 and Frechet <= 3 times the default's); "
        f"worst Frechet {worst.frechet / base.frechet:.2f} ({worst.recipe})"
    )


if __name__ == "__main__":
    main()
