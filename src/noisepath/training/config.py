"""The training recipe: every number a training run depends on, in one frozen dataclass that needs no torch.

The command line, the documentation and the tests read their defaults from here.  The defaults are a recipe for few
minutes on a CPU that holds for other data too: EDM preconditioning on log-normal noise levels, AdamW at a high rate with
warm-up and decay to 0, a short moving average tied to the run's length (see ``ema_length``).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from noisepath.errors import unknown

__all__ = ["TrainConfig"]


@dataclass(frozen=True)
class TrainConfig:
    """How a network is trained.  ``steps`` or ``minutes`` says for how long; the other fields have working defaults."""

    steps: int | None = None
    """Length of the run in optimizer steps; wins over ``minutes``."""
    minutes: float = 3.0
    """Length of the run in minutes, turned into steps by measuring once at the start and fixed from there on."""
    batch_size: int = 64
    """Pictures per optimizer step."""
    accumulate: int = 1
    """Parts that a batch is computed in, to save memory: the gradient is the same as in one part."""
    seed: int = 0
    """Every draw of the run is a hash of (seed, step, picture, purpose)."""

    size: str = "auto"
    """U-Net size by name: tiny, small, base (``noisepath.nn.SIZES``); auto: tiny up to 16 pixels, small beyond."""
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
    times: str = "log_normal"
    """Which noise levels a step trains on (``noisepath.times.TIMES``)."""
    times_options: dict[str, int | float] = field(default_factory=dict)
    """The sampler's own settings, such as ``mean`` and ``std``."""
    weighting: str = "plain"
    """Weight of a noise level's loss (``noisepath.training.WEIGHTINGS``)."""
    weighting_options: dict[str, int | float] = field(default_factory=dict)
    """The weighting's own settings, such as ``gamma`` or ``bias``."""

    learning_rate: float = 3e-3
    """Highest learning rate of the run."""
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
    ema_length: float = 0.05
    """Width of the moving average of the weights as a share of the steps made so far (power-function profile)."""
    drop_condition: float = 0.1
    """Share of the pictures whose class is hidden from the network, which is what guidance needs later."""

    precision: str = "float32"
    """float32, or bfloat16: the network computes in half precision, which is faster where the processor has it."""
    log_every: int = 10
    """Steps between two lines of the log."""
    sample_every: int = 0
    """Steps between two grids of samples; 0: one at the end only."""
    save_every: int = 0
    """Steps between two checkpoints; 0: one at the end only."""

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

    def __post_init__(self) -> None:
        _positive_int(self, "batch_size", "accumulate", "log_every")
        if self.steps is not None:
            _positive_int(self, "steps")
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise ValueError(f"minutes must be a positive number, but is {self.minutes}")
        for name in ("warmup", "sample_every", "save_every"):
            if not isinstance(value := getattr(self, name), int) or value < 0:
                raise ValueError(f"{name} must be a whole number >= 0, but is {value!r}")
        for name in ("learning_rate", "ema_length"):
            if not 0.0 < (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} must be positive, but is {value}")
        for name in ("dropout", "drop_condition"):
            if not 0.0 <= (value := getattr(self, name)) < 1.0:
                raise ValueError(f"{name} is a share in [0, 1), but is {value}")
        if not 0.0 <= self.decay <= 1.0:
            raise ValueError(f"decay is a share in [0, 1], but is {self.decay}")
        for name in ("clip", "weight_decay"):
            if not 0.0 <= (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name} must be a finite number >= 0, but is {value}")
        if self.precision not in ("float32", "bfloat16"):
            raise unknown("precision", self.precision, ("float32", "bfloat16"))
        if self.batch_size < self.accumulate:
            raise ValueError(f"a batch of {self.batch_size} can't be computed in {self.accumulate} parts")


def _positive_int(config: TrainConfig, *names: str) -> None:
    for name in names:
        if not isinstance(value := getattr(config, name), int) or value < 1:
            raise ValueError(f"{name} must be a whole number >= 1, but is {value!r}")
