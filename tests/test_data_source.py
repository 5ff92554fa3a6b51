"""A folder and a zip are the same place of pictures: listed without opening a file, and nothing outside is ever read."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from noisepath.data import source as module
from noisepath.data.layout import arrange
from noisepath.data.source import Zip, by_bytes, plain_path, readable, source

NAMES = ["b.png", "a/x.PNG", "a/y.jpeg", "a-b/z.gif", "a/deep/er/w.tif", "\u00e9.png", "e\u0301.png", "Z.webp"]
NAMES += ["\U0001f680.bmp"]


def _content(name: str) -> bytes:
    """Bytes that say whose they are; neither all stored nor packed to nothing."""
    return name.encode() + random.Random(name).randbytes(300) + bytes(300)


def _folder(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(_content(name))
    return root


def _zip(path: Path, names: list[str], packed: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", packed) as file:
        for name in names:
            file.writestr(name, _content(name))
    return path


def _both(tmp_path: Path, names: list[str]) -> list[Path]:
    return [_folder(tmp_path / "folder", names), _zip(tmp_path / "x.zip", names)]


def test_a_folder_and_a_zip_hold_the_same_names_in_the_order_of_their_bytes_and_the_same_bytes(tmp_path: Path) -> None:
    for path in _both(tmp_path, [*NAMES, "notes.txt", ".hidden.png", ".git/a.png", "__MACOSX/a.png", "a/._x.png", "Thumbs.db"]):
        place = source(path)
        assert list(place.found.pictures) == sorted(NAMES, key=lambda name: name.encode())
        assert list(place.found.others) == ["Thumbs.db", "notes.txt"]
        assert [place.found.pictures[name][0] for name in NAMES] == [len(_content(name)) for name in NAMES]
        assert all(place.read(name) == _content(name) for name in NAMES)
        assert not place.found.bad and not place.found.passed_over


def test_what_is_told_of_a_file_changes_with_it(tmp_path: Path) -> None:
    folder, zipped = _both(tmp_path, ["a.png", "b.png"])
    os.utime(folder / "a.png", ns=(5, 12345))
    assert source(folder).found.pictures["a.png"] == (len(_content("a.png")), 12345)
    assert source(zipped).found.pictures["a.png"] == (len(_content("a.png")), zlib.crc32(_content("a.png")))


def test_listing_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path, NAMES)

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("os.open", refuse)
    assert len(arrange_names(folder)) == len(NAMES)


def arrange_names(path: Path) -> list[str]:
    return list(source(path).found.pictures)


def test_links_inside_are_followed_once_and_those_that_lead_out_are_told(tmp_path: Path) -> None:
    root = _folder(tmp_path / "root", ["cats/a.png", ".store/dogs/b.png"])
    outside = _folder(tmp_path / "outside", ["secret.png"])
    links = {
        "dogs": root / ".store" / "dogs",  # a hidden folder with a visible name
        "cats/self.png": root / "cats" / "a.png",
        "again": root / "cats",
        "loop": root,
        "cats/up": root / "cats" / "..",
        "out": outside,
        "out.png": outside / "secret.png",
        "out by way": root / ".." / "outside",
        "nowhere.png": root / "missing.png",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    beside = tmp_path / "root-but-longer"  # whose name only begins like the root's
    _folder(beside, ["x.png"])
    (root / "beside").symlink_to(beside)
    found = source(root).found
    assert list(found.pictures) == ["cats/a.png", "cats/self.png", "dogs/b.png"]
    listed, out = "leads to a folder that is listed already", "leads out of the folder"
    expected = {"again": listed, "cats/up": listed, "loop": listed, "nowhere.png": "leads nowhere"}
    assert dict(found.passed_over) == expected | dict.fromkeys(("beside", "out", "out by way", "out.png"), out)


def test_a_link_to_the_folder_itself_is_the_folder(tmp_path: Path) -> None:
    _folder(tmp_path / "root", ["a.png"])
    (tmp_path / "link").symlink_to(tmp_path / "root")
    assert arrange_names(tmp_path / "link") == ["a.png"]


def test_a_folder_that_cannot_be_listed_is_bad_and_the_others_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _folder(tmp_path, ["a/a.png", "b/b.png"])
    real: Callable[[str], object] = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    found = source(root).found
    assert list(found.pictures) == ["b/b.png"]
    assert found.bad == (("a/", "the folder can't be listed: Permission denied"),)


def test_a_zip_is_read_from_threads_and_after_it_was_moved_into_another_process(tmp_path: Path) -> None:
    names = [f"{i:03}.png" for i in range(200)]
    place = source(_zip(tmp_path / "x.zip", names))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(place.read, names * 5)) == [_content(name) for name in names * 5]
    child = os.fork()
    if not child:  # the copy of this process reads, and says by its exit code how it went
        os._exit(0 if all(place.read(name) == _content(name) for name in names) else 1)
    assert all(place.read(name) == _content(name) for name in names)
    assert os.waitpid(child, 0)[1] == 0


def test_nothing_is_written_beside_a_zip(tmp_path: Path) -> None:
    place = source(_zip(tmp_path / "x.zip", NAMES))
    for name in NAMES:
        place.read(name)
    assert [path.name for path in tmp_path.rglob("*")] == ["x.zip"]


@pytest.mark.parametrize("name", ["../a.png", "a/../b.png", "/a.png", "C:/a.png", "a\\b.png", "a//b.png", "", "..", "a\0.png"])
def test_names_that_are_no_plain_paths_are_known(name: str) -> None:
    assert plain_path(name) is None


@pytest.mark.parametrize("name", ["a.png", "./a.png", "a/b c/..d.png", "a/b..png", "...png", "\udc80.png"])
def test_odd_names_that_stay_inside_are_plain_paths(name: str) -> None:
    assert plain_path(name) == name.removeprefix("./")


def test_any_name_can_be_sorted_and_shown_on_one_line() -> None:
    names = ["b", "\udcff", "a\nb", "\ud800", "\u202ex", "\U0001f680"]
    assert sorted(names, key=by_bytes)
    for name in names:
        assert readable(name).isprintable() and readable(name).encode()
    assert readable("a\nb") == "a\\nb" and readable("\udcff") == "\\udcff" and readable("caf\u00e9") == "caf\u00e9"


def _entry(path: Path, change: Callable[[zipfile.ZipInfo], None]) -> Zip:
    info = zipfile.ZipInfo("a.png")
    change(info)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(info, bytes(2**21))
        file.writestr("b.png", b"b")
    found = source(path)
    assert isinstance(found, Zip)
    return found


@pytest.mark.parametrize(("squeezed", "refused"), [(zipfile.ZIP_STORED, False), (zipfile.ZIP_DEFLATED, True)])
def test_an_entry_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path, squeezed: int, refused: bool) -> None:
    def pack(info: zipfile.ZipInfo) -> None:
        info.compress_type = squeezed

    found = _entry(tmp_path / "x.zip", pack).found
    assert ("a.png" in dict(found.bad)) == refused and ("a.png" in found.pictures) != refused


def test_an_entry_packed_by_a_rarer_method_is_refused_by_name(tmp_path: Path) -> None:
    found = source(_zip(tmp_path / "x.zip", ["a.png"], zipfile.ZIP_LZMA)).found
    assert found.bad == (("a.png", "it is packed by method 14, but only stored and deflated entries are read"),)


def _bad(path: Path) -> dict[str, str]:
    return dict(source(path).found.bad)


def test_entries_that_could_deceive_are_refused_by_name_and_the_others_are_read(tmp_path: Path) -> None:
    link, device, fine = (zipfile.ZipInfo(name) for name in ("link.png", "device.png", "fine.png"))
    for info, mode in ((link, 0o120777), (device, 0o020666), (fine, 0o100644)):
        info.create_system, info.external_attr = 3, mode << 16
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        for name in ("twice.png", "twice.png", "../out.png", "C:/x.png", "secret.png", link, device, fine):
            file.writestr(name, b"content")
    content = bytearray(path.read_bytes())
    content[content.rfind(b"secret.png") - 46 + 8] |= 1
    path.write_bytes(content)
    no_path, no_file = "its name is no plain path inside the zip", "it is a link or a device, not a file"
    assert _bad(path) == {
        "../out.png": no_path,
        "C:/x.png": no_path,
        "device.png": no_file,
        "link.png": no_file,
        "secret.png": "it is encrypted",
        "twice.png": "2 entries of the zip have this name",
    }
    assert list(source(path).found.pictures) == ["fine.png"] and source(path).read("fine.png") == b"content"


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_single_wrong_bit_in_an_entry_is_seen(tmp_path: Path, packed: int) -> None:
    path = _zip(tmp_path / "x.zip", ["a.png"], packed)
    content = bytearray(path.read_bytes())
    content[80] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match="the zip is damaged"):
        source(path).read("a.png")


def test_no_more_is_unpacked_than_an_entry_says_and_one_byte() -> None:
    packed = zlib.compress(bytes(10**6))[2:]  # without zlib's two bytes of a head
    assert len(module._unpacked(packed, module._Place(0, len(packed), 10, 0, True))) == 11


def test_an_entry_never_unpacks_to_more_than_it_says(tmp_path: Path) -> None:
    """The table of contents says 10 bytes, the packed bytes hold 300: the check is made on what comes out."""
    content = bytearray(_zip(tmp_path / "x.zip", ["a.png"]).read_bytes())
    table = content.find(b"PK\1\2")
    content[table + 24 : table + 28] = struct.pack("<I", 10)
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(ValueError, match="the entry's length or check sum is wrong"):
        source(tmp_path / "x.zip").read("a.png")


def test_limits_on_entries_and_on_the_table_of_contents_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _zip(tmp_path / "x.zip", NAMES)
    monkeypatch.setattr(module, "MOST_ENTRIES", len(NAMES) - 1)
    with pytest.raises(ValueError, match=f"has {len(NAMES)} entries, but at most {len(NAMES) - 1} are read"):
        source(path)
    monkeypatch.setattr(module, "LARGEST_CONTENTS", 10)
    with pytest.raises(ValueError, match="table of contents"):
        source(path)


def test_a_file_that_is_too_large_is_refused_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, zipped = _both(tmp_path, ["a.png"])
    monkeypatch.setattr(module, "LARGEST", 100)
    with pytest.raises(ValueError, match="larger than"):
        source(folder).read("a.png")
    assert "it would unpack to" in dict(source(zipped).found.bad)["a.png"]


# --- what is what ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("around", ["", "photos/", "photos/more/"])
def test_a_single_folder_around_everything_is_looked_through(tmp_path: Path, around: str) -> None:
    for path in _both(tmp_path, [f"{around}{name}" for name in ("cat/1.png", "ant/x/2.png", "dog/3.png", "ant/4.png")]):
        found = arrange(source(path))
        assert found.class_names == ("ant", "cat", "dog")
        assert [name.removeprefix(around) for name in found.names] == ["ant/4.png", "ant/x/2.png", "cat/1.png", "dog/3.png"]
        assert found.labels == (0, 0, 1, 2)


def test_one_folder_of_pictures_is_a_class(tmp_path: Path) -> None:
    found = arrange(source(_folder(tmp_path, ["cats/1.png", "cats/more/2.png"])))
    assert found.class_names == ("cats",) and found.labels == (0, 0)


def test_a_metadata_file_settles_what_is_what_wherever_the_pictures_lie(tmp_path: Path) -> None:
    lines = [
        {"file_name": "z/1.png", "label": "b", "text": "one", "place": {"x": 1}},
        {"file_name": "./2.png", "label": "a", "caption": "two"},
        {"file_name": "a/3.png", "label": "b", "text": "three", "caption": "kept"},
    ]
    content = "\n".join(json.dumps(line) for line in lines)
    root = _folder(tmp_path / "photos", ["z/1.png", "2.png", "a/3.png", "left.png"])
    (root / "metadata.jsonl").write_text(content)
    shutil.make_archive(str(tmp_path / "x"), "zip", tmp_path, "photos")
    for path, around in ((root, ""), (tmp_path / "x.zip", "photos/")):
        found = arrange(source(path))
        assert [name.removeprefix(around) for name in found.names] == ["2.png", "a/3.png", "z/1.png"]
        assert found.class_names == ("a", "b") and found.labels == (0, 1, 1)
        assert found.captions == ("two", "three", "one")
        assert found.attributes == ({}, {"caption": "kept"}, {"place": {"x": 1}})
        assert [name.removeprefix(around) for name in found.unnamed] == ["left.png"]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([10, 9, 2, 10], ("2", "9", "10")),
        (["10", "9", "2", "10"], ("2", "9", "10")),
        (["10", "b", "2", "B"], ("10", "2", "B", "b")),
        ([-1, 5, -10, 5], ("-10", "-1", "5")),
    ],
)
def test_classes_that_are_numbers_are_sorted_as_numbers(tmp_path: Path, labels: list[object], names: tuple[str, ...]) -> None:
    root = _folder(tmp_path, [f"{i}.png" for i in range(4)])
    lines = [json.dumps({"file_name": f"{i}.png", "label": label}) for i, label in enumerate(labels)]
    (root / "metadata.jsonl").write_text("\n".join(lines))
    found = arrange(source(root))
    assert found.class_names == names
    assert found.labels is not None and [found.class_names[label] for label in found.labels] == [str(label) for label in labels]


def test_captions_may_be_missing_and_labels_may_not(tmp_path: Path) -> None:
    root = _folder(tmp_path, ["a.png", "b.png"])
    (root / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "x"}\n\n{"file_name": "b.png"}\n')
    found = arrange(source(root))
    assert found.captions == ("x", "") and found.labels is None and found.class_names == () and found.attributes is None
    (root / "metadata.jsonl").write_text('{"file_name": "a.png", "label": "x"}\n\n{"file_name": "b.png"}\n')
    with pytest.raises(ValueError, match=r"'metadata.jsonl' line 3 has no label, but line 1 has one \('x'\)"):
        arrange(source(root))


def test_a_line_may_name_a_picture_that_is_refused_which_is_then_left_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("a.png", b"a")
        file.writestr("b.png", b"b", zipfile.ZIP_LZMA)
        file.writestr("metadata.jsonl", '{"file_name": "a.png"}\n{"file_name": "b.png"}')
    assert arrange(source(tmp_path / "x.zip")).names == ("a.png",)


def test_class_folders_whose_names_are_no_text_get_names_that_are(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(folder)
    with open(folder + b"/a.png", "wb") as file:
        file.write(b"x")
    found = arrange(source(tmp_path))
    assert found.class_names == ("\\udcff\\udcfe",) and found.class_names[0].encode()
    assert source(tmp_path).read(found.names[0]) == b"x"
