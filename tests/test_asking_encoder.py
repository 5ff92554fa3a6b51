"""Frozen text encoders: their vectors, the folders they lie in, what is kept of captions, and models that are told them."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from encoding import Letters, clip_folder, empty_shell, t5_folder
from noisepath import classifier_free, sample
from noisepath.asking import EncodedText, TextFeatures, TransformersEncoder, Vocabulary
from noisepath.asking.encoder import encoder_in
from noisepath.asking.encoder_folder import read_folder
from noisepath.asking.kept import FILE, kept
from noisepath.cli import main
from noisepath.data import Dataset
from noisepath.training import resume
from noisepath.training.config import TrainConfig
from noisepath.training.processes import Processes
from noisepath.training.run import train
from noisepath.training.telling import FEATURES, told

TEXTS = ["a red circle", "a tiny blue square and a red circle", "red"]


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return t5_folder(tmp_path_factory.mktemp("encoders") / "t5", whole=True)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip_folder(tmp_path_factory.mktemp("encoders") / "clip")


# --- vectors ---------------------------------------------------------------------------------------------------------


def test_vectors_are_those_of_the_library_with_padding_and_a_mask(t5: Path, clip: Path) -> None:
    """Written out with the library's own classes, in one padded batch; ours are never padded."""
    from transformers import AutoTokenizer, CLIPModel, T5Model

    for folder, whole in ((t5, T5Model), (clip, CLIPModel)):
        inside = whole.from_pretrained(folder).eval()
        told = AutoTokenizer.from_pretrained(folder)(TEXTS, padding="max_length", max_length=60, return_tensors="pt")
        with torch.no_grad():
            theirs = getattr(inside, "text_model", getattr(inside, "encoder", None))(**told).last_hidden_state
        theirs[told["attention_mask"] == 0] = torch.nan
        ours = TransformersEncoder(folder).encode(TEXTS, 60)
        assert ours.dtype == torch.float32 and not ours.requires_grad
        assert torch.allclose(ours, theirs, atol=1e-5, equal_nan=True)
        assert ours[0].nan_to_num().std() > 0.1


def test_a_texts_vectors_do_not_depend_on_the_others(t5: Path) -> None:
    encoder = encoder_in(t5)
    many = [" ".join(TEXTS[i % 3].split()[: 1 + i % 4]) for i in range(80)]  # more than are read at once
    together = encoder.encode(many, 20)
    for i in (0, 1, 42, 79):
        assert torch.allclose(together[i], encoder.encode([many[i]], 20)[0], atol=1e-5, equal_nan=True)
    assert encoder.encode([], 5).shape == (0, 5, 16)


def test_a_text_that_is_too_long_is_cut_before_its_end_mark_and_what_is_left_is_known(t5: Path, clip: Path) -> None:
    t5_encoder, clip_encoder = encoder_in(t5), encoder_in(clip)
    assert (t5_encoder.width, t5_encoder.length) == (16, 512) and (clip_encoder.width, clip_encoder.length) == (12, 77)
    assert t5_encoder.tokens(["a red circle", ""]) == [4, 1]
    assert clip_encoder.tokens(["a red circle", ""]) == [2 + 1 + 1 + 6, 2]  # red is one piece, circle its letters
    assert t5_encoder.left("a red  circle and a blue", 3) == "circle and a blue"
    assert clip_encoder.left("red " * 80, 77) == ("red " * 5).strip()
    long = clip_encoder.encode(["red " * 80, "red " * 75])
    assert long.shape == (2, 77, 12) and torch.allclose(long[0], long[1], atol=1e-6) and not long.isnan().any()


# --- folders ---------------------------------------------------------------------------------------------------------


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _with(name: str, told: object) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(json.dumps(told)) and None


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda folder: shutil.rmtree(folder), "there is no folder '.*encoder': a text encoder is a folder with config.json"),
        (lambda folder: (shutil.rmtree(folder), folder.write_text("x")), "'.*encoder' is a file"),
        (_without("config.json"), "no config.json"),
        (_with("config.json", {"model_type": "vit"}), r"is a vit, which reads no texts here \(text encoders: t5, clip"),
        (_with("config.json", {"_class_name": "UNet2DConditionModel"}), "is a UNet2DConditionModel, which reads no texts"),
        (_with("config.json", {}), "is a model that says of no kind"),
        (_with("config.json", []), "not a JSON object"),
        (_with("config.json", {"model_type": "t5", "d_model": 0}), "no sizes of an encoder: width 0"),
        (_with("config.json", {"model_type": "t5", "auto_map": {}}), "names code to run"),
        (_with("tokenizer_config.json", {"auto_map": {}}), "the tokenizer_config.json in .* names code to run"),
        (_without("tokenizer.json"), "has no tokenizer, which belongs beside config.json"),
        (_without("model.safetensors"), "no weights as safetensors"),
    ],
)
def test_a_folder_that_is_no_encoders_is_refused_in_a_line(
    tmp_path: Path, change: Callable[[Path], None], error: str
) -> None:
    folder = empty_shell(tmp_path / "encoder", _attn_implementation_autoset=True)  # some versions write that; it is no code
    read_folder(folder)
    change(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=error) as caught:
        read_folder(folder)
    assert "\n" not in str(caught.value)


