"""Folders of models from elsewhere: their JSON files say what a model is, and never which code to run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["read_json", "refuse_code", "refuse_diffusers"]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ValueError for anything else."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not JSON: {error}") from error
    if not isinstance(told, dict):
        raise ValueError(f"{str(path)!r} is not a JSON object")
    return told


def refuse_code(path: Path, config: dict[str, Any]) -> None:
    """ValueError where the configuration in the file ``path`` names code to run."""
    for name, value in config.items():
        if name == "auto_map" or name.startswith("_attn_implementation") and not isinstance(value, bool):
            raise ValueError(
                f"the {path.name} in {str(path.parent)!r} names code to run ({name} = {value!r}), which is refused"
            )
        if isinstance(value, dict):
            refuse_code(path, value)


def refuse_diffusers(folder: Path) -> None:
    """ValueError for a folder that diffusers wrote, with the lines of Python that sample from it."""
    index, config = (_values(folder / name) for name in ("model_index.json", "config.json"))
    if "_diffusers_version" in index:
        network = next((name for name in ("transformer", "unet", "prior") if name in index), "unet")
        _in_python(folder, "pipe = diffusers.DiffusionPipeline.from_pretrained(folder)", f"pipe.{network}, pipe.scheduler")
    if "_diffusers_version" in config:
        kind = config.get("_class_name", "UNet2DModel")
        _in_python(folder, f"net = diffusers.{kind}.from_pretrained(folder)", "net, scheduler")


def _values(path: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing where there is none to read, of which others speak."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}


def _in_python(folder: Path, load: str, parts: str) -> None:
    raise ValueError(
        f"{str(folder)!r} holds a model of diffusers, which is sampled from in Python: {load}; "
        f"noisepath.sample(noisepath.Denoiser.from_diffusers({parts}), (8, channels, height, width))"
    )
