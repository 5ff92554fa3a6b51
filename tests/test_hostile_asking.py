"""Every seventh of the hostile conditions, guidances and edits of ``benchmarks/hostile_asking.py`` is refused in a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import hostile_asking
from _hostile_commands import words_of
from _hostile_kit import LABEL, MODEL, Call, run
from noisepath.cli import main

CASES = hostile_asking.cases()
CHOSEN = CASES[3::7]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with hostile_asking.stage() as folder:
        yield folder


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: f"{case.kind}: {ascii(case.name)[:100]}")
def test_what_can_t_be_had_is_refused_in_a_line_before_any_work(case: hostile_asking.Case, place: Path) -> None:
    assert hostile_asking.check(case, place) is None


def test_there_are_more_than_two_hundred_of_each_sort_each_with_a_name_of_its_own() -> None:
    assert len({(case.kind, case.name) for case in CASES}) == len(CASES)
    assert min(sum(case.kind.startswith("Python") is python for case in CASES) for python in (False, True)) >= 200


@pytest.mark.parametrize(
    ("line", "out"),
    [
        ("sample told --prompt 'a red disc' --say size=3 colour=red --classes cat --guidance 2", "out"),
        ("sample bytes --prompt ☃ --negative x --guidance 2 --rescale 0.5 --guidance-interval 0 9", "out"),
        ("edit told mine.png --prompt 'a blue disc' --outpaint 2 0 2 0 --strength 0.5 --jumps 1", "out"),
        ("guidance told --methods classifier_free --scales 1 2 --classes dog", "out.png"),
    ],
)
def test_what_can_be_had_is_not_refused(line: str, out: str, place: Path, tmp_path: Path) -> None:
    assert main([*words_of(line), "--out", str(tmp_path / out)]) == 0
    assert (tmp_path / out).exists()


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (Call(lambda: run(condition=LABEL), "x"), "it was accepted"),
        (Call(lambda: {}["x"], "x"), "raised KeyError"),
        (Call(lambda: int("x\n"), "y"), "'y' is missing"),
        (Call(lambda: _two_lines(), "two"), "not one line"),
        (Call(lambda: [run(condition=LABEL), int("x")], "x"), "the denoiser answered 2 times before"),
    ],
)
def test_the_check_sees_what_is_wrong_with_a_call(call: Call, what: str, place: Path) -> None:
    case = hostile_asking.Case("Python", "a call", lambda place: hostile_asking._raises(call, place))
    assert what in str(hostile_asking.check(case, place))


def _two_lines() -> None:
    raise ValueError("two\nlines")


def _after(work: Callable[[], object]) -> Callable[[], object]:
    """A command that does something before its error."""

    def done(*args: object) -> None:
        work()
        raise ValueError("dgo")

    return done


@pytest.mark.parametrize(
    ("work", "what"),
    [
        (lambda: Path("left").write_text("."), "something was written"),
        (lambda: Path("text.txt").write_text("another"), "something was written"),
        (lambda: None, None),
        (lambda: run(MODEL), "the network was asked 2 times"),
        (lambda: (_ for _ in ()).throw(KeyError("dgo")), "raised KeyError"),
    ],
)
def test_the_check_sees_what_is_wrong_with_a_command(
    work: Callable[[], object], what: str | None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noisepath.cli.commands._sample", _after(work))
    case = hostile_asking.Case("sample", "dgo", lambda place: hostile_asking._refused("sample classes", "dgo", place))
    assert (found := hostile_asking.check(case, place)) == what or (what is not None and what in str(found))
    Path("left").unlink(missing_ok=True)
