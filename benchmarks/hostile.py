"""Hostile pictures, zips, folders and arguments, generated from a seed: each must be named and skipped, or refused in a line.

A picture that can't be read must be replaced in a batch and named there, and alone in a folder be refused by the
command line: exit code 2, one line on standard error, no traceback, nothing written.  One that can be read after all must
give finite values in [-1, 1].  Nothing may reach the standard error of the process itself, where C libraries write.

    python benchmarks/hostile.py [--seed 0]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from _hostile_pictures import Picture, good_picture, pictures
from _hostile_places import ARGUMENTS, Place, folders, good_entries, zip_of, zips
from noisepath.cli import main as noisepath
from noisepath.data import Bad, DataConfig, open_data, show


@dataclass(frozen=True)
class Case:
    """Something hostile: ``check`` is given an empty folder and answers what is wrong, or None."""

    kind: str
    name: str
    check: Callable[[Path], str | None]


def cases(seed: int = 0) -> list[Case]:
    """All of them, in an order that does not change."""
    found = [Case("picture", one.name, partial(_picture, one)) for one in pictures(seed)]
    found += [Case("zip", one.name, partial(_place, one)) for one in zips(seed)]
    found += [Case("folder", one.name, partial(_place, one)) for one in folders()]
    found += [Case("argument", " ".join(args), partial(_argument, args)) for args in ARGUMENTS]
    return found


def check(case: Case) -> str | None:
    """What is wrong with how a case is handled, or None."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), _process_stderr() as said:
        try:
            problem = case.check(Path(folder))
        except Exception as error:  # every other error is a fault of what is tested
            problem = f"raised {type(error).__name__}: {error}"
    return problem or (f"wrote to the process's standard error: {said[0]!r}" if said[0] else None)


@contextlib.contextmanager
def _process_stderr() -> Iterator[list[str]]:
    """What is written to file descriptor 2 meanwhile, by whatever library."""
    said = [""]
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said[0] = file.read().decode(errors="replace")


def _command(args: list[str], folder: Path) -> tuple[int, str, str, bool]:
    """Exit code, standard output and error of the command line, and whether it changed what lies in the folder."""
    out, err = io.StringIO(), io.StringIO()
    before = _tree(folder)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = noisepath(args)
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue(), _tree(folder) != before


def _tree(folder: Path) -> list[bytes]:
    return sorted(os.fsencode(os.path.join(at, name)) for at, dirs, files in os.walk(folder) for name in (*dirs, *files))


def _refused(args: list[str], folder: Path, *words: str) -> str | None:
    """What is wrong with how the command line refuses these arguments."""
    code, _, err, changed = _command(args, folder)
    if code != 2:
        return f"exit code {code} instead of 2"
    if err.count("\n") != 1 or "Traceback" in err or not err.startswith("noisepath: "):
        return f"not one line on standard error: {err!r}"
    if changed:
        return "something was written"
    return next((f"{word!r} is missing in {err!r}" for word in words if word not in err), None)


def _picture(one: Picture, place: Path) -> str | None:
    name = one.file
    (place / "alone").mkdir()
    (place / "alone" / name).write_bytes(one.content)
    readable = not one.must_fail and _command(["data", "alone", "--no-progress"], place)[0] == 0
    if not readable and (problem := _refused(["data", "alone", "--no-progress"], place, name)):
        return problem
    return _among(zip_of([*good_entries(), (name, one.content)], place / "among.zip"), name, readable)


def _among(path: Path, name: str, readable: bool) -> str | None:
    """A picture among good ones, of which it is less than 1 %: shown if it can be read, else replaced and named."""
    data = open_data(DataConfig(str(path), picture_size=8))
    index = list(data.names).index(name)
    sample = next(n for n in range(len(data)) if data.shown(1, [n]) == [index])
    batch = show(data, 1, [sample])
    if not (batch.x.isfinite().all() and batch.x.abs().max() <= 1):
        return "its values are not in [-1, 1]"
    if readable:
        return None if batch.shown == (index,) and not batch.bad else "a picture that can be read was replaced"
    if [i for i, _ in batch.bad] != [index] or index in batch.shown:
        return f"it was not replaced: {batch.bad}"
    ledger = Bad(data)
    if ledger.note(batch) != [name] or any("\n" in str(reason) for _, reason in ledger.state()):
        return f"the ledger does not name it in one line: {ledger.state()}"
    return None


def _place(one: Place, place: Path) -> str | None:
    """A zip or folder, made in ``place``: refused with certain words, or read, with certain names passed over."""
    path = one.make(place)
    args = ["data", os.fspath(path), "--no-progress", "--json", "report.json"]
    if (words := one.refused) is not None:
        return _refused(args, place, *words)
    code, out, err, _ = _command(args, place)
    if one.either and code == 2:
        return None if err.count("\n") == 1 and err.startswith("noisepath: ") else f"not one line: {err!r}"
    if code != 0 or err:
        return f"exit code {code}: {err!r}"
    return next((f"{word!r} is missing in {out!r}" for word in one.told if word not in out), None)


def _argument(args: list[str], place: Path) -> str | None:
    for folder in ("photos", "empty"):
        (place / folder).mkdir()
    for i in range(3):
        (place / "photos" / f"{i}.png").write_bytes(good_picture(i))
    (place / "text.txt").write_text("no picture")
    return _refused([*args, "--no-progress"] if args[0] == "data" else args, place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    handled, total = 0, 0
    for case in cases(parser.parse_args().seed):
        problem = check(case)
        total, handled = total + 1, handled + (problem is None)
        if problem is not None:
            print(f"{case.kind} {case.name}: {problem}", flush=True)
    print(f"hostile inputs {handled} of {total} handled (target: all of at least 500)")
    sys.exit(handled < total or total < 500)


if __name__ == "__main__":
    main()
