"""What ``noisepath edit`` leaves in the run's folder for its page: each picture before and after, small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from noisepath import page
from noisepath.board import Edited, keep_edits
from noisepath.cli.canvas import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from noisepath.cli.canvas import Canvas
    from noisepath.cli.edit_work import Work

__all__ = ["record"]

SIDE = 192
"""The longer side of a picture that is kept, at most."""
RESULTS = 9
"""Results of a picture that are kept: the first ones."""
LEFT_OUT = {"software", "run", "mask", "box", "outpaint", "invert"}
"""What the pictures or the words say already."""
DONE = {
    "change": "changed as a whole",
    "mask": "a part made anew",
    "box": "a part made anew",
    "outpaint": "continued beyond its edges",
    "between": "on the way to another picture",
    "invert": "to its noise and back",
}


def record(work: Work, finished: Sequence[Sequence[Canvas]], about: Mapping[str, object]) -> None:
    """Keep the edit and write the run's page anew, where the model is a run's; what can't be written is said, no error."""
    command = work.command
    if not (command.run / "run.toml").is_file():
        return
    said = {name: value for name, value in about.items() if name not in LEFT_OUT}
    if command.guidance == 1.0:
        del said["guidance"]
    said["model"] = f"step {work.denoiser.info['steps']:,}"
    made = [
        Edited(
            before=_small(before),
            after=torch.stack([_small(result) for result in results[:RESULTS]]),
            mask=None if work.masks is None else _small_mask(work.masks[i], before),
            name=before.path.name,
            what=DONE[work.mode],
            said=said,
        )
        for i, (before, results) in enumerate(zip(work.canvases, finished, strict=True))
    ]
    try:
        keep_edits(command.run, made)
        page.write(command.run)
    except OSError as error:
        print(f"the run's page can't show it: {' '.join(str(error).split())}")


def _small(canvas: Canvas) -> Tensor:
    """(3, h, w) in [-1, 1], no longer side above ``SIDE``."""
    return shown(canvas, _size(canvas))


def _small_mask(mask: NDArray, canvas: Canvas) -> Tensor:  # type: ignore[type-arg]
    """(1, h, w) in [-1, 1]."""
    small: Tensor = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(mask)[None], _size(canvas))
    return small * 2 - 1


def _size(canvas: Canvas) -> tuple[int, int]:
    height, width = canvas.size
    scale = min(1.0, SIDE / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))
