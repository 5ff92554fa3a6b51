"""Networks: ``config`` and ``dit_config`` the numbers (no torch needed), ``blocks`` the U-Net's parts, ``linear`` the part that
is not learned, ``expected`` the picture that texts make one expect, ``unet`` the U-Net, ``dit`` the transformer, ``kinds``
either from what a model keeps; ``parts`` what a network can be told, ``told`` how it hears that, ``attend`` attention and the
text encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisepath._lazy import offer

if TYPE_CHECKING:
    from noisepath.nn.config import SIZES as SIZES
    from noisepath.nn.config import UNetConfig as UNetConfig
    from noisepath.nn.dit import DiT as DiT
    from noisepath.nn.dit_config import DIT_SIZES as DIT_SIZES
    from noisepath.nn.dit_config import TEXTS as TEXTS
    from noisepath.nn.dit_config import DiTConfig as DiTConfig
    from noisepath.nn.expected import Expected as Expected
    from noisepath.nn.kinds import NETWORKS as NETWORKS
    from noisepath.nn.kinds import config_from_dict as config_from_dict
    from noisepath.nn.kinds import network_from_dict as network_from_dict
    from noisepath.nn.linear import LinearPart as LinearPart
    from noisepath.nn.parts import KINDS as KINDS
    from noisepath.nn.parts import Part as Part
    from noisepath.nn.unet import UNet as UNet

_WHERE = {
    "DIT_SIZES": "dit_config",
    "DiT": "dit",
    "DiTConfig": "dit_config",
    "Expected": "expected",
    "KINDS": "parts",
    "LinearPart": "linear",
    "NETWORKS": "kinds",
    "Part": "parts",
    "SIZES": "config",
    "TEXTS": "dit_config",
    "UNet": "unet",
    "UNetConfig": "config",
    "config_from_dict": "kinds",
    "network_from_dict": "kinds",
}
__all__ = [
    "DIT_SIZES",
    "KINDS",
    "NETWORKS",
    "SIZES",
    "TEXTS",
    "DiT",
    "DiTConfig",
    "Expected",
    "LinearPart",
    "Part",
    "UNet",
    "UNetConfig",
    "config_from_dict",
    "network_from_dict",
]
__getattr__ = offer(__name__, _WHERE)
