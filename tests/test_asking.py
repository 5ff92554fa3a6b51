"""What a model can be asked for: words to tokens, names to tensors, what training data say, and a model that is told it."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from noisepath import classifier_free, load, sample
from noisepath.asking import Classes, Number, Text, Tokens, Vocabulary
from noisepath.cli import main
from noisepath.data import Dataset, shapes
from noisepath.training.config import TrainConfig
from noisepath.training.objective import Objective
from noisepath.training.run import build, train

TEXTS = ("A red circle", "a blue square, and a red circle") * 4
PICTURES = Dataset(
    torch.zeros(8, 1, 8, 8),
    torch.tensor([0, 1] * 4),
    ("cat", "dog"),
    captions=TEXTS,
    attributes=tuple({"age": i, "mood": "glad" if i % 2 else None} for i in range(8)),
)


def test_words_are_numbered_and_marks_are_words() -> None:
    tokens = Tokens.of(TEXTS, "words")
    assert tokens.words == (",", "a", "and", "blue", "circle", "red", "square") and tokens.length == 8
    assert tokens.encode(["A RED circle", ""]).tolist() == [[2, 6, 5, 0, 0, 0, 0, 0], [0] * 8]
    assert tokens.encode(["a green circle"], strict=False)[0, :3].tolist() == [2, tokens.size, 5]


@given(st.text(max_size=20))
def test_bytes_say_anything_and_can_be_read_back(text: str) -> None:
    row = Tokens("bytes", 80).encode([text])[0]
    assert bytes((row[row > 0] - 1).tolist()).decode() == text


def test_texts_are_read_by_words_where_training_sees_each_often() -> None:
    assert Tokens.of(TEXTS * 2).kind == "words"
    assert Tokens.of(["each word is here but once"]).kind == "bytes"
    assert Tokens.of(["ä"] * 9, "bytes").length == 2  # bytes, not letters


def test_what_says_nothing_is_the_null_of_its_kind() -> None:
    vocabulary = Vocabulary.of(PICTURES, ("label", "text", "age", "mood"))
    null = vocabulary.null()
    assert null is not None and null["label"].tolist() == [2] and not null["text"].any() and null["age"].isnan().all()
    told = vocabulary.condition(1)
    assert told is not None
    for name, value in told.items():
        assert torch.equal(value.nan_to_num(7.0), null[name].nan_to_num(7.0))
    assert vocabulary.classes == 2 and [part.name for part in vocabulary.parts] == ["text", "age", "mood"]


def test_numbers_are_told_in_standard_deviations() -> None:
    entry = Vocabulary.of(PICTURES, ("age",)).entries["age"]
    assert isinstance(entry, Number) and (entry.least, entry.most) == (0, 7)
    told = entry.encode([3.5, "7", None])
    assert told[0] == 0.0 and float(told[1]) == pytest.approx(3.5 / math.sqrt(5.25)) and told[2].isnan()


def test_the_table_is_what_each_picture_says() -> None:
    vocabulary = Vocabulary.of(PICTURES, ("label", "text", "mood"))
    table = vocabulary.table(PICTURES)
    for i in (0, 1, 5):
        values = {"label": i % 2, "text": TEXTS[i], "mood": (PICTURES.attributes or ())[i]["mood"]}
        asked = vocabulary.condition(1, **values)
        assert asked is not None and all(torch.equal(table[name][i : i + 1], asked[name]) for name in asked)


def test_a_vocabulary_goes_through_json() -> None:
    vocabulary = Vocabulary.of(PICTURES, ("label", "text", "age", "mood"))
    others = json.loads(json.dumps(vocabulary.others))
    again = Vocabulary.from_info(("cat", "dog"), others)
    assert again.entries == vocabulary.entries and again.parts == vocabulary.parts


def test_yes_and_no_are_classes_by_their_names() -> None:
    data = Dataset(torch.zeros(3, 1, 4, 4), attributes=({"glad": True}, {"glad": False}, {}))
    vocabulary = Vocabulary.of(data, ("glad",))
    assert vocabulary.table(data)["glad"].tolist() == [1, 0, 2]
    told = vocabulary.condition(2, glad=["True", False])
    assert told is not None and told["glad"].tolist() == [1, 0] and vocabulary.said(data, 1) == {"glad": False}
    with pytest.raises(ValueError, match="unknown class True"):
        Vocabulary([Classes("label", ("cat", "dog"))]).condition(1, label=True)


def test_without_a_word_the_class_and_the_caption_are_told() -> None:
    assert list(Vocabulary.of(PICTURES).entries) == ["label", "text"]
    assert not Vocabulary.of(Dataset(torch.zeros(2, 1, 4, 4)))


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"text": "a red circel"}, "unknown word 'circel'; did you mean 'circle'"),
        ({"text": " "}, "empty text"),
        ({"text": 7}, "takes a text, but got 7"),
        ({"text": "a " * 9}, r"9 words is too long for this model, which reads 8: it would not read 'a'"),
        ({"text": ["a"] * 3}, "3 times for 2 pictures"),
        ({"txt": "a"}, "unknown condition of this model 'txt'; did you mean 'text'"),
        ({"label": "dogg"}, "unknown class 'dogg'; did you mean 'dog'"),
        ({"mood": "sad"}, "unknown mood 'sad'"),
        ({"age": "old"}, "age takes a number .0 to 7 in training., but got 'old'"),
        ({"age": math.inf}, "takes a number"),
    ],
)
def test_what_can_not_be_asked_for_is_refused(asked: dict[str, object], error: str) -> None:
    vocabulary = Vocabulary.of(PICTURES, ("label", "text", "age", "mood"))
    with pytest.raises(ValueError, match=error):
        vocabulary.condition(2, **asked)


def test_a_prompt_that_is_too_long_can_be_cut() -> None:
    vocabulary = Vocabulary.of(PICTURES)
    told = vocabulary.condition(1, text="a " * 9, cut=True)
    assert told is not None and told["text"].shape == (1, 8)


def test_what_pictures_do_not_say_can_not_be_learnt() -> None:
    with pytest.raises(ValueError, match="unknown condition 'colour'"):
        Vocabulary.of(PICTURES, ("colour",))
    with pytest.raises(ValueError, match="without classes, captions and attributes"):
        Vocabulary.of(Dataset(torch.zeros(2, 1, 4, 4)), ("text",))
    mixed = Dataset(torch.zeros(2, 1, 4, 4), attributes=({"a": 1}, {"a": "one"}))
    with pytest.raises(ValueError, match="neither always a number nor always a text"):
        Vocabulary.of(mixed, ("a",))
    with pytest.raises(ValueError, match="without conditions"):
        Vocabulary().condition(1, text="a")
    with pytest.raises(ValueError, match="nothing to learn"):
        Tokens.of(["", " "])


def test_each_condition_is_hidden_by_itself_and_all_together() -> None:
    """Of 4,000 samples, 0.2 hidden as a whole and 0.3 of each part beside: 1 - 0.8 * 0.7 = 0.44 (deviation 0.008)."""
    vocabulary = Vocabulary([Classes("label", ("a", "b")), Number("age", 0.0, 1.0, 0.0, 1.0)])
    null, told = vocabulary.null(), vocabulary.condition(4000, label=0, age=1.0)
    assert null is not None and told is not None
    objective = _objective(0.2, 0.3)
    hidden = objective._hidden(told, null, 0, 1, range(4000))
    label, age = hidden["label"] == 2, hidden["age"][:, 0].isnan()
    assert abs(float(label.float().mean()) - 0.44) < 0.03 and abs(float(age.float().mean()) - 0.44) < 0.03
    both = float((label & age).float().mean())
    assert abs(both - (0.2 + 0.8 * 0.09)) < 0.03  # 0.27, where independent ones would be 0.19
    part = objective._hidden(told.rows(slice(7, 9)), null, 0, 1, [7, 8])
    assert torch.equal(part["label"], hidden["label"][7:9])


def _objective(drop: float, each: float) -> Objective:
    from noisepath import schedules
    from noisepath.times import TIMES

    return Objective(schedules.schedule("edm"), "edm", TIMES["log_normal"](), drop=drop, drop_each=each)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asking") / "run"
    small = {"channels": (8, 16), "text_width": 16, "text_layers": 1, "linear": False}
    config = TrainConfig(steps=3, batch_size=4, precision="float32", **small)
    train(shapes(24), folder, config, progress=False)
    return folder


def test_a_model_is_trained_on_captions_and_asked_in_words(run: Path) -> None:
    model = load(run)
    assert model.vocabulary is not None and isinstance(model.vocabulary.entries["text"], Text)
    assert (run / "samples" / "000003.png").exists()
    text = list(shapes(24).captions or ())[0]
    told = model.vocabulary.condition(2, text=[text, None])
    made = sample(classifier_free(model, 2.0), (2, 3, 32, 32), condition=told, steps=2)
    plain = sample(classifier_free(model, 2.0), (2, 3, 32, 32), condition=model.vocabulary.condition(2), steps=2)
    assert torch.allclose(made[1], plain[1], atol=1e-5) and not torch.allclose(made[0], plain[0], atol=1e-4)


@pytest.mark.parametrize("heard", ["cross", "context"])
def test_a_transformer_hears_captions_as_it_is_told_to(heard: str) -> None:
    config = TrainConfig(network="dit", size="tiny", text_heard=heard, text_width=16, text_layers=1)
    network = build(shapes(12), config).network
    assert network.config.text == heard and network.config.conditions[0].name == "text"  # type: ignore[union-attr]


def test_prompts_are_taken_in_turn_and_written_into_the_files(run: Path, tmp_path: Path) -> None:
    words = ["--prompt", "a red circle", "a blue square", "--negative", "a cross", "--guidance", "2"]
    assert main(["sample", str(run), *words, "--n", "3", "--steps", "2", "--out", str(tmp_path / "new"), "--no-progress"]) == 0
    files = sorted(path for path in (tmp_path / "new").glob("*.png") if path.name != "grid.png")
    told = [Image.open(path).info for path in files]
    assert [one["prompt"] for one in told] == ["a red circle", "a blue square", "a red circle"]
    assert told[0]["negative"] == "a cross"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--prompt", "a red circel"], "did you mean 'circle'"),
        (["--prompt", ""], "empty text"),
        (["--prompt", "red " * 99], "too long"),
        (["--negative", "a cross"], "say --guidance above 1"),
        (["--say", "age"], "NAME=VALUE"),
        (["--say", "age=3"], "unknown condition of this model 'age'"),
        (["--classes", "dog"], "without classes"),
    ],
)
def test_what_can_not_be_drawn_is_refused_in_a_line(
    run: Path, tmp_path: Path, words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(run), *words, "--n", "2", "--steps", "2", "--out", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert error in said and said.count("\n") == 1 and not (tmp_path / "new").exists()
