"""Where pictures lie: a folder or a zip, read in place and never unpacked.

What is there is listed without opening a single file: names relative to the root with "/" between folders, in the order of
their bytes.  Names that begin with a dot, ``__MACOSX`` and whatever has no picture's suffix are passed over.  Nothing
outside the root is ever read: links are followed only where they stay inside, and an entry of a zip whose name, kind or size
could deceive is refused by name.  Neither kind of source keeps a file open, so that threads and worker processes can share it.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from noisepath.data.decode import SUFFIXES

__all__ = ["LARGEST", "METADATA", "Folder", "Found", "Source", "Zip", "by_bytes", "plain_path", "readable", "source"]

METADATA = "metadata.jsonl"
LARGEST = 256 * 2**20
"""Bytes of the largest file that is read."""
MOST_ENTRIES = 1_000_000
"""Entries of the largest zip."""
LARGEST_CONTENTS = 200 * 2**20
"""Bytes of the longest table of contents of a zip."""
MOST_SQUEEZED = 200
"""How many times larger than its packed bytes an entry above ``SMALL`` may be."""
SMALL = 2**20
_ZIP_INSIDE = "a zip inside is not opened"


@dataclass(frozen=True)
class Found:
    """What a source holds."""

    pictures: dict[str, tuple[int, int]]
    """Name -> size, and time of change in nanoseconds (folder) or check sum (zip); in the order of the names' bytes."""
    others: dict[str, tuple[int, int]]
    """The other files, of which only ``metadata.jsonl`` is ever read."""
    bad: tuple[tuple[str, str], ...] = ()
    """Pictures and folders that are refused, and why."""
    passed_over: tuple[tuple[str, str], ...] = ()
    """Links that are not followed and zips inside, and why; nobody is deceived by them."""


class Source(Protocol):
    """A place of pictures."""

    @property
    def path(self) -> str:
        """As it was given."""

    @property
    def found(self) -> Found:
        """What is there."""

    def read(self, name: str) -> bytes:
        """A file's bytes; ValueError or OSError if they can't be had."""


def source(path: str | os.PathLike[str]) -> Source:
    """The folder or zip at ``path``, listed.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it is neither a folder nor a zip, or a damaged zip.
    """
    given = os.fspath(path)
    if "\0" in given or not os.path.exists(given):
        raise FileNotFoundError(f"there is no folder or zip {given!r}")
    if os.path.isdir(given):
        return Folder(given, os.path.realpath(given), _walk(os.path.realpath(given)))
    if not os.path.isfile(given):
        raise ValueError(f"{given!r} is neither a folder nor a zip of pictures")
    return _open_zip(given)


def by_bytes(name: str) -> bytes:
    """The key that sorts names: the same order on every machine, whatever the names are made of."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")


def readable(name: str) -> str:
    """A name for the eye: on one line, and with everything that can't be shown written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def plain_path(name: str) -> str | None:
    """The name with no "./" before it, or None if it is no plain path below a root."""
    name = re.sub(r"\A(?:\./)+", "", name)
    odd = "\0" in name or "\\" in name or re.match(r"[A-Za-z]:", name)
    return None if odd or not name or any(part in ("", ".", "..") for part in name.split("/")) else name


def _is_picture(name: str) -> bool:
    return name[name.rfind(".") :].lower() in SUFFIXES


