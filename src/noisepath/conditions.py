"""What a picture is asked to be: a named set of tensors, one row for each picture.

A network that is told more than the noise level takes each part by name: ``network(x, t, label=...)``.  A model's
*null* is the condition of one picture that says nothing, with a value for each name; dropping a condition in training,
and the other half of classifier-free guidance, both mean "put the null there".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._lazy import torch
from .errors import is_number, is_whole, lookup, shown

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Condition", "as_null", "check_condition", "for_batch"]


class Condition(Mapping[str, "Tensor"]):
    """A mapping from name to tensor (B, ...); all tensors have the same number of rows.  Frozen.

    A part may be given as a number, which is one row, or as an array or a list of numbers; whole numbers become int64 and
    others of Python's float32.  A condition of one row goes for all pictures of a run: ``Condition(label=3)``.
    """

    __slots__ = ("_parts",)

    def __init__(self, parts: Mapping[str, Any] | None = None, **more: Any) -> None:
        if not isinstance(parts, Mapping | None):
            raise TypeError(f"a Condition is made of tensors by name, Condition(label=...), but got {shown(parts)}")
        self._parts: dict[str, Tensor] = {name: _as_rows(value) for name, value in {**(parts or {}), **more}.items()}
        if not self._parts:
            raise ValueError("a condition needs at least one named tensor")
        for name, value in self._parts.items():
            if not isinstance(name, str):
                raise TypeError(f"the parts of a condition have names, but one is called {shown(name)}")
            if not isinstance(value, torch.Tensor) or value.ndim < 1:
                raise ValueError(f"condition {name!r} needs a tensor with a row for each picture, but got {shown(value)}")
            if value.device.type == "meta":
                raise ValueError(f"condition {name!r} is on the meta device, which holds no values: give it on one that does")
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
        index = which if isinstance(which, slice) else self._index(which)
        return Condition({name: value[index] for name, value in self._parts.items()})

    def _index(self, which: Sequence[int] | Tensor) -> Tensor:
        """Rows as torch takes them; numbers on an accelerator are not waited for."""
        try:
            index = which if isinstance(which, torch.Tensor) else torch.as_tensor(which, device="cpu")
        except (TypeError, ValueError, RuntimeError):
            index = torch.tensor(torch.nan)
        fits = len(index) == self.batch if index.dtype == torch.bool and index.ndim == 1 else _is_whole(index)
        if fits and index.dtype != torch.bool and index.device.type == "cpu" and index.numel():
            fits = -self.batch <= int(index.min()) and int(index.max()) < self.batch
        if not fits:
            raise ValueError(
                f"rows of a condition of {self.batch} are said by whole numbers below that, or a boolean for each, but got "
                f"{shown(which)}"
            )
        return index

    def expand(self, batch: int) -> Condition:
        """A condition of one row, for ``batch`` pictures."""
        if batch < 1 or self.batch not in (1, batch):
            raise ValueError(f"a condition of {self.batch} rows can't be had for {batch} pictures")
        return Condition({name: value.expand(batch, *value.shape[1:]) for name, value in self._parts.items()})

    def to(self, device: torch.device | str) -> Condition:
        """The same on another device."""
        return Condition({name: value.to(device) for name, value in self._parts.items()})

    @staticmethod
    def cat(conditions: Sequence[Condition]) -> Condition:
        """Several conditions one after another, for one call of the network; their names must agree."""
        if not conditions:
            raise ValueError("one condition or more can be joined, but got none")
        names = list(conditions[0])
        for other in conditions[1:]:
            if set(other) != set(names):
                raise ValueError(f"conditions to be joined need the same names, but got {names} and {list(other)}")
        return Condition({name: torch.cat(_of_one_size(name, [c[name] for c in conditions])) for name in names})

    def drop(self, null: Condition, where: Tensor | Mapping[str, Tensor]) -> Condition:
        """The null's value in the rows where ``where`` (B,), boolean, is true; the rest unchanged.

        ``where`` may name some parts, each with rows of its own.
        """
        if set(null) != set(self):
            raise ValueError(f"the null condition has {list(null)}, but the condition has {list(self)}")
        rows = where if isinstance(where, Mapping) else dict.fromkeys(self._parts, where)
        parts = dict(self._parts)
        for name, hidden in rows.items():
            value, shape = lookup(parts, name, "condition"), tuple(null[name].shape)
            if hidden.dtype != torch.bool or tuple(hidden.shape) != (len(value),):
                raise ValueError(f"what is dropped is said by {len(value)} booleans, but got {shown(hidden)}")
            try:  # of a picture of any size the null is one pixel
                blank = null[name].to(value).expand(value.shape)
            except RuntimeError:
                raise ValueError(f"condition {name!r} is {tuple(value.shape)}, but its null is {shape}") from None
            parts[name] = torch.where(hidden.view(-1, *(1,) * (value.ndim - 1)), blank, value)
        return Condition(parts)


def _is_whole(index: Tensor) -> bool:
    return index.ndim > 0 and not (index.is_floating_point() or index.is_complex() or index.dtype == torch.bool)


def _as_rows(value: Any) -> Any:
    """A number, an array or a list of numbers as a tensor with rows; anything else as it is, for the caller to judge."""
    if isinstance(value, torch.Tensor):
        return value[None] if value.ndim == 0 else value
    if is_number(value):
        dtype = torch.bool if isinstance(value, bool) else torch.int64 if is_whole(value) else torch.float32
        return torch.tensor([value], dtype=dtype, device="cpu")
    if isinstance(value, list | tuple) or type(value).__module__ == "numpy":
        try:
            tensor = torch.as_tensor(value, device="cpu")
            if tensor.is_floating_point() and type(value).__module__ != "numpy":  # torch's default type may be coarser
                tensor = torch.as_tensor(value, dtype=torch.float32, device="cpu")
        except (TypeError, ValueError, RuntimeError):  # texts, rows of several lengths
            return value
        return tensor
    return value


def as_null(given: Condition | int | None) -> Condition | None:
    """A model's null as a condition of one row: ``10`` is ``Condition(label=10)``, the label that means none."""
    if given is None:
        return None
    if is_whole(given):
        return Condition(label=given)
    if not isinstance(given, Condition) or given.batch != 1:
        raise TypeError(
            "a null is the condition of one picture that says nothing, Condition(label=10), or a label that means none, 10, "
            f"but got {shown(given)}"
        )
    return given


