"""What a run keeps on disk, and :func:`load`.

    RUN/checkpoints/step-000120/    the newest two (or more); each is a *model folder* and holds what the run needs to go on
        config.json                 what a model must remember beside its weights: network, schedule, prediction, classes
        model.safetensors           the averaged weights: what is sampled from
        model-long.safetensors      the same with the longer average
        data-stats.safetensors      mean and covariance of the data, where the model's limit needs them
        network.safetensors         the raw weights
        optimizer.safetensors       the optimizer's averages
        state.json                  plain values: steps done, losses since the last line of the log, bad pictures, ...
        manifest.json               sizes and SHA-256 of all these
    RUN/snapshots/step-000030/      model folders of 1/16, 1/8, 1/4 and 1/2 of the run

A folder is written under a temporary name and renamed when all of it is on disk; only then older ones go.  Nothing is ever
unpickled, and no file is read whose bytes are not those that were written.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from noisepath import __version__
from noisepath._lazy import torch
from noisepath.defaults import torch_defaults
from noisepath.files import MANIFEST, remove_folder, verify, write_folder
from noisepath.model_folders import refuse_diffusers

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.asking import TextFeatures, Vocabulary
    from noisepath.data_stats import LinearEstimate
    from noisepath.denoiser import Denoiser
    from noisepath.limit import Limit

__all__ = [
    "Found", "ModelInfo", "State", "load", "newest", "read_state", "save_checkpoint", "save_snapshot", "steps_of",
    "vocabulary_of",
]  # fmt: skip

CHECKPOINTS, SNAPSHOTS = "checkpoints", "snapshots"
AVERAGES = ("model", "model-long")
KEEP = 2
_FORMAT = "noisepath model 2"
_CONFIG, _STATE, _DATA_STATS = "config.json", "state.json", "data-stats.safetensors"
_HEADER_LIMIT = 10 * 2**20


@dataclass(frozen=True)
class ModelInfo:
    """What a model must remember beside its weights; plain values that round-trip through JSON."""

    network: dict[str, Any]
    """``UNetConfig.to_dict()``, or a DiT's."""
    schedule: dict[str, Any]
    """``schedules.to_dict``."""
    prediction: str
    sigma_data: float
    shape: tuple[int, ...]
    """(C, H, W) of one picture."""
    class_names: tuple[str, ...] = ()
    vocabulary: tuple[dict[str, Any], ...] = ()
    """What else can be asked for (:class:`noisepath.asking.Vocabulary`)."""
    data_range: tuple[float, float] = (-1.0, 1.0)
    mean: float = 0.0
    """Mean of the data, in [-1, 1]."""
    data_scale: float | None = None
    """How wide the data are (:func:`noisepath.widths.data_scale`)."""
    preconditioning: str = "none"
    """How the network sees its prediction (``noisepath.predictions.PRECONDITIONINGS``)."""
    limit: dict[str, Any] | None = None
    """Of each average, how far it is followed where its error is multiplied (``noisepath.limit.Limit.to_dict``); None:
    everywhere."""
    steps: int = 0
    """Optimizer steps made."""
    training: dict[str, Any] | None = None
    """``TrainConfig.to_dict()`` of the run that made it."""


@dataclass(frozen=True)
class State:
    """What a run needs to go on, beside the averages."""

    network: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    values: Mapping[str, Any]


def save_checkpoint(
    run: Path,
    step: int,
    averages: Mapping[str, Mapping[str, Tensor]],
    info: ModelInfo,
    state: State,
    identity: str,
    keep: int = KEEP,
    estimate: LinearEstimate | None = None,
) -> Path:
    """Write ``checkpoints/step-...``, then remove the oldest of this run beyond ``keep``; a folder of that step is replaced.

    Raises:
        OSError: it could not be written; what was there before is untouched.
    """
    folder = run / CHECKPOINTS / _name(step)
    if folder.exists():
        remove_folder(folder)  # a damaged one, or it would have been gone on from
    with write_folder(folder, run=identity) as part:
        _write_model(part, averages, info, estimate)
        _write_tensors(part / "network.safetensors", state.network)
        _write_tensors(part / "optimizer.safetensors", state.optimizer)
        (part / _STATE).write_text(json.dumps(dict(state.values)) + "\n", encoding="utf-8")
    for old in [step for step in steps_of(run / CHECKPOINTS) if _is_of(run / CHECKPOINTS / _name(step), identity)][:-keep]:
        remove_folder(run / CHECKPOINTS / _name(old))
    return folder


