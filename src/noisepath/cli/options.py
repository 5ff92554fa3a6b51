"""What can be said on the command line: one frozen dataclass for each command.  Needs no torch.

Options have the names that the Python functions' arguments have; a training run's are :class:`TrainConfig`'s fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from noisepath.comparing import TOLERANCE
from noisepath.data.config import DataConfig
from noisepath.sampling import DEFAULTS
from noisepath.training.config import TrainConfig

__all__ = [
    "COMMANDS", "Board", "Command", "Compare", "Data", "Demo", "Doctor", "Edit", "Evaluate", "Guidance", "Sample", "Schedule",
    "SaidOfData", "SaidOfTraining", "Solvers", "Train", "Tune",
]  # fmt: skip


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


# A setting out of range is said in one line of ours, after the parser is done and not inside it.
@dataclass(frozen=True)
class SaidOfTraining(TrainConfig):
    """How the network is trained.  What is not said is chosen from the pictures and the machine."""

    def __post_init__(self) -> None:
        pass


@dataclass(frozen=True)
class SaidOfData(DataConfig):
    """The pictures, and how they are made alike."""

    data: str = ""
    """A folder or zip of pictures (with a folder for each class, or metadata.jsonl, or neither), or a word: digits
    (scikit-learn's handwritten digits, 8 x 8 pixels) or shapes (captioned scenes of one to three shapes, 32 x 32 pixels)."""

    def __post_init__(self) -> None:
        pass


@dataclass(frozen=True)
class Train:
    """Train a model on pictures, judge it, and leave everything in a run folder; or go on with a run that was stopped.

    noisepath train --data PICTURES is all that is needed.
    """

    out: Path | None = None
    """The run's folder: plan, checkpoints, log, curves, samples, figures, index.html; runs/NAME-OF-THE-DATA if not given."""
    resume: Annotated[Path | None, arg(metavar="RUN")] = None
    """Go on with this run, with its own settings."""
    config: Annotated[Path | None, arg(metavar="FILE")] = None
    """Settings from a TOML file such as a run's run.toml; what is said beside it wins."""
    device: str | None = None
    """cpu, cuda, mps ...; the fastest there is if not given."""
    overwrite: bool = False
    """Replace a run that the folder holds already."""
    allow_data_change: bool = False
    """Go on though the pictures are no longer those that the run began with."""
    evaluate: bool = True
    """Judge the model at the end, as noisepath evaluate does."""
    progress: bool = True
    """Show a live bar."""
    pictures: Annotated[DataConfig, arg(constructor=SaidOfData)] = SaidOfData()
    recipe: Annotated[TrainConfig, arg(constructor=SaidOfTraining)] = SaidOfTraining()


@dataclass(frozen=True)
class Sample:
    """Make new pictures with a trained model: PNG files, and all of them on one page."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run's folder, as train made it."""
    n: int = 64
    """How many pictures."""
    classes: tuple[str, ...] = ()
    """Names of the classes to draw, in turn; all classes in turn if nothing is asked for."""
    prompt: tuple[str, ...] = ()
    """What the pictures are to show, in words, for a model that was trained on captions; several are taken in turn."""
    negative: str | None = None
    """What they are not to show, in words: guidance leads away from it."""
    say: Annotated[tuple[str, ...], arg(metavar="NAME=VALUE")] = ()
    """What else is asked for by name, of all pictures: attributes that the model was told in training; of low_resolution and
    known a picture file, transparent where nothing is known."""
    cut: bool = False
    """Cut a prompt that is longer than the model reads, in place of an error."""
    encoder: Path | None = None
    """Where the frozen text encoder is that the model was trained with, if not where it was."""
    guidance: float = 1.0
    """Guidance scale: 1 is none, more keeps closer to the class (of cfg_plus_plus 0 to 1, which is not none)."""
    method: str = "classifier_free"
    """How the scale is used: classifier_free, cfg_plus_plus, cfg_zero_star, apg, or autoguidance, which leads away from an
    earlier snapshot of the run and needs no classes (noisepath guidance shows what each does)."""
    guidance_interval: Annotated[tuple[float, float] | None, arg(metavar="LOW HIGH")] = None
    """Guide at low < sigma / alpha <= high alone; everywhere if not given."""
    rescale: float = 0.0
    """How far a picture's contrast is brought back to that without guidance, 0 to 1; of classifier_free alone."""
    solver: str | None = None
    """Solver by name (noisepath solvers lists them); if neither it nor spacing is given, the sampler that was tuned to this run
    for so many steps (noisepath tune), and where there is none, adams_moulton."""
    steps: int | None = None
    """How many steps the solver makes; 20 if neither steps nor calls are given."""
    calls: int | None = None
    """How many network calls a picture may cost, in place of steps."""
    spacing: str | None = None
    """Which noise levels the run visits, by name (noisepath.SPACINGS); alpha_bar if not given."""
    seed: int = 0
    """Picture i is a function of (seed, i) alone."""
    batch_size: int | None = None
    """Pictures made at once; changes nothing but memory and speed."""
    precision: str = "float32"
    """What the network computes in: float32; bf16 (bfloat16) or float16 take half the memory.  All else stays float32."""
    out: Path = Path("samples")
    """Folder for the pictures; the page with all of them is grid.png in it."""
    limit: bool = True
    """Whether the model is followed only as far as its limit says, where its errors are multiplied."""
    device: str | None = None
    """cpu, cuda, mps ...; the fastest there is if not given."""
    progress: bool = True
    """Show a live bar."""


@dataclass(frozen=True)
class Edit:
    """Edit pictures with a trained model: change them as a whole (the default), make a part anew (--mask, --box, --outpaint),
    go from one to another (--between), or to their noise and back (--invert).

    A picture of another size than the model's is stretched to it and back; pixels that are held stay as they are, at full size.
    Results are PNG files with the picture's alpha channel and EXIF; grid.png shows before and after.
    """

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run's folder, as train made it."""
    pictures: Annotated[Positional[tuple[Path, ...]], arg(metavar="PICTURE ...")]
    """Picture files."""
    strength: float | None = None
    """How much of a picture is replaced by noise before it is made anew: near 0 it comes back, at 1 nothing of it is left;
    0.6 if not given (with a mask, box or edges 1: what they cover does not matter)."""
    mask: Annotated[Path | None, arg(metavar="FILE")] = None
    """A picture of the same size: white is made anew, black is held, grey may change that much."""
    box: Annotated[tuple[int, int, int, int] | None, arg(metavar="X Y W H")] = None
    """A rectangle to be made anew, in place of a mask: its left upper corner, width and height in pixels."""
    outpaint: Annotated[tuple[int, int, int, int] | None, arg(metavar="LEFT TOP RIGHT BOTTOM")] = None
    """Continue the picture beyond its edges by so many pixels."""
    between: Annotated[Path | None, arg(metavar="FILE")] = None
    """Go from each picture to this one, over the noise that leads to them."""
    invert: bool = False
    """Find each picture's noise and what it leads back to, and say how near that is."""
    variations: int | None = None
    """How many results of each picture; 1 if not given."""
    frames: int | None = None
    """How many pictures on the way of --between, both ends among them; 8 if not given."""
    jumps: int | None = None
    """How often each stretch of two steps is gone through again, for a part that fits its surroundings (RePaint); 4 if not
    given, and 0 takes a fifth of the time."""
    classes: tuple[str, ...] = ()
    """Names of the classes that the pictures are to be of, in turn; no class in particular if not given."""
    prompt: tuple[str, ...] = ()
    """What they are to show, in words, in turn, for a model that was trained on captions."""
    encoder: Path | None = None
    """Where the frozen text encoder is that the model was trained with, if not where it was."""
    guidance: float = 1.0
    """Classifier-free guidance scale: 1 is none, more keeps closer to the class."""
    solver: str | None = None
    """Solver by name (noisepath solvers lists them); adams_moulton if not given, and ddim with --between and --invert, which
    need one that draws no noise and begins each step anew."""
    steps: int | None = None
    """How many steps the solver makes; 20 if not given."""
    spacing: str | None = None
    """Which noise levels the run visits, by name (noisepath.SPACINGS); alpha_bar if not given."""
    seed: int = 0
    """Variation k of picture i is a function of (seed, i, k) alone."""
    batch_size: int | None = None
    """Pictures made at once; changes nothing but memory and speed."""
    out: Path = Path("edited")
    """Folder for the results."""
    record: bool = True
    """Keep small pictures of before and after in RUN/edits, for the run's page, which shows the last 12."""
    limit: bool = True
    """Whether the model is followed only as far as its limit says, where its errors are multiplied."""
    device: str | None = None
    """cpu, cuda, mps ...; the fastest there is if not given."""
    progress: bool = True
    """Show a live bar."""


@dataclass(frozen=True)
class Compare:
    """Set solvers side by side on a trained model: how far each ends from the converged answer to the same noise, as a table,
    a figure with pictures, and JSON.

    A solver that draws noise has no such distance, and is shown by its pictures.
    """

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run's folder, as train made it."""
    solvers: tuple[str, ...] = (DEFAULTS.solver, "unipc", "ddim")
    """Solvers by name (noisepath solvers lists them), with the levels of --spacing, or with their own: dpmpp_2m@karras.
    The word tuned stands for the samplers that were tuned to this run (noisepath tune)."""
    spacing: tuple[str, ...] = (DEFAULTS.spacing,)
    """Which noise levels the runs visit, by name (noisepath.SPACINGS); each solver is run with every one."""
    calls: tuple[int, ...] = ()
    """How many network calls a picture may cost; 5, 10 and 20 if neither calls nor steps are given.  Each solver makes as many
    steps as fit."""
    steps: tuple[int, ...] = ()
    """How many steps the solvers make, in place of calls."""
    guidance: tuple[float, ...] = (1.0,)
    """Classifier-free guidance scales: 1 is none.  Each has its own converged answer."""
    classes: tuple[str, ...] = ()
    """Names of the classes to draw, in turn; all classes in turn if not given."""
    n: int = 64
    """How many pictures the distances are taken over."""
    seed: int = 0
    """Picture i is a function of (seed, i) alone."""
    keep: int = 8
    """How many pictures of each are shown."""
    tolerance: float = TOLERANCE
    """The converged answer is one that twice the calls move by less than this (root mean square; pictures are in [-1, 1])."""
    out: Path = Path("compare.png")
    """The figure to write; beside it the figures of the table, with the ending .json."""
    batch_size: int | None = None
    """Pictures made at once; changes nothing but memory and speed."""
    limit: bool = True
    """Whether the model is followed only as far as its limit says, where its errors are multiplied."""
    device: str | None = None
    """cpu, cuda, mps ...; the fastest there is if not given."""
    progress: bool = True
    """Show a live bar."""


@dataclass(frozen=True)
class Guidance:
    """See what each guidance does, to two classes whose truth is known and to a run's pictures: a table, a figure and JSON."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run's folder, as train made it."""
    methods: tuple[str, ...] = ()
    """Of classifier_free, interval, rescale, cfg_plus_plus, cfg_zero_star, apg, autoguidance, dynamic_threshold; all that the
    model allows if not given."""
    scales: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Guidance scales, a column for each: 1 is none."""
    interval: Annotated[tuple[float, float], arg(metavar="LOW HIGH")] = (0.2, 2.0)
    """sigma / alpha between which the method interval guides."""
    rescale: float = 0.7
    """How far the method rescale brings the contrast back, 0 to 1."""
    n: int = 8
    """How many pictures of each method and scale; the first 8 are drawn."""
    classes: tuple[str, ...] = ()
    """Names of the classes to draw, in turn; all classes in turn if not given."""
    solver: str = DEFAULTS.solver
    """Solver by name (noisepath solvers lists them)."""
    steps: int = DEFAULTS.steps
    """How many steps the solver makes."""
    spacing: str = DEFAULTS.spacing
    """Which noise levels the runs visit, by name (noisepath.SPACINGS)."""
    seed: int = 0
    """Picture i is a function of (seed, i) alone."""
    out: Path = Path("guidance.png")
    """The figure to write; beside it the figures of the table, with the ending .json."""
    limit: bool = True
    """Whether the model is followed only as far as its limit says, where its errors are multiplied."""
    device: str | None = None
    """cpu, cuda, mps ...; the fastest there is if not given."""
    progress: bool = True
    """Show live bars."""


@dataclass(frozen=True)
class Board:
    """Make the board on a run's page: what the model draws when asked, a row for each prompt or class and a column for each
    guidance scale, all from the same noise; and how some of the pictures come about.

    Training leaves one at its end; this makes it anew, of your own prompts.
    """

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run's folder, as train made it."""
    prompts: tuple[str, ...] = ()
    """What to ask for in words, a row for each, of a model that was trained on captions; if nothing is asked for, some captions
    of pictures that were held out of the training (where none were, of those that were not)."""
    classes: tuple[str, ...] = ()
    """Names of classes to ask for, a row for each; if nothing is asked for, some of the model's."""
    guidance: tuple[float, ...] = ()
    """Classifier-free guidance scales, a column for each: 1 is none; 1, 2 and 4 if not given (1 where the model can't be
    guided)."""
    seeds: int | None = None
    """How many pictures in each cell; 4 if not given, and 16 of a model that can't be asked for anything."""
    steps: int = DEFAULTS.steps
    """How many steps the solver makes."""
    solver: str = DEFAULTS.solver
    """Solver by name (noisepath solvers lists them)."""
    spacing: str = DEFAULTS.spacing
    """Which noise levels the runs visit, by name (noisepath.SPACINGS)."""
    seed: int = 0
    """Picture k of a cell is a function of (seed, k): sample makes the same one."""
    data: str | None = None
    """Where the run's pictures are now, if captions of theirs are needed and they are not where they were."""
    encoder: Path | None = None
    """Where the frozen text encoder is that the model was trained with, if not where it was."""
    batch_size: int | None = None
    """Pictures made at once; changes nothing but memory and speed."""
    limit: bool = True
    """Whether the model is followed only as far as its limit says, where its errors are multiplied."""
    device: str | None = None
    """cpu, cuda, mps ...; the fastest there is if not given."""
    progress: bool = True
    """Show live bars."""


@dataclass(frozen=True)
class Evaluate:
    """Judge a run's model by pictures that were held out of its training: figures with intervals, and pictures."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run's folder, as train made it."""
    n: int | None = None
    """How many samples; as many as there are training pictures, at most 1,000, if not given."""
    guidance: tuple[float, ...] = ()
    """Guidance scales, each judged by samples of its own; 1 and 2 if not given (1 of a model without classes)."""
    features: str = "auto"
    """What distances are taken in, beside the pixels: auto (a classifier trained on the run's classes), pixels (nothing
    else), or a folder: another run's evaluation/classifier, or a Hugging Face vision model."""
    solver: str = DEFAULTS.solver
    """Solver by name (noisepath solvers lists them)."""
    steps: int | None = None
    """How many steps the solver makes; 20 if not given."""
    spacing: str = DEFAULTS.spacing
    """Which noise levels the run visits, by name (noisepath.SPACINGS)."""
    seed: int = 0
    """Of the samples, and of all else that is random here."""
    data: str | None = None
    """Where the run's pictures are now, if not where they were."""
    encoder: Path | None = None
    """Where the frozen text encoder is that the model was trained with, if not where it was."""
    compare: Annotated[Path | None, arg(metavar="RUN-OR-REPORT")] = None
    """Another run that was evaluated, or its report.json: what the figures differ by."""
    out: Path | None = None
    """Folder for report and pictures; RUN/evaluation if not given."""
    batch_size: int = 256
    """Pictures at once; changes nothing but memory and speed."""
    limit: bool = True
    """Whether the model is followed only as far as its limit says, where its errors are multiplied."""
    device: str | None = None
    """cpu, cuda, mps ...; the fastest there is if not given."""
    progress: bool = True
    """Show live bars."""


@dataclass(frozen=True)
class Tune:
    """Fit samplers to a run: for a few steps, much nearer to what its model draws in hundreds.  sample uses them by itself."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run's folder, as train made it."""
    steps: tuple[int, ...] = (4, 6, 8, 10)
    """Numbers of steps, each a call of the network; a sampler for each."""
    guidance: tuple[float, ...] = ()
    """Guidance scales that each sampler is to serve; 1 and 2 if not given (1 of a model without classes)."""
    starts: int = 256
    """Runs to fit to; as many others are held out, and say when to stop and what was gained."""
    begin_from: int = 2
    """How many solvers to begin from; the best result is kept."""
    analytic_start: bool = False
    """Begin each run with the flow of a Gaussian, which takes no call: "n calls + analytic start"."""
    seed: int = 0
    """Of the starts, and of the classes asked for."""
    batch_size: int = 256
    """Pictures at once; changes nothing but memory and speed."""
    limit: bool = True
    """Whether the model is followed only as far as its limit says, where its errors are multiplied."""
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


@dataclass(frozen=True)
class Solvers:
    """List the solvers: order, calls a step, frame, and whether they draw noise; or all there is to know of some."""

    names: Annotated[Positional[tuple[str, ...]], arg(metavar="[NAME ...]")] = ()
    """Solvers by name, to be explained."""
    measure: bool = False
    """Measure the order that each shows on Gaussian data, beside the one that is stated; a few seconds."""


@dataclass(frozen=True)
class Doctor:
    """Versions, devices, threads and a quick self-test of this machine, to paste into a bug report."""

    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Data:
    """Look at pictures before a run: counts, sizes, classes, duplicates, bad files, and a contact sheet."""

    path: Annotated[Positional[str], arg(metavar="PATH")]
    """A folder or zip of pictures, or the word digits or shapes."""
    picture_size: tuple[int, int] | int | None = None
    """Height and width that pictures are brought to (one number: both); the most common size if not given."""
    resize: str = "cover"
    """How a picture of another size is brought to it: cover (cut around the middle), contain (fill up), stretch."""
    background: str = "white"
    """What transparent pictures are set on, and contain fills up with: white or black."""
    out: Path = Path("contact-sheet.png")
    """The contact sheet to write: what a network will really see, with a row for each class."""
    json: Path | None = None
    """A file to write the report to as JSON as well."""
    progress: bool = True
    """Show a live bar."""


Command = Demo | Train | Sample | Edit | Compare | Guidance | Board | Evaluate | Tune | Schedule | Solvers | Data | Doctor
COMMANDS: dict[str, type[Command]] = {
    "demo": Demo,
    "train": Train,
    "sample": Sample,
    "edit": Edit,
    "compare": Compare,
    "guidance": Guidance,
    "board": Board,
    "evaluate": Evaluate,
    "tune": Tune,
    "schedule": Schedule,
    "solvers": Solvers,
    "data": Data,
    "doctor": Doctor,
}
