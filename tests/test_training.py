"""The training step: reproducible from (seed, step), indifferent to how a batch is cut, and it learns."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from noisepath.conditions import Condition
from noisepath.data import Dataset, digits, some
from noisepath.levels import Level
from noisepath.nn import DiT
from noisepath.schedules import SCHEDULES, Flow
from noisepath.training import EMA, RunConfig, TrainConfig, Trainer, allocator, load, read_run, train
from noisepath.training.checkpoint import State, newest, read_state, steps_of
from noisepath.training.ema import gamma_of_length, length_of_gamma
from noisepath.training.loop import Loop
from noisepath.training.plan import network_config
from noisepath.training.record import Machine
from noisepath.training.run import _threads_of, build, steps_in
from noisepath.training.trainer import Diverged, learning_rate
from noisepath.widths import data_scale

QUICK: dict[str, Any] = {
    "channels": (8, 16), "blocks": 1, "batch_size": 8, "steps": 4, "log_every": 2, "precision": "float32",
}  # fmt: skip


TRANSFORMER: dict[str, Any] = {"network": "dit", "size": "tiny", "channels": None, "blocks": None}


def _trainer(total: int = 4, **changes: Any) -> Trainer:
    made = build(digits(), TrainConfig(**{**QUICK, **changes}))
    return made.make(made.config, total)


def _weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.network.parameters()])


def _gradient(trainer: Trainer) -> torch.Tensor:
    """The gradient of a step that changes nothing: caught where clipping would be."""
    batch = trainer._next_batch()
    for part in trainer._parts():
        trainer._backward(batch, part)
    return torch.cat([p.grad.flatten() for p in trainer.parameters if p.grad is not None])


# --- the step ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [2, 3, 8])
@pytest.mark.parametrize("changes", [{}, {"dropout": 0.3}, {"dropout": 0.3, **TRANSFORMER}], ids=["plain", "dropout", "dit"])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(accumulate: int, changes: dict[str, Any]) -> None:
    """To float32 rounding: sums of 8 x 64 terms in another order."""
    wholes, parts = _trainer(clip=0.0, **changes), _trainer(clip=0.0, accumulate=accumulate, **changes)
    for trainer in (wholes, parts):  # woken up, so that every parameter has a gradient
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in trainer.parameters:
                parameter.add_(0.05 * torch.randn(parameter.shape))
    whole, cut = _gradient(wholes), _gradient(parts)
    assert whole.norm() > 1e-2
    assert (whole - cut).norm() <= 1e-5 * whole.norm()


def test_a_part_covers_each_place_of_the_batch_once() -> None:
    assert [list(p) for p in _trainer(batch_size=8, accumulate=3)._parts()] == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_samples_are_counted_through_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    shown = Dataset.shown

    def record(self: Dataset, seed: int, samples: Any) -> list[int]:
        asked.extend(samples)
        return shown(self, seed, samples)

    monkeypatch.setattr(Dataset, "shown", record)
    trainer = _trainer(accumulate=3)
    for _ in range(3):
        trainer.step()
    assert asked == list(range(24))


def test_the_same_configuration_makes_the_same_weights_and_another_seed_others() -> None:
    runs = [_trainer(seed=seed, dropout=0.2) for seed in (0, 0, 1)]
    torch.manual_seed(123)  # torch's own generator plays no part
    for trainer in runs:
        for _ in range(3):
            trainer.step()
        torch.rand(7)
    one, two, three = map(_weights, runs)
    assert torch.equal(one, two)
    assert not torch.allclose(one, three)


def test_training_leaves_torchs_own_generator_alone() -> None:
    trainer = _trainer(dropout=0.5)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trainer.step()
    assert torch.equal(torch.rand(3), expected)


TABLE = {"schedule": "linear", "schedule_options": {"num_timesteps": 4, "beta_end": 0.5}, "prediction": "v"}


@pytest.mark.parametrize(
    "changes",
    [{**TABLE, "times": "importance", "times_options": {"history": 1}}, {"times": "balanced"}],
    ids=["importance", "balanced"],
)
def test_a_run_goes_on_from_its_state_as_if_it_had_never_stopped(changes: dict[str, Any]) -> None:
    changes = {**changes, "dropout": 0.1}
    straight, first, second = (_trainer(6, **changes) for _ in range(3))
    for _ in range(6):
        straight.step()
    for _ in range(3):
        first.step()
    state = first.state()
    averages = {name: {k: v.clone() for k, v in average.state_dict().items()} for name, average in first.averages.items()}
    network, optimizer = ({name: value.clone() for name, value in t.items()} for t in (state.network, state.optimizer))
    second.load_state(averages, State(network, optimizer, json.loads(json.dumps(state.values))))
    for _ in range(3):
        second.step()
    assert second.done == 6
    assert torch.equal(_weights(second), _weights(straight))
    for name, average in second.averages.items():
        assert all(torch.equal(v, straight.averages[name].state_dict()[k]) for k, v in average.state_dict().items())


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "vp_cosine", "prediction": "v", "times": "uniform"},
        {"schedule": "flow", "prediction": "velocity", "times": "logit_normal"},
        {"schedule": "linear", "prediction": "noise", "times": "stratified", "weighting": "min_snr"},
        {},
    ],
    ids=lambda changes: changes.get("schedule", "default"),
)
def test_the_loss_falls_on_every_kind_of_path(changes: dict[str, Any]) -> None:
    """On digits an untrained network's loss is the target's own power; fifty steps take away a good part of it."""
    trainer = _trainer(50, batch_size=32, warmup=5, learning_rate=5e-3, **changes)
    losses = [trainer.step().loss for _ in range(50)]
    assert sum(losses[-10:]) < 0.85 * sum(losses[:3]) / 3 * 10


def test_half_precision_learns_too() -> None:
    trainer = _trainer(3, precision="bfloat16")
    assert all(math.isfinite(trainer.step().loss) for _ in range(3))
    assert all(p.dtype == torch.float32 for p in trainer.parameters)


def test_a_data_set_without_classes_trains_unconditionally() -> None:
    data = Dataset(torch.rand(5, 3, 6, 5))
    made = build(data, TrainConfig(**QUICK))
    trainer = made.make(made.config, 2)
    assert trainer.null is None and math.isfinite(trainer.step().loss)


def test_gradients_are_clipped_to_the_length_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[float] = []
    for clip in (1e-3, 0.0):
        trainer = _trainer(clip=clip)
        taken = trainer.optimizer.step

        def step(trainer: Trainer = trainer, taken: Any = taken) -> None:
            lengths.append(torch.cat([p.grad.flatten() for p in trainer.parameters if p.grad is not None]).norm().item())
            taken()

        monkeypatch.setattr(trainer.optimizer, "step", step)
        trainer.step()
    assert lengths[0] == pytest.approx(1e-3, rel=1e-3)
    assert lengths[1] > 1e-2


def test_weight_decay_leaves_biases_and_norms_alone() -> None:
    groups = _trainer(weight_decay=0.5).optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert all(p.ndim > 1 for p in groups[0]["params"]) and all(p.ndim <= 1 for p in groups[1]["params"])


def test_the_rate_rises_stays_and_falls_as_a_function_of_the_step() -> None:
    config = TrainConfig(learning_rate=1.0, warmup=10, decay=0.5)
    rates = [learning_rate(config, 100, n) for n in range(100)]
    assert rates[:10] == pytest.approx([(n + 1) / 11 for n in range(10)])
    assert rates[10:50] == pytest.approx([1.0] * 40)
    assert rates[50:] == pytest.approx([(100 - n) / 50 for n in range(50, 100)])
    constant = TrainConfig(learning_rate=0.5, warmup=0, decay=0.0)
    assert {learning_rate(constant, 100, n) for n in range(100)} == {0.5}
    assert learning_rate(TrainConfig(learning_rate=1.0, warmup=100, decay=0.0), 50, 4) == pytest.approx(5 / 6)  # 5 at most


# --- the moving average --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0.01, 0.05, 0.1, 0.25])
def test_the_average_weighs_step_k_like_k_to_the_gamma(length: float) -> None:
    """Fed unit steps the average reads its own weights: k^gamma up to 1/k, and a width that is the share asked for."""
    gamma = gamma_of_length(length)
    assert length_of_gamma(gamma) == pytest.approx(length, rel=1e-9)
    steps = 2000
    network = nn.Linear(1, steps, bias=False).double().requires_grad_(False)
    average = EMA(network.float(), length)
    for n in range(1, steps + 1):
        network.weight.zero_()
        network.weight[n - 1] = 1.0
        average.update(n)
    weights = average.state_dict()["weight"][:, 0].double()
    assert float(weights.sum()) == pytest.approx(1.0, rel=1e-4)
    at = torch.arange(1, steps + 1).double() / steps
    mean = float((weights * at).sum())
    assert float((weights * (at - mean) ** 2).sum()) ** 0.5 == pytest.approx(length, rel=0.05)
    assert math.log(weights[-1] / weights[steps // 2 - 1]) == pytest.approx(gamma * math.log(2), rel=0.05)


def test_the_average_is_float32_whatever_the_network_is_and_starts_from_the_first_step() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).to(torch.bfloat16)
    average = EMA(network, 0.1)
    with torch.no_grad():
        network[0].weight.fill_(3.0)  # type: ignore[operator]
        network[1].num_batches_tracked.fill_(7)  # type: ignore[operator]
    average.update(1)
    assert average.state_dict()["0.weight"].dtype == torch.float32
    assert (average.state_dict()["0.weight"] == 3.0).all()  # the initial weights are forgotten at once
    assert int(average.state_dict()["1.num_batches_tracked"]) == 7


def test_an_average_of_another_network_or_an_impossible_length_is_refused() -> None:
    with pytest.raises(ValueError, match="belongs to another network"):
        EMA(nn.Linear(1, 1), 0.1).load_state_dict({})
    for length in (0.0, 0.3):
        with pytest.raises(ValueError, match="share of the run"):
            gamma_of_length(length)


# --- minutes, sizes, settings --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_trials")
def test_minutes_become_steps_by_measuring_on_trainers_that_are_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that moves 1 s a step, half a minute holds nine tenths of what measuring has left of it."""
    clock = {"now": 100.0}
    trained: list[int] = []
    step = Trainer.step

    def slow(trainer: Trainer) -> Any:
        clock["now"] += 1.0
        trained.append(id(trainer))
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", slow)
    monkeypatch.setattr("noisepath.training.run.time.perf_counter", lambda: clock["now"])
    train(digits(), tmp_path / "run", TrainConfig(**{**QUICK, "steps": None, "minutes": 0.5}), progress=False)
    measured = 1 + 8
    assert read_run(tmp_path / "run").train.steps == round(0.9 * (30 - measured)) == steps_in(30.0, 1.0, spent=measured)
    assert len(trained) == measured + round(0.9 * (30 - measured))
    assert steps_in(1.0, 10.0) == 1


