"""Training: from a data set to a run folder and a denoiser.

config       TrainConfig: every number of a run (no torch needed)
weighting    how much each noise level counts
objective    what a step minimises
ema          the moving average of the weights
trainer      the step
run          train(): the loop, bar, log, grids
checkpoint   the run folder; load()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noisepath.training.checkpoint import load as load
    from noisepath.training.config import TrainConfig as TrainConfig
    from noisepath.training.ema import EMA as EMA
    from noisepath.training.objective import Objective as Objective
    from noisepath.training.run import train as train
    from noisepath.training.trainer import Trainer as Trainer
    from noisepath.training.weighting import WEIGHTINGS as WEIGHTINGS

_HOME = {
    "EMA": "ema",
    "Objective": "objective",
    "TrainConfig": "config",
    "Trainer": "trainer",
    "WEIGHTINGS": "weighting",
    "load": "checkpoint",
    "train": "run",
}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
