"""Networks by kind: from the plain values that a model keeps to its configuration and its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from noisepath.errors import lookup
from noisepath.nn.config import UNetConfig
from noisepath.nn.dit_config import DiTConfig

if TYPE_CHECKING:
    from noisepath.nn.dit import DiT
    from noisepath.nn.unet import UNet

__all__ = ["NETWORKS", "config_from_dict", "network_from_dict", "network_of"]

NETWORKS: dict[str, type[UNetConfig] | type[DiTConfig]] = {"unet": UNetConfig, "dit": DiTConfig}
"""Configurations by kind."""


def config_from_dict(values: Mapping[str, Any]) -> UNetConfig | DiTConfig:
    """The configuration whose ``to_dict()`` this is; a U-Net's says no ``kind``.

    ValueError for an unknown kind, or a setting that this kind does not have.
    """
    kind = lookup(NETWORKS, values.get("kind", "unet"), "kind of network")
    return kind.from_dict({name: value for name, value in values.items() if name != "kind"})


def network_from_dict(values: Mapping[str, Any]) -> UNet | DiT:
    """A new network by its configuration's ``to_dict()``."""
    return network_of(config_from_dict(values))


def network_of(config: UNetConfig | DiTConfig) -> UNet | DiT:
    """A new network of this configuration."""
    if isinstance(config, DiTConfig):
        from noisepath.nn.dit import DiT

        return DiT(config)
    from noisepath.nn.unet import UNet

    return UNet(config)