def test_weights_in_several_files_are_all_there(tmp_path: Path) -> None:
    folder = empty_shell(tmp_path / "encoder")
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    read_folder(folder)
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
    with pytest.raises(FileNotFoundError, match="not whole: 'model-2.safetensors' is missing"):
        read_folder(folder)


def test_a_pipelines_folder_says_where_its_encoder_is(tmp_path: Path) -> None:
    empty_shell(tmp_path / "pipeline" / "text_encoder")
    with pytest.raises(FileNotFoundError, match=r"no config.json in it \(there is one in '.*text_encoder'\)"):
        read_folder(tmp_path / "pipeline")
    (tmp_path / "pipeline" / "text_encoder" / "tokenizer.json").unlink()
    (tmp_path / "pipeline" / "tokenizer").mkdir()
    with pytest.raises(FileNotFoundError, match="has no tokenizer, .*; copy the files of '.*pipeline/tokenizer' into it"):
        read_folder(tmp_path / "pipeline" / "text_encoder")


def test_a_fingerprint_is_that_of_the_encoder_and_not_of_its_place(tmp_path: Path) -> None:
    folder = empty_shell(tmp_path / "one")
    (folder / "model.safetensors").write_bytes(bytes(3 * 2**20))
    first = read_folder(folder).fingerprint
    (folder / "README.md").write_text("about it")
    shutil.copytree(folder, tmp_path / "two")
    assert read_folder(tmp_path / "two").fingerprint == first
    found = {first}
    for place in (5, 3 * 2**20 - 5):
        weights = bytearray(3 * 2**20)
        weights[place] = 1
        (folder / "model.safetensors").write_bytes(weights)
        found.add(read_folder(folder).fingerprint)
    (folder / "tokenizer.json").write_text("[]")
    assert len(found | {read_folder(folder).fingerprint}) == 4


def test_without_their_library_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    encoder = TransformersEncoder(empty_shell(tmp_path / "encoder"))
    with pytest.raises(ValueError, match=r"needs transformers, .* pip install 'noisepath\[transformers\]'"):
        encoder.encode(["a"])


def test_damaged_weights_and_tokenizers_are_refused_in_a_line(t5: Path, tmp_path: Path) -> None:
    folder = tmp_path / "t5"
    shutil.copytree(t5, folder)
    (folder / "model.safetensors").write_bytes((t5 / "model.safetensors").read_bytes()[:-9])
    with pytest.raises(ValueError, match="can't load the weights of the text encoder in") as caught:
        TransformersEncoder(folder).encode(["a"])
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="can't load the tokenizer of the text encoder in") as again:
        TransformersEncoder(folder).tokens(["a"])
    assert "\n" not in str(caught.value) + str(again.value)


# --- what can be asked for -------------------------------------------------------------------------------------------

CAPTIONS = ("a red circle", "a blue square", None, "a red circle", "", "a big green circle and a square")
PICTURES = Dataset(torch.zeros(6, 1, 8, 8), captions=CAPTIONS)  # type: ignore[arg-type]


def _entry(encoder: TextFeatures, length: int | None = None) -> EncodedText:
    return EncodedText.of("text", [text for text in CAPTIONS if text], encoder, length)


