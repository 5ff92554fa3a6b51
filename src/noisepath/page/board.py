"""What a run's model draws when asked, and how pictures come about: two sections, from ``board/board.json`` and its pictures.

Where pictures lie is known from their numbers, so that no path is taken from a file.  A cell, a level or a way that is not
there, or not as expected, is left out, never an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisepath.page.elements import EMPTY, Html, element
from noisepath.page.reading import Picture, json_of, picture_of
from noisepath.page.words import figure, number, plain

__all__ = ["Board", "Way", "board_grid", "board_ways", "large", "read_board"]

MOST_ROWS, MOST_COLUMNS, MOST_WAYS, MOST_LEVELS = 64, 12, 8, 16
COLUMN = 5.6
"""Width of a level's column, in which its words have a place, as a multiple of the page's letters."""

Cells = Mapping[tuple[int, int], Picture]


@dataclass(frozen=True)
class Way:
    """A picture on its way from noise: states above, beliefs below, a column for each level."""

    picture: Picture
    words: str
    """What was asked for."""


@dataclass(frozen=True)
class Board:
    """A board as far as it can be read."""

    rows: tuple[str, ...]
    """What was asked for in each, in words; empty where nothing was."""
    guidance: tuple[str, ...]
    """The scale of each column."""
    seeds: str
    step: float | None
    sampler: str
    """In words."""
    cells: Cells
    ways: tuple[Way, ...]
    way_guidance: float | None
    levels: tuple[tuple[float, float], ...]
    """(alpha, sigma) of a way's columns."""


def read_board(run: Path) -> Board | None:
    """The board in a run's folder; None where there is none with a picture."""
    told = json_of(run / "board" / "board.json")
    rows = tuple(plain(_values(row).get("words", "")) for row in _list(told.get("rows"))[:MOST_ROWS])
    guidance = tuple(plain(value) for value in _list(told.get("guidance"))[:MOST_COLUMNS])
    found = {(i, k): picture_of(run, f"board/cell-{i}-{k}.png") for i in range(len(rows)) for k in range(len(guidance))}
    cells = {place: picture for place, picture in found.items() if picture is not None}
    ways = _values(told.get("ways"))
    if not cells:
        return None
    return Board(
        rows=rows,
        guidance=guidance,
        seeds=plain(told.get("seeds", "several")),
        step=number(told.get("step")),
        sampler=_sampler(told),
        cells=cells,
        ways=_ways(run, ways, rows),
        way_guidance=number(ways.get("guidance")),
        levels=_levels(ways.get("levels")),
    )


def _ways(run: Path, told: Mapping[str, Any], rows: Sequence[str]) -> tuple[Way, ...]:
    found = []
    for i, said in enumerate(_list(told.get("pictures"))[:MOST_WAYS]):
        row, picture = number(_values(said).get("row")), picture_of(run, f"board/way-{i}.png")
        if picture is not None:
            known = row is not None and 0 <= row < len(rows)
            found.append(Way(picture, rows[int(row)] if known and row is not None else ""))
    return tuple(found)


def _levels(told: object) -> tuple[tuple[float, float], ...]:
    """Pairs of numbers that are levels; none at all where one of them is not, since they name columns by their place."""
    found = []
    for pair in _list(told)[: MOST_LEVELS + 1]:
        alpha, sigma = (number(value) for value in pair) if isinstance(pair, list) and len(pair) == 2 else (None, None)
        if alpha is None or sigma is None or alpha < 0 or sigma < 0 or not 0 < alpha + sigma < 1e12:
            return ()
        found.append((alpha, sigma))
    return tuple(found) if len(found) <= MOST_LEVELS else ()


def _sampler(told: Mapping[str, Any]) -> str:
    parts = _values(told.get("sampler"))
    said = [f"{name} {plain(parts[name])}" for name in ("solver", "spacing") if name in parts]
    said += [f"{plain(parts['steps'])} steps"] if "steps" in parts else []
    said += [f"seed {plain(told['seed'])}"] if "seed" in told else []
    return ", ".join(said)


