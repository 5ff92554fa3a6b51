"""How good the tutorials' own recipe is: linear betas, noise prediction, uniform times, a U-Net, on scikit-learn's digits.

    python benchmarks/tutorial_recipe.py [--seeds 1] [--minutes 3] [--peer-minutes 3 6] [--rates 1e-4 1e-3 2e-3 4e-3]
        [--samples 1797] [--ddpm-steps 1000] [--kept FILE]                     about an hour and a half on two cores

noisepath's is ``noisepath train --data digits --schedule linear --prediction noise --times uniform --minutes 3``, sampled
unguided by DDPM's 1,000 steps (variance beta_t, as the tutorials have it), by DDIM's 50, and by the default sampler.
diffusers' is its example train_unconditional.py made class-conditional (``time_to_quality.py`` says how), at its own rate of
1e-4 and at others; of these the best is the one with the least Frechet ratio by 50 steps of DDIM, at each length.  Its own
rate and the best are sampled by DDPM's 1,000 steps too.  Everything runs one after another in one process with two threads.

Judged by samples of the real digits' classes: the share that an SVC reads as asked, and the Frechet distance in units of that
between halves of the real digits (``digits_quality.py``).  ``--kept`` is a file of lines that an earlier run printed: what is
in it is not done again, and what is done is added to it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from noisepath import Condition, Denoiser, sample, train
from noisepath.data import digits
from noisepath.evaluation import DigitsJudge
from noisepath.solvers import ddpm
from noisepath.training import TrainConfig
from time_to_quality import diffusers_recipe

READ, FRECHET = 0.96, 0.8
EXAMPLE_RATE = 1e-4
Row = dict[str, Any]
Draw = Callable[..., Tensor]


class Book:
    """The rows so far, each known by what was trained for how long and how it was sampled."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path and path.exists() else []
        self.rows: list[Row] = [json.loads(line) for line in lines]

    def find(self, **keys: object) -> list[Row]:
        return [row for row in self.rows if all(row[name] == value for name, value in keys.items())]

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        if self.path:
            self.path.write_text("".join(f"{json.dumps(row)}\n" for row in self.rows))


