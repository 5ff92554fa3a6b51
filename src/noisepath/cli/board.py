"""``noisepath board``: prompts by guidance scales by seeds, and how pictures come about, for a run's page."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from noisepath import page
from noisepath.board import Asked, needs_pictures, requests, write_board
from noisepath.data import holdout_size, open_data, split
from noisepath.training.checkpoint import load
from noisepath.training.record import read_run

if TYPE_CHECKING:
    from noisepath.board.asked import Request
    from noisepath.cli.options import Board
    from noisepath.data import Data
    from noisepath.denoiser import Denoiser

__all__ = ["run"]


def run(command: Board, device: str) -> None:
    """Check, make the pictures, write RUN/board and the page, and say where."""
    _check(command)
    read_run(command.run)  # a model without a run has no page
    denoiser = load(command.run, device, encoder=command.encoder, limit="stored" if command.limit else None)
    asked = Asked.of(
        denoiser, _rows(command, denoiser), command.guidance, command.seeds,
        steps=command.steps, solver=command.solver, spacing=command.spacing, seed=command.seed,
    )  # fmt: skip
    folder = write_board(command.run, denoiser, asked, batch_size=command.batch_size, progress=command.progress)
    written = page.write(command.run)
    count = len(asked.rows) * len(asked.guidance) * asked.seeds
    print(f"{count} picture{'s' * (count != 1)} in {folder}, on the run's page: {written}")


def _check(command: Board) -> None:
    """Numbers out of range, before a model is read."""
    for name, value in (("seeds", command.seeds), ("steps", command.steps), ("batch_size", command.batch_size)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is a whole number, 1 or more, but is {value}")


def _rows(command: Board, denoiser: Denoiser) -> list[Request]:
    """What is asked for, or what is chosen where nothing is."""
    said: list[Request] = [*({"text": text} for text in command.prompts), *({"label": name} for name in command.classes)]
    if said:
        return said
    return requests(denoiser.vocabulary, _pictures(command) if needs_pictures(denoiser.vocabulary) else None)


def _pictures(command: Board) -> Data:
    """The run's held-out pictures, or where there are none those that it was trained on."""
    source = read_run(command.run).data
    if command.data is not None:
        source = replace(source, data=command.data)
    if not source.data:
        raise ValueError("the run was given its pictures by a program, so their captions are not known: say --prompts")
    try:
        pictures = open_data(source)
        kept, out = split(pictures, holdout_size(source, len(pictures)), read_run(command.run).train.seed)
    except (OSError, ValueError) as error:
        raise ValueError(f"captions of the run's pictures can't be read ({error}): say --prompts, or --data WHERE") from error
    return out or kept
