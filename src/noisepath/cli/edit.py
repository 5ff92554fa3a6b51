"""Pictures of the user's own, edited by a trained model: what is asked for, checked before any work, done, and written.

A picture of another size than the model's is stretched to it, edited, and brought back to its own.  Where a part is held
(masks, boxes, edges) the file's own pixels are put back there at full size, unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

import noisepath
from noisepath import plots
from noisepath.cli.canvas import Canvas, padded, read_canvas, seen, shown, to_model, to_pixels, write_canvas
from noisepath.cli.edit_work import Work
from noisepath.cli.labels import asked_for
from noisepath.cli.options import Edit
from noisepath.cli.recorded import record
from noisepath.editing import image_to_image, inpaint, interpolate, invert
from noisepath.errors import lookup
from noisepath.files import check_folder
from noisepath.guidance import classifier_free
from noisepath.levels import Level
from noisepath.sampling import DEFAULTS, sample
from noisepath.solvers import SOLVERS
from noisepath.spacing import SPACINGS
from noisepath.training.checkpoint import load

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from noisepath.conditions import Condition
    from noisepath.denoiser import Denoiser

__all__ = ["level_of", "run"]

T = TypeVar("T")

STRENGTH = 0.6
JUMPS = 4
FRAMES = 8
_WAYS_SOLVER = "ddim"  # to noise and back: each step begins anew
_GRID = 256  # the longer side of a picture on the page, at most
_APART = 1 << 16  # numbers of one picture's variations, as editing.variations has them


def run(command: Edit, device: str) -> None:
    """Edit, write, and say where."""
    mode = _mode(command)
    canvases = [read_canvas(path) for path in command.pictures]
    if command.outpaint is not None:
        canvases = [padded(canvas, *command.outpaint) for canvas in canvases]
    masks = _masks(command, canvases)
    other = None if command.between is None else read_canvas(command.between)
    names = _names(command)
    denoiser = load(command.run, device, encoder=command.encoder, limit="stored" if command.limit else None)
    if len(denoiser.info["shape"]) != 3 or denoiser.info["shape"][0] not in (1, 3):
        raise ValueError(f"pictures are edited by a model of pictures, but this one's data are {denoiser.info['shape']}")
    conditions = asked_for(denoiser, command.classes, command.guidance, len(canvases), command.prompt)
    guided = classifier_free(denoiser, command.guidance)
    work = Work(command, mode, canvases, masks, other, denoiser, guided, conditions, device)
    made = _MODES[mode](work)
    finished = [[_finished(work, i, one) for one in results] for i, results in enumerate(made)]
    _write(work, names, finished)
    if command.record:
        record(work, finished, _about(work))


# What is asked for -----------------------------------------------------------------------------------------------------------


def _mode(command: Edit) -> str:
    """The one thing that is asked for; ValueError where its options do not go together, or are out of range."""
    said = {
        "mask": command.mask is not None, "box": command.box is not None, "outpaint": command.outpaint is not None,
        "between": command.between is not None, "invert": command.invert,
    }  # fmt: skip
    asked = [name for name, given in said.items() if given]
    if len(asked) > 1:
        raise ValueError(f"{' and '.join(f'--{name}' for name in asked)} are different things to do: say one of them")
    mode = asked[0] if asked else "change"
    if not command.pictures:
        raise ValueError("edit needs a picture: noisepath edit RUN PICTURE")
    _check_options(command, mode)
    lookup(SOLVERS, command.solver or DEFAULTS.solver, "solver")
    lookup(SPACINGS, command.spacing or DEFAULTS.spacing, "spacing")
    check_folder(command.out)
    return mode


def _check_options(command: Edit, mode: str) -> None:
    holds = mode in ("mask", "box", "outpaint")
    for name, value, fits, where in (
        ("strength", command.strength, holds or mode == "change", "--between and --invert go all the way to noise"),
        ("variations", command.variations, holds or mode == "change", "--between and --invert draw nothing"),
        ("jumps", command.jumps, holds, "it is for --mask, --box and --outpaint"),
        ("frames", command.frames, mode == "between", "it is for --between"),
    ):
        if value is not None and not fits:
            raise ValueError(f"--{name} does nothing here: {where}")
    if command.strength is not None and not 0.0 < command.strength <= 1.0:
        raise ValueError(f"strength is above 0 (the picture itself) and at most 1 (nothing of it), but is {command.strength:g}")
    for name, value, least in (
        ("variations", command.variations, 1), ("jumps", command.jumps, 0), ("frames", command.frames, 2),
        ("steps", command.steps, 1), ("batch_size", command.batch_size, 1),
    ):  # fmt: skip
        if value is not None and value < least:
            raise ValueError(f"{name} is a whole number, {least} or more, but is {value}")
    if command.variations is not None and command.variations >= _APART:
        raise ValueError(f"variations is at most {_APART - 1}, but is {command.variations}")
    if command.outpaint is not None and (min(command.outpaint) < 0 or not any(command.outpaint)):
        raise ValueError(f"outpaint takes pixels LEFT TOP RIGHT BOTTOM, 0 or more and one above 0, but got {command.outpaint}")
    if not math.isfinite(command.guidance):
        raise ValueError(f"guidance is a number, but is {command.guidance}")


def _names(command: Edit) -> list[str]:
    """A name for each picture's results, its file's own where that is free; ValueError where a picture would be overwritten."""
    names: list[str] = []
    for path in command.pictures:
        name, count = path.stem, 2
        while name in (*names, "grid"):
            name, count = f"{path.stem}-{count}", count + 1
        names.append(name)
    read = [*command.pictures, *(path for path in (command.mask, command.between) if path is not None)]
    for path in read:
        if path.resolve().parent == command.out.resolve():
            raise ValueError(f"{str(path)!r} lies in {str(command.out)!r}, where the results go: say --out for another folder")
    return names


def _masks(command: Edit, canvases: Sequence[Canvas]) -> list[NDArray[np.float32]] | None:
    """What of each picture is made anew, at its own size."""
    if command.mask is not None:
        return _from_file(command.mask, canvases)
    if command.box is not None:
        return [_boxed(canvas, command.box) for canvas in canvases]
    if command.outpaint is None:
        return None
    left, top, right, bottom = command.outpaint
    masks = []
    for canvas in canvases:
        height, width = canvas.size
        mask = np.ones((height, width), dtype=np.float32)
        mask[top : height - bottom, left : width - right] = 0.0
        masks.append(mask)
    return masks


def _from_file(path: Path, canvases: Sequence[Canvas]) -> list[NDArray[np.float32]]:
    mask = read_canvas(path)
    values = seen(mask).mean(2, dtype=np.float32) / np.float32(255)
    for canvas in canvases:
        if canvas.size != mask.size:
            raise ValueError(
                f"the mask {str(path)!r} is {_size(mask)} pixels, but the picture {str(canvas.path)!r} is {_size(canvas)}"
            )
    if values.max() == 0.0:
        raise ValueError(f"the mask {str(path)!r} is black everywhere: white is made anew, so nothing would be")
    if values.min() == 1.0:
        raise ValueError(f"the mask {str(path)!r} is white everywhere: nothing would be held; leave it out (--strength 1)")
    return [values] * len(canvases)


def _boxed(canvas: Canvas, box: tuple[int, int, int, int]) -> NDArray[np.float32]:
    x, y, width, height = box
    inside = x >= 0 <= y and width > 0 < height and x + width <= canvas.size[1] and y + height <= canvas.size[0]
    if not inside:
        raise ValueError(f"the box X Y W H = {box} does not lie in the picture {str(canvas.path)!r} of {_size(canvas)} pixels")
    if (height, width) == canvas.size:
        raise ValueError(f"the box holds all of {str(canvas.path)!r}, so nothing would be held: leave it out (--strength 1)")
    mask = np.zeros(canvas.size, dtype=np.float32)
    mask[y : y + height, x : x + width] = 1.0
    return mask


def _size(canvas: Canvas) -> str:
    return f"{canvas.size[1]} x {canvas.size[0]}"


# What is done ----------------------------------------------------------------------------------------------------------------


def level_of(denoiser: Denoiser, strength: float) -> float | Level:
    """Where a run of this strength begins: noise is that share of picture and noise together, sigma / (alpha + sigma), of the
    share at the schedule's noisiest level.

    So a strength means the same whatever the model's schedule is (on the flow it is the schedule's own time).
    """
    if strength == 1.0:
        return 1.0
    noisiest = denoiser.schedule.level(denoiser.schedule.t_max)
    share = strength * noisiest.sigma / (noisiest.alpha + noisiest.sigma)
    cleanest = denoiser.schedule.level(denoiser.schedule.t_min)
    if not share > cleanest.sigma / (cleanest.alpha + cleanest.sigma):
        raise ValueError(f"strength {strength:g} is no more noise than this model ends a run with: say more")
    return Level(1.0 - share, share)


def _changed(work: Work) -> list[list[Tensor]]:
    """Image to image, several of each picture."""
    strength = level_of(work.denoiser, STRENGTH if work.command.strength is None else work.command.strength)
    return _drawn(work, lambda x, which, told: image_to_image(work.guided, x, strength, **told))


def _held(work: Work) -> list[list[Tensor]]:
    """A part made anew."""
    assert work.masks is not None
    masks = [_small(mask, work.shape, canvas) for mask, canvas in zip(work.masks, work.canvases, strict=True)]
    mask = torch.stack(masks).to(work.device)
    strength = 1.0 if work.command.strength is None else level_of(work.denoiser, work.command.strength)
    repeats = JUMPS if work.command.jumps is None else work.command.jumps
    return _drawn(
        work, lambda x, which, told: inpaint(work.guided, x, mask[which], strength=strength, repeats=repeats, **told)
    )


def _small(mask: NDArray[np.float32], shape: tuple[int, int, int], canvas: Canvas) -> Tensor:
    """The mask at the model's size, (1, h, w): a pixel may change as much as any that it covers."""
    whole = torch.from_numpy(mask)[None]
    small: Tensor = torch.nn.functional.adaptive_max_pool2d(whole, shape[1:])
    if float(small.min()) == 1.0:
        raise ValueError(
            f"at the model's {shape[2]} x {shape[1]} pixels the mask leaves nothing of {str(canvas.path)!r} to be held: "
            "its known parts are too narrow"
        )
    return small


