"""What each command does, in terms of the library's own functions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

import noisepath
from noisepath import plots
from noisepath.cli import board, compare, data, demo, edit, evaluate, guidance, solvers, train, tune
from noisepath.cli.guided import guided, how_guided
from noisepath.cli.labels import prompted
from noisepath.cli.options import (
    Board,
    Command,
    Compare,
    Data,
    Demo,
    Edit,
    Evaluate,
    Guidance,
    Sample,
    Schedule,
    Solvers,
    Train,
    Tune,
)
from noisepath.data.decode import picture_size, read_picture
from noisepath.denoiser import device_named
from noisepath.errors import lookup
from noisepath.files import check_folder
from noisepath.sampling import DEFAULTS, sample
from noisepath.training.checkpoint import load
from noisepath.tuned import Tuned, load_tuned, tuned_of_run

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.denoiser import Denoise

__all__ = ["run"]

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "bfloat16": torch.bfloat16, "float16": torch.float16}


def run(command: Command) -> None:
    """Do what a command asks for."""
    match command:
        case Demo():
            demo.run(command)
        case Train():
            train.run(command, _device(command.device))
        case Sample():
            _sample(command)
        case Edit():
            edit.run(command, _device(command.device))
        case Compare():
            compare.run(command, _device(command.device))
        case Guidance():
            guidance.run(command, _device(command.device))
        case Board():
            board.run(command, _device(command.device))
        case Schedule():
            _schedule(command)
        case Solvers():
            solvers.run(command)
        case Data():
            data.run(command)
        case Tune():
            tune.run(command, _device(command.device))
        case Evaluate():
            evaluate.run(command, _device(command.device))


def fastest_device() -> str:
    """The accelerator that torch finds, or the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _device(name: str | None) -> str:
    """The device that is asked for, or the fastest."""
    return fastest_device() if name is None else str(device_named(name))


def _sample(command: Sample) -> None:
    if command.n < 1:
        raise ValueError(f"n is the number of pictures, 1 or more, but is {command.n}")
    if command.cut and not (command.prompt or command.negative or command.say):
        raise ValueError("--cut is about a prompt that is too long, but none is said")
    check_folder(command.out)
    precision = lookup(PRECISIONS, command.precision, "precision")
    device = _device(command.device)
    denoiser = load(command.run, device, encoder=command.encoder, limit="stored" if command.limit else None)
    assert isinstance(denoiser.network, torch.nn.Module)
    denoiser.network.to(precision)
    condition, told = prompted(denoiser, command.prompt, command.say, command.classes, command.n, command.cut)
    negative = None
    if command.negative is not None:
        negative, _ = prompted(denoiser, (command.negative,), (), (), 1, command.cut)
    model = guided(denoiser, command, negative)
    solver, spacing = _solver_for(command, model)
    pictures = sample(
        model,
        (command.n, *denoiser.info["shape"]),
        seed=command.seed,
        condition=condition,
        batch_size=command.batch_size,
        progress=command.progress,
        solver=solver,
        steps=command.steps,
        calls=command.calls,
        spacing=spacing,
    )
    how: dict[str, object] = {"solver": solver, "spacing": spacing}
    if isinstance(solver, Tuned):
        how = {"solver": f"tuned for {solver.calls} calls" + (" + analytic start" if solver.start is not None else "")}
    about = _about(command, told, how)
    plots.save_pictures(pictures, command.out, about)
    shared = {name: value for name, value in about[0].items() if name != "index" and name not in told[0]}
    grid = plots.save_grid(pictures, command.out / "grid.png", about=shared)
    with_what = f", by the sampler that was {how['solver']}" if isinstance(solver, Tuned) else ""
    print(f"{command.n} pictures are in {command.out}, all on one page in {grid}{with_what}")


def _solver_for(command: Sample, model: Denoise) -> tuple[str | Tuned, str | None]:
    """What a run is sampled with: the sampler tuned to it, where there is one for so many steps that holds for the model as it
    is guided, and no other is asked for."""
    if command.solver is None and command.spacing is None:
        steps = DEFAULTS.steps if command.steps is None and command.calls is None else command.steps or command.calls
        path = tuned_of_run(command.run).get(steps or 0)
        if path is not None:
            tuned = load_tuned(path)
            try:
                tuned.check_view(model)
                return tuned, None
            except ValueError as error:
                print(f"{path} is left aside: {error}")
    return command.solver or DEFAULTS.solver, command.spacing or DEFAULTS.spacing


def _about(command: Sample, told: list[dict[str, object]], how: dict[str, object]) -> list[dict[str, object]]:
    """For each picture, what is written into its file: how to make it again."""
    names = ("run", "seed", "steps", "calls", "guidance", "negative", "precision")
    shared: dict[str, object] = {"software": f"noisepath {noisepath.__version__}", **how, **how_guided(command)}
    shared |= {name: value for name in names if (value := getattr(command, name)) is not None}
    return [{**shared, "index": i, **asked} for i, asked in enumerate(told)]


def _schedule(command: Schedule) -> None:
    picture = None if command.picture is None else _to_destroy(command.picture)
    out = plots.schedule_figure(command.names, command.out, picture)
    print(f"drawn in {out}")


def _to_destroy(path: Path, longest: int = 96) -> Tensor:
    """A picture file as (1, 3, H, W) in [-1, 1], its longer side at most ``longest``."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no picture {str(path)!r}")
    height, width = picture_size(path)
    scale = min(1.0, longest / max(height, width))
    values = read_picture(path, max(1, round(height * scale)), max(1, round(width * scale)), grey=False)
    return torch.tensor(values, dtype=torch.float32).permute(2, 0, 1)[None] / 127.5 - 1
