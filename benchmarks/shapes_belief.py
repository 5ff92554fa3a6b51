"""How far a network's belief about captioned shapes is from the exact one, noise level by noise level.

    python benchmarks/shapes_belief.py --run runs/shapes [--n 40]

Of scenes of one thing, and of two, all that a caption leaves open can be gone through: size, cell, and the quarter of a pixel
where each thing's middle lies.  Things never share a pixel, so their likelihoods multiply, and of two only their cells hang
together, by what the caption says of them and by what training never shows.  So E[x_0 | x, caption] is known:

    E = background + sum over things, over candidates c of P(c | x, caption) (c - background)

The table has the squared error of both beliefs for new scenes and captions, relative to the pictures' mean square.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from _shapes_model import captioned_model
from noisepath import noise
from noisepath.data.shape_world import Captioned, prompts
from noisepath.data.shape_world.drawing import STEPS, draw
from noisepath.data.shape_world.scenes import MARGIN, sayable
from noisepath.data.shape_world.world import BACKGROUND, PLACES, SIZES, Claim, Thing, facts, held_out_relations
from noisepath.denoiser import Denoiser
from noisepath.levels import Level

SIGMAS = (0.4, 0.6, 1.0, 1.6, 2.5, 4.0, 8.0, 40.0)
SIDE = 32


class Candidates(NamedTuple):
    """Everything that a thing of some shape and colour may be, before a caption says more."""

    drawn: Tensor
    """(K, D): the picture with this thing alone, less the background."""
    square: Tensor
    """(K,): the sum of its squares."""
    log_prior: Tensor
    """(K,), within its size and cell."""
    size: Tensor
    cell: Tensor


def in_pixels(pictures: Tensor) -> Tensor:
    """(B, D) in [-1, 1] of pictures in 0 .. 255."""
    return pictures.double().flatten(1) / 127.5 - 1.0


@lru_cache(maxsize=1)
def background() -> Tensor:
    """An empty picture, (D,)."""
    return in_pixels(torch.tensor(BACKGROUND).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE))[0]


@lru_cache(maxsize=8)
def candidates(shape: str, colour: str) -> Candidates:
    """On the quarters of pixels that sprites lie on, each as likely as the stretch that is rounded to it."""
    things, shares, sizes, cells = [], [], [], []
    for number, (name, extent) in enumerate(SIZES.items()):
        room = np.linspace(-1, 1, 20001) * ((1 / 3 - extent) / 2 - MARGIN)
        for cell in range(len(PLACES)):
            columns, rows = (np.unique(np.rint(((at + 0.5) / 3 + room) * SIDE * STEPS), return_counts=True)
                             for at in (cell % 3, cell // 3))  # fmt: skip
            for x, across in zip(*columns, strict=True):
                for y, down in zip(*rows, strict=True):
                    things.append((Thing(shape, colour, name, x / (SIDE * STEPS), y / (SIDE * STEPS)),))
                    shares.append(across * down / len(room) ** 2)
                    sizes.append(number)
                    cells.append(cell)
    drawn = in_pixels(draw(things, SIDE)) - background()
    log_prior = torch.tensor(shares).double().log()
    return Candidates(drawn, drawn.square().sum(1), log_prior, torch.tensor(sizes), torch.tensor(cells))


def said(claim: Claim, of: Candidates) -> Tensor:
    """(K,): 0 where a candidate is what is claimed of its size and place, else minus infinity."""
    right = torch.ones(len(of.size), dtype=torch.bool)
    if claim.size is not None:
        right &= of.size == list(SIZES).index(claim.size)
    if claim.place is not None:
        right &= of.cell == PLACES.index(claim.place)
    return torch.where(right, 0.0, -torch.inf).double()


def cells_said(one: Captioned) -> Tensor:
    """(9, 9): the log-probability, but for a constant, that a caption of two things says this of things in these cells."""
    first, second = one.claims.things
    table = torch.full((len(PLACES), len(PLACES)), -torch.inf, dtype=torch.float64)
    for p in range(len(PLACES)):
        for q in range(len(PLACES)):
            both = [Thing(claim.shape, claim.colour, "small", (at % 3 + 0.5) / 3, (at // 3 + 0.5) / 3)
                    for claim, at in ((first, p), (second, q))]  # fmt: skip
            if p == q or any(fact in held_out_relations() for fact in facts(both)):
                continue
            ways = [sayable(both[r.first], both[r.second]) for r in one.claims.relations]
            if all(r.relation in way for r, way in zip(one.claims.relations, ways, strict=True)):
                table[p, q] = -sum(np.log(len(way)) for way in ways)
    return table


def exact(x: Tensor, sigma: float, one: Captioned) -> Tensor:
    """E[x_0 | x, caption], (D,), for x = x_0 + sigma z, (D,)."""
    apart = x - background()
    every = [candidates(claim.shape, claim.colour) for claim in one.claims.things]
    logs = []
    for claim, of in zip(one.claims.things, every, strict=True):
        fits = (of.drawn @ apart - of.square / 2) / sigma**2
        logs.append(of.log_prior + fits + said(claim, of))
    if len(every) == 1:
        return background() + torch.softmax(logs[0], 0) @ every[0].drawn
    in_cell = [torch.stack([log[of.cell == cell].logsumexp(0) for cell in range(len(PLACES))])
               for log, of in zip(logs, every, strict=True)]  # fmt: skip
    joint = torch.softmax((in_cell[0][:, None] + in_cell[1] + cells_said(one)).flatten(), 0).view(len(PLACES), -1)
    belief = background()
    for log, of, own, share in zip(logs, every, in_cell, (joint.sum(1), joint.sum(0)), strict=True):
        within = torch.exp(log - own[of.cell]).nan_to_num(0.0)  # of a cell that is out of the question, nothing
        belief = belief + (within * share[of.cell]) @ of.drawn
    return belief


def errors(model: Denoiser, count: int, n: int, seed: int) -> tuple[list[float], list[float]]:
    """Of the exact belief and of the network's, at each noise level, for n new scenes of so many things."""
    asked = prompts("trained", count, n, seed)
    x0 = in_pixels(draw([one.scene for one in asked], SIDE))
    condition = model.vocabulary.condition(n, text=[one.caption for one in asked])
    z = noise.normal(noise.key(seed, "belief", count), range(n), tuple(x0.shape[1:])).double()
    noisy = [x0 + sigma * z for sigma in SIGMAS]
    # scene by scene, so that its candidates are drawn once
    best = [torch.stack([exact(x[i], s, one) for x, s in zip(noisy, SIGMAS, strict=True)]) for i, one in enumerate(asked)]
    with torch.no_grad():
        own = [model(x.view(n, 3, SIDE, SIDE).float(), Level(1.0, s), condition) for x, s in zip(noisy, SIGMAS, strict=True)]

    def of(beliefs: Iterable[Tensor]) -> list[float]:
        return [float((belief.flatten(1) - x0).square().mean() / x0.square().mean()) for belief in beliefs]

    return of(torch.stack(best, dim=1)), of(own)


def main() -> None:
    """Both beliefs' errors; the last line says where the network is furthest from the exact one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/shapes"))
    parser.add_argument("--n", type=int, default=40, help="scenes of each number of things")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    model = captioned_model(args.run)
    print("| things | belief | " + " | ".join(f"sigma {s:g}" for s in SIGMAS) + " |\n" + "|---" * (2 + len(SIGMAS)) + "|")
    ratios = []
    for count in (1, 2):
        best, own = errors(model, count, args.n, args.seed)
        for name, found in (("exact", best), ("the network's", own)):
            print(f"| {count} | {name} | " + " | ".join(f"{error:.4f}" for error in found) + " |")
        ratios += [(o / b, count, sigma) for o, b, sigma in zip(own, best, SIGMAS, strict=True)]
    worst, count, sigma = max(ratios)
    print(f"the network's squared error is at most {worst:.2f} times the exact belief's (things: {count}, sigma {sigma:g})")

if __name__ == "__main__":
    main()
