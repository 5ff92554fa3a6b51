"""A whole training run, from a data set to a run folder and a denoiser.

RUN/model.safetensors, config.json     the model (see :mod:`noisepath.training.checkpoint`)
RUN/state.safetensors                  what the run needs to go on
RUN/log.jsonl                          one line each ``log_every`` steps: step, loss, rate, pictures_per_s, seconds
RUN/loss.png                           the loss curve
RUN/samples/000123.png                 pictures after step 123, from the same seeds each time
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any, TextIO

import torch
from torch import Tensor, nn

from noisepath import schedules
from noisepath.data.dataset import Dataset
from noisepath.denoiser import Denoiser
from noisepath.errors import lookup
from noisepath.nn.config import UNetConfig
from noisepath.nn.unet import UNet
from noisepath.times import TIMES
from noisepath.training.checkpoint import ModelInfo, load, save_model, save_state
from noisepath.training.config import TrainConfig
from noisepath.training.objective import Objective, check_options
from noisepath.training.trainer import Trainer

__all__ = ["build", "network_config", "steps_in", "train"]

RESERVE = 0.9
"""Share of the time left that is planned for, when minutes are turned into steps."""


def train(
    dataset: Dataset,
    out: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    device: str = "cpu",
    progress: bool = True,
    overwrite: bool = False,
) -> Denoiser:
    """Train a U-Net on a data set and leave the run in the folder ``out``.

    Args:
        dataset: :func:`noisepath.data.digits`, :func:`noisepath.data.folder`, or your own.
        out: the run folder; made if need be.
        config: every number of the run.
        device: where the network lives.
        progress: show a live bar (loss, pictures per second, time left).
        overwrite: replace a run that ``out`` holds already; its files are removed before the first step.

    Returns:
        The trained denoiser, as ``noisepath.load(out)`` gives it.

    Raises:
        ValueError: settings that don't fit together, or a folder that holds a model (before any work); a loss that is no
            number (step named).
    """
    config = config or TrainConfig()
    folder = Path(out)
    if (folder / "config.json").exists() and not overwrite:
        raise ValueError(f"{str(folder)!r} already holds a model: choose another folder, or say overwrite")
    start = time.perf_counter()
    make = build(dataset, config, device)
    total = config.steps or steps_in(60 * config.minutes, make, start)
    run = _Run(make(total), folder, device)
    run.go(progress)
    return load(folder, device)


def build(dataset: Dataset, config: TrainConfig, device: str = "cpu") -> Callable[[int], Trainer]:
    """``make(total) -> Trainer``: everything checked now; each trainer made has weights and state of its own."""
    schedule = schedules.schedule(config.schedule, **config.schedule_options)
    times_kind = lookup(TIMES, config.times, "times")
    check_options(f"times {config.times!r}", times_kind, config.times_options)
    times = times_kind(**config.times_options)
    sigma_data = dataset.sigma_data
    objective = Objective(
        schedule, config.prediction, times, config.weighting, config.weighting_options, sigma_data, config.drop_condition
    )
    # what can go wrong in a step goes wrong now, before a folder is made
    objective.losses(lambda x, t: x, torch.zeros(2, 1), seed=config.seed, step=0, samples=[0, 1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = UNet(network_config(dataset, config, schedule))

    def make(total: int) -> Trainer:
        own = replace(objective, times=deepcopy(times))
        return Trainer(deepcopy(network).to(device), own, dataset, config, total)

    return make


def network_config(dataset: Dataset, config: TrainConfig, schedule: schedules.Schedule) -> UNetConfig:
    """The U-Net's numbers for a data set: the size by name, what the configuration says otherwise, channels and classes."""
    said = {name: getattr(config, name) for name in ("channels", "blocks", "attention")}
    # sines and cosines resolve a range of about 1000: log(sigma / alpha) / 4 and t in [0, 1] are stretched to it
    axis = 1.0 if config.prediction == "edm" else schedule.num_timesteps or schedule.t_max - schedule.t_min
    size = config.size if config.size != "auto" else "tiny" if max(dataset.shape[1:]) <= 16 else "small"
    return UNetConfig.named(
        size,
        in_channels=dataset.shape[0],
        out_channels=dataset.shape[0],
        classes=dataset.classes,
        dropout=config.dropout,
        time_scale=1000.0 / axis,
        **{name: value for name, value in said.items() if value is not None},
    )


def steps_in(seconds: float, make: Callable[[int], Trainer], start: float, least: int = 8, at_least_s: float = 3.0) -> int:
    """How many steps fit into ``seconds`` after ``start`` (of ``time.perf_counter``), at least 1.

    Measured on steps of a trainer that is thrown away, so that the run itself is the same as with this number of steps
    given.  A processor that is warm is slower than at first: a reserve is kept, and a run ends early rather than late.
    """
    trial = make(1000)
    taken: list[float] = []
    trial.step()  # the first step also sets things up
    while len(taken) < least or sum(taken) < at_least_s:
        before = time.perf_counter()
        trial.step().item()
        taken.append(time.perf_counter() - before)
    return max(1, round(RESERVE * (seconds - (time.perf_counter() - start)) / mean(taken)))


