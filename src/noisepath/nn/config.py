"""The U-Net's numbers: a frozen dataclass that round-trips through JSON and needs no torch, and sizes by name.

Level 0 is the picture at full size (or folded, see ``fold``); each further level halves height and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from noisepath.errors import lookup
from noisepath.nn.parts import Part, parts_from

__all__ = ["SIZES", "UNetConfig"]


@dataclass(frozen=True)
class UNetConfig:
    """Every number of a :class:`noisepath.nn.UNet`."""

    in_channels: int = 1
    """Channels of the picture that enters."""
    out_channels: int = 1
    """Channels of the prediction that leaves."""
    channels: tuple[int, ...] = (48, 96)
    """Width at each level, full size first; one entry per level."""
    blocks: int = 1
    """Residual blocks per level on the way down, and again on the way up."""
    attention: tuple[int, ...] = (1,)
    """Levels with self-attention after each residual block."""
    head_channels: int = 32
    """Channels per attention head (a width it does not divide gets fewer, wider heads)."""
    groups: int = 16
    """Groups of each group norm (a width it does not divide gets the next smaller count that does)."""
    embedding: int = 192
    """Width of the vector that carries time and class to the blocks."""
    classes: int = 0
    """Number of classes; label ``classes`` itself is "no class".  0: unconditional."""
    conditions: tuple[Part, ...] = ()
    """What else the network is told of a picture, beside its class (:mod:`noisepath.nn.parts`)."""
    dropout: float = 0.0
    """Dropout inside the residual blocks."""
    fold: int = 1
    """Side of the squares of pixels that become the channels of one place before level 0: 2 makes the network four times
    cheaper, and its last layers, which see the picture itself again, smooth the seams.  1: none."""
    spectrum: tuple[int, int] | None = None
    """Height and width of the pictures whose spectrum the network holds, and begins with as the best linear denoiser
    (:class:`noisepath.nn.LinearPart`), which goes with EDM's preconditioning alone.  None: it begins with 0."""
    positions: int = 0
    """Waves along each axis that enter beside the picture and say where in it a place is, which convolutions learn from its
    edges alone, and slowly: for texts that speak of places.  0: none."""
    expects: int = 0
    """Width of the part that says which picture texts make one expect (:class:`noisepath.nn.Expected`), which the network is
    told.  0: none."""
    time_scale: float = 1.0
    """What t is multiplied with before its sines and cosines, which resolve a range of about 1000 best."""

    def __post_init__(self) -> None:
        for name in ("in_channels", "out_channels", "blocks", "head_channels", "groups", "embedding", "fold"):
            if not _is_int(value := getattr(self, name)) or value < 1:
                raise ValueError(f"UNetConfig: {name} must be a whole number >= 1, but is {value!r}")
        if not self.channels or any(not _is_int(width) or width < 1 for width in self.channels):
            raise ValueError(f"UNetConfig: channels must be one or more whole numbers >= 1, but are {self.channels!r}")
        if any(not _is_int(level) or not 0 <= level < len(self.channels) for level in self.attention):
            raise ValueError(
                f"UNetConfig: attention names levels 0 to {len(self.channels) - 1} of {len(self.channels)} "
                f"(one per entry of channels), but is {self.attention!r}"
            )
        object.__setattr__(self, "conditions", parts_from(self.conditions))
        if self.classes and any(part.name == "label" for part in self.conditions):
            raise ValueError("UNetConfig: with classes, the condition 'label' is theirs: another needs another name")
        for name in ("classes", "positions", "expects"):
            if not _is_int(value := getattr(self, name)) or value < 0:
                raise ValueError(f"UNetConfig: {name} must be a whole number >= 0, but is {value!r}")
        if self.spectrum is not None and (len(self.spectrum) != 2 or not all(_is_int(n) and n >= 1 for n in self.spectrum)):
            raise ValueError(f"UNetConfig: spectrum is a height and a width in pixels, or None, but is {self.spectrum!r}")
        if self.spectrum is not None and self.in_channels != self.out_channels:
            raise ValueError(
                f"UNetConfig: a linear denoiser gives what it takes, but in_channels is {self.in_channels} and out_channels "
                f"{self.out_channels}: leave out spectrum"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"UNetConfig: dropout must be in [0, 1), but is {self.dropout}")

    @classmethod
    def named(cls, size: str, **changes: Any) -> Self:
        """The configuration of a size by name (:data:`SIZES`), with fields changed by keyword."""
        return cls(**{**lookup(SIZES, size, "network size"), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`, also after a round trip through JSON (lists become tuples)."""
        known = {field.name for field in fields(cls)}
        if foreign := sorted(set(values) - known):
            raise ValueError(f"unknown U-Net settings {', '.join(foreign)} (there are: {', '.join(sorted(known))})")
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**plain)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"channels": (48, 96), "blocks": 1, "attention": (1,), "embedding": 192},
    "compact": {"channels": (64, 128), "blocks": 1, "attention": (1,), "embedding": 192},
    "small": {"channels": (64, 128, 128), "blocks": 2, "attention": (2,), "embedding": 256},
    "base": {"channels": (128, 256, 256, 256), "blocks": 2, "attention": (2, 3), "embedding": 512},
}
"""Network sizes by name: about 1.3, 2.2, 6 and 31 million parameters."""
