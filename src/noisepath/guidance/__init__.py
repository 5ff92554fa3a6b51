"""Guidance and its like: functions from a denoiser to a denoiser, which nest.

    transformed.py   what all share: a run seen through a function
    told.py          scales and conditions, one for all pictures or one for each
    conditional.py   what the condition changes: classifier-free, composed, CFG++, CFG-Zero*, APG
    models.py        with a second model: autoguidance, classifier guidance
    ranges.py        the belief held to the data's range: clip, dynamic thresholding

Scale 1 means none: the denoiser itself comes back.  Two have a scale of their own, and say so: CFG++ (0 to 1) and
classifier guidance (0 means none).  A scale is a number, a tensor with one for each picture, or a function of the level
that gives either.
"""

from __future__ import annotations

from collections.abc import Callable

from ..denoiser import Denoise
from .conditional import apg, cfg_plus_plus, cfg_zero_star, classifier_free, composed
from .models import autoguidance, classifier
from .ranges import clip, dynamic_threshold
from .transformed import Transformed

__all__ = [
    "GUIDANCES", "Transformed", "apg", "autoguidance", "cfg_plus_plus", "cfg_zero_star", "classifier", "classifier_free",
    "clip", "composed", "dynamic_threshold",
]  # fmt: skip

GUIDANCES: dict[str, Callable[..., Denoise]] = {
    "classifier_free": classifier_free,
    "composed": composed,
    "cfg_plus_plus": cfg_plus_plus,
    "cfg_zero_star": cfg_zero_star,
    "apg": apg,
    "autoguidance": autoguidance,
    "classifier": classifier,
    "clip": clip,
    "dynamic_threshold": dynamic_threshold,
}
