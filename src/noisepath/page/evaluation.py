"""What an evaluation found: each figure with its interval, in a column for each set of samples, and beside it what real
pictures get; then how it was measured.

It is read from the plain values of ``evaluation/report.json``.  What is not as expected is left out, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from noisepath.page.elements import EMPTY, Html, element, join
from noisepath.page.words import amount, figure, number, plain, share

__all__ = ["details", "grids", "table"]

SHARES = {"read_as_asked", "precision", "recall", "copies"}
NAMES = {
    "read_as_asked": "read as asked",
    "frechet_distance": "Frechet distance",
    "frechet_ratio": "Frechet distance, over that of real pictures",
    "kernel_distance": "kernel distance",
    "nearest_ratio": "distance to the nearest training picture, over that of real pictures",
    "copies": "copies of training pictures",
}

EXPLAINED = "Below each figure is its interval; beside it stands what real pictures get in place of the samples."

Values = Mapping[str, Any]


def table(report: Values) -> Html:
    """The figures, and what should be known of them; empty for a report without a figure."""
    sets = _sets(report)
    return join([element("p", EXPLAINED), _figures(sets), _notes(report)]) if sets else EMPTY


def details(report: Values) -> Html:
    """What is looked at less often, folded away."""
    sets = _sets(report)
    return join([_reading(sets), _suspects(sets), _how(report, sets)]) if sets else EMPTY


def _sets(report: Values) -> list[Values]:
    """The sets of samples that have figures."""
    return [found for found in _objects(report.get("samples")) if _objects(found.get("figures"))]


def grids(report: Values) -> list[tuple[str, str]]:
    """Names of the pictures of samples in the evaluation's folder, and what they show."""
    found = [(plain(made.get("grid", "")), _title(made)) for made in _objects(report.get("samples"))]
    return [(PurePosixPath(name).name, words) for name, words in found if name.endswith(".png")]


# --- figures ----------------------------------------------------------------------------------------------------------


def _figures(sets: Sequence[Values]) -> Html:
    keys = dict.fromkeys(_key(told) for made in sets for told in _objects(made.get("figures")))
    rows = [_row(name, features, sets) for name, features in keys]
    return _table(["figure", *(_title(made) for made in sets), "real pictures"], rows)


def _key(told: Values) -> tuple[str, str]:
    """What makes two figures one row: name and features."""
    return plain(told.get("name", "")), plain(_values(told.get("terms")).get("features", ""))


def _row(name: str, features: str, sets: Sequence[Values]) -> list[str]:
    found = [next((told for told in _objects(made.get("figures")) if _key(told) == (name, features)), {}) for made in sets]
    cells = [_measured(told.get("value"), told.get("interval"), name in SHARES, told.get("reason")) for told in found]
    real: Values = next((told for told in found if number(told.get("real")) is not None), {})
    words = [NAMES.get(name, name.replace("_", " "))]
    if features and name != "read_as_asked":
        words += [element("br"), element("small", f"in {features}")]
    return [join(words), *cells, _measured(real.get("real"), real.get("real_interval"), name in SHARES)]


def _measured(value: object, interval: object, as_share: bool, reason: object = "") -> str:
    """A value and below it its interval; where there is no value, why."""
    if number(value) is None:
        return element("small", plain(reason or "–"))
    form = share if as_share else figure
    ends = [_values(interval).get(name) for name in ("low", "high")]
    if any(number(end) is None for end in ends):
        return form(value)
    return join([form(value), element("br"), element("small", " to ".join(form(end) for end in ends))])


def _title(made: Values) -> str:
    """A set of samples by what tells it from the others."""
    scale = number(_values(made.get("sampling")).get("guidance"))
    return "samples" if scale is None else "unguided" if scale == 1 else f"guidance {scale:g}"


# --- the rest ---------------------------------------------------------------------------------------------------------


def _notes(report: Values) -> Html:
    notes = report.get("notes")
    lines = [element("li", plain(note)) for note in notes] if isinstance(notes, list) else []
    return element("ul", *lines, class_="notes") if lines else EMPTY


def _reading(sets: Sequence[Values]) -> Html:
    """How each class is read."""
    keys = dict.fromkeys(plain(told.get("name", "")) for made in sets for told in _objects(made.get("classes")))
    rows = []
    for key in keys:
        found = [next((t for t in _objects(made.get("classes")) if plain(t.get("name", "")) == key), {}) for made in sets]
        real: Values = next((told for told in found if told), {})
        rows.append([key, *(_part(told.get("right"), told.get("asked")) for told in found),
                     _part(real.get("real_right"), real.get("real_count"))])  # fmt: skip
    heads = ["class", *(_title(made) for made in sets), "real pictures"]
    return _folded("Read as asked, class by class", _table(heads, rows)) if rows else EMPTY


def _part(right: object, of: object) -> str:
    one, all_ = number(right), number(of)
    return "–" if one is None or not all_ else f"{share(one / all_)} of {amount(all_)}"


def _suspects(sets: Sequence[Values], most: int = 10) -> Html:
    """The samples that are nearest to a training picture."""
    rows = []
    for made in sets:
        for told in _objects(made.get("suspects"))[:most]:
            values = (told.get("sample"), told.get("nearest"), told.get("distance"), told.get("copied"))
            rows.append([_title(made), *(plain(value) for value in values)])
    heads = ["samples", "number", "nearest training picture", "distance", "a copy"]
    return _folded("The samples nearest to training pictures", _table(heads, rows)) if rows else EMPTY


def _how(report: Values, sets: Sequence[Values]) -> Html:
    """The terms without which no figure can be read."""
    rows = [[name.replace("_", " "), plain(value)] for name, value in report.items() if not isinstance(value, list | dict)]
    rows += [[f"reader: {name.replace('_', ' ')}", _told(value)] for name, value in _values(report.get("reader")).items()]
    for made in sets:
        rows.append([f"{_title(made)}: sampling", _told(made.get("sampling"))])
        terms = {_key(told)[1]: _values(told.get("terms")) for told in _objects(made.get("figures"))}
        for features, said in terms.items():
            own = {name: value for name, value in said.items() if name not in ("sampling", "features", "noisepath")}
            rows.append([f"{_title(made)}: {features or 'figures'}", _told(own)])
    return _folded("How it was measured", _table([], rows))


def _told(value: object) -> str:
    """Names and values in a line."""
    if not isinstance(value, Mapping):
        return plain(value)
    return ", ".join(f"{str(name).replace('_', ' ')} {plain(part)}" for name, part in value.items())


def _folded(title: str, inside: Html) -> Html:
    return element("details", element("summary", title), inside)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    head = element("thead", element("tr", *(element("th", words, scope="col") for words in heads))) if heads else EMPTY
    lines = [element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows]
    return element("div", element("table", head, element("tbody", *lines)), class_="scroll")


def _values(value: object) -> Values:
    """An object of the file; an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}


def _objects(value: object) -> list[Values]:
    """The objects in a list of the file."""
    return [part for part in value if isinstance(part, Mapping)] if isinstance(value, list) else []
