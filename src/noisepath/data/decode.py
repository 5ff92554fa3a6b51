"""One picture file -> an array (H, W, C) of the size asked for; every error is one line that names the file.

Values leave as uint8, or as float32 in 0 .. 255 where a file has more than 8 bits, whose finer steps are kept.  A file is
read as a person would see it: its first frame, upright, on a background where it is transparent.  A file is good or it is
bad, there is nothing between: a picture that is cut off is not shown in part.
"""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noisepath.data.config import BACKGROUNDS, MOST_PIXELS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "BadPicture",
    "Form",
    "Head",
    "decode",
    "fit",
    "head",
    "picture_size",
    "quietly",
    "read_picture",
]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""What is read; Pillow's decoders of rarer formats are never asked."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
"""File names that count as pictures, in lower case."""

_EXIF_ORIENTATION = 0x0112
_SIDEWAYS = frozenset({5, 6, 7, 8})  # orientations that swap height and width
_UPRIGHT = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF's orientation -> Pillow's Transpose that undoes it


class BadPicture(ValueError):
    """A picture that can't be read: its name, and why."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"can't read the picture {name!r}: {reason}")
        self.name, self.reason = name, reason


@dataclass(frozen=True)
class Form:
    """What every picture is brought to."""

    height: int
    width: int
    grey: bool
    resize: str = "cover"
    background: str = "white"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (1 if self.grey else 3, self.height, self.width)


@dataclass(frozen=True)
class Head:
    """What a file says of itself before its pixels are read; height and width as seen upright."""

    height: int
    width: int
    grey: bool
    format: str
    mode: str
    frames: bool = False
    """Whether it has several frames, of which the first is read."""


def head(content: bytes | Path, name: str) -> Head:
    """The head of a picture, given as its file's bytes or path."""
    with _opened(content, name) as image:
        height, width = (image.width, image.height) if _orientation(image) in _SIDEWAYS else (image.height, image.width)
        return Head(height, width, _is_grey(image), image.format or "?", image.mode, _has_frames(image))


def decode(content: bytes | Path, name: str, form: Form) -> NDArray[Any]:
    """The whole picture, brought to ``form``: (H, W, 1 or 3), uint8, or float32 in 0 .. 255."""
    with _opened(content, name) as image:
        orientation = _orientation(image)
        if image.format == "JPEG":
            _read_smaller(image, form, orientation)
        with _libtiff_silent() if image.format == "TIFF" else nullcontext():
            image.load()
        plain = _plain(image, form)
        if orientation in _UPRIGHT:
            plain = plain.transpose(_transpose(_UPRIGHT[orientation]))
        values: NDArray[Any] = np.array(fit(plain, form))
    if values.dtype != np.uint8:
        values = values.clip(0, 255)  # the filter overshoots at edges
    values = values[..., None] if values.ndim == 2 else values
    return values if form.grey or values.shape[2] == 3 else np.repeat(values, 3, axis=2)


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) as seen upright, from the file's head."""
    with quietly():
        found = head(path, str(path))
    return found.height, found.width


def read_picture(path: Path, height: int, width: int, grey: bool) -> NDArray[Any]:
    """The picture upright, on white, scaled to cover (height, width) and cut around its middle: (H, W, 1 or 3)."""
    with quietly():
        return decode(path, str(path), Form(height, width, grey))


@contextmanager
def quietly() -> Iterator[None]:
    """While pictures are read: Pillow's warnings about odd files are not printed, and that of a bomb is an error."""
    from PIL.Image import DecompressionBombWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", DecompressionBombWarning)
        yield


_libtiff = threading.Lock()


def _renew_lock() -> None:
    """In a forked process: a thread that held the lock is not there to open it."""
    global _libtiff
    _libtiff = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@contextmanager
def _libtiff_silent() -> Iterator[None]:
    """libtiff writes of damaged files to the process's standard error, and Pillow's error says it as well: for a while its two
    handlers are off.  Standard error itself is the whole process's, and is left alone."""
    handlers = _libtiff_handlers()
    with _libtiff:
        before = [(handler, handler(None)) for handler in handlers]
        try:
            yield
        finally:
            for handler, own in before:
                handler(own)


@cache
def _libtiff_handlers() -> tuple[Callable[[int | None], int | None], ...]:
    """What sets libtiff's handlers of errors and of warnings, and gives the one before; none where Pillow's libtiff can't be
    reached, which then has its say."""
    try:
        library = ctypes.CDLL(import_module("PIL._imaging").__file__)  # which libtiff was linked to
        found = library.TIFFSetErrorHandler, library.TIFFSetWarningHandler
    except (OSError, AttributeError):
        return ()
    for handler in found:
        handler.restype, handler.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    return found


