"""``noisepath data`` tells what there is to know, draws what a network will see, and changes nothing of the data."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisepath.cli import main
from noisepath.cli.data import _say
from noisepath.data import DataConfig
from noisepath.data.report import Report, lines, look
from noisepath.data.sheet import GAP, TITLE

RANDOM = np.random.default_rng(0)


def _save(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def _noise(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes, two copies, a bad file, a link that leads out, pictures of other sizes."""
    root = tmp_path / "photos"
    for i in range(6):
        _save(root / "cat" / f"{i}.png", _noise(8, 8, 3))
    _save(root / "dog" / "small.png", _noise(4, 8))
    _save(root / "dog" / "large.jpg", _noise(20, 30, 3))
    shutil.copy(root / "cat" / "0.png", root / "dog" / "copy.png")
    (root / "dog" / "bad.png").write_bytes(b"no picture")
    (root / "out.png").symlink_to(tmp_path)
    return root


def _report(path: Path, **options: object) -> Report:
    return look(DataConfig(str(path), **options))[0]  # type: ignore[arg-type]


def test_the_report_counts_what_is_there(photos: Path) -> None:
    report = _report(photos)
    assert (report.pictures, report.shape) == (9, (3, 8, 8))
    assert dict(report.sizes) == {"8 x 8": 7, "4 x 8": 1, "20 x 30": 1} and report.sizes[0] == ("8 x 8", 7)
    assert (report.smallest, report.largest) == ("4 x 8", "20 x 30")
    assert report.formats == {"PNG RGB": 7, "PNG L": 1, "JPEG RGB": 1}
    assert report.classes == {"cat": 6, "dog": 3}
    assert report.duplicates == (("cat/0.png", "dog/copy.png"),)
    assert report.bad == {"it is no PNG, JPEG, WEBP, BMP, GIF or TIFF": ("dog/bad.png",)}
    assert report.passed_over == {"leads out of the folder": ("out.png",)}
    assert -1 <= report.least < report.mean < report.most <= 1 and 0.3 < report.std < 0.8


def test_mean_and_deviation_are_those_of_all_good_pictures(photos: Path) -> None:
    report, data, good = look(DataConfig(str(photos)))
    values = data.batch(good)[0].double()
    assert report.mean == pytest.approx(float(values.mean())) and report.std == pytest.approx(float(values.std(correction=0)))
    assert (report.least, report.most) == (float(values.min()), float(values.max()))


def _warned(path: Path, **options: object) -> str:
    return "; ".join(_report(path, **options).warnings)


def test_what_a_person_should_look_into_is_said_and_nothing_else(photos: Path, tmp_path: Path) -> None:
    told = _warned(photos)
    assert "1 of 10 pictures can't be read: training stops" in told
    assert "1 pictures are smaller than 8 x 8 and get enlarged" in told
    assert "1 pictures are there more than once, in different classes" in told
    fine = tmp_path / "fine"
    for i in range(4):
        _save(fine / f"{i}.png", _noise(8, 8, 3))
    assert _warned(fine) == ""


def test_flat_unequal_and_grey_sets_are_warned_of(tmp_path: Path) -> None:
    for i in range(11):
        _save(tmp_path / "flat" / "many" / f"{i}.png", np.full((4, 4), 100 + i % 2, np.uint8))
    _save(tmp_path / "flat" / "few" / "0.png", np.full((4, 4), 100, np.uint8))
    told = _warned(tmp_path / "flat")
    assert "hardly differ from one grey" in told and "very unequal: 11 of many, 1 of few" in told
    for i in range(3):
        _save(tmp_path / "grey" / f"{i}.png", np.repeat(_noise(4, 4, 1), 3, axis=2))
    assert "every picture is grey" in _warned(tmp_path / "grey")
    for i in range(12):
        _save(tmp_path / "sizes" / f"{i}.png", _noise(5 + i, 5))
    assert "say --picture-size" in _warned(tmp_path / "sizes")
    assert "say --picture-size" not in _warned(tmp_path / "sizes", picture_size=5)


def test_the_text_has_a_line_for_each_thing_and_any_name_fits_in_it(tmp_path: Path) -> None:
    for i in range(30):
        _save(tmp_path / "photos" / f"{i}.png", _noise(4, 4))
    for i in range(25):
        (tmp_path / "photos" / f"bad\n{i:02}\udcff.png").write_bytes(b"")
    told = lines(_report(tmp_path / "photos"))
    (bad,) = [line for line in told if line.startswith("bad")]
    assert bad.startswith("bad         25: the file is empty: bad\\n00\\udcff.png, ") and bad.endswith(" and 5 more")
    assert all(line.isprintable() and line.encode() for line in told)


