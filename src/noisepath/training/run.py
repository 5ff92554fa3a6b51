"""A whole training run, from pictures to a run folder and a denoiser; and going on with one that was stopped.

RUN/run.toml                    every setting (:mod:`noisepath.training.record`): the run can be made again
RUN/plan.json                   what was chosen, and why
RUN/data.json                   the pictures' names and sizes, to see whether they have changed
RUN/text-features/              what a frozen encoder makes of the captions (:mod:`noisepath.asking.kept`)
RUN/checkpoints/, snapshots/    models and state (:mod:`noisepath.training.checkpoint`)
RUN/log.jsonl                   one line each ``log_every`` steps: step, loss, rate, skipped, bad, pictures_per_s, seconds
RUN/loss.png, samples/, board/, index.html   for people
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from noisepath import schedules
from noisepath.asking import Vocabulary
from noisepath.asking.encoder import encoder_in
from noisepath.asking.kept import Rows
from noisepath.data import DataConfig, as_data, changed, holdout_size, open_data, some, split
from noisepath.defaults import torch_defaults
from noisepath.denoiser import Denoiser
from noisepath.errors import lookup, warn
from noisepath.files import clear_leftovers, write_whole
from noisepath.nn.dit import DiT
from noisepath.nn.kinds import network_of
from noisepath.nn.unet import UNet
from noisepath.times import TIMES
from noisepath.training import plan as planning
from noisepath.training.checkpoint import CHECKPOINTS, SNAPSHOTS, load, newest, read_state, vocabulary_of
from noisepath.training.config import TrainConfig
from noisepath.training.ema import gamma_of_length
from noisepath.training.lock import locked
from noisepath.training.loop import Loop, cut_log, empty
from noisepath.training.objective import Objective, check_options
from noisepath.training.processes import Processes, processes
from noisepath.training.record import FILE, Machine, RunConfig, differences, read_run, write_run
from noisepath.training.telling import learnt, told
from noisepath.training.texts_first import read_first, reading_parts
from noisepath.training.trainer import Trainer

if TYPE_CHECKING:
    from noisepath.asking import TextFeatures

__all__ = ["Made", "build", "resume", "steps_in", "train"]

PLAN = "plan.json"
RESERVE = 0.9
"""Share of the time left that is planned for, when minutes are turned into steps."""
TRIAL = 0.03
"""Share of the minutes in which the seconds of a step are measured, where minutes are given, but 1 to 10 seconds: on a
machine that has other work too the speed of one second says little about the next minutes."""
LONGEST_TRIAL = 20.0
"""Seconds after which a trial has seen enough, however few its steps."""
GAIN = 1.1
"""How many times faster half precision must be to be chosen."""
SPECTRUM_OF = 2048
"""Pictures that the network's linear part is measured on."""


@dataclass(frozen=True)
class Made:
    """What a run is made of; ``make(config, total)`` gives trainers with weights and state of their own."""

    trainer: Callable[[TrainConfig, int, Mapping[str, Rows] | None], Trainer]
    config: TrainConfig
    choices: list[planning.Choice]
    network: UNet | DiT
    pictures: int
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    said: Mapping[str, Rows] | None = None
    """What each picture says; made from the pictures with each trainer if not given."""

    def make(self, config: TrainConfig, total: int) -> Trainer:
        """A trainer at step 0."""
        return self.trainer(config, total, self.said)


