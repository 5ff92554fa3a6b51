"""Every sixth or so of the hostile inputs that ``benchmarks/hostile.py`` makes is named and skipped, or refused in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

import hostile

CASES = hostile.cases()
EVERY = {"picture": 7, "zip": 4, "folder": 3, "argument": 3}
CHOSEN = [
    case
    for kind, step in EVERY.items()
    for case in [case for case in CASES if case.kind == kind and "million" not in case.name][::step]
]


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: f"{case.kind}: {ascii(case.name)}")
def test_a_hostile_input_is_named_and_skipped_or_refused_in_a_line(case: object) -> None:
    assert hostile.check(case) is None


def test_there_are_more_than_five_hundred_of_them_each_with_a_name_of_its_own() -> None:
    assert len(CASES) >= 500 and len(CHOSEN) >= 100


def test_the_check_sees_what_is_wrong() -> None:
    """A case that writes to the process's standard error, one that fails and one that raises are told."""

    def noisy(place: Path) -> None:
        import os

        os.write(2, b"libsomething: error")

    def broken(place: Path) -> None:
        raise KeyError("x")

    assert "libsomething" in hostile.check(hostile.Case("picture", "noisy", noisy))
    assert "KeyError" in hostile.check(hostile.Case("picture", "broken", broken))
    fine = hostile.Case("argument", "none", lambda place: hostile._argument(["data", "photos"], place))
    assert "exit code 0" in hostile.check(fine)
