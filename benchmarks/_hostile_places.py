"""Zips, folders, metadata files and command lines that are broken, lying or odd."""

from __future__ import annotations

import json
import os
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from _hostile_pictures import good_picture

GOOD = 110


@dataclass(frozen=True)
class Place:
    """Something to read pictures from, made by ``make``; refused with these words, or read and these words told."""

    name: str
    make: Callable[[Path], str | Path]
    refused: tuple[str, ...] | None = None
    told: tuple[str, ...] = ()
    either: bool = False
    """Whether it may be refused or read; only that it is done in an orderly way counts."""


Entry = tuple[str | zipfile.ZipInfo, bytes]


def zip_of(entries: list[Entry], path: Path, packed: int = zipfile.ZIP_STORED) -> Path:
    """A zip of these entries, whatever their names are."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", packed) as file:
        warnings.simplefilter("ignore")  # Python says that a name is there twice
        for name, content in entries:
            file.writestr(name, content)
    return path


def good_entries(count: int = GOOD) -> list[Entry]:
    """So many good pictures that one bad one is less than 1 % of them."""
    return [(f"good {i:03}.png", good_picture(i)) for i in range(count)]


def _with(name: str, entries: list[Entry], why: str, shown: str | None = None, change: str | None = None) -> Place:
    """A zip of good pictures and some entries that must be told as bad for a reason."""

    def make(place: Path) -> Path:
        path = zip_of([*good_entries(), *entries], place / "x.zip")
        if change is not None:
            path.write_bytes(_changed(path.read_bytes(), str(entries[-1][0]), change))
        return path

    return Place(name, make, told=("110 pictures", why, *([shown] if shown else [])))


def _changed(content: bytes, name: str, change: str) -> bytes:
    """A zip in which an entry's record in the table of contents, and its own head, say something else."""
    table, own = content.rfind(name.encode()) - 46, content.find(name.encode()) - 30
    assert content[table : table + 4] == b"PK\1\2" and content[own : own + 4] == b"PK\3\4"
    places = {  # what -> (place in the table, place in the entry's own head or None, new bytes)
        "encrypted": (8, 6, struct.pack("<H", 1)),
        "method": (10, 8, struct.pack("<H", 14)),
        "check sum": (16, None, b"\1\2\3\4"),
        "size": (24, None, struct.pack("<I", 2**31)),
        "larger": (24, None, struct.pack("<I", 900)),
        "offset": (42, None, struct.pack("<I", 3)),
    }
    in_table, in_own, value = places[change]
    changed = bytearray(content)
    changed[table + in_table : table + in_table + len(value)] = value
    if in_own is not None:
        changed[own + in_own : own + in_own + len(value)] = value
    return bytes(changed)


