"""Composition by guidance: two one-shape prompts at once, and one without another, drawn and read by program.

    python benchmarks/shapes_composed.py --run runs/shapes [--n 200] [--guidance 2] [--steps 20]    (make demo-text trains it)

A model of captioned shapes is asked by :func:`noisepath.guidance.composed`, so that no prompt says all of what is wanted:

one thing   "a small red circle" and "a red circle at the top": all of both, of one thing
two things  "a red circle at the left" and "a blue square at the right": both things.  Each caption alone is of a picture with
            one thing, so no training picture fits both.
not         "a red circle" and not "a large red circle": a red circle of another size

Beside each what chance would give: for "and" pictures of the first prompt alone, for "not" those without the second.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch

from noisepath import load, plots, sample
from noisepath.data.shape_world import Claim, Claims, Thing, read, satisfies
from noisepath.data.shape_world.captions import say
from noisepath.data.shape_world.scenes import Draws
from noisepath.data.shape_world.world import PLACES, SIZES, trained_pairs
from noisepath.denoiser import Denoiser
from noisepath.guidance import composed

FLOOR, GOAL = 0.60, 0.75
SIDES = (("left", "right"), ("right", "left"), ("top", "bottom"), ("bottom", "top"), ("top left", "bottom right"))
"""Places for two things, which do not touch."""


@dataclass(frozen=True)
class Wanted:
    """Two prompts, and whether the things of a picture are what they want together."""

    first: str
    second: str
    right: Callable[[Sequence[Thing]], bool]


def _said(claim: Claim, *words: object) -> str:
    return say(Claims((claim,)), Draws("composed", *map(str, words)))


def one_thing(i: int, draw: Random) -> Wanted:
    """Its size by one prompt, its place by the other."""
    colour, shape = draw.choice(trained_pairs())
    size, place = draw.choice(tuple(SIZES)), draw.choice(PLACES)
    whole = Claims((Claim(shape, colour, size, place),))
    first, second = Claim(shape, colour, size), Claim(shape, colour, None, place)
    return Wanted(_said(first, i), _said(second, i, 2), lambda things: satisfies(things, whole).all_right)


def two_things(i: int, draw: Random) -> Wanted:
    """One by each prompt; more things than these two are wrong."""
    pairs, places = draw.sample(trained_pairs(), 2), draw.choice(SIDES)
    claims = tuple(Claim(shape, colour, None, place) for (colour, shape), place in zip(pairs, places, strict=True))
    whole = Claims(claims)
    return Wanted(_said(claims[0], i), _said(claims[1], i, 2), lambda things: satisfies(things, whole).all_right)


def without(i: int, draw: Random) -> Wanted:
    """A thing of another size than one."""
    colour, shape = draw.choice(trained_pairs())
    thing, size = Claim(shape, colour), draw.choice(tuple(SIZES))
    avoided = replace(thing, size=size)

    def right(things: Sequence[Thing]) -> bool:
        return satisfies(things, Claims((thing,))).all_right and not satisfies(things, Claims((avoided,))).all_right

    return Wanted(_said(thing, i), _said(avoided, i, 2), right)


KINDS = {"one thing": one_thing, "two things": two_things, "not": without}


def share(
    model: Denoiser, wanted: Sequence[Wanted], scales: tuple[float, float], args: argparse.Namespace
) -> tuple[float, torch.Tensor]:
    """How many pictures are right, and the pictures."""
    texts = [[one.first for one in wanted], [one.second for one in wanted]]
    told = [model.vocabulary.condition(len(wanted), text=words) for words in texts]
    denoiser = composed(model, [(one, scale) for one, scale in zip(told, scales, strict=True) if scale])
    made = sample(denoiser, (len(wanted), *model.info["shape"]), steps=args.steps, seed=args.seed, batch_size=100)
    right = [one.right(things) for one, things in zip(wanted, read(made.clamp(-1, 1)), strict=True)]
    return sum(right) / len(right), made


def main() -> None:
    """Draw, read, judge; the last line is the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/shapes"))
    parser.add_argument("--n", type=int, default=200, help="pictures of each kind")
    parser.add_argument("--guidance", type=float, default=2.0, help="scale of each prompt; of one that is not wanted --away")
    parser.add_argument("--away", type=float, default=-1.5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--board", type=Path, help="a picture of ten of each kind")
    args = parser.parse_args()
    model = load(args.run)
    if model.vocabulary is None or "text" not in model.vocabulary:
        sys.exit(f"{args.run} was not trained on captions")
    shown, found = [], {}
    print("| wanted | right | without the second prompt |\n|---|---|---|")
    for name, make in KINDS.items():
        wanted = [make(i, Random(f"{args.seed} {name} {i}")) for i in range(args.n)]
        scales = (args.guidance, args.away if name == "not" else args.guidance)
        found[name], made = share(model, wanted, scales, args)
        alone, _ = share(model, wanted, (args.guidance, 0.0), args)
        shown.append(made[:10])
        print(f"| {name} | {found[name]:.1%} | {alone:.1%} |", flush=True)
    if args.board is not None:
        plots.save_grid(torch.cat(shown), args.board, 10)
    for name, right in found.items():
        print(f"{name}: {right:.1%} right, floor {FLOOR:.0%}, goal {GOAL:.0%}  {'ok' if right >= FLOOR else 'MISSED'}")
    print(
        f"composition, {args.n} pictures each, guidance {args.guidance:g}: {'ok' if min(found.values()) >= FLOOR else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
