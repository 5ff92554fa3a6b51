"""What a picture is asked to be: a named set of tensors, one row for each picture.

A network that is told more than the noise level takes each part by name: ``network(x, t, label=...)``.  A model's
*null* is the condition of one picture that says nothing, with a value for each name; dropping a condition in training,
and the other half of classifier-free guidance, both mean "put the null there".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ._lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Condition"]


class Condition(Mapping[str, "Tensor"]):
    """A mapping from name to tensor (B, ...); all tensors have the same number of rows.  Frozen."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Mapping[str, Tensor] | None = None, **more: Tensor) -> None:
        self._parts: dict[str, Tensor] = {**(parts or {}), **more}
        if not self._parts:
            raise ValueError("a condition needs at least one named tensor")
        for name, value in self._parts.items():
            if not hasattr(value, "shape") or len(value.shape) < 1:
                raise ValueError(f"condition {name!r} needs a tensor with a row for each picture, but got {value!r}")
        sizes = {name: len(value) for name, value in self._parts.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"the parts of a condition need the same number of rows, but got {sizes}")

    def __getitem__(self, name: str) -> Tensor:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}: {tuple(value.shape)}" for name, value in self._parts.items())
        return f"Condition({parts})"

    @property
    def batch(self) -> int:
        """The number of rows."""
        return len(next(iter(self._parts.values())))

    def rows(self, which: slice | Sequence[int] | Tensor) -> Condition:
        """The condition of some of the pictures."""
        index = which if isinstance(which, slice) else torch.as_tensor(which)
        return Condition({name: value[index] for name, value in self._parts.items()})

    def expand(self, batch: int) -> Condition:
        """A condition of one row, for ``batch`` pictures."""
        if self.batch not in (1, batch):
            raise ValueError(f"a condition of {self.batch} rows can't be had for {batch} pictures")
        return Condition({name: value.expand(batch, *value.shape[1:]) for name, value in self._parts.items()})

    def to(self, device: torch.device | str) -> Condition:
        """The same on another device."""
        return Condition({name: value.to(device) for name, value in self._parts.items()})

    @staticmethod
    def cat(conditions: Sequence[Condition]) -> Condition:
        """Several conditions one after another, for one call of the network; their names must agree."""
        names = list(conditions[0])
        for other in conditions[1:]:
            if set(other) != set(names):
                raise ValueError(f"conditions to be joined need the same names, but got {names} and {list(other)}")
        return Condition({name: torch.cat(_of_one_size([c[name] for c in conditions])) for name in names})

    def drop(self, null: Condition, where: Tensor | Mapping[str, Tensor]) -> Condition:
        """The null's value in the rows where ``where`` (B,), boolean, is true; the rest unchanged.

        ``where`` may name some parts, each with rows of its own.
        """
        if set(null) != set(self):
            raise ValueError(f"the null condition has {list(null)}, but the condition has {list(self)}")
        rows = where if isinstance(where, Mapping) else dict.fromkeys(self._parts, where)
        parts = dict(self._parts)
        for name, hidden in rows.items():
            value = parts[name]
            blank = null[name].to(value).expand(value.shape)  # the null of a picture is one pixel, whatever its size
            parts[name] = torch.where(hidden.view(-1, *(1,) * (value.ndim - 1)), blank, value)
        return Condition(parts)


def _of_one_size(values: Sequence[Tensor]) -> list[Tensor]:
    """Tensors as they are but for the number of rows; one of a single pixel, a picture's null, is as large as the largest."""
    largest = max(values, key=lambda value: value.numel() // max(1, len(value)))
    return [value.expand(len(value), *largest.shape[1:]) for value in values]
