"""The figure of ``noisepath guidance``: rows are methods, columns are scales; points over a known density, pictures beside."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from noisepath import plots
from noisepath._lazy import torch
from noisepath.guiding import METHODS, Guided, mixture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

__all__ = ["guidance_figure"]

_REACH = 1.5
SHOWN = 8
"""How many pictures of each method and scale are drawn."""


def guidance_figure(points: Sequence[Guided], pictures: Sequence[Guided], path: str | os.PathLike[str]) -> Path:
    """A PNG of what :func:`noisepath.guiding.guide_mixture` and ``guide_model`` gave, for the same methods and scales.

    ``pictures`` that are no pictures by their shape are left out.  Over each scatter stand the share of points that are read as
    asked and the Frechet distance from the class; in blue the class's true density, in grey the other's.
    """
    every = [*pictures, *points]
    if not every:
        raise ValueError("there is no guidance to draw")
    names, scales = list(dict.fromkeys(one.method for one in every)), list(dict.fromkeys(one.scale for one in every))
    shown = {(one.method, one.scale): one for one in pictures if one.made.ndim == 4 and one.made.shape[1] in (1, 3)}
    parts = 2 if shown else 1
    figure = plots._figure(0.4 + 1.9 * len(scales) * (1.8 if shown else 1.0), 0.5 + 1.8 * len(names))
    axes = figure.subplots(len(names), parts * len(scales), squeeze=False, width_ratios=[1.0, 0.9][:parts] * len(scales))
    densities, plane = _densities(), {(one.method, one.scale): one for one in points}
    for row, name in enumerate(names):
        for column, scale in enumerate(scales):
            ax = axes[row, parts * column]
            _scatter(ax, plane.get((name, scale)), densities)
            if not row:
                ax.set_title(f"scale {scale:g}\n{ax.get_title()}", fontsize=8)
            if shown:
                _beside(axes[row, parts * column + 1], shown.get((name, scale)))
        axes[row, 0].set_ylabel("\n".join([name, *textwrap.wrap(METHODS[name].about, 26)]), fontsize=6.5)
    return plots._save_figure(figure, path)


def _densities(side: int = 80) -> tuple[Tensor, list[Tensor]]:
    """Places along an axis, and each class's density over the square of them, its highest being 1."""
    along = torch.linspace(-_REACH, _REACH, side, dtype=torch.float64)
    grid = torch.cartesian_prod(along, along)
    data = mixture()
    made = []
    for k in range(data.components):
        about = (grid - data.means[k]) @ data.axes[k]
        made.append(torch.exp(-0.5 * (about.square() / data.variances[k]).sum(1)).view(side, side).T)
    return along, made


def _scatter(ax: Axes, one: Guided | None, densities: tuple[Tensor, list[Tensor]]) -> None:
    """Points over the densities of both classes; none where the method has no meaning for points."""
    ax.set_xticks([])
    ax.set_yticks([])
    if one is None:
        ax.text(0.5, 0.5, "for pictures only", ha="center", va="center", fontsize=7, transform=ax.transAxes)
        return
    along, (asked, other) = densities
    places = along.numpy()
    levels = [0.011, 0.135, 0.607, 1.0]  # three, two and one standard deviations
    ax.contourf(places, places, asked.numpy(), levels=levels, cmap="Blues", alpha=0.7)
    ax.contour(places, places, other.numpy(), levels=levels[:3], colors="0.75", linewidths=0.7)
    x, y = one.made.clamp(-_REACH, _REACH).T.numpy()  # one that is far out is seen at the edge
    ax.plot(x, y, ".", color="tab:red", markersize=1.6, alpha=0.6)
    ax.set_title(f"{100 * one.figures['read_as_asked']:.0f} % read, Frechet {one.figures['frechet']:.2g}", fontsize=7)
    ax.set_aspect("equal")


def _beside(ax: Axes, one: Guided | None) -> None:
    """Pictures in a block; above, their contrast, and the share that is read as asked where somebody reads."""
    ax.set_axis_off()
    if one is None:
        return
    ax.imshow(plots._grid(one.made[:SHOWN], 3 if len(one.made) < 7 else 4, 1, gap=1), cmap="gray", vmin=0, vmax=255,
              interpolation="nearest")  # fmt: skip
    read = one.figures.get("read_as_asked")
    told = f"contrast {one.figures['contrast']:.2f}" + ("" if read is None else f", {100 * read:.0f} % read")
    ax.set_title(told, fontsize=7)
