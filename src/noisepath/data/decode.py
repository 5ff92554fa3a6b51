"""One picture file -> an array (H, W, C) of the size asked for; every error names the file.

Values leave as uint8, or as float32 in 0 .. 255 for files with 16 bits, whose finer steps are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["SUFFIXES", "is_grey", "picture_size", "read_picture"]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
"""File names that count as pictures, in lower case."""

_SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap height and width
_EXIF_ORIENTATION = 0x0112


@contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """The opened file (first frame); whatever Pillow can't do with it becomes an error with its name."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"can't read the picture {str(path)!r}: {' '.join(str(error).split()) or 'broken file'}") from error


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) as seen upright, from the file's head."""
    with _opened(path) as image:
        sideways = image.getexif().get(_EXIF_ORIENTATION, 1) in _SIDEWAYS
        return (image.width, image.height) if sideways else (image.height, image.width)


def is_grey(path: Path) -> bool:
    """Whether the file holds grey values alone (a palette of greys counts)."""
    with _opened(path) as image:
        if image.mode == "P":
            colours = np.array(image.getpalette() or [0, 0, 0]).reshape(-1, 3)
            return bool((colours == colours[:, :1]).all())
        return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I") or image.mode == "F"


def read_picture(path: Path, height: int, width: int, grey: bool) -> NDArray[Any]:
    """The picture upright, on white, scaled to cover (height, width) and cut around its middle: (H, W, 1 or 3)."""
    from PIL import Image, ImageOps

    with _opened(path) as image:
        image.load()
        upright = _plain(ImageOps.exif_transpose(image), grey)
        if upright.size != (width, height):
            upright = ImageOps.fit(upright, (width, height), method=Image.Resampling.LANCZOS)
        values: NDArray[Any] = np.array(upright)
    if values.dtype != np.uint8:
        values = values.clip(0, 255)  # the filter overshoots at edges
    values = values[..., None] if values.ndim == 2 else values
    return values if grey or values.shape[2] == 3 else np.repeat(values, 3, axis=2)


def _plain(image: Image, grey: bool) -> Image:
    """Without palette or transparency: mode L or RGB, or F in 0 .. 255 for 16 bits of grey."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_from_16_bits(np.asarray(image)))
    mode = "L" if grey else "RGB"
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert(mode)
    return image.convert(mode)


def _from_16_bits(values: NDArray[Any]) -> NDArray[np.float32]:
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise ValueError("its values are neither 8 nor 16 bits, so what counts as white is unknown")
    return (values.astype(np.float64) / 257).astype(np.float32)