def _attributes(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def zips(seed: int) -> Iterator[Place]:
    """Entries that could deceive, and zips that are damaged or none."""
    picture = good_picture(999)
    no_path = "its name is no plain path inside the zip"
    for name in (
        "../out.png", "a/../../out.png", "/etc/out.png", "//host/out.png", "C:/out.png", "c:out.png", "..\\out.png",
        "a\\b.png", "\\\\host\\out.png", "a/./b.png", "a//b.png", "..", "a/..", "./../x.png", "C:\\x.png",
    ):  # fmt: skip
        yield _with(f"an entry named {name}", [(name, picture)], no_path)
    yield _with("a link", [(_attributes("link.png", 0o120777), b"/etc/hostname")], "it is a link or a device", "link.png")
    yield _with("a device", [(_attributes("tty.png", 0o020666), b"")], "it is a link or a device", "tty.png")
    yield _with("a pipe", [(_attributes("pipe.png", 0o010666), b"")], "it is a link or a device", "pipe.png")
    yield _with("one name twice", [("two.png", picture), ("two.png", good_picture(5))], "2 entries of the zip have this name")
    yield _with("one name twice, once with ./", [("two.png", picture), ("./two.png", picture)], "2 entries of the zip")
    for change, why in {
        "encrypted": "it is encrypted",
        "method": "packed by method 14",
        "check sum": "check sum is wrong",
        "size": "it would unpack to",
        "larger": "two sizes differ",
        "offset": "no such entry where it should be",
    }.items():
        yield _with(f"an entry with another {change}", [("bad.png", picture)], why, "bad.png", change)
    for content, why in ((b"", "empty"), (b"text", "it is no PNG"), (picture[:60], "bad.png"), (bytes(9000), "it is no PNG")):
        yield _with(f"an entry of {len(content)} bytes", [("bad.png", content)], why, "bad.png")
    yield _with("a zip inside", [("inner.zip", b"PK\5\6" + bytes(18))], "a zip inside is not opened", "inner.zip")
    yield _squeezed("bomb.png", 2 * 2**20, "more than 200 times")
    yield _squeezed("text.png", 2**19, "it is no PNG")
    yield from _no_zips()
    yield from _damaged(np.random.default_rng(seed))


def _squeezed(name: str, size: int, why: str) -> Place:
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    return _with(f"{size} zeros packed small", [(info, bytes(size))], why, name)


def _no_zips() -> Iterator[Place]:
    def written(content: bytes) -> Callable[[Path], Path]:
        def make(place: Path) -> Path:
            (place / "x.zip").write_bytes(content)
            return place / "x.zip"

        return make

    for name, content in {
        "nothing": b"",
        "text": b"no zip",
        "a head alone": b"PK\3\4" + bytes(26),
        "an end that lies": b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 7, 7, 500, 100, 0),
        "an end that says 4 GB": b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 7, 7, 2**32 - 2, 0, 0),
        "a RAR": b"Rar!\x1a\x07\x01\0" + bytes(99),
        "a gzip": b"\x1f\x8b\x08" + bytes(30),
        "7z": b"7z\xbc\xaf\x27\x1c" + bytes(40),
    }.items():
        yield Place(f"{name} that is called a zip", written(content), ("x.zip",))
    for name, entries in {
        "no entries": [],
        "folders alone": [("a/", b""), ("b/", b"")],
        "text alone": [("a.txt", b"a")],
        "hidden pictures alone": [(".a.png", good_picture(0)), ("__MACOSX/b.png", good_picture(0)), ("a/.b/c.png", b"")],
        "zips inside alone": [("a.zip", b"PK")],
        "names outside alone": [("../a.png", good_picture(0))],
    }.items():
        yield Place(f"a zip of {name}", partial(_zip_in, entries), ("no pictures", "x.zip"))
    many = [(f"../{i}.png", good_picture(0)) for i in range(5)]
    yield Place("five deceiving entries of 50", partial(_zip_in, [*good_entries(45), *many]), told=("5 of 50",))
    yield Place("a tar", _tar, ("x.tar",))
    yield Place("a million entries and one", _million, ("at most 1,000,000 are read",))


def _zip_in(entries: list[Entry], place: Path) -> Path:
    return zip_of(entries, place / "x.zip")


def _tar(place: Path) -> Path:
    with tarfile.open(place / "x.tar", "w") as file:
        (place / "a.png").write_bytes(good_picture(0))
        file.add(place / "a.png", "a.png")
    (place / "a.png").unlink()
    return place / "x.tar"


def _million(place: Path) -> Path:
    entry = b"PK\1\2" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    count = 1_000_001
    longer = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, count * len(entry), 0)
    finder = struct.pack("<4sIQI", b"PK\6\7", 0, count * len(entry), 1)
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, count * len(entry), 0xFFFFFFFF, 0)
    (place / "x.zip").write_bytes(entry * count + longer + finder + end)
    return place / "x.zip"


def _damaged(random: np.random.Generator) -> Iterator[Place]:
    """A good zip cut off, or with bits flipped, mostly in its table of contents."""
    for share in (0.1, 0.5, 0.9, 0.99, 0.999):

        def cut(place: Path, share: float = share) -> Path:
            path = zip_of(good_entries(), place / "x.zip")
            path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
            return path

        yield Place(f"a zip cut off at {share:.1%}", cut, ("x.zip",))
    for number in range(24):
        seed = int(random.integers(2**31))

        def flip(place: Path, seed: int = seed) -> Path:
            random = np.random.default_rng(seed)
            path = zip_of(good_entries(), place / "x.zip")
            content = bytearray(path.read_bytes())
            start = content.find(b"PK\1\2") if seed % 3 else 0
            for where in random.integers(start, len(content), 1 + seed % 8):
                content[where] ^= 1 << int(random.integers(0, 8))
            path.write_bytes(bytes(content))
            return path

        yield Place(f"a zip with bits flipped, {number}", flip, either=True)


