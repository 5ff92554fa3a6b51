"""Whether text steers on pictures that nobody made for it: emoji drawn from their names, and read by a reader trained apart.

    NOISEPATH_DATA=FOLDER python benchmarks/emoji_text.py --train [--minutes 60]     the network and the reader, into runs/emoji
    NOISEPATH_DATA=FOLDER python benchmarks/emoji_text.py [--n 200] [--guidance 3]   the figures and the board

Of the emoji of ``emoji-64.zip`` 15 % are held out from both (``_emoji_world.py``): new combinations of words that training
knows.  The reader (``_emoji_reader.py``) never sees the generator.  It is shown a picture and 20 captions, the picture's own
and 19 drawn at random from the others of training, or from the others held out; chance is 5 %.  The figures, with 95 %
intervals of the bootstrap over pictures:

- real emoji of training, and held out: what the reader can do;
- drawn for captions of training and for held-out captions, with the scale of guidance that reads best on other captions of
  training; the same pictures with the captions shuffled, which must be at chance;
- the distance (root mean square over values in [-1, 1]) to the nearest emoji of training, of drawn and of real held-out ones,
  and how often the nearest is the one of that name: how much is memory.

The board shows 40 prompts: 20 of training, 12 held out, and 8 of known words that no emoji is called.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from _emoji_judge import AMONG, Share, nearest_of, read_right, share, shuffled
from _emoji_reader import Reader, Recipe, load_reader, save_reader, train_reader
from _emoji_world import World, both, opened, write_training_zip
from noisepath import classifier_free, load, noise, sample
from noisepath.cli import main as noisepath
from noisepath.denoiser import Denoiser
from noisepath.evaluation.pictures import as_saved
from noisepath.files import write_whole
from noisepath.training.checkpoint import newest
from noisepath.training.record import read_run

COMPOSED = (
    "blue cat face", "green heart with arrow", "purple moon with face", "pig face with tears of joy",
    "dog with sunglasses", "clock face with smiling eyes", "red banana", "black apple",
)  # fmt: skip
"""Prompts of known words that no emoji is called."""
RECIPE = ("--tokens", "words", "--size", "compact", "--fold", "2", "--holdout", "0", "--no-evaluate")
"""Words, though each is seen but 2.4 times on average and bytes would be chosen: by them new combinations are known at once."""
SCALES = (1.0, 1.5, 2.0, 3.0, 5.0)
SWEPT = 60
FLOOR = {"training": 0.50, "held-out": 0.20}


# Making ------------------------------------------------------------------------------------------------------------------


def train(source: Path, args: argparse.Namespace) -> None:
    """The network, or what is missing of it, and the reader."""
    model, pictures = args.run / "model", args.run / "train.zip"
    if (model / "run.toml").is_file():
        if newest(model).step != read_run(model).train.steps and (code := noisepath(["train", "--resume", str(model)])):
            sys.exit(code)
    else:
        write_training_zip(source, pictures)
        words = ["train", "--data", str(pictures), "--picture-size", str(args.size), "--out", str(model), *RECIPE]
        if code := noisepath([*words, "--minutes", f"{args.minutes:g}"]):
            sys.exit(code)
    reader_of(both(opened(source, args.size))[0], args.run / "reader.safetensors")


def reader_of(world: World, path: Path) -> Reader:
    """The reader that lies there, trained if none does."""
    if not path.is_file():
        save_reader(train_reader(world, Recipe()), path)
    return load_reader(path)


def drawn(model: Denoiser, told: Sequence[str], guidance: float, steps: int, seed: int) -> Tensor:
    """A picture for each text, as 8 bits hold it."""
    assert model.vocabulary is not None
    condition = model.vocabulary.condition(len(told), text=list(told))
    denoiser = classifier_free(model, guidance)
    shape = (len(told), *model.info["shape"])
    return as_saved(sample(denoiser, shape, condition=condition, steps=steps, seed=seed, batch_size=100))


def some(captions: Sequence[str], count: int, seed: int, purpose: str) -> list[str]:
    """So many of them, in an order that depends on the arguments alone."""
    order = torch.randperm(len(captions), generator=torch.Generator().manual_seed(noise.key(seed, purpose) >> 1))
    return [captions[i] for i in order[:count].tolist()]


# Judging -----------------------------------------------------------------------------------------------------------------


def best_scale(model: Denoiser, reader: Reader, train: World, args: argparse.Namespace) -> float:
    """The scale with which captions of training are read best; they are others than those that are measured."""
    told = some(train.captions, len(train), args.seed, "asked")[-SWEPT:]
    found = {}
    for scale in SCALES:
        pictures = drawn(model, told, scale, args.steps, args.seed + 1)
        found[scale] = share(read_right(reader, pictures, told, train.captions))
        print(f"guidance {scale:g}: {found[scale]} of captions of training are found among 20", flush=True)
    return max(found, key=lambda scale: found[scale].mean)


def of_real(reader: Reader, kinds: dict[str, World]) -> None:
    """What the reader does with real emoji, and with shuffled captions of theirs."""
    for name, world in kinds.items():
        mixed = [world.captions[i] for i in shuffled(len(world), 0)]
        right, blind = (share(read_right(reader, world.pictures, told, world.captions)) for told in (world.captions, mixed))
        print(f"| real, {name} | {right} | {blind} | |", flush=True)


def of_drawn(
    name: str, reader: Reader, pictures: Tensor, told: Sequence[str], pool: Sequence[str], train: World
) -> tuple[Share, Share]:
    """How drawn pictures read, with their captions and with shuffled ones; printed with how near they are to training."""
    right = share(read_right(reader, pictures, told, pool))
    blind = share(read_right(reader, pictures, [told[i] for i in shuffled(len(told), 0)], pool))
    distance, which = nearest_of(pictures, train.pictures)
    own = sum(train.captions[i] == caption for i, caption in zip(which.tolist(), told, strict=True)) / len(told)
    print(f"| drawn, {name} | {right} | {blind} | {float(distance.median()):.3f}, its own {own:.1%} |", flush=True)
    return right, blind


# The board ---------------------------------------------------------------------------------------------------------------


def board_prompts(train: World, held: World, seed: int) -> list[str]:
    """20 of training, 12 held out, 8 of nothing that there is: drawn by lot, not chosen by their looks."""
    return [*some(train.captions, 20, seed, "board"), *some(held.captions, 12, seed, "board"), *COMPOSED]


def save_board(pictures: Tensor, told: Sequence[str], right: Tensor, path: Path, columns: int = 8) -> None:
    """Pictures with their prompts beneath, grey where the reader would rather have another caption."""
    import textwrap

    from matplotlib.figure import Figure

    rows = -(-len(told) // columns)
    figure = Figure((1.25 * columns, 1.65 * rows), dpi=100)
    figure.subplots_adjust(0.01, 0.08, 0.99, 0.99, wspace=0.08, hspace=0.35)
    for i, axes in enumerate(figure.subplots(rows, columns).flat):
        axes.set_axis_off()
        if i < len(told):
            axes.imshow(((pictures[i] + 1) / 2).permute(1, 2, 0).numpy(), interpolation="nearest")
            said = "\n".join(textwrap.wrap(told[i], 20))
            axes.text(0.5, -0.04, said, transform=axes.transAxes, ha="center", va="top", fontsize=7,
                      color="black" if right[i] >= 0.5 else "0.6")  # fmt: skip
    with write_whole(path) as part:
        figure.savefig(part, format="png", pil_kwargs={"optimize": True})


def board(model: Denoiser, reader: Reader, train: World, held: World, scale: float, args: argparse.Namespace) -> None:
    """Draws it, and prints how its pictures read."""
    told = board_prompts(train, held, args.seed)
    pictures = drawn(model, told, scale, args.steps, args.seed + 3)
    new = [*held.captions, *COMPOSED]
    right = torch.cat([read_right(reader, pictures[:20], told[:20], train.captions),
                       read_right(reader, pictures[20:], told[20:], new)])  # fmt: skip
    save_board(pictures, told, right, args.board or args.run / "board.png")
    kinds = {"of training": right[:20], "held out": right[20:32], "that no emoji has": right[32:]}
    said = ", ".join(f"{float(values.mean()):.0%} of {len(values)} {kind}" for kind, values in kinds.items())
    print(f"the board's prompts that are found among 20: {said}; drawn in {args.board or args.run / 'board.png'}")


def arguments() -> argparse.Namespace:
    """What was said on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/emoji"))
    parser.add_argument("--data", type=Path, help="the zip; NOISEPATH_DATA/emoji-64.zip if not given")
    parser.add_argument("--train", action="store_true", help="train what is not there yet, and do no more")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--size", type=int, default=16, help="pixels a side")
    parser.add_argument("--n", type=int, default=200, help="prompts of each kind, at most")
    parser.add_argument("--guidance", type=float, help="the best of a sweep on captions of training if not given")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--board", type=Path, help="RUN/board.png if not given")
    return parser.parse_args()


