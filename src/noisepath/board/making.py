"""The pictures of a board, and the folder that holds them, written whole: a reader finds the old board or the new one.

    RUN/board/board.json           what was asked for, how it was sampled, and of which step the model was
    RUN/board/cell-ROW-COLUMN.png  the pictures of a row and a guidance scale, one for each seed
    RUN/board/way-NUMBER.png       one of them coming about: states above, beliefs below, a column for each level
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from noisepath import __version__, plots
from noisepath.board.asked import WAYS, Asked, Request, in_words, way_scale
from noisepath.denoiser import device_of
from noisepath.files import check_folder, remove_folder, write_folder
from noisepath.guidance import classifier_free
from noisepath.sampling import sample, trajectory

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.conditions import Condition
    from noisepath.denoiser import Denoise, Denoiser
    from noisepath.levels import Level
    from noisepath.sampling import Trajectory

__all__ = ["FOLDER", "LEVELS", "step_of", "write_board"]

FOLDER, FILE = "board", "board.json"
FORMAT = "noisepath board 1"
LEVELS = 8
"""Levels at which a picture on its way is shown, the noisiest and the picture itself among them."""


def write_board(
    run: str | os.PathLike[str],
    denoiser: Denoiser,
    asked: Asked,
    *,
    batch_size: int | None = None,
    progress: bool = False,
) -> Path:
    """Make the board's pictures with a run's model and write them into ``RUN/board``, in place of an older board.

    Picture k of a cell is the one that :func:`noisepath.sample` makes of (seed, k), whatever else is on the board.
    """
    final = Path(run) / FOLDER
    check_folder(final)
    cells, way = _cells(denoiser, asked, batch_size, progress), _way(denoiser, asked)
    moments = _moments(way)
    with write_folder(final) as part:
        for (row, column), pictures in cells.items():
            plots.save_grid(pictures, part / f"cell-{row}-{column}.png", columns=_columns(asked))
        for number in range(len(_followed(asked))):
            plots.save_grid(_along(way, number, moments), part / f"way-{number}.png", columns=len(moments))
        levels = [way.levels[moment] for moment in moments]
        (part / FILE).write_text(json.dumps(_told(denoiser, asked, levels), indent=1) + "\n", encoding="utf-8")
        if final.exists():
            remove_folder(final)
    return final


def step_of(run: str | os.PathLike[str]) -> int | None:
    """Of which step the model of a run's board was; None where there is no board that can be read."""
    try:
        told = json.loads((Path(run) / FOLDER / FILE).read_text(encoding="utf-8"))
        return int(told["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _told(denoiser: Denoiser, asked: Asked, levels: Sequence[Level]) -> dict[str, Any]:
    """What ``board.json`` says."""
    return {
        "format": FORMAT,
        "noisepath": __version__,
        "step": denoiser.info.get("steps"),
        "rows": [{"words": in_words(row), "asked": dict(row)} for row in asked.rows],
        "guidance": list(asked.guidance),
        "seeds": asked.seeds,
        "seed": asked.seed,
        "sampler": {"solver": asked.solver, "spacing": asked.spacing, "steps": asked.steps},
        "ways": {
            "pictures": [{"row": row, "number": k} for row, k in _followed(asked)],
            "guidance": way_scale(asked),
            "levels": [[level.alpha, level.sigma] for level in levels],
        },
    }


def _columns(asked: Asked) -> int:
    """How many pictures of a cell stand side by side, so that all columns of the board fit on a page."""
    return max(1, min(8, 12 // len(asked.guidance)))


# Pictures ------------------------------------------------------------------------------------------------------------


def _asked_for(denoiser: Denoiser, rows: Sequence[Request]) -> Condition | None:
    """The condition of a picture for each request; what a request does not say is not said.  None of a model without any."""
    if not denoiser.vocabulary:
        return None
    names = dict.fromkeys(name for row in rows for name in row)
    said = {name: [row.get(name) for row in rows] for name in names}
    told: Condition | None = denoiser.vocabulary.condition(len(rows), device=device_of(denoiser), **said)
    return told


def _guided(denoiser: Denoiser, scale: float) -> Denoise:
    return denoiser if scale == 1.0 else classifier_free(denoiser, scale)


def _how(asked: Asked) -> dict[str, Any]:
    return {"solver": asked.solver, "spacing": asked.spacing, "steps": asked.steps, "seed": asked.seed}


def _cells(denoiser: Denoiser, asked: Asked, batch_size: int | None, progress: bool) -> dict[tuple[int, int], Tensor]:
    """The pictures (seeds, C, H, W) of each row and column."""
    rows, seeds = len(asked.rows), asked.seeds
    condition = _asked_for(denoiser, [row for row in asked.rows for _ in range(seeds)])
    found: dict[tuple[int, int], Tensor] = {}
    for column, scale in enumerate(asked.guidance):
        made = sample(
            _guided(denoiser, scale), (rows * seeds, *denoiser.info["shape"]), condition=condition,
            indices=list(range(seeds)) * rows, batch_size=batch_size, progress=progress, **_how(asked),
        )  # fmt: skip
        for row, pictures in enumerate(torch.split(made.cpu(), seeds)):
            found[row, column] = pictures
    return found


# The way from noise to picture ---------------------------------------------------------------------------------------


def _followed(asked: Asked) -> list[tuple[int, int]]:
    """The pictures that are shown on their way, (row, number in its cell): the first of each row, then the second."""
    rows = len(asked.rows)
    return [(i % rows, i // rows) for i in range(min(WAYS, rows * asked.seeds))]


def _way(denoiser: Denoiser, asked: Asked) -> Trajectory:
    """Their run, at the middle guidance scale."""
    chosen = _followed(asked)
    return trajectory(
        _guided(denoiser, way_scale(asked)), (len(chosen), *denoiser.info["shape"]),
        condition=_asked_for(denoiser, [asked.rows[row] for row, _ in chosen]), indices=[k for _, k in chosen], **_how(asked),
    )  # fmt: skip


def _moments(way: Trajectory) -> list[int]:
    """The places of a run that are shown, evenly spread over its calls and the end."""
    count = len(way.levels)
    return sorted({round(i * (count - 1) / (LEVELS - 1)) for i in range(LEVELS)})


def _along(way: Trajectory, number: int, moments: Sequence[int]) -> Tensor:
    """(2 x moments, C, H, W): the states, as bright on every path, then the beliefs; at the end the state stands for both."""
    seen, beliefs = plots.visible(way), way.beliefs
    states = [seen[moment][number] for moment in moments]
    believed = [(way.states[moment] if beliefs[moment] is None else beliefs[moment])[number] for moment in moments]  # type: ignore[index]
    return torch.stack([*states, *believed])