@torch_defaults()
def train(
    data: Any,
    out: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    device: str = "cpu",
    progress: bool = True,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda text: None,
    encoder: TextFeatures | None = None,
) -> Denoiser:
    """Train a network on pictures and leave the run in the folder ``out``.

    Args:
        data: a folder, a zip, a :class:`noisepath.data.DataConfig`; or images in memory: a tensor or an array (N, C, H, W) of
            floats in [-1, 1] or of uint8, a pair ``(images, labels)``, or such as :func:`noisepath.data.digits`.
        out: the run folder; made if need be.
        config: the recipe; what it leaves open is chosen (:mod:`noisepath.training.plan`).
        device: where the network lives.
        progress: show a live bar (loss, pictures per second, time left).
        overwrite: replace a run that ``out`` holds already; its files are removed before the first step.
        say: is told the plan, and what else a person should know.
        encoder: a frozen text encoder of your own for the captions; one in a folder is ``config.text_encoder``.

    Returns:
        The trained denoiser, as ``noisepath.load(out)`` gives it.

    Raises:
        ValueError: settings that don't fit together, or a folder that holds a run or is in use (before any work); too many
            bad pictures; ten steps in a row without a finite gradient (``Diverged``).
        Interrupted: Ctrl-C or SIGTERM; the run is saved and :func:`resume` goes on with it.
    """
    config, folder, team = config or TrainConfig(), Path(out), processes(device)
    _refuse_a_run(folder, overwrite)
    if config.text_encoder is not None:
        if encoder is not None:
            raise ValueError(f"captions are read by one encoder, but two are named: {config.text_encoder!r} and {encoder.name}")
        config = replace(config, text_encoder=encoder_in(config.text_encoder).folder)
    asked = data if isinstance(data, DataConfig) else DataConfig(data=os.fspath(data)) if _is_path(data) else None
    _refuse_among_pictures(folder, asked)
    pictures = as_data(data) if asked is None else open_data(asked)
    source = asked or DataConfig(data=getattr(pictures, "source", ""), holdout=0)
    held_out = holdout_size(source, len(pictures))
    start = time.perf_counter()
    train_part, kept_out = split(pictures, held_out, config.seed)
    names = learnt(train_part, config, encoder)
    made = build(
        train_part, config, device, team=team, flip=source.flip, workers=source.workers, vocabulary=names
    )  # fmt: skip
    with ExitStack() as stack:
        if team.is_main:
            stack.enter_context(locked(folder))
            _refuse_a_run(folder, overwrite)
        made = replace(made, said=told(made.vocabulary, train_part, folder, team, say, progress))
        _read_first(made, team, say, progress)
        settled, choices, seconds_each = team.from_main(_settle(made, start, device, team))
        source = replace(source, holdout=held_out, picture_size=pictures.shape[1:])
        run = RunConfig(source, settled, machine(device))
        plan = _plan(made, run, pictures, held_out, [*made.choices, *choices], seconds_each, team)
        if team.is_main:
            say(planning.told(plan))
            _begin(folder, plan, pictures)
        team.wait()
        loop = Loop(made.make(settled, plan.steps), folder, run, progress, say, held_out=kept_out)
        loop.begin()
        if team.is_main:
            write_run(folder, run)  # from here on there is a run, and it has a checkpoint
        loop.go()
    team.wait()
    return load(folder, str(team.device), encoder=encoder)


