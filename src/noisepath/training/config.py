"""The training recipe: every number a training run depends on, in one frozen dataclass that needs no torch.

The command line, the documentation and the tests read their defaults from here.  The defaults are a recipe for few
minutes on a CPU that holds for other data too: EDM preconditioning on log-normal noise levels, AdamW at a high rate with
warm-up and decay to 0, a short moving average tied to the run's length (see ``ema_lengths``).  What depends on the data
and the machine is "auto" or ``None`` here and is chosen, with its reason, by :mod:`noisepath.training.plan`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from noisepath.errors import explain_options, is_number, is_whole, lookup, number, unknown
from noisepath.nn.dit_config import TEXTS
from noisepath.predictions import PRECONDITIONINGS
from noisepath.printing import changed

__all__ = ["NETWORKS", "OPTIMIZERS", "PRECISIONS", "TOKENS", "TrainConfig"]

PRECISIONS = ("auto", "float32", "bfloat16")
TOKENS = ("auto", "words", "bytes")
NETWORKS = ("unet", "dit")
OPTIMIZERS = ("adamw", "muon")
_NUMBERS = ("minutes", "learning_rate", "decay", "weight_decay", "clip", "dropout", "drop_condition", "drop_each")
_NOT_OF = {"unet": ("patch", "text_heard"), "dit": ("fold", "channels", "blocks", "attention")}


_ELSEWHERE = {
    "epochs": "steps (optimizer steps) or minutes",
    "gradient_accumulation_steps": "accumulate",
    "lr": "learning_rate",
    "max_steps": "steps",
    "num_steps": "steps",
    "max_grad_norm": "clip",
    "p_uncond": "drop_condition",
    "warmup_steps": "warmup",
}
"""What other libraries call an option -> its name here."""


@explain_options(_ELSEWHERE)
@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained.  Everything has a working default; what is not said is chosen from data and machine."""

    steps: int | None = None
    """Length of the run in optimizer steps; wins over ``minutes``."""
    minutes: float | None = None
    """Length of the run in minutes, turned into steps by measuring once at the start and fixed from there on."""
    batch_size: int = 64
    """Pictures per optimizer step."""
    accumulate: int | None = None
    """Parts that a batch is computed in, to save memory: the gradient is the same as in one part.  If not given, on a CPU so
    many that one keeps 640 MiB or less, which is no slower; elsewhere one."""
    seed: int = 0
    """Every draw of the run is a hash of (seed, step, picture, purpose)."""

    network: str = "unet"
    """unet, or dit: a transformer."""
    size: str = "auto"
    """Size by name (``noisepath.nn.SIZES``, of a transformer ``DIT_SIZES``); auto: by the pictures and the machine."""
    patch: int | None = None
    """Side of the squares of pixels that become a transformer's tokens; by the pictures if not given."""
    fold: int | None = None
    """Side of the squares of pixels that the network sees as one place with more channels; 1: none."""
    linear: bool | None = None
    """Whether the network begins as the best linear denoiser of the pictures (``noisepath.nn.LinearPart``); if not said, with
    edm's prediction beyond 12 pixels."""
    channels: tuple[int, ...] | None = None
    """Width at each resolution, full size first; the size's own if not given."""
    blocks: int | None = None
    """Residual blocks per resolution, on the way down and again on the way up; the size's own if not given."""
    attention: tuple[int, ...] | None = None
    """Resolutions with attention, counted from 0 = full size; the size's own if not given."""
    dropout: float = 0.0
    """Dropout inside the residual blocks."""

    schedule: str = "edm"
    """Noise schedule by name (``noisepath.schedules.SCHEDULES``)."""
    schedule_options: dict[str, int | float] = field(default_factory=dict)
    """The schedule's own settings, such as ``num_timesteps`` or ``sigma_max``."""
    prediction: str = "edm"
    """What the network is trained to give (``noisepath.denoiser.PREDICTIONS``)."""
    times: str | None = None
    """Which noise levels a step trains on (``noisepath.times.TIMES``); if not given balanced for networks that hear texts,
    log_normal for edm's prediction and x0, whose errors are never multiplied, and on edm's schedule; else stratified, which
    covers all levels of a schedule alike."""
    times_options: dict[str, int | float] = field(default_factory=dict)
    """The sampler's own settings, such as ``mean`` and ``std``."""
    preconditioning: str | None = None
    """none: the network gives the prediction itself; unit: it works on input and output of unit variance, where a prediction's
    own are very large or small (``noisepath.predictions.PRECONDITIONINGS``); by schedule and prediction if not given."""
    limit: bool = True
    """Whether samples are limited to what is known of the data where the network's error is multiplied (``noisepath.limit``),
    by weights that are measured with each saved model; it does not change the training."""
    weighting: str | None = None
    """Weight of a noise level's loss (``noisepath.training.WEIGHTINGS``); if not given min_snr for x0, whose own squared error
    hardly counts fine detail, else plain."""
    weighting_options: dict[str, int | float] = field(default_factory=dict)
    """The weighting's own settings, such as ``gamma`` or ``bias``."""

    optimizer: str | None = None
    """adamw, or muon: Muon for matrices and AdamW for the rest; if not given muon for networks that hear texts, else adamw."""
    learning_rate: float | None = None
    """Highest learning rate of the run; by the size of the network if not given."""
    warmup: int = 100
    """Steps over which the rate rises linearly from 0 (at most a tenth of the run)."""
    decay: float = 0.6
    """Share of the run, at its end, over which the rate falls linearly to 0; 0 keeps it constant."""
    betas: tuple[float, float] = (0.9, 0.99)
    """AdamW's averaging factors for gradient and squared gradient."""
    weight_decay: float = 1e-2
    """AdamW's weight decay."""
    clip: float = 1.0
    """Largest gradient norm; a longer gradient is scaled down to it.  0: no clipping."""
    ema_lengths: tuple[float, float] = (0.05, 0.1)
    """Widths of the two moving averages of the weights, as shares of the steps made so far (power-function profile).  The
    first is the model; from both together averages of other lengths can be made later."""
    drop_condition: float = 0.1
    """Share of the pictures whose class is hidden from the network, which is what guidance needs later."""
    conditions: tuple[str, ...] | None = None
    """What the network is told of each picture: label, text (its caption), attributes by name, low_resolution, known (a part
    of the picture); label and text where the pictures have them, if not given."""
    drop_each: float = 0.1
    """Share of the pictures of which each condition is hidden by itself, where there are several."""
    tokens: str = "auto"
    """How captions are read: by words, or bytes; auto: by words where the captions use each five times on average."""
    text_length: int | None = None
    """Most tokens of a caption, what is longer is cut; as many as the longest has, at most 256, if not given."""
    text_width: int = 128
    """Width of the captions' encoder."""
    text_layers: int = 2
    """Its layers."""
    text_steps: int | None = None
    """Steps in which it learns to read before the network learns to draw, by what the pictures of a text look like on average
    (:mod:`noisepath.training.texts_first`); by the data and the run's length if not given, 0: none."""
    text_heard: str | None = None
    """How a transformer hears texts: cross (each block looks at them; if not given), or context (they join its tokens)."""
    low_resolution: int | None = None
    """Pixels of the longer side of the picture in low resolution, where that is told; a quarter if not given."""
    text_encoder: str | None = None
    """A folder with a frozen encoder, a T5 or CLIP of Hugging Face, which reads the captions in its place.
    Beside ``--resume``: where the run's own is now."""

    precision: str = "auto"
    """float32, or bfloat16: the network computes in half precision; auto: the faster of the two, measured at the start."""
    log_every: int = 10
    """Steps between two lines of the log."""
    sample_every: int = 0
    """Steps between two grids of samples; 0: at 1/16, 1/8, 1/4 and 1/2 of the run and at its end."""
    save_every: int = 0
    """Steps between two checkpoints; 0: one about every five minutes."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`, also after a round trip through JSON (lists become tuples)."""
        known = {field.name for field in fields(cls)}
        if foreign := sorted(set(values) - known):
            raise ValueError(f"unknown training settings {', '.join(foreign)} (there are: {', '.join(sorted(known))})")
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**plain)

    def refuse_unread(self, encoder: str) -> None:
        """ValueError for what means nothing where a frozen encoder reads the captions."""
        plain = {field.name: field.default for field in fields(self)}
        for name in ("tokens", "text_width", "text_layers", "text_steps"):
            if getattr(self, name) != plain[name]:
                raise ValueError(
                    f"{name} = {getattr(self, name)!r} is for captions whose encoder trains along, but {encoder} reads them: "
                    "leave one of the two out"
                )
        if self.conditions is not None and "text" not in self.conditions:
            raise ValueError(f"{encoder} is to read captions, but the conditions are without text: leave one of the two out")

    def __repr__(self) -> str:
        return changed(self)

    def __post_init__(self) -> None:
        _normalise(self)
        _positive_int(self, "batch_size", "log_every", "text_width", "text_layers")
        if self.accumulate is not None:
            _positive_int(self, "accumulate")
        if self.steps is not None:
            _positive_int(self, "steps")
        for name in _NUMBERS:
            if (value := getattr(self, name)) is not None:
                number(value, name)
        if self.minutes is not None and not (math.isfinite(self.minutes) and self.minutes > 0):
            raise ValueError(f"minutes must be a positive number, but is {self.minutes}")
        for name in ("warmup", "sample_every", "save_every", "text_steps"):
            if (value := getattr(self, name)) is not None and (not is_whole(value) or value < 0):
                raise ValueError(f"{name} must be a whole number >= 0, but is {value!r}")
        for name in ("fold", "patch", "text_length", "low_resolution"):
            if getattr(self, name) is not None:
                _positive_int(self, name)
        if self.network not in NETWORKS:
            raise unknown("network", self.network, NETWORKS)
        for name in _NOT_OF[self.network]:
            if getattr(self, name) is not None:
                raise ValueError(
                    f"network {self.network!r} has no {name}, but it is to be {getattr(self, name)!r}: leave it out"
                )
        if self.optimizer is not None and self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        _check_names(self)
        if self.text_heard is not None:
            lookup(TEXTS, self.text_heard, "way to hear texts")
        if self.preconditioning is not None and self.preconditioning not in PRECONDITIONINGS:
            raise unknown("preconditioning", self.preconditioning, PRECONDITIONINGS)
        if self.tokens not in TOKENS:
            raise unknown("kind of tokens", self.tokens, TOKENS)
        if self.text_encoder is not None:
            self.refuse_unread(f"text_encoder {self.text_encoder!r}")
        if self.learning_rate is not None and not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, but is {self.learning_rate}")
        if len(self.ema_lengths) != 2 or not all(0.0 < length < math.inf for length in self.ema_lengths):
            raise ValueError(f"ema_lengths must be two positive shares of the run, but are {self.ema_lengths}")
        for name in ("dropout", "drop_condition", "drop_each"):
            if not 0.0 <= (value := getattr(self, name)) < 1.0:
                raise ValueError(f"{name} is a share in [0, 1), but is {value}")
        if not 0.0 <= self.decay <= 1.0:
            raise ValueError(f"decay is a share in [0, 1], but is {self.decay}")
        for name in ("clip", "weight_decay"):
            if not 0.0 <= (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} must be a finite number >= 0, but is {value}")
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.batch_size < (self.accumulate or 1):
            raise ValueError(f"a batch of {self.batch_size} can't be computed in {self.accumulate} parts")