def _drawn(work: Work, make: Callable[[Tensor, Tensor, dict[str, Any]], Tensor]) -> list[list[Tensor]]:
    """Several results of each picture; variation k of picture i is a function of (seed, i, k)."""
    pictures, each = work.pictures, work.command.variations or 1
    which = torch.arange(len(pictures)).repeat_interleave(each)
    told = {
        **work.options(), "seed": work.command.seed, "progress": work.command.progress,
        "indices": [i + k * _APART for i in range(len(pictures)) for k in range(each)],
        "condition": None if work.conditions is None else work.conditions.rows(which),
    }  # fmt: skip
    there = which.to(pictures.device)
    made = make(pictures[there], there, told)
    return [list(part) for part in torch.split(made, each)]


def _led_out(work: Work, pictures: Tensor) -> Tensor:
    return invert(work.guided, pictures, condition=work.conditions, **work.options(_WAYS_SOLVER))


def _led_back(work: Work, noise: Tensor, condition: Condition | None) -> Tensor:
    def made(rows: slice) -> Tensor:
        part = noise[rows]
        told = None if condition is None else condition.rows(rows)
        options = {**work.options(_WAYS_SOLVER), "condition": told, "progress": work.command.progress}
        return sample(work.guided, part.shape, noise=lambda place: part, **options)

    size = work.command.batch_size or len(noise)
    return torch.cat([made(slice(first, first + size)) for first in range(0, len(noise), size)])


