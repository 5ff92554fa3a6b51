"""The transformer's numbers: a frozen dataclass that round-trips through JSON and needs no torch, and sizes by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from noisepath.errors import lookup
from noisepath.nn.parts import Part, parts_from

__all__ = ["DIT_SIZES", "TEXTS", "DiTConfig"]

TEXTS = {
    "cross": "each block's tokens look at the text's",
    "context": "the text's tokens stand beside the picture's, and go through every block with them",
}
"""Ways in which a transformer hears texts."""


@dataclass(frozen=True)
class DiTConfig:
    """Every number of a :class:`noisepath.nn.DiT`."""

    in_channels: int = 1
    """Channels of the picture that enters."""
    out_channels: int = 1
    """Channels of the prediction that leaves."""
    width: int = 128
    """Width of a token, a multiple of 4 and of ``heads``."""
    depth: int = 6
    """Blocks."""
    heads: int = 4
    """Heads of each attention."""
    patch: int = 2
    """Side of the squares of pixels that become a token each."""
    classes: int = 0
    """Number of classes; label ``classes`` itself is "no class".  0: unconditional."""
    conditions: tuple[Part, ...] = ()
    """What else the network is told of a picture, beside its class (:mod:`noisepath.nn.parts`)."""
    text: str = "cross"
    """How texts and features are heard (:data:`TEXTS`)."""
    dropout: float = 0.0
    """Dropout of what each attention and each feed-forward layer adds."""
    spectrum: tuple[int, int] | None = None
    """Height and width of the pictures whose spectrum the network holds, and begins with as the best linear denoiser
    (:class:`noisepath.nn.LinearPart`), which goes with EDM's preconditioning alone.  None: it begins with 0."""
    time_scale: float = 1.0
    """What t is multiplied with before its sines and cosines, which resolve a range of about 1000 best."""

    def __post_init__(self) -> None:
        for name in ("in_channels", "out_channels", "width", "depth", "heads", "patch"):
            if not _is_int(value := getattr(self, name)) or value < 1:
                raise ValueError(f"DiTConfig: {name} must be a whole number >= 1, but is {value!r}")
        if self.width % 4 or self.width % self.heads:
            raise ValueError(f"DiTConfig: width must be a multiple of 4 and of the {self.heads} heads, but is {self.width}")
        lookup(TEXTS, self.text, "way to hear texts")
        object.__setattr__(self, "conditions", parts_from(self.conditions))
        if not _is_int(self.classes) or self.classes < 0:
            raise ValueError(f"DiTConfig: classes must be a whole number >= 0, but is {self.classes!r}")
        if self.classes and any(part.name == "label" for part in self.conditions):
            raise ValueError("DiTConfig: with classes, the condition 'label' is theirs: another needs another name")
        if self.spectrum is not None and (len(self.spectrum) != 2 or not all(_is_int(n) and n >= 1 for n in self.spectrum)):
            raise ValueError(f"DiTConfig: spectrum is a height and a width in pixels, or None, but is {self.spectrum!r}")
        if self.spectrum is not None and self.in_channels != self.out_channels:
            raise ValueError(
                f"DiTConfig: a linear denoiser gives what it takes, but in_channels is {self.in_channels} and out_channels "
                f"{self.out_channels}: leave out spectrum"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"DiTConfig: dropout must be in [0, 1), but is {self.dropout}")

    @classmethod
    def named(cls, size: str, **changes: Any) -> Self:
        """The configuration of a size by name (:data:`DIT_SIZES`), with fields changed by keyword."""
        return cls(**{**lookup(DIT_SIZES, size, "transformer size"), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with ``kind`` "dit"."""
        return {"kind": "dit", **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`, also after a round trip through JSON (lists become tuples)."""
        known = {field.name for field in fields(cls)}
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name != "kind"}
        if values.get("kind", "dit") != "dit":
            raise ValueError(f"a DiT's settings are of kind 'dit', but these are of kind {values['kind']!r}")
        if foreign := sorted(set(plain) - known):
            raise ValueError(f"unknown DiT settings {', '.join(foreign)} (there are: {', '.join(sorted(known))})")
        return cls(**plain)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


DIT_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 128, "depth": 6, "heads": 4},
    "compact": {"width": 192, "depth": 8, "heads": 6},
    "S": {"width": 384, "depth": 12, "heads": 6},
    "B": {"width": 768, "depth": 12, "heads": 12},
    "L": {"width": 1024, "depth": 24, "heads": 16},
    "XL": {"width": 1152, "depth": 28, "heads": 16},
}
"""Sizes by name: about 1.8, 5.5, 33, 130, 458 and 675 million parameters; the last four are the paper's (2212.09748, table 1).
The patch is a number of its own."""
