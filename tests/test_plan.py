"""What a run chooses by itself: the stated rules, and numbers that are true of the network that is built."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from noisepath.data import digits
from noisepath.nn import DiTConfig, Part, UNet, UNetConfig
from noisepath.times import TIMES
from noisepath.training import TrainConfig, run
from noisepath.training import plan as planning
from noisepath.training.plan import bytes_needed, bytes_per_picture, check_times, choose, enough_memory, parts, shown_in_all
from noisepath.training.processes import Processes
from noisepath.training.run import build

SMALL = UNetConfig(channels=(8, 16), blocks=1, attention=(1,), head_channels=4, groups=4, embedding=16)


@pytest.mark.parametrize(
    ("shape", "device", "size", "fold"),
    [
        ((1, 8, 8), "cpu", "tiny", 1),
        ((1, 28, 28), "cpu", "small", 2),
        ((3, 64, 64), "cpu", "small", 4),
        ((3, 16, 16), "cuda", "small", 1),
        ((3, 64, 64), "cuda:1", "base", 1),
        ((3, 128, 100), "mps", "base", 2),
    ],
)
def test_size_and_fold_follow_the_pictures_and_the_machine(shape: tuple[int, ...], device: str, size: str, fold: int) -> None:
    config, network, choices = choose(TrainConfig(), shape, 10, device)
    assert (config.size, config.fold) == (size, fold)
    assert network.fold == fold and network.in_channels == shape[0] and network.classes == 10
    told = {"size", "fold", "times", "learning_rate"} | ({"linear"} if max(shape) > 12 else set())
    assert {choice.name for choice in choices} == told
    assert all(choice.reason for choice in choices)


@pytest.mark.parametrize(
    ("shape", "device", "size", "patch"),
    [
        ((1, 8, 8), "cpu", "tiny", 1),
        ((1, 28, 28), "cpu", "compact", 2),
        ((3, 33, 20), "cpu", "compact", 4),
        ((3, 16, 16), "cuda", "S", 1),
        ((3, 128, 100), "cuda", "B", 8),
    ],
)
def test_a_transformer_s_size_and_patch_follow_them_too(shape: tuple[int, ...], device: str, size: str, patch: int) -> None:
    config, network, choices = choose(TrainConfig(network="dit"), shape, 10, device)
    assert isinstance(network, DiTConfig)
    assert (config.size, config.patch, config.fold) == (size, patch, None)
    assert network == DiTConfig.named(
        size, patch=patch, in_channels=shape[0], out_channels=shape[0], classes=10, time_scale=1000.0,
        spectrum=shape[1:] if max(shape) > 12 else None,
    )  # fmt: skip
    assert config.learning_rate == (1e-4 if device == "cuda" else 1e-3)
    assert {"size", "patch"} <= {choice.name for choice in choices} and "fold" not in {choice.name for choice in choices}
    assert TrainConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"network": "vit"}, "unknown network 'vit'; did you mean 'dit'"),
        ({"network": "dit", "fold": 2}, "network 'dit' has no fold, but it is to be 2: leave it out"),
        ({"network": "dit", "channels": (8,)}, "network 'dit' has no channels"),
        ({"patch": 2}, "network 'unet' has no patch"),
        ({"network": "dit", "patch": 0}, "patch must be a whole number >= 1, but is 0"),
    ],
)
def test_what_a_network_does_not_have_is_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**said)


def test_a_short_run_on_a_cpu_gets_the_network_that_learns_soonest() -> None:
    sizes = {
        minutes: choose(TrainConfig(minutes=minutes), (1, 28, 28), 0, "cpu")[0].size for minutes in (1.0, 30.0, 31.0, None)
    }
    assert sizes == {1.0: "compact", 30.0: "compact", 31.0: "small", None: "small"}
    assert choose(TrainConfig(steps=100), (1, 28, 28), 0, "cpu")[0].size == "compact"
    assert choose(TrainConfig(minutes=1.0), (1, 8, 8), 0, "cpu")[0].size == "tiny"


def test_what_is_said_is_kept_and_not_explained() -> None:
    said = TrainConfig(
        size="tiny", fold=3, linear=True, learning_rate=0.5, times="log_normal", times_options={"mean": -0.7},
        preconditioning="none", weighting="plain",
    )  # fmt: skip
    config, network, choices = choose(said, (3, 64, 64), 0, "cpu")
    assert config == said and network.fold == 3 and choices == []


@pytest.mark.parametrize(("side", "mean"), [(4, -1.2), (8, -1.2), (16, -1.2 + 0.69), (28, 0.0), (256, 0.0)])
def test_larger_pictures_are_trained_at_more_noise(side: int, mean: float) -> None:
    config, _, _ = choose(TrainConfig(), (1, side, side - 1), 0, "cpu")
    assert config.times_options == {"mean": pytest.approx(mean, abs=0.01)}
    assert choose(TrainConfig(times="uniform"), (1, side, side), 0, "cpu")[0].times_options == {}


def test_the_rate_falls_with_the_size_of_the_network() -> None:
    rates = [choose(TrainConfig(size=size), (3, 32, 32), 0, "cpu")[0].learning_rate for size in ("tiny", "small", "base")]
    assert rates == [3e-3, 2e-3, 5e-4]


def test_a_run_without_a_length_shows_each_picture_fifty_times_and_no_fewer_than_80_000() -> None:
    assert shown_in_all(1797) == 50 * 1797
    assert shown_in_all(100) == 80_000


def test_memory_is_what_autograd_keeps_and_grows_with_the_batch_alone() -> None:
    """Against the sum, by hand, of a network whose kept tensors can be counted: x and relu's output of one layer."""
    layer = torch.nn.Linear(6, 10)

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return self.layer(x).relu().sum()

    assert bytes_per_picture(Net(), (6,)) == 4 * (6 + 10)
    network, config = UNet(SMALL), TrainConfig(batch_size=64, precision="float32")
    weights = 6 * 4 * sum(p.numel() for p in network.parameters())
    whole = bytes_needed(network, (1, 8, 8), config) - weights
    assert bytes_needed(network, (1, 8, 8), replace(config, batch_size=32)) - weights == whole // 2
    assert bytes_needed(network, (1, 8, 8), replace(config, accumulate=4)) - weights == whole // 4
    assert bytes_needed(network, (1, 8, 8), config, processes=2) - weights == whole // 2


