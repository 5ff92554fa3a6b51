"""What a network is told beside the noise level: each part's numbers, in a frozen dataclass that needs no torch.

Every part is one tensor of a :class:`~noisepath.conditions.Condition`, and each has a value that says nothing:

    kind        tensor                          says nothing      how it reaches the network
    class       (B,) int64, 0 .. size - 1       size              a learned vector, added to the time's
    values      (B, size) float                 NaN               features of each number, added to the time's
    text        (B, length) int64, 1 .. size    0                 an encoder that trains along: cross-attention and a vector
    features    (B, length, size) float         NaN               encoded elsewhere: cross-attention and a vector
    picture     (B, size, h, w) float           NaN               more channels of the picture that enters, with a mask

NaN may stand for a part of a row: one value of several, the places after a text's end, pixels that are not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Self

from noisepath.errors import lookup, shown

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KINDS", "Needs", "Part", "always_told", "check_range", "parts_from", "plain"]

Needs = Literal["nothing", "something", "everything"]
"""What of its condition a network has to be given, since it was never trained without."""

KINDS = {
    "class": "one of some classes",
    "values": "some numbers",
    "text": "tokens, for an encoder that trains along",
    "features": "vectors that say what a text means, from an encoder elsewhere",
    "picture": "a picture, with pixels that may be unknown",
}


@dataclass(frozen=True)
class Part:
    """One thing that a network is told, by name."""

    name: str
    kind: str
    """A name of :data:`KINDS`."""
    size: int
    """Classes, numbers, different tokens, width of a vector, or channels."""
    length: int = 1
    """Most tokens of a text."""
    width: int = 128
    """Width of the text encoder that trains along."""
    layers: int = 2
    """Its layers."""

    def __post_init__(self) -> None:
        lookup(KINDS, self.kind, "kind of condition")
        if not isinstance(self.name, str) or not self.name.isidentifier() or self.name in ("x", "t", "self"):
            raise ValueError(f"a condition's name is one word of letters, digits and _, not x, t or self, but is {self.name!r}")
        for name in ("size", "length", "width", "layers"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"condition {self.name!r}: {name} must be a whole number >= 1, but is {value!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of ``dataclasses.asdict``."""
        known = {field.name for field in fields(cls)}
        if foreign := sorted(set(values) - known):
            raise ValueError(f"unknown settings of a condition: {', '.join(foreign)} (there are: {', '.join(sorted(known))})")
        if missing := [name for name in ("name", "kind", "size") if name not in values]:
            raise ValueError(f"a condition needs a name, a kind and a size, but {shown(dict(values))} has no {missing[0]}")
        return cls(**values)

    def null(self, height: int = 1, width: int = 1) -> Tensor:
        """One row that says nothing; of a picture, one of this height and width."""
        import torch

        match self.kind:
            case "class":
                return torch.tensor([self.size], device="cpu")
            case "text":
                return torch.zeros(1, self.length, dtype=torch.int64, device="cpu")
            case "values":
                shape: tuple[int, ...] = (1, self.size)
            case "features":
                shape = (1, self.length, self.size)
            case _:
                shape = (1, self.size, height, width)
        return torch.full(shape, torch.nan, dtype=torch.float32, device="cpu")

    def check(self, value: Tensor, batch: int) -> None:
        """ValueError for a tensor that is not this part of a condition for ``batch`` pictures."""
        whole, picture = self.kind in ("class", "text"), self.kind == "picture"
        sizes = (self.size,) if picture else tuple(self.null().shape[1:])
        fits = tuple(value.shape[: 1 + len(sizes)]) == (batch, *sizes) and value.ndim == (4 if picture else 1 + len(sizes))
        if not fits or value.is_floating_point() == whole:
            shape = ", ".join([str(n) for n in (batch, *sizes)] + ["h", "w"] * picture) + "," * (not sizes)
            raise ValueError(
                f"condition {self.name!r} takes {'whole numbers' if whole else 'floats'} of shape ({shape}), "
                f"but got {value.dtype} of shape {tuple(value.shape)}"
            )
        if whole:
            check_range(f"condition {self.name!r}", value, self.size)
        elif value.device.type == "cpu" and bool(value.isinf().any()):
            raise ValueError(f"condition {self.name!r} takes finite numbers, and NaN for what is not said, but holds infinity")


def always_told(missing: Sequence[str]) -> str:
    """What is said where a model was never shown a sample without these parts of its condition, and is asked without them."""
    names = ", ".join(missing)
    return (
        f"this model was trained with {names} always given (drop_condition 0), so it has never seen a sample without: give it, "
        f"as in Condition({', '.join(f'{name}=...' for name in missing)}); to sample and guide without, train with condition "
        "dropout (drop_condition 0.1)"
    )


def check_range(what: str, value: Tensor, most: int) -> None:
    """ValueError unless they are whole numbers from 0 to ``most``; those on an accelerator are not waited for."""
    import torch

    if value.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{what} takes whole numbers (int64), but got {value.dtype}")
    if value.device.type == "cpu" and value.numel():
        least, highest = int(value.min()), int(value.max())
        if not 0 <= least <= highest <= most:
            raise ValueError(f"{what} takes numbers from 0 to {most}, but got {least if least < 0 else highest}")


def parts_from(values: Any) -> tuple[Part, ...]:
    """Parts, or their dictionaries from JSON; ValueError for two of one name."""
    parts = tuple(value if isinstance(value, Part) else Part.from_dict(value) for value in values)
    names = [part.name for part in parts]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"conditions need names of their own, but {', '.join(sorted(twice))} is there twice")
    return parts


def plain(value: Any) -> Any:
    """numpy's numbers as Python's, which JSON takes, and lists as tuples; all else as it is."""
    if isinstance(value, list | tuple):
        return tuple(plain(entry) for entry in value)
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
