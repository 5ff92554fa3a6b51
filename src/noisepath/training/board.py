"""The board that a run leaves at its end (:mod:`noisepath.board`), no larger than a small part of the training's own work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from noisepath.board import Asked, calls, fitted, requests, write_board
from noisepath.board.making import step_of
from noisepath.guiding import unguidable
from noisepath.training.checkpoint import load

if TYPE_CHECKING:
    from noisepath.asking import Vocabulary
    from noisepath.data import Data

__all__ = ["SHARE", "last_board"]

SHARE = 0.03
"""Of the training's network passes, a step counted as three for each of its pictures (forward, and backward twice that)."""


def last_board(folder: Path, pictures: Data, trained_on: int, vocabulary: Vocabulary, device: str) -> Path | None:
    """Write the board of a run's newest model, if there is none of that step already.

    Args:
        folder: the run.
        pictures: whose captions are asked for; held-out ones where there are some.
        trained_on: how many pictures the run's steps were shown.
        vocabulary: what the model can be asked for, with the run's own text encoder where it has one.
        device: where the pictures are made.

    Returns:
        The board's folder; None where the run is so short that even the smallest board would be a large part of it (then
        ``noisepath board`` makes one), or its pictures say nothing that the model, which always needs to be told something,
        could be asked for.
    """
    denoiser = load(folder, device)
    denoiser.vocabulary = vocabulary
    most = SHARE * 3 * trained_on
    if step_of(folder) == denoiser.info["steps"] or calls(Asked(({},), (1.0,), 1), denoiser) > most:
        return None  # before captions are looked at, which an encoder may have to read
    rows = requests(denoiser.vocabulary, pictures)
    if denoiser.vocabulary and not rows and unguidable(denoiser):
        return None
    asked = fitted(Asked.of(denoiser, rows), denoiser, most)
    return None if asked is None else write_board(folder, denoiser, asked)
