"""Networks: ``config`` the numbers (no torch needed), ``blocks`` the parts, ``unet`` the U-Net."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noisepath.nn.config import SIZES as SIZES
    from noisepath.nn.config import UNetConfig as UNetConfig
    from noisepath.nn.unet import UNet as UNet

_WHERE = {"SIZES": "config", "UNetConfig": "config", "UNet": "unet"}
__all__ = ["SIZES", "UNet", "UNetConfig"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
