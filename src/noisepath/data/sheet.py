"""A contact sheet: what a network will really see of a data set, on one page, with a row for each class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from noisepath.data.dataset import Data
from noisepath.data.report import good_ones
from noisepath.files import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["contact_sheet"]

COLUMNS, ROWS, GAP, TITLE = 12, 20, 2, 96
PAGE = 235  # the grey between pictures: seen beside black and beside white
LARGEST = 256  # larger pictures are shown smaller


def contact_sheet(data: Data, good: list[int], path: str | os.PathLike[str]) -> Path:
    """Draw some of the ``good`` pictures: a titled row for each class (the first 20), or eight rows without titles."""
    if data.classes:
        rows = [(name, good_ones(data, good, label, COLUMNS)) for label, name in enumerate(data.class_names[:ROWS])]
    else:
        chosen = good_ones(data, good, None, 8 * COLUMNS)
        rows = [("", chosen[i : i + COLUMNS]) for i in range(0, len(chosen), COLUMNS)]
    page = _page(data, rows)
    with write_whole(path) as part:
        page.save(part, format="PNG")
    return Path(path)


def _page(data: Data, rows: list[tuple[str, list[int]]]) -> Image:
    from PIL import Image, ImageDraw

    width, height = _cell(data)
    left = GAP + TITLE * bool(data.classes)
    columns = max(len(chosen) for _, chosen in rows)
    size = (left + columns * (width + GAP), GAP + len(rows) * (height + GAP))
    page = Image.new("L" if data.shape[0] == 1 else "RGB", size, PAGE if data.shape[0] == 1 else (PAGE,) * 3)
    pen = ImageDraw.Draw(page)
    for place, (title, chosen) in enumerate(rows):
        top = GAP + place * (height + GAP)
        if title:
            pen.text((GAP + 2, top + height // 2 - 6), _title(title), fill=0 if data.shape[0] == 1 else (0, 0, 0))
        for column, index in enumerate(chosen):
            page.paste(_picture(data, index, (width, height)), (left + column * (width + GAP), top))
    return page


def _cell(data: Data) -> tuple[int, int]:
    """Width and height that a picture is drawn with: small ones a whole number of times larger."""
    _, height, width = data.shape
    longest = max(height, width)
    if longest <= LARGEST:
        times = max(1, 64 // longest)
        return width * times, height * times
    return max(1, width * LARGEST // longest), max(1, height * LARGEST // longest)


def _picture(data: Data, index: int, size: tuple[int, int]) -> Image:
    from PIL import Image

    x = data.batch([index])[0][0]
    values = np.rint((x.numpy().transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8)
    image = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    if size[0] >= image.width:
        return image.resize(size, Image.Resampling.NEAREST)
    return image.resize(size, Image.Resampling.LANCZOS)


def _title(name: str, longest: int = 14) -> str:
    """A class's name in letters that every font has."""
    plain = name.encode("ascii", "backslashreplace").decode()
    return plain if len(plain) <= longest else plain[: longest - 2] + ".."
