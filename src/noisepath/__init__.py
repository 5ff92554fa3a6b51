"""noisepath: diffusion and flow models on one exact noise path.

    schedule x prediction -> Denoiser -> sample(denoiser, shape)

The heart is flat, one subject a file, and reads from top to bottom as the data flows: ``printing``, ``levels``, ``tables``,
``scalings``, ``schedules/``, ``noise``, ``times``, ``embedding``, ``discrete``, ``conditions``, ``data_stats``,
``predictions``, ``limit``, ``modules``, ``denoiser``, ``exact``, ``widths``, ``spacing``, ``tableau``, ``loop``,
``analysis``, ``solvers/``, ``guidance/``, ``batches``, ``gaussian_start``, ``tuned``, ``sampling``, ``comparing``,
``editing/``.  The wings import the heart and never the other way round: ``tuning/``, ``nn/``, ``board/``, ``training/``,
``evaluation/``, ``plots``, ``cli/``.

Importing the package loads nothing: each name below is looked up in its module when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # what typing has, without loading it

if TYPE_CHECKING:
    from . import analysis as analysis
    from . import asking as asking
    from . import board as board
    from . import clipping as clipping
    from . import comparing as comparing
    from . import conditions as conditions
    from . import data as data
    from . import data_stats as data_stats
    from . import defaults as defaults
    from . import denoiser as denoiser
    from . import discrete as discrete
    from . import editing as editing
    from . import embedding as embedding
    from . import errors as errors
    from . import evaluation as evaluation
    from . import exact as exact
    from . import foreign_schedulers as foreign_schedulers
    from . import gaussian_start as gaussian_start
    from . import guidance as guidance
    from . import guidance_figure as guidance_figure
    from . import guiding as guiding
    from . import levels as levels
    from . import limit as limit
    from . import loop as loop
    from . import modules as modules
    from . import nn as nn
    from . import noise as noise
    from . import plots as plots
    from . import predictions as predictions
    from . import printing as printing
    from . import sampling as sampling
    from . import scalings as scalings
    from . import schedules as schedules
    from . import solvers as solvers
    from . import spacing as spacing
    from . import tableau as tableau
    from . import tables as tables
    from . import testing as testing
    from . import times as times
    from . import training as training
    from . import tuned as tuned
    from . import tuning as tuning
    from . import widths as widths
    from .comparing import compare as compare
    from .conditions import Condition as Condition
    from .data_stats import DataStats as DataStats
    from .denoiser import Denoiser as Denoiser
    from .discrete import NoiseScheduler as NoiseScheduler
    from .editing import image_to_image as image_to_image
    from .editing import inpaint as inpaint
    from .editing import interpolate as interpolate
    from .editing import invert as invert
    from .editing import outpaint as outpaint
    from .editing import variations as variations
    from .embedding import get_timestep_embedding as get_timestep_embedding
    from .guidance import GUIDANCES as GUIDANCES
    from .guidance import classifier_free as classifier_free
    from .guidance import clip as clip
    from .levels import Level as Level
    from .nn import UNet as UNet
    from .nn import UNetConfig as UNetConfig
    from .predictions import PREDICTIONS as PREDICTIONS
    from .sampling import sample as sample
    from .sampling import trajectory as trajectory
    from .schedules import SCHEDULES as SCHEDULES
    from .schedules import schedule as schedule
    from .solvers import SOLVERS as SOLVERS
    from .spacing import SPACINGS as SPACINGS
    from .tables import BETAS as BETAS
    from .tables import DiffusionConfig as DiffusionConfig
    from .times import TIMES as TIMES
    from .training import WEIGHTINGS as WEIGHTINGS
    from .training import TrainConfig as TrainConfig
    from .training import load as load
    from .training import train as train
    from .tuned import Tuned as Tuned
    from .tuned import load_tuned as load_tuned
    from .tuning import tune as tune

__version__ = "0.1.0"

# Public name -> the module it lives in; the modules in _MODULES are offered whole.
_HOME = {
    "BETAS": "tables",
    "Condition": "conditions",
    "DataStats": "data_stats",
    "Denoiser": "denoiser",
    "DiffusionConfig": "tables",
    "GUIDANCES": "guidance",
    "Level": "levels",
    "NoiseScheduler": "discrete",
    "PREDICTIONS": "predictions",
    "SCHEDULES": "schedules",
    "SOLVERS": "solvers",
    "SPACINGS": "spacing",
    "TIMES": "times",
    "TrainConfig": "training",
    "Tuned": "tuned",
    "UNet": "nn",
    "UNetConfig": "nn",
    "WEIGHTINGS": "training",
    "classifier_free": "guidance",
    "clip": "guidance",
    "compare": "comparing",
    "get_timestep_embedding": "embedding",
    "image_to_image": "editing",
    "inpaint": "editing",
    "interpolate": "editing",
    "invert": "editing",
    "load": "training",
    "load_tuned": "tuned",
    "outpaint": "editing",
    "sample": "sampling",
    "schedule": "schedules",
    "train": "training",
    "trajectory": "sampling",
    "tune": "tuning",
    "variations": "editing",
}
_MODULES = (
    "analysis",
    "asking",
    "board",
    "clipping",
    "comparing",
    "conditions",
    "data",
    "data_stats",
    "defaults",
    "denoiser",
    "discrete",
    "editing",
    "embedding",
    "errors",
    "evaluation",
    "exact",
    "foreign_schedulers",
    "gaussian_start",
    "guidance",
    "guidance_figure",
    "guiding",
    "levels",
    "limit",
    "loop",
    "modules",
    "nn",
    "noise",
    "plots",
    "predictions",
    "printing",
    "sampling",
    "scalings",
    "schedules",
    "solvers",
    "spacing",
    "tableau",
    "tables",
    "testing",
    "times",
    "training",
    "tuned",
    "tuning",
    "widths",
)

__all__ = [*_HOME, *_MODULES, "__version__"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
