"""Named feature spaces, and the classifier that gives one of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import Margin
from noisepath.data import Dataset
from noisepath.evaluation.classifier import (
    Classifier,
    Recipe,
    _shifted,
    load_classifier,
    save_classifier,
    train_classifier,
)
from noisepath.evaluation.features import classifier_space, folder_space, network_space, pixel_space
from noisepath.evaluation.pictures import as_saved, chosen, content_hash, read, shrunk


def bars(count: int, seed: int, shape: tuple[int, int, int] = (1, 9, 11)) -> Dataset:
    """Two classes in much noise: a bright row, or a bright column, anywhere."""
    random = torch.Generator().manual_seed(seed)
    c, h, w = shape
    pictures = 0.3 * torch.randn(count, c, h, w, generator=random) - 0.5
    labels = torch.arange(count) % 2
    for i, label in enumerate(labels.tolist()):
        if label:
            pictures[i, :, :, int(torch.randint(w, (1,), generator=random))] += 1.0
        else:
            pictures[i, :, int(torch.randint(h, (1,), generator=random)), :] += 1.0
    return Dataset(pictures.clamp(-1, 1), labels, ("row", "column"))


@pytest.fixture(scope="module")
def classifier(trained_seed: int) -> Classifier:
    recipe = Recipe(epochs=8, batch_size=32, seed=trained_seed)
    return train_classifier(bars(240, 0), bars(200, 1), recipe, progress=False, made_from="bars")


class Broken(Dataset):
    """Pictures of which number 5 and number 6 can't be read."""

    def batch(self, indices: object) -> tuple[Tensor, Tensor | None]:
        wanted = list(indices)  # type: ignore[call-overload]
        if {5, 6} & set(wanted):
            raise ValueError("can't read the picture '5.png': broken file")
        return super().batch(wanted)


# --- pictures --------------------------------------------------------------------------------------------------------


def test_pictures_are_judged_as_8_bits_hold_them() -> None:
    all_values = torch.arange(256).float() / 127.5 - 1
    assert torch.equal(as_saved(all_values), all_values)
    assert torch.equal(as_saved(all_values + 0.003), all_values.clamp(max=1))
    assert as_saved(torch.tensor([-3.0, 7.0])).tolist() == [-1, 1]


def test_pictures_that_cannot_be_read_are_left_out_and_the_others_keep_their_place() -> None:
    data = Broken(torch.linspace(-1, 1, 20).view(20, 1, 1, 1), torch.arange(20) % 2, ("a", "b"))
    pictures, labels, which = read(data, range(20), size=8)
    assert which == [i for i in range(20) if i not in (5, 6)]
    assert labels is not None and labels.tolist() == [i % 2 for i in which]
    assert torch.allclose(pictures.flatten(), torch.linspace(-1, 1, 20)[which], atol=1 / 255)
    with pytest.raises(ValueError, match=r"5\.png"):
        read(data, [5, 6])


def test_a_choice_of_pictures_is_a_function_of_its_arguments() -> None:
    assert chosen(4, 10, 0, "x") == [0, 1, 2, 3]
    some = chosen(1000, 10, 0, "x")
    assert len(set(some)) == 10 and some == sorted(some) == chosen(1000, 10, 0, "x")
    assert some != chosen(1000, 10, 1, "x") and some != chosen(1000, 10, 0, "y")


