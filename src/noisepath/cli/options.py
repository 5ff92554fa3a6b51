"""What can be said on the command line: one frozen dataclass for each command.  Needs no torch.

Options have the names that the Python functions' arguments have; a training run's are :class:`TrainConfig`'s fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, arg, subcommand

from noisepath import __version__
from noisepath.errors import unknown
from noisepath.sampling import DEFAULTS
from noisepath.training.config import TrainConfig

__all__ = ["COMMANDS", "Command", "Demo", "Sample", "Schedule", "Train", "parse"]


@dataclass(frozen=True)
class Demo:
    """Learn to draw digits in a few minutes, and see how well: train, sample, evaluate, make pictures."""

    minutes: float = 3.0
    """How long to train."""
    out: Path = Path("noisepath-demo")
    """Where everything is written; a demo that is there already is replaced."""
    seed: int = 0
    """Of training and sampling."""
    samples: int = 1797
    """How many unguided pictures to judge, at most as many as there are real ones; of guided ones at most 1,000."""
    guidance: float = 1.5
    """Classifier-free guidance scale of the guided ones."""
    steps: int | None = None
    """Length of the training in optimizer steps; wins over minutes."""


@dataclass(frozen=True)
class _Said(TrainConfig):
    """How the network is trained.  steps or minutes say for how long; the other settings have working defaults."""

    # a setting out of range is said in one line of ours, after the parser is done and not inside it
    def __post_init__(self) -> None:
        pass


@dataclass(frozen=True)
class Train:
    """Train a model on a folder of pictures, or on a folder of folders, one for each class."""

    data: str
    """The folder, or the word digits: scikit-learn's handwritten digits, 8 x 8 pixels."""
    out: Path
    """The run's folder: model, log, loss curve, sample grids."""
    picture_size: tuple[int, int] | int | None = None
    """Height and width that pictures are scaled and cut to (one number: both); the most common size if not given."""
    device: str | None = None
    """cpu, cuda, mps ...; the fastest there is if not given."""
    overwrite: bool = False
    """Replace a model that the folder holds already."""
    progress: bool = True
    """Show a live bar."""
    config: Annotated[TrainConfig, arg(constructor=_Said)] = _Said()


@dataclass(frozen=True)
class Sample:
    """Make new pictures with a trained model: PNG files, and all of them on one page."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run's folder, as train made it."""
    n: int = 64
    """How many pictures."""
    classes: tuple[str, ...] = ()
    """Names of the classes to draw, in turn; all classes in turn if not given."""
    guidance: float = 1.0
    """Classifier-free guidance scale: 1 is none, more keeps closer to the class."""
    solver: str = DEFAULTS.solver
    """Solver by name (noisepath.SOLVERS)."""
    steps: int | None = None
    """How many steps the solver makes; 20 if neither steps nor calls are given."""
    calls: int | None = None
    """How many network calls a picture may cost, in place of steps."""
    spacing: str = DEFAULTS.spacing
    """Which noise levels the run visits, by name (noisepath.SPACINGS)."""
    seed: int = 0
    """Picture i is a function of (seed, i) alone."""
    batch_size: int | None = None
    """Pictures made at once; changes nothing but memory and speed."""
    out: Path = Path("samples")
    """Folder for the pictures; the page with all of them is grid.png in it."""
    device: str | None = None
    """cpu, cuda, mps ...; the fastest there is if not given."""
    progress: bool = True
    """Show a live bar."""


@dataclass(frozen=True)
class Schedule:
    """Draw noise schedules side by side: alpha_bar, log-SNR, betas, and a picture being destroyed."""

    names: Annotated[Positional[tuple[str, ...]], arg(metavar="[NAME ...]")] = ("linear", "cosine", "flow", "edm")
    """Schedules by name (noisepath.SCHEDULES)."""
    out: Path = Path("schedule.png")
    """The picture to write."""
    picture: Path | None = None
    """A picture to destroy; a small landscape if not given."""


Command = Demo | Train | Sample | Schedule
COMMANDS: dict[str, type[Command]] = {"demo": Demo, "train": Train, "sample": Sample, "schedule": Schedule}

_Parsed = (
    Annotated[Demo, subcommand("demo")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Sample, subcommand("sample")]
    | Annotated[Schedule, subcommand("schedule")]
)


def parse(args: Sequence[str]) -> Command:
    """The command that ``args`` ask for; ends the process (SystemExit) after ``--help`` and for unknown options."""
    if list(args) == ["--version"]:
        print(f"noisepath {__version__}")
        raise SystemExit(0)
    if args and not args[0].startswith("-") and args[0] not in COMMANDS:
        raise unknown("command", args[0], COMMANDS)
    command: Command = tyro.cli(
        _Parsed,
        args=list(args) or ["--help"],
        prog="noisepath",
        description="Diffusion and flow models: train them, sample them, see what they do.",
        config=(OmitArgPrefixes, OmitSubcommandPrefixes),
    )
    if isinstance(command, Train):
        said = {field.name: getattr(command.config, field.name) for field in fields(TrainConfig)}
        return replace(command, config=TrainConfig(**said))
    return command
