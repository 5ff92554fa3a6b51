"""What a run's network is told of its pictures: which names there are, and what each picture says under them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from noisepath.asking import Classes, Vocabulary
from noisepath.asking.encoder import encoder_of
from noisepath.asking.kept import Rows, clear_kept

if TYPE_CHECKING:
    from noisepath.asking import TextFeatures
    from noisepath.data import Data
    from noisepath.training.config import TrainConfig
    from noisepath.training.processes import Processes

__all__ = ["FEATURES", "learnt", "told"]

FEATURES = "text-features"
"""The folder in a run's where captions' vectors are kept."""


def learnt(data: Data, config: TrainConfig, encoder: str | os.PathLike[str] | TextFeatures | None = None) -> Vocabulary:
    """The names of a new run, from its pictures; ``encoder`` reads captions in place of the configuration's."""
    if encoder is not None:
        encoder = encoder_of(encoder)
        config.refuse_unread(encoder.name)
    elif config.text_encoder is not None:
        encoder = encoder_of(config.text_encoder)
    return Vocabulary.of(
        data, config.conditions, tokens=config.tokens, length=config.text_length,
        width=config.text_width, layers=config.text_layers, low_resolution=config.low_resolution, encoder=encoder,
    )  # fmt: skip


def told(
    vocabulary: Vocabulary, data: Data, run: Path, team: Processes, say: Callable[[str], None], progress: bool = False
) -> Mapping[str, Rows]:
    """What each picture says; captions that a frozen encoder reads are encoded once and kept in the run's folder.

    The main process writes, the others wait for it.  ValueError for pictures without captions, or of other classes than the
    network is told: a run that goes on with changed pictures may have those.
    """
    _check(vocabulary, data)
    if not vocabulary.encoded:
        if team.is_main:
            clear_kept(run / FEATURES)
        return vocabulary.table(data)
    said: Mapping[str, Rows] | None = None
    if team.is_main:
        said = _kept(vocabulary, data, run / FEATURES, say, progress)
    team.wait()
    return vocabulary.rows(data, run / FEATURES) if said is None else said


def _check(vocabulary: Vocabulary, data: Data) -> None:
    if "text" in vocabulary and data.captions is None:
        raise ValueError("this run's network is told captions, but the pictures have none")
    classes = vocabulary.entries.get("label")
    if isinstance(classes, Classes) and classes.names != tuple(data.class_names):
        known, there = (", ".join(names[:8]) or "none" for names in (classes.names, tuple(data.class_names)))
        raise ValueError(f"this run's network is told the classes {known}, but those of the pictures are {there}")


def _kept(vocabulary: Vocabulary, data: Data, folder: Path, say: Callable[[str], None], progress: bool) -> Mapping[str, Rows]:
    """The same of the main process, with a bar while captions are encoded."""
    from tqdm import tqdm

    total = len({text for text in data.captions or () if text and text.strip()})
    bar: tqdm[None] | None = None

    def encoded(count: int) -> None:
        nonlocal bar
        if bar is None:
            say(f"{total:,} different captions are encoded once, and kept in {str(folder)!r}")
            bar = tqdm(total=total, unit="caption", desc="captions", disable=not progress)
        bar.update(count)

    try:
        return vocabulary.rows(data, folder, encoded)
    finally:
        if bar is not None:
            bar.close()