# --- folders ---------------------------------------------------------------------------------------------------------


def _folder(files: dict[str | bytes, bytes], good: int = GOOD) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        root = place / "photos"
        root.mkdir()
        for name, content in {**{f"good {i:03}.png": good_picture(i) for i in range(good)}, **files}.items():
            path = os.path.join(os.fsencode(root), name if isinstance(name, bytes) else os.fsencode(name))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
        return root

    return make


def _and(make: Callable[[Path], Path], then: Callable[[Path], object]) -> Callable[[Path], Path]:
    def both(place: Path) -> Path:
        root = make(place)
        then(root)
        return root

    return both


def folders() -> Iterator[Place]:
    """Odd names, links, files of odd kinds, and metadata files with errors."""
    picture = good_picture(999)
    for name in (
        "new\nline.png", "tab\t.png", " space .png", "'\".png", "-rf.png", "--out.png", "%s{}.png", "$(id).png", "\x1b[31m.png",
        "\u202egnp.png", "caf\u00e9.png", "cafe\u0301.png", "\U0001f469\u200d\U0001f680.png", "x" * 250 + ".png", "A.PNG",
        "\udcff\udcfe.png", "a\rb.png", "con.png", "~.png", "a.b.c.png", "\u0661.png", "\x7f.png", "#;&.png",
    ):  # fmt: skip
        yield Place(f"a picture named {name[:30]!a}", _folder({name: picture}), told=("111 pictures", "bad         none"))
        yield Place(f"a bad file named {name[:30]!a}", _folder({name: b"x"}, 0), ("can't be read",))
    yield Place("names that differ in case alone", _folder({"a.png": picture, "A.png": picture}, 0), told=("2 pictures",))
    yield Place("an empty folder", _folder({}, 0), ("no pictures in",))
    hidden = {".a.png": picture, ".b/c.png": picture, "Thumbs.db": b"x"}
    yield Place("hidden files alone", _folder(hidden, 0), ("no pictures in",))
    yield Place("AppleDouble files beside", _folder({"._good.png": b"x", "__MACOSX/a.png": b"x"}), told=("110 pictures",))
    yield Place("a folder named as a picture", _folder({"x.png/y.png": picture}, 0), told=("1 pictures",))
    yield Place("pictures beside class folders", _folder({"cats/a.png": picture}), ("beside folders of pictures",))
    yield Place("folders 60 deep", _folder({"a/" * 60 + "x.png": picture}, 0), told=("1 pictures",))
    yield Place("two bad ones of 102", _folder({"a.png": b"x", "b.png": b"y"}, 100), told=("training stops at more than 1 %",))
    yield Place("bad ones alone", _folder({"a.png": b"x", "b.png": b"y"}, 0), ("2 of 2 pictures", "a.png", "b.png"))
    yield Place("a zip beside", _folder({"more.zip": b"PK"}), told=("a zip inside is not opened", "more.zip"))
    yield from _links(picture)
    yield from _metadata()


def _links(picture: bytes) -> Iterator[Place]:
    good = _folder({})
    for name, target, why in (
        ("out.png", "/etc/hostname", "leads out of the folder"),
        ("out", "/etc", "leads out of the folder"),
        ("up", "..", "leads out of the folder"),
        ("nowhere.png", "missing.png", "leads nowhere"),
        ("self.png", "self.png", "leads nowhere"),
        ("loop", ".", "listed already"),
    ):
        link = _and(good, partial(_link, name, target))
        yield Place(f"a link to {target}", link, told=("110 pictures", why, name))
    alone = _and(_folder({}, 0), lambda root: (root / "a.png").symlink_to("/etc/hostname"))
    yield Place("a link that leads out, alone", alone, ("no pictures", "a.png", "leads out"))
    yield Place("a pipe alone", _and(_folder({}, 0), lambda root: os.mkfifo(root / "a.png")), ("no pictures",))
    yield Place("a pipe", lambda place: (os.mkfifo(place / "pipe"), place / "pipe")[1], ("neither a folder nor a zip",))
    yield Place("a device", lambda place: "/dev/zero", ("neither a folder nor a zip",))


