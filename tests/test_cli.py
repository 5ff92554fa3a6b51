"""The command line does what the functions do, and answers what it can't do with one line and exit code 2."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import noisepath
from noisepath.cli import main, parsing
from noisepath.cli.options import COMMANDS, Compare, Sample, Train
from noisepath.cli.parsing import parse
from noisepath.data import DataConfig
from noisepath.sampling import DEFAULTS
from noisepath.training import RunConfig, TrainConfig
from noisepath.training.record import to_toml

TINY = shlex.split(
    "--steps 8 --channels 8 --blocks 1 --attention --batch-size 4 --warmup 0 --learning-rate 0.03 --no-progress"
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of four grey pictures, 6 x 8 pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name in ("dark", "light"):
        (folder / name).mkdir()
        for i in range(4):
            values = random.integers(0, 100, (6, 8)) + (155 if name == "light" else 0)
            Image.fromarray(values.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on them."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "--data", str(pictures), "--out", str(out), "--device", "cpu", *TINY]) == 0
    return out


def _refused(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error with which the command refuses."""
    capsys.readouterr()
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and err.startswith("noisepath: ")
    assert "Traceback" not in err
    return err


def _sampled(args: list[str], out: Path) -> np.ndarray:
    assert main(["sample", *args, "--out", str(out), "--device", "cpu", "--no-progress"]) == 0
    files = sorted(out.glob("0*.png"))
    return np.stack([np.asarray(Image.open(file)) for file in files])


# --- what is said ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [[], ["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_is_printed_and_ends_well(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 0
    assert "usage: noisepath" in capsys.readouterr().out


