"""Folders of models from elsewhere: their JSON files say what a model is, and never which code to run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["read_json", "refuse_code"]


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
