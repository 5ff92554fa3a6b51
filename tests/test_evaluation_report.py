"""Reports go through JSON unchanged, and like is compared with like only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from noisepath.evaluation.distances import Interval
from noisepath.evaluation.heldout import Mean
from noisepath.evaluation.report import (
    ClassReading,
    Figure,
    LevelLoss,
    Reader,
    Report,
    SampleSet,
    Sampling,
    Suspect,
    Terms,
    compare,
    read_report,
    write_report,
)
from noisepath.evaluation.table import comparison_table

SAMPLING = Sampling("dpmpp_2m", "log_snr", 20, 20, 1.0, 0)
TERMS = Terms(1000, 200, "held-out", "r" * 64, "pixels", "p" * 64, "none", SAMPLING, "0.1.0")


def _figure(value: float | None = 2.0, **terms: Any) -> Figure:
    within = None if value is None else Interval(value - 0.5, value + 0.5, "bootstrap of 200")
    return Figure("frechet_distance", value, within, 1.5, None, replace(TERMS, **terms), "" if value else "too few")


def _report(*figures: Figure, sampling: Sampling = SAMPLING, version: str = "0.1.0") -> Report:
    made = SampleSet(
        sampling,
        figures,
        (ClassReading("7", 10, 9, Interval(0.6, 0.98, "Wilson"), 20, 20),),
        (Suspect(3, 17, "7/17.png", 0.25, True),),
        "grid.png",
    )
    losses = (LevelLoss(0.0, 0.2, Mean(0.1, 0.01, 50), Mean(0.09, 0.01, 50)), LevelLoss(1.25, 0.1, None, Mean(0.05, 0.0, 1)))
    reader = Reader("c" * 64, 1000, 200, 0.98, Interval(0.95, 0.99, "Wilson"))
    return Report(version, "digits", "f" * 64, 1200, 200, (1, 8, 8), 500, (made,), losses, reader, ("a note",))


def test_a_report_goes_through_its_file_unchanged(tmp_path: Path) -> None:
    for report in (_report(_figure(), _figure(None)), replace(_report(_figure()), reader=None, notes=(), losses=())):
        assert read_report(write_report(report, tmp_path / "report.json")) == report
    (tmp_path / "run" / "evaluation").mkdir(parents=True)
    write_report(report, tmp_path / "run" / "evaluation" / "report.json")
    assert read_report(tmp_path / "run") == read_report(tmp_path / "run" / "evaluation") == report


def test_whole_numbers_in_the_file_may_stand_for_real_ones() -> None:
    told = _report(_figure()).to_dict()
    told["samples"][0]["figures"][0]["value"] = 2
    assert Report.from_dict(json.loads(json.dumps(told))) == _report(_figure())


FAULTS: dict[str, tuple[Any, str]] = {
    "not an object": ([], "not a report of noisepath"),
    "another format": ({"format": "noisepath evaluation 2"}, "not a report of noisepath"),
    "an unknown entry": ({"colour": "red"}, "unknown entry 'colour'"),
    "text for a number": ({"pictures": "many"}, r"report.pictures must be of type int, but is 'many'"),
    "true for a number": ({"pictures": True}, r"report.pictures must be of type int, but is True"),
    "a list for a text": ({"data": []}, r"report.data must be of type str"),
    "another length": ({"shape": [1, 8]}, r"report.shape must have 3 entries, but has 2"),
    "no list": ({"samples": {}}, r"report.samples must be a list"),
    "half an object": ({"losses": [{"log_snr": 0.0}]}, r"report.losses\[0\] is not whole"),
    "a number for an object": ({"reader": 3}, r"report.reader must be an object"),
    "infinity": ({"losses": [{"log_snr": float("inf"), "gaussian": 1.0}]}, "must be a finite number"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_report_is_refused_by_name(fault: str, tmp_path: Path) -> None:
    change, message = FAULTS[fault]
    told = {**_report(_figure()).to_dict(), **change} if isinstance(change, dict) else change
    path = tmp_path / "report.json"
    path.write_text(json.dumps(told))
    with pytest.raises(ValueError, match=message) as error:
        read_report(path)
    assert str(path) in str(error.value)


def test_files_that_are_not_there_or_not_json_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no report"):
        read_report(tmp_path / "nothing.json")
    with pytest.raises(FileNotFoundError, match="holds no evaluation: run noisepath evaluate"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"report\.json"):
        read_report(tmp_path)


def test_a_figure_is_found_by_name_features_and_guidance() -> None:
    one, two = _figure(2.0), _figure(5.0, features="classifier")
    report = _report(one, two)
    assert report.figure("frechet_distance") is one
    assert report.figure("frechet_distance", "classifier", 1.0) is two
    with pytest.raises(ValueError, match=r"no figure 'fid'.*frechet_distance \(classifier\), frechet_distance \(pixels\)"):
        report.figure("fid")
    with pytest.raises(ValueError, match="no figure"):
        report.figure("frechet_distance", guidance=2.0)


def test_like_reports_are_compared_figure_by_figure() -> None:
    near, far = compare(_report(_figure(2.0)), _report(_figure(2.9))), compare(_report(_figure(2.0)), _report(_figure(3.1)))
    (one,), (two,) = near.differences, far.differences
    assert one.change == pytest.approx(0.9) and one.beyond_chance is False
    assert two.change == pytest.approx(1.1) and two.beyond_chance is True
    assert not near.notes
    assert compare(_report(_figure(3.1)), _report(_figure(2.0))).differences[0].beyond_chance is True
    (unknown,) = compare(_report(_figure(2.0)), _report(_figure(None))).differences
    assert unknown.change is None and unknown.beyond_chance is None


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"generated": 999}, r"other numbers of samples \(1000 and 999\)"),
        ({"reference": 100}, r"other numbers of reference pictures \(200 and 100\)"),
        ({"reference_kind": "training"}, r"other kinds of reference \(held-out and training\)"),
        ({"reference_hash": "s" * 64}, r"other reference pictures \(rrrrrrrrrrrr and ssssssssssss\)"),
        ({"features_identity": "q" * 64}, r"other features .*have both judged by one: evaluate with --features"),
        ({"resize": "bicubic"}, r"other sizes \(none and bicubic\)"),
        ({"generated": 5, "reference": 7}, r"other numbers of samples .*, other numbers of reference pictures"),
    ],
)
def test_unlike_reports_are_not_compared(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"unlike reports: frechet_distance in pixels has {message}"):
        compare(_report(_figure()), _report(_figure(**terms)))


def test_reports_without_anything_in_common_are_not_compared() -> None:
    with pytest.raises(ValueError, match="no figure in common"):
        compare(_report(_figure()), _report(_figure(features="classifier")))
    guided = replace(SAMPLING, guidance=2.0)
    with pytest.raises(ValueError, match="guidance 1 and 2 have no scale in common"):
        compare(_report(_figure()), _report(_figure(), sampling=guided))


def test_samples_made_otherwise_are_compared_and_it_is_said() -> None:
    found = compare(_report(_figure()), _report(_figure(), sampling=replace(SAMPLING, steps=10, seed=4), version="0.2.0"))
    assert found.notes == (
        "guidance 1: sampled with steps 20 and 10",
        "guidance 1: sampled with seed 0 and 4",
        "made by noisepath 0.1.0 and 0.2.0",
    )


def test_a_comparison_is_a_table_with_changes_and_notes() -> None:
    found = compare(_report(_figure(2.0)), _report(_figure(3.1), sampling=replace(SAMPLING, steps=10)))
    first, second, _, note = comparison_table(found, "old", "new").splitlines()
    assert first.split() == ["old", "new", "change"]
    assert second.split(maxsplit=3)[:2] == ["Frechet", "distance,"]
    assert "2 [1.5, 2.5]" in second and "3.1 [2.6, 3.6]" in second and second.endswith("+1.1 (beyond chance)")
    assert note == "note: guidance 1: sampled with steps 20 and 10"