def _inverted(work: Work) -> list[list[Tensor]]:
    """To the noise and back, with what is lost on the way."""
    pictures = work.pictures
    back = _led_back(work, _led_out(work, pictures), work.conditions)
    missed = (back - pictures).double().square().flatten(1).mean(1).tolist()
    for canvas, error in zip(work.canvases, missed, strict=True):
        print(f"{canvas.path}: {10.0 * math.log10(4.0 / max(error, 1e-20)):.1f} dB PSNR from its noise alone")
    return [[one] for one in back]


def _between(work: Work) -> list[list[Tensor]]:
    """Each picture's way to the other one, over the noise of both."""
    assert work.other is not None
    pictures, frames = work.pictures, work.command.frames or FRAMES
    target = to_model(seen(work.other), work.shape).to(pictures)[None].expand_as(pictures)
    noises = [_led_out(work, ends) for ends in (pictures, target)]
    shares = [k / (frames - 1) for k in range(frames)]
    noise = interpolate(noises[0], noises[1], shares, correlation=None)  # all pictures of the first share first
    which = torch.arange(len(pictures)).repeat(frames)
    made = _led_back(work, noise, None if work.conditions is None else work.conditions.rows(which))
    return [list(made[i :: len(pictures)]) for i in range(len(pictures))]


