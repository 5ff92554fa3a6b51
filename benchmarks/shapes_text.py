"""Whether text steers: pictures of captioned shapes, drawn from prompts and read by program.

    python benchmarks/shapes_text.py --run runs/shapes [--n 100] [--guidance 2] [--steps 20]    (make demo-text trains it)

For one, two and three shapes, of combinations that training shows and of those held out, ``n`` prompts each are drawn and every
picture is read (:func:`noisepath.data.shape_world.read`).  It is right when all of it is: how many shapes, each one's shape and
colour, and sizes, places and relations where they were said.  The table has the share that is right by attribute too.

Beside it the same model without text, and with the prompts shuffled among the pictures: both should be at chance, which is
worked out from the captions' distribution (:func:`noisepath.data.shape_world.chance`).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from _shapes_model import captioned_model
from noisepath import classifier_free, plots, sample
from noisepath.data.shape_world import Captioned, Verdict, chance, prompts, read, satisfies
from noisepath.denoiser import Denoiser

FLOOR = {"trained": 0.80, "held_out": 0.60}
GOAL = {"trained": 0.90, "held_out": 0.75}
ATTRIBUTES = ("shape", "colour", "size", "place", "relation")


def drawn(model: Denoiser, told: Sequence[str] | None, count: int, args: argparse.Namespace, seed: int) -> Tensor:
    """A picture for each text; without any, as many of nothing in particular."""
    vocabulary = model.vocabulary
    condition = vocabulary.condition(count, **({} if told is None else {"text": list(told)}))
    denoiser = model if told is None else classifier_free(model, args.guidance)
    return sample(denoiser, (count, *model.info["shape"]), condition=condition, steps=args.steps, seed=seed, batch_size=100)


def judged(pictures: Tensor, asked: Sequence[Captioned]) -> list[Verdict]:
    """What is right in each picture."""
    return [satisfies(things, one.claims) for things, one in zip(read(pictures.clamp(-1, 1)), asked, strict=True)]


def row(name: str, verdicts: Sequence[Verdict]) -> str:
    """Shares that are right: all, the count, and each attribute of all that were claimed."""
    cells = [sum(v.all_right for v in verdicts) / len(verdicts), sum(v.count for v in verdicts) / len(verdicts)]
    for attribute in ATTRIBUTES:
        said = [right for v in verdicts for right in getattr(v, attribute)]
        cells.append(sum(said) / len(said) if said else math.nan)
    return f"| {name} | " + " | ".join("" if math.isnan(cell) else f"{cell:.1%}" for cell in cells) + " |"


def share(verdicts: Sequence[Verdict]) -> float:
    """How many are right in all."""
    return sum(v.all_right for v in verdicts) / len(verdicts)


def at_chance(model: Denoiser, asked: dict[tuple[str, int], list[Captioned]], made: dict[tuple[str, int], Tensor],
              args: argparse.Namespace) -> bool:  # fmt: skip
    """Without text, and with shuffled prompts: printed beside what chance gives, within four deviations of it."""
    good = True
    kinds = [key for key in asked if key[0] == "trained"]
    captions = [one for key in kinds for one in asked[key]]
    blind = drawn(model, None, len(captions), args, seed=args.seed + 1000)
    generator = torch.Generator().manual_seed(args.seed)
    order = torch.randperm(len(captions), generator=generator)
    shuffled = torch.cat([made[key] for key in kinds])[order]
    expected = sum(chance(count) * len(asked[kind, count]) for kind, count in kinds) / len(captions)
    for name, pictures in (("without text", blind), ("shuffled prompts", shuffled)):
        found = share(judged(pictures, captions))
        within = abs(found - expected) <= 4 * math.sqrt(expected / len(captions)) + 1 / len(captions)
        good &= within
        print(f"{name}: {found:.2%} all right of {len(captions)}; chance {expected:.2%}  {'ok' if within else 'MISSED'}")
    return good


def main() -> None:
    """Draw, read, judge; the last line is the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/shapes"))
    parser.add_argument("--n", type=int, default=100, help="prompts of each kind; there are six kinds")
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--board", type=Path, help="a picture of some prompts and what was drawn for them")
    args = parser.parse_args()
    model = captioned_model(args.run)
    asked = {(kind, shapes): prompts(kind, shapes, args.n, args.seed) for shapes in (1, 2, 3) for kind in FLOOR}
    made = {
        key: drawn(model, [one.caption for one in captions], len(captions), args, args.seed + i)
        for i, (key, captions) in enumerate(asked.items())
    }
    verdicts = {key: judged(made[key], asked[key]) for key in asked}
    print("| prompts | all right | count | " + " | ".join(ATTRIBUTES) + " |\n" + "|---" * (3 + len(ATTRIBUTES)) + "|")
    for kind, shapes in asked:
        print(row(f"{shapes} shape{'s' * (shapes > 1)}, {kind.replace('_', ' ')}", verdicts[kind, shapes]))
    if args.board is not None:
        plots.save_grid(torch.cat([made[key][:10] for key in asked]), args.board, 10)
    good = at_chance(model, asked, made, args)
    for kind, floor in FLOOR.items():
        found = share([v for shapes in (1, 2) for v in verdicts[kind, shapes]])
        good &= found >= floor
        print(f"one and two shapes, {kind.replace('_', ' ')}: {found:.1%} all right, floor {floor:.0%}, goal {GOAL[kind]:.0%}  "
              f"{'ok' if found >= floor else 'MISSED'}")  # fmt: skip
    print(f"text steers, {6 * args.n} prompts, guidance {args.guidance:g}, {args.steps} steps: {'ok' if good else 'MISSED'}")


if __name__ == "__main__":
    main()
