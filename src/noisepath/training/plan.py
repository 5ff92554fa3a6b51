"""From pictures and a machine to a run: what the configuration left open is chosen here, each choice with its reason.

The rules, for a longer side of s pixels:

    size        on a CPU tiny up to 12 pixels, beyond them compact, which learns soonest, and small for runs of more than
                half an hour; on an accelerator small up to 16 and base beyond
    fold        1 up to 20 pixels; beyond, squares of 2 (of 4 beyond 48) on a CPU, where full size would take days;
                on an accelerator squares of 2 beyond 96
    patch       of a transformer 1 up to 16 pixels, twice that for each doubling beyond: 256 tokens at most; its size is tiny or
                compact on a CPU, S or B on an accelerator
    linear      beyond 12 pixels a network with edm's prediction begins as the best linear denoiser of the pictures' spectrum
    times       of edm's prediction, of x0 and on edm's schedule log-normal; else stratified, even over the schedule's times:
                runs of other predictions begin where a log-normal sampler trains nothing
    weighting   min_snr of x0, else plain
    preconditioning  unit where what a network sees or gives is more than 4 times as large or small as 1
    mean        of log-normal noise levels log sigma = -1.2 for 8 pixels, and higher by log(s / 8) for larger pictures, up
                to 0: neighbouring pixels are alike, so that it takes more noise to hide what a picture shows; around 0.5 more,
                and over a wider range, where a text says what is to be seen: that is settled while there is much noise, and
                balanced there, since the loss at that much noise drowns the one that forms are learnt from
    optimizer   Muon where there are texts, which it learns from two thirds of the pictures that AdamW needs; else AdamW
    rate        3e-3 up to 2 million parameters, 2e-3 up to 12 million, 5e-4 beyond; of a transformer 1e-3 up to 12 million,
                1e-4 beyond (Peebles & Xie); three times that with Muon, whose steps go in all directions alike
    length      each picture 50 times, but 80,000 pictures at least; at most 60 minutes on a CPU, 8 hours on an accelerator
    expects     beside texts whose encoder trains along a U-Net is told the picture that they make one expect
    text_steps  400, in which a text encoder that trains along learns to read before the network learns to draw; less where
                that shows a text more than four times, or takes more than a fourth of the run's steps; 40 a minute at most
    parts       on a CPU a batch is computed in parts that keep 640 MiB or less for their gradient, which is as fast or faster
    precision   the faster of float32 and bfloat16, measured, where the processor has bfloat16; a CPU keeps attention in float32
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from noisepath import schedules
from noisepath.nn.config import UNetConfig
from noisepath.nn.dit_config import DiTConfig
from noisepath.nn.kinds import NETWORKS, network_of
from noisepath.nn.parts import Part
from noisepath.predictions import PREDICTIONS
from noisepath.times import TimestepSampler
from noisepath.training.config import TrainConfig
from noisepath.training.limit import limited_log_snrs

__all__ = [
    "Choice",
    "Plan",
    "bytes_needed",
    "bytes_per_picture",
    "choose",
    "enough_memory",
    "has_bfloat16",
    "in_parts",
    "network_config",
    "parts",
    "texts_first",
    "told",
]

SHOWN_EACH, SHOWN_LEAST = 50, 80_000
MINUTES_AT_MOST = {"cpu": 60.0}
MINUTES_ON_ACCELERATOR = 480.0
DECIDED, LEAST_DECIDED, DRAWN = (0.05, 5.0), 0.15, 2048
"""Noise levels at which images are decided, the least share of training that is to be there, and draws that it is found in."""
MODERATE = 4.0
"""How many times larger or smaller than 1 what enters and leaves a network may be."""
KEPT_AT_ONCE = 640 * 2**20
"""Bytes that a part of a batch keeps for its gradient on a CPU, in float32."""
MUON_FASTER = 3
"""How much higher its rate is than AdamW's."""
EXPECTS = 128
"""Width of the part that says which picture texts make one expect."""
WAVES = 4
"""Of each axis, that tell a network where in the picture it is, where texts may speak of it."""
READING, READ_EACH, READING_A_MINUTE = 400, 4, 40
"""Steps in which texts are read first: at most so many, each text so often, and so many for each minute of the run."""
LEAST_AT_ONCE = 8
"""Pictures of a part that the plan chose: with fewer, a processor's units have too little to do."""


