"""The loop around a trainer: bar, log, checkpoints, pictures on the way; and what happens when something goes wrong.

What people look at (grids, curves, the page) may fail without harm: a warning is said and training goes on.  A checkpoint
that can't be written is a warning too, the older ones stand, and :class:`Unsaved` at the end if the last one is missing.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from noisepath import page, schedules
from noisepath.conditions import Condition
from noisepath.data import Data, some
from noisepath.files import write_whole
from noisepath.training.checkpoint import (
    CHECKPOINTS,
    SNAPSHOTS,
    ModelInfo,
    newest,
    save_checkpoint,
    save_snapshot,
)
from noisepath.training.limit import Limits
from noisepath.training.plan import enough_memory
from noisepath.training.record import RunConfig
from noisepath.training.signals import Interrupted, Polite, polite
from noisepath.training.trainer import Diverged, Trainer
from noisepath.widths import data_scale

__all__ = ["Loop", "Unsaved", "cut_log", "empty"]

LOG = "log.jsonl"
MINUTES_BETWEEN_CHECKPOINTS = 5.0
PARTS = (16, 8, 4, 2)
"""Snapshots are kept at these parts of a run: 1/16, 1/8, 1/4, 1/2."""
WIDTH_OF = 512
"""Pictures that the data's width is measured on."""


class Unsaved(OSError):
    """The run has come to its end, but its last checkpoint could not be written."""

    exit_code = 3


