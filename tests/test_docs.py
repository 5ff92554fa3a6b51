"""Every command and snippet of the guides works, one after another, on small pictures and for a few steps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisepath.cli import main
from noisepath.evaluation.classifier import Recipe

DOCS = Path(__file__).parents[1] / "docs"
LONG = ("evaluation.md", "tuning.md")
"""Run by ``make test-slow``: they train and measure for half a minute."""
GUIDES = ("data.md", "training.md", "evaluation.md", "solvers.md", "tuning.md", "conditioning.md", "editing.md")
# The same commands for seconds: a small network, few steps, few samples.
SMALL = "--steps 4 --channels 8 --blocks 1 --attention --batch-size 8 --no-progress --device cpu"
SHORTER = {
    "steps=300, save_every=100": "steps=3, channels=(8,), attention=()",
    "--minutes 3": "",
    "n=200": "n=12",
    "tune runs/digits --steps 4 8": "tune runs/digits --steps 2 3",
    "sample runs/digits --steps 8": "sample runs/digits --steps 3",  # the last of those that were tuned
}


def _blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"```(sh|python)\n(.*?)```", text, re.DOTALL)


def _shorter(text: str) -> str:
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    return text


def _said(line: str) -> list[str]:
    """A command's words, for seconds instead of minutes."""
    words = shlex.split(_shorter(line), comments=True)
    assert words[0] == "noisepath", line
    if words[1] == "train" and "--resume" not in words:
        words += [*SMALL.split(), "--no-evaluate"]
    if words[1] == "train" and "--resume" in words:
        words += ["--no-progress", "--no-evaluate"]
    if words[1] == "evaluate":
        words = [*(word for word in words if word != "--no-progress"), "--no-progress"]
        if "--n" in words:
            words[words.index("--n") + 1] = "12"
        else:
            words += ["--n", "12"]
    if words[1] == "tune":
        words += ["--starts", "4", "--begin-from", "1", "--no-progress"]
    if words[1] == "guidance":
        words += ["--n", "4", "--steps", "3", "--no-progress"]
    if words[1] == "board":
        words += ["--no-progress"]
    if words[1] == "compare":  # no time for a reference that has converged
        words += ["--n", "4", "--tolerance", "9", "--no-progress"]
    return words[1:]


def _pictures(root: Path) -> None:
    """What the guides take to be there: a folder of photos in two classes, and the same with captions."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / "photos" / name).mkdir(parents=True)
        for i in range(12):
            picture = Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8))
            picture.save(root / "photos" / name / f"{i}.png")


@pytest.mark.parametrize("guide", [pytest.param(g, marks=pytest.mark.slow) if g in LONG else g for g in GUIDES])
def test_every_command_and_snippet_of_a_guide_works(guide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Recipe, "length", lambda recipe, count: 1)  # one epoch of a classifier in place of 24
    _pictures(tmp_path)
    blocks = _blocks((DOCS / guide).read_text(encoding="utf-8"))
    assert blocks
    for kind, text in blocks:
        if kind == "python":
            exec(compile(_shorter(text), guide, "exec"), {})
            continue
        for line in text.replace("\\\n", " ").splitlines():
            if line.strip():
                assert main(_said(line)) == 0, line


def test_what_is_shortened_is_still_in_a_guide() -> None:
    whole = "".join((DOCS / guide).read_text(encoding="utf-8") for guide in GUIDES)
    for long in SHORTER:
        assert long in whole, long