@torch_defaults()
def resume(
    out: str | os.PathLike[str],
    data: Any = None,
    *,
    device: str | None = None,
    progress: bool = True,
    allow_data_change: bool = False,
    say: Callable[[str], None] = lambda text: None,
    encoder: str | os.PathLike[str] | TextFeatures | None = None,
) -> Denoiser:
    """Go on with the run in ``out`` from its newest whole checkpoint, to the same end as if it had never stopped.

    Args:
        out: the run folder.
        data: where the pictures are now, or the pictures; if not given, where they were.
        device: another device than the run's own gives other last digits, which is said.
        progress, say: as for :func:`train`.
        allow_data_change: go on though the pictures are no longer those that the run began with.
        encoder: where the run's frozen text encoder is now, or the encoder; if not given, where it was.  It is needed only
            where captions have to be encoded again.

    Raises:
        FileNotFoundError: no run there, or not a checkpoint in it.
        ValueError: pictures that have changed, a folder in use, no checkpoint that is whole, another text encoder.
    """
    folder = Path(out)
    run = read_run(folder)
    device = device or run.machine.device
    team = processes(device)
    with ExitStack() as stack:
        if team.is_main:
            stack.enter_context(locked(folder))
            for place in (folder, folder / CHECKPOINTS, folder / SNAPSHOTS, folder / "samples"):
                clear_leftovers(place)
        found = newest(folder, run.identity)
        pictures = _same_pictures(folder, run, data, allow_data_change)
        for reason in found.passed_over:
            say(f"passed over: {reason}")
        stack.enter_context(_threads_of(run.machine, device))
        if other := differences(run.machine, machine(device)):
            say(f"this is another machine than the run began on, so the last digits may differ: {'; '.join(other)}")
        train_part, kept_out = split(pictures, run.data.holdout or 0, run.train.seed)
        names = vocabulary_of(found.folder, encoder)
        if not names.encoded:
            names = learnt(train_part, run.train)
        made = build(
            train_part, run.train, device, team=team, flip=run.data.flip, workers=run.data.workers, vocabulary=names
        )  # fmt: skip
        made = replace(made, said=told(names, train_part, folder, team, say, progress))
        assert run.train.steps is not None
        trainer = made.make(run.train, run.train.steps)
        averages, state = read_state(found.folder)
        trainer.load_state(averages, state)
        if team.is_main:
            cut_log(folder, trainer.done)
        say(f"going on with step {trainer.done} of {trainer.total}")
        loop = Loop(trainer, folder, run, progress, say, state.values, kept_out)
        loop.go()
    team.wait()
    return load(folder, str(team.device), encoder=encoder)


def build(
    data: Any,
    config: TrainConfig,
    device: str = "cpu",
    *,
    team: Processes | None = None,
    flip: bool = False,
    workers: int = 0,
    vocabulary: Vocabulary | None = None,
) -> Made:
    """Everything checked and chosen that needs no measuring; the vocabulary is that of the pictures if it is not given."""
    vocabulary = learnt(data, config) if vocabulary is None else vocabulary
    config, numbers, choices = planning.choose(
        config, data.shape, vocabulary.classes, device, vocabulary.parts, data.sigma_data
    )
    schedule = schedules.schedule(config.schedule, **config.schedule_options)
    assert config.times is not None, "the plan fills it in"
    times_kind = lookup(TIMES, config.times, "times")
    check_options(f"times {config.times!r}", times_kind, config.times_options)
    times = times_kind(**config.times_options)
    assert config.preconditioning is not None and config.weighting is not None, "the plan fills them in"
    objective = Objective(
        schedule, config.prediction, times, config.weighting, config.weighting_options, data.sigma_data, config.drop_condition,
        config.drop_each, config.preconditioning,
    )  # fmt: skip
    if problem := planning.check_times(times, config.times, schedule, planning.times_for(config, schedule)):
        warn(problem)
    # what can go wrong in a step or a checkpoint goes wrong now, before a folder is made
    schedules.to_dict(schedule)
    objective.losses(lambda x, t: x, torch.zeros(2, 1), seed=config.seed, step=0, samples=[0, 1])
    for length in config.ema_lengths:
        gamma_of_length(length)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)  # the CPU's alone: others are not put back
        network = network_of(numbers)
    if network.linear is not None:
        network.linear.measure(some(data, SPECTRUM_OF), data.sigma_data)
    config, first = planning.texts_first(config, len(data), vocabulary.parts)
    config, reasons = planning.in_parts(config, network, tuple(data.shape), device, 1 if team is None else team.count)

    def make(config: TrainConfig, total: int, said: Mapping[str, Rows] | None) -> Trainer:
        own = replace(objective, times=deepcopy(times))
        on_device = deepcopy(network).to(device if team is None else team.device)
        return Trainer(
            on_device, own, data, config, total, processes=team, flip=flip, workers=workers, vocabulary=vocabulary, said=said
        )  # fmt: skip

    return Made(make, config, [*choices, *first, *reasons], network, len(data), vocabulary)


def steps_in(seconds: float, each: float, spent: float = 0.0) -> int:
    """How many steps of ``each`` seconds fit into what is left of ``seconds``, with a reserve, since steps get slower rather
    than faster; one at least."""
    return max(1, round(RESERVE * (seconds - spent) / each))


