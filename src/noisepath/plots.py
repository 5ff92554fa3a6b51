"""Pictures for people: grids, animations, schedules side by side, a run with the denoiser's belief, loss curves.

What enters: pictures ``x: (N, C, H, W)`` with C = 1 (grey) or 3 (colour) and values in [-1, 1], as torch tensors or
numpy arrays.  A value beyond the range is shown as black or white.  What leaves: a file, written whole under its name
(beside it first, then renamed), and its path as the return value.  Nothing here needs a display.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noisepath._lazy import torch
from noisepath.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from torch import Tensor

    from noisepath.comparing import Comparison, Entry
    from noisepath.limit import Limit
    from noisepath.sampling import Trajectory
    from noisepath.schedules import Schedule

__all__ = [
    "comparison_figure", "loss_curve", "save_gif", "save_grid", "save_pictures", "schedule_figure", "trajectory_figure",
    "visible",
]  # fmt: skip

_PAGE = 235  # the grey between pictures: seen beside black and beside white


def _pixels(pictures: Tensor | np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(N, C, H, W) in [-1, 1] -> (N, H, W, 3 or 1) of 0..255, each value rounded to the nearest."""
    values = np.asarray(pictures.detach().cpu().float() if hasattr(pictures, "detach") else pictures, dtype=np.float32)
    if values.ndim != 4 or values.shape[1] not in (1, 3):
        raise ValueError(f"pictures must be (N, 1 or 3, H, W), but their shape is {values.shape}")
    if not len(values):
        raise ValueError("there is no picture to show: the batch is empty")
    if not np.isfinite(values).all():
        raise ValueError("pictures hold NaN or infinite values, which can't be shown")
    return np.moveaxis(np.rint((values.clip(-1, 1) + 1) * 127.5), 1, -1).astype(np.uint8)


def _whole_number(name: str, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{name} must be a whole number >= 1, but is {value!r}")


def _grid(pictures: Tensor | np.ndarray[Any, Any], columns: int | None, scale: int | None, gap: int = 2) -> Image:
    """Pictures in rows, each enlarged ``scale`` times without smoothing."""
    from PIL import Image

    _whole_number("columns", columns)
    _whole_number("scale", scale)
    pixels = _pixels(pictures)
    count, height, width, channels = pixels.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    scale = scale or max(1, round(64 / max(height, width)))
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale, width * scale
    page = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), _PAGE, dtype=np.uint8)
    for i, picture in enumerate(pixels):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        page[top : top + height, left : left + width] = picture
    return Image.fromarray(page[..., 0] if channels == 1 else page)


def _save_png(image: Image, path: str | os.PathLike[str], about: Mapping[str, object] | None) -> Path:
    from PIL.PngImagePlugin import PngInfo

    told = PngInfo()
    for name, value in (about or {}).items():
        told.add_text(name, str(value))
    with write_whole(path) as part:
        image.save(part, format="PNG", pnginfo=told)
    return Path(path)


def save_grid(
    pictures: Tensor | np.ndarray[Any, Any],
    path: str | os.PathLike[str],
    columns: int | None = None,
    scale: int | None = None,
    about: Mapping[str, object] | None = None,
) -> Path:
    """Pictures (N, C, H, W) in [-1, 1] as one PNG, row by row.

    ``columns`` is the length of a row (near a square if not given), ``scale`` the whole number of times that each
    picture is enlarged (to about 64 pixels if not given), ``about`` is written into the file as text (seed, ...).
    """
    return _save_png(_grid(pictures, columns, scale), path, about)


def save_pictures(
    pictures: Tensor | np.ndarray[Any, Any],
    folder: str | os.PathLike[str],
    about: Sequence[Mapping[str, object]] | None = None,
) -> list[Path]:
    """Pictures (N, C, H, W) in [-1, 1] as PNG files of their own size: ``folder/00000.png``, ``00001.png``, ...

    ``about`` has, for each picture, what is written into its file as text (seed, class, ...).
    """
    from PIL import Image

    pixels = _pixels(pictures)
    if about is not None and len(about) != len(pixels):
        raise ValueError(f"there are {len(about)} texts for {len(pixels)} pictures")
    images = [Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture) for picture in pixels]
    return [
        _save_png(image, Path(folder) / f"{i:05d}.png", about[i] if about is not None else None)
        for i, image in enumerate(images)
    ]


