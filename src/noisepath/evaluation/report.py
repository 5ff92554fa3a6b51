"""What an evaluation found, as frozen data that goes through JSON unchanged; and what two of them differ by.

A figure is worth nothing without its terms: how many pictures, against which real ones, in which features, sampled how.
So each :class:`Figure` carries its own :class:`Terms`, may be lifted out of the report with them, and :func:`compare`
refuses to set two figures side by side whose terms differ in anything but how the samples were made.
"""

from __future__ import annotations

import json
import math
import os
import types
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from noisepath.evaluation.distances import Interval
from noisepath.evaluation.heldout import Mean
from noisepath.files import write_whole

__all__ = [
    "ClassReading",
    "Comparison",
    "Difference",
    "Figure",
    "LevelLoss",
    "Reader",
    "Report",
    "Sampling",
    "SampleSet",
    "Suspect",
    "Terms",
    "compare",
    "read_report",
    "write_report",
]

_FORMAT = "noisepath evaluation 1"
FILE = "report.json"

T = TypeVar("T")


@dataclass(frozen=True)
class Sampling:
    """How the samples were made."""

    solver: str
    spacing: str
    steps: int
    calls: int
    """Network calls for each picture; guidance counts as two."""
    guidance: float
    seed: int


@dataclass(frozen=True)
class Terms:
    """What must be known of a figure to read it."""

    generated: int
    """How many samples were judged."""
    reference: int
    """How many real pictures they were held against."""
    reference_kind: str
    """held-out: pictures the model was not trained on; training: those it was trained on, for want of others."""
    reference_hash: str
    """sha256 of these pictures' 8-bit values."""
    features: str
    """The feature space by name."""
    features_identity: str
    """sha256 of the numbers it is made of."""
    resize: str
    """What was done to the pictures' size first."""
    sampling: Sampling
    noisepath: str
    """Version."""


@dataclass(frozen=True)
class Figure:
    """One figure, its interval, and what real pictures get."""

    name: str
    value: float | None
    """None where it can't be had; ``reason`` says why."""
    interval: Interval | None
    real: float | None
    """The same for real pictures in place of the samples."""
    real_interval: Interval | None
    terms: Terms
    reason: str = ""


@dataclass(frozen=True)
class ClassReading:
    """Reading of one class: of the samples that were asked for it, and of the real reference pictures."""

    name: str
    asked: int
    right: int
    interval: Interval | None
    real_count: int
    real_right: int


@dataclass(frozen=True)
class Suspect:
    """A sample and the training picture that is nearest to it."""

    sample: int
    index: int
    """Which of the training pictures it is ..."""
    nearest: str
    """... and its name."""
    distance: float
    copied: bool


@dataclass(frozen=True)
class SampleSet:
    """All that was found of one set of samples."""

    sampling: Sampling
    figures: tuple[Figure, ...]
    classes: tuple[ClassReading, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    """The samples that are most likely copies of a training picture, the likeliest first."""
    grid: str = ""
    """File with samples, classes as columns."""


@dataclass(frozen=True)
class LevelLoss:
    """The error of the model's belief at one noise level; see :mod:`noisepath.evaluation.heldout`."""

    log_snr: float
    gaussian: float
    """The least error for Gaussian data of the same variance: the unit that makes levels comparable."""
    held_out: Mean | None
    training: Mean | None


@dataclass(frozen=True)
class Reader:
    """The classifier that reads the samples."""

    identity: str
    trained_on: int
    held_out: int
    accuracy: float | None
    """On held-out pictures, which bounds what can be read of samples; None where there are none."""
    interval: Interval | None


@dataclass(frozen=True)
class Report:
    """An evaluation."""

    noisepath: str
    data: str
    data_fingerprint: str
    pictures: int
    """In the whole data set ..."""
    held_out: int
    """... of which so many were kept out of training."""
    shape: tuple[int, int, int]
    model_steps: int
    """Optimizer steps that the model was trained for."""
    samples: tuple[SampleSet, ...]
    losses: tuple[LevelLoss, ...]
    reader: Reader | None = None
    notes: tuple[str, ...] = ()
    """What could not be measured, and why; what should be known of the rest."""

    def figure(self, name: str, features: str | None = None, guidance: float | None = None) -> Figure:
        """The first figure of this name, in these features, with this guidance; ValueError if there is none."""
        for found in self.samples:
            for figure in found.figures:
                here = figure.name == name and features in (None, figure.terms.features)
                if here and guidance in (None, found.sampling.guidance):
                    return figure
        there = sorted({f"{f.name} ({f.terms.features})" for found in self.samples for f in found.figures})
        raise ValueError(f"the report has no figure {name!r} of that kind (there are: {', '.join(there)})")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"format": _FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Any) -> Report:
        """The inverse of :meth:`to_dict`, also after JSON; ValueError for anything else."""
        if not isinstance(values, dict) or values.get("format") != _FORMAT:
            raise ValueError(f"not a report of noisepath (its format is not {_FORMAT!r})")
        return _made(cls, {name: value for name, value in values.items() if name != "format"}, "report")


