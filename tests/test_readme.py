"""What the README says is so: every snippet runs, every command works, every name in its table is in a catalogue."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import noisepath
from noisepath.cli import main
from noisepath.cli.options import Demo
from noisepath.cli.parsing import parse
from noisepath.nn import DIT_SIZES, SIZES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line]
# The same code and the same options, for seconds instead of minutes.
SHORTER = {
    "minutes=3": "steps=2, channels=(8, 8)",
    "--minutes 60": "--steps 2 --channels 8 8 --blocks 1",
    "guidance runs/photos --scales 1 2 4": "guidance runs/photos --scales 1 2 --steps 2 --n 2 --methods apg autoguidance",
    "tune runs/photos --steps 8": "tune runs/photos --steps 2 --starts 4 --begin-from 1",
}


def _shorter(text: str) -> str:
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    return text


@pytest.mark.usefixtures("with_trials")
@pytest.mark.parametrize("snippet", PYTHON, ids=range(len(PYTHON)))
def test_every_python_snippet_runs_as_it_stands(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(_shorter(snippet), "README.md", "exec"), {})
    for name in re.findall(r'"([\w./-]+\.png)"', snippet):
        assert Image.open(tmp_path / name).size[0] > 50


def test_the_commands_run_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(3):
            picture = Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8))
            picture.save(tmp_path / "photos" / name / f"{i}.jpg")
    for line in SHELL:
        words = shlex.split(_shorter(line))
        assert words[0] == "noisepath"
        if words[1] == "demo":  # which test_cli.py runs
            assert isinstance(parse(words[1:]), Demo)
        else:
            assert main(words[1:]) == 0
    assert len(list((tmp_path / "new").glob("0*.png"))) == 64
    assert (tmp_path / "schedules.png").exists()


def test_what_is_shortened_is_still_in_the_readme() -> None:
    for long in SHORTER:
        assert long in README


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("schedules", noisepath.SCHEDULES),
        ("predictions", noisepath.PREDICTIONS),
        ("solvers", noisepath.SOLVERS),
        ("spacings", noisepath.SPACINGS),
        ("training times", noisepath.TIMES),
        ("weightings", noisepath.WEIGHTINGS),
        ("guidance", noisepath.GUIDANCES),
        ("networks", [*SIZES, *DIT_SIZES]),
        ("truth", ["Gaussian", "Mixture", "FiniteData"]),
    ],
)
def test_the_table_names_what_the_catalogues_hold(row: str, names: list[str]) -> None:
    (cells,) = re.findall(rf"^\| {row} \| (.*) \|$", README, re.MULTILINE)
    assert re.findall(r"`(\w+)`", cells) == list(names)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/design.md"])
def test_every_link_leads_to_a_file(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (ROOT / document).parent.joinpath(target).exists(), target


def test_pictures_are_small_and_what_they_say_they_are() -> None:
    for path in (ROOT / "docs" / "images").iterdir():
        assert path.stat().st_size < 400_000
        assert Image.open(path).format == {".png": "PNG", ".gif": "GIF"}[path.suffix]


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/design.md"])
def test_every_make_target_that_is_named_is_there(document: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = {word for line in re.findall(r"^([\w -]+):", makefile, re.MULTILINE) for word in line.split()}
    known |= {f"bench-{path.stem.replace('_', '-')}" for path in (ROOT / "benchmarks").glob("*.py")}
    named = re.findall(r"(?:`|^)make ([\w-]+)", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= known
