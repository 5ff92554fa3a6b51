"""The benchmark that draws emoji from their names, on a made-up world of six colours and five forms."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from _emoji_judge import found_among, nearest_of, read_right, share, shuffled
from _emoji_reader import Reader, Recipe, contrast, load_reader, same_words, save_reader, train_reader, varied
from _emoji_world import World, both, held_out, opened, write_training_zip
from conftest import Margin
from noisepath import load
from noisepath.asking.tokens import words_of

emoji_text = pytest.importorskip("emoji_text")
COLOURS = {"red": (1, -1, -1), "green": (-1, 1, -1), "blue": (-1, -1, 1), "yellow": (1, 1, -1), "grey": (0, 0, 0),
           "black": (-1, -1, -1)}  # fmt: skip
FORMS = {
    "square": lambda y, x: (y.abs() < 0.7) & (x.abs() < 0.7),
    "ring": lambda y, x: (y**2 + x**2 < 0.9) & (y**2 + x**2 > 0.3),
    "bar": lambda y, x: y.abs() < 0.25,
    "pole": lambda y, x: x.abs() < 0.25,
    "half": lambda y, x: y > 0.1,
}
SIDE = 8


def drawn(colour: str, form: str) -> Tensor:
    places = torch.linspace(-1, 1, SIDE)
    inside = FORMS[form](places[:, None].expand(SIDE, SIDE), places.expand(SIDE, SIDE))
    return torch.where(inside, torch.tensor(COLOURS[colour], dtype=torch.float32)[:, None, None], torch.ones(3, 1, 1))


def toy() -> World:
    pairs = list(itertools.product(COLOURS, FORMS))
    return World(torch.stack([drawn(*pair) for pair in pairs]), tuple(" ".join(pair) for pair in pairs))


def toy_zip(path: Path) -> Path:
    from PIL import Image

    world = toy()
    with zipfile.ZipFile(path, "w") as place:
        rows = []
        for i, (picture, caption) in enumerate(zip(world.pictures, world.captions, strict=True)):
            held = io.BytesIO()
            Image.fromarray(((picture + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()).save(held, "PNG")
            place.writestr(f"{i:02d}.png", held.getvalue())
            rows.append(json.dumps({"file_name": f"{i:02d}.png", "text": caption}))
        place.writestr("metadata.jsonl", "\n".join(rows) + "\n")
    return path


def test_what_is_held_out_is_told_in_words_that_are_left() -> None:
    captions = toy().captions
    out = held_out(captions)
    assert len(out) == 5  # 15 % of 30, which the words allow
    for share_ in (0.15, 1.0):
        hidden = held_out(captions, share=share_)
        left = [words_of(caption) for i, caption in enumerate(captions) if i not in hidden]
        for i in hidden:
            assert all(sum(word in words for words in left) >= 2 for word in words_of(captions[i]))
    turned = held_out(captions[::-1])
    assert {captions[i] for i in out} == {captions[::-1][i] for i in turned}, "the order of the pictures decides nothing"
    assert held_out(("a b", "a c", "d")) == [], "no word of these stands in two others"


def test_what_is_trained_on_is_a_zip_without_what_is_held_out(tmp_path: Path) -> None:
    source = toy_zip(tmp_path / "all.zip")
    known, held = both(opened(source, SIDE))
    assert write_training_zip(source, tmp_path / "train.zip") == 25 == len(known)
    again = opened(tmp_path / "train.zip", SIDE)
    assert again.captions == known.captions and torch.equal(again.pictures, known.pictures)
    assert not set(held.captions) & set(again.captions) and len(held) == 5


@pytest.fixture(scope="module")
def reader(trained_seed: int) -> Reader:
    return train_reader(toy(), Recipe(steps=60, seed=trained_seed))


@pytest.mark.trained
def test_a_trivial_world_is_read_and_shuffled_captions_are_at_chance(reader: Reader, tmp_path: Path, margin: Margin) -> None:
    world = toy()
    others = World(varied(world.pictures, 5), world.captions)
    margin("read", share(read_right(reader, others.pictures, others.captions, world.captions)).mean, at_least=0.9)
    blind = [read_right(reader, world.pictures, [world.captions[i] for i in shuffled(30, seed)], world.captions)
             for seed in range(20)]  # fmt: skip
    # of 20 captions that are none of its own a picture picks one
    margin("shuffled", float(torch.stack(blind).mean()), at_most=0.05)
    save_reader(reader, tmp_path / "reader.safetensors")
    kept = load_reader(tmp_path / "reader.safetensors")
    assert torch.equal(kept.scores(world.pictures, world.captions), reader.scores(world.pictures, world.captions))


@pytest.mark.trained
@pytest.mark.parametrize("able", [True, False])
def test_the_verdict_follows_the_pictures(
    able: bool, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(model: object, told: Sequence[str], guidance: float, steps: int, seed: int) -> Tensor:
        return torch.stack([drawn(*caption.split()) for caption in (told if able else told[::-1])])

    toy_zip(tmp_path / "emoji-64.zip")
    save_reader(reader, tmp_path / "run" / "reader.safetensors")
    monkeypatch.setenv("NOISEPATH_DATA", str(tmp_path))
    monkeypatch.setattr(emoji_text, "load", lambda path: None)
    monkeypatch.setattr(emoji_text, "drawn", draw)
    monkeypatch.setattr(emoji_text, "read_right", partial(read_right, among=5))
    monkeypatch.setattr(emoji_text, "AMONG", 5)  # so that 1 in 5 is chance in the verdict too
    monkeypatch.setattr(emoji_text, "COMPOSED", ("red ring",) * 8)
    if not able:
        monkeypatch.setattr(emoji_text, "save_board", lambda *given: None)
    monkeypatch.setattr("sys.argv", ["emoji_text.py", "--run", str(tmp_path / "run"), "--size", str(SIDE)])
    emoji_text.main()
    said = capsys.readouterr().out.splitlines()
    assert said[-1].endswith("ok" if able else "MISSED")
    assert not able or (tmp_path / "run" / "board.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_missing_is_trained_and_no_more(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emoji_text, "RECIPE", (*emoji_text.RECIPE, "--steps", "1", "--channels", "8", "--attention"))
    monkeypatch.setattr(emoji_text, "train_reader", lambda world, recipe: reader)
    run = tmp_path / "run"
    words = ["--data", str(toy_zip(tmp_path / "toy.zip")), "--run", str(run), "--size", str(SIDE), "--train"]
    monkeypatch.setattr("sys.argv", ["emoji_text.py", *words])
    emoji_text.main()
    model = load(run / "model")
    assert emoji_text.drawn(model, ["red ring", "grey bar"], 2.0, 2, 0).shape == (2, 3, SIDE, SIDE)
    before = (run / "model" / "log.jsonl").stat().st_mtime_ns
    emoji_text.main()
    assert (run / "model" / "log.jsonl").stat().st_mtime_ns == before


def test_without_the_pictures_it_is_left_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("NOISEPATH_DATA", raising=False)
    monkeypatch.setattr("sys.argv", ["emoji_text.py", "--train"])
    emoji_text.main()
    assert capsys.readouterr().out == "left out: NOISEPATH_DATA names no folder with emoji-64.zip\n"


def test_a_caption_is_found_in_the_share_of_draws_that_counting_them_gives() -> None:
    scores = torch.tensor([[0.5, 0.9, 0.1, 0.5, 0.2, 0.4], [0.3, 0.8, 0.9, 0.9, 0.9, 0.1]])
    alike = torch.tensor([0, 1, 2, 3, 4, 0])  # the last has the first's words
    for among in (2, 3, 4):
        found = found_among(scores, [0, 1], alike, among)
        for i, own in enumerate((0, 1)):
            others = [j for j in range(6) if alike[j] != alike[own]]
            draws = list(itertools.combinations(others, among - 1))
            right = sum(all(scores[i, j] < scores[i, own] for j in draw) for draw in draws)
            assert float(found[i]) == pytest.approx(right / len(draws), abs=1e-7)
    with pytest.raises(ValueError, match="found among 20, but there are 4 others"):
        found_among(scores, [0, 1], alike)


def test_scores_that_know_nothing_are_right_once_in_twenty() -> None:
    scores = torch.rand(400, 400, generator=torch.Generator().manual_seed(0))
    found = share(found_among(scores, range(400), torch.arange(400)))
    error = float(found_among(scores, range(400), torch.arange(400)).std()) / 20
    assert abs(found.mean - 0.05) < 4 * error
    assert found.low < found.mean < found.high and (found.high - found.low) / 4 == pytest.approx(error, rel=0.15)


def test_the_same_words_are_not_held_against_each_other() -> None:
    alike = same_words(("a red ring", "ring, a red", "ring a red", "blue"))
    assert alike.tolist() == [0, 1, 0, 2]
    seen, told = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    both_ways = contrast(seen, told, torch.tensor(5.0), torch.tensor([0, 1, 0]))
    products = (5.0 * seen @ told.T).double()
    expected = []
    for table in (products, products.T):
        for own, others in enumerate(([1], [0, 2], [1])):
            expected.append(-table[own, own] + torch.logsumexp(table[own, [own, *others]], 0))
    assert float(both_ways) == pytest.approx(float(torch.stack(expected).mean()), rel=1e-6)


def test_a_copy_is_at_no_distance_and_shuffling_leaves_nothing_in_place() -> None:
    world = toy()
    distance, which = nearest_of(world.pictures[[4, 7]], world.pictures)
    assert which.tolist() == [4, 7] and float(distance.abs().max()) < 1e-6
    distance, _ = nearest_of(torch.zeros(1, 3, SIDE, SIDE), torch.full((1, 3, SIDE, SIDE), 0.5))
    assert float(distance) == pytest.approx(0.5)
    for seed in range(20):
        order = shuffled(30, seed)
        assert sorted(order) == list(range(30)) and all(i != j for i, j in enumerate(order))
