"""The torch modules that a network consists of: where they are, what they compute in, and their training mode.

A network may be a module, or a function around one: ``lambda x, t: unet(x, t).sample`` is as common.  So the modules that a
function refers to are looked for in what it is bound to, its closure, its defaults and the globals that it names, and in the
attributes and entries of the objects, lists and dictionaries that are found on the way.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from ._lazy import torch
from .errors import warn

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Mode", "call", "device_in", "mode_of", "modules_in", "warn_of_training"]

_DEPTH = 4
"""Functions, objects and containers around one another that are looked through."""
_MOST = 2000
"""Things that are looked at for one network."""
_WIDTH = 64
"""Entries of a list or a dictionary that are looked at."""


class Mode(NamedTuple):
    """How a network is called."""

    dtype: torch.dtype | None
    """What it computes in, None where that is not known: then it is given the run's own."""
    training: Sequence[nn.Module] = ()
    """Its modules in training mode (dropout, batch statistics), which are in evaluation mode during each call."""


def modules_in(network: object) -> list[nn.Module]:
    """The module that a network is, or those that it refers to, outermost ones alone."""
    found: dict[int, nn.Module] = {}
    seen: dict[int, object] = {id(network): network}
    front = [network]
    for _ in range(_DEPTH + 1):
        reached = []
        for value in front:
            if isinstance(value, torch.nn.Module):
                found[id(value)] = value
            else:
                reached += [part for part in _parts(value) if not isinstance(part, _leaves())]
        front = []
        for part in reached:
            if id(part) not in seen and len(seen) < _MOST:
                seen[id(part)] = part
                front.append(part)
    return _outermost(list(found.values()))


def _outermost(modules: list[nn.Module]) -> list[nn.Module]:
    """Those of the modules that are no part of another of them."""
    if len(modules) < 2:
        return modules
    inner = {id(part) for module in modules for part in module.modules() if part is not module}
    return [module for module in modules if id(module) not in inner]


@cache
def _leaves() -> tuple[type, ...]:
    """What refers to no network, and may be large or common."""
    return (type(None), str, bytes, int, float, complex, type, ModuleType, torch.Tensor, torch.dtype, torch.device)


def _parts(value: Any) -> Iterator[object]:
    """What a callable, a container or another object refers to."""
    if isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif inspect.ismethod(value):
        yield from (value.__self__, value.__func__)
    elif inspect.isfunction(value):
        cells = (cell for cell in value.__closure__ or ())
        yield from (cell.cell_contents for cell in cells if _is_filled(cell))
        yield from (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
        yield from (value.__globals__[name] for name in value.__code__.co_names if name in value.__globals__)
    elif isinstance(value, dict):
        yield from islice(value.values(), _WIDTH)
    elif isinstance(value, list | tuple):
        yield from value[:_WIDTH]
    elif inspect.isbuiltin(value):  # a bound method of a compiled class
        yield value.__self__
    else:
        yield from _attributes(value)


def _attributes(value: object) -> Iterator[object]:
    """The attributes of an object: its own, in slots or not, and those of its class that are no functions; and its call."""
    yield from list(getattr(value, "__dict__", {}).values())
    for cls in type(value).__mro__[:-1]:
        for name, part in list(vars(cls).items()):
            if inspect.ismemberdescriptor(part) and "__slots__" in vars(cls):
                yield getattr(value, name, None)
            elif (name == "__call__" and inspect.isfunction(part)) or isinstance(part, torch.nn.Module | list | tuple | dict):
                yield part


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:  # a name that has no value yet
        return False
    return True


def device_in(network: object) -> torch.device:
    """Where a network has its parameters; the CPU where there are none, or where several modules disagree.

    ValueError for the meta device, where parameters have no values.
    """
    devices = list(dict.fromkeys(p.device for p in _first_parameters(network)))
    device = devices[0] if len(devices) == 1 else torch.device("cpu")
    if device.type == "meta":
        raise ValueError(
            "the network's parameters are on the meta device, where they have no values: build it on a real device, such as "
            "with torch.device('cpu'), and load its weights"
        )
    return device


def mode_of(network: object) -> Mode:
    """How a network is called, by its modules as they are now."""
    own = getattr(getattr(network, "module", network), "dtype", None)
    dtypes = [own] if isinstance(own, torch.dtype) else [p.dtype for p in _first_parameters(network, floats=True)]
    training = [part for module in modules_in(network) for part in module.modules() if part.training]
    return Mode(dtypes[0] if len(set(dtypes)) == 1 else None, training)


def _random_in(network: object) -> str | None:
    """The kind of a module in training mode that computes something else in evaluation mode, None where there is none."""
    normed = torch.nn.modules.batchnorm._BatchNorm
    for module in modules_in(network):
        for part in module.modules():
            dropped = any(getattr(part, name, 0) for name in ("p", "dropout") if isinstance(getattr(part, name, 0), float))
            if part.training and (dropped or isinstance(part, normed)):
                return type(part).__name__
    return None


def warn_of_training(network: object) -> None:
    """A warning where gradients may be wrong: what is computed again on the way back is computed in training mode."""
    kind = _random_in(network)
    if kind is not None:
        warn(
            f"gradients are asked of a network in training mode with {kind}: the run itself is in evaluation mode, but what "
            "gradient checkpointing computes again on the way back is not, so gradients may be wrong; call network.eval() first"
        )


def _first_parameters(network: object, floats: bool = False) -> list[Tensor]:
    """The first parameter, or the first of floats, of each module, or of a network that has parameters and is none."""
    own = getattr(network, "parameters", None)
    sources = [own] if callable(own) else [module.parameters for module in modules_in(network)]
    firsts = (next((p for p in source() if not floats or p.is_floating_point()), None) for source in sources)
    return [first for first in firsts if first is not None]


def call(network: Any, mode: Mode, x: Tensor, c_noise: Tensor, parts: Mapping[str, Any]) -> Any:
    """The network's answer in evaluation mode.  ValueError for a number of the condition that it has no row for."""
    try:
        if not mode.training:
            return network(x, c_noise, **parts)
        with _evaluating(mode.training):
            return network(x, c_noise, **parts)
    except IndexError as error:
        problem = _out_of_range(network, parts)
        if problem is None:
            raise
        raise ValueError(problem) from error


@contextmanager
def _evaluating(training: Sequence[nn.Module]) -> Iterator[None]:
    """These modules in evaluation mode, and afterwards in training mode again; no other module's mode is touched."""
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _out_of_range(network: object, parts: Mapping[str, Any]) -> str | None:
    """Which number of a condition lies beyond the rows of an embedding, None where there is none such."""
    every = (part for module in modules_in(network) for part in module.modules())
    rows = sorted({part.num_embeddings for part in every if isinstance(part, torch.nn.Embedding)})
    for name, value in parts.items():
        if not isinstance(value, torch.Tensor) or value.is_floating_point() or not value.numel():
            continue
        least, most = int(value.min()), int(value.max())
        for count in rows:
            if least < 0 or most >= count:
                return f"{name} {least if least < 0 else most} is out of range: the network's embedding has 0..{count - 1}"
    return None
