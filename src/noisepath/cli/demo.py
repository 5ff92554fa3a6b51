"""``noisepath demo``: from nothing to new pictures of digits, with honest figures, in a few minutes on a CPU.

Trains on scikit-learn's 1,797 digits, draws as many new ones of the same classes, and 1,000 with guidance, and judges them
as :mod:`noisepath.evaluation` says.  The run's folder then holds the model and

    index.html  unguided.png  guided.png  trajectory.png  noise-to-data.gif  schedule.png  loss.png  report.json
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from noisepath import plots
from noisepath.cli.options import Demo
from noisepath.conditions import Condition
from noisepath.data import digits
from noisepath.evaluation import DigitsJudge, DigitsReport
from noisepath.files import write_whole
from noisepath.guidance import classifier_free
from noisepath.sampling import sample, trajectory
from noisepath.training import TrainConfig, train
from noisepath.training.allocator import keep_freed_memory

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.denoiser import Denoise, Denoiser

__all__ = ["run"]


def run(command: Demo) -> None:
    """Train, sample, judge, draw; then say what came out and where it is."""
    start = time.perf_counter()
    keep_freed_memory()
    dataset = digits()
    labels = _labels(dataset.labels, command.samples)
    print(f"training on {len(dataset)} digits of 8 x 8 pixels")
    config = TrainConfig(minutes=command.minutes, steps=command.steps, seed=command.seed)
    denoiser = train(dataset, command.out, config, overwrite=True)
    trained = time.perf_counter()
    fewer = labels[:1000]
    print(f"drawing {len(labels)} new ones, then {len(fewer)} with guidance {command.guidance:g}")
    guided = classifier_free(denoiser, command.guidance)
    judge = DigitsJudge(dataset)
    reports = {}
    for name, model, asked in (("unguided", denoiser, labels), ("guided", guided, fewer)):
        pictures = _draw(model, denoiser, asked, command.seed)
        reports[name] = judge.report(pictures, asked)
        _save_by_class(pictures, asked, command.out / f"{name}.png")
    _draw_a_run(command, denoiser, guided)
    figures = {
        "training": {"minutes": round((trained - start) / 60, 2), "steps": denoiser.info["steps"]},
        "real": {"read": judge.real_read()},
        **{name: asdict(report) for name, report in reports.items()},
        "seconds": round(time.perf_counter() - start, 1),
    }
    with write_whole(command.out / "report.json") as part:
        part.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    _tell(command.out, figures, reports)


def _labels(real: Tensor | None, count: int) -> Tensor:
    """The classes of the first real digits: new ones are asked for in the real ones' proportions."""
    assert real is not None
    if not 20 <= count <= len(real):
        raise ValueError(f"samples must be from 20 to {len(real)}, the number of real digits, but is {count}")
    return real[:count]


def _draw(denoiser: Denoise, model: Denoiser, labels: Tensor, seed: int) -> Tensor:
    shape = (len(labels), *model.info["shape"])
    return sample(denoiser, shape, seed=seed, condition=Condition(label=labels), batch_size=256, progress=True)


def _save_by_class(pictures: Tensor, labels: Tensor, path: Path, rows: int = 8) -> None:
    """The first ``rows`` of each digit (as many as every digit has), a column for each digit."""
    rows = min(rows, int(torch.bincount(labels, minlength=10).min()))
    by_class = torch.stack([pictures[labels == digit][:rows] for digit in range(10)], dim=1)
    plots.save_grid(by_class.flatten(0, 1), path, columns=10, scale=6)


def _draw_a_run(command: Demo, denoiser: Denoiser, guided: Denoise) -> None:
    """A run in pictures and as an animation, and the path that was learned."""
    shape = (20, *denoiser.info["shape"])
    told = Condition(label=torch.arange(10).repeat(2))
    made = trajectory(guided, shape, seed=command.seed, condition=told, steps=32)
    plots.save_gif(plots.visible(made), command.out / "noise-to-data.gif", columns=10, scale=6)
    plots.trajectory_figure(made, command.out / "trajectory.png", pictures=3)
    plots.schedule_figure({"edm": denoiser.schedule}, command.out / "schedule.png", digits().pictures[:1])


def _tell(out: Path, figures: dict[str, Any], reports: dict[str, DigitsReport]) -> None:
    files = {
        "index.html": "the run on one page: open it in a browser",
        "unguided.png": "new digits, a column for each",
        "guided.png": "the same with guidance",
        "trajectory.png": "noise becoming digits, and the model's belief on the way",
        "noise-to-data.gif": "the same as an animation",
        "schedule.png": "how a digit is destroyed",
        "loss.png": "the loss over the training",
        "report.json": "the figures below",
    }
    print()
    for name, what in files.items():
        print(f"{out / name!s:40} {what}")
    real = figures["real"]["read"]
    print(f"\n{'':44}{'unguided':>9}{'guided':>9}{'real':>9}")
    rows = {
        "read as the digit asked for": ("read_as_asked", "{:.1%}", real),
        "Frechet distance / that of two real halves": ("frechet_ratio", "{:.2f}", 1.0),
        "distance to the nearest real digit / theirs": ("nearest_ratio", "{:.2f}", 1.0),
    }
    for what, (name, form, of_real) in rows.items():
        values = [getattr(report, name) for report in reports.values()] + [of_real]
        print(f"{what:44}" + "".join(f"{form.format(value):>9}" for value in values))
    training = figures["training"]
    print(f"\n{training['steps']} steps in {training['minutes']} minutes; all of it in {figures['seconds']:.0f} s")
