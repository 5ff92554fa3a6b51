"""Files and folders are written whole: a reader, or a crash, finds the old one or the new one and never a part.

Everything goes to a temporary name beside its place, is forced to disk, and is renamed; then the folder that holds it is
forced to disk too.  A folder says in its ``manifest.json``, written last, how long each of its files is and its SHA-256:
:func:`verify` finds what a disk or a copy has damaged since, which safetensors itself does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MANIFEST", "check_folder", "clear_leftovers", "remove_folder", "verify", "write_folder", "write_whole"]

MANIFEST = "manifest.json"
_PART, _OLD = ".part", ".old"


def check_folder(path: str | os.PathLike[str]) -> None:
    """ValueError where ``path`` can be no folder to write to, as it or what it lies in is a file; nothing is made."""
    folder = Path(path)
    if "\0" in str(folder):
        raise ValueError(f"{str(folder)!r} is no name of a folder: it holds a null character")
    for one in (folder, *folder.parents):
        if one.is_dir():
            return
        if os.path.lexists(one):
            for_what = "" if one == folder else f" for {str(folder)!r}"
            raise ValueError(f"{str(one)!r} is a file, but a folder is needed there{for_what}")


@contextmanager
def write_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name beside ``path`` to write to: afterwards forced to disk and renamed, or removed after an error.

    The folder is made if need be.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(f".{final.name}.{os.getpid()}{_PART}")
    try:
        yield part
        _sync(part)
        os.replace(part, final)
        _sync(final.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def write_folder(path: str | os.PathLike[str], **about: str) -> Iterator[Path]:
    """The same for a folder of plain files, with a manifest that holds ``about`` too; ``path`` must not exist yet."""
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(f".{final.name}.{os.getpid()}{_PART}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        files = sorted(part.iterdir())
        for file in files:
            _sync(file)
        manifest = {**about, "files": {file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in files}}
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        _sync(part / MANIFEST)
        _sync(part)
        os.replace(part, final)
        _sync(final.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def verify(folder: str | os.PathLike[str]) -> dict[str, str]:
    """What :func:`write_folder` was told ``about`` the folder, if every file is as it was written.

    Raises:
        ValueError: no manifest, or a file that is missing, too short, or changed; it is named.
    """
    path = Path(folder)
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        files = {str(name): (int(told["bytes"]), str(told["sha256"])) for name, told in manifest.pop("files").items()}
    except FileNotFoundError:
        raise ValueError(f"{str(path)!r} is not complete: it has no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(path / MANIFEST)!r} is damaged") from error
    for name, (length, digest) in files.items():
        file = path / name
        if not file.is_file():
            raise ValueError(f"{str(file)!r} is missing")
        if file.stat().st_size != length:
            raise ValueError(f"{str(file)!r} has {file.stat().st_size} bytes where {length} were written")
        if _sha256(file) != digest:
            raise ValueError(f"{str(file)!r} is damaged: its bytes are not those that were written")
    return {str(name): str(value) for name, value in manifest.items()}


def remove_folder(path: Path) -> None:
    """Remove a folder so that at no moment a part of it is taken for the whole."""
    away = path.with_name(f".{path.name}.{os.getpid()}{_OLD}")
    os.replace(path, away)
    shutil.rmtree(away, ignore_errors=True)


def clear_leftovers(folder: Path) -> None:
    """Remove what :func:`write_whole`, :func:`write_folder` and :func:`remove_folder` of ended processes left behind."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name.startswith(".") and path.name.endswith((_PART, _OLD)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Force a file, or the names in a folder, to disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows can't open folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
