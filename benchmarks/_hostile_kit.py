"""What the hostile calls from Python have in common: a model in closed form, and how a call is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from noisepath.conditions import Condition
from noisepath.exact import Mixture
from noisepath.sampling import sample
from noisepath.schedules import schedule

__all__ = ["LABEL", "MODEL", "NAN", "OTHER", "POINT", "SHAPE", "Call", "run"]


@dataclass(frozen=True)
class Call:
    """A call, what its error must say, and how often the denoiser may answer before."""

    make: Callable[[], object]
    words: str
    answers: int = 0


NAN = math.nan
SHAPE = (4, 1, 2, 2)
FLOW = schedule("flow")
_MEANS = torch.tensor([[1.0, 0.0, 0.3, -0.6], [-1.0, 0.5, 0.2, 0.8], [0.0, -1.0, -0.4, 0.1]])
# Anything may be asked of them here, so they have no type
MODEL: Any = Mixture([0.5, 0.2, 0.3], _MEANS.view(3, 1, 2, 2), torch.tensor([0.1, 0.2, 0.3])).denoiser(FLOW)
OTHER: Any = Mixture([1.0], torch.zeros(1, 5), torch.tensor([0.1])).denoiser(FLOW)
POINT: Any = Mixture([0.5, 0.5], torch.tensor([[0.0], [1.0]]), torch.tensor([0.1, 0.1])).denoiser(FLOW)
LABEL = Condition(label=torch.tensor([0, 1, 2, 1]))


def run(model: Any = MODEL, shape: Any = SHAPE, **options: Any) -> Tensor:
    """Four pictures in two steps."""
    return sample(model, shape, **{"steps": 2, "condition": LABEL, **options})
