"""The model that the benchmarks of captioned shapes ask."""

from __future__ import annotations

import sys
from pathlib import Path

from noisepath import load
from noisepath.denoiser import Denoiser


def captioned_model(run: Path) -> Denoiser:
    """That of a run on captions; where there is none, or another, the command ends with a line that says so."""
    try:
        model = load(run)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    if model.vocabulary is None or "text" not in model.vocabulary:
        sys.exit(f"{run} was not trained on captions")
    return model