class _Run:
    """The loop around a trainer: bar, log, sample grids, checkpoints."""

    def __init__(self, trainer: Trainer, folder: Path, device: str) -> None:
        self.trainer, self.config, self.folder, self.device = trainer, trainer.config, folder, device

    def go(self, progress: bool) -> None:
        """From the first step to the last, and what is left behind at the end."""
        from tqdm import tqdm

        self.folder.mkdir(parents=True, exist_ok=True)
        _clear(self.folder)
        trainer, config = self.trainer, self.config
        with ExitStack() as stack:
            log = stack.enter_context((self.folder / "log.jsonl").open("w", encoding="utf-8"))
            bar = stack.enter_context(tqdm(total=trainer.total, unit="step", disable=not progress))
            losses: list[Tensor] = []
            since = start = time.perf_counter()
            while trainer.done < trainer.total:
                losses.append(trainer.step())
                bar.update()
                if trainer.done % config.log_every == 0 or trainer.done == trainer.total:
                    now = time.perf_counter()
                    line = self._line(losses, now - since, now - start)
                    _write_line(log, line)
                    bar.set_postfix(loss=f"{line['loss']:.4f}", pictures_per_s=f"{line['pictures_per_s']:.0f}")
                    losses, since = [], now
                self._at_step()
        self._finish()

    def _line(self, losses: list[Tensor], seconds: float, elapsed: float) -> dict[str, Any]:
        """One line of the log; a loss that is no number ends the run."""
        loss, done = float(torch.stack(losses).mean()), self.trainer.done
        if not math.isfinite(loss):
            raise ValueError(f"the loss is {loss} by step {done}: a lower learning rate or stronger clipping may help")
        return {
            "step": done,
            "loss": loss,
            "rate": self.trainer.optimizer.param_groups[0]["lr"],
            "pictures_per_s": round(len(losses) * self.config.batch_size / seconds, 1),
            "seconds": round(elapsed, 2),
        }

    def _at_step(self) -> None:
        done, last = self.trainer.done, self.trainer.done == self.trainer.total
        if not last and self.config.save_every and done % self.config.save_every == 0:
            self.save()
        if not last and self.config.sample_every and done % self.config.sample_every == 0:
            self.grid()

    def _finish(self) -> None:
        from noisepath import plots

        self.save()
        self.grid()
        plots.loss_curve(self.folder / "log.jsonl", self.folder / "loss.png")

    def save(self) -> None:
        """Model and state, each file written whole."""
        trainer = self.trainer
        info = ModelInfo(
            network=_unet(trainer.network).config.to_dict(),
            schedule=schedules.to_dict(trainer.objective.schedule),
            prediction=trainer.objective.prediction,
            sigma_data=trainer.objective.sigma_data,
            shape=trainer.dataset.shape,
            class_names=trainer.dataset.class_names,
            steps=trainer.done,
            training=self.config.to_dict(),
        )
        save_model(self.folder, trainer.ema.state_dict(), info)
        save_state(self.folder, *trainer.state())

    def grid(self, rows: int = 8, columns: int = 10) -> None:
        """A grid of samples of the averaged weights from fixed seeds; a column for each of the first ten classes."""
        from noisepath import plots
        from noisepath.denoiser import Condition
        from noisepath.sampling import sample

        trainer = self.trainer
        averaged = deepcopy(trainer.network).eval().requires_grad_(False)
        averaged.load_state_dict(trainer.ema.state_dict())
        objective, classes = trainer.objective, trainer.dataset.classes
        denoiser = Denoiser(
            averaged, objective.schedule, objective.prediction, sigma_data=objective.sigma_data, null=trainer.null
        )
        columns = min(columns, classes) if classes else 8
        labels = torch.arange(columns).repeat(rows)
        told = Condition(label=labels.to(self.device)) if classes else None
        pictures = sample(
            denoiser, (rows * columns, *trainer.dataset.shape), seed=self.config.seed, condition=told, device=self.device,
            progress=False,
        )  # fmt: skip
        plots.save_grid(pictures, self.folder / "samples" / f"{trainer.done:06d}.png", columns)


def _clear(folder: Path) -> None:
    """Remove what an earlier run left, and nothing else: its model and samples would be taken for this run's."""
    for name in ("config.json", "model.safetensors", "state.safetensors", "log.jsonl", "loss.png"):
        (folder / name).unlink(missing_ok=True)
    for grid in (folder / "samples").glob("[0-9]*.png"):
        grid.unlink()


def _unet(network: nn.Module) -> UNet:
    if not isinstance(network, UNet):
        raise TypeError(f"only the library's own U-Net can be stored, not {type(network).__name__}")
    return network


def _write_line(log: TextIO, values: dict[str, Any]) -> None:
    log.write(json.dumps(values) + "\n")
    log.flush()