@contextmanager
def _opened(content: bytes | Path, name: str) -> Iterator[Image]:
    """The opened file (first frame); whatever goes wrong with it becomes an error with its name."""
    from PIL import Image

    try:
        if not (content if isinstance(content, bytes) else os.stat(content).st_size):
            raise ValueError("the file is empty")
        with Image.open(BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, but at most {MOST_PIXELS:,} are read")
            yield image
    except Exception as error:  # hostile files make decoders raise nearly anything
        raise BadPicture(name, _reason(error)) from error


def _reason(error: Exception) -> str:
    """Why a picture can't be read, in one line that depends on the file alone."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"it says it has more than {MOST_PIXELS:,} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())[:200]
    expected = isinstance(error, OSError | SyntaxError | ValueError | EOFError)
    return text if text and expected else f"broken file ({type(error).__name__}{': ' * bool(text)}{text})"


def _orientation(image: Image) -> int:
    """How the camera was held (1: upright); 1 as well if what the file says about it can't be read.

    Pillow turns TIFFs itself, and tells their size as it is after that.
    """
    if image.format == "TIFF":
        return 1
    try:
        said = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # the pixels may be fine, and programs that show pictures pass over a broken note
        return 1
    return said if isinstance(said, int) else 1


def _has_frames(image: Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # the second frame may be broken, which is none of ours
        return False


def _transpose(number: int) -> Any:
    from PIL.Image import Transpose

    return Transpose(number)


def _is_grey(image: Image) -> bool:
    """Whether the file holds grey values alone (a palette of greys counts)."""
    if image.mode == "P":
        colours = np.array(image.getpalette() or [0, 0, 0]).reshape(-1, 3)
        return bool((colours == colours[:, :1]).all())
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I") or image.mode == "F"


def _read_smaller(image: Image, form: Form, orientation: int) -> None:
    """Let the JPEG decoder leave out detail that scaling down would remove: it stays at least twice the size wanted."""
    height, width = (form.width, form.height) if orientation in _SIDEWAYS else (form.height, form.width)
    image.draft(image.mode, (2 * width, 2 * height))


def _plain(image: Image, form: Form) -> Image:
    """Without palette or transparency: mode L or RGB, or F in 0 .. 255 for values finer than 8 bits."""
    from PIL import Image

    if image.mode == "F":
        return Image.fromarray(_from_floats(np.asarray(image)))
    if image.mode.startswith("I"):
        return Image.fromarray(_from_16_bits(image, BACKGROUNDS[form.background]))
    mode = "L" if form.grey else "RGB"
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        behind = Image.new("RGBA", rgba.size, (*(BACKGROUNDS[form.background],) * 3, 255))
        return Image.alpha_composite(behind, rgba).convert(mode)
    return image.convert(mode)


def _from_16_bits(image: Image, background: int) -> NDArray[np.float32]:
    values = np.asarray(image)
    if image.mode == "I":
        raise ValueError(
            f"its values are 32-bit whole numbers from {values.min()} to {values.max()}, so which one is white is unknown"
        )
    scaled = (values.astype(np.float64) / 257).astype(np.float32)
    transparent = image.info.get("transparency")
    return np.where(values == transparent, np.float32(background), scaled) if isinstance(transparent, int) else scaled


def _from_floats(values: NDArray[Any]) -> NDArray[np.float32]:
    """White is 1; a picture with values outside 0 .. 1 has another white, which nobody knows."""
    if not np.isfinite(values).all():
        raise ValueError("some of its values are NaN or infinite")
    if values.min() < 0 or values.max() > 1:
        raise ValueError(
            f"its values are floating-point numbers from {values.min():.4g} to {values.max():.4g}, "
            "but they are read only in 0 .. 1, where 1 is white"
        )
    return (values.astype(np.float64) * 255).astype(np.float32)


def fit(image: Image, form: Form) -> Image:
    """Brought to the form's size in its way; untouched if it has that size."""
    from PIL import Image, ImageOps

    wanted, smooth = (form.width, form.height), Image.Resampling.LANCZOS
    if image.size == wanted:
        return image
    if form.resize == "cover":
        return ImageOps.fit(image, wanted, method=smooth)
    if form.resize == "stretch":
        return image.resize(wanted, smooth)
    scale = min(form.width / image.width, form.height / image.height)
    inside = image.resize((max(1, round(scale * image.width)), max(1, round(scale * image.height))), smooth)
    value = BACKGROUNDS[form.background]
    page = Image.new(image.mode, wanted, (value,) * 3 if image.mode == "RGB" else value)
    page.paste(inside, ((form.width - inside.width) // 2, (form.height - inside.height) // 2))
    return page
