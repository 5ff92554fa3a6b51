"""Networks: ``config`` the numbers (no torch needed), ``blocks`` the parts, ``unet`` the U-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisepath._lazy import offer

if TYPE_CHECKING:
    from noisepath.nn.config import SIZES as SIZES
    from noisepath.nn.config import UNetConfig as UNetConfig
    from noisepath.nn.unet import UNet as UNet

_WHERE = {"SIZES": "config", "UNetConfig": "config", "UNet": "unet"}
__all__ = ["SIZES", "UNet", "UNetConfig"]
__getattr__ = offer(__name__, _WHERE)