_MODES: dict[str, Callable[[Work], list[list[Tensor]]]] = {
    "change": _changed, "mask": _held, "box": _held, "outpaint": _held, "invert": _inverted, "between": _between,
}  # fmt: skip


# What is written -------------------------------------------------------------------------------------------------------------


def _finished(work: Work, i: int, made: Tensor) -> Canvas:
    """A result at the picture's own size, with its own pixels where they are held."""
    canvas = work.canvases[i]
    pixels = to_pixels(made, canvas.size)
    if work.masks is None:
        return replace(canvas, colours=pixels)
    channels = max(pixels.shape[2], canvas.colours.shape[2])
    new, own = (np.broadcast_to(part, (*canvas.size, channels)) for part in (pixels, canvas.colours))
    return replace(canvas, colours=np.where((work.masks[i] == 0.0)[..., None], own, new))


def _write(work: Work, names: Sequence[str], finished: Sequence[Sequence[Canvas]]) -> None:
    command = work.command
    several = len(finished[0]) > 1
    digits = len(str(len(finished[0]) - 1))
    for i, (name, results) in enumerate(zip(names, finished, strict=True)):
        for k, result in enumerate(results):
            place = command.out / (f"{name}-{k:0{digits}d}.png" if several else f"{name}.png")
            write_canvas(result, place, {**_about(work), "of": work.canvases[i].path, "variation": k})
    rows = list(_rows(work, finished))
    grid = plots.save_grid(torch.cat(rows), command.out / "grid.png", columns=len(rows[0]), about=_about(work))
    count = len(finished) * len(finished[0])
    print(f"{count} picture{'s' * (count != 1)} in {command.out}, before and after on one page in {grid}")


def _about(work: Work) -> dict[str, object]:
    """How to make it again."""
    command, mode = work.command, work.mode
    holds, ways = work.masks is not None, mode in ("between", "invert")
    used: dict[str, object] = {
        "run": command.run,
        "mask": command.mask,
        "box": command.box,
        "outpaint": command.outpaint,
        "between": command.between,
        "invert": command.invert or None,
        "strength": None if ways else _or(command.strength, 1.0 if holds else STRENGTH),
        "variations": command.variations,
        "frames": _or(command.frames, FRAMES) if mode == "between" else None,
        "jumps": _or(command.jumps, JUMPS) if holds else None,
        "classes": command.classes or None,
        "prompt": command.prompt or None,
        "encoder": command.encoder,
        "guidance": command.guidance,
        "solver": command.solver or (_WAYS_SOLVER if ways else DEFAULTS.solver),
        "steps": _or(command.steps, DEFAULTS.steps),
        "spacing": command.spacing or DEFAULTS.spacing,
        "seed": command.seed,
    }
    return {"software": f"noisepath {noisepath.__version__}", **{n: value for n, value in used.items() if value is not None}}


def _or(value: T | None, default: T) -> T:
    """What was said, 0 too, or the default."""
    return default if value is None else value


def _rows(work: Work, finished: Sequence[Sequence[Canvas]]) -> Iterator[Tensor]:
    """Each picture before, its results, and the one that it goes to: (N, 3, H, W), all of one size."""
    height, width = (max(canvas.size[i] for canvas in work.canvases) for i in (0, 1))
    scale = min(1.0, _GRID / max(height, width))
    cell = max(1, round(scale * height)), max(1, round(scale * width))
    for before, results in zip(work.canvases, finished, strict=True):
        row = [before, *results, *([] if work.other is None else [work.other])]
        yield torch.stack([shown(canvas, cell) for canvas in row])