def test_what_says_nothing_opens_no_encoder_and_texts_are_read_once_each() -> None:
    encoder = Letters()
    entry = _entry(encoder)
    assert (entry.length, entry.width, entry.part().kind) == (8, 3, "features")
    assert entry.encode([None, None]).isnan().all() and encoder.asked == []
    told = entry.encode(["a red circle", None, "a red circle"])
    assert encoder.asked == ["a red circle"]
    assert told[1].isnan().all() and told[0, 4:].isnan().all() and torch.equal(told[0, :4], told[2, :4])
    assert torch.allclose(told[0, 1], torch.tensor([ord("r") / 97, 1.0, 1.0]))
    vocabulary = Vocabulary.of(PICTURES, encoder=encoder)
    null, nothing = vocabulary.null(), vocabulary.condition(1)
    assert null is not None and nothing is not None and nothing["text"].shape == null["text"].shape == (1, 8, 3)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ("a " * 9, "a prompt of 10 tokens is too long for this model, which reads 8: it would not read 'a a'"),
        (" ", "empty text"),
        (7, "takes a text, but got 7"),
    ],
)
def test_what_can_not_be_asked_for_is_refused(asked: object, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Vocabulary.of(PICTURES, encoder=Letters()).condition(2, text=asked)


def test_a_prompt_that_is_too_long_can_be_cut() -> None:
    told = Vocabulary.of(PICTURES, encoder=Letters()).condition(1, text="a " * 9, cut=True)
    assert told is not None and not told["text"].isnan().any()


def test_the_length_is_that_of_the_longest_caption_unless_it_is_said() -> None:
    assert _entry(Letters(), 12).length == 12
    for length in (1, 21):
        with pytest.raises(ValueError, match=f"texts of 2 to 20 tokens, so text_length can't be {length}"):
            _entry(Letters(), length)
    with pytest.raises(ValueError, match="is to read captions, but these pictures have none"):
        Vocabulary.of(Dataset(torch.zeros(2, 1, 4, 4)), encoder=Letters())
    with pytest.raises(ValueError, match="nothing to learn in 2 texts"):
        Vocabulary.of(Dataset(torch.zeros(2, 1, 4, 4), captions=(" ", "\n")), encoder=Letters())


def test_an_encoder_that_gives_another_shape_is_named() -> None:
    class Short(Letters):
        def encode(self, texts: Sequence[str], length: int | None = None) -> Tensor:
            return super().encode(texts, length)[:, :, :2]

    with pytest.raises(ValueError, match=r"the letters gave torch.float32 of shape \(1, 8, 2\) where floats of \(1, 8, 3\)"):
        _entry(Short()).encode(["a"])


def test_an_encoder_that_is_elsewhere_or_another_one_is_an_error_when_it_is_needed(tmp_path: Path) -> None:
    folder = empty_shell(tmp_path / "encoder")
    entry = EncodedText("text", str(folder), read_folder(folder).fingerprint, 8, 16)
    vocabulary = Vocabulary.from_info((), json.loads(json.dumps([entry.to_dict()])))
    assert vocabulary.entries["text"] == entry
    folder.rename(tmp_path / "moved")
    assert vocabulary.condition(1) is not None
    with pytest.raises(ValueError, match=rf"{entry.fingerprint}\), but there is no folder .*encoder'.*--encoder FOLDER"):
        vocabulary.condition(1, text="a")
    moved = vocabulary.reading_with(tmp_path / "moved").entries["text"]
    assert moved == replace(entry, folder=str(tmp_path / "moved")) and isinstance(moved, EncodedText)
    assert moved.encoder().fingerprint == entry.fingerprint
    (tmp_path / "moved" / "tokenizer.json").write_text("[]")
    with pytest.raises(ValueError, match=rf"moved' is not the one .* its fingerprint is \w+, not {entry.fingerprint}"):
        moved.encode(["a"])
    with pytest.raises(ValueError, match="is not the one that this model was trained with"):
        vocabulary.reading_with(tmp_path / "moved")
    with pytest.raises(ValueError, match="without a frozen text encoder, so none can be named"):
        Vocabulary().reading_with(tmp_path / "moved")


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_captions_are_encoded_once_and_looked_up_as_they_were(tmp_path: Path) -> None:
    encoder = Letters()
    entry = _entry(encoder)
    counted: list[int] = []
    rows = kept(entry, CAPTIONS, tmp_path, counted.append)
    assert sorted(encoder.asked) == sorted({text for text in CAPTIONS if text}) and sum(counted) == 3
    which = torch.tensor([5, 0, 2, 3, 4, 0])
    told = entry.encode([CAPTIONS[i] for i in which.tolist()], strict=False)
    assert torch.allclose(rows[which], told, rtol=2**-11, equal_nan=True) and rows[which].dtype == torch.float32
    encoder.asked.clear()
    again = kept(entry, CAPTIONS[::-1], tmp_path)  # in another order they are the same captions
    assert torch.allclose(again[5 - which], told, rtol=2**-11, equal_nan=True) and encoder.asked == []
    plain = kept(entry, [None], tmp_path)
    assert plain[torch.tensor([0])].isnan().all() and len(list(tmp_path.iterdir())) == 1  # what is of others is removed


@pytest.mark.parametrize("damage", ["bits", "end", "gone"])
def test_what_is_kept_damaged_is_made_again(tmp_path: Path, damage: str) -> None:
    encoder = Letters()
    entry = _entry(encoder)
    before = kept(entry, CAPTIONS, tmp_path)[torch.arange(6)]
    file = next(tmp_path.iterdir()) / FILE
    content = bytearray(file.read_bytes())
    content[-3] ^= 64
    file.write_bytes({"bits": content, "end": content[:-1], "gone": b""}[damage])
    encoder.asked.clear()
    again = kept(entry, CAPTIONS, tmp_path)[torch.arange(6)]
    assert len(encoder.asked) == 3 and torch.equal(again.nan_to_num(9.0), before.nan_to_num(9.0))


def test_other_captions_and_another_encoder_are_kept_apart(tmp_path: Path) -> None:
    class Shouting(Letters):
        fingerprint = "ABC"

    encoder, other = Letters(), Shouting()
    kept(_entry(encoder), CAPTIONS, tmp_path)
    kept(_entry(other), CAPTIONS, tmp_path)
    kept(_entry(other), [*CAPTIONS, "a"], tmp_path)
    assert len(encoder.asked) == 3 and len(other.asked) == 3 + 4


def test_what_float16_can_not_hold_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    class Loud(Letters):
        def encode(self, texts: Sequence[str], length: int | None = None) -> Tensor:
            return 1e5 * super().encode(texts, length)

    with pytest.raises(ValueError, match="no number that float16 holds for 'a"):
        kept(_entry(Loud()), CAPTIONS, tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- models ----------------------------------------------------------------------------------------------------------

SMALL = {"channels": (8, 8), "blocks": 1, "linear": False, "precision": "float32", "batch_size": 4, "sample_every": 9}
TOLD = Dataset(
    torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1,
    captions=("a red circle", "a blue square", "a tiny red square") * 4,
)


def test_a_model_is_trained_resumed_and_guided_with_an_encoder(tmp_path: Path) -> None:
    run, encoder = tmp_path / "run", Letters()
    model = train(TOLD, run, TrainConfig(steps=2, save_every=1, **SMALL), progress=False, encoder=encoder)  # type: ignore[arg-type]
    assert sorted(set(encoder.asked)) == sorted(set(TOLD.captions or ())) and len(encoder.asked) == 3
    assert (run / "samples" / "000002.png").exists() and model.vocabulary is not None

    def drawn(**asked: object) -> Tensor:
        told = model.vocabulary.condition(2, **asked)
        away = model.vocabulary.condition(1, text="a tiny red square")
        return sample(classifier_free(model, 2.0, negative=away), (2, 1, 8, 8), condition=told, steps=2)

    made, plain = drawn(text=["a blue square", None]), drawn()
    assert torch.allclose(made[1], plain[1], atol=1e-5) and not torch.allclose(made[0], plain[0], atol=1e-5)

    shutil.rmtree(run / "checkpoints" / "step-000002")
    again = resume(run, TOLD, progress=False)  # what is kept is enough
    for one, other in zip(model.network.parameters(), again.network.parameters(), strict=True):  # type: ignore[attr-defined]
        assert torch.equal(one, other)
    assert again.vocabulary is not None
    with pytest.raises(ValueError, match=r"a program gave in training \(fingerprint abc\): give it again"):
        again.vocabulary.condition(1, text="a")
    shutil.rmtree(run / FEATURES)
    shutil.rmtree(run / "checkpoints" / "step-000002")
    with pytest.raises(ValueError, match="give it again"):
        resume(run, TOLD, progress=False)
    resume(run, TOLD, progress=False, encoder=encoder)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"tokens": "words"}, "tokens = 'words' is for captions whose encoder trains along, but text_encoder 'X' reads them"),
        ({"text_width": 64}, "text_width = 64 is for"),
        ({"text_layers": 1}, "text_layers = 1 is for"),
        ({"conditions": ("label",)}, "text_encoder 'X' is to read captions, but the conditions are without text"),
    ],
)
def test_what_an_encoder_leaves_nothing_to_do_is_refused(said: dict[str, object], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        TrainConfig(text_encoder="X", **said)  # type: ignore[arg-type]
    TrainConfig(text_encoder="X", text_length=12)


def test_a_run_does_not_go_on_with_pictures_that_say_other_things(tmp_path: Path) -> None:
    labelled = Dataset(TOLD.pictures, torch.arange(12) % 2, ("cat", "dog"), captions=TOLD.captions)
    vocabulary = Vocabulary.of(labelled, encoder=Letters())
    with pytest.raises(ValueError, match="told captions, but the pictures have none"):
        told(vocabulary, replace(labelled, captions=None), tmp_path, Processes("cpu"), print)
    with pytest.raises(ValueError, match="told the classes cat, dog, but those of the pictures are dog, cat"):
        told(vocabulary, replace(labelled, class_names=("dog", "cat")), tmp_path, Processes("cpu"), print)
    assert not list(tmp_path.iterdir())


def test_two_encoders_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="read by one encoder, but two are named: 'X' and the letters"):
        train(TOLD, tmp_path / "run", TrainConfig(text_encoder="X"), encoder=Letters())
    assert not (tmp_path / "run").exists()


