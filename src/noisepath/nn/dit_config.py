"""The transformer's numbers: a frozen dataclass that round-trips through JSON and needs no torch, and sizes by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from noisepath.errors import explain_options, lookup
from noisepath.nn.parts import Part, parts_from, plain
from noisepath.printing import changed

__all__ = ["DIT_SIZES", "TEXTS", "DiTConfig"]

TEXTS = {
    "cross": "each block's tokens look at the text's",
    "context": "the text's tokens stand beside the picture's, and go through every block with them",
}
"""Ways in which a transformer hears texts."""


_ELSEWHERE = {
    "hidden_size": "width",
    "num_attention_heads": "heads",
    "num_class_embeds": "classes",
    "num_classes": "classes",
    "num_heads": "heads",
    "num_layers": "depth",
    "patch_size": "patch",
}
"""What other libraries call an option -> its name here."""


@explain_options(_ELSEWHERE)
@dataclass(frozen=True)
class DiTConfig:
    """Every number of a :class:`noisepath.nn.DiT`.

    Args:
        in_channels: channels of the picture that enters.
        out_channels: channels of the prediction that leaves.
        width: width of a token, a multiple of 4 and of ``heads``.
        depth: number of blocks.
        heads: heads of each attention.
        patch: side of the squares of pixels that become a token each.
        classes: number of classes; label ``classes`` itself is "no class".  0: unconditional.
        conditions: what else is known of a picture beside its class: texts, numbers, pictures (:mod:`noisepath.nn.parts`).
        text: how texts and features reach the blocks, "cross" or "context" (:data:`TEXTS`).
        dropout: dropout of what each attention and each feed-forward layer adds.
        spectrum: height and width of the training pictures, for a network that starts as their best linear denoiser in place
            of 0 (:class:`noisepath.nn.LinearPart` measures their power spectrum); with EDM's preconditioning alone.
            None: it starts as 0.
        time_scale: what t is multiplied with before its sines and cosines, which resolve a range of about 1000 best.

    TypeError for an unknown option, ValueError for a value that can't be, naming it and what is allowed.
    """

    in_channels: int = 1
    out_channels: int = 1
    width: int = 128
    depth: int = 6
    heads: int = 4
    patch: int = 2
    classes: int = 0
    conditions: tuple[Part, ...] = ()
    text: str = "cross"
    dropout: float = 0.0
    spectrum: tuple[int, int] | None = None
    time_scale: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
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

    def __repr__(self) -> str:
        return changed(self, ("width", "depth", "heads", "patch"))

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