def _link(name: str, target: str, root: Path) -> None:
    (root / name).symlink_to(target)


def _metadata() -> Iterator[Place]:
    """Files of lines, of which one is wrong; its number must be told."""
    first = '{"file_name": "good 000.png", "label": "a"}'
    for line in (
        "no JSON", "{", '["good 001.png"]', '"good 001.png"', "7", "null", "{}", '{"label": "a"}', '{"file_name": null}',
        '{"file_name": 7, "label": "a"}', '{"file_name": "", "label": "a"}', '{"file_name": "missing.png", "label": "a"}',
        '{"file_name": "../x.png", "label": "a"}', '{"file_name": "/etc/x.png", "label": "a"}',
        '{"file_name": "a\\\\b.png", "label": "a"}', '{"file_name": "C:/x.png", "label": "a"}',
        '{"file_name": "metadata.jsonl", "label": "a"}', '{"file_name": "good 000.png", "label": "a"}',
        '{"file_name": "./good 000.png", "label": "a"}', '{"file_name": "good 001.png"}',
        '{"file_name": "good 001.png", "label": null}', '{"file_name": "good 001.png", "label": 1.5}',
        '{"file_name": "good 001.png", "label": true}', '{"file_name": "good 001.png", "label": ["a"]}',
        '{"file_name": "good 001.png", "label": 7}', '{"file_name": "good 001.png", "label": "a", "text": 7}',
        '{"file_name": "good 001.png", "label": "a", "size": NaN}', '{"file_name": "good 001.png", "label": "a", "label": "b"}',
        '{"file_name": "good 001.png", "label": "\\ud800"}', "[" * 20_000, '{"file_name": "a\\u0000.png", "label": "a"}',
        '{"file_name": "good 001.png", "label": "a", "n": ' + "9" * 5000 + "}", "\xff\xfe",
        '{"file_name": "good 001.png" "label"}',
    ):  # fmt: skip
        content = f"{first}\n{line}\n".encode("latin-1")
        yield Place(f"a line {line[:60]}", _folder({"metadata.jsonl": content}, 3), ("line 2",))
    wide = first.encode("utf-16")
    for name, content in {"nothing": b"", "empty lines": b"\n\n  \n", "zeros": bytes(100), "UTF-16": wide}.items():
        yield Place(f"a metadata file of {name}", _folder({"metadata.jsonl": content}, 3), ("metadata.jsonl",))
    lines = "\n".join(json.dumps({"file_name": f"good 00{i}.png", "label": i, "text": "\u2603", "n": [i]}) for i in range(3))
    good = b"\xef\xbb\xbf" + lines.replace("\n", "\r\n\n").encode()
    told = ("3 pictures", "classes     3", "no line in")
    yield Place("a metadata file from Windows", _folder({"metadata.jsonl": good}, 4), told=told)


# --- arguments -------------------------------------------------------------------------------------------------------

_PATHS = ("", " ", "missing", "missing.zip", "text.txt", "empty", "/dev/null", "a\nb", "x" * 300, "photos/0.png", "\udcff",
          "~", "*", "http://example.org/x.zip", "photos\\0.png", "photos/../missing")  # fmt: skip
_OPTIONS = (
    ["--picture-size", "0"], ["--picture-size", "-3"], ["--picture-size", "0", "8"], ["--picture-size", "99999999999"],
    ["--picture-size", "100000", "100000"], ["--resize", "fit"], ["--resize", "Cover"], ["--resize", ""],
    ["--background", "pink"], ["--background", "255"], ["--out", "photos"], ["--out", "."],
    ["--out", "text.txt/sheet.png"], ["--json", "empty"], ["--out", "/dev/null/x.png"], ["--out", "/proc/x/y.png"],
)  # fmt: skip
ARGUMENTS: list[list[str]] = [
    *(["data", path] for path in _PATHS),
    *(["data", path, *options] for path in ("photos", "digits") for options in _OPTIONS),
    *(["data", "photos", "--out", place] for place in ("photos/sheet.png", "photos/deep/er.png", "./photos/../photos/x.png")),
    *(["data", "missing", *options] for options in _OPTIONS[:4]),
    *([command] for command in ("dta", "Data", "date", "")),
]
