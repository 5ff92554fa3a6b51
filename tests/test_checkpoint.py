"""A model on disk is the model that was saved, or an error of one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import noisepath
from noisepath import schedules
from noisepath.levels import Level
from noisepath.nn import UNet, UNetConfig
from noisepath.training.checkpoint import ModelInfo, read_state, save_model, save_state

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


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save_model(tmp_path / "run", _network().state_dict(), _info())
    return tmp_path / "run"


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
    save_model(tmp_path, _network().state_dict(), _info(schedule=schedules.to_dict(schedule), class_names=(), prediction="v"))
    loaded = noisepath.load(tmp_path)
    assert loaded.schedule == schedule and loaded.null is None


def test_a_state_comes_back_with_its_values_to_the_bit(tmp_path: Path) -> None:
    shared = torch.randn(4, 3)
    tensors = {"a": shared, "b": shared, "c": shared.T, "n": torch.tensor(3)}
    save_state(tmp_path, tensors, {"done": 3, "times": {"squares": [[0.1, 0.2], []]}})
    found, values = read_state(tmp_path)
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
    assert values == {"done": 3, "times": {"squares": [[0.1, 0.2], []]}}


def test_files_are_written_whole_and_leave_nothing_beside_them(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert set(before) == {"model.safetensors", "config.json"}

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(run, UNet(CONFIG).state_dict(), _info(steps=13))
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def _change(path: Path, **changes: Any) -> None:
    told = json.loads(path.read_text())
    told.update(changes)
    path.write_text(json.dumps({name: value for name, value in told.items() if value is not ...}))


def _drop_a_weight(run: Path) -> None:
    weights = load_file(run / "model.safetensors")
    weights.pop("enter.bias")
    save_file(weights, run / "model.safetensors")


def _reshape_a_weight(run: Path) -> None:
    weights = load_file(run / "model.safetensors")
    weights["enter.bias"] = torch.zeros(5)
    save_file(weights, run / "model.safetensors")


BROKEN: dict[str, tuple[Any, type[Exception], str]] = {
    "no config": (lambda run: (run / "config.json").unlink(), FileNotFoundError, "holds no model: there is no config.json"),
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
    "weight missing": (_drop_a_weight, ValueError, r"1 weights missing, 0 unknown \(enter.bias"),
    "weight of another shape": (_reshape_a_weight, ValueError, r"enter.bias has shape \(5,\), not \(4,\)"),
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
        noisepath.load(run)
    assert "\n" not in str(caught.value)


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no run folder .*nowhere"):
        noisepath.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(FileNotFoundError, match="it is a file"):
        noisepath.load(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="there is no .*state.safetensors"):
        read_state(tmp_path)
    save_file({"a": torch.zeros(1)}, tmp_path / "state.safetensors")
    with pytest.raises(ValueError, match="is not the state of a noisepath run"):
        read_state(tmp_path)
