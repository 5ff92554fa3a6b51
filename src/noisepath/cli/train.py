"""``noisepath train``: from pictures to a model, its figures and its page; or on with a run that was stopped."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from noisepath import page
from noisepath.cli.options import Train
from noisepath.data.config import BUILT_IN
from noisepath.training import resume, train
from noisepath.training.allocator import keep_freed_memory
from noisepath.training.record import read_run

__all__ = ["run"]


def run(command: Train, device: str) -> None:
    """Train or resume, then judge, then say where everything is."""
    folder = command.resume or command.out or _folder_for(command.pictures.data)
    say = _say if _is_main() else _say_nothing
    if device == "cpu":
        keep_freed_memory()
    if command.resume is not None:
        own = read_run(folder).machine.device
        resume(
            folder,
            command.pictures.data or None,
            device=command.device or (own if own == "cpu" else device),
            progress=command.progress,
            allow_data_change=command.allow_data_change,
            say=say,
            encoder=command.recipe.text_encoder,
        )
    else:
        source = replace(command.pictures, data=_absolute(command.pictures.data))
        train(source, folder, command.recipe, device=device, progress=command.progress, overwrite=command.overwrite, say=say)
    if not _is_main():
        return
    if command.evaluate:
        _judge(folder, device, command.progress, command.recipe.text_encoder)
    page.write(folder)
    print(f"the model is in {folder}; new pictures: noisepath sample {folder}")
    print(f"samplers of few steps, fitted to it: noisepath tune {folder}")
    print(f"all about it: {folder / 'index.html'}")


def _judge(folder: Path, device: str, progress: bool, encoder: str | None) -> None:
    from noisepath.evaluation import evaluate, summary

    print(summary(evaluate(folder, device=device, progress=progress, encoder=encoder)))


def _folder_for(data: str) -> Path:
    """runs/NAME for the data's own name."""
    path = Path(data)
    return Path("runs") / ((path.stem if path.suffix.lower() == ".zip" else path.resolve().name) or "pictures")


def _absolute(data: str) -> str:
    """Where the pictures are, also for someone who goes on from another folder later."""
    return data if data in BUILT_IN and not Path(data).exists() else os.path.abspath(data)


def _is_main() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def _say(text: str) -> None:
    tqdm.write(text)


def _say_nothing(text: str) -> None:
    pass
