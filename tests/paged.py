"""A run with everything in it that its page can show, and a page taken apart."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from noisepath import page
from noisepath.evaluation.distances import Interval
from noisepath.evaluation.heldout import Mean
from noisepath.evaluation.report import ClassReading, Figure, LevelLoss, Reader, Report, SampleSet, Sampling, Suspect, Terms

EVALUATED = [f"evaluation/{name}.png" for name in ("loss_by_level", "neighbours", "grid-1", "grid-2")]
BOARD = [f"board/{name}.png" for name in ("cell-0-0", "cell-0-1", "cell-1-0", "cell-1-1", "way-0", "way-1")]
EDITS = [f"edits/20261129T010203000000-1-00{i}-{name}.png" for i, names in enumerate(("before after", "before mask after"))
         for name in names.split()]  # fmt: skip
PICTURES = 4 + 1 + 5 + len(BOARD) + len(EDITS)  # of the evaluation, the newest grid, all five small, the board, the edits
STEPS = (75, 150, 300, 600, 1200)


def png(path: Path, height: int = 12, width: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(height).integers(0, 255, (height, width), dtype=np.uint8)
    Image.fromarray(values).save(path)


def plan_record(word: str = "size") -> dict[str, object]:
    return {
        "pictures": 1797,
        "shape": [1, 8, 8],
        "classes": [f"{word}{i}" for i in range(10)],
        "parameters": 1234567,
        "steps": 1200,
        "seconds": 180.0,
        "bytes": 6.2e8,
        "device": word,
        "choices": [{"name": word, "value": word, "reason": word}, {"name": "steps", "value": 1200, "reason": "3 minutes"}],
    }


def report_record(word: str = "word") -> dict[str, object]:
    """A report as an evaluation writes it, unguided and guided."""

    def samples(guidance: float) -> SampleSet:
        sampling = Sampling("dpmpp_2m", "log_snr", 20, 20, guidance, 0)
        terms = Terms(1000, 300, "held-out", "0" * 64, word, "1" * 64, "none", sampling, "0.1.0")
        reads = Interval(0.951, 0.972, "Wilson")
        figures = (
            Figure("read_as_asked", 0.9613, reads, 0.9884, None, terms),
            Figure("frechet_distance", None, None, None, None, terms, reason=word),
            Figure("kernel_distance", 1.5 * guidance, Interval(1.25, 1.75, word), 1.0, Interval(0.9, 1.1, word), terms),
        )
        suspects = (Suspect(sample=3, index=17, nearest=word, distance=0.25, copied=False),)
        return SampleSet(sampling, figures, (ClassReading(word, 40, 30, None, 10, 9),), suspects, f"grid-{guidance:g}.png")

    losses = (LevelLoss(0.0, 0.1, Mean(0.05, 0.01, 8), None),)
    reader = Reader("2" * 64, 1400, 300, 0.97, None)
    sets = (samples(1.0), samples(2.0))
    return Report("0.1.0", word, word, 1797, 300, (1, 8, 8), 1200, sets, losses, reader, (word,)).to_dict()


def board_record(word: str = "word") -> dict[str, object]:
    """A board of two prompts and two scales."""
    return {
        "format": "noisepath board 1", "noisepath": "0.1.0", "step": 1200, "seeds": 4, "seed": 0, "guidance": [1.0, 2.0],
        "rows": [{"words": word, "asked": {"text": word}}, {"words": f"{word} again", "asked": {"text": word}}],
        "sampler": {"solver": word, "spacing": word, "steps": 20},
        "ways": {"pictures": [{"row": 0, "number": 0}, {"row": 1, "number": 0}], "guidance": 2.0,
                 "levels": [[1.0, 80.0], [0.6, 0.8], [1.0, 0.0]]},
    }  # fmt: skip


def edits_record(word: str = "word") -> dict[str, object]:
    def edit(i: int) -> dict[str, object]:
        key = f"20261129T010203000000-1-00{i}"
        return {"id": key, "name": f"{word}.png", "what": word, "results": 1, "said": {"classes": [word], "strength": 0.5}}

    return {"format": "noisepath edits 1", "edits": [edit(0), edit(1)]}


def line(step: int) -> str:
    loss = 0.3 + 0.7 * math.exp(-step / 120)
    return json.dumps({"step": step, "loss": loss, "rate": 3e-3, "pictures_per_s": 400.0, "seconds": step * 0.15, "skipped": 0})


def make_run(run: Path, word: str = "word") -> Path:
    """A run with everything in it; ``word`` stands wherever a file may hold words."""
    run.mkdir(parents=True)
    (run / "plan.json").write_text(json.dumps(plan_record(word)))
    (run / "log.jsonl").write_text("".join(line(step) + "\n" for step in range(10, 1201, 10)))
    (run / "run.toml").write_text(f"# {word}\n[data]\ndata = {json.dumps(word)}\n\n[train]\nsteps = 1200\n")
    for step in STEPS:
        png(run / "samples" / f"{step:06d}.png")
    for step in (600, 1200):
        (run / "checkpoints" / f"step-{step:06d}").mkdir(parents=True)
    (run / "evaluation").mkdir()
    (run / "evaluation" / "report.json").write_text(json.dumps(report_record(word)))
    for name in ("loss.png", *EVALUATED, *BOARD, *EDITS):
        png(run / name)
    (run / "board" / "board.json").write_text(json.dumps(board_record(word)))
    (run / "edits" / "edits.json").write_text(json.dumps(edits_record(word)))
    return run


class Seen(HTMLParser):
    """The elements, attributes and texts of a page; every element must be closed by its own end."""

    VOID = {"meta", "img", "input", "br"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: dict[str, list[str]] = {}
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.source = text
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.words.setdefault(self.open[-1], []).append(data)
            if "tr" in self.open:
                self.rows[-1][-1] = f"{self.rows[-1][-1]} {data}".strip()

    def all(self, tag: str, name: str) -> list[str]:
        """An attribute of all elements of a kind that have it."""
        return [value for kind, attrs in self.elements if kind == tag and (value := attrs.get(name)) is not None]

    def text(self) -> str:
        return " ".join(word for tag, words in self.words.items() if tag not in ("style", "script") for word in words)

    def structure(self) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attrs)) for tag, attrs in self.elements]


def page_of(run: Path) -> Seen:
    return Seen(page.write(run).read_text(encoding="utf-8"))
