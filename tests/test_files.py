"""Files and folders are there whole or not at all, and damage is seen."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from noisepath import files
from noisepath.files import MANIFEST, clear_leftovers, remove_folder, verify, write_folder, write_whole


def _folder(path: Path, **about: str) -> Path:
    with write_folder(path, **about) as part:
        (part / "weights").write_bytes(bytes(range(256)) * 8)
        (part / "words.json").write_text('{"a": 1}\n')
    return path


def test_a_file_is_forced_to_disk_before_its_name_and_its_folder_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real_sync, real_replace = files._sync, os.replace
    monkeypatch.setattr(files, "_sync", lambda path: (done.append(f"sync {path.suffix or 'folder'}"), real_sync(path)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), real_replace(a, b)))
    with write_whole(tmp_path / "deep" / "x.txt") as part:
        part.write_text("new")
    assert done == ["sync .part", "rename", "sync folder"]
    assert (tmp_path / "deep" / "x.txt").read_text() == "new"


def test_a_folder_appears_when_all_its_files_are_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real_sync, real_replace = files._sync, os.replace
    monkeypatch.setattr(files, "_sync", lambda path: (done.append(f"sync {path.name}"), real_sync(path)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), real_replace(a, b)))
    folder = _folder(tmp_path / "x")
    part = next(name for name in done if name.endswith(".part"))
    assert done == ["sync weights", "sync words.json", f"sync {MANIFEST}", part, "rename", f"sync {folder.parent.name}"]


@pytest.mark.parametrize("whole_folder", [False, True])
def test_after_an_error_the_old_one_stands_and_nothing_else(whole_folder: bool, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if not whole_folder:
        path.write_text("old")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RuntimeError), write_folder(path) if whole_folder else write_whole(path) as part:
        (part / "a" if whole_folder else part).write_text("half")
        raise RuntimeError
    assert sorted(tmp_path.iterdir()) == before


def test_a_written_folder_verifies_and_tells_what_it_was_told(tmp_path: Path) -> None:
    assert verify(_folder(tmp_path / "x", run="abc", kind="test")) == {"run": "abc", "kind": "test"}


def test_every_changed_bit_is_seen_wherever_it_is(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "x")
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for place in range(0, len(whole), max(1, len(whole) // 40)):
            if path.name == MANIFEST and whole[place : place + 1] in b" \n":
                continue  # JSON's own white space says nothing
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(ValueError, match="damaged|missing|bytes|complete"):
                verify(folder)
        path.write_bytes(whole)
    verify(folder)


@pytest.mark.parametrize(
    "damage", ["cut", "longer", "gone", "zeroed", "no manifest", "manifest of nothing", "manifest of a list"]
)
def test_damage_is_named(damage: str, tmp_path: Path) -> None:
    folder = _folder(tmp_path / "x")
    weights, manifest = folder / "weights", folder / MANIFEST
    match damage:
        case "cut":
            os.truncate(weights, 100)
        case "longer":
            weights.write_bytes(weights.read_bytes() + b"x")
        case "gone":
            weights.unlink()
        case "zeroed":
            weights.write_bytes(weights.read_bytes()[:1024] + bytes(1024))
        case "no manifest":
            manifest.unlink()
        case "manifest of nothing":
            manifest.write_bytes(b"")
        case "manifest of a list":
            manifest.write_text(json.dumps([1]))
    with pytest.raises(ValueError) as error:
        verify(folder)
    assert str(manifest.name if "manifest" in damage else weights) in str(error.value)
    assert "\n" not in str(error.value)


def test_removing_is_a_rename_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder(tmp_path / "x")
    monkeypatch.setattr(files.shutil, "rmtree", lambda *a, **k: None)
    remove_folder(folder)
    assert not folder.exists() and len(list(tmp_path.iterdir())) == 1
    monkeypatch.undo()
    clear_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_are_cleared_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".x.12.part").write_text("")
    (tmp_path / ".step-1.12.part").mkdir()
    (tmp_path / ".step-1.12.part" / "a").write_text("")
    keep = [tmp_path / ".lock", tmp_path / "mine.part", tmp_path / ".hidden"]
    for path in keep:
        path.write_text("")
    clear_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(keep)
    clear_leftovers(tmp_path / "nothing")
