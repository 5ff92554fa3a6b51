"""The emoji of a zip: which are held out, what is trained on, and pictures and captions as tensors and texts.

Held out are new combinations of known words: pictures in an order of their captions' hashes, each of which is held out if all
of its words stand in at least :data:`LEAST` captions that are left, until a :data:`SHARE` of all is.  Generator and reader
both see the others alone, which lie in a zip of their own.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from noisepath import noise
from noisepath.asking.tokens import words_of
from noisepath.data import DataConfig, open_data
from noisepath.evaluation.pictures import as_saved
from noisepath.files import write_whole

LEAST = 2
SHARE = 0.15


@dataclass(frozen=True)
class World:
    """Pictures (N, 3, H, W) in [-1, 1] as 8 bits hold them, and a caption for each."""

    pictures: Tensor
    captions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.captions)

    def part(self, which: Sequence[int]) -> World:
        """Some of them, in this order."""
        return World(self.pictures[list(which)], tuple(self.captions[i] for i in which))


def held_out(captions: Sequence[str], seed: int = 0, share: float = SHARE, least: int = LEAST) -> list[int]:
    """Which are held out, in rising order: a function of the captions and the seed alone."""
    words = [set(words_of(caption)) for caption in captions]
    left = Counter(word for one in words for word in one)
    out: list[int] = []
    for i in sorted(range(len(captions)), key=lambda i: (noise.key(seed, "held out", captions[i]), i)):
        if len(out) < share * len(captions) and all(left[word] > least for word in words[i]):
            out.append(i)
            left.subtract(words[i])
    return sorted(out)


def opened(path: Path, size: int) -> World:
    """All pictures of a zip or folder with captions, at one size; ValueError where there are none."""
    data = open_data(DataConfig(str(path), picture_size=size))
    if data.captions is None:
        raise ValueError(f"the pictures of {str(path)!r} have no captions: there is no metadata.jsonl with a text for each")
    pictures = torch.cat([data.batch([i])[0] for i in range(len(data))])
    return World(as_saved(pictures), tuple(data.captions))


def both(world: World, seed: int = 0) -> tuple[World, World]:
    """What is trained on, and what is held out."""
    out = held_out(world.captions, seed)
    hidden = set(out)
    return world.part([i for i in range(len(world)) if i not in hidden]), world.part(out)


def write_training_zip(source: Path, target: Path, seed: int = 0) -> int:
    """A zip of what is trained on, its files unchanged; returns how many pictures it holds."""
    with zipfile.ZipFile(source) as place:
        rows = [json.loads(line) for line in place.read("metadata.jsonl").decode("utf-8").splitlines() if line.strip()]
        hidden = set(held_out([row["text"] for row in rows], seed))
        kept = [row for i, row in enumerate(rows) if i not in hidden]
        with write_whole(target) as part, zipfile.ZipFile(part, "w") as made:
            for row in kept:
                made.writestr(zipfile.ZipInfo(row["file_name"]), place.read(row["file_name"]))
            made.writestr(zipfile.ZipInfo("metadata.jsonl"), "".join(json.dumps(row) + "\n" for row in kept))
    return len(kept)
