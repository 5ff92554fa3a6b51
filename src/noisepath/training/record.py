"""Everything that a run does, as one tree of frozen dataclasses that round-trips through TOML: ``RUN/run.toml``.

    [data]      DataConfig: which pictures
    [train]     TrainConfig: the recipe, with everything that was chosen at the start filled in
    [machine]   Machine: what the numbers of a run also depend on, so that a difference can be said when it goes on

Needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from noisepath.data.config import DataConfig
from noisepath.errors import unknown
from noisepath.files import write_whole
from noisepath.training.config import TrainConfig

__all__ = ["Machine", "RunConfig", "differences", "from_toml", "read_run", "read_toml", "to_toml", "write_run"]

T = TypeVar("T")
FILE = "run.toml"


@dataclass(frozen=True)
class Machine:
    """Where a run is made: other values can change its numbers in the last digits."""

    device: str = "cpu"
    """cpu, cuda, mps ..."""
    threads: int = 1
    """Threads of one operation on the CPU."""
    torch: str = ""
    """Version of torch."""
    capability: str = ""
    """What the processor computes with, such as AVX512."""


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run."""

    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    machine: Machine = field(default_factory=Machine)

    @property
    def identity(self) -> str:
        """A hash of what decides the run's numbers but for the machine: its checkpoints carry it.

        A setting that a newer version adds counts only where it is not at its default, so that an older run stays itself.
        """
        plain = replace(self, machine=Machine(), data=replace(self.data, workers=0))
        lines: list[str] = []
        for section, settled in _SETTLED.items():
            part = getattr(plain, section)
            added = {f.name: f for f in fields(part) if f.name not in settled}
            names = [name for name in settled if hasattr(part, name)]
            names += sorted(name for name, entry in added.items() if getattr(part, name) != _default(entry))
            _table(section, {name: getattr(part, name) for name in names}, lines)
        return hashlib.sha256(("\n".join(lines).lstrip("\n") + "\n").encode()).hexdigest()


_SETTLED: dict[str, tuple[str, ...]] = {
    "data": ("data", "picture_size", "resize", "background", "flip", "holdout", "workers"),
    "train": (
        "steps", "minutes", "batch_size", "accumulate", "seed", "network", "size", "patch", "fold", "linear", "channels",
        "blocks", "attention", "dropout", "schedule", "schedule_options", "prediction", "times", "times_options", "weighting",
        "weighting_options", "optimizer", "learning_rate", "warmup", "decay", "betas", "weight_decay", "clip", "ema_lengths",
        "drop_condition", "conditions", "drop_each", "tokens", "text_length", "text_width", "text_layers", "text_steps",
        "text_heard", "low_resolution", "text_encoder", "precision", "log_every", "sample_every", "save_every",
    ),
    "machine": ("device", "threads", "torch", "capability"),
}  # fmt: skip
"""The settings whose value an identity always holds, in the order in which it does: those of the first version.  A setting is
never added here, and one that is renamed keeps its line."""


def _default(entry: Field[Any]) -> Any:
    return entry.default if entry.default_factory is MISSING else entry.default_factory()


def read_run(run: str | os.PathLike[str]) -> RunConfig:
    """The configuration of a run folder.

    Raises:
        FileNotFoundError: no such folder, or no run in it.
        ValueError: a file that is no such configuration.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no run folder {str(folder)!r}" + (": it is a file" if folder.is_file() else ""))
    if not (folder / FILE).is_file():
        raise FileNotFoundError(f"{str(folder)!r} holds no run: there is no {FILE} in it")
    return read_toml(folder / FILE)


def write_run(run: str | os.PathLike[str], config: RunConfig) -> None:
    """Write ``run.toml``, whole."""
    with write_whole(Path(run) / FILE) as part:
        part.write_bytes(to_toml(config).encode("utf-8", "surrogateescape"))


def read_toml(path: str | os.PathLike[str]) -> RunConfig:
    """A configuration file; what it does not say keeps its default."""
    try:
        text = Path(path).read_bytes().decode("utf-8", "surrogateescape")
        return from_toml(text)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no configuration file {os.fspath(path)!r}") from None
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)!r}: {error}") from error


def to_toml(config: RunConfig) -> str:
    """A configuration as TOML; what is ``None`` is left out."""
    lines: list[str] = []
    for section in fields(config):
        _table(section.name, vars(getattr(config, section.name)), lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def from_toml(text: str) -> RunConfig:
    """The inverse of :func:`to_toml`; ValueError for an unknown name (with the nearest) and for a value of a wrong kind."""
    try:
        return _build(RunConfig, tomllib.loads(text), "")
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not TOML: {error}") from error


def differences(old: Any, new: Any, of: str = "") -> list[str]:
    """Where two configurations differ, a line for each: ``train.seed: 0 -> 1``."""
    if is_dataclass(old):
        names = [field.name for field in fields(old)]
        found = [differences(getattr(old, n), getattr(new, n), f"{of}.{n}" if of else n) for n in names]
        return [line for lines in found for line in lines]
    return [] if old == new else [f"{of}: {old} -> {new}"]


def _table(name: str, values: Mapping[str, Any], lines: list[str]) -> None:
    lines += ["", f"[{name}]"]
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lines += [f"{key} = {_value(value)}" for key, value in values.items() if value is not None and key not in tables]
    for key, value in tables.items():
        _table(f"{name}.{key}", value, lines)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)


def _build(kind: type[T], values: Mapping[str, Any], path: str) -> T:
    """A dataclass from a table, each value of the type that its field has."""
    hints = get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise unknown(f"setting in {path.rstrip('.') or 'the file'}", name, hints)
    return kind(**{name: _convert(hints[name], value, f"{path}{name}") for name, value in values.items()})


def _convert(kind: Any, value: Any, path: str) -> Any:
    """A TOML value as the type ``kind``: tables become dataclasses, arrays tuples, whole numbers floats where meant."""
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise ValueError(f"{path} must be a table, but is {value!r}")
        return _build(kind, value, f"{path}.")
    options = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    for option in options:
        fitting, converted = _fits(option, value)
        if fitting:
            return converted
    raise ValueError(f"{path} must be {' or '.join(_spoken(option) for option in options)}, but is {value!r}")


def _fits(kind: Any, value: Any) -> tuple[bool, Any]:
    origin = get_origin(kind)
    if origin is tuple and isinstance(value, list):
        inner = get_args(kind)
        each = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        parts = [_fits(option, part) for option, part in zip(each, value, strict=False)]
        return len(each) == len(value) and all(fitting for fitting, _ in parts), tuple(part for _, part in parts)
    if origin is dict:
        plain = isinstance(value, dict) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value.values())
        return plain, value
    if kind is float:
        good = isinstance(value, int | float) and not isinstance(value, bool)
        return good, float(value) if good else value
    return type(value) is kind, value


def _spoken(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "an array of " + " and ".join(dict.fromkeys(_spoken(k) for k in get_args(kind) if k is not Ellipsis))
    if get_origin(kind) is dict:
        return "a table of numbers"
    return {str: "a string", int: "a whole number", float: "a number", bool: "true or false", type(None): "left out"}[kind]
