"""A weaker model that a run holds beside its own: an earlier state of the same network, for autoguidance."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from noisepath.training.checkpoint import SNAPSHOTS, load, steps_of

if TYPE_CHECKING:
    from noisepath.denoiser import Denoiser
    from noisepath.limit import Limit

__all__ = ["load_earlier"]


def load_earlier(
    run: str | os.PathLike[str],
    steps: int,
    device: str = "cpu",
    share: float = 0.25,
    limit: Limit | Literal["stored"] | None = "stored",
) -> tuple[Denoiser, str]:
    """The model that stands for "worse", and what it is in words.

    That is the snapshot whose steps are nearest to ``share`` of the run's ``steps`` (as a ratio), of those that had half of
    them or less; where there is none, the longer moving average of the same weights, which is hardly worse.

    Raises:
        FileNotFoundError, ValueError: as :func:`noisepath.load`.
        ValueError: ``share`` is not above 0 and at most 1/2.
    """
    if not 0 < share <= 0.5:
        raise ValueError(f"share is the part of the training that the earlier model has had, above 0 to 0.5, but is {share}")
    root = Path(run) / SNAPSHOTS
    early = [step for step in steps_of(root) if 0 < step <= steps / 2]
    if not early:
        return load(run, device, average="model-long", limit=limit), "the longer moving average of its weights"
    step = min(early, key=lambda step: abs(math.log(step / (share * steps))))
    return load(root / f"step-{step:06d}", device, limit=limit), f"its snapshot of step {step} of {steps}"
