"""How often a reader finds a picture's own caption among 20, and how near generated pictures are to those of training.

The other 19 are drawn at random, without order, from the other captions of the same kind (of training, or held out) that have
not the same words.  The share over all such draws is exact: with b of the M others scoring at least as high as the own caption,
none of them is among the 19 in C(M - b, 19) / C(M, 19) of the draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from _emoji_reader import Reader, same_words
from noisepath import noise

AMONG = 20
RESAMPLES = 2000


@dataclass(frozen=True)
class Share:
    """A mean over pictures, with the interval in which 95 % of resampled means lie."""

    mean: float
    low: float
    high: float
    of: int

    def __str__(self) -> str:
        return f"{self.mean:.1%} ({self.low:.1%} to {self.high:.1%}; {self.of})"


def share(values: Tensor, seed: int = 0) -> Share:
    """The bootstrap: as many pictures drawn with replacement, many times."""
    generator = torch.Generator().manual_seed(noise.key(seed, "bootstrap") >> 1)
    drawn = torch.randint(len(values), (RESAMPLES, len(values)), generator=generator)
    means = values.double()[drawn].mean(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Share(float(values.double().mean()), low, high, len(values))


def found_among(scores: Tensor, own: Sequence[int], alike: Tensor, among: int = AMONG) -> Tensor:
    """(N,): the share of draws of others in which a picture's own caption scores highest.

    Args:
        scores: (N, M), of N pictures with M captions.
        own: which caption is each picture's.
        alike: (M,), the same number for captions with the same words, which are not held against each other.

    ValueError where fewer than ``among - 1`` other captions are left.
    """
    rows, mine = torch.arange(len(scores)), torch.as_tensor(own)
    others = alike[None] != alike[mine][:, None]
    least = int(others.sum(1).min())
    if least < among - 1:
        raise ValueError(f"a caption is to be found among {among}, but there are {least} others with other words")
    above = ((scores >= scores[rows, mine][:, None]) & others).sum(1)
    return torch.tensor([_none_drawn(int(m), int(b), among - 1) for m, b in zip(others.sum(1), above, strict=True)])


def _none_drawn(others: int, above: int, draws: int) -> float:
    return math.comb(others - above, draws) / math.comb(others, draws)


def read_right(reader: Reader, pictures: Tensor, captions: Sequence[str], pool: Sequence[str], among: int = AMONG) -> Tensor:
    """(N,): for each picture the share of draws in which its caption is found, the others being drawn from ``pool``."""
    told = list(dict.fromkeys([*pool, *captions]))
    place = {caption: i for i, caption in enumerate(told)}
    return found_among(reader.scores(pictures, told), [place[caption] for caption in captions], same_words(told), among)


def shuffled(count: int, seed: int) -> list[int]:
    """An order in which nothing stays at its place: a random cycle."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(noise.key(seed, "shuffled") >> 1)).tolist()
    following = dict(zip(order, [*order[1:], order[0]], strict=True))
    return [following[i] for i in range(count)]


def nearest_of(pictures: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Root-mean-square distance in pixels from each picture to the nearest of the others, and which that is; both (N,)."""
    found = torch.cdist(pictures.flatten(1).double(), others.flatten(1).double()) / math.sqrt(pictures[0].numel())
    distance, which = found.min(1)
    return distance, which
