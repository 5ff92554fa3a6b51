"""The U-Net's numbers: a frozen dataclass that round-trips through JSON and needs no torch, and sizes by name.

Level 0 is the picture at full size (or folded, see ``fold``); each further level halves height and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from noisepath.errors import explain_options, lookup
from noisepath.nn.parts import Part, parts_from, plain
from noisepath.printing import changed

__all__ = ["SIZES", "UNetConfig"]


_ELSEWHERE = {
    "attention_head_dim": "head_channels",
    "attention_levels": "attention",
    "block_out_channels": "channels",
    "layers_per_block": "blocks",
    "norm_num_groups": "groups",
    "num_class_embeds": "classes",
    "num_classes": "classes",
    "num_res_blocks": "blocks",
    "time_embed_dim": "embedding",
}
"""What other libraries call an option -> its name here."""


@explain_options(_ELSEWHERE)
@dataclass(frozen=True)
class UNetConfig:
    """Every number of a :class:`noisepath.nn.UNet`.

    Args:
        in_channels: channels of the picture that enters.
        out_channels: channels of the prediction that leaves.
        channels: width at each level, full size first; one entry per level.
        blocks: residual blocks per level on the way down, and again on the way up.
        attention: levels with self-attention after each residual block.
        head_channels: channels per attention head (a width it does not divide gets fewer, wider heads).
        groups: groups of each group norm (a width it does not divide gets the next smaller count that does).
        embedding: width of the vector that carries time and class to the blocks.
        classes: number of classes; label ``classes`` itself is "no class".  0: unconditional.
        conditions: what else is known of a picture beside its class: texts, numbers, pictures (:mod:`noisepath.nn.parts`).
        dropout: dropout inside the residual blocks.
        fold: side of the squares of pixels that become the channels of one place before level 0: 2 makes the network four
            times cheaper, and its last layers, which see the picture itself again, smooth the seams.  1: none.
        spectrum: height and width of the training pictures, for a network that starts as their best linear denoiser in place
            of 0 (:class:`noisepath.nn.LinearPart` measures their power spectrum); with EDM's preconditioning alone.
            None: it starts as 0.
        positions: number of waves along each axis that enter as more channels and show where in the picture a pixel is.
            Convolutions learn that from the edges alone, and slowly; for texts that speak of places.  0: none.
        expects: width of a small part that draws the mean picture of a text (:class:`noisepath.nn.Expected`), which enters
            as more channels.  0: none.
        time_scale: what t is multiplied with before its sines and cosines, which resolve a range of about 1000 best.

    TypeError for an unknown option, ValueError for a value that can't be, naming it and what is allowed.
    """

    in_channels: int = 1
    out_channels: int = 1
    channels: tuple[int, ...] = (48, 96)
    blocks: int = 1
    attention: tuple[int, ...] = (1,)
    head_channels: int = 32
    groups: int = 16
    embedding: int = 192
    classes: int = 0
    conditions: tuple[Part, ...] = ()
    dropout: float = 0.0
    fold: int = 1
    spectrum: tuple[int, int] | None = None
    positions: int = 0
    expects: int = 0
    time_scale: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
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

    def __repr__(self) -> str:
        return changed(self, ("channels", "blocks", "attention", "embedding"))

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