# --- the command line ------------------------------------------------------------------------------------------------

TINY = shlex.split(
    "--steps 2 --batch-size 4 --channels 8 8 --blocks 1 --precision float32 --sample-every 9 --holdout 0 --no-progress"
    " --device cpu"
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    lines = []
    for i, (colour, captions) in enumerate(zip(("red", "blue") * 4, CAPTIONS * 2, strict=False)):
        Image.new("RGB", (8, 8), colour).save(folder / f"{i}.png")
        lines.append(json.dumps({"file_name": f"{i}.png", **({"text": captions} if captions else {})}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


def _drawn(run: Path, out: Path, *words: str) -> int:
    return main(["sample", str(run), "--n", "2", "--steps", "1", "--out", str(out), "--no-progress", "--device", "cpu", *words])


def test_captions_in_a_file_are_trained_on_and_asked_for_through_the_command_line(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    small = ["--text-width", "16", "--text-layers", "1", "--tokens", "words"]
    assert main(["train", "--data", str(pictures), "--out", str(run), *small, "--no-evaluate", *TINY]) == 0
    assert _drawn(run, tmp_path / "new", "--prompt", "a red circle", "--negative", "a square", "--guidance", "2") == 0
    assert Image.open(next((tmp_path / "new").glob("*0.png"))).info["prompt"] == "a red circle"
    capsys.readouterr()
    assert _drawn(run, tmp_path / "none", "--prompt", "a red circle", "--encoder", str(tmp_path)) == 2
    assert "without a frozen text encoder" in capsys.readouterr().err


def test_an_encoder_in_a_folder_is_trained_with_and_asked_through_the_command_line(
    pictures: Path, t5: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, encoder = tmp_path / "run", tmp_path / "encoder"
    shutil.copytree(t5, encoder)
    said = ["--data", str(pictures), "--out", str(run), "--text-encoder", str(encoder), "--no-evaluate"]
    assert main(["train", *said, *TINY]) == 0
    told = capsys.readouterr()
    assert "features, 8 vectors of 16" in told.out and "3 different captions are encoded once" in told.out
    prompt = ["--prompt", "a blue circle", "--negative", "a square", "--guidance", "2"]
    assert _drawn(run, tmp_path / "new", *prompt) == 0
    encoder.rename(tmp_path / "moved")
    capsys.readouterr()
    assert _drawn(run, tmp_path / "none", *prompt) == 2
    said = capsys.readouterr().err
    assert "--encoder FOLDER" in said and said.count("\n") == 1 and not (tmp_path / "none").exists()
    assert _drawn(run, tmp_path / "again", *prompt, "--encoder", str(tmp_path / "moved")) == 0
    first, second = (Image.open(tmp_path / name / "grid.png").tobytes() for name in ("new", "again"))
    assert first == second
    edit = ["edit", str(run), str(pictures / "0.png"), "--steps", "1", "--out", str(tmp_path / "edited"), "--no-progress"]
    assert main([*edit, "--prompt", "a blue circle", "--encoder", str(tmp_path / "moved")]) == 0
    shutil.rmtree(run / FEATURES)
    assert main(["train", "--resume", str(run), "--no-progress", "--text-encoder", str(tmp_path / "moved")]) == 0
    assert (run / FEATURES).exists() and (run / "evaluation" / "report.json").exists()
