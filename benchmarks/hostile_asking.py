"""Hostile conditions, guidance and edits: each must be refused in one line that says what was wrong, before any work.

A command line passes with exit code 2, one line on standard error that begins with "noisepath: " and has certain words in it,
nothing written or changed in the folder, and the network not asked.  A call from Python passes with a ValueError or a
TypeError whose message is one line with certain words in it, before the denoiser has answered (where what is wrong can be
seen before).

    python benchmarks/hostile_asking.py
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

from _hostile_calls import CALLS
from _hostile_commands import COMMANDS, Line, words_of
from _hostile_kit import Call
from _hostile_stage import build
from noisepath.cli import main as noisepath
from noisepath.denoiser import Denoiser
from noisepath.exact import ExactDenoiser

LONGEST = 600
"""Characters of a message."""


@dataclass(frozen=True)
class Case:
    """Something hostile: ``check`` is given the stage and answers what is wrong, or None."""

    kind: str
    name: str
    check: Callable[[Path], str | None]


def cases() -> list[Case]:
    """All of them, in an order that does not change."""
    found = [
        Case(kind, " ".join(words_of(line)), partial(_refused, line, words))
        for kind, lines in COMMANDS.items()
        for line, words in lines.items()
    ]
    return found + [Case(kind, name, partial(_raises, call)) for kind, calls in CALLS.items() for name, call in calls.items()]


@contextlib.contextmanager
def stage() -> Iterator[Path]:
    """A folder with what the cases find, which is the working folder meanwhile."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        build(Path(folder))
        yield Path(folder)


def check(case: Case, place: Path) -> str | None:
    """What is wrong with how a case is handled, or None."""
    try:
        return case.check(place)
    except Exception as error:  # every other error is a fault of what is tested
        return f"raised {type(error).__name__}: {str(error)[:200]}"


def _refused(line: Line, words: str, place: Path) -> str | None:
    """What is wrong with how the command line refuses these words."""
    err, before = io.StringIO(), _tree(place)
    with _counted() as answers, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        try:
            code = noisepath(words_of(line))
        except SystemExit as ended:
            code = int(ended.code or 0)
    if code != 2:
        return f"exit code {code} instead of 2: {err.getvalue()!r}"
    if _tree(place) != before:
        return f"something was written, and said: {err.getvalue()!r}"
    said = err.getvalue()
    if not said.startswith("noisepath: ") or not said.endswith("\n"):
        return f"not a line of ours: {said!r}"
    return _unclear(said.removesuffix("\n"), words) or (f"the network was asked {answers[0]} times" if answers[0] else None)


def _raises(call: Call, place: Path) -> str | None:
    """What is wrong with the error of a call."""
    with _counted() as answers:
        try:
            call.make()
        except (ValueError, TypeError) as error:
            said = f"{error}"
        else:
            return "it was accepted"
    return _unclear(said, call.words) or (
        f"the denoiser answered {answers[0]} times before" if answers[0] > call.answers else None
    )


def _unclear(said: str, words: str) -> str | None:
    if len(said.splitlines()) != 1 or "Traceback" in said:
        return f"not one line: {said[:300]!r}"
    if len(said) > LONGEST:
        return f"a line of {len(said)} characters: {said[:100]!r} ..."
    return None if words in said else f"{words!r} is missing in {said!r}"


@contextlib.contextmanager
def _counted() -> Iterator[list[int]]:
    """How often a network, or a belief in closed form, has answered."""
    answers = [0]

    def counting(ask: Callable[..., object]) -> Callable[..., object]:
        def asked(*args: object, **more: object) -> object:
            belief = ask(*args, **more)
            answers[0] += 1
            return belief

        return asked

    with (
        mock.patch.object(Denoiser, "_ask", counting(Denoiser._ask)),
        mock.patch.object(ExactDenoiser, "__call__", counting(ExactDenoiser.__call__)),
    ):
        yield answers


def _tree(folder: Path) -> list[tuple[bytes, int, int]]:
    """Names, sizes and times of all that lies in the folder."""
    paths = [os.path.join(at, name) for at, dirs, files in os.walk(folder) for name in (*dirs, *files)]
    return sorted((os.fsencode(path), (stat := os.lstat(path)).st_size, stat.st_mtime_ns) for path in paths)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    total, answered = Counter[str](), Counter[str]()
    with stage() as place:
        for case in cases():
            problem = check(case, place)
            total[case.kind] += 1
            answered[case.kind] += problem is None
            if problem is not None:
                print(f"{case.kind}: {case.name[:160]!r}: {problem}", flush=True)
    for kind, count in total.items():
        print(f"{kind:28} {answered[kind]:4} of {count:4}")
    well = answered.total() == total.total() >= 200
    print(f"hostile inputs: {answered.total()} of {total.total()} answered in one line  {'ok' if well else 'MISSED'}")
    sys.exit(not well)


if __name__ == "__main__":
    main()
