"""Inpainting by a trained network: the lower half of real digits made anew, given the upper half and the class.

    python benchmarks/inpainting.py --run runs/mnist [--n 500] [--steps 20] [--repeats 0 4] [--own] [--out FILE.png]

Three figures for each number of repeats, beside those of as many full samples of the same classes:

- how often the run's own classifier reads the class that was asked for (target: within 5 points of full samples);
- whether every known pixel came back unchanged to the bit (target: all);
- whether the picture goes on across the seam as a full sample does: of each picture the mean absolute difference between the
  rows on both sides, held against the full samples' by Kolmogorov and Smirnov's two-sample test (target: not told apart at
  the level of 1 %).  The pixels of a picture hang together, so that each picture gives one number.

Real pictures stand beside as a third set: where the test tells them from full samples, the network's own law and not the
method is what differs, since the known half is real.  With ``--own`` the same is done again with the upper halves of samples of
the model itself (another seed), whose completion should have just the full samples' law.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from noisepath import Condition, inpaint, load, plots, sample
from noisepath.data import holdout_size, open_data, split
from noisepath.evaluation.classifier import Classifier, load_classifier
from noisepath.evaluation.pictures import as_saved, read
from noisepath.training import read_run

LEVEL = 0.01
POINTS = 5.0
REAL, OWN = "real upper halves", "the model's own upper halves"


def given(args: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Real pictures and their classes: held out first, then others."""
    config = read_run(args.run)
    data = open_data(config.data if args.data is None else replace(config.data, data=args.data))
    train, held_out = split(data, holdout_size(config.data, len(data)), config.train.seed)
    parts: list[tuple[Tensor, Tensor]] = []
    missing = args.n
    for part in (held_out, train):
        if part is not None and missing and len(part):
            pictures, labels, _ = read(part, range(min(missing, len(part))))
            assert labels is not None
            parts.append((pictures, labels))
            missing -= len(pictures)
    return torch.cat([pictures for pictures, _ in parts]), torch.cat([labels for _, labels in parts])


def seam(pictures: Tensor) -> Tensor:
    """(N,): the mean absolute difference between the rows on both sides of the middle, as 8 bits hold the pictures."""
    half = pictures.shape[2] // 2
    saved = as_saved(pictures)
    return (saved[:, :, half] - saved[:, :, half - 1]).abs().flatten(1).mean(1)


def share_read(reader: Classifier, pictures: Tensor, labels: Tensor) -> float:
    """Per cent of the pictures that are read as their class."""
    return 100.0 * float((reader.read(as_saved(pictures)) == labels).double().mean())


def apart(one: Tensor, other: Tensor) -> tuple[float, float]:
    """Kolmogorov and Smirnov's distance of two sets of numbers, and how often chance alone gives one so large."""
    from scipy.stats import ks_2samp

    found = ks_2samp(one.double().numpy(), other.double().numpy())
    return float(found.statistic), float(found.pvalue)


def main() -> None:
    """Complete, judge, draw; the last line is the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/mnist"))
    parser.add_argument("--data", help="where the run's pictures are now, if not where they were")
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, nargs="+", default=[0, 4])
    parser.add_argument("--own", action="store_true", help="complete samples of the model itself, too")
    parser.add_argument("--jump", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/inpainting.png"))
    args = parser.parse_args()

    denoiser = load(args.run, args.device)
    reader = load_classifier(args.run / "evaluation" / "classifier", args.device)
    real, labels = given(args)
    shared = {"steps": args.steps, "condition": Condition(label=labels.to(args.device)), "batch_size": args.batch_size}
    full = sample(denoiser, real.shape, seed=args.seed, **shared).cpu()
    mask = torch.zeros(1, 1, *real.shape[2:])
    mask[:, :, real.shape[2] // 2 :] = 1.0
    known = (mask == 0.0).expand_as(real)

    base = share_read(reader, full, labels)
    distance, chance = apart(seam(real), seam(full))
    print(f"{len(real)} pictures, {args.steps} steps, jumps of {args.jump}; seam: mean, KS distance and p against full")
    print(f"full samples: {base:.1f} % read as asked, seam {float(seam(full).mean()):.4f}")
    print(
        f"real: {share_read(reader, real, labels):.1f} % read, seam {float(seam(real).mean()):.4f}, KS {distance:.3f}, "
        f"p {chance:.2g}", flush=True,
    )  # fmt: skip
    rows, verdicts = [as_saved(real[:12]), as_saved(full[:12])], {}
    for name in (REAL, OWN) if args.own else (REAL,):
        upper = real if name == REAL else sample(denoiser, real.shape, seed=args.seed + 1, **shared).cpu()
        for repeats in args.repeats:
            made = inpaint(
                denoiser, upper, mask, repeats=repeats, jump=args.jump, seed=args.seed + 2 + repeats, **shared
            ).cpu()
            share = share_read(reader, made, labels)
            distance, chance = apart(seam(made), seam(full))
            exact = torch.equal(made[known], upper[known])
            verdicts[name, repeats] = abs(share - base) <= POINTS, exact, chance >= LEVEL
            rows.append(as_saved(made[:12]))
            print(
                f"{name}, {repeats} repeats: {share:.1f} % read as asked, known pixels {'equal' if exact else 'CHANGED'}, "
                f"seam {float(seam(made).mean()):.4f}, KS {distance:.3f}, p {chance:.2g}",
                flush=True,
            )
    plots.save_grid(torch.cat(rows), args.out, columns=len(rows[0]))
    print(f"rows: real, full samples, then as above; drawn in {args.out}")
    for (name, repeats), (reads, exact, smooth) in verdicts.items():
        parts = (("read within 5 points:", reads), ("known to the bit:", exact), ("seam not told apart at 1 %:", smooth))
        said = [f"{what} {'ok' if good else 'MISSED'}" for what, good in parts]
        print(f"{name}, {repeats} repeats: {', '.join(said)}")


if __name__ == "__main__":
    main()