def test_help_and_typing_errors_need_no_torch() -> None:
    code = "import sys; from noisepath.cli import main\ntry: main({})\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules"
    for args in (["sample", "--help"], ["trian"], ["train", "--stpes", "3"], ["--version"]):
        done = subprocess.run([sys.executable, "-c", code.format(args)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"noisepath {noisepath.__version__}\n"


def test_python_dash_m_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "noisepath", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"noisepath {noisepath.__version__}\n"


def test_options_without_a_word_are_the_library_s_defaults() -> None:
    assert parse(["train", "--data", "x", "--out", "y"]) == Train(Path("y"), pictures=DataConfig("x"), recipe=TrainConfig())
    assert parse(["sample", "x"]) == Sample(run=Path("x"))
    compared = parse(["compare", "x"])
    assert isinstance(compared, Compare) and (compared.solvers[0], compared.spacing) == (DEFAULTS.solver, (DEFAULTS.spacing,))


def test_every_training_setting_can_be_said() -> None:
    words = shlex.split(
        "train --data x --out y --steps 7 --channels 8 16 --attention 0 1 --learning-rate 0.1 --betas 0.5 0.6 "
        "--schedule flow --prediction velocity --times-options mean 0.5 --picture-size 3 4"
    )
    said = parse(words)
    assert isinstance(said, Train)
    assert said.pictures == DataConfig("x", picture_size=(3, 4))
    assert said.recipe == TrainConfig(
        steps=7, channels=(8, 16), attention=(0, 1), learning_rate=0.1, betas=(0.5, 0.6),
        schedule="flow", prediction="velocity", times_options={"mean": 0.5},
    )  # fmt: skip


def test_a_file_of_settings_is_the_default_and_what_is_said_beside_it_wins(tmp_path: Path) -> None:
    own = RunConfig(DataConfig("pictures", flip=True), TrainConfig(steps=5, seed=3, channels=(8,)))
    (tmp_path / "run.toml").write_text(to_toml(own))
    said = parse(["train", "--config", str(tmp_path / "run.toml"), "--seed", "4"])
    assert isinstance(said, Train)
    assert said.pictures == own.data and said.recipe == dataclasses.replace(own.train, seed=4)


def test_a_run_is_stopped_by_its_settings_and_gone_on_with_by_its_name(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    args = ["train", "--data", str(pictures), "--out", str(out), "--device", "cpu", "--no-evaluate", *TINY]
    assert main(args) == 0
    assert main(["train", "--resume", str(out), "--no-evaluate", "--no-progress"]) == 0  # nothing is left to do
    assert "going on with step 8 of 8" in capsys.readouterr().out
    shutil.move(pictures / "dark" / "0.png", tmp_path / "0.png")
    try:
        assert "-1 removed" in _refused(["train", "--resume", str(out)], capsys)
    finally:
        shutil.move(tmp_path / "0.png", pictures / "dark" / "0.png")


def test_every_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out
    for field in (*dataclasses.fields(TrainConfig), *dataclasses.fields(DataConfig)):
        assert f"--{field.name.replace('_', '-')}" in told


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "--data", "digits", "--out", "OUT", "--schedule", "cosin"], "did you mean 'cosine'"),
        (["train", "--data", "digits", "--out", "OUT", "--prediction", "nois"], "did you mean 'noise'"),
        (["train", "--data", "digits", "--out", "OUT", "--weighting", "min_sn"], "did you mean 'min_snr'"),
        (["train", "--data", "digits", "--out", "OUT", "--times", "unifrom"], "did you mean 'uniform'"),
        (["train", "--data", "digits", "--out", "OUT", "--size", "tinny"], "did you mean 'tiny'"),
        (["train", "--data", "digits", "--out", "OUT", "--dropout", "1.5"], "dropout"),
        (["train", "--data", "NOWHERE", "--out", "OUT"], "no folder"),
        (["train", "--data", "EMPTY", "--out", "OUT"], "no pictures"),
        (["train", "--data", "digits", "--out", "OUT", "--resize", "croop"], "unknown way to resize 'croop'"),
        (["train", "--data", "digits", "--out", "OUT", "--holdout", "-1"], "holdout must be"),
        (["train", "--out", "OUT"], "train needs pictures"),
        (["train", "--resume", "NOWHERE"], "no run folder"),
        (["train", "--resume", "EMPTY"], "holds no run"),
        (["train", "--resume", "EMPTY", "--seed", "1", "--flip"], "so flip, seed can't be said beside it"),
        (["train", "--resume", "EMPTY", "--seed", "0"], "so seed can't be said beside it"),
        (["train", "--resume=EMPTY", "--seed=0", "--no-flip"], "so no-flip, seed can't be said beside it"),
        (["train", "--resume", "EMPTY", "--batch_size", "64", "--no-overwrite"], "so no-overwrite, batch-size can't be said"),
        (["train", "--config", "NOWHERE"], "no configuration file"),
        (["sample", "NOWHERE"], "no run folder"),
        (["sample", "EMPTY"], "holds no model"),
        (["compare", "NOWHERE"], "no run folder"),
        (["schedule", "flwo", "--out", "OUT/s.png"], "did you mean 'flow'"),
        (["schedule", "--picture", "NOWHERE", "--out", "OUT/s.png"], "no picture"),
        (["demo", "--out", "OUT", "--samples", "3"], "samples must be from 20"),
        (["demo", "--out", "OUT", "--minutes", "-1"], "minutes"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_line_before_any_work(
    args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    names = {"NOWHERE": tmp_path / "nowhere", "EMPTY": tmp_path / "empty", "OUT": tmp_path / "out"}
    for name, path in names.items():
        args = [arg.replace(name, str(path)) for arg in args]
    assert message in _refused(args, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--n", "0"], "1 or more"),
        (["--classes", "lihgt"], "did you mean 'light'"),
        (["--solver", "huen"], "did you mean 'heun'"),
        (["--spacing", "karas"], "did you mean 'karras'"),
        (["--steps", "0"], "1 or more"),
        (["--steps", "3", "--calls", "3"], "either steps"),
        (["--batch-size", "0"], "batch_size"),
        (["--guidance", "nan"], "finite"),
        (["--precision", "bf61"], "did you mean 'bf16'"),
    ],
)
def test_samples_that_can_not_be_made_are_refused(
    args: list[str], message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in _refused(["sample", str(run), "--out", str(tmp_path / "out"), *args], capsys)
    assert not (tmp_path / "out").exists()


def test_an_unknown_option_ends_with_2_and_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'--stpes'; did you mean '--steps'?" in _refused(["sample", "x", "--stpes", "3"], capsys)
    assert "did you mean '--help'?" in _refused(["--hlep"], capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train --data x --picture-size abc", "--picture-size takes INT INT|INT, but was given 'abc' (noisepath train --help)"),
        ("train --data x --steps 3.5", "--steps takes INT, but was given '3.5'"),
        ("train --data x --channels 8 a", "--channels takes [INT [INT ...]]"),
        ("train --data x --betas 0.5", "--betas needs 2 values"),
        ("train --data", "--data needs a value"),
        ("train --config", "--config needs a value"),
        ("sample", "Missing from noisepath sample: RUN"),
        ("sample x --n 1 2", "Unrecognized options: 2"),
    ],
)
def test_words_that_can_not_be_read_are_told_in_one_line(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in _refused(words.split(), capsys)


def test_a_reader_that_goes_away_is_no_error() -> None:
    shown = subprocess.run(
        f"{sys.executable} -m noisepath train --help | head -1", shell=True, capture_output=True, text=True, check=False
    )
    assert shown.stdout.startswith("usage") and not shown.stderr


def test_a_run_is_not_overwritten_unless_asked(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["train", "--data", str(pictures), "--out", str(run), "--device", "cpu", *TINY]
    assert "already holds a run" in _refused(args, capsys)


def test_ctrl_c_ends_with_130_and_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from noisepath.cli import commands

    def pressed(command: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run", pressed)
    assert main(["schedule"]) == 130
    assert capsys.readouterr().err.strip() == "noisepath: stopped"


def test_sigterm_ends_any_command_with_143_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from noisepath.cli import commands

    monkeypatch.setattr(commands, "run", lambda command: signal.raise_signal(signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert main(["schedule"]) == 143
    assert capsys.readouterr().err.strip() == "noisepath: stopped"
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    from noisepath.cli import commands

    def broken(command: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(commands, "run", broken)
    with pytest.raises(ZeroDivisionError):
        main(["schedule"])


# --- what is done ----------------------------------------------------------------------------------------------------


def test_a_run_leaves_model_log_curve_and_grid(run: Path) -> None:
    names = {"run.toml", "plan.json", "checkpoints", "snapshots", "samples", "evaluation", "log.jsonl", "loss.png"}
    assert {path.name for path in run.iterdir()} >= {*names, "index.html"}
    assert noisepath.load(run).info["class_names"] == ("dark", "light")
    assert noisepath.load(run).info["shape"] == (1, 6, 8)
    assert {path.name for path in (run / "samples").iterdir()} == {f"{step:06d}.png" for step in (1, 2, 4, 8)}


def test_sampling_writes_each_picture_and_all_on_one_page(run: Path, tmp_path: Path) -> None:
    made = _sampled([str(run), "--n", "5", "--steps", "2"], tmp_path / "new")
    assert made.shape == (5, 6, 8)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {f"0000{i}.png" for i in range(5)} | {"grid.png"}


def test_the_command_makes_the_pictures_that_the_function_makes(run: Path, tmp_path: Path) -> None:
    words = shlex.split("--n 3 --classes light --guidance 2 --steps 3 --seed 5 --solver heun")
    made = _sampled([str(run), *words], tmp_path)
    model = noisepath.load(run)
    pictures = noisepath.sample(
        noisepath.classifier_free(model, 2.0), (3, 1, 6, 8), solver="heun", steps=3, seed=5,
        condition=noisepath.Condition(label=torch.tensor([1, 1, 1])),
    )  # fmt: skip
    np.testing.assert_array_equal(made, ((pictures[:, 0].clamp(-1, 1) + 1) * 127.5).round().numpy())


def test_seed_classes_and_guidance_matter_and_the_batch_size_does_not(run: Path, tmp_path: Path) -> None:
    def made(*args: str) -> np.ndarray:
        out = tmp_path / "-".join(("s", *args)).replace("-", "")
        return _sampled([str(run), "--n", "4", *args], out).astype(int)

    usual = made()
    assert np.abs(usual - made("--batch-size", "3")).max() <= 1  # of 255: sums are in another order
    assert np.abs(usual - made("--classes", "dark", "light")).max() == 0  # all classes in turn
    for other in (["--seed", "1"], ["--classes", "light"], ["--guidance", "5"], ["--solver", "ddpm"], ["--steps", "5"]):
        assert np.abs(usual - made(*other)).max() > 1


def test_in_half_precision_the_pictures_are_nearly_the_same(run: Path, tmp_path: Path) -> None:
    words = [str(run), "--n", "4", "--steps", "3"]
    usual, half = _sampled(words, tmp_path / "a").astype(int), _sampled([*words, "--precision", "bf16"], tmp_path / "b")
    off = np.abs(half.astype(int) - usual)
    assert off.max() > 0 and off.mean() < 4  # of 255: a bfloat16 number is right to 0.4 %
    assert Image.open(tmp_path / "b" / "00000.png").text["precision"] == "bf16"


def test_solvers_are_compared_as_the_function_does_with_figure_and_json(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "c.png"
    words = "--solvers ddim heun@karras ddpm --steps 2 4 --guidance 1 2 --classes light --n 3 --seed 5 --tolerance 0.5"
    capsys.readouterr()
    assert main(["compare", str(run), *shlex.split(words), "--out", str(out), "--device", "cpu", "--no-progress"]) == 0
    told = capsys.readouterr().out
    made = noisepath.compare(
        noisepath.load(run), ["ddim", "heun@karras", "ddpm"], steps=[2, 4], guidance=[1.0, 2.0], n=3, seed=5, tolerance=0.5,
        condition=noisepath.Condition(label=torch.tensor([1, 1, 1])),
    )  # fmt: skip
    assert noisepath.comparing.Comparison.from_dict(json.loads(out.with_suffix(".json").read_text())) == made
    assert Image.open(out).size[0] > 500
    rows = [line.split() for line in told.splitlines()[1:13]]
    assert rows[5] == ["ddpm", "alpha_bar", "1", "4", "4", "-", "-"]
    heun = made.entries[3]
    assert rows[3] == ["heun", "karras", "1", "4", str(heun.calls), f"{heun.rmse:.4f}", f"{heun.median:.4f}"]
    assert "the reference with guidance 2: 128 calls, half as many are 0." in told and "- draws noise" in told


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--solvers", "huen"], "did you mean 'heun'"),
        (["--solvers", "heun@karas"], "did you mean 'karras'"),
        (["--calls", "3", "--steps", "3"], "either steps or calls"),
        (["--classes", "lihgt"], "did you mean 'light'"),
        (["--n", "0"], "1 or more"),
        (["--out", "c.jpg"], "ends in .png"),
        (["--solvers", "tuned", "ddim"], "no tuned samplers yet"),
    ],
)
def test_comparisons_that_can_not_be_made_are_refused(
    args: list[str], message: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in _refused(["compare", str(run), "--out", str(tmp_path / "c.png"), *args], capsys)
    assert not list(tmp_path.iterdir())


def test_each_file_says_how_it_was_made(run: Path, tmp_path: Path) -> None:
    _sampled([str(run), "--n", "2", "--steps", "2", "--seed", "4"], tmp_path)
    told = Image.open(tmp_path / "00001.png").text
    assert told["software"] == f"noisepath {noisepath.__version__}"
    assert (told["index"], told["class"], told["seed"], told["steps"]) == ("1", "light", "4", "2")
    assert told["solver"] == DEFAULTS.solver
    assert "class" not in Image.open(tmp_path / "grid.png").text


def test_a_model_without_classes_is_trained_and_sampled(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", "--data", str(pictures / "dark"), "--out", str(run), "--device", "cpu", *TINY]) == 0
    assert _sampled([str(run), "--n", "2", "--steps", "1"], tmp_path / "new").shape == (2, 6, 8)
    assert "class" not in Image.open(tmp_path / "new" / "00000.png").text
    assert "without classes" in _refused(["sample", str(run), "--classes", "dark"], capsys)
    assert "no null condition" in _refused(["sample", str(run), "--guidance", "2"], capsys)


def test_schedules_are_drawn_by_name_with_a_picture_of_one_s_own(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "s.png"
    assert main(["schedule", "cosine", "flow", "--out", str(out), "--picture", str(pictures / "dark" / "0.png")]) == 0
    assert Image.open(out).format == "PNG"


def test_the_demo_trains_draws_judges_and_says_where_everything_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--steps", "2", "--samples", "20", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    for name in ("unguided.png", "guided.png", "trajectory.png", "noise-to-data.gif", "schedule.png", "loss.png"):
        assert str(out / name) in told
        assert Image.open(out / name).size[0] > 100
    assert str(out / "index.html") in told and (out / "index.html").exists()
    report = json.loads((out / "report.json").read_text())
    assert report["unguided"]["pictures"] == report["guided"]["pictures"] == 20
    assert report["training"]["steps"] == 2
    assert 0.96 < report["real"]["read"] < 0.98  # an SVC reads 97 % of the real digits
    assert "read as the digit asked for" in told
    # two steps teach nothing: an honest judge says so
    assert report["unguided"]["frechet_ratio"] > 3
    # the demo's folder is a run like any other
    assert _sampled([str(out), "--n", "1", "--steps", "1"], tmp_path / "new").shape == (1, 8, 8)


def test_every_setting_that_is_typed_beside_resume_is_refused_and_all_else_is_taken() -> None:
    beside = {"resume", "data", "text-encoder", "device", "allow-data-change", "evaluate", "progress"}
    options = list(parsing._options(Train))
    assert len(options) > 50
    for option in options:
        words = ["--resume", "x", f"--{option.replace('-', '_')}"]
        if option.removeprefix("no-") in beside:
            assert parsing._checked(Train(resume=Path("x")), words).resume == Path("x")
        else:
            with pytest.raises(ValueError, match=f"so {option} can't be said beside it"):
                parsing._checked(Train(resume=Path("x")), words)
