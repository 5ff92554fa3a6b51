"""What ``noisepath edit`` is to do: pictures read, options checked, the model loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from noisepath.cli.canvas import Canvas, seen, to_model
from noisepath.sampling import DEFAULTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from noisepath.cli.options import Edit
    from noisepath.conditions import Condition
    from noisepath.denoiser import Denoise, Denoiser

__all__ = ["Work"]


@dataclass(frozen=True, eq=False)
class Work:
    """What is to be done, read and checked."""

    command: Edit
    mode: str
    canvases: list[Canvas]
    masks: list[NDArray[np.float32]] | None
    """(H, W) in [0, 1] for each picture; 0 is held."""
    other: Canvas | None
    denoiser: Denoiser
    guided: Denoise
    conditions: Condition | None
    device: str

    @property
    def shape(self) -> tuple[int, int, int]:
        channels, height, width = self.denoiser.info["shape"]
        return channels, height, width

    @property
    def pictures(self) -> Tensor:
        return torch.stack([to_model(seen(canvas), self.shape) for canvas in self.canvases]).to(self.device)

    def options(self, solver: str = DEFAULTS.solver) -> dict[str, Any]:
        """What a run is told, but for its condition."""
        said = self.command
        return {"solver": said.solver or solver, "steps": said.steps, "spacing": said.spacing, "batch_size": said.batch_size}
