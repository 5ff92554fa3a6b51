"""What there is to know of a data set before a run: every picture is decoded, as the run would do it.

``look`` gives a :class:`Report`, which ``lines`` turns into text and ``to_dict`` into plain values for JSON.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from noisepath.data.config import DataConfig
from noisepath.data.dataset import Data
from noisepath.data.decode import BadPicture, decode, head
from noisepath.data.files import MOST_BAD, Files, as_unit, bytes_of, each, open_data
from noisepath.data.source import by_bytes, readable

__all__ = ["Report", "good_ones", "lines", "look", "to_dict"]

_NAMES = 20  # how many names of a kind are told


@dataclass(frozen=True)
class Report:
    """A data set in figures; names are file names relative to the root."""

    path: str
    pictures: int
    shape: tuple[int, int, int]
    resize: str
    sizes: tuple[tuple[str, int], ...]
    """"Height x width" as seen upright, and how many pictures have it; the most common first."""
    smallest: str
    largest: str
    formats: dict[str, int]
    classes: dict[str, int]
    captions: int
    attributes: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]
    """Names of files with the same content."""
    bad: dict[str, tuple[str, ...]]
    """Why pictures can't be read, and which."""
    passed_over: dict[str, tuple[str, ...]]
    """Links that are not followed, zips inside, pictures that the metadata file does not name."""
    least: float
    most: float
    mean: float
    std: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Look:
    """What was seen of one picture."""

    digest: bytes
    size: tuple[int, int]
    kind: str
    least: float
    most: float
    total: float
    squares: float
    coloured: bool
    """Whether its channels differ."""
    greyed: bool
    """Whether it was in colour and is brought to grey."""


def look(config: DataConfig, progress: bool = False) -> tuple[Report, Data, list[int]]:
    """The report, the data, and the indices of its good pictures.

    Raises:
        ValueError, FileNotFoundError: what :func:`noisepath.data.open_data` says, but for bad pictures, which are reported.
    """
    data = open_data(config, progress, strict=False)
    looks = each(partial(_look, data), range(len(data)), "decoding" if progress else None)
    good = {i: found for i, found in enumerate(looks) if isinstance(found, _Look)}
    bad = [(data.names[i], found) for i, found in enumerate(looks) if isinstance(found, str)]
    passed = _passed_over(data)
    if isinstance(data, Files):
        bad = [*data.source.found.bad, *bad]
    return _report(config, data, good, bad, passed), data, list(good)


def _look(data: Data, index: int) -> _Look | str:
    """One picture, or why it can't be read."""
    if not isinstance(data, Files):
        x = data.batch([index])[0][0]
        return _seen(x.numpy().tobytes(), (x.shape[1], x.shape[2]), "in memory", False, x)
    name = data.names[index]
    try:
        content = bytes_of(data.source, name)
        about = head(content, name)
        x = as_unit(decode(content, name, data.form)).permute(2, 0, 1)
    except BadPicture as error:
        return error.reason
    greyed = data.form.grey and not about.grey
    kind = f"{about.format} {about.mode}" + ", first of several frames" * about.frames
    return _seen(content, (about.height, about.width), kind, greyed, x)


def _seen(content: bytes, size: tuple[int, int], kind: str, greyed: bool, x: Tensor) -> _Look:
    values = x.double()
    return _Look(
        digest=hashlib.blake2b(content, digest_size=16).digest(),
        size=size,
        kind=kind,
        least=float(x.min()),
        most=float(x.max()),
        total=float(values.sum()),
        squares=float(values.square().sum()),
        coloured=bool((x[:1] != x).any()),
        greyed=greyed,
    )


def _passed_over(data: Data) -> list[tuple[str, str]]:
    if not isinstance(data, Files):
        return []
    unnamed = [(name, f"no line in {data.layout.metadata}") for name in data.layout.unnamed]
    return [*data.source.found.passed_over, *unnamed]


def _report(
    config: DataConfig, data: Data, good: dict[int, _Look], bad: list[tuple[str, str]], passed: list[tuple[str, str]]
) -> Report:
    found = list(good.values())
    sizes = Counter(one.size for one in found)
    values = len(found) * math.prod(data.shape)
    mean = math.fsum(one.total for one in found) / values
    std = math.sqrt(max(0.0, math.fsum(one.squares for one in found) / values - mean**2))
    classes = _classes(data, good)
    same = _duplicates(data, good)
    return Report(
        path=config.data,
        pictures=len(found),
        shape=data.shape,
        resize=config.resize,
        sizes=tuple((_x(size), count) for size, count in sizes.most_common()),
        smallest=_x(min(sizes, key=math.prod)),
        largest=_x(max(sizes, key=math.prod)),
        formats=dict(Counter(one.kind for one in found).most_common()),
        classes=classes,
        captions=0 if data.captions is None else sum(bool(data.captions[i]) for i in good),
        attributes=tuple(sorted({name for i in good for name in data.attributes[i]})) if data.attributes else (),
        duplicates=tuple(tuple(data.names[i] for i in group) for group in same),
        bad=_by_reason(bad),
        passed_over=_by_reason(passed),
        least=min(one.least for one in found),
        most=max(one.most for one in found),
        mean=mean,
        std=std,
        warnings=tuple(_warnings(config, data, good, bad, classes, same, std)),
    )


