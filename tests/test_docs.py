"""Every command and snippet of the guides works, one after another, on small pictures and for a few steps."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisepath.cli import main

DOCS = Path(__file__).parents[1] / "docs"
GUIDES = ("data.md", "training.md", "evaluation.md", "solvers.md")
# The same commands for seconds: a small network, few steps, few samples.
SMALL = "--steps 4 --channels 8 --blocks 1 --attention --batch-size 8 --no-progress --device cpu"
SHORTER = {"steps=300, save_every=100": "steps=3, channels=(8,), attention=()", "--minutes 3": "", "n=200": "n=12"}


def _blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"```(sh|python)\n(.*?)```", text, re.DOTALL)


def _said(line: str) -> list[str]:
    """A command's words, for seconds instead of minutes."""
    for long, short in SHORTER.items():
        line = line.replace(long, short)
    words = shlex.split(line, comments=True)
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


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_and_snippet_of_a_guide_works(guide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _pictures(tmp_path)
    blocks = _blocks((DOCS / guide).read_text(encoding="utf-8"))
    assert blocks
    for kind, text in blocks:
        if kind == "python":
            for long, short in SHORTER.items():
                text = text.replace(long, short)
            exec(compile(text, guide, "exec"), {})
            continue
        for line in text.replace("\\\n", " ").splitlines():
            if line.strip():
                assert main(_said(line)) == 0, line