def test_a_batch_is_computed_in_parts_that_keep_little_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    network, shape = UNet(SMALL), (1, 8, 8)
    each = bytes_per_picture(network, shape)
    monkeypatch.setattr(planning, "KEPT_AT_ONCE", 16 * each)
    assert [parts(network, shape, size, "cpu") for size in (1, 16, 17, 32, 33, 64, 100)] == [1, 1, 2, 2, 4, 4, 8]
    assert parts(network, shape, 64, "cpu", processes=2) == 2
    assert parts(network, shape, 64, "cuda") == 1
    monkeypatch.setattr(planning, "KEPT_AT_ONCE", 1)
    assert parts(network, shape, 64, "cpu") == 8  # pictures at a time, however much each keeps
    made = build(digits(), TrainConfig(channels=(8,), attention=(), batch_size=64))
    assert made.config.accumulate == 8
    assert [(choice.value, choice.reason[:22]) for choice in made.choices if choice.name == "accumulate"] == [
        ("8", "8 pictures at a time: ")
    ]
    assert build(digits(), TrainConfig(channels=(8,), attention=(), accumulate=2)).config.accumulate == 2


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")])
def test_running_out_of_memory_says_what_would_fit(error: Exception) -> None:
    config = TrainConfig(precision="float32", accumulate=2)
    message = r"out of memory with 64 pictures in 2 parts .* --accumulate 4 needs about .* GB"
    with pytest.raises(ValueError, match=message), enough_memory(UNet(SMALL), (1, 8, 8), config):
        raise error
    with pytest.raises(RuntimeError, match="something else"), enough_memory(UNet(SMALL), (1, 8, 8), config):
        raise RuntimeError("something else")


def test_half_precision_is_taken_where_it_was_measured_to_be_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    made = build(digits(), TrainConfig(channels=(8,), attention=()))
    monkeypatch.setattr(planning, "has_bfloat16", lambda device: True)
    for seconds, chosen in (({"float32": 2.0, "bfloat16": 1.0}, "bfloat16"), ({"float32": 1.05, "bfloat16": 1.0}, "float32")):
        # 9 seconds: steps that something else delayed, which says nothing of the precision
        monkeypatch.setattr(run, "_seconds", lambda made, config, n, s=seconds: [9.0, s[config.precision], 9.0])
        config, choices = run._faster_precision(made, "cpu")
        assert config.precision == chosen and "times as fast" in choices[0].reason
    monkeypatch.setattr(planning, "has_bfloat16", lambda device: False)
    assert run._faster_precision(made, "cpu")[0].precision == "float32"