def test_the_hash_of_pictures_is_that_of_what_they_show() -> None:
    pictures = as_saved(torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert content_hash(pictures) == content_hash(pictures + 1e-4) != content_hash(pictures.flip(0))
    assert content_hash(pictures) != content_hash(pictures.reshape(3, 1, 2, 8))


def test_large_pictures_are_averaged_to_less_than_64_pixels() -> None:
    for side, expected in ((8, 8), (28, 28), (63, 63), (64, 32), (100, 34), (256, 32)):
        assert shrunk(torch.zeros(1, 3, side, side // 2)).shape[2] == expected
    x = torch.arange(64 * 64).float().view(1, 1, 64, 64)
    assert float(shrunk(x)[0, 0, 0, 0]) == (0 + 1 + 64 + 65) / 4


# --- spaces ----------------------------------------------------------------------------------------------------------


def test_pixel_features_keep_distances_and_fewer_components_than_pictures() -> None:
    """With as many components as the pictures span, nothing is lost."""
    reference = as_saved(torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    space = pixel_space(reference)
    found = space(reference)
    assert found.shape == (6, 5) and found.dtype == np.float64
    flat = reference.flatten(1).double()
    assert np.allclose(torch.cdist(torch.from_numpy(found), torch.from_numpy(found)), torch.cdist(flat, flat))
    assert pixel_space(reference, dimensions=2)(reference).shape == (6, 2)
    assert (space.name, space.resize) == ("pixels", "none")


def test_the_identity_of_a_space_changes_with_its_numbers_and_with_nothing_else() -> None:
    reference = as_saved(torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    assert pixel_space(reference).identity == pixel_space(reference.clone()).identity
    assert pixel_space(reference).identity != pixel_space(reference.flip(0)).identity != pixel_space(reference, 2).identity
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    before = network_space(network, "mine").identity
    assert before == network_space(network, "yours").identity
    with torch.no_grad():
        network[1].bias[0] += 1  # type: ignore[index, operator]
    assert network_space(network, "mine").identity != before


def test_any_function_with_a_name_and_an_identity_is_a_space() -> None:
    space = network_space(lambda x: x.flatten(1).numpy()[:, :3], "corner", identity="first three", resize="none")
    found = space(torch.arange(32.0).view(4, 1, 2, 4), batch_size=3)
    assert found.tolist() == [[8 * i, 8 * i + 1, 8 * i + 2] for i in range(4)]
    with pytest.raises(ValueError, match="'corner' need an identity"):
        network_space(lambda x: x, "corner")
    with pytest.raises(ValueError, match=r"must be \(N, D\)"):
        network_space(lambda x: x, "raw", identity="none")(torch.zeros(2, 1, 2, 2))
    with pytest.raises(ValueError, match="NaN"):
        network_space(lambda x: x.flatten(1) / 0, "raw", identity="none")(torch.zeros(2, 1, 2, 2))


# --- the classifier --------------------------------------------------------------------------------------------------


@pytest.mark.trained
def test_the_classifier_reads_what_it_has_not_seen_and_counts_it(classifier: Classifier, margin: Margin) -> None:
    unseen = bars(200, 1)
    pictures, labels = unseen.batch(range(200))
    right = int((classifier.read(as_saved(pictures)) == labels).sum())
    assert (classifier.right, classifier.of, classifier.trained_on) == (right, 200, 240)
    assert classifier.accuracy is not None
    margin("read right", classifier.accuracy, at_least=0.85)
    assert classifier.read(pictures, batch_size=7).tolist() == classifier.read(pictures).tolist()


def test_the_classifier_is_a_function_of_its_pictures_and_recipe() -> None:
    data, recipe = bars(40, 0), Recipe(epochs=2, batch_size=16)
    torch.manual_seed(1)
    first = train_classifier(data, recipe=recipe, progress=False)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = train_classifier(data, recipe=recipe, progress=False)
    assert first.identity == second.identity
    assert torch.equal(state, torch.get_rng_state())  # nobody else's random numbers are moved
    assert train_classifier(data, recipe=Recipe(epochs=2, batch_size=16, seed=1), progress=False).identity != first.identity
    assert first.accuracy is None and first.of == 0


def test_the_recipe_shows_few_pictures_more_often() -> None:
    assert [Recipe().length(n) for n in (10, 1000, 6000, 16_000, 200_000)] == [40, 40, 10, 10, 1]
    assert Recipe(epochs=3).length(10) == 3


def test_shifted_pictures_are_moved_by_at_most_an_eighth_and_mirrored_only_if_asked() -> None:
    x = torch.arange(16.0).view(1, 1, 1, 16).expand(400, 2, 16, 16).contiguous()
    moved = _shifted(x, key=3, flip=False)
    offsets = moved[:, 0, 8, 8] - 8
    assert set(offsets.tolist()) == {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert torch.equal(moved[:, 1], moved[:, 0]) and bool((moved.diff(dim=3) >= 0).all())
    mirrored = _shifted(x, key=3, flip=True)[:, 0, 8, 0] > 8
    assert mirrored.float().mean() == pytest.approx(0.5, abs=0.1)
    assert torch.equal(_shifted(x, 3, False), moved) and not torch.equal(_shifted(x, 4, False), moved)


def test_a_classifier_comes_back_from_its_folder_as_it_was(classifier: Classifier, tmp_path: Path) -> None:
    back = load_classifier(save_classifier(classifier, tmp_path / "c"))
    pictures = bars(20, 5).pictures
    assert back.identity == classifier.identity
    assert torch.equal(back.features(pictures), classifier.features(pictures))
    for name in ("class_names", "shape", "trained_on", "right", "of", "made_from", "accuracy"):
        assert getattr(back, name) == getattr(classifier, name)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["classifier.json", "classifier.safetensors"]


def test_the_classifiers_features_are_its_layer_before_last(classifier: Classifier) -> None:
    space = classifier_space(classifier)
    pictures = bars(20, 5).pictures
    found = space(pictures)
    assert found.shape == (20, 128) and (space.name, space.identity) == ("classifier", classifier.identity)
    last = classifier.network.read
    assert isinstance(last, nn.Linear)
    logits = torch.from_numpy(found) @ last.weight.double().T + last.bias.double()
    assert torch.equal(logits.argmax(1), classifier.read(pictures))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 40), (4, 33, 17), (2, 130, 9)])
def test_pictures_of_every_shape_from_8_pixels_on_can_be_classified(shape: tuple[int, int, int]) -> None:
    data = bars(6, 0, shape)
    made = train_classifier(data, data, Recipe(epochs=1, batch_size=4), progress=False)
    assert made.of == 6 and made.shape == shape


def test_pictures_that_no_classifier_can_be_trained_on_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two classes, but these have 0"):
        train_classifier(Dataset(torch.zeros(4, 1, 8, 8)))
    with pytest.raises(ValueError, match="at least two classes, but these have 1"):
        train_classifier(Dataset(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64), ("only",)))
    with pytest.raises(ValueError, match="at least 8 pixels"):
        train_classifier(Dataset(torch.zeros(4, 1, 7, 9), torch.arange(4) % 2, ("a", "b")))


def test_pictures_that_cannot_be_read_do_not_stop_the_training() -> None:
    good = bars(20, 0)
    data = Broken(good.pictures, good.labels, good.class_names)
    made = train_classifier(data, data, Recipe(epochs=1, batch_size=8), progress=False)
    assert made.of == 18


def test_pictures_of_another_shape_are_not_read(classifier: Classifier) -> None:
    with pytest.raises(ValueError, match=r"pictures must be \(N, 1, 9, 11\), but are \(2, 1, 8, 8\)"):
        classifier.read(torch.zeros(2, 1, 8, 8))


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_with_a_classifier_is_a_space_for_pictures_of_its_shape(classifier: Classifier, tmp_path: Path) -> None:
    save_classifier(classifier, tmp_path)
    space, found = folder_space(tmp_path, (1, 9, 11))
    assert found is not None and space.identity == classifier.identity
    with pytest.raises(ValueError, match=r"reads pictures of shape \(1, 9, 11\), but these are \(3, 9, 11\)"):
        folder_space(tmp_path, (3, 9, 11))


def test_folders_without_features_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder 'classifeir' .*auto, pixels"):
        folder_space("classifeir", (1, 8, 8))
    with pytest.raises(FileNotFoundError, match="holds no features: neither a classifier"):
        folder_space(tmp_path, (1, 8, 8))


DAMAGES = {
    "weights cut short": (lambda p: _cut(p / "classifier.safetensors"), "damaged"),
    "weights changed": (lambda p: _flip(p / "classifier.safetensors"), "damaged"),
    "no weights": (lambda p: (p / "classifier.safetensors").unlink(), "there is no"),
    "not JSON": (lambda p: (p / "classifier.json").write_text("{"), "is not JSON"),
    "something else": (lambda p: (p / "classifier.json").write_text("[]"), "does not describe"),
    "other classes": (lambda p: _say(p, class_names=["a", "b", "c"]), "does not fit"),
    "no such shape": (lambda p: _say(p, shape=[1, -9, 11]), "does not describe"),
    "names that are none": (lambda p: _say(p, class_names=[1, 2]), "does not describe"),
    "no count": (lambda p: _say(p, right="many"), "does not describe"),
}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def _flip(path: Path) -> None:
    held = bytearray(path.read_bytes())
    held[-1] ^= 1
    path.write_bytes(held)


def _say(folder: Path, **values: object) -> None:
    path = folder / "classifier.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_classifier_is_never_used(damage: str, classifier: Classifier, tmp_path: Path) -> None:
    save_classifier(classifier, tmp_path)
    harm, message = DAMAGES[damage]
    harm(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_classifier(tmp_path)


# --- Hugging Face models, by a stand-in for their library ------------------------------------------------------------


class _Tokens(nn.Module):
    """One hidden token for each colour: the mean of the picture's left and right half in it."""

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        halves = pixel_values.unflatten(3, (2, -1)).mean((2, 4))
        return SimpleNamespace(last_hidden_state=halves)


def _stand_in(monkeypatch: pytest.MonkeyPatch, missing: list[str]) -> dict[str, object]:
    asked: dict[str, object] = {}

    class AutoModel:
        @staticmethod
        def from_pretrained(folder: str, **options: object) -> tuple[nn.Module, dict[str, list[str]]]:
            asked.update(options, folder=folder)
            return _Tokens(), {"missing_keys": missing}

    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(AutoModel=AutoModel))
    return asked


def _model(folder: Path, **config: object) -> Path:
    path = folder / "vit-tiny"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "vit", "image_size": 16, **config}))
    (path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.0, 0.0], "image_std": [0.5, 1.0, 1.0]}))
    return path


