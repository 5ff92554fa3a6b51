"""The pictures of a report: samples by class, the loss by noise level, samples beside their nearest training pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noisepath._lazy import torch
from noisepath.evaluation.neighbours import nearest
from noisepath.evaluation.pictures import read
from noisepath.files import write_whole
from noisepath.plots import save_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

    from noisepath.data.dataset import Data
    from noisepath.evaluation.heldout import Mean
    from noisepath.evaluation.judging import Drawn
    from noisepath.evaluation.report import LevelLoss, SampleSet
    from noisepath.evaluation.space import Space

__all__ = ["loss_by_level", "neighbours", "sample_grid"]


def sample_grid(drawn: Drawn, train: Data, path: Path, rows: int = 8, columns: int = 10) -> Path:
    """Samples as a PNG: a column for each of the first ten classes that were asked for (eight columns if there are none)."""
    about = {name: value for name, value in vars(drawn.sampling).items()}
    if drawn.labels is None:
        return save_grid(drawn.pictures[: rows * 8], path, columns=8, about=about)
    counts = torch.bincount(drawn.labels, minlength=train.classes)
    shown = [label for label, count in enumerate(counts.tolist()) if count][:columns]
    rows = min(rows, *(int(counts[label]) for label in shown), rows)
    by_class = torch.stack([drawn.pictures[drawn.labels == label][:rows] for label in shown], dim=1)
    names = ", ".join(train.class_names[label] for label in shown)
    return save_grid(by_class.flatten(0, 1), path, columns=len(shown), about={**about, "classes": names})


def loss_by_level(losses: Sequence[LevelLoss], path: Path) -> Path:
    """The relative error over the log-SNR, with two standard errors to either side, as a PNG."""
    figure = _figure(7, 3.8)
    ax = figure.add_subplot()
    _curve(ax, losses, [loss.training for loss in losses], "training pictures", "tab:gray", "o")
    _curve(ax, losses, [loss.held_out for loss in losses], "held-out pictures", "tab:blue", "s")
    ax.set_xlabel("log-SNR: from noise to data")
    ax.set_ylabel("error / that of Gaussian values")
    ax.set_yscale("log")
    for place in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
        place("{x:g}")
    ax.grid(alpha=0.3, which="both")
    ax.legend(fontsize=8)
    return _save(figure, path)


def _curve(ax: Axes, losses: Sequence[LevelLoss], means: Sequence[Mean | None], label: str, colour: str, mark: str) -> None:
    found = [(loss, mean) for loss, mean in zip(losses, means, strict=True) if mean is not None]
    if found:
        x = [loss.log_snr for loss, _ in found]
        y = [mean.value / loss.gaussian for loss, mean in found]
        spread = [2 * mean.standard_error / loss.gaussian for loss, mean in found]
        ax.errorbar(x, y, yerr=spread, label=label, color=colour, marker=mark, markersize=3, linewidth=1.2, capsize=2)


def neighbours(found: SampleSet, pictures: Tensor, train: Data, path: Path, space: Space | None = None, count: int = 8) -> Path:
    """Samples above, the training pictures nearest to them below: in pixels, and in a feature space if one is given.

    The first block has the samples that are most likely copies, the second the first samples that were drawn.  What counts
    as a copy is marked.
    """
    suspects = [suspect.sample for suspect in found.suspects][:count]
    others = [k for k in range(len(pictures)) if k not in suspects][:count]
    copied = {suspect.sample for suspect in found.suspects if suspect.copied}
    blocks = [("most like one training picture", suspects), ("the first that were drawn", others)]
    blocks = [(title, chosen) for title, chosen in blocks if chosen]
    spaces = [None] if space is None else [None, space]
    rows = 1 + len(spaces)
    figure = _figure(1.15 * count + 0.9, (1.15 * rows + 0.35) * len(blocks))
    parts: Any = figure.subfigures(len(blocks), 1, squeeze=False)
    for part, (title, chosen) in zip(parts[:, 0], blocks, strict=True):
        part.suptitle(f"samples: {title}", fontsize=9)
        axes = part.subplots(rows, count, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        shown = pictures[chosen]
        _row(axes[0], shown, "sample", ["a copy" if k in copied else "" for k in chosen])
        for row, where in zip(axes[1:], spaces, strict=True):
            near = nearest(shown, train, where)
            named = "nearest,\npixels" if where is None else f"nearest,\n{where.name}"
            _row(row, torch.cat([read(train, [int(k)])[0] for k in near.index[:, 0]]), named, [""] * len(shown))
    return _save(figure, path)


def _row(axes: Sequence[Axes], pictures: Tensor, name: str, marks: Sequence[str]) -> None:
    """Pictures side by side, without ticks; the row's name at its left."""
    for ax, picture, mark in zip(axes, pictures, marks, strict=False):
        values = np.moveaxis((picture.numpy() + 1) / 2, 0, -1).clip(0, 1)
        ax.set_axis_on()
        ax.imshow(values[..., 0] if values.shape[-1] == 1 else values, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        ax.set_xticks([])
        ax.set_yticks([])
        if mark:
            ax.set_title(mark, fontsize=8, color="tab:red")
    axes[0].set_ylabel(name, fontsize=8)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _save(figure: Any, path: Path) -> Path:
    with write_whole(path) as part:
        figure.savefig(part, format="png")
    return path
