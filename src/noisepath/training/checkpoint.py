"""A model on disk: the run folder that training writes and :func:`load` reads.

    RUN/model.safetensors   the averaged weights
    RUN/config.json         what else a model must remember: network, schedule, prediction, classes, shape
    RUN/state.safetensors   what a run needs to go on: raw weights, average, optimizer; its JSON is in the file's metadata

Each file is written whole (:mod:`noisepath.files`).  Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisepath import __version__
from noisepath._lazy import torch
from noisepath.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.denoiser import Denoiser

__all__ = ["ModelInfo", "load", "read_state", "save_model", "save_state"]

_FORMAT = "noisepath model 1"
_CONFIG, _MODEL, _STATE = "config.json", "model.safetensors", "state.safetensors"


@dataclass(frozen=True)
class ModelInfo:
    """What a model must remember beside its weights; plain values that round-trip through JSON."""

    network: dict[str, Any]
    """``UNetConfig.to_dict()``."""
    schedule: dict[str, Any]
    """``schedules.to_dict``."""
    prediction: str
    sigma_data: float
    shape: tuple[int, ...]
    """(C, H, W) of one picture."""
    class_names: tuple[str, ...] = ()
    data_range: tuple[float, float] = (-1.0, 1.0)
    steps: int = 0
    """Optimizer steps made."""
    training: dict[str, Any] | None = None
    """``TrainConfig.to_dict()`` of the run that made it."""


def save_model(run: str | os.PathLike[str], weights: Mapping[str, Tensor], info: ModelInfo) -> None:
    """Write (or replace) the model of a run folder, which is made if need be."""
    from safetensors.torch import save

    folder = Path(run)
    with write_whole(folder / _MODEL) as part:
        part.write_bytes(save(_stored(weights), metadata={"format": _FORMAT}))
    told = {"format": _FORMAT, "noisepath": __version__, **vars(info)}
    with write_whole(folder / _CONFIG) as part:
        part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def load(run: str | os.PathLike[str], device: str = "cpu") -> Denoiser:
    """The model of a run folder as a denoiser, on ``device``.

    ``denoiser.info`` holds shape, class_names, classes, data_range, steps; ``denoiser.null`` is the condition "no class"
    of a class-conditional model, whose condition is ``Condition(label=...)`` with labels 0 .. classes - 1.

    Raises:
        FileNotFoundError: no such folder, or no model in it.
        ValueError: a folder or file that is not a noisepath model, or one whose weights don't fit its configuration.
    """
    from noisepath import schedules
    from noisepath.denoiser import Condition, Denoiser
    from noisepath.nn.config import UNetConfig
    from noisepath.nn.unet import UNet

    folder = Path(run)
    info = _read_info(folder)
    network = UNet(UNetConfig.from_dict(info.network))
    _fill(network, _read_tensors(folder / _MODEL)[0], folder / _MODEL)
    classes = len(info.class_names)
    return Denoiser(
        network.eval().requires_grad_(False).to(device),
        schedules.from_dict(info.schedule),
        info.prediction,
        sigma_data=info.sigma_data,
        null=Condition(label=torch.tensor([classes], device=device)) if classes else None,
        info={"classes": classes, **{k: v for k, v in vars(info).items() if k not in ("network", "schedule")}},
    )


def save_state(run: str | os.PathLike[str], tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write what a run needs to go on, as one file: tensors, and plain values as JSON in its metadata."""
    from safetensors.torch import save

    with write_whole(Path(run) / _STATE) as part:
        part.write_bytes(save(_stored(tensors), metadata={"format": _FORMAT, "state": json.dumps(values)}))


def read_state(run: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The inverse of :func:`save_state`."""
    path = Path(run) / _STATE
    tensors, metadata = _read_tensors(path)
    try:
        return tensors, dict(json.loads(metadata["state"]))
    except (KeyError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is not the state of a noisepath run") from error


def _stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, contiguous, each with memory of its own."""
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}


def _read_info(folder: Path) -> ModelInfo:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no run folder {str(folder)!r}" + (": it is a file" if folder.is_file() else ""))
    path = folder / _CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{str(folder)!r} holds no model: there is no {_CONFIG} in it")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not JSON: {error}") from error
    if not isinstance(told, dict) or told.pop("format", None) != _FORMAT:
        raise ValueError(f"{str(path)!r} does not describe a noisepath model (its format is not {_FORMAT!r})")
    told.pop("noisepath", None)
    plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in told.items()}
    try:
        return ModelInfo(**plain)
    except TypeError as error:
        raise ValueError(f"{str(path)!r} lacks a setting, or has one too many: {error}") from error


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no {str(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is damaged or no safetensors file: {error}") from error


def _fill(network: torch.nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Strictly: every name and shape must fit."""
    here = network.state_dict()
    missing, foreign = sorted(here.keys() - weights.keys()), sorted(weights.keys() - here.keys())
    if missing or foreign:
        raise ValueError(
            f"{str(path)!r} does not fit its {_CONFIG}: {len(missing)} weights missing, {len(foreign)} unknown "
            f"({(missing + foreign)[0]} ...)"
        )
    for name, value in weights.items():
        if value.shape != here[name].shape:
            raise ValueError(
                f"{str(path)!r} does not fit its {_CONFIG}: {name} has shape {tuple(value.shape)}, "
                f"not {tuple(here[name].shape)}"
            )
    network.load_state_dict(dict(weights))