def _normalise(config: TrainConfig) -> None:
    """What a run stores: our own names of schedule and prediction, and Python's numbers in place of numpy's."""
    from noisepath.predictions import find
    from noisepath.schedules import ALIASES

    object.__setattr__(config, "prediction", find(config.prediction))
    if isinstance(config.schedule, str):
        object.__setattr__(config, "schedule", ALIASES.get(config.schedule, config.schedule))
    for name in (setting.name for setting in fields(config)):
        value = getattr(config, name)
        if type(value).__module__ in ("numpy", "torch") and is_number(value):
            object.__setattr__(config, name, value.item())


def _check_names(config: TrainConfig) -> None:
    """ValueError for a name that its catalogue does not have; none of them needs torch to be read."""
    from noisepath.schedules import ALIASES, SCHEDULES
    from noisepath.times import TIMES
    from noisepath.training.weighting import WEIGHTINGS

    lookup(SCHEDULES, config.schedule, "schedule", ALIASES)
    if config.times is not None:
        lookup(TIMES, config.times, "times")
    if config.weighting is not None:
        lookup(WEIGHTINGS, config.weighting, "weighting")


def _positive_int(config: TrainConfig, *names: str) -> None:
    for name in names:
        if not is_whole(value := getattr(config, name)) or value < 1:
            raise ValueError(f"{name} must be a whole number >= 1, but is {value!r}")
