"""A run whose network's errors are multiplied: its limit is measured, stored with each average, and used by all who load it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import noisepath
from conftest import Margin
from noisepath.cli import main
from noisepath.data import digits
from noisepath.denoiser import Denoiser
from noisepath.evaluation import DigitsJudge
from noisepath.training import TrainConfig
from noisepath.training.limit import limited_log_snrs
from noisepath.training.plan import choose, sizes_of

TINY = {"channels": (16, 16), "blocks": 1, "attention": (), "precision": "float32"}
LEVEL = noisepath.schedule("linear").level(950)
COUNT = 300
"""Samples: the share of them that is read, 0.8, has a standard error of 0.023."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, trained_seed: int) -> Path:
    """The tutorials' recipe, 150 steps of a tiny network."""
    folder = tmp_path_factory.mktemp("limit") / "run"
    config = TrainConfig(steps=150, schedule="linear", prediction="noise", seed=trained_seed, **TINY)  # type: ignore[arg-type]
    noisepath.train(digits(), folder, config, progress=False)
    return folder


def _labels(n: int) -> noisepath.Condition:
    return noisepath.Condition(label=torch.arange(n) % 10)


@pytest.mark.trained
def test_the_tutorials_recipe_gives_digits_after_150_steps(run: Path, margin: Margin) -> None:
    """Law 8, of one recipe: without the limit the deviation is above 2 and few are read as asked."""
    data, model = digits(), noisepath.load(run)
    made = noisepath.sample(model, (COUNT, 1, 8, 8), condition=_labels(COUNT))
    x0 = data.batch(range(len(data)))[0]
    ratio = float(made.std() / x0.std())
    margin("deviation over the data's", ratio, at_least=0.9)
    margin("deviation over the data's, at most", ratio, at_most=1.1)
    margin("off the data's mean", abs(float(made.mean() - x0.mean())), at_most=0.05)
    report = DigitsJudge(data).report(made, _labels(COUNT)["label"])
    assert report.read_as_asked is not None
    margin("read as asked", report.read_as_asked, at_least=0.6)


def test_each_average_has_its_own_limit_beside_its_weights(run: Path) -> None:
    models = {name: noisepath.load(run, average=name) for name in ("model", "model-long")}
    stored = json.loads((next((run / "checkpoints").glob("step-000150")) / "config.json").read_text())["limit"]
    for name, model in models.items():
        assert model.limit is not None and list(model.limit.cond) == stored[name]["cond"]
        assert model.limit.cond[0] < 0.05 < 0.1 < model.limit.cond[-1]  # nothing at pure noise, more at less
    assert stored["model"] != stored["model-long"]
    for folder in (run / "snapshots").iterdir():
        assert noisepath.load(folder).limit is not None


def test_the_limit_is_left_out_where_none_is_wanted(run: Path) -> None:
    x = torch.randn(4, 1, 8, 8)
    held, free, own = noisepath.load(run), noisepath.load(run, limit=None), noisepath.load(run, limit=noisepath.load(run).limit)
    assert free.limit is None and not torch.equal(held(x, LEVEL, _labels(4)), free(x, LEVEL, _labels(4)))
    assert torch.equal(held(x, LEVEL, _labels(4)), own(x, LEVEL, _labels(4)))
    with pytest.raises(ValueError, match="limit is"):
        noisepath.load(run, limit="none")  # type: ignore[arg-type]


def test_a_command_samples_with_the_limit_and_without_it(run: Path, tmp_path: Path) -> None:
    grids = {}
    for name, options in (("held", []), ("free", ["--no-limit"])):
        command = ["sample", str(run), "--n", "4", "--steps", "4", "--out", str(tmp_path / name), "--no-progress"]
        assert main([*command, *options]) == 0
        grids[name] = (tmp_path / name / "grid.png").read_bytes()
    assert grids["held"] != grids["free"]