def save_snapshot(
    run: Path,
    step: int,
    averages: Mapping[str, Mapping[str, Tensor]],
    info: ModelInfo,
    identity: str,
    estimate: LinearEstimate | None = None,
) -> Path:
    """Write ``snapshots/step-...``, unless it is there already, whole."""
    folder = run / SNAPSHOTS / _name(step)
    if folder.exists():
        try:
            verify(folder)
            return folder
        except ValueError:
            remove_folder(folder)
    with write_folder(folder, run=identity) as part:
        _write_model(part, averages, info, estimate)
    return folder


@dataclass(frozen=True)
class Found:
    """The newest whole checkpoint of a run; ``passed_over`` says why newer ones were not taken."""

    folder: Path
    step: int
    passed_over: tuple[str, ...] = ()


def newest(run: str | os.PathLike[str], identity: str | None = None) -> Found:
    """The newest checkpoint that verifies; if ``identity`` is given, one of that very run.

    Raises:
        FileNotFoundError: there is none at all.
        ValueError: there are some, but each is damaged or of another run; all are named.
    """
    root = Path(run) / CHECKPOINTS
    passed: list[str] = []
    for step in reversed(steps_of(root)):
        try:
            told = verify(root / _name(step))
            if identity is None or told.get("run") == identity:
                return Found(root / _name(step), step, tuple(passed))
            passed.append(f"{str(root / _name(step))!r} belongs to another run")
        except ValueError as error:
            passed.append(str(error))
    if passed:
        raise ValueError(f"no checkpoint in {str(root)!r} can be used: {'; '.join(passed)}")
    raise FileNotFoundError(f"{str(Path(run))!r} holds no checkpoint")


def steps_of(root: Path) -> list[int]:
    """The steps of the folders ``step-...`` in ``root``, rising."""
    if not root.is_dir():
        return []
    return sorted(
        int(found[1]) for path in root.iterdir() if (found := re.fullmatch(r"step-(\d+)", path.name)) and path.is_dir()
    )


@torch_defaults()
def load(
    run: str | os.PathLike[str],
    device: str = "cpu",
    average: str = "model",
    encoder: str | os.PathLike[str] | TextFeatures | None = None,
    limit: Limit | Literal["stored"] | None = "stored",
) -> Denoiser:
    """The model of a run folder (its newest whole checkpoint), or of one checkpoint or snapshot, as a denoiser on ``device``.

    ``average`` is "model", or "model-long" for the longer moving average; ``encoder`` says where the model's frozen text
    encoder is, if not where it was: a folder, or the encoder; ``limit`` is the model's own ("stored"), another, or None: the
    network is followed everywhere.  ``denoiser.info`` holds shape, class_names,
    classes, data_range, steps.  ``denoiser.vocabulary`` is what the model can be asked for: ``vocabulary.condition(4,
    text="a red circle")``; ``denoiser.null`` is the condition that says nothing, None where the model was trained without
    condition dropout (``drop_condition`` 0): it can't be guided by its condition then, nor asked without one.

    Raises:
        FileNotFoundError: no such folder, or no model in it.
        ValueError: a folder or file that is not a noisepath model, a damaged one, or weights that don't fit their
            configuration; another encoder.
    """
    from noisepath import schedules
    from noisepath.data_stats import DataStats
    from noisepath.denoiser import Denoiser, device_named
    from noisepath.errors import unknown
    from noisepath.limit import Limit
    from noisepath.nn.kinds import network_from_dict

    if average not in AVERAGES:
        raise unknown("average", average, AVERAGES)
    if isinstance(limit, str) and limit != "stored":
        raise ValueError(f'limit is "stored" (the model\'s own), a noisepath.limit.Limit or None, but is {limit!r}')
    there = device_named(device)
    folder = _model_folder(Path(run))
    info = _read_info(folder)
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, and then replaced: nobody's draws but these
        network = network_from_dict(info.network)
    _fill(network, _read_tensors(folder / f"{average}.safetensors"), folder / f"{average}.safetensors")
    training = info.training or {}
    vocabulary = _vocabulary(info, encoder).trained_with(training.get("drop_condition", 1.0), training.get("drop_each", 0.0))
    network.needs = vocabulary.needs
    hidden = ("network", "schedule", "vocabulary")
    estimate = _read_estimate(folder / _DATA_STATS) if info.limit is not None else None
    own = None if estimate is None or info.limit is None else Limit.from_dict(info.limit[average], estimate)
    return Denoiser(
        network.eval().requires_grad_(False).to(there),
        schedules.from_dict(info.schedule),
        info.prediction,
        sigma_data=info.sigma_data,
        data_stats=DataStats(info.mean, info.sigma_data, info.data_range, info.data_scale, estimate),
        limit=own if isinstance(limit, str) else limit,
        preconditioning=info.preconditioning,
        null=vocabulary.null(there),
        vocabulary=vocabulary,
        info={"classes": vocabulary.classes, **{k: v for k, v in vars(info).items() if k not in hidden}},
    )


