"""A model on disk is the model that was saved, or an error of one line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import noisepath
from noisepath import schedules
from noisepath.asking import Vocabulary
from noisepath.asking.entries import Classes
from noisepath.conditions import Condition
from noisepath.files import write_folder
from noisepath.levels import Level
from noisepath.nn import UNet, UNetConfig
from noisepath.training.checkpoint import (
    ModelInfo,
    State,
    newest,
    read_state,
    save_checkpoint,
    save_snapshot,
    steps_of,
)

CONFIG = UNetConfig(channels=(4, 6), blocks=1, attention=(1,), head_channels=2, groups=2, embedding=8, classes=2)


def _network() -> UNet:
    torch.manual_seed(0)
    network = UNet(CONFIG)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network.eval()


def _info(**changes: Any) -> ModelInfo:
    known: dict[str, Any] = {
        "network": CONFIG.to_dict(), "schedule": schedules.to_dict(schedules.schedule("edm", sigma_max=40.0)),
        "prediction": "edm", "sigma_data": 0.7, "shape": (1, 4, 4), "class_names": ("ant", "bee"), "steps": 12,
    }  # fmt: skip
    return ModelInfo(**{**known, **changes})


def _averages() -> dict[str, dict[str, torch.Tensor]]:
    weights = _network().state_dict()
    return {"model": weights, "model-long": {name: 0.5 * value for name, value in weights.items()}}


def _model(root: Path, **changes: Any) -> Path:
    return save_snapshot(root, 12, _averages(), _info(**changes), "a run")


def _checkpoint(root: Path, step: int, identity: str = "a run") -> Path:
    state = State(
        {"w": torch.full((2,), float(step))}, {"0.step": torch.tensor(1.0)}, {"done": step, "times": {"x": [[0.1], []]}}
    )
    return save_checkpoint(root, step, _averages(), _info(steps=step), state, identity)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A model folder."""
    return _model(tmp_path / "run")


def test_a_loaded_model_is_the_saved_one(run: Path) -> None:
    denoiser, network = noisepath.load(run), _network()
    direct = noisepath.Denoiser(network, schedules.schedule("edm", sigma_max=40.0), "edm", sigma_data=0.7)
    x, told = torch.randn(3, 1, 4, 4), noisepath.Condition(label=torch.tensor([0, 1, 2]))
    level = Level(1.0, 0.6)
    with torch.no_grad():
        # the weights are the same to the bit; a convolution may sum in another order where memory lies otherwise
        assert torch.allclose(denoiser(x, level, told), direct(x, level, told), atol=1e-5)
    loaded = denoiser.network.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(loaded[name], value) for name, value in network.state_dict().items())
    assert denoiser.schedule == direct.schedule and denoiser.prediction == "edm" and denoiser.sigma_data == 0.7
    assert denoiser.info["classes"] == 2 and denoiser.info["class_names"] == ("ant", "bee")
    assert denoiser.info["shape"] == (1, 4, 4) and denoiser.info["data_range"] == (-1.0, 1.0)
    assert denoiser.null is not None and denoiser.null["label"].tolist() == [2]
    assert isinstance(denoiser.network, UNet) and not denoiser.network.training
    assert not any(p.requires_grad for p in denoiser.network.parameters())


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_every_schedule_comes_back(tmp_path: Path, name: str) -> None:
    schedule = schedules.schedule(name)
    loaded = noisepath.load(_model(tmp_path, schedule=schedules.to_dict(schedule), class_names=(), prediction="v"))
    assert loaded.schedule == schedule and loaded.null is None


def test_the_longer_average_is_a_model_too(run: Path) -> None:
    long = noisepath.load(run, average="model-long").network.state_dict()  # type: ignore[attr-defined]
    assert all(torch.equal(value, 0.5 * _network().state_dict()[name]) for name, value in long.items())
    with pytest.raises(ValueError, match="unknown average 'long'; did you mean 'model-long'"):
        noisepath.load(run, average="long")


def test_a_state_comes_back_with_its_values_to_the_bit(tmp_path: Path) -> None:
    shared = torch.randn(4, 3)
    tensors = {"a": shared, "b": shared, "c": shared.T, "n": torch.tensor(3)}
    values = {"done": 3, "loss": 0.1 + 0.2, "times": {"squares": [[0.1, 0.2], []]}}
    folder = save_checkpoint(tmp_path, 3, _averages(), _info(), State(tensors, tensors, values), "a run")
    averages, found = read_state(folder)
    assert all(
        torch.equal(found.network[name], value) and torch.equal(found.optimizer[name], value) for name, value in tensors.items()
    )
    assert found.values == values
    assert all(torch.equal(averages[n][k], v) for n, weights in _averages().items() for k, v in weights.items())


