"""A run that is killed, starved, damaged and disturbed: is anything lost, and does it end as if nothing had happened?

    python benchmarks/faults.py kills [--runs 100] [--workers 0 2]   SIGKILL at random moments, resumed until the end
    python benchmarks/faults.py writes       SIGKILL before and after each single write, fsync, rename and removal of a save
    python benchmarks/faults.py others       signals, full disks, damaged files, changed data, NaN, two runs in a folder ...
    python benchmarks/faults.py              all of it

A tiny run (8 x 8 pictures, 40 steps, a checkpoint each 5) is made undisturbed once; afterwards every disturbed one must
end with the same weights, averages and optimizer to the bit, and the same log but for its times.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from _disturbances import others
from _faults import NoDisk, Scene, start
from _kills import killed, writes

Result = tuple[str, str | None]


def _kills(scene: Scene, runs: int, workers: int, seed: int) -> str:
    """So many runs, each killed until it ends."""
    chance, results, kills = random.Random(seed + workers), [], 0
    for i in range(runs):
        times, problem = killed(scene, chance, workers)
        kills += times
        results.append(_told(f"{workers} workers, run {i}, killed {times} times", problem, "as undisturbed"))
    return _report(f"runs killed at random ({kills} kills), {workers} workers", results, runs)


def _outcome(trial: Callable[[], str | None]) -> str | None:
    try:
        return trial()
    except NoDisk as error:
        return str(error)


def _told(name: str, problem: str | None, good: str) -> Result:
    """Print a result and pass it on."""
    print(f"  {name}: {problem or good}", flush=True)
    return name, problem


def _report(what: str, results: list[Result], least: int) -> str:
    wrong = [f"  {name}: {problem}" for name, problem in results if problem]
    good = len(results) - len(wrong)
    verdict = "ok" if not wrong and len(results) >= least else "MISSED"
    return "\n".join([f"{what:60}{good} of {len(results)} (at least {least})  {verdict}", *wrong])


def main() -> None:
    """Run what was asked for; the summary comes last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["kills", "writes", "others"])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):  # everything is imported before the first fork
            start(Path("digits"), Path(folder) / "first", "--steps", "1")()
        scene = Scene(Path(folder))
        print(f"an undisturbed run takes {scene.seconds:.1f} s", flush=True)
        summary = []
        for workers in given.workers if "kills" in given.parts else ():
            summary.append(_kills(scene, given.runs, workers, given.seed))
        if "writes" in given.parts:
            results = [_told(name, problem, "as undisturbed") for name, problem in writes(scene)]
            summary.append(_report("killed at each write, fsync, rename and removal of a save", results, 20))
        if "others" in given.parts:
            results = [_told(name, _outcome(trial), "as it should") for name, trial in others(scene)]
            summary.append(_report("other faults", results, 30))
    print("\n" + "\n".join(summary))


if __name__ == "__main__":
    main()
