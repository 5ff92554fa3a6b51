"""Pictures that are there already: changed, completed, varied, and led back to the noise they come from.

    midway.py      image_to_image, variations, interpolate: noised to a level and made anew; between two noises
    inpainting.py  inpaint, outpaint: a part of a picture made anew, the rest held
    inversion.py   invert: the noise from which a solver leads to a picture, found step by step
    reversible.py  bdia, and its exact reversal

All of it works with any denoiser, guided ones too.  Where a run is :func:`noisepath.sampling.sample`'s, ``options`` are its
arguments, and picture i depends on (seed, i) alone.
"""

from __future__ import annotations

from .inpainting import holding, inpaint, jumping, outpaint
from .inversion import invert
from .midway import image_to_image, interpolate, interpolate_conditions, variations
from .reversible import Reversed, bdia, invert_exactly, restore

__all__ = [
    "Reversed", "bdia", "holding", "image_to_image", "inpaint", "interpolate", "interpolate_conditions", "invert",
    "invert_exactly", "jumping", "outpaint", "restore", "variations",
]  # fmt: skip
