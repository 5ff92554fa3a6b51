"""What a board shows: a row for each request, a column for each guidance scale, several seeds in each cell.

A request is a mapping of names that the model can be asked for to what is asked, such as ``{"text": "a red circle"}`` or
``{"label": "cat"}``; an empty one says nothing, and is the one row of a model that can't be asked for anything in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from noisepath.asking.entries import Classes
from noisepath.asking.pictured import Pictured
from noisepath.errors import lookup
from noisepath.guiding import unguidable
from noisepath.sampling import DEFAULTS, design
from noisepath.solvers import SOLVERS
from noisepath.spacing import SPACINGS
from noisepath.tableau import calls as calls_of

if TYPE_CHECKING:
    from noisepath.asking import Vocabulary
    from noisepath.data import Data
    from noisepath.denoiser import Denoiser

__all__ = [
    "ROWS", "SCALES", "SEEDS", "WAYS", "Asked", "Request", "calls", "fitted", "in_words", "needs_pictures", "requests",
    "way_scale",
]  # fmt: skip

ROWS, SCALES, SEEDS = 6, (1.0, 2.0, 4.0), 4
"""A board's size where nothing is said: rows, guidance scales, seeds in a cell."""
ALONE = 16
"""Seeds in the one cell of a model that can't be asked for anything."""
WAYS = 3
"""Pictures that are shown on their way from noise."""
MOST_ROWS, MOST_SCALES, MOST_SEEDS = 64, 12, 64
TRIED = 8
"""For each row that is wanted, so many pictures are looked at for something that the model can be asked for."""

Request = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """A board before it is made."""

    rows: tuple[Request, ...]
    guidance: tuple[float, ...]
    """Scales of classifier-free guidance; 1 is none."""
    seeds: int
    """Pictures in a cell; the k-th of every cell begins from the same noise."""
    steps: int = DEFAULTS.steps
    solver: str = DEFAULTS.solver
    spacing: str = DEFAULTS.spacing
    seed: int = 0

    @classmethod
    def of(
        cls,
        denoiser: Denoiser,
        rows: Sequence[Request],
        guidance: Sequence[float] = (),
        seeds: int | None = None,
        **how: Any,
    ) -> Asked:
        """A board of these rows that has been checked; scales and seeds are chosen where they are not said.

        ValueError for what the model can't be asked for or guided by, and for numbers out of range.
        """
        rows = tuple(rows) or ({},)
        alone, reason = rows == ({},), unguidable(denoiser)
        if alone and denoiser.vocabulary and reason is not None:
            raise ValueError(f"{reason}: say what its pictures are to be")
        if alone and any(scale != 1.0 for scale in guidance):
            reason = reason or "nothing is asked for, so guidance leads nowhere"
        scales = tuple(map(float, guidance)) or (SCALES if reason is None and not alone else (1.0,))
        asked = cls(rows, scales, (ALONE if alone else SEEDS) if seeds is None else seeds, **how)
        asked._check_numbers()
        if reason is not None and (others := [scale for scale in scales if scale != 1.0]):
            raise ValueError(f"{reason}: leave guidance at 1, in place of {others[0]:g}")
        _check_rows(denoiser.vocabulary, rows)
        shape = denoiser.info["shape"]
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise ValueError(f"a board shows pictures, but this model's data are {tuple(shape)}")
        return asked

    def _check_numbers(self) -> None:
        for name, value, most in (
            ("rows", len(self.rows), MOST_ROWS), ("guidance scales", len(self.guidance), MOST_SCALES),
            ("seeds in a cell", self.seeds, MOST_SEEDS), ("steps", self.steps, 10_000),
        ):  # fmt: skip
            if not 1 <= value <= most:
                raise ValueError(f"a board has 1 to {most:,} {name}, but {value} are asked for")
        for scale in self.guidance:
            if not math.isfinite(scale):
                raise ValueError(f"a guidance scale must be a finite number (1 means no guidance), but got {scale}")
            if self.guidance.count(scale) > 1:
                raise ValueError(f"guidance {scale:g} is asked for twice: each column of a board has a scale of its own")
        lookup(SOLVERS, self.solver, "solver")
        lookup(SPACINGS, self.spacing, "spacing")


