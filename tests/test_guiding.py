"""What each guidance does, side by side: the mixture's figures are its truth's, and the command says what a model allows."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from noisepath import plots
from noisepath.cli import guided as of_cli
from noisepath.cli import main
from noisepath.cli.options import Sample
from noisepath.conditions import Condition
from noisepath.denoiser import Denoiser
from noisepath.guidance import apg, autoguidance, classifier_free
from noisepath.guidance_figure import guidance_figure
from noisepath.guiding import METHODS, Guided, Told, guide_mixture, guide_model, methods_for, mixture
from noisepath.sampling import sample
from noisepath.schedules import schedule
from noisepath.training.earlier import load_earlier

POINTS = [name for name, method in METHODS.items() if method.points]
LABELS = Condition(label=torch.tensor([0, 1, 0]))


def drawn(drop: float = 0.1, classes: int = 2) -> Denoiser:
    """Pictures 2 x 2, of as many classes, from a network that is a formula."""

    def network(x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        shift = 0.0 if label is None else 0.5 * label.view(-1, 1, 1, 1)
        return x / (1 + t.view(-1, 1, 1, 1) ** 2) + shift

    null = Condition(label=torch.tensor([classes])) if classes else None
    return Denoiser(network, schedule("edm"), "x0", null=null, info={"training": {"drop_condition": drop}})


# The mixture -----------------------------------------------------------------------------------------------------------------


def test_without_guidance_the_points_are_the_class_itself() -> None:
    (one,) = guide_mixture(["classifier_free"], [1.0], Told(), n=1000, steps=12)
    # of 1,000 points the mean is off by the total variance over n, the spread by its root's error; and 12 steps leave a little
    assert one.figures["frechet"] < 5 * 0.21 / 1000 + 2e-3
    assert one.figures["spread"] == pytest.approx(1.0, abs=5 / math.sqrt(2 * 1000))
    covariance = torch.tensor([[0.16, 0.07], [0.07, 0.05]])
    truth = torch.distributions.MultivariateNormal(torch.tensor([0.25, 0.3]), covariance)
    torch.manual_seed(0)
    share = float(_nearer_to_the_first(truth.sample((20000,)).double()).double().mean())
    assert one.figures["read_as_asked"] == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / 1000) + 0.01)


def _nearer_to_the_first(points: Tensor) -> Tensor:
    normals = [torch.distributions.MultivariateNormal(torch.tensor(m).double(), torch.tensor(c).double()) for m, c in (
        ([0.25, 0.3], [[0.16, 0.07], [0.07, 0.05]]), ([-0.3, -0.15], [[0.05, -0.05], [-0.05, 0.15]]))]  # fmt: skip
    return normals[0].log_prob(points) >= normals[1].log_prob(points)


def test_the_figures_are_those_of_the_points() -> None:
    (one,) = guide_mixture(["classifier_free"], [2.0], Told(), n=300, steps=8)
    assert one.figures["read_as_asked"] == pytest.approx(float(_nearer_to_the_first(one.made).double().mean()))
    truth, found = np.array([[0.16, 0.07], [0.07, 0.05]]), np.cov(one.made.numpy().T)
    values, axes = np.linalg.eigh(truth)
    half = axes @ np.diag(np.sqrt(values)) @ axes.T
    root = np.sqrt(np.linalg.eigvalsh(half @ found @ half)).sum()
    off = ((one.made.mean(0).numpy() - [0.25, 0.3]) ** 2).sum()
    assert one.figures["frechet"] == pytest.approx(off + np.trace(truth) + np.trace(found) - 2 * root, rel=1e-6)
    assert one.figures["spread"] == pytest.approx(math.sqrt(np.trace(found) / np.trace(truth)))


def test_points_are_those_of_the_guidance_that_a_method_names_and_guidance_makes_them_more_alike() -> None:
    path, told = schedule("flow"), Told(interval=(0.3, 1.0))
    options = {"steps": 6, "seed": 2, "condition": Condition(label=torch.zeros(50).long()), "dtype": torch.float64}
    model, weak = mixture().denoiser(path), mixture(3.0).denoiser(path)
    by_hand = {"interval": classifier_free(model, 3.0, interval=(0.3, 1.0)), "apg": apg(model, 3.0),
               "autoguidance": autoguidance(model, weak, 3.0)}  # fmt: skip
    made = {one.method: one.made for one in guide_mixture(list(METHODS), [3.0], told, n=50, steps=6, seed=2)}
    assert list(made) == POINTS and "rescale" not in made
    for name, guidance in by_hand.items():
        torch.testing.assert_close(made[name], sample(guidance, (50, 2), **options))
    spreads = {one.method: one.figures["spread"] for one in guide_mixture(POINTS, [4.0], told, n=300, steps=10)}
    assert all(spreads[name] < 0.9 for name in ("classifier_free", "apg", "autoguidance"))


# A model ---------------------------------------------------------------------------------------------------------------------


def test_pictures_of_no_guidance_are_the_models_own_and_are_read_as_what_was_asked() -> None:
    model = drawn()
    read = lambda pictures: (pictures.mean((1, 2, 3)) > 0.5).long()  # noqa: E731
    made = guide_model(model, (3, 1, 2, 2), ["classifier_free", "apg"], [1.0, 3.0], Told(), read, condition=LABELS, steps=5)
    plain = sample(model, (3, 1, 2, 2), condition=LABELS, steps=5)
    assert [(one.method, one.scale) for one in made] == [("classifier_free", 1), ("classifier_free", 3), ("apg", 1), ("apg", 3)]
    assert made[0].made is made[2].made and torch.equal(made[0].made, plain)
    expected = sample(classifier_free(model, 3.0), (3, 1, 2, 2), condition=LABELS, steps=5)
    torch.testing.assert_close(made[1].made, expected)
    figures = made[1].figures
    assert figures["read_as_asked"] == float((read(expected) == LABELS["label"]).double().mean())
    assert figures["beyond"] == float((expected.abs() > 1).double().mean())
    assert figures["contrast"] == pytest.approx(float(expected.flatten(1).std(1).mean()))


def test_what_a_model_does_not_allow_is_left_out_or_refused() -> None:
    free = ["autoguidance", "dynamic_threshold"]
    assert methods_for(drawn()) == list(METHODS)
    assert methods_for(drawn(classes=0)) == methods_for(drawn(drop=0.0)) == free
    for model, words in ((drawn(classes=0), "without classes"), (drawn(drop=0.0), "without condition dropout")):
        with pytest.raises(ValueError, match=f"apg can't be shown: .*{words}.*needs none: autoguidance, dynamic_threshold"):
            methods_for(model, ["autoguidance", "apg"])
    with pytest.raises(ValueError, match="did you mean 'apg'|apg"):
        methods_for(drawn(), ["agp"])
    with pytest.raises(ValueError, match="twice"):
        methods_for(drawn(), ["apg", "apg"])
    with pytest.raises(ValueError, match="0 to 10, but one is 11"):
        guide_mixture(["cfg_plus_plus"], [11.0], Told())
    with pytest.raises(ValueError, match="one scale or more"):
        guide_mixture(["apg"], [], Told())


# The figure ------------------------------------------------------------------------------------------------------------------


def test_a_row_is_a_method_and_a_column_a_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[object] = []
    save = plots._save_figure
    monkeypatch.setattr(plots, "_save_figure", lambda figure, path: (saved.append(figure), save(figure, path))[1])
    figures = {"read_as_asked": 0.25, "frechet": 0.5, "contrast": 0.7}
    points = [Guided("apg", s, torch.full((4, 2), s / 10), figures) for s in (1.0, 3.0)]
    pictures = [Guided(m, s, torch.zeros(4, 1, 3, 3), figures) for m in ("apg", "rescale") for s in (1.0, 3.0)]
    path = guidance_figure(points, pictures, tmp_path / "g.png")
    assert Image.open(path).format == "PNG"
    axes = saved[0].axes  # type: ignore[attr-defined]
    assert len(axes) == 8
    # matplotlib lists them row by row: points and pictures of scale 1, of scale 3
    assert [list(axes[i].lines[0].get_xdata()) for i in (0, 2)] == [[0.1] * 4, [pytest.approx(0.3)] * 4]
    assert not axes[4].lines and "pictures only" in axes[4].texts[0].get_text()
    assert "scale 3" in axes[2].get_title() and "25 % read" in axes[0].get_title()
    assert axes[0].get_ylabel().startswith("apg") and axes[4].get_ylabel().startswith("rescale")
    assert all(len(axes[i].images) == 1 for i in (1, 3, 5, 7))


# The command -----------------------------------------------------------------------------------------------------------------

SMALL = shlex.split(
    "--steps 8 --channels 8 --blocks 1 --attention --batch-size 4 --warmup 0 --no-progress --no-evaluate --device cpu"
)
QUIET = ["--steps", "3", "--n", "3", "--device", "cpu", "--no-progress"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on eight grey pictures: with classes, and without."""
    root = tmp_path_factory.mktemp("guided")
    random = np.random.default_rng(0)
    for name in ("dark", "light"):
        for place in (root / "pictures" / name, root / "plain"):
            place.mkdir(parents=True, exist_ok=True)
            for i in range(4):
                values = random.integers(0, 100, (6, 8)) + (155 if name == "light" else 0)
                Image.fromarray(values.astype(np.uint8)).save(place / f"{name}{i}.png")
    for name, data in (("run", "pictures"), ("free", "plain")):
        assert main(["train", "--data", str(root / data), "--out", str(root / name), *SMALL]) == 0
    return root


