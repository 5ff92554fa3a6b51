"""Which of a source's files are the pictures, and what each of them is: by ``metadata.jsonl``, by class folders, or nothing.

A single folder around everything else, as zips often have it, is looked through.
"""

from __future__ import annotations

from dataclasses import dataclass

from noisepath.data.decode import SUFFIXES
from noisepath.data.metadata import class_order, read_lines
from noisepath.data.source import LARGEST, METADATA, Source, by_bytes

__all__ = ["Layout", "arrange"]


@dataclass(frozen=True, eq=False)
class Layout:
    """The pictures of a source in the order of their names, and what is known of each."""

    names: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    labels: tuple[int, ...] | None = None
    captions: tuple[str, ...] | None = None
    attributes: tuple[dict[str, object], ...] | None = None
    metadata: str | None = None
    """The name of the metadata file, where there is one."""
    unnamed: tuple[str, ...] = ()
    """Pictures that the metadata file does not name: they are left out."""


def arrange(source: Source) -> Layout:
    """What is what.

    Raises:
        ValueError: no pictures; pictures beside class folders; a metadata file with an error (its line is named).
    """
    found = source.found
    top = _top(source)
    if top + METADATA in found.others:
        return _by_metadata(source, top)
    if top + METADATA in dict(found.bad):
        raise ValueError(f"{METADATA} in {source.path!r} can't be used: {dict(found.bad)[top + METADATA]}")
    if not found.pictures:
        raise ValueError(_none(source))
    loose = [name for name in found.pictures if "/" not in name[len(top) :]]
    if len(loose) == len(found.pictures):
        return Layout(tuple(found.pictures))
    if loose:
        inside = next(name for name in found.pictures if "/" in name[len(top) :])[len(top) :].split("/")[0]
        raise ValueError(
            f"{source.path!r} holds pictures ({loose[0][len(top):]} ...) beside folders of pictures ({inside} ...): "
            f"put each picture into a class folder, or all into one folder, or say what is what in {METADATA}"
        )
    return _by_folders(tuple(found.pictures), top)


def _none(source: Source) -> str:
    found = source.found
    why = found.bad or found.passed_over
    also = f"; passed over: {len(why)}, the first {why[0][0]!r}: {why[0][1]}" if why else ""
    return f"no pictures in {source.path!r}: looked for {', '.join(sorted(SUFFIXES))} there and in its folders{also}"


def _top(source: Source) -> str:
    """What all names begin with and nobody meant: "" or, for example, "photos/"."""
    pictures, others = source.found.pictures, source.found.others
    top = ""
    while top + METADATA not in others:
        parts = [name[len(top) :].split("/", 2) for name in pictures]
        folders = {part[0] for part in parts if len(part) > 1}
        if len(folders) != 1 or any(len(part) == 1 for part in parts):
            break
        inner = f"{top}{folders.pop()}/"
        if inner + METADATA not in others and any(len(part) == 2 for part in parts):
            break  # its pictures lie right in it: a class
        top = inner
    return top


def _by_folders(names: tuple[str, ...], top: str) -> Layout:
    folders = [name[len(top) :].split("/", 1)[0] for name in names]
    order = sorted(set(folders), key=by_bytes)
    label = {folder: i for i, folder in enumerate(order)}
    return Layout(names, _class_names(order), tuple(label[folder] for folder in folders))


def _class_names(names: list[str]) -> tuple[str, ...]:
    """As text that can be stored and printed anywhere."""
    said = tuple(name.encode("utf-8", "backslashreplace").decode() for name in names)
    if len(set(said)) < len(said):
        raise ValueError("two class folders have the same name once it is written as text: rename one of them")
    return said


def _by_metadata(source: Source, top: str) -> Layout:
    where = top + METADATA
    if source.found.others[where][0] > LARGEST:
        raise ValueError(f"{where!r} in {source.path!r} is larger than {LARGEST >> 20} MiB")
    pictures = {name[len(top) :]: name for name in source.found.pictures if name.startswith(top)}
    refused = {name[len(top) :] for name, _ in source.found.bad if name.startswith(top)}
    said = read_lines(source.read(where), where, pictures.keys() | refused)
    lines = sorted((line for line in said if line.name in pictures), key=lambda line: by_bytes(line.name))
    if not lines:
        raise ValueError(_none(source))
    named = {line.name for line in lines}
    labels = {line.label for line in lines if line.label is not None}
    order = class_order(labels)
    index = {label: i for i, label in enumerate(order)}
    return Layout(
        names=tuple(pictures[line.name] for line in lines),
        class_names=_class_names([str(label) for label in order]),
        labels=tuple(index[line.label] for line in lines if line.label is not None) if labels else None,
        captions=tuple(line.caption for line in lines) if any(line.caption for line in lines) else None,
        attributes=tuple(line.attributes for line in lines) if any(line.attributes for line in lines) else None,
        metadata=where,
        unnamed=tuple(name for inner, name in pictures.items() if inner not in named),
    )
