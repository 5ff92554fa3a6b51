"""Train the networks that comparisons are made on, into runs/: digits, and with NOISEPATH_DATA set MNIST and CIFAR-10.

    python benchmarks/runs.py [digits mnist cifar10] [--root runs]     3 + 15 + 30 minutes on two cores

A run that was stopped is gone on with, one that is done is left as it is.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from noisepath.cli import main as noisepath
from noisepath.training.checkpoint import newest
from noisepath.training.record import read_run

# name -> data, minutes, pictures held out
RUNS = {"digits": ("digits", 3.0, None), "mnist": ("mnist-8k.zip", 15.0, 2000), "cifar10": ("cifar10-20k.zip", 30.0, 4000)}


def command(name: str, root: Path) -> list[str] | None:
    """What trains this network from here on; None if nothing does."""
    data, minutes, holdout = RUNS[name]
    out, folder = root / name, os.environ.get("NOISEPATH_DATA")
    if (out / "run.toml").is_file():
        done, steps = newest(out).step, read_run(out).train.steps
        return None if done == steps else ["train", "--resume", str(out)]
    if data != "digits":
        if folder is None or not (Path(folder) / data).is_file():
            print(f"{name}: left out, NOISEPATH_DATA names no folder with {data}")
            return None
        data = str(Path(folder) / data)
    kept = [] if holdout is None else ["--holdout", str(holdout)]
    return ["train", "--data", data, "--out", str(out), "--minutes", str(minutes), *kept]


def main() -> None:
    """Train what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(RUNS), choices=[*RUNS, []])
    parser.add_argument("--root", type=Path, default=Path("runs"))
    given = parser.parse_args()
    for name in given.names:
        words = command(name, given.root)
        if words is not None and (code := noisepath(words)):
            sys.exit(code)
        if (given.root / name / "run.toml").is_file():
            print(f"{name}: {given.root / name / 'index.html'}")


if __name__ == "__main__":
    main()
