"""Training: from pictures to a run folder and a denoiser.

config       TrainConfig: every number of the recipe (no torch needed)
record       RunConfig: all that a run does, as TOML (no torch needed)
plan         what is chosen from data and machine, and why
weighting    how much each noise level counts
objective    what a step minimises
ema          the moving averages of the weights
processes    one process, or several through accelerate
trainer      the step
texts_first  what a text encoder learns before the network does
loop         the steps, log, checkpoints, pictures on the way
signals, lock    ending politely; one process at a time in a folder
run          train(), resume()
checkpoint   what is kept on disk; load()
earlier      an earlier state of a run, which autoguidance leads away from
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisepath._lazy import offer

if TYPE_CHECKING:
    from noisepath.training.checkpoint import load as load
    from noisepath.training.config import TrainConfig as TrainConfig
    from noisepath.training.ema import EMA as EMA
    from noisepath.training.objective import Objective as Objective
    from noisepath.training.record import RunConfig as RunConfig
    from noisepath.training.record import read_run as read_run
    from noisepath.training.run import resume as resume
    from noisepath.training.run import train as train
    from noisepath.training.trainer import Trainer as Trainer
    from noisepath.training.weighting import WEIGHTINGS as WEIGHTINGS

_HOME = {
    "EMA": "ema",
    "Objective": "objective",
    "RunConfig": "record",
    "TrainConfig": "config",
    "Trainer": "trainer",
    "WEIGHTINGS": "weighting",
    "load": "checkpoint",
    "read_run": "record",
    "resume": "run",
    "train": "run",
}
__all__ = [*_HOME]
__getattr__ = offer(__name__, _HOME)