def test_a_length_that_would_take_too_long_is_cut_and_says_what_would_not() -> None:
    made = build(digits(), TrainConfig(channels=(8,), attention=(), precision="float32"))
    slow = pytest.MonkeyPatch()
    with slow.context() as patched:
        patched.setattr(run, "_timed", lambda *a, **k: 10.0)
        config, choices, each = run._settle(made, 0.0, "cpu", Processes("cpu"))
        assert each == 10.0 and config.steps == round(0.9 * 3600 / 10)
        assert f"--steps {-(-50 * 1797 // 64)}" in choices[-1].reason
        patched.setattr(run, "_timed", lambda *a, **k: 0.1)
        config, choices, each = run._settle(made, 0.0, "cpu", Processes("cpu"))
        assert config.steps == -(-50 * 1797 // 64)


def test_the_seconds_of_a_step_are_measured_for_a_share_of_the_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(run, "_timed", lambda made, config, least, at_least_s=0.0: asked.append(at_least_s) or 0.1)
    one: Any = SimpleNamespace(count=1)
    for minutes in (0.1, 3.0, 600.0, None):
        run._seconds_for_a_step(cast(Any, None), TrainConfig(minutes=minutes), one)
    assert asked == pytest.approx([1.0, 5.4, 10.0, 1.0])


@pytest.mark.usefixtures("with_trials")
def test_a_step_that_something_delayed_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 1.0, 10.0, 10.0, 13.0])  # before and after each step: 1, 9 and 3 seconds
    monkeypatch.setattr(run.time, "perf_counter", lambda: next(clock))
    trial: Any = SimpleNamespace(
        step=lambda: None, close=lambda: None, network=torch.nn.Linear(1, 1), data=SimpleNamespace(shape=(1, 8, 8)),
        processes=SimpleNamespace(count=1, release=lambda: None),
    )  # fmt: skip
    made: Any = SimpleNamespace(make=lambda config, total: trial)
    monkeypatch.setattr(run.planning, "enough_memory", lambda *a: contextlib.nullcontext())
    assert run._timed(made, TrainConfig(), 3) == 2.0


def test_texts_are_learnt_with_more_noise_with_muon_and_places() -> None:
    text = Part("text", "text", 40, length=8)
    told, network, choices = choose(TrainConfig(), (3, 32, 32), 0, "cpu", (text,))
    plain, other, _ = choose(TrainConfig(), (3, 32, 32), 0, "cpu")
    assert told.times_options == {"mean": plain.times_options["mean"] + 0.5, "std": 1.4}
    assert told.optimizer == "muon" and plain.optimizer is None
    assert (told.times, plain.times) == ("balanced", "log_normal")
    assert plain.learning_rate is not None and told.learning_rate == 3 * plain.learning_rate
    assert network.positions > 0 and other.positions == 0  # type: ignore[union-attr]
    assert network.expects > 0 and other.expects == 0  # type: ignore[union-attr]
    assert {"times", "weights", "optimizer"} <= {choice.name for choice in choices}
    said, _, _ = choose(TrainConfig(optimizer="adamw", times_options={"mean": -1.0}), (3, 32, 32), 0, "cpu", (text,))
    assert said.optimizer == "adamw" and said.times_options["mean"] == -1.0
    assert said.learning_rate == plain.learning_rate
    said, _, choices = choose(TrainConfig(times="log_normal"), (3, 32, 32), 0, "cpu", (text,))
    assert said.times == "log_normal" and "weights" not in {choice.name for choice in choices}


@pytest.mark.parametrize(
    ("schedule", "prediction", "times", "weighting"),
    [
        ("linear", "noise", "stratified", "plain"),
        ("cosine", "x0", "log_normal", "min_snr"),
        ("flow", "velocity", "stratified", "plain"),
        ("linear", "edm", "log_normal", "plain"),
        ("edm", "noise", "log_normal", "plain"),
        ("edm", "x0", "log_normal", "min_snr"),
    ],
)
def test_times_and_weighting_follow_schedule_and_prediction(schedule: str, prediction: str, times: str, weighting: str) -> None:
    config, _, _ = choose(TrainConfig(schedule=schedule, prediction=prediction), (1, 8, 8), 10, "cpu")
    assert (config.times, config.weighting) == (times, weighting)


def test_times_that_seldom_train_where_images_are_decided_are_warned_of_and_defaults_never_are() -> None:
    """Of uniform times on edm's schedule, sigma from 0.002 to 80, one in sixteen lies below 5."""
    from noisepath import PREDICTIONS, SCHEDULES

    for name, make in SCHEDULES.items():
        for prediction in PREDICTIONS:
            config, _, _ = choose(TrainConfig(schedule=name, prediction=prediction), (1, 8, 8), 10, "cpu")
            times = TIMES[config.times](**config.times_options)  # type: ignore[index]
            assert check_times(times, "its own", make(), "") is None, (name, prediction)
    for name in ("uniform", "logit_normal"):
        problem = check_times(TIMES[name](), name, SCHEDULES["edm"](), "log_normal")
        assert problem is not None and "'log_normal' suits this schedule" in problem