def test_the_newest_two_are_kept_and_only_this_run_s_are_removed(tmp_path: Path) -> None:
    _checkpoint(tmp_path, 999, "another run")
    (tmp_path / "checkpoints" / "step-000001").mkdir()  # of nobody knows whom
    for step in (5, 10, 15, 20):
        _checkpoint(tmp_path, step)
    assert steps_of(tmp_path / "checkpoints") == [1, 15, 20, 999]
    assert newest(tmp_path, "a run").step == 20
    assert newest(tmp_path).step == 999


def test_the_newest_whole_one_is_used_and_the_damaged_are_named(tmp_path: Path) -> None:
    for step in (5, 10):
        _checkpoint(tmp_path, step)
    weights = tmp_path / "checkpoints" / "step-000010" / "network.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    found = newest(tmp_path, "a run")
    assert found.step == 5 and len(found.passed_over) == 1 and str(weights) in found.passed_over[0]
    assert noisepath.load(tmp_path).info["steps"] == 5
    shutil.rmtree(tmp_path / "checkpoints" / "step-000005")
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be used: .*network\.safetensors"):
        noisepath.load(tmp_path)
    again = _checkpoint(tmp_path, 10)  # the damaged one is replaced
    assert newest(tmp_path, "a run").folder == again


def test_a_snapshot_that_is_there_stays_and_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    folder = _model(tmp_path)
    before = (folder / "config.json").stat().st_mtime_ns
    _model(tmp_path)
    assert (folder / "config.json").stat().st_mtime_ns == before
    (folder / "config.json").write_text("{}")
    _model(tmp_path)
    assert noisepath.load(folder).info["steps"] == 12


def test_after_a_failed_save_everything_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _checkpoint(tmp_path, 5)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    for call in ("os.fsync", "os.replace", "pathlib.Path.write_bytes", "pathlib.Path.write_text"):
        with monkeypatch.context() as broken:
            broken.setattr(call, fail)
            with pytest.raises(OSError, match="disk full"):
                _checkpoint(tmp_path, 10)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_header_of_absurd_length_is_refused_before_it_is_read(run: Path) -> None:
    (run / "model.safetensors").write_bytes((11 * 2**20).to_bytes(8, "little") + b"{" * 100)
    with pytest.raises(ValueError, match="hostile: its header would have"):
        noisepath.load(_sealed(run))


def _sealed(folder: Path) -> Path:
    """The folder as if it had been written as it is now."""
    with write_folder(folder.with_name("sealed")) as part:
        for path in folder.iterdir():
            if path.name != "manifest.json":
                shutil.copy(path, part)
    return folder.with_name("sealed")


def _change(path: Path, **changes: Any) -> None:
    told = json.loads(path.read_text())
    told.update(changes)
    path.write_text(json.dumps({name: value for name, value in told.items() if value is not ...}))


def _drop_a_weight(run: Path) -> None:
    weights = load_file(run / "model.safetensors")
    weights.pop("enter.conv.bias")
    save_file(weights, run / "model.safetensors")


def _reshape_a_weight(run: Path) -> None:
    weights = load_file(run / "model.safetensors")
    weights["enter.conv.bias"] = torch.zeros(5)
    save_file(weights, run / "model.safetensors")


BROKEN: dict[str, tuple[Any, type[Exception], str]] = {
    "no config": (lambda run: (run / "config.json").unlink(), FileNotFoundError, "holds no model: there are neither"),
    "no weights": (lambda run: (run / "model.safetensors").unlink(), FileNotFoundError, "there is no .*model.safetensors"),
    "config is no JSON": (lambda run: (run / "config.json").write_text("{"), ValueError, "is not JSON"),
    "config is a list": (lambda run: (run / "config.json").write_text("[1]"), ValueError, "does not describe a noise"),
    "another format": (lambda run: _change(run / "config.json", format="x"), ValueError, "does not describe a noise"),
    "setting too many": (lambda run: _change(run / "config.json", colour=1), ValueError, "one too many.*colour"),
    "setting missing": (lambda run: _drop(run, "prediction"), ValueError, "lacks a setting.*prediction"),
    "another network": (
        lambda run: _change(run / "config.json", network={**CONFIG.to_dict(), "blocks": 2}), ValueError, "weights missing",
    ),
    "unknown schedule": (
        lambda run: _change(run / "config.json", schedule={"kind": "EMD"}), ValueError, "unknown stored schedule",
    ),
    "weights cut short": (lambda run: os.truncate(run / "model.safetensors", 2000), ValueError, "damaged"),
    "no safetensors": (lambda run: (run / "model.safetensors").write_bytes(b"hello"), ValueError, "damaged"),
    "weight missing": (_drop_a_weight, ValueError, r"1 weights missing, 0 unknown \(enter.conv.bias"),
    "weight of another shape": (_reshape_a_weight, ValueError, r"enter.conv.bias has shape \(5,\), not \(4,\)"),
}  # fmt: skip