def write_report(report: Report, path: str | os.PathLike[str]) -> Path:
    """Write a report as JSON, whole."""
    with write_whole(path) as part:
        part.write_text(json.dumps(report.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return Path(path)


def read_report(path: str | os.PathLike[str]) -> Report:
    """A report from its file, or from the run folder that holds it.

    Raises:
        FileNotFoundError: no such file or folder, or a run that was not evaluated.
        ValueError: a file that is not a report; it is named.
    """
    given = Path(path)
    file = next((p for p in (given / "evaluation" / FILE, given / FILE) if p.is_file()), None) if given.is_dir() else given
    if file is None:
        raise FileNotFoundError(f"{str(given)!r} holds no evaluation: run noisepath evaluate {given} first")
    if not file.is_file():
        raise FileNotFoundError(f"there is no report {str(file)!r}")
    try:
        return Report.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(file)!r}: {error}") from error


# --- comparing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """One figure in two reports."""

    name: str
    features: str
    guidance: float
    a: Figure
    b: Figure

    @property
    def change(self) -> float | None:
        """b - a; None where one of them is missing."""
        return None if self.a.value is None or self.b.value is None else self.b.value - self.a.value

    @property
    def beyond_chance(self) -> bool | None:
        """Whether the two intervals lie apart; None where one of them is missing."""
        one, two = self.a.interval, self.b.interval
        return None if one is None or two is None else one.high < two.low or two.high < one.low


@dataclass(frozen=True)
class Comparison:
    """What two reports differ by, and what should be known of it."""

    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def compare(a: Report, b: Report) -> Comparison:
    """The figures of b beside those of a, for each guidance scale that both have.

    ValueError, naming what is unlike, where they don't measure the same thing: other numbers of pictures, other reference
    pictures, other features.  Sampled differently they may be compared, but it is noted.
    """
    pairs = [(x, y) for x in a.samples for y in b.samples if x.sampling.guidance == y.sampling.guidance]
    if not pairs:
        scales = [", ".join(f"{s.sampling.guidance:g}" for s in report.samples) or "none" for report in (a, b)]
        raise ValueError(f"unlike reports: guidance {scales[0]} and {scales[1]} have no scale in common")
    differences: list[Difference] = []
    notes: list[str] = []
    for x, y in pairs:
        there = {(f.name, f.terms.features): f for f in y.figures}
        for figure in x.figures:
            other = there.get((figure.name, figure.terms.features))
            if other is not None:
                _check_like(figure, other)
                place = (figure.name, figure.terms.features, x.sampling.guidance)
                differences.append(Difference(*place, figure, other))
        notes += _unlike_sampling(x.sampling, y.sampling)
    if not differences:
        raise ValueError("unlike reports: they have no figure in common")
    if a.noisepath != b.noisepath:
        notes.append(f"made by noisepath {a.noisepath} and {b.noisepath}")
    return Comparison(tuple(differences), tuple(dict.fromkeys(notes)))


_WORDS = {
    "generated": "numbers of samples",
    "reference": "numbers of reference pictures",
    "reference_kind": "kinds of reference",
    "reference_hash": "reference pictures",
    "features_identity": "features",
    "resize": "sizes",
}


def _check_like(a: Figure, b: Figure) -> None:
    unlike = [
        f"{what} ({_short(x)} and {_short(y)})"
        for name, what in _WORDS.items()
        if (x := getattr(a.terms, name)) != (y := getattr(b.terms, name))
    ]
    if unlike:
        hint = "" if "reference_hash" in _names_unlike(a, b) else _judge_hint(a, b)
        raise ValueError(f"unlike reports: {a.name} in {a.terms.features} has other {', other '.join(unlike)}{hint}")


def _names_unlike(a: Figure, b: Figure) -> set[str]:
    return {name for name in _WORDS if getattr(a.terms, name) != getattr(b.terms, name)}


def _judge_hint(a: Figure, b: Figure) -> str:
    """What to do where only the judges differ."""
    if _names_unlike(a, b) == {"features_identity"}:
        return "; have both judged by one: evaluate with --features RUN/evaluation/classifier"
    return ""


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text


def _unlike_sampling(a: Sampling, b: Sampling) -> Iterator[str]:
    for field in fields(Sampling):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if x != y:
            yield f"guidance {a.guidance:g}: sampled with {field.name} {x} and {y}"


# --- from plain values -----------------------------------------------------------------------------------------------


def _made(kind: type[T], values: Any, where: str) -> T:
    """A dataclass from plain values, every field checked; ValueError says where it does not fit."""
    if not isinstance(values, dict):
        raise ValueError(f"{where} must be an object, but is {_shown(values)}")
    known = get_type_hints(kind)
    for name in values:
        if name not in known:
            raise ValueError(f"{where} has an unknown entry {name!r}")
    try:
        return kind(**{name: _fitted(known[name], value, f"{where}.{name}") for name, value in values.items()})
    except TypeError as error:
        raise ValueError(f"{where} is not whole: {error}") from error


def _fitted(kind: Any, value: Any, where: str) -> Any:
    """A value as its type: dataclass, tuple of one type or of several, optional, number, text."""
    if get_origin(kind) in (Union, types.UnionType):
        inner = [arg for arg in get_args(kind) if arg is not type(None)]
        return None if value is None else _fitted(inner[0], value, where)
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), value, where)
    if is_dataclass(kind) and isinstance(kind, type):
        return _made(kind, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where} must be of type {kind.__name__}, but is {_shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be a finite number, but is {value}")
    return value


def _tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} must be a list, but is {_shown(value)}")
    each = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else list(kinds)
    if len(each) != len(value):
        raise ValueError(f"{where} must have {len(each)} entries, but has {len(value)}")
    return tuple(_fitted(kind, v, f"{where}[{i}]") for i, (kind, v) in enumerate(zip(each, value, strict=True)))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