@dataclass(frozen=True)
class Choice:
    """One thing that the plan decided."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a run is going to do; ``vars`` of it, as JSON, are ``RUN/plan.json``."""

    pictures: int
    held_out: int
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    parameters: int
    steps: int
    seconds: float
    """Expected, for all steps."""
    bytes: int
    """Expected peak memory of a step."""
    device: str
    choices: tuple[Choice, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def choose(
    config: TrainConfig,
    shape: tuple[int, ...],
    classes: int,
    device: str,
    conditions: tuple[Part, ...] = (),
    sigma_data: float = 0.5,
) -> tuple[TrainConfig, UNetConfig | DiTConfig, list[Choice]]:
    """The configuration with network and rate filled in, the network's numbers, and the reasons."""
    side, on_cpu = max(shape[1:]), device.startswith("cpu")
    hears = _hears(conditions)
    where = "a CPU" if on_cpu else "an accelerator"
    choices: list[Choice] = []
    if config.size == "auto":
        long = config.steps is None and (config.minutes is None or config.minutes > 30)
        on_a_cpu = "tiny" if side <= 12 else "small" if long and config.network == "unet" else "compact"
        small, base = ("S", "B") if config.network == "dit" else ("small", "base")
        size = on_a_cpu if on_cpu else small if side <= 16 else base
        config = replace(config, size=size)
        how_long = ", more than half an hour" if size == "small" and on_cpu else ""
        choices.append(Choice("size", size, f"{side} pixels on {where}{how_long}"))
    if config.network == "dit" and config.patch is None:
        config = replace(config, patch=2 ** max(0, math.ceil(math.log2(side / 16))))
        choices.append(Choice("patch", str(config.patch), f"{side} pixels in 256 tokens at most"))
    if config.network == "unet" and config.fold is None:
        fold = (1 if side <= 20 else 2 if side <= 48 else 4) if on_cpu else (1 if side <= 96 else 2)
        config = replace(config, fold=fold)
        reason = (
            f"{side} pixels are few enough"
            if fold == 1
            else f"{fold} x {fold} pixels as one place: {fold**2} times cheaper at full size"
        )
        choices.append(Choice("fold", str(fold), reason))
    if config.linear is None:
        config = replace(config, linear=config.prediction == "edm" and side > 12)
        if config.linear:
            choices.append(Choice("linear", "yes", "the network begins as the best linear denoiser of these pictures"))
    if config.linear and config.prediction != "edm":
        raise ValueError(
            f"a network begins as a linear denoiser with prediction 'edm' alone, but is to predict {config.prediction!r}"
        )
    schedule = schedules.schedule(config.schedule, **config.schedule_options)
    config, reasons = _preconditioned(config, schedule, sigma_data)
    choices += reasons
    network = network_config(shape, classes, config, schedule, conditions)
    for part in conditions:
        sizes = {"text": f"{part.length} tokens of {part.size} kinds", "features": f"{part.length} vectors of {part.size}"}
        choices.append(Choice("condition", part.name, f"{part.kind}, {sizes.get(part.kind, part.size)}"))
    config, reasons = _levels(config, schedule, side, hears, sigma_data)
    choices += reasons
    if config.optimizer is None and hears:
        config = replace(config, optimizer="muon")
        choices.append(Choice("optimizer", "muon", "texts are learnt from two thirds of the pictures that AdamW needs"))
    if config.learning_rate is None:
        with torch.device("meta"):
            million = _parameters(network_of(network)) / 1e6
        rate = 3e-3 if million <= 2 else 2e-3 if million <= 12 else 5e-4
        if config.network == "dit":
            rate = 1e-3 if million <= 12 else 1e-4
        rate *= MUON_FASTER if config.optimizer == "muon" else 1
        config = replace(config, learning_rate=rate)
        choices.append(Choice("learning_rate", f"{rate:g}", f"{million:.2g} million parameters"))
    return config, network, choices


def _preconditioned(
    config: TrainConfig, schedule: schedules.Schedule, sigma_data: float
) -> tuple[TrainConfig, list[Choice]]:
    """The configuration with the preconditioning filled in, and the reason."""
    choices: list[Choice] = []
    if config.preconditioning is None:
        ends = sizes_of(schedule, config.prediction, sigma_data)
        unit = not all(1 / MODERATE <= size <= MODERATE for size in ends)
        config = replace(config, preconditioning="unit" if unit else "none")
        if unit:
            why = f"input from {ends[0]:.2g} to {ends[1]:.2g}, output from {ends[2]:.2g} to {ends[3]:.2g}: both brought to 1"
            choices.append(Choice("preconditioning", "unit", why))
    return config, choices


def _levels(
    config: TrainConfig, schedule: schedules.Schedule, side: int, hears: bool, sigma_data: float
) -> tuple[TrainConfig, list[Choice]]:
    """The configuration with weighting and training times filled in, what is limited, and the reasons."""
    choices: list[Choice] = []
    if config.weighting is None:
        weighting = "min_snr" if config.prediction == "x0" else "plain"
        config = replace(config, weighting=weighting)
        if weighting != "plain":
            choices.append(Choice("weighting", weighting, "the error of x0 itself hardly counts fine detail"))
    limited = limited_log_snrs(schedule, config.prediction, sigma_data, config.preconditioning or "none")
    if config.times is None:
        config = replace(config, times=times_for(config, schedule, hears))
        if config.times == "balanced":
            choices.append(Choice("weights", "balanced", "each noise level counts by the inverse of its usual loss"))
        if config.times == "stratified":
            choices.append(Choice("times", "stratified", f"all levels that runs on {config.schedule} visit, alike"))
    if config.times in ("log_normal", "balanced") and "mean" not in config.times_options:
        mean = min(0.0, max(-1.2, round(-1.2 + math.log(side / 8), 2)))
        options: dict[str, int | float] = {"mean": round(mean + 0.5, 2), "std": 1.4} if hears else {"mean": mean}
        config = replace(config, times_options={**options, **config.times_options})
        what = f"for {side} pixels" + " and what a text says of them" * hears
        choices.append(Choice("times", f"{options['mean']:g}", f"mean log sigma of the noise that is trained on, {what}"))
    if limited:
        levels = f"sigma / alpha above {math.exp(-limited[-1] / 2):.2g}, where errors in {config.prediction} are multiplied"
        what = "weighed with what is known of the data" if config.limit else "nothing but the data's range holds the samples"
        choices.append(Choice("limit", "yes" if config.limit else "no", f"{what} at {levels}"))
    return config, choices


def network_config(
    shape: tuple[int, ...],
    classes: int,
    config: TrainConfig,
    schedule: schedules.Schedule,
    conditions: tuple[Part, ...] = (),
) -> UNetConfig | DiTConfig:
    """The network's numbers for pictures: the size by name, what the configuration says otherwise, channels, what is told."""
    dit: dict[str, Any] = {"patch": config.patch, "text": config.text_heard}
    unet: dict[str, Any] = {name: getattr(config, name) for name in ("channels", "blocks", "attention", "fold")}
    if _hears(conditions):
        unet["positions"] = WAVES  # a text may say where something is; a transformer's tokens know their places
    if any(part.kind == "text" for part in conditions):
        unet["expects"] = EXPECTS
    said = dit if config.network == "dit" else unet
    # sines and cosines resolve a range of about 1000: log(sigma / alpha) / 4 and t in [0, 1] are stretched to it
    log_sigma = config.prediction == "edm" or config.preconditioning == "unit" and schedule.scaling == "exploding"
    axis = 1.0 if log_sigma else schedule.num_timesteps or schedule.t_max - schedule.t_min
    channels = shape[0]
    return NETWORKS[config.network].named(
        config.size,
        **{name: value for name, value in said.items() if value is not None},
        in_channels=channels,
        out_channels=channels,
        classes=classes,
        conditions=conditions,
        dropout=config.dropout,
        time_scale=1000.0 / axis,
        spectrum=(shape[1], shape[2]) if config.linear else None,
    )


def sizes_of(schedule: schedules.Schedule, prediction: str, sigma_data: float) -> tuple[float, float, float, float]:
    """Least and greatest size (root mean square) over a schedule of what a network sees, and of what it is to give."""
    kind = PREDICTIONS[prediction]
    t = torch.linspace(schedule.t_min, schedule.t_max, 1001, dtype=torch.float64, device="cpu")
    if schedule.num_timesteps is not None:
        t = torch.arange(schedule.t_min, schedule.t_max + 1, dtype=torch.float64, device="cpu")
    elif schedule.scaling == "exploding":
        ends = math.log(schedule.t_min), math.log(schedule.t_max)
        t = torch.exp(torch.linspace(*ends, 1001, dtype=torch.float64, device="cpu"))
    alpha, sigma = schedule.alpha_sigma(t)
    factors = kind.factors(schedule, t, alpha, sigma, sigma_data)
    of_x0, of_noise = factors.target(alpha, sigma)
    found = []
    for size in (factors.c_in * torch.hypot(alpha * sigma_data, sigma), torch.hypot(of_x0 * sigma_data, of_noise)):
        finite = size[torch.isfinite(size)]
        found += [float(finite.min()), float(finite.max())]
    return found[0], found[1], found[2], found[3]


def times_for(config: TrainConfig, schedule: schedules.Schedule, hears: bool = False) -> str:
    """The sampler of training times that suits schedule and prediction."""
    if config.prediction in ("edm", "x0") or schedule.scaling == "exploding":
        return "balanced" if hears else "log_normal"
    return "stratified"


def check_times(times: TimestepSampler, name: str, schedule: schedules.Schedule, suited: str) -> str | None:
    """What is wrong with a sampler that seldom trains where images are decided, sigma / alpha from 0.05 to 5; else None."""
    t, _ = times.draw(schedule, 0, range(DRAWN), range(DRAWN), DRAWN)
    ratio = torch.exp(-0.5 * schedule.log_snr(t))
    share = float(((ratio > DECIDED[0]) & (ratio < DECIDED[1])).double().mean())
    if share >= LEAST_DECIDED:
        return None
    return (
        f"times {name!r} spend {100 * share:.2g} % of the training where images are decided (sigma / alpha from "
        f"{DECIDED[0]:g} to {DECIDED[1]:g}), so little will be learned: {suited!r} suits this schedule"
    )


def _hears(conditions: tuple[Part, ...]) -> bool:
    """Whether there is a text among what the network is told."""
    return any(part.kind in ("text", "features") for part in conditions)


def shown_in_all(pictures: int) -> int:
    """How many pictures, counted each time, a run of the default length shows."""
    return max(SHOWN_LEAST, SHOWN_EACH * pictures)


def longest_minutes(device: str) -> float:
    """The longest run that is started without being asked for."""
    return MINUTES_AT_MOST.get(device.split(":")[0], MINUTES_ON_ACCELERATOR)


def has_bfloat16(device: str) -> bool:
    """Whether the processor computes in bfloat16 itself (one that does not is slower with it)."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.startswith("cpu") and any(bool(getattr(torch.cpu, name, lambda: False)()) for name in names)


def bytes_per_picture(network: nn.Module, shape: tuple[int, ...]) -> int:
    """What one picture of a batch keeps in memory until its gradient is computed: what torch itself says that it keeps."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    x = torch.zeros(1, *shape, device=next(network.parameters()).device)
    back: Callable[[Tensor], Tensor] = lambda tensor: tensor  # noqa: E731
    with torch.autograd.graph.saved_tensors_hooks(keep, back):
        output = network(x, torch.zeros(1, device=x.device))
    del output
    return sum(size for pointer, size in kept.items() if pointer not in own)


def parts(network: nn.Module, shape: tuple[int, ...], batch_size: int, device: str, processes: int = 1) -> int:
    """How many parts a batch is computed in unless told: 1, 2, 4 ..., so that on a CPU one keeps ``KEPT_AT_ONCE`` at most."""
    count, own = 1, batch_size // processes
    if device.startswith("cpu") and own >= 2 * LEAST_AT_ONCE:
        each = bytes_per_picture(network, shape)
        while own // (2 * count) >= LEAST_AT_ONCE and -(-own // count) * each > KEPT_AT_ONCE:
            count *= 2
    return count


def in_parts(
    config: TrainConfig, network: nn.Module, shape: tuple[int, ...], device: str, processes: int = 1
) -> tuple[TrainConfig, list[Choice]]:
    """The configuration with the number of parts filled in, and the reason."""
    if config.accumulate is not None:
        return config, []
    count = parts(network, shape, config.batch_size, device, processes)
    at_once = -(-config.batch_size // (count * processes))
    why = [Choice("accumulate", str(count), f"{at_once} pictures at a time: less memory, and no slower on a CPU")]
    return replace(config, accumulate=count), why if count > 1 else []


def texts_first(
    config: TrainConfig, pictures: int, conditions: tuple[Part, ...] = ()
) -> tuple[TrainConfig, list[Choice]]:
    """The configuration with the steps filled in in which texts are read first, and the reason."""
    if not any(part.kind == "text" for part in conditions):
        if config.text_steps:
            raise ValueError(f"text_steps = {config.text_steps} is for captions whose encoder trains along, and there are none")
        return config, []
    if config.text_steps is not None:
        return config, []
    steps = min(READING, READ_EACH * pictures // config.batch_size)
    if config.steps is not None:
        steps = min(steps, config.steps // 4)
    elif config.minutes is not None:
        steps = min(steps, int(READING_A_MINUTE * config.minutes))
    why = "steps in which texts are read, before the network learns to draw"
    return replace(config, text_steps=steps), [Choice("text_steps", str(steps), why)]


def bytes_needed(network: nn.Module, shape: tuple[int, ...], config: TrainConfig, processes: int = 1) -> int:
    """Peak memory of a step on this process: weights, gradient, AdamW's two averages, two of ours, and the batch."""
    weights = 6 * sum(p.numel() * p.element_size() for p in network.parameters())
    at_once = -(-config.batch_size // ((config.accumulate or 1) * processes))
    half = 0.6 if config.precision == "bfloat16" else 1.0
    return weights + int(half * at_once * bytes_per_picture(network, shape))


@contextmanager
def enough_memory(network: nn.Module, shape: tuple[int, ...], config: TrainConfig, processes: int = 1) -> Iterator[None]:
    """Turns running out of memory into a ValueError that says what would fit."""
    try:
        yield
        return
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
    count = config.accumulate or 1
    finer = replace(config, accumulate=2 * count)
    needed, less = (bytes_needed(network, shape, c, processes) / 1e9 for c in (config, finer))
    raise ValueError(
        f"out of memory with {config.batch_size} pictures in {count} parts (about {needed:.1f} GB): "
        f"--accumulate {2 * count} needs about {less:.1f} GB and trains the same"
    )


def _is_out_of_memory(error: BaseException) -> bool:
    spoken = str(error).lower()
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in spoken or "not enough memory" in spoken


def told(plan: Plan) -> str:
    """The plan for a person, some lines."""
    shape, classes = " x ".join(map(str, plan.shape)), f" in {len(plan.classes)} classes" if plan.classes else ""
    out = f", {plan.held_out} more kept out to measure with" if plan.held_out else ""
    lines = [
        f"pictures      {plan.pictures:,} of {shape}{classes}{out}",
        f"network       {plan.parameters / 1e6:.2f} million parameters",
        f"length        {plan.steps:,} steps, about {_duration(plan.seconds)} on {plan.device}",
        f"memory        about {plan.bytes / 1e9:.1f} GB for a step",
    ]
    return "\n".join(lines + [f"{choice.name:13} {choice.value:9} {choice.reason}" for choice in plan.choices])


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} minutes"
        if seconds < 7200
        else f"{seconds / 3600:.1f} hours"
    )


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