def machine(device: str) -> Machine:
    """This machine, as far as a run's numbers depend on it."""
    return Machine(device, torch.get_num_threads(), torch.__version__, torch.backends.cpu.get_cpu_capability())


def _refuse_among_pictures(folder: Path, asked: DataConfig | None) -> None:
    if asked is not None and Path(asked.data).is_dir() and folder.resolve().is_relative_to(Path(asked.data).resolve()):
        raise ValueError(f"the run {str(folder)!r} lies among the pictures of {asked.data!r}, and would become one of them")


def _read_first(made: Made, team: Processes, say: Callable[[str], None], progress: bool) -> None:
    """Texts first: the network that all trainers begin with learns to read, in the main process."""
    if not made.config.text_steps:
        return
    learned: dict[str, dict[str, torch.Tensor]] = {}
    reader = made.make(made.config, 1)  # which is something that all processes do together
    if team.is_main:
        error = read_first(reader, made.config.text_steps, progress)
        say(f"texts are read: the picture that one expects of a text misses {error:.2f} of the pictures' variance")
        learned = {name: {k: v.cpu() for k, v in e.state_dict().items()} for name, e in reading_parts(reader.network).items()}
    reader.processes.release()
    for name, weights in team.from_main(learned).items():
        reading_parts(made.network)[name].load_state_dict(weights)