def _x(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _classes(data: Data, good: Iterable[int]) -> dict[str, int]:
    if data.labels is None:
        return {}
    counts = torch.bincount(data.labels[list(good)], minlength=data.classes).tolist()
    return dict(zip(data.class_names, counts, strict=True))


def _duplicates(data: Data, good: dict[int, _Look]) -> list[list[int]]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, one in good.items():
        groups[one.digest].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _by_reason(named: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for name, reason in named:
        reasons[reason].append(name)
    return {reason: tuple(sorted(names, key=by_bytes)) for reason, names in reasons.items()}


def _warnings(
    config: DataConfig,
    data: Data,
    good: dict[int, _Look],
    bad: list[tuple[str, str]],
    classes: dict[str, int],
    same: list[list[int]],
    std: float,
) -> Iterable[str]:
    """What a person should look into before a run."""
    _, height, width = data.shape
    sizes = [one.size for one in good.values()]
    if len(bad) > MOST_BAD * (len(good) + len(bad)):
        yield f"{len(bad)} of {len(good) + len(bad)} pictures can't be read: training stops at more than 1 %"
    if std < 0.05:
        yield f"the pictures hardly differ from one grey: the standard deviation of their values is {std:.3f} of 2"
    if small := sum(size[0] < height or size[1] < width for size in sizes):
        yield f"{small} pictures are smaller than {height} x {width} and get enlarged"
    if config.picture_size is None and 10 * max(Counter(sizes).values()) < len(sizes):
        yield f"few pictures have the most common size, {height} x {width}: say --picture-size"
    if classes and max(classes.values()) > 10 * min(classes.values()):
        least, most = min(classes, key=lambda name: classes[name]), max(classes, key=lambda name: classes[name])
        yield f"the classes are very unequal: {classes[most]} of {readable(most)}, {classes[least]} of {readable(least)}"
    if data.labels is not None and (torn := sum(len(set(data.labels[group].tolist())) > 1 for group in same)):
        yield f"{torn} pictures are there more than once, in different classes"
    if data.shape[0] == 3 and not any(one.coloured for one in good.values()):
        yield "the files are in colour, but every picture is grey: stored as grey they would cost a third"
    if count := sum(one.greyed for one in good.values()):
        yield f"{count} pictures in colour are brought to grey, as the first ones looked at are"


def good_ones(data: Data, good: list[int], label: int | None, count: int) -> list[int]:
    """Up to ``count`` of the good pictures (of a class), spread evenly over all of them."""
    chosen = good if label is None or data.labels is None else [i for i in good if int(data.labels[i]) == label]
    return [chosen[i * len(chosen) // count] for i in range(count)] if len(chosen) > count else chosen


def to_dict(report: Report) -> dict[str, Any]:
    """Plain values for JSON."""
    return asdict(report)


def lines(report: Report) -> list[str]:
    """The report as text, a line for each thing."""
    c, h, w = report.shape
    told = [
        f"{readable(report.path)}: {report.pictures:,} pictures, brought to {h} x {w} {'grey' if c == 1 else 'colour'}"
        f" ({report.resize})",
        f"sizes       {_counts(report.sizes)}; smallest {report.smallest}, largest {report.largest}",
        f"formats     {_counts(report.formats.items())}",
        f"classes     {len(report.classes)}: {_counts(report.classes.items())}" if report.classes else "classes     none",
        f"values      {report.least:.3f} to {report.most:.3f}, mean {report.mean:.3f}, standard deviation {report.std:.3f}",
    ]
    if report.captions:
        told.append(f"captions    {report.captions:,}")
    if report.attributes:
        told.append(f"attributes  {', '.join(readable(name) for name in report.attributes)}")
    twice = sum(len(group) - 1 for group in report.duplicates)
    told.append(f"duplicates  {twice:,}" + (f": {_names(report.duplicates[0])}" if twice else ""))
    told += _reasons("bad", report.bad) or ["bad         none"]
    told += _reasons("passed over", report.passed_over)
    return told + [f"warning     {warning}" for warning in report.warnings]


def _counts(items: Iterable[tuple[str, int]], most: int = 12) -> str:
    pairs = list(items)
    more = f", and {len(pairs) - most} more" if len(pairs) > most else ""
    return ", ".join(f"{readable(name)} ({count:,})" for name, count in pairs[:most]) + more


def _reasons(title: str, reasons: dict[str, tuple[str, ...]]) -> list[str]:
    return [f"{title:11} {len(names):,}: {reason}: {_names(names)}" for reason, names in reasons.items()]


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(readable(name) for name in names[:_NAMES]) + more
