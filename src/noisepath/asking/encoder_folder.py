"""A folder with a text encoder, as Hugging Face transformers saves one: what it holds, read without that library.

    config.json                     what kind of model it is, and its sizes
    model.safetensors               its weights, or several files that model.safetensors.index.json names
    tokenizer.json                  from texts to numbers; or spiece.model; or vocab.json with merges.txt

The *fingerprint* says which encoder it is, wherever the folder lies.  It is a hash of these files' names, sizes and contents;
of a file above 2 MiB the first and the last MiB alone: the names, shapes and places of all weights, and the first and last of
their values, which differ after any training.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from noisepath.model_folders import read_json, refuse_code

__all__ = ["KINDS", "EncoderFolder", "read_folder"]

KINDS = {"t5": "T5EncoderModel", "clip": "CLIPTextModel", "clip_text_model": "CLIPTextModel"}
"""From the kind that config.json names to the class that reads texts; of a whole T5 or CLIP its text half."""
_TOKENIZERS = (("tokenizer.json",), ("spiece.model",), ("vocab.json", "merges.txt"))
_BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_MIB = 2**20
T5_LENGTH = 512
"""Tokens of the longest texts that T5 was trained on; its positions are relative and have no end of their own."""


@dataclass(frozen=True)
class EncoderFolder:
    """What a folder says of the encoder in it."""

    path: Path
    kind: str
    """A name of :data:`KINDS`."""
    width: int
    """Of the last hidden states."""
    length: int
    """Most tokens that it reads."""
    fingerprint: str


def read_folder(folder: str | os.PathLike[str]) -> EncoderFolder:
    """What lies in a folder.

    Raises:
        FileNotFoundError: no such folder, or no model, weights or tokenizer in it.
        ValueError: a model of another kind, a damaged config.json, or one that names code to run.
    """
    path = Path(os.path.abspath(folder))
    if not path.is_dir():
        what = f"{str(path)!r} is a file" if path.exists() else f"there is no folder {str(path)!r}"
        raise FileNotFoundError(f"{what}: a text encoder is a folder with config.json, weights and tokenizer")
    if not (path / "config.json").is_file():
        raise FileNotFoundError(f"{str(path)!r} holds no text encoder: there is no config.json in it{_hint(path)}")
    config = read_json(path / "config.json")
    kind = _kind(path, config)
    weights, tokenizer = _weights(path), _tokenizer(path)
    told = read_json(path / "tokenizer_config.json") if (path / "tokenizer_config.json").is_file() else {}
    refuse_code(path / "config.json", config)
    refuse_code(path / "tokenizer_config.json", told)
    width, length = _sizes(path, kind, config)
    most = told.get("model_max_length")
    length = min(length, most) if _is_size(most) else length
    return EncoderFolder(path, kind, width, length, _fingerprint(path, ["config.json", *weights, *tokenizer]))


def _kind(path: Path, config: dict[str, Any]) -> str:
    kind = config.get("model_type")
    if isinstance(kind, str) and kind in KINDS:
        return kind
    named = kind or config.get("_class_name") or "model that says of no kind"
    raise ValueError(f"the model in {str(path)!r} is a {named}, which reads no texts here (text encoders: {', '.join(KINDS)})")


def _hint(path: Path) -> str:
    """A pipeline's folder has the encoder in a folder of its own."""
    inside = path / "text_encoder"
    return f" (there is one in {str(inside)!r})" if (inside / "config.json").is_file() else ""


def _weights(path: Path) -> list[str]:
    """The names of the files with weights, and of their index."""
    if (path / "model.safetensors").is_file():
        return ["model.safetensors"]
    index = path / "model.safetensors.index.json"
    if not index.is_file():
        raise FileNotFoundError(f"{str(path)!r} has no weights as safetensors: there is no model.safetensors in it")
    named = read_json(index).get("weight_map")
    parts = sorted({str(name) for name in named.values()}) if isinstance(named, dict) else []
    for name in parts:
        if Path(name).name != name or not (path / name).is_file():
            raise FileNotFoundError(f"the weights in {str(path)!r} are not whole: {name!r} is missing")
    if not parts:
        raise ValueError(f"{str(index)!r} names no weights")
    return [index.name, *parts]


def _tokenizer(path: Path) -> list[str]:
    for names in _TOKENIZERS:
        if all((path / name).is_file() for name in names):
            return [*names, *(name for name in _BESIDE if (path / name).is_file())]
    wanted = ", ".join(" with ".join(names) for names in _TOKENIZERS)
    beside = path.with_name(path.name.replace("text_encoder", "tokenizer"))  # as pipelines have it
    there = f"; copy the files of {str(beside)!r} into it" if beside != path and beside.is_dir() else ""
    raise FileNotFoundError(f"{str(path)!r} has no tokenizer, which belongs beside config.json (one of: {wanted}){there}")


def _sizes(path: Path, kind: str, config: dict[str, Any]) -> tuple[int, int]:
    """Width and length; what a configuration leaves out has its library's default."""
    if kind == "t5":
        sizes = config.get("d_model", 512), T5_LENGTH
    else:
        text = config.get("text_config") if kind == "clip" else config
        text = text if isinstance(text, dict) else {}
        sizes = text.get("hidden_size", 512), text.get("max_position_embeddings", 77)
    if not all(map(_is_size, sizes)):
        raise ValueError(f"{str(path / 'config.json')!r} has no sizes of an encoder: width {sizes[0]!r}, length {sizes[1]!r}")
    return sizes


def _is_size(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 2**20


def _fingerprint(path: Path, names: list[str]) -> str:
    whole = hashlib.sha256()
    for name in sorted(names):
        size = (path / name).stat().st_size
        whole.update(f"{name}\0{size}\0".encode())
        with (path / name).open("rb") as file:
            if size <= 2 * _MIB:
                whole.update(file.read())
                continue
            whole.update(file.read(_MIB))
            file.seek(size - _MIB)
            whole.update(file.read(_MIB))
    return whole.hexdigest()[:16]