def test_plan_and_page_show_it(run: Path) -> None:
    choices = {choice["name"]: choice for choice in json.loads((run / "plan.json").read_text())["choices"]}
    assert choices["limit"]["value"] == "yes" and "1.4" in choices["limit"]["reason"]
    assert choices["times"]["value"] == "stratified"
    assert 'id="limit"' in (run / "index.html").read_text() and (run / "limit.png").is_file()


def test_a_damaged_estimate_is_refused(run: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from noisepath.training.checkpoint import _read_estimate

    save_file({"cosine.means": torch.zeros(1)}, tmp_path / "data-stats.safetensors")
    with pytest.raises(ValueError, match=r"does not fit its config\.json"):
        _read_estimate(tmp_path / "data-stats.safetensors")


@pytest.mark.parametrize(
    "options", [{}, {"schedule": "flow", "prediction": "velocity"}, {"schedule": "cosine", "prediction": "v"}]
)
def test_a_recipe_that_multiplies_no_error_has_no_limit_and_no_file_of_one(options: dict[str, str], tmp_path: Path) -> None:
    config = TrainConfig(steps=2, **TINY, **options)  # type: ignore[arg-type]
    model = noisepath.train(digits(), tmp_path / "run", config, progress=False)
    assert model.limit is None and not list((tmp_path / "run").rglob("data-stats.safetensors"))
    assert model.data_stats.range == (-1.0, 1.0) and model.data_stats.std == pytest.approx(digits().sigma_data)


def test_a_run_may_do_without(tmp_path: Path) -> None:
    config = TrainConfig(steps=2, schedule="linear", prediction="noise", limit=False, **TINY)  # type: ignore[arg-type]
    assert noisepath.train(digits(), tmp_path / "run", config, progress=False).limit is None


@pytest.mark.parametrize("schedule", list(noisepath.SCHEDULES))
@pytest.mark.parametrize("prediction", list(noisepath.PREDICTIONS))
def test_what_a_network_sees_and_gives_has_about_unit_size_for_every_recipe(schedule: str, prediction: str) -> None:
    """Chosen by the plan: as it is where it lies between 1/4 and 4, else brought to 1, which is what the factors then do."""
    config, network, _ = choose(TrainConfig(schedule=schedule, prediction=prediction), (1, 8, 8), 10, "cpu", (), 0.75)
    path = noisepath.schedule(schedule)
    inside = all(0.25 <= size <= 4 for size in sizes_of(path, prediction, 0.75))
    assert (config.preconditioning == "none") == inside
    model = Denoiser(lambda x, t: x, path, prediction, sigma_data=0.75, preconditioning=config.preconditioning or "none")
    for share in (0.02, 0.3, 0.7, 0.98):
        t = path.t_min + share * (path.t_max - path.t_min)
        level = path.level(round(t) if path.num_timesteps else t)
        c_skip, c_out, c_in, c_noise = model.factors(level)
        assert 0.2 < c_in * (level.alpha**2 * 0.75**2 + level.sigma**2) ** 0.5 < 5
        of_x0, of_noise = (1 - c_skip * level.alpha) / c_out, -c_skip * level.sigma / c_out
        assert 0.2 < (of_x0**2 * 0.75**2 + of_noise**2) ** 0.5 < 5
        assert abs(c_noise * network.time_scale) < 1300


def test_every_recipe_trains_where_its_runs_begin() -> None:
    """The default times of every schedule and prediction reach the noisiest level of a run, or its errors there are limited or
    not multiplied."""
    for schedule in noisepath.SCHEDULES:
        for prediction in noisepath.PREDICTIONS:
            config, _, _ = choose(TrainConfig(schedule=schedule, prediction=prediction), (1, 8, 8), 10, "cpu", (), 0.75)
            path = noisepath.schedule(schedule)
            bounded = prediction in ("edm", "x0") or schedule == "edm"
            assert bounded or config.times == "stratified", (schedule, prediction)
            limited = limited_log_snrs(path, prediction, 0.75, config.preconditioning or "none")
            assert prediction not in ("noise", "score") or limited