def _settle(made: Made, start: float, device: str, team: Processes) -> tuple[TrainConfig, list[planning.Choice], float]:
    """What has to be measured: precision, seconds for a step, and with them the number of steps."""
    config, choices = made.config, list[planning.Choice]()
    if config.precision == "auto":
        config, choices = _faster_precision(made, device)
    each = _seconds_for_a_step(made, config, team)
    if config.steps is None:
        shown = planning.shown_in_all(made.pictures)
        wanted, cap = -(-shown // config.batch_size), planning.longest_minutes(device)
        if config.minutes is not None:
            steps = steps_in(60 * config.minutes, each, time.perf_counter() - start)
            choices.append(
                planning.Choice("steps", str(steps), f"{each * 1000:.0f} ms each, measured: {config.minutes:g} minutes")
            )
        elif wanted * each <= 60 * cap:
            steps = wanted
            choices.append(planning.Choice("steps", str(steps), f"{shown:,} pictures shown in all"))
        else:
            steps = steps_in(60 * cap, each)
            full = f"all {wanted:,} steps for {shown:,} pictures would take {wanted * each / 3600:.1f} hours (--steps {wanted})"
            choices.append(planning.Choice("steps", str(steps), f"{cap:g} minutes; {full}"))
        config = replace(config, steps=steps, minutes=None)
    return config, choices, each


def _faster_precision(made: Made, device: str) -> tuple[TrainConfig, list[planning.Choice]]:
    plain, half = (replace(made.config, precision=name) for name in ("float32", "bfloat16"))
    if not planning.has_bfloat16(device):
        return plain, [planning.Choice("precision", "float32", "this processor has no bfloat16 of its own")]
    gain = min(_seconds(made, plain, 4)) / min(_seconds(made, half, 4))  # what else the machine does only makes steps longer
    chosen = half if gain >= GAIN else plain
    return chosen, [planning.Choice("precision", chosen.precision, f"bfloat16 is {gain:.2f} times as fast, measured")]


def _seconds_for_a_step(made: Made, config: TrainConfig, team: Processes) -> float:
    """Measured over some steps of a trainer that is thrown away; several processes all make the same number."""
    if config.steps is not None:  # for the plan's words alone
        return _timed(made, config, 2)
    if team.count > 1:
        return _timed(made, config, 5)
    return _timed(made, config, 8, at_least_s=min(max(1.0, TRIAL * 60 * (config.minutes or 0.0)), 10.0))


def _timed(made: Made, config: TrainConfig, least: int, at_least_s: float = 0.0) -> float:
    """The mean seconds of a step; the slowest one, which something else may have delayed, is left out."""
    taken = _seconds(made, config, least, at_least_s)
    return (sum(taken) - max(taken)) / (len(taken) - 1)


def _seconds(made: Made, config: TrainConfig, least: int, at_least_s: float = 0.0) -> list[float]:
    """The seconds of some steps of a trainer that is thrown away."""
    trial = made.make(config, 1000)
    taken: list[float] = []
    try:
        with planning.enough_memory(trial.network, tuple(trial.data.shape), config, trial.processes.count):
            trial.step()  # the first step also sets things up
            while len(taken) < least or sum(taken) < at_least_s:
                before = time.perf_counter()
                trial.step()
                taken.append(time.perf_counter() - before)
                if sum(taken) > LONGEST_TRIAL and len(taken) >= 2 and trial.processes.count == 1:
                    break
    finally:
        trial.close()
        trial.processes.release()
    return taken


def _plan(
    made: Made, run: RunConfig, pictures: Any, held_out: int, choices: list[planning.Choice], each: float, team: Processes
) -> planning.Plan:
    assert run.train.steps is not None
    return planning.Plan(
        pictures=len(pictures) - held_out,
        held_out=held_out,
        shape=tuple(pictures.shape),
        classes=tuple(pictures.class_names),
        parameters=sum(parameter.numel() for parameter in made.network.parameters()),
        steps=run.train.steps,
        seconds=round(each * run.train.steps, 1),
        bytes=planning.bytes_needed(made.network, tuple(pictures.shape), run.train, team.count),
        device=run.machine.device,
        choices=tuple(choices),
    )


def _begin(folder: Path, plan: planning.Plan, pictures: Any) -> None:
    """A folder with the plan and nothing else of a run, or of the beginning of one."""
    if (folder / FILE).exists() or (folder / PLAN).exists():
        empty(folder)
    with write_whole(folder / PLAN) as part:
        part.write_text(json.dumps(plan.to_dict(), indent=1) + "\n", encoding="utf-8")
    with write_whole(folder / "data.json") as part:
        part.write_text(json.dumps({"fingerprint": pictures.fingerprint, "listing": pictures.listing}) + "\n", encoding="utf-8")


def _refuse_a_run(folder: Path, overwrite: bool) -> None:
    if folder.is_file():
        raise ValueError(f"{str(folder)!r} is a file: a run needs a folder")
    if overwrite or not ((folder / FILE).exists() or (folder / "config.json").exists()):
        return
    raise ValueError(f"{str(folder)!r} already holds a run: resume it, choose another folder, or say overwrite")


def _is_path(data: Any) -> bool:
    return isinstance(data, str | os.PathLike)


def _same_pictures(folder: Path, run: RunConfig, data: Any, allow_change: bool) -> Any:
    """The run's pictures, wherever they are now; ValueError if they are no longer the same."""
    if data is None and not run.data.data:
        raise ValueError(f"the run {str(folder)!r} was given its pictures by a program: give them to resume() again")
    if data is None or _is_path(data):
        pictures = open_data(run.data if data is None else replace(run.data, data=os.fspath(data)))
    else:
        pictures = as_data(data)
    told = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    if told["fingerprint"] != pictures.fingerprint and not allow_change:
        what = changed(told["listing"], pictures.listing) or "their contents differ"
        raise ValueError(
            f"the pictures are not those that the run began with: {what}; say allow_data_change to go on all the same"
        )
    if tuple(pictures.shape[1:]) != run.data.picture_size:
        raise ValueError(f"the pictures are {pictures.shape[1:]}, but those of the run are {run.data.picture_size}")
    return pictures


@contextmanager
def _threads_of(then: Machine, device: str) -> Iterator[None]:
    """The run's own number of threads on a CPU, whose sums end in other digits with another; and after it the program's."""
    before = torch.get_num_threads()
    own = then.threads if device == "cpu" and then.device == "cpu" else before
    if own != before:
        torch.set_num_threads(own)
    try:
        yield
    finally:
        if own != before:
            torch.set_num_threads(before)
