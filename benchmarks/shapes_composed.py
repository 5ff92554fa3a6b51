"""Composition by guidance: two one-shape prompts at once, and one without another, drawn and read by program.

    python benchmarks/shapes_composed.py --run runs/shapes [--n 200] [--steps 20]    (make demo-text trains it)

A model of captioned shapes is asked by :func:`noisepath.guidance.composed`, so that no prompt says all of what is wanted:

two things  "a red circle at the left" and "a blue square at the right": both things.  Each caption alone is of a picture with
            one thing, so that no picture fits both, but each half of one does, and there its prompt counts.
one thing   "a small red circle" and "a red circle at the top": all of both, of one thing.  What both say, "a red circle", is
            taken off, which would count twice else: p(x | a, b, c) ~ p(x | a, c) p(x | b, c) / p(x | c) where a and b are
            independent of each other.
not         "a red circle" and not "a large red circle": a red circle of another size

Beside each what its first prompt gives alone, by classifier-free guidance of 2, and without a target what the two prompts of
"and" give at 2 each, simply added.  The scales were chosen on seed 7.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from _shapes_model import captioned_model
from noisepath import plots, sample
from noisepath.data.shape_world import Claim, Claims, Thing, read, satisfies
from noisepath.data.shape_world.captions import say
from noisepath.data.shape_world.scenes import Draws
from noisepath.data.shape_world.world import PLACES, SIZES, trained_pairs
from noisepath.denoiser import Denoiser
from noisepath.guidance import composed

FLOOR, GOAL = 0.60, 0.75
ALONE = 2.0
SIDES = {
    ("left", "right"): (-1, 0),
    ("right", "left"): (1, 0),
    ("top", "bottom"): (0, -1),
    ("bottom", "top"): (0, 1),
    ("top left", "bottom right"): (-1, -1),
}
"""Places for two things, which do not touch, and the direction (x, y) of the first from the middle."""


@dataclass(frozen=True)
class Wanted:
    """Prompts, and whether the things of a picture are what they want together.

    scales: one for each prompt, a number or one for each place, (1, H, W).
    """

    prompts: tuple[str, ...]
    scales: tuple[float | Tensor, ...]
    right: Callable[[Sequence[Thing]], bool]


Make = Callable[[int, Random, tuple[int, int]], Wanted]
"""(number, draws, size of a picture) -> what is wanted."""


def _said(claim: Claim, *words: object) -> str:
    return say(Claims((claim,)), Draws("composed", *map(str, words)))


def one_thing(i: int, draw: Random, _: tuple[int, int]) -> Wanted:
    """Its size by one prompt, its place by the other."""
    colour, shape = draw.choice(trained_pairs())
    size, place = draw.choice(tuple(SIZES)), draw.choice(PLACES)
    whole = Claims((Claim(shape, colour, size, place),))
    first, second, both = Claim(shape, colour, size), Claim(shape, colour, None, place), Claim(shape, colour)
    prompts = (_said(first, i), _said(second, i, 2), _said(both, i, 3))
    return Wanted(prompts, (2.5, 2.5, -2.0), lambda things: satisfies(things, whole).all_right)


def two_things(i: int, draw: Random, size: tuple[int, int]) -> Wanted:
    """One by each prompt, in its half of the picture; more things than these two are wrong."""
    pairs, places = draw.sample(trained_pairs(), 2), draw.choice(tuple(SIDES))
    claims = tuple(Claim(shape, colour, None, place) for (colour, shape), place in zip(pairs, places, strict=True))
    whole, half = Claims(claims), _half(SIDES[places], size)
    prompts = (_said(claims[0], i), _said(claims[1], i, 2))
    return Wanted(prompts, (2.5 * half, 2.5 * (1.0 - half)), lambda things: satisfies(things, whole).all_right)


def _half(towards: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """1 on this side of the middle, a half on the line, 0 on the other; (1, H, W)."""
    down, right = (torch.linspace(-1.0, 1.0, n) for n in size)
    return ((towards[0] * right + towards[1] * down[:, None]).sign()[None] + 1.0) / 2.0


def without(i: int, draw: Random, _: tuple[int, int]) -> Wanted:
    """A thing of another size than one."""
    colour, shape = draw.choice(trained_pairs())
    thing, size = Claim(shape, colour), draw.choice(tuple(SIZES))
    avoided = replace(thing, size=size)

    def right(things: Sequence[Thing]) -> bool:
        return satisfies(things, Claims((thing,))).all_right and not satisfies(things, Claims((avoided,))).all_right

    return Wanted((_said(thing, i), _said(avoided, i, 2)), (3.0, -1.0), right)


def added(make: Make) -> Make:
    """The same with its first two prompts, each at the scale of one alone, everywhere."""

    def two(i: int, draw: Random, size: tuple[int, int]) -> Wanted:
        one = make(i, draw, size)
        return replace(one, prompts=one.prompts[:2], scales=(ALONE, ALONE))

    return two


KINDS: dict[str, Make] = {"two things": two_things, "one thing": one_thing, "not": without}
BESIDE: dict[str, Make] = {"two things, added": added(two_things), "one thing, added": added(one_thing)}


def share(model: Denoiser, wanted: Sequence[Wanted], args: argparse.Namespace) -> tuple[float, Tensor]:
    """How many pictures are right, and the pictures."""
    pairs = []
    for k in range(len(wanted[0].prompts)):
        told = model.vocabulary.condition(len(wanted), text=[one.prompts[k] for one in wanted])
        pairs.append((told, torch.stack([torch.as_tensor(one.scales[k]) for one in wanted])))
    shape = (len(wanted), *model.info["shape"])
    made = sample(composed(model, pairs), shape, steps=args.steps, seed=args.seed, batch_size=100)
    right = [one.right(things) for one, things in zip(wanted, read(made.clamp(-1, 1)), strict=True)]
    return sum(right) / len(right), made


def main() -> None:
    """Draw, read, judge; the last line is the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/shapes"))
    parser.add_argument("--n", type=int, default=200, help="pictures of each kind")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--board", type=Path, help="a picture of ten of each kind")
    args = parser.parse_args()
    model = captioned_model(args.run)
    shown, found = [], {}
    print("| wanted | right | first prompt alone |\n|---|---|---|")
    for name, make in (KINDS | BESIDE).items():
        draws = (Random(f"{args.seed} {name.split(',')[0]} {i}") for i in range(args.n))
        wanted = [make(i, draw, tuple(model.info["shape"][1:])) for i, draw in enumerate(draws)]
        found[name], made = share(model, wanted, args)
        shown.append(made[:10])
        alone = ""
        if name in KINDS:
            first = [replace(one, prompts=one.prompts[:1], scales=(ALONE,)) for one in wanted]
            alone = f"{share(model, first, args)[0]:.1%}"
        print(f"| {name} | {found[name]:.1%} | {alone} |", flush=True)
    if args.board is not None:
        plots.save_grid(torch.cat(shown), args.board, 10)
    for name in KINDS:
        print(f"{name}: {found[name]:.1%} right, floor {FLOOR:.0%}, goal {GOAL:.0%}  {_verdict(found[name])}")
    print(f"composition, {args.n} pictures each: {_verdict(min(found[name] for name in KINDS))}")


def _verdict(right: float) -> str:
    return "ok" if right >= FLOOR else "MISSED"


if __name__ == "__main__":
    main()
