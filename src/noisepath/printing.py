"""What is printed of an object: one line, with what tells it from others of its kind."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, fields
from typing import Any

__all__ = ["changed"]


def changed(config: Any, always: Collection[str] = ()) -> str:
    """A configuration as it would be typed: the options named in ``always``, and those that are not their default."""
    said = [f for f in fields(config) if f.init and (f.name in always or getattr(config, f.name) != _default(f))]
    return f"{type(config).__name__}({', '.join(f'{f.name}={getattr(config, f.name)!r}' for f in said)})"


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