def _sorted(files: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    return {name: files[name] for name in sorted(files, key=by_bytes)}


# --- folders ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder:
    """A folder and all folders in it."""

    path: str
    root: str
    found: Found

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        with open(os.path.join(self.root, name), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST:
                raise ValueError(f"the file is larger than {LARGEST >> 20} MiB")
            return file.read(size)  # a number, since reading asks for the room first


class _Walk:
    """One listing of a folder: true folders first, then the links that were met on the way, so that true names win."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.pictures: dict[str, tuple[int, int]] = {}
        self.others: dict[str, tuple[int, int]] = {}
        self.bad: list[tuple[str, str]] = []
        self.links: list[tuple[str, str]] = []
        self.seen: set[tuple[int, int]] = set()
        self.later: list[tuple[str, str]] = []

    def folders(self, prefix: str, path: str) -> None:
        """Everything below ``path``, whose names begin with ``prefix``."""
        waiting = [(prefix, path)]
        while waiting:
            prefix, path = waiting.pop()
            try:
                about = os.stat(path)
                if (key := (about.st_dev, about.st_ino)) in self.seen:
                    self.links.append((prefix.rstrip("/"), "leads to a folder that is listed already"))
                    continue
                self.seen.add(key)
                with os.scandir(path) as entries:
                    waiting.extend(self._folder(prefix, entries))
            except OSError as error:
                if not prefix:
                    raise
                self.bad.append((prefix, f"the folder can't be listed: {error.strerror}"))

    def _folder(self, prefix: str, entries: Iterator[os.DirEntry[str]]) -> Iterator[tuple[str, str]]:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            name = prefix + entry.name
            if entry.is_file(follow_symlinks=False):
                self._file(name, entry)
            elif entry.is_symlink():
                self.later.append((name, entry.path))
            elif entry.is_dir(follow_symlinks=False):
                yield name + "/", entry.path

    def _file(self, name: str, file: os.DirEntry[str] | Path) -> None:
        try:
            about = file.stat()
        except OSError as error:
            self.bad.append((name, f"the file can't be listed: {error.strerror}"))
        else:
            (self.pictures if _is_picture(name) else self.others)[name] = (about.st_size, about.st_mtime_ns)

    def follow(self) -> None:
        """The links, and what is found behind them."""
        while self.later:
            links, self.later = sorted(self.later, key=lambda link: by_bytes(link[0])), []
            for name, path in links:
                self._link(name, path)

    def _link(self, name: str, path: str) -> None:
        target = os.path.realpath(path)
        if os.path.commonpath([self.root, target]) != self.root:
            self.links.append((name, "leads out of the folder"))
        elif os.path.isdir(target):
            self.folders(name + "/", target)
        elif os.path.isfile(target):
            self._file(name, Path(target))
        else:
            self.links.append((name, "leads nowhere"))


def _walk(root: str) -> Found:
    walk = _Walk(root)
    walk.folders("", root)
    walk.follow()
    walk.links.extend((name, _ZIP_INSIDE) for name in walk.others if name.lower().endswith(".zip"))
    return Found(_sorted(walk.pictures), _sorted(walk.others), tuple(sorted(walk.bad)), tuple(sorted(walk.links)))


# --- zips ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where an entry lies in its zip, and what it must unpack to."""

    offset: int
    packed: int
    size: int
    check: int
    deflated: bool


@dataclass(frozen=True)
class Zip:
    """A zip file; entries are unpacked in memory, one at a time."""

    path: str
    root: str
    found: Found
    places: dict[str, _Place]

    def read(self, name: str) -> bytes:
        """An entry's bytes, which must be as many as the zip says and have its check sum."""
        place = self.places[name]
        with open(self.root, "rb") as file:
            file.seek(place.offset)
            local = file.read(30)
            if len(local) < 30 or local[:4] != b"PK\3\4":
                raise ValueError("the zip is damaged: there is no such entry where it should be")
            name_length, extra_length = struct.unpack("<HH", local[26:30])
            file.seek(name_length + extra_length, os.SEEK_CUR)
            left = os.fstat(file.fileno()).st_size - file.tell()
            content = _unpacked(file.read(max(0, min(place.packed, left))), place)
        if len(content) != place.size or zlib.crc32(content) != place.check:
            raise ValueError("the zip is damaged: the entry's length or check sum is wrong")
        return content


def _unpacked(packed: bytes, place: _Place) -> bytes:
    if not place.deflated:
        return packed
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, place.size + 1)  # never more than it says
    except zlib.error as error:
        raise ValueError(f"the zip is damaged: {error}") from None


def _open_zip(path: str) -> Zip:
    with open(path, "rb") as file:
        if (length := _contents_length(file)) > LARGEST_CONTENTS:
            raise ValueError(f"the zip {path!r} has a table of contents of {length >> 20} MiB: too many entries")
        try:
            with zipfile.ZipFile(file) as opened:
                entries = opened.infolist()
        except (zipfile.BadZipFile, ValueError, EOFError, OverflowError, RuntimeError, struct.error) as error:
            said = " ".join(str(error).split())
            raise ValueError(f"{path!r} is neither a folder nor a zip of pictures, or a damaged zip: {said}") from None
    if len(entries) > MOST_ENTRIES:
        raise ValueError(f"the zip {path!r} has {len(entries):,} entries, but at most {MOST_ENTRIES:,} are read")
    return _listed(path, entries)


def _contents_length(file: BinaryIO) -> int:
    """Bytes of a zip's table of contents, as the record at its end says; 0 if there is no such record."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 2**16 - 100))
    tail = file.read()
    record = tail[tail.rfind(b"PK\5\6") :]
    if len(record) < 22:
        return 0
    (length,) = struct.unpack("<I", record[12:16])
    longer = tail[tail.rfind(b"PK\6\6") :]
    if length == 0xFFFFFFFF and len(longer) >= 48:
        (length,) = struct.unpack("<Q", longer[40:48])
    return int(length)


def _listed(path: str, entries: list[zipfile.ZipInfo]) -> Zip:
    named: dict[str, list[zipfile.ZipInfo]] = {}
    bad: list[tuple[str, str]] = []
    for entry in entries:
        name = plain_path(entry.orig_filename.removesuffix("/"))
        if name is None:
            bad.append((entry.orig_filename, "its name is no plain path inside the zip"))
        elif not entry.orig_filename.endswith("/") and not _hidden(name):
            named.setdefault(name, []).append(entry)
    pictures: dict[str, tuple[int, int]] = {}
    others: dict[str, tuple[int, int]] = {}
    for name, found in named.items():
        if reason := _deceiving(name, found):
            bad.append((name, reason))
        else:
            (pictures if _is_picture(name) else others)[name] = (found[0].file_size, found[0].CRC)
    inner = tuple((name, _ZIP_INSIDE) for name in others if name.lower().endswith(".zip"))
    places = {name: _place(named[name][0]) for name in (*pictures, *others)}
    found_ = Found(_sorted(pictures), _sorted(others), tuple(sorted(bad)), inner)
    return Zip(path, os.path.abspath(path), found_, places)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _deceiving(name: str, entries: list[zipfile.ZipInfo]) -> str | None:
    """Why the entries of this name are not to be trusted; None if they are."""
    entry = entries[0]
    if len(entries) > 1:
        return f"{len(entries)} entries of the zip have this name"
    if entry.create_system == 3 and stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        return "it is a link or a device, not a file"
    if not _is_picture(name) and name.rpartition("/")[2] != METADATA:
        return None
    if entry.flag_bits & 0x1:
        return "it is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"it is packed by method {entry.compress_type}, but only stored and deflated entries are read"
    if entry.file_size > LARGEST:
        return f"it would unpack to {entry.file_size >> 20:,} MiB, but at most {LARGEST >> 20} are read"
    if entry.file_size > SMALL and entry.file_size > MOST_SQUEEZED * entry.compress_size:
        return f"it would unpack to more than {MOST_SQUEEZED} times its size"
    if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
        return "its two sizes differ, though it is not packed"
    return None


def _place(entry: zipfile.ZipInfo) -> _Place:
    deflated = entry.compress_type == zipfile.ZIP_DEFLATED
    return _Place(entry.header_offset, entry.compress_size, entry.file_size, entry.CRC, deflated)
