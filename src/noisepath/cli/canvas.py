"""A picture file that is edited: its pixels as a person sees them, and what is carried over to the result.

Pixels are turned upright (EXIF's orientation) when the file is read, and the note about it is left out of the EXIF that is
written again.  What is transparent is shown to the model on white; the alpha channel itself goes back onto the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noisepath.data.config import MOST_PIXELS
from noisepath.data.decode import BadPicture, Form, decode, fit, head, quietly
from noisepath.files import write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

__all__ = ["Canvas", "padded", "read_canvas", "seen", "shown", "to_model", "to_pixels", "write_canvas"]

# Tags of a TIFF that say something of the picture; its others say how the file is laid out.
_OF_THE_PICTURE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)


@dataclass(frozen=True, eq=False)
class Canvas:
    """One picture, upright."""

    path: Path
    colours: NDArray[np.uint8]
    """(H, W, 1 or 3), as the file holds them, also where it is transparent."""
    alpha: NDArray[np.uint8] | None = None
    """(H, W); None of a file without."""
    exif: bytes = b""
    """What is written again, without the orientation."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.colours.shape[0], self.colours.shape[1]


def read_canvas(path: Path) -> Canvas:
    """The first frame of a file, upright; finer values than 8 bits are rounded.

    FileNotFoundError for none, :class:`~noisepath.data.decode.BadPicture` for one that can't be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no picture {str(path)!r}")
    with quietly():
        found = head(path, str(path))
        shown = decode(path, str(path), Form(found.height, found.width, found.grey))
        stored, exif = _stored(path, found.grey)
    colours = np.rint(shown).astype(np.uint8)
    if stored is None:
        return Canvas(path, colours, None, exif)
    return Canvas(path, stored[..., :1] if found.grey else stored[..., :3], stored[..., 3], exif)


def _stored(path: Path, grey: bool) -> tuple[NDArray[np.uint8] | None, bytes]:
    """The RGBA values (H, W, 4) of a file with transparency, upright, None of others; and its EXIF."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            kind = image.format
            upright = ImageOps.exif_transpose(image)
            through = {"A", "a"} & set(upright.getbands()) or "transparency" in upright.info
            stored = np.asarray(upright.convert("RGBA")) if through and upright.mode[0] not in "IF" else None
    except Exception as error:  # decode has read it, so this is the note about the camera
        raise BadPicture(str(path), f"its EXIF can't be read ({type(error).__name__})") from error
    try:
        exif = upright.getexif()
        if kind == "TIFF":
            told = Image.Exif()
            told.update({tag: exif[tag] for tag in _OF_THE_PICTURE if tag in exif})
            exif = told
        return stored, exif.tobytes() if len(exif) else b""
    except Exception:  # a broken note is not carried on; the pixels are fine
        return stored, b""


def seen(canvas: Canvas) -> NDArray[np.uint8]:
    """(H, W, 1 or 3): on white where it is transparent."""
    if canvas.alpha is None:
        return canvas.colours
    share = canvas.alpha[..., None].astype(np.float32) / 255
    return np.rint(canvas.colours * share + 255 * (1 - share)).astype(np.uint8)


def padded(canvas: Canvas, left: int, top: int, right: int, bottom: int) -> Canvas:
    """With so many pixels more on each side, the edge drawn out; opaque there.  ValueError beyond what is read of a file."""
    height, width = canvas.size[0] + top + bottom, canvas.size[1] + left + right
    if height * width > MOST_PIXELS:
        raise ValueError(f"{str(canvas.path)!r} would have {width} x {height} pixels, but at most {MOST_PIXELS:,} are made")
    sides = ((top, bottom), (left, right))
    colours = np.pad(canvas.colours, (*sides, (0, 0)), mode="edge")
    alpha = None if canvas.alpha is None else np.pad(canvas.alpha, sides, constant_values=255)
    return replace(canvas, colours=colours, alpha=alpha)


def to_model(values: NDArray[np.uint8], shape: tuple[int, int, int]) -> Tensor:
    """Pixels (H, W, 1 or 3) as the model takes them: (C, h, w) in [-1, 1], stretched to its size."""
    channels, height, width = shape
    image = _image(values).convert("L" if channels == 1 else "RGB")
    brought = np.array(fit(image, Form(height, width, channels == 1, resize="stretch")))
    brought = brought[..., None] if brought.ndim == 2 else brought
    return torch.tensor(brought, dtype=torch.float32).permute(2, 0, 1) / 127.5 - 1


def to_pixels(made: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """What a model made, (C, h, w), as pixels (H, W, C) of the size asked for."""
    values = ((made.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    brought: NDArray[Any] = np.array(fit(_image(values), Form(*size, grey=values.shape[2] == 1, resize="stretch")))
    return brought[..., None] if brought.ndim == 2 else brought


def shown(canvas: Canvas, cell: tuple[int, int]) -> Tensor:
    """(3, h, w): the picture in a cell of a page, as large as fits, around its middle."""
    height, width = canvas.size
    scale = min(cell[0] / height, cell[1] / width)
    size = min(cell[0], max(1, round(scale * height))), min(cell[1], max(1, round(scale * width)))
    page = torch.full((3, *cell), 235 / 127.5 - 1)
    top, left = (cell[0] - size[0]) // 2, (cell[1] - size[1]) // 2
    page[:, top : top + size[0], left : left + size[1]] = to_model(seen(canvas), (3, *size))
    return page


def write_canvas(canvas: Canvas, path: Path, about: Mapping[str, object]) -> None:
    """As a PNG with its alpha channel and EXIF, and ``about`` as text."""
    from PIL.PngImagePlugin import PngInfo

    told = PngInfo()
    for name, value in about.items():
        told.add_text(name, str(value))
    image = _image(canvas.colours)
    if canvas.alpha is not None:
        image.putalpha(_image(canvas.alpha[..., None]))
    with write_whole(path) as part:
        image.save(part, format="PNG", pnginfo=told, **({"exif": canvas.exif} if canvas.exif else {}))


def _image(values: NDArray[np.uint8]) -> Image:
    from PIL import Image

    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