# --- in HTML ----------------------------------------------------------------------------------------------------------


def board_grid(board: Board, command: str) -> list[Html]:
    """What the section of the board holds; ``command`` makes it anew."""
    asked = any(board.rows)
    first = (
        "A row for each thing asked for, a column for each guidance scale (1 is none). The pictures in all cells begin "
        "from the same noise: what differs is what was asked for, and how strongly."
        if asked
        else "Pictures of different noise; this model is not asked for anything."
    )
    of = "" if board.step is None else f" Made by the model after step {board.step:,.0f}"
    how = f"{of}{' with ' if of else ' Made with '}{board.sampler}." if board.sampler else f"{of}." if of else ""
    again = element("p", "Other prompts, scales, seeds: ", element("code", command), ".", class_="note")
    return [element("p", first, how), element("div", _table(board, asked), class_="scroll"), again]


def _table(board: Board, asked: bool) -> Html:
    scales = [element("th", f"guidance {scale}", scope="col") for scale in board.guidance]
    head = element("thead", element("tr", *([element("td")] if asked else []), *scales)) if asked else EMPTY
    rows = []
    for i, words in enumerate(board.rows):
        cells = [_cell(board, i, k, words) for k in range(len(board.guidance))]
        rows.append(element("tr", *([element("th", words, scope="row")] if asked else []), *cells))
    return element("table", head, element("tbody", *rows), class_="board")


def _cell(board: Board, i: int, k: int, words: str) -> Html:
    picture = board.cells.get((i, k))
    if picture is None:
        return element("td", element("small", "missing"))
    said = f"{board.seeds} pictures" + (f" of “{words}”, guidance {board.guidance[k]}" if words else "")
    return element("td", large(picture, said))


def large(picture: Picture, words: str) -> Html:
    """A picture that is shown large where it is chosen; without a script the link leads to its file."""
    image = element("img", src=picture.url, width=picture.width, height=picture.height, alt=words)
    return element("a", image, href=picture.url, class_="enlarge")


def board_ways(board: Board) -> list[Html]:
    """What the section of the ways holds; nothing where there is no way."""
    if not board.ways:
        return []
    words = (
        "Above the states that the sampler goes through, each brought to one brightness; below what the model believes at "
        "that moment that the picture is; under each column its noise level."
    )
    scale = board.way_guidance
    with_what = "" if scale is None or not any(board.rows) else f" All at guidance {scale:g}."
    return [element("p", words, with_what), *(_way(board, way) for way in board.ways)]


def _way(board: Board, way: Way) -> Html:
    said = f"A picture{f' of “{way.words}”' if way.words else ''} on its way from noise: states above, beliefs below"
    levels = [element("li", _noise(*level), element("br"), element("small", _log_snr(*level))) for level in board.levels]
    columns = element("ol", *levels, class_="levels") if levels else EMPTY
    width = f"width: {COLUMN * len(levels):g}rem" if levels else None
    strip = element("div", large(way.picture, said), columns, class_="strip", style=width)
    caption = element("figcaption", way.words) if way.words else EMPTY
    return element("figure", caption, element("div", strip, class_="scroll"), class_="way")


def _noise(alpha: float, sigma: float) -> str:
    return f"σ/α {'∞' if alpha == 0 else '0' if sigma == 0 else figure(sigma / alpha)}"


def _log_snr(alpha: float, sigma: float) -> str:
    if alpha == 0 or sigma == 0:
        return f"log-SNR {'−' if alpha == 0 else ''}∞"
    value = round(2 * (math.log(alpha) - math.log(sigma)), 1)
    return f"log-SNR {'−' if value < 0 else ''}{abs(value):.1f}"


def _values(value: object) -> Mapping[str, Any]:
    """An object of the file; an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