def save_gif(
    frames: Sequence[Tensor | np.ndarray[Any, Any]] | Tensor | np.ndarray[Any, Any],
    path: str | os.PathLike[str],
    columns: int | None = None,
    scale: int | None = None,
    milliseconds: int = 80,
    hold: int = 1500,
) -> Path:
    """An animation that repeats: each frame (N, C, H, W) in [-1, 1] is a grid; the last is held ``hold`` ms longer."""
    images = [_few_colours(_grid(frame, columns, scale)) for frame in frames]
    if not images:
        raise ValueError("an animation needs at least one frame")
    durations = [milliseconds] * (len(images) - 1) + [milliseconds + hold]
    with write_whole(path) as part:
        images[0].save(part, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return Path(path)


def _few_colours(image: Image, greys: int = 32, colours: int = 128) -> Image:
    """With a short palette, which keeps an animation small, and without dithering, so that still parts stay still."""
    from PIL.Image import Dither, fromarray

    if image.mode != "L":
        return image.quantize(colours, dither=Dither.NONE)
    indexed = fromarray(np.rint(np.asarray(image) * ((greys - 1) / 255)).astype(np.uint8), mode="P")
    indexed.putpalette(np.repeat(np.rint(np.linspace(0, 255, greys)).astype(np.uint8), 3).tobytes())
    return indexed


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    with write_whole(path) as part:
        figure.savefig(part, format="png")
    return Path(path)


def _show(axes: Axes, picture: np.ndarray[Any, Any]) -> None:
    """One picture (H, W, 1 or 3) of 0..255, without ticks."""
    axes.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def _landscape(size: int = 32) -> Tensor:
    """A picture to destroy, (1, 3, size, size): an evening sky, a sun, two ranges of hills."""
    y, x = np.mgrid[0:1:size * 1j, 0:1:size * 1j]
    picture = np.stack([0.35 + 0.65 * y, 0.3 + 0.35 * y, 0.75 - 0.3 * y])
    layers = [
        ((x - 0.68) ** 2 + (y - 0.38) ** 2 < 0.015, (1.0, 0.93, 0.6)),
        (y > 0.62 + 0.1 * np.sin(5 * x + 1) + 0.04 * np.sin(17 * x), (0.35, 0.3, 0.5)),
        (y > 0.76 + 0.08 * np.sin(7 * x + 4), (0.12, 0.3, 0.22)),
    ]
    for where, colour in layers:
        picture[:, where] = np.array(colour)[:, None]
    return torch.as_tensor(picture * 2 - 1, dtype=torch.float32)[None]


def _named(schedules: Mapping[str, Schedule] | Iterable[str]) -> dict[str, Schedule]:
    """Schedules by name, made from their names where only those are given."""
    from noisepath.schedules import schedule

    named = dict(schedules) if isinstance(schedules, Mapping) else {name: schedule(name) for name in schedules}
    if not named:
        raise ValueError("there is no schedule to draw")
    return named


def _run_times(schedule: Schedule, count: int) -> Tensor:
    """``count`` times from t_min to t_max: a table's own whole times, even ones, or (sigma from 0 on) even in log t."""
    if schedule.num_timesteps is not None:
        return schedule.entries(torch.linspace(0, schedule.num_timesteps - 1, count, dtype=torch.float64).round())
    if math.isinf(schedule.t_high):
        return torch.logspace(math.log10(schedule.t_min), math.log10(schedule.t_max), count, dtype=torch.float64)
    return torch.linspace(schedule.t_min, schedule.t_max, count, dtype=torch.float64)


def _betas(schedule: Schedule) -> np.ndarray[Any, Any] | None:
    """beta_t = 1 - alpha_bar_t / alpha_bar_(t-1) of a table on a variance-preserving path, else None."""
    if schedule.num_timesteps is None or schedule.scaling != "preserving":
        return None
    times = schedule.entries(torch.arange(schedule.num_timesteps))
    log_alpha_bar = torch.nn.functional.logsigmoid(schedule.log_snr(times))
    earlier = times[:1] - 1  # a stretch begins after other entries of its table, and of half a step there is no beta
    if float(earlier) < schedule.t_low:
        before_first = log_alpha_bar.new_zeros(1)
    else:
        before_first = torch.nn.functional.logsigmoid(schedule.log_snr(earlier))
    before = torch.cat([before_first, log_alpha_bar[:-1]])
    return np.asarray(-torch.expm1(log_alpha_bar - before))


def schedule_figure(
    schedules: Mapping[str, Schedule] | Iterable[str],
    path: str | os.PathLike[str],
    picture: Tensor | None = None,
    columns: int = 11,
) -> Path:
    """Schedules side by side, by name or as a mapping from label to schedule, as a PNG.

    Above: alpha_bar = alpha^2 / (alpha^2 + sigma^2), log-SNR and, where there are tables, their beta, over the run from data
    to noise.
    Below: a picture (1, C, H, W) in [-1, 1] being destroyed by each, with one and the same noise, at ``columns``
    moments (even in t; in log t where t is sigma), divided by sqrt(alpha^2 + sigma^2) to be seen on every path.
    """
    named = _named(schedules)
    _whole_number("columns", columns)
    height = 1.25 * len(named)
    figure = _figure(12, 3.2 + height)
    parts = figure.add_gridspec(2, 1, height_ratios=[3.2, height])
    panels = 2 + any(_betas(schedule) is not None for schedule in named.values())
    _schedule_curves(figure.add_subfigure(parts[0]).subplots(1, panels), named)
    picture = _landscape() if picture is None else picture
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    axes = figure.add_subfigure(parts[1]).subplots(len(named), columns, squeeze=False)
    for row, (name, schedule) in zip(axes, named.items(), strict=True):
        _destroy(row, schedule, _run_times(schedule, columns), picture.float(), noise)
        row[0].set_ylabel(name, fontsize=9)
    return _save_figure(figure, path)


def _schedule_curves(axes: Sequence[Axes], named: Mapping[str, Schedule]) -> None:
    for name, schedule in named.items():
        log_snr = schedule.log_snr(_run_times(schedule, 401))
        share = np.linspace(0, 1, len(log_snr))
        axes[0].plot(share, torch.sigmoid(log_snr), label=name)
        axes[1].plot(share, torch.where(torch.isfinite(log_snr), log_snr, torch.nan), label=name)
        if len(axes) > 2:
            betas = _betas(schedule)
            # a name without betas still takes its colour, so that one colour is one schedule in all three
            axes[2].plot([] if betas is None else np.linspace(0, 1, len(betas)), [] if betas is None else betas)
    for ax, title in zip(axes, ("alpha_bar (share of the signal)", "log-SNR", "beta (tables)"), strict=False):
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("from data to noise", fontsize=8)
        ax.grid(alpha=0.3)
    if len(axes) > 2:
        axes[2].set_yscale("log")
    axes[0].legend(fontsize=8)


def _destroy(row: Sequence[Axes], schedule: Schedule, times: Tensor, picture: Tensor, noise: Tensor) -> None:
    alpha, sigma = schedule.alpha_sigma(times)
    for ax, t, a, s in zip(row, times.tolist(), alpha.tolist(), sigma.tolist(), strict=True):
        _show(ax, _pixels((a * picture + s * noise) / math.hypot(a, s))[0])
        ax.set_xlabel(f"t = {t:.3g}", fontsize=7)


def visible(trajectory: Trajectory) -> list[Tensor]:
    """The states of a run, each divided by sqrt(alpha^2 + sigma^2), so that noise is seen alike on every path."""
    levels, states = trajectory.levels, trajectory.states
    return [x / math.hypot(level.alpha, level.sigma) for level, x in zip(levels, states, strict=True)]


def trajectory_figure(
    trajectory: Trajectory, path: str | os.PathLike[str], pictures: int = 2, columns: int = 11
) -> Path:
    """A run as a PNG: for each of the first ``pictures``, x_t above and what the denoiser believes the picture is below.

    ``columns`` moments are shown, spread evenly over the run, its first and last among them; where the denoiser was not
    asked (at the end) the state stands for its belief.  States are shown as :func:`visible` makes them.
    """
    _whole_number("pictures", pictures)
    _whole_number("columns", columns)
    count, states = len(trajectory.states), visible(trajectory)
    moments = sorted({round(i) for i in np.linspace(0, count - 1, min(columns, count))})
    pictures = min(pictures, len(states[0]))
    figure = _figure(1.1 * len(moments), 1.1 * 2 * pictures + 0.5)
    axes = figure.subplots(2 * pictures, len(moments), squeeze=False)
    for column, moment in enumerate(moments):
        belief = trajectory.beliefs[moment]
        above, below = _pixels(states[moment]), _pixels(states[moment] if belief is None else belief)
        for i in range(pictures):
            _show(axes[2 * i, column], above[i])
            _show(axes[2 * i + 1, column], below[i])
        axes[0, column].set_title(f"log-SNR {trajectory.levels[moment].log_snr:.1f}", fontsize=7)
    for i in range(pictures):
        axes[2 * i, 0].set_ylabel("$x_t$", fontsize=9)
        axes[2 * i + 1, 0].set_ylabel("belief", fontsize=9)
    return _save_figure(figure, path)


def comparison_figure(comparison: Comparison, path: str | os.PathLike[str], median: bool = False) -> Path:
    """Solvers side by side as a PNG: the distance from the reference over the calls, both logarithmic, and the pictures.

    A row of pictures for each solver and number of calls, all of the same noise, below those of the reference; they are left
    out where none were kept, or they are no pictures.  Below the dotted line the reference is not known better.  ``median``
    draws the median of the pictures' distances in place of the root mean square over all.
    """
    rows = _picture_rows(comparison)
    figure = _figure(6.5 + (0 if rows is None else 2.0 + 0.5 * rows[1]), max(4.2, 0 if rows is None else 0.45 * len(rows[0])))
    if rows is None:
        _distance_curves(figure.add_subplot(), comparison, median)
        return _save_figure(figure, path)
    parts = figure.add_gridspec(1, 2, width_ratios=[6.5, 2.0 + 0.5 * rows[1]])
    _distance_curves(figure.add_subfigure(parts[0]).add_subplot(), comparison, median)
    _show_rows(figure.add_subfigure(parts[1]).add_subplot(), *rows)
    return _save_figure(figure, path)


def _show_rows(ax: Axes, labels: Sequence[str], columns: int, pictures: Tensor, gap: int = 2) -> None:
    """Pictures row by row, each row with its name at the left."""
    ax.imshow(_grid(pictures, columns, 1, gap), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    height = pictures.shape[-2] + gap
    ax.set_yticks([gap + row * height + (height - gap - 1) / 2 for row in range(len(labels))], labels, fontsize=8)
    ax.set_xticks([])
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


def _distance_curves(ax: Axes, comparison: Comparison, median: bool) -> None:
    """A line for each solver, spacing and guidance; those that draw noise have none."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for entry in comparison.entries:
        distance = entry.median if median else entry.rmse
        if distance is not None and distance > 0:
            lines.setdefault(_line_name(comparison, entry), []).append((entry.calls, distance))
    for number, (name, points) in enumerate(lines.items()):
        ax.plot(*zip(*sorted(points), strict=True), marker="os^Dv"[number // 10 % 5], markersize=4, label=name)
    for reference in comparison.references:
        if reference.moved:
            ax.axhline(reference.moved, color="0.6", linewidth=1, linestyle=":")
    ax.set_xscale("log")
    ax.set_yscale("log")
    counts = _apart({calls for points in lines.values() for calls, _ in points})
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("calls of the denoiser")
    ax.set_ylabel("distance from the reference (RMS)" + (", median picture" if median else ""))
    ax.grid(alpha=0.3, which="both")
    if lines:
        ax.legend(fontsize=8)
    else:
        ax.set_title("solvers that draw noise have no distance from one path", fontsize=9)


def _apart(counts: Iterable[int], least: float = 1.12) -> list[int]:
    """Those whose names do not touch on a logarithmic axis: from the largest down, each well below the one before."""
    kept: list[int] = []
    for count in sorted(counts, reverse=True):
        if not kept or count * least <= kept[-1]:
            kept.append(count)
    return kept


def _line_name(comparison: Comparison, entry: Entry) -> str:
    one_spacing = len({other.spacing for other in comparison.entries}) == 1
    scale = f", guidance {entry.guidance:g}" if len(comparison.references) > 1 else ""
    return (entry.solver if one_spacing else entry.name) + scale


def _picture_rows(comparison: Comparison) -> tuple[list[str], int, Tensor] | None:
    """Names of the rows, pictures in each, and all pictures row by row; None if there are none to show."""
    if len(comparison.shape) != 3 or comparison.shape[0] not in (1, 3):
        return None
    labels, rows = [], []
    for reference in comparison.references:
        scale = f", guidance {reference.guidance:g}" if len(comparison.references) > 1 else ""
        shown = [(f"reference{scale} ({reference.calls} calls)", reference.pictures)]
        entries = [entry for entry in comparison.entries if entry.guidance == reference.guidance]
        shown += [(f"{_line_name(comparison, entry)}, {entry.calls} calls", entry.pictures) for entry in entries]
        for label, pictures in shown:
            if pictures is None or not len(pictures):
                return None
            labels.append(label)
            rows.append(pictures)
    return labels, len(rows[0]), torch.cat(rows)


def limit_figure(limits: Mapping[str, Limit], png: str | os.PathLike[str]) -> Path:
    """How far a model's averages are followed, over the noise, as a PNG: 1 is the network alone, 0 the linear estimate alone.

    ``limits``: name of an average -> its limit.
    """
    figure = _figure(7, 3.6)
    ax = figure.add_subplot()
    for (name, limit), color in zip(limits.items(), ("tab:blue", "tab:orange"), strict=False):
        noise_ratios = np.exp(-0.5 * np.array(limit.log_snrs))
        # the second lies on the first where the two averages hardly differ: it is thinner
        width = 3.0 if color == "tab:blue" else 1.2
        ax.plot(noise_ratios, limit.cond, color=color, marker=".", linewidth=width, label=f"{name}, with a condition")
        if limit.uncond != limit.cond:
            ax.plot(noise_ratios, limit.uncond, color=color, marker=".", linestyle="--", label=f"{name}, without one")
    ax.set_xscale("log")
    ax.set_title("How far the network is followed; the rest is the linear estimate from the data", fontsize=9)
    ax.set_xlabel("noise, sigma / alpha")
    ax.set_ylabel("weight of the network")
    ax.set_ylim(-0.03, 1.03)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return _save_figure(figure, png)


def loss_curve(jsonl: str | os.PathLike[str], png: str | os.PathLike[str], smooth: float = 0.05) -> Path:
    """The loss over the steps of a run, from its log (lines of JSON with ``step`` and ``loss``), as a PNG.

    Pale: every line of the log.  Dark: the mean of all lines within ``smooth`` times the run's length before each.
    """
    lines = [json.loads(line) for line in Path(jsonl).read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{os.fspath(jsonl)!r} holds no line to draw")
    steps = np.array([line["step"] for line in lines])
    losses = np.array([line["loss"] for line in lines], dtype=np.float64)
    first = np.searchsorted(steps, steps - max(1, smooth * steps[-1]), side="right")
    sums = np.concatenate([[0.0], np.cumsum(losses)])
    smoothed = (sums[1:] - sums[first]) / (np.arange(len(steps)) + 1 - first)
    figure = _figure(7, 3.6)
    ax = figure.add_subplot()
    ax.plot(steps, losses, color="tab:blue", alpha=0.25, linewidth=1)
    ax.plot(steps, smoothed, color="tab:blue")
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    # the first steps' high loss would press the rest flat
    settled = losses[len(losses) // 20 :]
    ax.set_ylim(0.9 * settled.min(), 1.05 * np.quantile(settled, 0.995) + 1e-12)
    ax.grid(alpha=0.3)
    return _save_figure(figure, png)