def vocabulary_of(folder: Path, encoder: str | os.PathLike[str] | TextFeatures | None = None) -> Vocabulary:
    """What the model of one checkpoint can be asked for, as :func:`load` gives it."""
    return _vocabulary(_read_info(folder), encoder)


def _vocabulary(info: ModelInfo, encoder: str | os.PathLike[str] | TextFeatures | None) -> Vocabulary:
    from noisepath.asking import Vocabulary

    vocabulary = Vocabulary.from_info(info.class_names, info.vocabulary)
    return vocabulary if encoder is None else vocabulary.reading_with(encoder)


def read_state(folder: Path) -> tuple[dict[str, dict[str, Tensor]], State]:
    """Averages and state of a checkpoint that :func:`newest` found."""
    averages = {name: _read_tensors(folder / f"{name}.safetensors") for name in AVERAGES}
    values = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    network, optimizer = (_read_tensors(folder / f"{name}.safetensors") for name in ("network", "optimizer"))
    return averages, State(network, optimizer, values)


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _is_of(folder: Path, identity: str) -> bool:
    """Whether a checkpoint says that it is of this run; one that says nothing readable is left alone."""
    try:
        return bool(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["run"] == identity)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _read_estimate(path: Path) -> LinearEstimate:
    from noisepath.data_stats import LinearEstimate

    try:
        return LinearEstimate.from_tensors(_read_tensors(path))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} does not fit its {_CONFIG}: {error}") from error


def _write_model(
    part: Path, averages: Mapping[str, Mapping[str, Tensor]], info: ModelInfo, estimate: LinearEstimate | None
) -> None:
    if estimate is not None:
        _write_tensors(part / _DATA_STATS, estimate.tensors())
    for name, weights in averages.items():
        _write_tensors(part / f"{name}.safetensors", weights)
    told = {"format": _FORMAT, "noisepath": __version__, **vars(info)}
    (part / _CONFIG).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Each on the CPU, contiguous, with memory of its own."""
    from safetensors.torch import save

    plain = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    path.write_bytes(save(plain, metadata={"format": _FORMAT}))


def _model_folder(folder: Path) -> Path:
    """The folder itself if it is a model's, or its newest whole checkpoint."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no run folder {str(folder)!r}" + (": it is a file" if folder.is_file() else ""))
    if steps_of(folder / CHECKPOINTS):
        return newest(folder).folder
    refuse_diffusers(folder)
    if not (folder / _CONFIG).is_file():
        raise FileNotFoundError(f"{str(folder)!r} holds no model: there are neither checkpoints nor a {_CONFIG} in it")
    verify(folder)
    return folder


def _read_info(folder: Path) -> ModelInfo:
    path = folder / _CONFIG
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is not JSON: {error}") from error
    if not isinstance(told, dict) or told.pop("format", None) != _FORMAT:
        raise ValueError(f"{str(path)!r} does not describe a noisepath model (its format is not {_FORMAT!r})")
    told.pop("noisepath", None)
    plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in told.items()}
    try:
        return ModelInfo(**plain)
    except TypeError as error:
        raise ValueError(f"{str(path)!r} lacks a setting, or has one too many: {error}") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no {str(path)!r}")
    _refuse_huge_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is damaged or no safetensors file: {error}") from error


def _refuse_huge_header(path: Path) -> None:
    """A header of hundreds of thousands of names costs seconds and gigabytes to read; no model of ours has one."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _HEADER_LIMIT:
        raise ValueError(f"{str(path)!r} is damaged or hostile: its header would have {length} bytes")


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