def test_a_local_vision_model_gives_the_mean_of_its_hidden_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _stand_in(monkeypatch, ["pooler.dense.weight"])
    space, reader = folder_space(_model(tmp_path), (1, 8, 8))
    assert reader is None and (space.name, space.resize) == ("vit-tiny", "bicubic to 16 x 16")
    assert asked["local_files_only"] is True and asked["use_safetensors"] is True and asked["trust_remote_code"] is False
    grey = torch.full((2, 1, 8, 8), 0.6)  # 0.8 in [0, 1]
    red, green, blue = (0.8 - 0.5) / 0.5, 0.8, 0.8
    assert np.allclose(space(grey), (red + green + blue) / 3, atol=1e-6)
    assert space(grey).shape == (2, 2)


def test_a_model_without_its_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(monkeypatch, ["encoder.layer.0.weight"])
    with pytest.raises(ValueError, match=r"not whole: 1 missing \(encoder.layer.0.weight"):
        folder_space(_model(tmp_path), (1, 8, 8))


@pytest.mark.parametrize(
    "config",
    [
        {"auto_map": {"AutoModel": "some.where--code.Model"}},
        {"vision_config": {"auto_map": {}}},
        {"_attn_implementation_internal": "some/where"},
        {"text_config": {"_attn_implementation": "some/where"}},
    ],
)
def test_a_model_that_names_code_is_refused(
    config: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(monkeypatch, [])
    with pytest.raises(ValueError, match="names code to run"):
        folder_space(_model(tmp_path, **config), (1, 8, 8))


def test_a_model_folder_that_says_nonsense_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(monkeypatch, [])
    path = _model(tmp_path)
    (path / "preprocessor_config.json").write_text(json.dumps({"image_std": [0.5, 0.0, 1.0]}))
    with pytest.raises(ValueError, match="image_std must be above 0"):
        folder_space(path, (1, 8, 8))
    (path / "preprocessor_config.json").write_text(json.dumps({"image_mean": "grey"}))
    with pytest.raises(ValueError, match="image_mean must be three numbers, but is 'grey'"):
        folder_space(path, (1, 8, 8))
    (path / "preprocessor_config.json").unlink()
    (path / "config.json").write_text(json.dumps({"image_size": 0}))
    with pytest.raises(ValueError, match="says how large pictures must be"):
        folder_space(path, (1, 8, 8))
    (path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        folder_space(path, (1, 8, 8))


def test_without_their_library_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'noisepath\[transformers\]'"):
        folder_space(_model(tmp_path), (1, 8, 8))