def main() -> None:
    """Train, or draw, read and judge; the last line is the verdict."""
    args = arguments()
    source = args.data or Path(os.environ.get("NOISEPATH_DATA", "")) / "emoji-64.zip"
    if not source.is_file():
        print("left out: NOISEPATH_DATA names no folder with emoji-64.zip")
        return
    if args.train:
        train(source, args)
        return
    model = load(args.run / "model")
    known, held = both(opened(source, args.size))
    reader = reader_of(known, args.run / "reader.safetensors")
    scale = best_scale(model, reader, known, args) if args.guidance is None else args.guidance
    print(f"guidance {scale:g}, {args.steps} steps; {len(known)} emoji of training, {len(held)} held out")
    print("| pictures | own caption found among 20 | captions shuffled | distance to the nearest of training |")
    print("|---|---|---|---|")
    kinds = {"training": known, "held-out": held}
    of_real(reader, kinds)
    shares, blind = {}, {}
    for name, world in kinds.items():
        told = some(world.captions, args.n, args.seed, "asked")
        pictures = drawn(model, told, scale, args.steps, args.seed + 2)
        shares[name], blind[name] = of_drawn(f"{name} captions", reader, pictures, told, world.captions, known)
    distance, _ = nearest_of(held.pictures, known.pictures)
    print(f"real held-out emoji are {float(distance.median()):.3f} from the nearest of training")
    board(model, reader, known, held, scale, args)
    good = all(shares[name].low >= floor and blind[name].low <= 1 / AMONG for name, floor in FLOOR.items())
    said = ", ".join(f"{name} {found.mean:.1%} (floor {FLOOR[name]:.0%})" for name, found in shares.items())
    print(f"text steers on emoji, found among {AMONG}: {said}  {'ok' if good else 'MISSED'}")


if __name__ == "__main__":
    main()