def test_the_command_writes_a_figure_and_its_numbers_and_says_what_stands_for_worse(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "g.png"
    methods = ["apg", "autoguidance"]
    words = ["guidance", str(folder / "run"), "--methods", *methods, "--scales", "1", "2", "--out", str(out), *QUIET]
    assert main(words) == 0
    told, said = json.loads(out.with_suffix(".json").read_text()), capsys.readouterr().out
    assert Image.open(out).format == "PNG"
    assert [(one["method"], one["scale"]) for one in told["pictures"]] == [(m, s) for m in methods for s in (1, 2)]
    assert set(told["mixture"][0]) == {"method", "scale", "read_as_asked", "frechet", "spread"}
    assert "snapshot of step 2 of 8" in said and "left out" not in said


def test_a_model_that_can_not_be_guided_by_its_condition_is_told_so(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "g.png"
    assert main(["guidance", str(folder / "free"), "--out", str(out), "--scales", "2", *QUIET]) == 0
    assert "without classes" in capsys.readouterr().out
    assert {one["method"] for one in json.loads(out.with_suffix(".json").read_text())["pictures"]} == {
        "autoguidance", "dynamic_threshold",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["guidance", "run", "--n", "0"], "n is the number of pictures"),
        (["guidance", "run", "--out", "x.jpg"], "ends in .png"),
        (["guidance", "run", "--methods", "apgg"], "apgg"),
        (["guidance", "free", "--methods", "apg"], "without classes"),
        (["guidance", "run", "--scales", "-1", "--methods", "cfg_plus_plus"], "0 to 10"),
        (["guidance", "run", "--interval", "2", "1"], "0 <= low < high"),
        (["guidance", "run", "--classes", "grey"], "grey"),
        (["sample", "run", "--method", "apgg"], "apgg"),
        (["sample", "run", "--guidance", "2", "--rescale", "0.5", "--method", "apg"], "classifier_free guidance alone"),
        (["sample", "run", "--method", "cfg_plus_plus", "--guidance-interval", "0", "1"], "not for cfg_plus_plus"),
        (["sample", "run", "--guidance", "2", "--guidance-interval", "2", "1"], "0 <= low < high"),
        (["sample", "run", "--guidance", "2", "--rescale", "2"], "rescale must be"),
        (["sample", "free", "--guidance", "2"], "no null condition"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main([args[0], str(folder / args[1]), *args[2:], "--device", "cpu", "--no-progress"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and words in err
    assert not list(tmp_path.iterdir())


def test_sample_guides_by_the_method_that_is_named(folder: Path, tmp_path: Path) -> None:
    def pictures(name: str, *more: str) -> list[bytes]:
        out = tmp_path / name
        words = ["sample", str(folder / "run"), "--n", "2", "--steps", "3", "--guidance", "3", "--out", str(out), *more]
        assert main([*words, "--device", "cpu", "--no-progress"]) == 0
        return [Image.open(path).tobytes() for path in sorted(out.glob("0*.png"))]

    plain = pictures("plain")
    ways = {"interval": ["--guidance-interval", "0.5", "2"], "rescaled": ["--rescale", "0.7"], "apg": ["--method", "apg"],
            "auto": ["--method", "autoguidance"], "zero": ["--method", "cfg_zero_star"]}  # fmt: skip
    made = {name: pictures(name, *more) for name, more in ways.items()}
    assert all(each != plain for name, each in made.items() if name != "zero")
    about = Image.open(tmp_path / "interval" / "00000.png").info
    assert about["guidance interval"] == "(0.5, 2.0)" and "method" not in about
    assert Image.open(tmp_path / "apg" / "00000.png").info["method"] == "apg"


def test_the_models_around_which_sample_guides_are_the_library_s() -> None:
    model = drawn()
    at = (torch.ones(3, 1, 2, 2), schedule("edm").level(1.0), LABELS)
    command = Sample(Path("x"), guidance=3.0, rescale=0.5, guidance_interval=(0.5, 2.0))
    torch.testing.assert_close(of_cli.guided(model, command)(*at), classifier_free(model, 3.0, rescale=0.5)(*at))
    assert of_cli.guided(model, Sample(Path("x"))) is model
    assert of_cli.guided(drawn(drop=0.0), Sample(Path("x"))).null is not None
    with pytest.raises(ValueError, match="without condition dropout.*--method autoguidance"):
        of_cli.guided(drawn(drop=0.0), Sample(Path("x"), guidance=2.0))


# An earlier state ------------------------------------------------------------------------------------------------------------


def test_the_weaker_model_is_the_snapshot_nearest_to_the_share_or_the_longer_average(folder: Path, tmp_path: Path) -> None:
    run = folder / "run"
    there = sorted(int(path.name[5:]) for path in (run / "snapshots").iterdir())
    assert there[-1] == 4 and 2 in there
    for share, step in ((0.25, 2), (0.5, 4)):
        weaker, told = load_earlier(run, 8, share=share)
        assert weaker.info["steps"] == step and f"step {step} of 8" in told
    weaker, told = load_earlier(run / "snapshots" / "step-000004", 4)
    assert weaker.info["steps"] == 4 and "longer moving average" in told
    with pytest.raises(ValueError, match="above 0 to 0.5, but is 0.7"):
        load_earlier(run, 8, share=0.7)
