"""The breakages that `make mutants` applies: each still has the text that it breaks, and tests that could notice."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

from breakages import BREAKAGES

ROOT = Path(__file__).parents[1]


@cache
def _source(file: str) -> str:
    path = ROOT / "src" / "noisepath" / file
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def test_the_text_of_each_breakage_stands_in_its_file_once_and_becomes_another() -> None:
    counts = {f"{b.file}: {b.what}": _source(b.file).count(b.old) for b in BREAKAGES}
    assert {what: count for what, count in counts.items() if count != 1} == {}
    assert [b.what for b in BREAKAGES if b.old == b.new] == []


def test_the_test_files_of_each_breakage_exist() -> None:
    names = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    assert [(b.what, b.tests) for b in BREAKAGES if not b.tests or not names.issuperset(b.tests)] == []


def test_no_two_breakages_have_the_same_name() -> None:
    assert [what for what, count in Counter(b.what for b in BREAKAGES).items() if count > 1] == []