class Bench:
    """One run of the benchmark: data, judge, book and options."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.book, self.data = args, Book(args.kept), digits()
        self.judge = DigitsJudge(self.data)
        assert self.data.labels is not None
        self.wanted = self.data.labels[: args.samples]

    def row(self, keys: Row, sampler: str, draw: Draw, about: Row) -> None:
        """Sample, judge, and note it."""
        start = time.perf_counter()
        report = self.judge.report(draw(self.wanted).clamp(-1, 1), self.wanted)
        assert report.read_as_asked is not None
        figures = {"read": report.read_as_asked, "frechet": report.frechet_ratio, "nearest": report.nearest_ratio}
        seconds = {"sampling_s": round(time.perf_counter() - start, 1)}
        self.book.add({**keys, "sampler": sampler, **about, **seconds, **{k: round(v, 4) for k, v in figures.items()}})

    def noisepath(self, seed: int) -> None:
        """The tutorials' recipe as noisepath trains it, by three samplers."""
        keys: Row = {"recipe": "noisepath", "minutes": self.args.minutes, "rate": None, "seed": seed}
        ways: dict[str, dict[str, Any]] = {
            f"DDPM {self.args.ddpm_steps}": {
                "solver": partial(ddpm, variance="large"), "spacing": "time", "steps": self.args.ddpm_steps
            },
            "DDIM 50": {"solver": "ddim", "spacing": "time", "steps": 50},
            "default": {},
        }  # fmt: skip
        missing = {name: way for name, way in ways.items() if not self.book.find(**keys, sampler=name)}
        if not missing:
            return
        model, seconds = self._train(seed)
        for name, way in missing.items():
            draw = partial(_draw, model, seed, way)
            self.row(keys, name, draw, {"steps": model.info["steps"], "training_s": round(seconds, 1)})

    def _train(self, seed: int) -> tuple[Denoiser, float]:
        config = TrainConfig(minutes=self.args.minutes, schedule="linear", prediction="noise", times="uniform", seed=seed)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            model = train(self.data, Path(folder) / "run", config, progress=False)
        return model, time.perf_counter() - start

    def diffusers(self, seed: int) -> None:
        """Their example at every rate and length by DDIM; its own rate and the best one by DDPM too."""
        trained: dict[tuple[float, float], tuple[Draw, Row]] = {}

        def recipe(minutes: float, rate: float) -> tuple[Draw, Row]:
            if (minutes, rate) not in trained:
                start = time.perf_counter()
                draw, steps = diffusers_recipe(self.data, 60 * minutes, rate, seed)
                trained[minutes, rate] = draw, {"steps": steps, "training_s": round(time.perf_counter() - start, 1)}
            return trained[minutes, rate]

        for minutes in self.args.peer_minutes:
            for rate in self.args.rates:
                self._peer(recipe, {"minutes": minutes, "rate": rate, "seed": seed}, "DDIM", 50)
            of_this_length = self.book.find(recipe="diffusers", minutes=minutes, seed=seed, sampler="DDIM 50")
            best = min((row for row in of_this_length if row["rate"] in self.args.rates), key=lambda row: row["frechet"])
            for rate in sorted({EXAMPLE_RATE, best["rate"]} & set(self.args.rates)):
                self._peer(recipe, {"minutes": minutes, "rate": rate, "seed": seed}, "DDPM", self.args.ddpm_steps)

    def _peer(self, recipe: Callable[[float, float], tuple[Draw, Row]], about: Row, sampler: str, steps: int) -> None:
        keys = {"recipe": "diffusers", **about}
        if not self.book.find(**keys, sampler=f"{sampler} {steps}"):
            draw, made = recipe(about["minutes"], about["rate"])
            self.row(keys, f"{sampler} {steps}", lambda wanted: draw(wanted, f"{sampler}Scheduler", steps), made)

    def verdict(self) -> bool:
        """The medians as a table, noisepath's beside the targets and the best that diffusers had; whether all is well."""
        medians, longest = self._medians(), max(self.args.peer_minutes)
        peers = [row for row in medians if row["recipe"] == "diffusers" and row["minutes"] == longest]
        goals = {f"target >= {READ:.0%}, <= {FRECHET}": (READ, FRECHET)}
        if peers:
            theirs = max(row["read"] for row in peers), min(row["frechet"] for row in peers)
            goals[f"diffusers' best of {longest:g} minutes"] = theirs
        print(f"\nmedians of {self.args.seeds}\n")
        print("| digits | rate | sampler | read as asked | Frechet ratio | |\n|---|---|---|---|---|---|")
        missed = 0
        for row in medians:
            marks = {}
            if row["recipe"] == "noisepath":
                marks = {goal: row["read"] >= read and row["frechet"] <= far for goal, (read, far) in goals.items()}
            missed += sum(not well for well in marks.values())
            said = "; ".join(f"{goal}: {'ok' if well else 'MISSED'}" for goal, well in marks.items())
            what = f"{row['recipe']}, {row['minutes']:g} minutes | {row['rate'] or ''} | {row['sampler']}"
            print(f"| {what} | {row['read']:.1%} | {row['frechet']:.2f} | {said} |")
        print(f"| real digits | | | {self.judge.real_read():.1%} | 1.00 (two halves) | |")
        return missed == 0

    def _medians(self) -> list[Row]:
        names = ("recipe", "minutes", "rate", "sampler")
        cells = dict.fromkeys(tuple(row[name] for name in names) for row in self.book.rows)
        medians = []
        for cell in cells:
            keys = dict(zip(names, cell, strict=True))
            rows = self.book.find(**keys)
            medians.append({**keys, **{f: statistics.median(row[f] for row in rows) for f in ("read", "frechet")}})
        return medians


def _draw(model: Denoiser, seed: int, way: dict[str, Any], wanted: Tensor) -> Tensor:
    shape = (len(wanted), 1, 8, 8)
    return sample(model, shape, condition=Condition(label=wanted), seed=seed, batch_size=300, **way)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=3.0, help="of noisepath's training")
    parser.add_argument("--peer-minutes", type=float, nargs="+", default=[3.0, 6.0], help="of diffusers' training")
    parser.add_argument("--rates", type=float, nargs="+", default=[EXAMPLE_RATE, 1e-3, 2e-3, 4e-3], help="of diffusers'")
    parser.add_argument("--samples", type=int, default=1797)
    parser.add_argument("--ddpm-steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kept", type=Path)
    args = parser.parse_args()
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    torch.set_num_threads(args.threads)
    bench = Bench(args)
    for seed in range(args.seeds):
        bench.noisepath(seed)
        bench.diffusers(seed)
    sys.exit(not bench.verdict())


if __name__ == "__main__":
    main()
