"""The board of a run: its pictures are those that sampling makes, its size is bounded, and edits are kept before and after."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from noisepath import board, schedules
from noisepath.asking import Classes, Vocabulary
from noisepath.board import Asked, Edited, edits, making
from noisepath.cli import main
from noisepath.data import Dataset
from noisepath.denoiser import Denoiser
from noisepath.guidance import classifier_free
from noisepath.sampling import sample
from noisepath.training import TrainConfig, load, resume, train
from noisepath.training import board as at_the_end

ALWAYS = ["--device", "cpu", "--no-progress"]
TINY: dict[str, Any] = {"channels": (8,), "blocks": 1, "attention": (), "batch_size": 8, "steps": 2, "precision": "float32"}
COLOURS = ("red", "green", "blue", "black")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen pictures, 8 x 8 pixels, with captions of two words each, no two alike."""
    folder = tmp_path_factory.mktemp("board") / "data"
    folder.mkdir()
    random, lines = np.random.default_rng(0), []
    for i in range(16):
        Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / f"{i:02d}.png")
        lines.append(json.dumps({"file_name": f"{i:02d}.png", "text": f"{COLOURS[i % 4]} {COLOURS[i // 4]}"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def run(pictures: Path) -> Path:
    """A short run on them, four held out."""
    words = "--steps 2 --channels 8 --blocks 1 --attention --batch-size 8 --holdout 4 --no-evaluate --precision float32"
    out = pictures.parent / "run"
    assert main(["train", "--data", str(pictures), "--out", str(out), *words.split(), *ALWAYS]) == 0
    return out


def _classes(**changes: Any) -> Denoiser:
    """A network of classes that no one trained, told in a run's way what it is."""

    def network(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        counted.append(len(x))
        return 0.3 * x * (label.view(-1, 1, 1, 1) - 1.0) / (1 + t.view(-1, 1, 1, 1))

    counted: list[int] = []
    vocabulary = Vocabulary([Classes("label", ("cat", "dog", "cow"))])
    info = {"shape": (1, 4, 4), "steps": 7, "training": {"drop_condition": 0.1}, **changes}
    made = Denoiser(network, schedules.schedule("edm"), "x0", null=vocabulary.null(), vocabulary=vocabulary, info=info)
    made.counted = counted  # type: ignore[attr-defined]
    return made


def _pixels(x: Tensor) -> np.ndarray:
    return ((x.clamp(-1, 1) + 1) * 127.5).round().numpy().astype(np.uint8)


def _cut(path: Path, size: int, scale: int) -> np.ndarray:
    """The pictures on a grey page with gaps of 2 pixels, (rows, columns, size, size), each at its own size again."""
    page = np.asarray(Image.open(path))
    step = size * scale + 2
    rows, columns = (length // step for length in page.shape)
    parts = [[page[2 + i * step : (i + 1) * step : scale, 2 + k * step : (k + 1) * step : scale] for k in range(columns)]
             for i in range(rows)]  # fmt: skip
    return np.array(parts)


# --- the pictures ------------------------------------------------------------------------------------------------------------


def test_a_cell_holds_the_pictures_that_sampling_makes_of_its_class_scale_and_seeds(tmp_path: Path) -> None:
    model = _classes()
    wanted = Asked.of(model, [{"label": "dog"}, {"label": "cow"}], (1.0, 3.0), 2, steps=4, seed=5)
    assert board.write_board(tmp_path, model, wanted, batch_size=3) == tmp_path / "board"
    for row, name in enumerate(("dog", "cow")):
        for column, scale in enumerate((1.0, 3.0)):
            told = model.vocabulary.condition(2, label=name)
            made = sample(classifier_free(model, scale), (2, 1, 4, 4), condition=told, seed=5, steps=4)
            cell = _cut(tmp_path / "board" / f"cell-{row}-{column}.png", 4, 16)
            assert (cell[0] == _pixels(made[:, 0])).all()
    told = json.loads((tmp_path / "board" / "board.json").read_text())
    assert told["step"] == 7 and told["rows"][1] == {"words": "cow", "asked": {"label": "cow"}}
    assert told["sampler"] == {"solver": "adams_moulton", "spacing": "alpha_bar", "steps": 4}


def test_a_way_shows_states_and_above_each_belief_what_it_was_believed_of(tmp_path: Path) -> None:
    """Gaussian pictures of mean m and variance v: the belief is (m sigma^2 + v x) / (v + sigma^2)."""
    mean, variance = 0.25, 0.04

    def network(x: Tensor, t: Tensor) -> Tensor:
        square = t.view(-1, 1, 1, 1) ** 2
        return (mean * square + variance * x) / (variance + square)

    model = Denoiser(network, schedules.schedule("edm"), "x0", vocabulary=Vocabulary(), info={"shape": (1, 4, 4), "steps": 1})
    wanted = Asked.of(model, [], seeds=3)
    board.write_board(tmp_path, model, wanted)
    told = json.loads((tmp_path / "board" / "board.json").read_text())
    levels = told["ways"]["levels"]
    assert (told["rows"], told["guidance"], len(levels)) == ([{"words": "", "asked": {}}], [1.0], 8)
    assert levels[-1] == [1.0, 0.0] and all(one[1] > other[1] for one, other in zip(levels, levels[1:], strict=False))
    for number in range(3):
        states, beliefs = _cut(tmp_path / "board" / f"way-{number}.png", 4, 16)[:, :].astype(float) / 127.5 - 1
        for (alpha, sigma), state, belief in zip(levels, states, beliefs, strict=True):
            seen = np.abs(state) < 1  # the others are beyond the range
            x = state * math.hypot(alpha, sigma)
            truth = (mean * sigma**2 + variance * x) / (variance + sigma**2)
            assert seen.any() and np.abs(belief - truth)[seen].max() < 2.5 / 255
        last = _cut(tmp_path / "board" / "cell-0-0.png", 4, 16)[0, number]
        assert (_cut(tmp_path / "board" / f"way-{number}.png", 4, 16)[:, -1] == last).all()


def test_a_model_that_can_be_asked_and_is_not_is_told_so(tmp_path: Path) -> None:
    model = _classes()
    board.write_board(tmp_path, model, Asked.of(model, [], seeds=2, steps=2))
    made = sample(model, (2, 1, 4, 4), condition=model.vocabulary.condition(2), steps=2)
    assert (_cut(tmp_path / "board" / "cell-0-0.png", 4, 16)[0] == _pixels(made[:, 0])).all()


def test_the_number_of_calls_is_what_the_network_is_asked(tmp_path: Path) -> None:
    model = _classes()
    for scales in ((1.0,), (2.0, 1.0), (1.0, 2.0, 4.0)):
        wanted = Asked.of(model, [{"label": "dog"}, {"label": "cat"}], scales, 2, steps=3)
        model.counted.clear()  # type: ignore[attr-defined]
        board.write_board(tmp_path / str(len(scales)), model, wanted)
        assert sum(model.counted) == board.calls(wanted, model)  # type: ignore[attr-defined]


def test_a_board_is_made_small_enough_or_not_at_all() -> None:
    model = _classes()
    whole = Asked.of(model, [{"label": name} for name in ("cat", "dog", "cow")])
    much = board.calls(whole, model)
    assert board.fitted(whole, model, much) == whole
    half = board.fitted(whole, model, much - 1)
    assert half is not None and (half.seeds, half.rows) == (2, whole.rows)
    least = board.fitted(whole, model, board.calls(half, model) / 2 + 80)
    assert least is not None and least.seeds == 1 and board.calls(least, model) <= board.calls(half, model) / 2 + 80
    assert board.fitted(whole, model, 50) is None


def test_a_board_that_can_t_be_written_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = _classes(), [{"label": "dog"}]
    board.write_board(tmp_path, model, Asked.of(model, rows, (1.0,), 1, steps=2))
    before = {path.name: path.read_bytes() for path in (tmp_path / "board").iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(making, "_told", lambda *args: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            board.write_board(tmp_path, model, Asked.of(model, rows, (2.0,), 2, steps=2))
    assert {path.name: path.read_bytes() for path in (tmp_path / "board").iterdir()} == before
    board.write_board(tmp_path, model, Asked.of(model, rows, (2.0,), 2, steps=2))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "board").write_text("a person's own")
    with pytest.raises(ValueError, match="is a file"):
        board.write_board(tmp_path / "other", model, Asked.of(model, rows))
    shutil.rmtree(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["board"]
    assert json.loads((tmp_path / "board" / "board.json").read_text())["guidance"] == [2.0]


# --- what is asked for -------------------------------------------------------------------------------------------------------


def test_without_a_word_classes_are_spread_and_captions_are_those_that_the_model_knows() -> None:
    many = Vocabulary([Classes("label", tuple(map(str, range(11))))])
    assert board.requests(many, None, 6) == [{"label": str(i)} for i in (0, 2, 4, 6, 8, 10)]
    captions = ("a red dog", "a red dog", "", "a blue cat", "a dog", "a cat") * 2
    told = Dataset(torch.zeros(12, 1, 4, 4), torch.tensor([0, 1] * 6), ("x", "y"), captions=captions)
    others = Dataset(torch.zeros(4, 1, 4, 4), captions=("a red cow", "a cat", "a blue dog", "a red " * 9))
    vocabulary = Vocabulary.of(told, ("text",), tokens="words")
    assert board.requests(vocabulary, others) == [{"text": "a cat"}, {"text": "a blue dog"}]
    both = board.requests(Vocabulary.of(told, tokens="words"), told, 3)
    assert both == [{"label": "x", "text": "a red dog"}, {"label": "y", "text": "a red dog"}, {"label": "x"}]
    assert [board.in_words(row) for row in both] == ["x, a red dog", "y, a red dog", "x"]
    assert board.in_words({"age": 3, "text": "a dog"}) == "age 3, a dog"
    seen = Vocabulary.of(told, ("label", "known"))
    assert board.requests(seen, None) == [{"label": "x"}, {"label": "y"}] and not board.needs_pictures(seen)
    assert board.requests(Vocabulary.of(told, ("known",)), told) == [] and board.needs_pictures(vocabulary)
    assert board.requests(Vocabulary(), told) == [] and board.requests(vocabulary, None) == []


def test_scales_are_chosen_by_whether_the_model_can_be_guided() -> None:
    assert Asked.of(_classes(), [{"label": "dog"}]).guidance == (1.0, 2.0, 4.0)
    never = _classes(training={"drop_condition": 0.0})
    assert Asked.of(never, [{"label": "dog"}]).guidance == (1.0,)
    with pytest.raises(ValueError, match="drop_condition 0.*leave guidance at 1, in place of 2"):
        Asked.of(never, [{"label": "dog"}], (1.0, 2.0))
    assert Asked.of(_classes(), []).guidance == (1.0,)
    with pytest.raises(ValueError, match="nothing is asked for, so guidance leads nowhere: leave guidance at 1"):
        Asked.of(_classes(), [], (1.0, 2.0))
    with pytest.raises(ValueError, match="drop_condition 0.*say what its pictures are to be"):
        Asked.of(never, [])
    with pytest.raises(ValueError, match=r"shows pictures, but this model's data are \(2,\)"):
        Asked.of(_classes(shape=(2,)), [])


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--prompts", "red geen"], "unknown word 'geen'; did you mean 'green'"),
        (["--prompts", "red", " "], "an empty prompt asks for nothing"),
        (["--prompts", "red " * 9], "too long for this model"),
        (["--classes", "dog"], "trained without classes"),
        (["--guidance", "nan"], "a finite number"),
        (["--guidance", "2", "1", "2"], "guidance 2 is asked for twice"),
        (["--steps", "0"], "steps is a whole number, 1 or more, but is 0"),
        (["--seeds", "0"], "seeds is a whole number, 1 or more, but is 0"),
        (["--seeds", "99"], "1 to 64 seeds in a cell, but 99"),
        (["--batch-size", "0"], "batch_size is a whole number"),
        (["--solver", "huen"], "did you mean 'heun'"),
        (["--spacing", "karas"], "did you mean 'karras'"),
        (["--prompts", *["red"] * 65], "1 to 64 rows, but 65"),
        (["--data", "nowhere"], "say --prompts, or --data WHERE"),
    ],
)
def test_what_can_t_be_done_is_one_line_before_any_work(
    words: list[str], what: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Denoiser, "begin", lambda *args: pytest.fail("an error comes before any work"))
    assert main(["board", str(run), *words, *ALWAYS]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith("noisepath: ") and what in err


def test_a_folder_that_is_no_run_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, what in ((tmp_path / "nowhere", "no run folder"), (run / "checkpoints" / "step-000002", "holds no run")):
        assert main(["board", str(folder), *ALWAYS]) == 2
        assert what in capsys.readouterr().err


def test_the_command_asks_for_held_out_captions_or_for_what_is_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--steps", "2", "--seeds", "1", "--guidance", "1", "2"]
    assert main(["board", str(run), *small, *ALWAYS]) == 0
    told = json.loads((run / "board" / "board.json").read_text())
    held_out = {row["words"] for row in told["rows"]}
    assert len(held_out) == 4 and told["step"] == 2
    assert f"8 pictures in {run / 'board'}" in capsys.readouterr().out
    assert all(f"of “{words}”, guidance 2" in (run / "index.html").read_text(encoding="utf-8") for words in held_out)
    assert main(["board", str(run), "--prompts", "red green", "blue", *small, *ALWAYS]) == 0
    told = json.loads((run / "board" / "board.json").read_text())
    assert [row["asked"] for row in told["rows"]] == [{"text": "red green"}, {"text": "blue"}]
    assert "of “blue”, guidance 1" in (run / "index.html").read_text(encoding="utf-8")


# --- at the end of a training ------------------------------------------------------------------------------------------------


def _data(labels: bool = True) -> Dataset:
    x = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    return Dataset(x, torch.arange(12) % 2, ("cat", "dog")) if labels else Dataset(x)


def test_a_long_run_leaves_a_board_and_a_short_one_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(_data(), tmp_path / "short", TrainConfig(**TINY), progress=False)
    assert not (tmp_path / "short" / "board").exists() and (tmp_path / "short" / "index.html").exists()
    monkeypatch.setattr(at_the_end, "SHARE", 12.0)
    said: list[str] = []
    train(_data(), tmp_path / "run", TrainConfig(**TINY), progress=False, say=said.append)
    place = tmp_path / "run" / "board"
    told = json.loads((place / "board.json").read_text())
    assert [row["words"] for row in told["rows"]] == ["cat", "dog"] and told["step"] == 2 and told["seeds"] == 2
    assert "of “dog”, guidance 4" in (tmp_path / "run" / "index.html").read_text(encoding="utf-8")
    (place / "board.json").write_text(json.dumps({**told, "guidance": [7.0]}))  # as if made by a person
    resume(tmp_path / "run", _data(), progress=False)
    assert json.loads((place / "board.json").read_text())["guidance"] == [7.0]
    with monkeypatch.context() as patch:
        patch.setattr(at_the_end, "write_board", lambda *args: (_ for _ in ()).throw(OSError("no space left")))
        train(_data(), tmp_path / "run", TrainConfig(**TINY), progress=False, overwrite=True, say=said.append)
    assert not place.exists() and (tmp_path / "run" / "index.html").exists()
    assert [line for line in said if "board" in line] == ["the board can't be made: no space left; training goes on"]


def test_a_model_that_is_not_asked_gets_seeds_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_the_end, "SHARE", 12.0)
    train(_data(labels=False), tmp_path / "run", TrainConfig(**TINY), progress=False)
    told = json.loads((tmp_path / "run" / "board" / "board.json").read_text())
    assert (told["rows"], told["guidance"], told["seeds"]) == ([{"words": "", "asked": {}}], [1.0], 16)
    made = sample(load(tmp_path / "run"), (16, 1, 8, 8), seed=0)
    assert (_cut(tmp_path / "run" / "board" / "cell-0-0.png", 8, 8).reshape(16, 8, 8) == _pixels(made[:, 0])).all()


def test_captions_of_pictures_that_a_program_gave_are_not_guessed(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(run, tmp_path / "run")
    told = (run / "run.toml").read_text()
    (tmp_path / "run" / "run.toml").write_text(told.replace(str(pictures), ""))
    assert main(["board", str(tmp_path / "run"), *ALWAYS]) == 2
    assert "given its pictures by a program" in capsys.readouterr().err


# --- edits -------------------------------------------------------------------------------------------------------------------


def _edited(name: str, mask: bool = False, **said: Any) -> Edited:
    x = torch.linspace(-1, 1, 16).view(1, 4, 4)
    return Edited(x, -x[None], x if mask else None, name, "changed as a whole", said)


def _kept(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "edits" / "edits.json").read_text())["edits"]
    return found


def test_the_last_edits_are_kept_and_nothing_of_the_others(tmp_path: Path) -> None:
    for i in range(5):
        board.keep_edits(tmp_path, [_edited(f"{i}-{k}", k == 2, path=tmp_path / "x.png", classes=("a",)) for k in range(3)])
    kept = _kept(tmp_path)
    assert edits.MOST == 12 and [edit["name"] for edit in kept] == [f"{i}-{k}" for i in range(1, 5) for k in range(3)]
    assert kept[0]["said"] == {"path": "x.png", "classes": ["a"]}
    files = {path.name for path in (tmp_path / "edits").iterdir()}
    names = {f"{edit['id']}-{part}.png" for edit in kept for part in ("before", "after")}
    assert files == {"edits.json", *names, *(f"{edit['id']}-mask.png" for edit in kept if edit["name"].endswith("2"))}
    after = np.asarray(Image.open(tmp_path / "edits" / f"{kept[0]['id']}-after.png"))
    assert (after[2::16, 2::16][:4, :4] == _pixels(-torch.linspace(-1, 1, 16).view(4, 4))).all()
    board.keep_edits(tmp_path, [_edited(str(i)) for i in range(20)])
    assert [edit["name"] for edit in _kept(tmp_path)] == [str(i) for i in range(8, 20)]
    assert len(list((tmp_path / "edits").iterdir())) == 1 + 2 * edits.MOST


@pytest.mark.parametrize("content", ["", "[1]", '{"edits": 7}', '{"edits": [3, {"id": 4}, null]}', "[" * 100_000])
def test_a_damaged_list_of_edits_is_begun_anew(content: str, tmp_path: Path) -> None:
    (tmp_path / "edits").mkdir()
    (tmp_path / "edits" / "edits.json").write_text(content)
    (tmp_path / "edits" / "mine.png").write_text("a person's own")
    board.keep_edits(tmp_path, [_edited("a")])
    assert [edit["name"] for edit in _kept(tmp_path)] == ["a"] and (tmp_path / "edits" / "mine.png").exists()


def test_an_edit_is_kept_for_the_page_and_makes_the_same_files(run: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, shape in (("p.png", (20, 12, 3)), ("large.png", (300, 500, 3))):
        Image.fromarray(random.integers(0, 255, shape, dtype=np.uint8)).save(tmp_path / name)
    words = ["--steps", "2", "--box", "1", "2", "4", "8", "--prompt", "red", *ALWAYS]
    made = []
    for more in ("--record", "--no-record"):
        out = tmp_path / more
        assert main(["edit", str(run), str(tmp_path / "p.png"), *words, "--out", str(out), more]) == 0
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert made[0] == made[1]
    (edit,) = _kept(run)
    assert (edit["name"], edit["what"]) == ("p.png", "a part made anew")
    said = edit["said"]
    assert {**said, "steps": 2, "prompt": ["red"], "model": "step 2"} == said and not {"run", "box", "guidance"} & said.keys()
    before, after, mask = (_cut_one(run / "edits" / f"{edit['id']}-{part}.png") for part in ("before", "after", "mask"))
    held = mask == 0
    assert (mask == 255).sum() == 32 and (before[held] == after[held]).all() and (before[~held] != after[~held]).mean() > 0.9
    assert (before == np.asarray(Image.open(tmp_path / "p.png"))).all()
    assert "p.png</b> a part made anew" in (run / "index.html").read_text(encoding="utf-8")
    assert main(["edit", str(run), str(tmp_path / "large.png"), "--steps", "1", *ALWAYS, "--out", str(tmp_path / "more")]) == 0
    assert Image.open(run / "edits" / f"{_kept(run)[1]['id']}-before.png").size == (192 + 4, 115 + 4)


def _cut_one(path: Path) -> np.ndarray:
    """The one picture of 12 x 20 pixels on a page that shows it three times as large."""
    return np.asarray(Image.open(path))[2:-2:3, 2:-2:3]


def test_an_edit_that_can_t_be_kept_is_an_edit_all_the_same(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "p.png")
    words = [str(tmp_path / "p.png"), "--steps", "1", *ALWAYS, "--out", str(tmp_path / "out")]
    snapshot = run / "checkpoints" / "step-000002"
    assert main(["edit", str(snapshot), *words]) == 0 and not (snapshot / "edits").exists()  # a model, and no run
    monkeypatch.setattr("noisepath.cli.recorded.keep_edits", lambda *args: (_ for _ in ()).throw(OSError("no space left")))
    assert main(["edit", str(run), *words]) == 0
    assert "the run's page can't show it: no space left" in capsys.readouterr().out
    assert (tmp_path / "out" / "p.png").exists()
