"""The data set of captioned shapes, and a page of some of them to look at."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from noisepath.data.dataset import Dataset
from noisepath.data.shape_world.drawing import check_size, draw
from noisepath.data.shape_world.scenes import Captioned, captioned
from noisepath.files import write_whole

__all__ = ["COUNT", "page", "shapes"]

COUNT = 20_000
"""Pictures of the data set where their number is not said."""
_GAP, _LINES, _LINE = 6, 8, 12  # pixels around a picture, lines of a caption, pixels of a line


def shapes(n: int = COUNT, size: int = 32, seed: int = 0) -> Dataset:
    """Captioned pictures of one, two and three shapes in turn, uint8 (n, 3, size, size), drawn now.

    The n-th picture and its caption are functions of (seed, n) alone.  ``attributes`` hold as plain values what is in the
    picture ("scene") and what its caption says of it ("claims").

    Raises:
        ValueError: ``n`` is no whole number >= 1, or ``size`` none >= 32.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be a whole number >= 1, but is {n!r}")
    check_size(size)
    told = captioned(range(n), seed)
    return Dataset(
        draw([one.scene for one in told], size),
        names=tuple(f"shapes {i}" for i in range(n)),
        captions=tuple(one.caption for one in told),
        attributes=tuple(_plain(one) for one in told),
        source="shapes" if (n, seed) == (COUNT, 0) else "",
    )


def _plain(one: Captioned) -> dict[str, object]:
    """Scene and claims as values that JSON knows."""
    claims = {
        "things": [dict(vars(claim)) for claim in one.claims.things],
        "relations": [dict(vars(relation)) for relation in one.claims.relations],
    }
    return {"scene": [dict(vars(thing)) for thing in one.scene], "claims": claims}


def page(told: Sequence[Captioned], path: str | os.PathLike[str], size: int = 32, columns: int = 8, scale: int = 4) -> Path:
    """Write a PNG of the scenes, so many in a row and each so many times larger, with their captions below them."""
    from PIL import Image, ImageDraw

    side, height = size * scale, size * scale + _LINES * _LINE
    rows = -(-len(told) // columns)
    sheet = Image.new("RGB", (columns * (side + _GAP) + _GAP, rows * (height + _GAP) + _GAP), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for i, (one, picture) in enumerate(zip(told, draw([one.scene for one in told], size), strict=True)):
        left, top = _GAP + i % columns * (side + _GAP), _GAP + i // columns * (height + _GAP)
        image = Image.fromarray(np.ascontiguousarray(picture.permute(1, 2, 0).numpy()))
        sheet.paste(image.resize((side, side), Image.Resampling.NEAREST), (left, top))
        lines = textwrap.wrap(one.caption, max(8, side // 6), break_on_hyphens=False)[:_LINES]
        pen.text((left, top + side + 1), "\n".join(lines), fill=(0, 0, 0), font_size=10, spacing=1)
    with write_whole(path) as part:
        sheet.save(part, format="PNG")
    return Path(path)