def test_the_command_writes_report_and_contact_sheet_and_nothing_else(
    photos: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(photos.rglob("*"))
    assert main(["data", "photos", "--json", "report.json", "--no-progress"]) == 0
    out, err = capsys.readouterr()
    assert "photos: 9 pictures, brought to 8 x 8 colour (cover)" in out and err == ""
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["classes"] == {"cat": 6, "dog": 3} and report["pictures"] == 9
    assert sorted(photos.rglob("*")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["contact-sheet.png", "photos", "report.json"]


def test_the_contact_sheet_shows_each_class_in_a_row_as_the_network_sees_it(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert main(["data", str(photos), "--out", str(out), "--no-progress"]) == 0
    sheet = np.asarray(Image.open(out)).astype(int)
    times = 64 // 8
    _, data, good = look(DataConfig(str(photos)))
    assert sheet.shape == (GAP + 2 * (64 + GAP), GAP + TITLE + 6 * (64 + GAP), 3)
    cells = {0: [i for i in good if i < 6], 1: [i for i in good if i >= 6]}
    assert [len(cells[row]) for row in (0, 1)] == [6, 3]
    for row, indices in cells.items():
        for column, index in enumerate(indices):
            top, left = GAP + row * (64 + GAP), GAP + TITLE + column * (64 + GAP)
            shown = sheet[top : top + 64 : times, left : left + 64 : times]
            expected = ((data.batch([index])[0][0].permute(1, 2, 0) + 1) * 127.5).round().numpy()
            assert np.abs(shown - expected).max() <= 1
    assert len(np.unique(sheet[GAP : GAP + 64, :TITLE])) > 1  # a name stands there
    left_over = sheet[GAP + 64 + GAP : -GAP, GAP + TITLE + 3 * (64 + GAP) :]
    assert (left_over == 235).all()  # the bad one is not shown


def test_large_pictures_without_classes_are_shown_smaller(tmp_path: Path) -> None:
    for i in range(3):
        _save(tmp_path / "photos" / f"{i}.png", np.full((300, 600), 50 * i, np.uint8))
    (tmp_path / "photos" / "1b.png").write_bytes(b"bad, and not shown")
    out = tmp_path / "sheet.png"
    assert main(["data", str(tmp_path / "photos"), "--out", str(out), "--no-progress"]) == 0
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (GAP + 128 + GAP, GAP + 3 * (256 + GAP))
    assert [int(sheet[60, GAP + 100 + i * 258]) for i in range(3)] == [0, 50, 100]


def test_a_zip_with_captions_and_the_digits_are_reported_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture = _save(tmp_path / "a.png", _noise(5, 5))
    with zipfile.ZipFile("x.zip", "w") as file:
        file.write(picture, "a.png")
        file.write(picture, "b.png")
        file.writestr("metadata.jsonl", '{"file_name": "a.png", "text": "noise", "made": 1}')
    assert main(["data", "x.zip", "--resize", "contain", "--background", "black"]) == 0
    out = capsys.readouterr().out
    for part in ("1 pictures", "(contain)", "captions    1", "attributes  made", "no line in metadata.jsonl: b.png"):
        assert part in out
    assert main(["data", "digits", "--no-progress"]) == 0
    assert "digits: 1,797 pictures, brought to 8 x 8 grey" in capsys.readouterr().out


def test_a_terminal_that_knows_few_letters_is_told_in_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(file, encoding="ascii", write_through=True))
    _say("caf\u00e9 \U0001f680")
    assert file.getvalue() == b"caf\\xe9 \\U0001f680\n"


@pytest.mark.parametrize("out", ["photos/sheet.png", "photos/cat/new/sheet.png", "photos", "x.zip"])
def test_the_sheet_is_never_written_over_or_among_the_data(
    photos: Path, out: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos.parent)
    shutil.make_archive("x", "zip", photos / "cat")
    before = {path: path.stat().st_mtime_ns for path in photos.parent.rglob("*")}
    data = "x.zip" if out == "x.zip" else "photos"
    assert main(["data", data, "--out", out, "--no-progress"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in photos.parent.rglob("*")} == before