def test_the_network_fits_the_data_and_what_is_said_otherwise() -> None:
    from noisepath.schedules import schedule

    config = TrainConfig(size="tiny", channels=(8,), attention=(0,), dropout=0.25)
    made = network_config((3, 16, 12), 0, config, schedule("edm"))
    assert (made.in_channels, made.out_channels, made.channels, made.attention) == (3, 3, (8,), (0,))
    assert made.dropout == 0.25 and made.classes == 0
    # each time axis is stretched to about 1000 for the sines and cosines
    assert made.time_scale == 1000
    v = TrainConfig(size="tiny", prediction="v")
    assert network_config((3, 16, 12), 0, v, schedule("linear", num_timesteps=500)).time_scale == 2
    assert network_config((3, 16, 12), 0, v, schedule("flow")).time_scale == 1000


def test_the_settings_survive_json() -> None:
    config = TrainConfig(channels=(3, 4), schedule_options={"sigma_max": 40.0}, minutes=0.5)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError, match="unknown training settings speed"):
        TrainConfig.from_dict({"speed": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be a whole number"),
        ({"minutes": 0.0}, "minutes must be a positive number"),
        ({"minutes": math.inf}, "minutes must be a positive number"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"batch_size": 4, "accumulate": 5}, "can't be computed in 5 parts"),
        ({"warmup": -1}, "warmup must be a whole number"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"ema_lengths": (0.0, 0.1)}, "ema_lengths must be two positive"),
        ({"decay": 1.5}, "decay is a share"),
        ({"drop_condition": 1.0}, "drop_condition is a share"),
        ({"clip": math.nan}, "clip must be a finite number"),
        ({"precision": "bfloat"}, "did you mean 'bfloat16'"),
    ],
)
def test_settings_that_make_no_run_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TrainConfig(**change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "edn"}, "did you mean 'edm'"),
        ({"times": "lognormal"}, "did you mean 'log_normal'"),
        ({"size": "tinny"}, "did you mean 'tiny'"),
        ({"weighting": "snrr"}, "did you mean 'snr'"),
        ({"times": "importance"}, "needs a table"),
        ({"weighting": "min_snr", "weighting_options": {"gama": 1.0}}, "gama"),
        ({"times_options": {"middle": 1.0}}, "middle"),
        ({"ema_lengths": (0.5, 0.1)}, "share of the run"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_before_a_folder_is_made(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        train(digits(), tmp_path / "run", TrainConfig(**{"steps": 2, **change}), progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_schedule_that_can_not_be_stored_is_refused_before_a_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kinked(Flow):
        pass

    monkeypatch.setitem(SCHEDULES, "kinked", Kinked)
    config = TrainConfig(**{**QUICK, "schedule": "kinked", "prediction": "velocity"})
    with pytest.raises(ValueError, match="a Kinked can't be stored with a model"):
        train(digits(), tmp_path / "run", config, progress=False)
    assert not (tmp_path / "run").exists()


def test_the_program_s_own_settings_are_as_before_training_and_going_on() -> None:
    allocator.keep_freed_memory.cache_clear()
    _trainer().step()
    assert allocator.keep_freed_memory.cache_info().misses == 0  # the process' memory is the program's
    threads = torch.get_num_threads()
    with _threads_of(Machine("cpu", threads + 1), "cpu"):
        assert torch.get_num_threads() == threads + 1
    with pytest.raises(KeyboardInterrupt), _threads_of(Machine("cpu", threads + 1), "cpu"):
        raise KeyboardInterrupt
    for then, device in ((Machine("cuda", 99), "cpu"), (Machine("cpu", 99), "cuda")):
        with _threads_of(then, device):
            assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == threads


def test_the_first_line_after_going_on_counts_the_pictures_of_this_process_alone(tmp_path: Path) -> None:
    config = TrainConfig(**{**QUICK, "steps": 20, "log_every": 10})
    made = build(digits(), config)
    trainer = made.make(made.config, 20)
    trainer.done = 7  # as one that was resumed
    loop = Loop(trainer, tmp_path, RunConfig(train=made.config), False, lambda text: None, {"losses": [1.0]})
    loop.since -= 100.0
    trainer.done = 10
    assert loop._log()["pictures_per_s"] == pytest.approx(3 * 8 / 100, abs=0.051)
    loop.since -= 100.0
    trainer.done = 20
    assert loop._log()["pictures_per_s"] == pytest.approx(10 * 8 / 100, abs=0.051)


def test_a_run_among_its_own_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lies among the pictures of .* and would become one of them"):
        train(tmp_path, tmp_path / "deep" / "run", TrainConfig(**QUICK))
    assert list(tmp_path.iterdir()) == []


def test_a_trainer_needs_a_step_to_make() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        _trainer(0)


# --- a whole run ---------------------------------------------------------------------------------------------------


def test_a_run_leaves_its_models_log_curve_and_grids(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "run"
    denoiser = train(digits(), out, TrainConfig(**{**QUICK, "sample_every": 2, "save_every": 3}))
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    model = {"config.json", "model.safetensors", "model-long.safetensors", "manifest.json"}
    state = {"network.safetensors", "optimizer.safetensors", "state.json"}
    assert names == {
        "run.toml", "plan.json", "data.json", "log.jsonl", "loss.png", "index.html", ".lock",
        "samples/000002.png", "samples/000004.png",
        *(f"snapshots/{step}/{name}" for step in ("step-000001", "step-000002") for name in model),
        *(f"checkpoints/{step}/{name}" for step in ("step-000003", "step-000004") for name in model | state),
    }  # fmt: skip
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert all(line["loss"] > 0 and line["rate"] > 0 and line["pictures_per_s"] > 0 for line in lines)
    assert lines[0]["seconds"] <= lines[1]["seconds"]
    bar = capfd.readouterr().err
    assert "4/4" in bar and "loss=" in bar and "pictures_per_s=" in bar
    assert denoiser.info["steps"] == 4 and denoiser.info["shape"] == (1, 8, 8)
    with pytest.raises(ValueError, match="already holds a run"):
        train(digits(), out, TrainConfig(**QUICK), progress=False)
    (out / "mine.txt").write_text("kept")
    train(digits(), out, TrainConfig(**{**QUICK, "steps": 1}), progress=False, overwrite=True)
    assert [path.name for path in (out / "samples").iterdir()] == ["000001.png"]  # nothing is left of the earlier run
    assert steps_of(out / "checkpoints") == [0, 1] and steps_of(out / "snapshots") == []
    assert (out / "mine.txt").exists()
    assert not capfd.readouterr().err


def test_a_transformer_trains_and_comes_back(tmp_path: Path) -> None:
    config = TrainConfig(network="dit", steps=3, batch_size=8, precision="float32", patch=4)
    trained = train(digits(), tmp_path / "run", config, progress=False)
    loaded = load(tmp_path / "run")
    assert isinstance(loaded.network, DiT) and loaded.network.config.patch == 4 and loaded.network.config.classes == 10
    assert read_run(tmp_path / "run").train.network == "dit"
    x, level = torch.randn(2, 1, 8, 8), Level(1.0, 0.7)
    told = Condition(label=torch.tensor([3, 5]))
    assert torch.equal(loaded(x, level, told), trained(x, level, told))
    assert not torch.equal(loaded(x, level, told), loaded(x, level, Condition(label=torch.tensor([10, 10]))))


def test_the_model_of_a_run_is_the_average_and_not_the_last_weights(tmp_path: Path) -> None:
    denoiser = train(digits(), tmp_path, TrainConfig(**QUICK), progress=False)
    averages, state = read_state(newest(tmp_path).folder)
    assert isinstance(denoiser.network, nn.Module) and state.values["done"] == 4
    for name, value in denoiser.network.state_dict().items():
        assert torch.equal(value, averages["model"][name])
    assert any(not torch.equal(value, state.network[n]) for n, value in denoiser.network.state_dict().items())
    assert any(not torch.equal(value, averages["model"][n]) for n, value in averages["model-long"].items())
    assert denoiser.data_scale == data_scale(some(digits(), 512)) == pytest.approx(0.96, abs=0.02)


def test_a_step_without_a_finite_gradient_changes_nothing_and_ten_in_a_row_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = _trainer(30)
    trainer.step()
    before = _weights(trainer)
    losses = trainer.objective.losses

    def spoilt(*args: Any, **kwargs: Any) -> Any:
        return losses(*args, **kwargs)._replace(weight=torch.full((8,), math.nan))

    with monkeypatch.context() as broken:
        broken.setattr("noisepath.training.objective.Objective.losses", lambda self, *a, **k: spoilt(*a, **k))
        for _ in range(9):
            assert trainer.step().skipped
    assert torch.equal(_weights(trainer), before) and trainer.skipped == 9
    assert not trainer.step().skipped and not torch.equal(_weights(trainer), before)
    with monkeypatch.context() as broken:
        broken.setattr("noisepath.training.objective.Objective.losses", lambda self, *a, **k: spoilt(*a, **k))
        for _ in range(9):
            trainer.step()
        with pytest.raises(Diverged, match=r"10 steps in a row, up to step 21, .* pictures shown: digit \d+, .* and 4 more"):
            trainer.step()


def test_the_room_knows_what_it_has() -> None:
    import noisepath.training

    assert noisepath.training.WEIGHTINGS
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        noisepath.training.trian  # noqa: B018
