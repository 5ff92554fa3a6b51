"""Pictures to learn from, whatever they lie in.

config     DataConfig: which pictures, and how they are made alike (no torch needed)
dataset    Dataset, digits, folder
decode     one picture file -> an array
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noisepath.data.config import DataConfig as DataConfig
    from noisepath.data.dataset import Dataset as Dataset
    from noisepath.data.dataset import digits as digits
    from noisepath.data.dataset import folder as folder

_HOME = {"DataConfig": "config", "Dataset": "dataset", "digits": "dataset", "folder": "dataset"}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