def _drop(run: Path, name: str) -> None:
    told = json.loads((run / "config.json").read_text())
    told.pop(name)
    (run / "config.json").write_text(json.dumps(told))


@pytest.mark.parametrize("damage", BROKEN)
def test_what_is_no_model_is_an_error_of_one_line(run: Path, damage: str) -> None:
    breaking, kind, message = BROKEN[damage]
    breaking(run)
    with pytest.raises(kind, match=message) as caught:
        noisepath.load(_sealed(run))
    assert "\n" not in str(caught.value)
    if (run / "config.json").exists():
        with pytest.raises(ValueError, match="damaged|missing|bytes"):  # and without a new seal it is seen at once
            noisepath.load(run)


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no run folder .*nowhere"):
        noisepath.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileNotFoundError, match="it is a file"):
        noisepath.load(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        newest(tmp_path)


# --- a condition that was always given ---------------------------------------------------------------------------------


def test_a_model_that_always_had_its_class_is_neither_guided_nor_asked_without(tmp_path: Path) -> None:
    model = noisepath.load(_model(tmp_path / "always", class_names=("a", "b"), training={"drop_condition": 0.0}))
    shape = (2, *model.info["shape"])
    assert model.null is None and model.vocabulary.null() is None
    with pytest.raises(ValueError, match=r"without condition dropout \(drop_condition 0\).*negative="):
        noisepath.classifier_free(model, 3.0)
    for condition in (None, Condition(label=torch.tensor([1, 2]))):  # of two classes, 2 is none
        with pytest.raises(ValueError, match=r"trained with label always given.*Condition\(label=\.\.\.\)"):
            noisepath.sample(model, shape, steps=2, condition=condition)
    with pytest.raises(ValueError, match="trained with label always given"):
        model.vocabulary.condition(2)
    asked = model.vocabulary.condition(2, label=["a", "b"])
    assert noisepath.sample(model, shape, steps=2, condition=asked).isfinite().all()
    towards = noisepath.classifier_free(model, 2.0, negative=Condition(label=torch.tensor([0])))
    assert noisepath.sample(towards, shape, steps=2, condition=asked).isfinite().all()
    dropped = noisepath.load(_model(tmp_path / "dropped", class_names=("a", "b"), training={"drop_condition": 0.1}))
    assert dropped.null is not None and noisepath.sample(dropped, shape, steps=2).isfinite().all()


def test_of_several_conditions_each_may_be_left_out_where_each_was_hidden_by_itself() -> None:
    entries = [Classes("label", ("a", "b")), Classes("kind", ("x", "y"))]
    some, every = (Vocabulary(entries).trained_with(0.0, each) for each in (0.1, 0.0))
    assert Vocabulary(entries).trained_with(0.1, 0.0).condition(1) is not None
    assert some.null() is None and some.condition(1, label="a") is not None
    for vocabulary, asked in ((some, {}), (every, {"label": "a"}), (every, {"label": ["a", None], "kind": "x"})):
        with pytest.raises(ValueError, match="always given"):
            vocabulary.condition(2, **asked)
    network = UNet(UNetConfig(channels=(8,), blocks=1, attention=(), conditions=some.parts, classes=2))
    x, t, label = torch.zeros(2, 1, 8, 8), torch.zeros(2), torch.tensor([0, 1])
    network.needs = "something"
    assert network(x, t, label=label).shape == x.shape and network(x, t, kind=label).shape == x.shape
    with pytest.raises(ValueError, match="label, kind always given"):
        network(x, t)
    network.needs = "everything"
    with pytest.raises(ValueError, match="with kind always given"):
        network(x, t, label=label)


def test_loading_a_model_leaves_torchs_own_generator_alone(run: Path) -> None:
    before = torch.get_rng_state()
    noisepath.load(run)
    assert torch.equal(torch.get_rng_state(), before)
