"""Inversion of real pictures by trained networks: how near they come back from the noise that is found for them.

    python benchmarks/inversion.py --runs runs/digits runs/mnist [--n 32] [--steps 20] [--solver ddim]

Some ways, in as many steps, each told the pictures' classes: BDIA (two states, undone step by step; target: to the rounding
of float32, taken as 1e-4, since each step adds some), the noise of fixed-point inversion alone (``invert``; target: 40 dB or
more, peak to peak 2), and plain inversion beside them (``iterations=0``).

Is the noise that is found unit normal?  Kolmogorov and Smirnov's test of one sample against N(0, 1), at the level of 1 %, on
one value of each picture (pixels of one picture are no independent values, pictures are): its middle pixel's, and the
standardised length sum(z^2) of each, whose law is chi-square.  The first says whether single values are of the right law, the
second whether whole noises are as long as noises are.  Where pictures do not vary, as at a blank border, a clean one says
nothing of the noise that led to it, so both tests are made of pictures that have the run's last noise too (``seed``).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from noisepath import Condition, invert, load, sample
from noisepath.data import holdout_size, open_data, split
from noisepath.editing import invert_exactly, restore
from noisepath.evaluation.pictures import read
from noisepath.training import read_run

EXACT, DECIBELS, LEVEL = 1e-4, 40.0, 0.01
WITH_NOISE = "fixed-point inversion of pictures with the run's last noise"


def given(run: Path, data: str | None, n: int) -> tuple[Tensor, Tensor]:
    """n real pictures and their classes, held out where so many are."""
    config = read_run(run)
    whole = open_data(config.data if data is None else replace(config.data, data=data))
    train, held_out = split(whole, holdout_size(config.data, len(whole)), config.train.seed)
    part = held_out if held_out is not None and len(held_out) >= n else train
    pictures, labels, _ = read(part, range(min(n, len(part))))
    assert labels is not None
    return pictures, labels


def psnr(made: Tensor, truth: Tensor) -> Tensor:
    """(B,) in dB."""
    return 10.0 * torch.log10(4.0 / (made.double() - truth.double()).square().flatten(1).mean(1))


def normality(z: Tensor) -> list[tuple[str, float]]:
    """Names of the tests and how often chance alone deviates so far."""
    from scipy.stats import chi2, kstest

    flat = z.double().flatten(1)
    middle = flat.reshape(z.shape)[:, 0, z.shape[2] // 2, z.shape[3] // 2]
    lengths = flat.square().sum(1)
    return [
        ("middle pixel against N(0, 1)", float(kstest(middle.numpy(), "norm").pvalue)),
        ("length against chi-square", float(kstest(lengths.numpy(), chi2(flat.shape[1]).cdf).pvalue)),
    ]


def measured(run: Path, args: argparse.Namespace) -> list[str]:
    """All of it for one run; the verdicts come back."""
    denoiser = load(run, args.device)
    pictures, labels = given(run, args.data, args.n)
    condition = Condition(label=labels.to(args.device))
    states = invert_exactly(denoiser, pictures, steps=args.steps, condition=condition)
    off = float((restore(denoiser, states, condition=condition).cpu() - pictures).abs().max())
    print(f"{run.name}: {len(pictures)} pictures, {args.steps} steps")
    print(f"  BDIA there and back: off by {off:.1e} at most", flush=True)
    found: dict[str, Tensor] = {}
    normal: dict[str, bool] = {}
    ways = (("fixed-point inversion", 5, None), (WITH_NOISE, 5, 0), ("plain inversion", 0, None))
    for name, iterations, seed in ways:
        how = {"solver": args.solver, "steps": args.steps, "condition": condition}
        z = invert(denoiser, pictures, iterations=iterations, seed=seed, **how)
        back = sample(denoiser, pictures.shape, noise=lambda place, z=z: z, **how)
        found[name] = psnr(back.cpu(), pictures)
        rows = found[name]
        mean_square = float(10 * -torch.log10((10 ** (-rows / 10)).mean()))
        print(f"  {name}: {mean_square:.1f} dB over all, median {float(rows.median()):.1f}, worst {float(rows.min()):.1f}")
        tests = normality(z.cpu())
        print(
            f"    its noise: mean {float(z.mean()):+.3f}, deviation {float(z.std()):.3f}; Kolmogorov-Smirnov, "
            f"n = {len(z)}: {', '.join(f'{what}: p = {p:.2g}' for what, p in tests)}",
            flush=True,
        )
        normal[name] = all(p >= LEVEL for _, p in tests)
        if iterations and seed is None:
            kept = mean_square
    return [
        f"{run.name}: BDIA off by {off:.1e}, target {EXACT:.0e}  {_said(off <= EXACT)}",
        f"{run.name}: from the noise alone {kept:.1f} dB, target {DECIBELS:g}  {_said(kept >= DECIBELS)}",
        *(
            f"{run.name}: {name}, noise not told from unit normal at {LEVEL:.0%}  {_said(normal[name])}"
            for name, iterations, _ in ways
            if iterations
        ),
    ]


def _said(good: bool) -> str:
    return "ok" if good else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", default=[Path("runs/digits"), Path("runs/mnist")])
    parser.add_argument("--data", help="where a single run's pictures are now, if not where they were")
    parser.add_argument("--n", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--solver", default="ddim", help="of all but BDIA")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    verdicts = [line for run in args.runs for line in measured(run, args)]
    print("\n".join(verdicts))


if __name__ == "__main__":
    main()