class Loop:
    """A trainer on its way to its last step.

    ``values`` is what an earlier loop kept in its checkpoint, ``held_out`` are pictures whose captions the board asks for.
    """

    def __init__(
        self,
        trainer: Trainer,
        folder: Path,
        run: RunConfig,
        progress: bool,
        say: Callable[[str], None],
        values: Mapping[str, Any] | None = None,
        held_out: Data | None = None,
    ) -> None:
        self.trainer, self.folder, self.run, self.config = trainer, folder, run, trainer.config
        self.say, self.progress, self.main = say, progress, trainer.processes.is_main
        self.asked_of = trainer.data if held_out is None else held_out
        self.limits = Limits(trainer, held_out, self.config.limit)
        kept = values or {}
        self.losses: list[float] = [float(loss) for loss in kept.get("losses", [])]
        self.before = float(kept.get("seconds", 0.0))
        self.start = self.since = time.perf_counter()
        self.counted = trainer.done
        self.unsaved: str | None = None
        self.saved_at = trainer.done if values else -1
        self.unwritten = ""
        total = trainer.total
        self.snapshots = {round(total / part) for part in PARTS if total >= part}

    def begin(self) -> None:
        """The checkpoint of step 0: whatever is wrong with the disk is better known now (:class:`Unsaved`)."""
        self.save()
        if self.unsaved:
            raise Unsaved(self.unsaved)

    def go(self) -> None:
        """From the step that the trainer has come to until the last, and what is left behind at the end."""
        from tqdm import tqdm

        trainer = self.trainer
        shown = self.progress and self.main
        self.start = self.since = self.last_save = time.perf_counter()
        self.counted = trainer.done
        self._guard("the page", self._pictures)
        quiet = 0.1 if sys.stderr is not None and sys.stderr.isatty() else 10.0
        try:
            with (
                polite() as flag,
                tqdm(total=trainer.total, initial=trainer.done, unit="step", disable=not shown, mininterval=quiet) as bar,
            ):
                while trainer.done < trainer.total:
                    self._step()
                    bar.update()
                    if trainer.done % self.config.log_every == 0 or trainer.done == trainer.total:
                        line = self._log()
                        bar.set_postfix(loss=f"{line['loss'] or math.nan:.4f}", pictures_per_s=f"{line['pictures_per_s']:.0f}")
                    if self._asked_to_stop(flag):
                        self._stop(flag.signum)
                    self._at_step()
                self._finish()
        finally:
            trainer.close()

    def _step(self) -> None:
        trainer = self.trainer
        try:
            with enough_memory(trainer.network, tuple(trainer.data.shape), self.config, trainer.processes.count):
                step = trainer.step()
        except Diverged as error:
            raise self._given_up(error) from None
        if step.skipped:
            self.say(f"step {trainer.done}: the gradient is not finite; the step is skipped ({trainer.skipped} so far)")
        else:
            self.losses.append(step.loss)

    def _log(self) -> dict[str, Any]:
        """One line of the log: the mean loss since the last one (null if no step had one)."""
        trainer, now = self.trainer, time.perf_counter()
        made = trainer.done - self.counted  # in this process, since its last line or since it went on
        line = {
            "step": trainer.done,
            "loss": math.fsum(self.losses) / len(self.losses) if self.losses else None,
            "rate": trainer.optimizer.param_groups[0]["lr"],
            "skipped": trainer.skipped,
            "bad": len(trainer.bad.names()),
            "pictures_per_s": round(made * self.config.batch_size / (now - self.since), 1),
            "seconds": round(self.before + now - self.start, 2),
        }
        self.losses, self.since, self.counted = [], now, trainer.done
        if self.main:
            self.unwritten += json.dumps(line) + "\n"
            self._guard("the log", self._write_log)
        return line

    def _write_log(self) -> None:
        """Append what is not in the log yet; on a full disk it is kept and tried again with the next line."""
        path = self.folder / LOG
        size = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab") as log:
                log.write(self.unwritten.encode())
            self.unwritten = ""
        except OSError:
            if path.exists():
                os.truncate(path, size)  # no half lines
            raise

    def _at_step(self) -> None:
        done, last, config = self.trainer.done, self.trainer.done == self.trainer.total, self.config
        if last:
            return
        if done in self.snapshots:
            self._guard("a snapshot", self._snapshot)
        due = done % config.save_every == 0 if config.save_every else self._minutes_over()
        if due:
            self.save()
        if done % config.sample_every == 0 if config.sample_every else done in self.snapshots:
            self._guard("a grid of samples", self.grid)
            self._guard("the page", self._pictures)

    def _minutes_over(self) -> bool:
        over = time.perf_counter() - self.last_save > 60 * MINUTES_BETWEEN_CHECKPOINTS
        return bool(self.trainer.processes.from_main(over)) if self.trainer.processes.count > 1 else over

    def _asked_to_stop(self, flag: Polite) -> bool:
        """Whether any of the processes was sent a signal."""
        if self.trainer.processes.count == 1:
            return bool(flag.signum)
        return bool(self.trainer.processes.total(torch.tensor(float(flag.signum))) > 0)

    def _stop(self, signum: int) -> None:
        self.save()
        if self.unsaved:
            raise Unsaved(self.unsaved)
        done, total = self.trainer.done, self.trainer.total
        again = f"noisepath train --resume {shlex.quote(str(self.folder))}"
        raise Interrupted(signum or 2, f"stopped after step {done} of {total}; to go on: {again}")

    def _finish(self) -> None:
        self.save()
        if self.main and (greyed := getattr(self.trainer.data, "made_grey", 0)):
            self.say(f"{greyed} colour pictures were brought to grey, as the first ones looked at were")
        self._guard("a grid of samples", self.grid)
        self._guard("the board", self._board)
        self._guard("the page", self._pictures)
        if self.unsaved:
            raise Unsaved(self.unsaved)

    def save(self) -> None:
        """A checkpoint; if it can't be written, a warning with numbers, and the older ones stand."""
        trainer = self.trainer
        self.last_save = time.perf_counter()
        if not self.main or self.saved_at == trainer.done and not self.unsaved:
            return
        state = trainer.state()
        seconds = round(self.before + time.perf_counter() - self.start, 2)
        state = type(state)(state.network, state.optimizer, {**state.values, "losses": self.losses, "seconds": seconds})
        try:
            self._sync_log()
            estimate = self.limits.estimate
            save_checkpoint(
                self.folder, trainer.done, self._averages(), self._info(), state, self.run.identity, estimate=estimate
            )
            self.unsaved, self.saved_at = None, trainer.done
        except OSError as error:
            self.unsaved = self._cannot_save(error)
            self.say(self.unsaved)

    def _sync_log(self) -> None:
        """The log's lines must be on disk before a checkpoint that comes after them."""
        if self.unwritten:
            self._write_log()
        if (path := self.folder / LOG).exists():
            with path.open("rb+") as log:
                os.fsync(log.fileno())

    def _cannot_save(self, error: OSError) -> str:
        trainer = self.trainer
        weights = sum(p.numel() * p.element_size() for p in trainer.parameters)
        try:
            free = shutil.disk_usage(self.folder).free / 1e6
        except OSError:
            free = math.nan
        reason = error.strerror or str(error)
        return (
            f"the checkpoint of step {trainer.done} can't be written: {reason} (needed about {5 * weights / 1e6:.1f} MB, "
            f"free {free:.1f} MB in {str(self.folder)!r}); older ones stand"
        )

    def _averages(self) -> dict[str, Mapping[str, torch.Tensor]]:
        return {name: average.state_dict() for name, average in self.trainer.averages.items()}

    def _snapshot(self) -> None:
        if self.main:
            save_snapshot(
                self.folder, self.trainer.done, self._averages(), self._info(), self.run.identity, self.limits.estimate
            )

    def _info(self) -> ModelInfo:
        trainer, objective = self.trainer, self.trainer.objective
        return ModelInfo(
            network=trainer.network.config.to_dict(),  # type: ignore[union-attr,operator]
            schedule=schedules.to_dict(objective.schedule),
            prediction=objective.prediction,
            sigma_data=objective.sigma_data,
            shape=tuple(trainer.data.shape),
            class_names=tuple(trainer.data.class_names) if trainer.vocabulary.classes else (),
            vocabulary=tuple(trainer.vocabulary.others),
            mean=float(trainer.data.mean),
            data_scale=self._data_scale,
            preconditioning=objective.preconditioning,
            limit=self.limits.to_dict(),
            steps=trainer.done,
            training=self.config.to_dict(),
        )

    @cached_property
    def _data_scale(self) -> float | None:
        pictures = some(self.trainer.data, WIDTH_OF)
        return data_scale(pictures) if len(pictures) > 1 else None

    def _guard(self, what: str, do: Callable[[], None]) -> None:
        """Something that training can go on without."""
        try:
            do()
        except Exception as error:
            self.say(f"{what} can't be made: {' '.join(str(error).split()) or type(error).__name__}; training goes on")

    def grid(self, rows: int = 8, columns: int = 10) -> None:
        """A grid of samples of the averaged weights from fixed seeds: a column for each of the first ten classes, or, where the
        network is told more, for each of ten training pictures whose conditions are asked for."""
        if not self.main:
            return
        from noisepath import plots
        from noisepath.sampling import Options, sampled

        trainer, data, device = self.trainer, self.trainer.data, str(self.trainer.device)
        denoiser = self.limits.denoiser()
        columns, told = self._asked(rows, columns)
        # without a word on samples far outside of the data: what a network draws that has just begun is no surprise
        options: Options = {"seed": self.config.seed, "condition": told, "device": device}
        pictures = sampled(denoiser, (rows * columns, *data.shape), options)
        plots.save_grid(pictures, self.folder / "samples" / f"{trainer.done:06d}.png", columns)

    def _asked(self, rows: int, columns: int) -> tuple[int, Condition | None]:
        """How many columns the grid has, and what is asked for in them."""
        trainer, classes = self.trainer, self.trainer.vocabulary.classes
        if not trainer.vocabulary:
            return 8, None
        if not trainer.vocabulary.others:
            columns = min(columns, classes)
            return columns, Condition(label=torch.arange(columns).repeat(rows).to(trainer.device))
        columns = min(columns, len(trainer.data))
        spread = torch.linspace(0, len(trainer.data) - 1, columns).long().repeat(rows)
        return columns, trainer.condition(spread.tolist())

    def _board(self) -> None:
        """Prompts by guidance scales by seeds of the model that was saved; a short run has none."""
        if not self.main or self.unsaved:
            return
        from noisepath.training.board import last_board

        trainer, shown = self.trainer, self.trainer.total * self.config.batch_size
        last_board(self.folder, self.asked_of, shown, trainer.vocabulary, str(trainer.device))

    def _pictures(self) -> None:
        """The curve, and the page with all there is."""
        if not self.main:
            return
        from noisepath import plots

        if (self.folder / LOG).exists():
            plots.loss_curve(self.folder / LOG, self.folder / "loss.png")
        if found := self.limits.measured:
            plots.limit_figure(found, self.folder / "limit.png")
        page.write(self.folder)

    def _given_up(self, error: Diverged) -> ValueError:
        """The error of a run that diverged, with the last checkpoint; the pictures' names go to a file too."""
        if self.main:
            self._guard("the list of pictures", lambda: _write_names(self.folder / "diverged.json", error.names))
        try:
            good = f"the last good checkpoint is {str(newest(self.folder, self.run.identity).folder)!r}"
        except (OSError, ValueError):
            good = "there is no checkpoint"
        return ValueError(f"{error}; {good}")


def cut_log(folder: Path, done: int) -> None:
    """Keep the log's lines up to a step: those of steps that are made again would stand there twice."""
    path = folder / LOG
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().split(b"\n"):
        try:
            if line and json.loads(line)["step"] <= done:
                kept.append(line + b"\n")
        except (ValueError, KeyError, TypeError):
            continue  # cut off in the middle by whatever ended the run
    with write_whole(path) as part:
        part.write_bytes(b"".join(kept))


def empty(folder: Path) -> None:
    """Remove what an earlier run left, and nothing else: its models and pictures would be taken for this run's."""
    for root in (CHECKPOINTS, SNAPSHOTS, "evaluation", "board", "edits"):
        shutil.rmtree(folder / root, ignore_errors=True)
    for grid in (folder / "samples").glob("[0-9]*.png"):
        grid.unlink()
    for name in ("data.json", LOG, "loss.png", "limit.png", "index.html", "diverged.json", "plan.json", "run.toml"):
        (folder / name).unlink(missing_ok=True)


def _write_names(path: Path, names: tuple[str, ...]) -> None:
    with write_whole(path) as part:
        part.write_text(json.dumps({"pictures": names}, indent=1) + "\n", encoding="utf-8")
