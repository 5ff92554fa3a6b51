"""What the hostile command lines find: models that nobody trained, pictures and masks, and data to train on."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from noisepath import schedules
from noisepath.asking import Classes, Number, Pictured, Text, Tokens, Vocabulary
from noisepath.nn import UNet, UNetConfig
from noisepath.training.checkpoint import ModelInfo, State, save_checkpoint
from noisepath.training.config import TrainConfig

__all__ = ["WORDS", "build", "network", "vocabulary"]

WORDS = ("a", "blue", "disc", "red", "square")
_CLASSES = Classes("label", ("cat", "dog"))
_COLOUR = Classes("colour", ("blue", "red"))
_SIZE = Number("size", 2.0, 1.0, 0.5, 3.5)
_TEXT = Text("text", Tokens("words", 6, WORDS), 8, 1)
_SEEN = (Pictured("low_resolution", 3, 2, 2), Pictured("known", 3, 8, 8))
_BYTES = Text("text", Tokens("bytes", 12), 8, 1)


def vocabulary() -> Vocabulary:
    """All kinds of things that can be asked for: classes, a text, a number, names."""
    return Vocabulary([_CLASSES, _TEXT, _SIZE, _COLOUR])


def network(told: Vocabulary, channels: int = 3) -> UNet:
    """A tiny one, for pictures of 8 x 8 pixels."""
    torch.manual_seed(0)
    return UNet(_config(told, channels)).eval().requires_grad_(False)


def _config(told: Vocabulary, channels: int) -> UNetConfig:
    return UNetConfig(
        in_channels=channels, out_channels=channels, channels=(8,), blocks=1, attention=(), groups=2, embedding=8,
        classes=told.classes, conditions=told.parts,
    )


def build(place: Path) -> None:
    """Everything, in an empty folder."""
    for name, entries, drop, channels in (
        ("classes", [_CLASSES], 0.1, 3), ("always", [_CLASSES], 0.0, 3), ("plain", [], 0.1, 3), ("grey", [], 0.1, 1),
        ("two", [], 0.1, 2), ("told", vocabulary().entries.values(), 0.1, 3), ("bytes", [_BYTES], 0.1, 3),
        ("seen", _SEEN, 0.1, 3),
    ):  # fmt: skip
        _run(place / name, Vocabulary(entries), drop, channels)
    _run(place / "damaged", Vocabulary(), 0.1, 3)
    (next((place / "damaged" / "checkpoints").iterdir()) / "model.safetensors").write_bytes(b"no weights")
    (place / "nothing").mkdir()
    (place / "text.txt").write_text("no picture")
    _pictures(place)
    _data(place)


def _run(folder: Path, told: Vocabulary, drop: float, channels: int) -> None:
    weights = network(told, channels).state_dict()
    info = ModelInfo(
        network=_config(told, channels).to_dict(), schedule=schedules.to_dict(schedules.schedule("edm")), prediction="edm",
        sigma_data=0.5, shape=(channels, 8, 8), class_names=_CLASSES.names if told.classes else (),
        vocabulary=tuple(told.others), steps=1, training=TrainConfig(drop_condition=drop).to_dict(),
    )  # fmt: skip
    save_checkpoint(folder, 1, {"model": weights, "model-long": weights}, info, State({}, {}, {}), "hostile")


def _pictures(place: Path) -> None:
    random = np.random.default_rng(0)
    _save(place / "mine.png", random.integers(0, 255, (20, 12, 4)))
    _save(place / "small.png", random.integers(0, 255, (8, 8, 3)))
    _save(place / "other.png", 255 * np.eye(5))
    _save(place / "black.png", np.zeros((20, 12)))
    _save(place / "white.png", np.full((20, 12), 255))
    hole, edge = np.zeros((20, 12)), np.full((20, 12), 255)
    hole[5:9, 3:8], edge[0, 0] = 255, 0
    _save(place / "hole.png", hole)
    _save(place / "edge.png", edge)  # one pixel is held, which is nothing at the model's size
    (place / "text.png").write_text("no picture")
    (place / "empty.png").write_bytes(b"")
    (place / "cut.png").write_bytes((place / "mine.png").read_bytes()[:300])
    (place / "folder.png").mkdir()
    (place / "huge.png").write_bytes(_png_of(60000, 60000))


def _png_of(width: int, height: int) -> bytes:
    """A file of a few bytes that says it has so many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _data(place: Path) -> None:
    _set(place / "photos", [{}, {}, {}, {}])
    for name in ("cat", "dog"):
        _set(place / "animals" / name, [{}, {}])
    _set(place / "captions", [{"text": "a red disc", "size": 1}, {"text": "a blue disc", "size": 2}])
    _set(place / "blank", [{"text": " "}, {"text": "\n"}])
    _set(place / "mixed", [{"size": 1, "mood": 2, "list": [1]}, {"size": "large", "mood": None, "list": [2]}])
    _set(place / "named", [{"x": 1, "my size": 2, "": 3, "self": 4}, {"x": 2, "my size": 3, "": 4, "self": 5}])
    _set(place / "endless", [{"size": 10**400, "age": 1}, {"size": 1, "age": math.inf}])


def _set(folder: Path, told: Sequence[dict[str, Any]]) -> None:
    """Pictures, and a line about each that says something."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(len(told))
    for i in range(len(told)):
        _save(folder / f"{i}.png", random.integers(0, 255, (8, 8, 3)))
    if any(told):
        lines = [json.dumps({"file_name": f"{i}.png", **one}) for i, one in enumerate(told)]
        (folder / "metadata.jsonl").write_text("\n".join(lines).replace("Infinity", "1e400") + "\n", encoding="utf-8")


def _save(path: Path, values: np.ndarray[Any, Any]) -> None:
    Image.fromarray(values.astype(np.uint8)).save(path)