def _check_rows(vocabulary: Vocabulary | None, rows: Sequence[Request]) -> None:
    for row in rows:
        if not row:
            continue
        for name, what in (("text", "captions, so it takes no prompt"), ("label", "classes, so none can be asked for")):
            if name in row and (vocabulary is None or name not in vocabulary):
                raise ValueError(f"this model was trained without {what}")
        text = row.get("text")
        if isinstance(text, str) and not text.strip():
            raise ValueError("an empty prompt asks for nothing: leave it out, or say what is to be seen")
        assert vocabulary is not None
        said: dict[str, Any] = {name: [value] for name, value in row.items()}
        vocabulary.condition(1, **said)


def in_words(request: Request) -> str:
    """A request as a person would say it: the prompt and the class as they are, whatever else by its name."""
    said = {name: value for name, value in request.items() if value is not None}
    return ", ".join(str(value) if name in ("label", "text") else f"{name} {value}" for name, value in said.items())


def requests(vocabulary: Vocabulary | None, data: Data | None, most: int = ROWS) -> list[Request]:
    """What to ask a model for where nobody says: classes, spread over all of them, or what pictures of ``data`` say.

    Pictures are looked at in an order spread over the data; what says nothing, stands there already, or the model can't be
    asked for (a word that training never saw) is passed over.  Empty for a model that can't be asked for anything in words.
    """
    if vocabulary is None or not (names := _in_words(vocabulary)):
        return []
    label = vocabulary.entries.get("label")
    if names == ["label"] and isinstance(label, Classes):
        return [{"label": label.names[place]} for place in _spread(len(label.names), most)]
    if data is None:
        return []
    found: dict[str, Request] = {}
    for place in _spread(len(data), TRIED * most):
        row = vocabulary.said(data, place)
        if row and len(found) < most and in_words(row) not in found and _can_be_asked(vocabulary, row):
            found[in_words(row)] = row
    return list(found.values())


def needs_pictures(vocabulary: Vocabulary | None) -> bool:
    """Whether :func:`requests` has to look at pictures, to find captions or attributes."""
    return vocabulary is not None and any(name != "label" for name in _in_words(vocabulary))


def _in_words(vocabulary: Vocabulary) -> list[str]:
    """The names that words and numbers are said of; pictures are not made up."""
    return [name for name, entry in vocabulary.entries.items() if not isinstance(entry, Pictured)]


def _can_be_asked(vocabulary: Vocabulary, row: Request) -> bool:
    try:
        _check_rows(vocabulary, [row])
    except ValueError:
        return False
    return True


def _spread(count: int, most: int) -> list[int]:
    """At most so many of ``count`` places, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / max(1, most - 1)) for i in range(most)]


def calls(asked: Asked, denoiser: Denoiser) -> int:
    """How often the network answers for a single picture while this board is made; guidance asks it twice."""
    width = getattr(denoiser, "data_scale", None)
    run = design(
        denoiser.schedule, solver=asked.solver, spacing=asked.spacing, steps=asked.steps, data_scale=width
    )
    each = calls_of(run)
    ways = min(WAYS, len(asked.rows) * asked.seeds) * (1 if way_scale(asked) == 1.0 else 2)
    cells = len(asked.rows) * asked.seeds * sum(1 if scale == 1.0 else 2 for scale in asked.guidance)
    return each * (cells + ways)


def way_scale(asked: Asked) -> float:
    """The guidance scale at which the ways from noise to picture are shown: the middle column's."""
    return asked.guidance[len(asked.guidance) // 2]


def fitted(asked: Asked, denoiser: Denoiser, most: float) -> Asked | None:
    """The largest board like this one for which the network answers at most so often: fewer seeds first, then fewer rows.

    None where even the smallest would be too much.
    """
    for part, rows in ((1, ROWS), (2, ROWS), (4, ROWS), (4, 4), (4, 2)):
        kept = tuple(asked.rows[place] for place in _spread(len(asked.rows), rows))
        smaller = replace(asked, rows=kept, seeds=max(1, asked.seeds // part))
        if calls(smaller, denoiser) <= most:
            return smaller
    return None