def for_batch(condition: Condition | None, count: int) -> Condition | None:
    """A run's condition with a row for each of ``count`` pictures; one row goes for all.  Errors as :func:`check_condition`."""
    if condition is None:
        return None
    check_condition(condition, count)
    return condition if condition.batch == count else condition.expand(count)


def check_condition(condition: object, pictures: int | None = None) -> None:
    """TypeError for what is no condition, ValueError for one that has not a row for each picture, nor one for all."""
    if not isinstance(condition, Condition):
        raise TypeError(f"a condition is a noisepath.Condition, such as Condition(label=...), but got {shown(condition)}")
    if pictures is not None and condition.batch not in (1, pictures):
        raise ValueError(f"the condition has {condition.batch} rows for {pictures} pictures")


def _of_one_size(name: str, values: Sequence[Tensor]) -> list[Tensor]:
    """Tensors as they are but for the number of rows; one of a single pixel, a picture's null, is as large as the largest."""
    largest = max(values, key=lambda value: value.numel() // max(1, len(value)))
    for value in values:
        sizes = tuple(largest.shape[1:]), tuple(value.shape[1:])
        if len(sizes[0]) != len(sizes[1]) or any(n not in (1, most) for most, n in zip(*sizes, strict=True)):
            raise ValueError(f"condition {name!r} has rows of shape {sizes[0]} in one and {sizes[1]} in another")
    return [value.expand(len(value), *largest.shape[1:]) for value in values]
