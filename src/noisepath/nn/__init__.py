"""Networks: ``config`` the numbers (no torch needed), ``blocks`` the parts, ``linear`` the part that is not
learned, ``unet`` the U-Net; ``parts`` what a network can be told, ``told`` how it hears that, ``attend`` attention and the
text encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisepath._lazy import offer

if TYPE_CHECKING:
    from noisepath.nn.config import SIZES as SIZES
    from noisepath.nn.config import UNetConfig as UNetConfig
    from noisepath.nn.linear import LinearPart as LinearPart
    from noisepath.nn.parts import KINDS as KINDS
    from noisepath.nn.parts import Part as Part
    from noisepath.nn.unet import UNet as UNet

_WHERE = {"SIZES": "config", "UNetConfig": "config", "LinearPart": "linear", "UNet": "unet", "KINDS": "parts", "Part": "parts"}
__all__ = ["KINDS", "SIZES", "LinearPart", "Part", "UNet", "UNetConfig"]
__getattr__ = offer(__name__, _WHERE)
