"""Whole evaluations: of ideal denoisers, whose figures are known, and of a run folder through the command line."""

from __future__ import annotations

import json
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import noisepath
from noisepath.cli import main
from noisepath.data import Dataset, digits, folder, open_data, split
from noisepath.evaluation import compare, evaluate, network_space, read_report, summary
from noisepath.evaluation.classifier import Recipe, load_classifier, save_classifier, train_classifier
from noisepath.evaluation.judging import Asked, in_proportion
from noisepath.evaluation.pictures import content_hash, read
from noisepath.evaluation.report import Report
from noisepath.evaluation.run import _no_classifier, evaluate_model
from noisepath.exact import ExactDenoiser, FiniteData, Mixture
from noisepath.training import read_run

SHAPE = (1, 8, 8)


def _law() -> Mixture:
    """Two classes: bright above, bright below; unequal in number."""
    above, below = -0.4 * torch.ones(2, *SHAPE)
    above[:, :4] = below[:, 4:] = 0.4
    return Mixture([0.75, 0.25], torch.stack([above, below]), torch.full((2,), 0.01))


def _data(count: int, seed: int, classes: bool = True) -> Dataset:
    pictures = _law().sample(count, seed).float().clamp(-1, 1)
    labels = (pictures[:, 0, :4].mean((1, 2)) < pictures[:, 0, 4:].mean((1, 2))).long()
    return Dataset(pictures, labels, ("above", "below")) if classes else Dataset(pictures)


def _ideal(law: Mixture | FiniteData) -> ExactDenoiser:
    return law.denoiser(noisepath.schedule("edm"))


def _evaluated(denoiser: ExactDenoiser, train: Dataset, held_out: Dataset | None, out: Path, n: int = 150) -> Report:
    reader = train_classifier(train, held_out, Recipe(epochs=5, batch_size=16), progress=False) if train.classes else None
    asked = Asked(n=n, steps=16, resamples=50)
    return evaluate_model(denoiser, train, held_out, asked, out, reader=reader)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def ideal(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return _evaluated(_ideal(_law()), _data(300, 1), _data(200, 2), tmp_path_factory.mktemp("ideal"))


def test_an_ideal_sampler_gets_what_real_pictures_get(ideal: Report) -> None:
    ratio = ideal.figure("frechet_ratio")
    assert ratio.value == pytest.approx(1.0, abs=0.8) and ratio.interval is not None  # deviation 0.2 from draw to draw
    assert ratio.interval.low < 1.0 < ratio.interval.high
    for name in ("precision", "recall"):
        figure = ideal.figure(name)
        assert figure.interval is not None and figure.real_interval is not None
        assert figure.interval.low < figure.real_interval.high and figure.real_interval.low < figure.interval.high
    kernel = ideal.figure("kernel_distance")
    assert kernel.interval is not None and kernel.interval.low < 0.02 and kernel.interval.high > 0
    assert ideal.figure("nearest_ratio").value == pytest.approx(1.0, abs=0.05)
    assert ideal.figure("copies").value == 0.0


def test_an_ideal_sampler_is_read_as_asked_in_the_datas_proportions(ideal: Report) -> None:
    assert ideal.figure("read_as_asked").value == 1.0 and ideal.figure("read_as_asked").real == 1.0
    above, below = ideal.samples[0].classes
    assert (above.name, below.name) == ("above", "below")
    assert above.asked + below.asked == 150 and above.asked == pytest.approx(0.75 * 150, abs=8)
    assert above.right == above.asked and above.real_count + below.real_count == 200


def test_an_ideal_denoiser_errs_as_much_on_held_out_pictures_as_on_others(ideal: Report) -> None:
    """Within a class the values are independent with variance 0.01, so at every level the error is theirs."""
    for loss in ideal.losses:
        assert loss.held_out is not None and loss.training is not None
        level = noisepath.Level.from_log_snr(loss.log_snr)
        expected = 0.01 * level.sigma**2 / (level.alpha**2 * 0.01 + level.sigma**2)
        for mean in (loss.held_out, loss.training):
            # 8 bits add an error of their own, (1 / 127.5)^2 / 12, which weighs most where there is least noise
            assert mean.value == pytest.approx(expected, abs=4 * mean.standard_error + 6e-6)


def test_every_figure_carries_its_terms(ideal: Report) -> None:
    (made,) = ideal.samples
    hashes = {figure.terms.reference_hash for figure in made.figures}
    assert len(hashes) == 1 and len(hashes.pop()) == 64
    for figure in made.figures:
        terms = figure.terms
        assert (terms.generated, terms.reference, terms.reference_kind) == (150, 200, "held-out")
        assert terms.sampling == made.sampling and terms.noisepath == noisepath.__version__
    assert made.sampling.steps == 16 and made.sampling.calls == 16 and made.sampling.solver == "adams_moulton"
    identities = {f.terms.features: f.terms.features_identity for f in made.figures if f.name.startswith("frechet")}
    assert identities.keys() == {"pixels"} and len(identities["pixels"]) == 64
    assert ideal.reader is not None and ideal.reader.held_out == 200 and ideal.reader.accuracy == 1.0


def test_a_sampler_that_knows_its_pictures_by_heart_is_found_out(tmp_path: Path) -> None:
    train, held_out = _data(60, 1, classes=False), _data(60, 2, classes=False)
    report = _evaluated(_ideal(FiniteData(train.pictures.double())), train, held_out, tmp_path, n=60)
    assert report.figure("copies").value is not None and report.figure("copies").value > 0.95  # type: ignore[operator]
    assert report.figure("copies").real == 0.0
    assert report.figure("nearest_ratio").value is not None and report.figure("nearest_ratio").value < 0.1  # type: ignore[operator]
    first = report.samples[0].suspects[0]
    assert first.copied and first.nearest == train.names[first.index]
    late = [loss for loss in report.losses if 4 < loss.log_snr < 9]
    assert all(loss.held_out.value > 3 * loss.training.value for loss in late if loss.held_out and loss.training)
    assert Image.open(tmp_path / "neighbours.png").width > 400


def test_a_sampler_that_leaves_most_of_the_data_out_has_precision_without_recall(tmp_path: Path) -> None:
    """A quarter of the real pictures are bright below: a model that draws these alone can reach no other."""
    law = _law()
    below = Mixture([1.0], law.means[1:].reshape(1, *SHAPE), torch.full((1,), 0.01))
    report = _evaluated(_ideal(below), _data(200, 1, classes=False), _data(200, 2, classes=False), tmp_path, n=100)
    precision, recall = (report.figure(name).value for name in ("precision", "recall"))
    assert precision is not None and recall is not None and precision > 0.4 and recall < 0.3
    ratio = report.figure("frechet_ratio")
    assert ratio.value is not None and ratio.value > 5
    # |m - m_real|^2 alone: the means are 0.75 of the way to the other class off, 0.8 in each of 64 values
    assert report.figure("frechet_distance").value == pytest.approx(64 * (0.75 * 0.8) ** 2 + 64 * 0.8**2 * 0.75 * 0.25, rel=0.2)


def test_without_held_out_pictures_the_training_pictures_are_the_reference_and_it_is_said(tmp_path: Path) -> None:
    report = _evaluated(_ideal(_law()), _data(120, 1), None, tmp_path, n=60)
    assert any("no pictures were held out" in note for note in report.notes)
    terms = report.figure("frechet_distance").terms
    assert (terms.reference, terms.reference_kind) == (120, "training")
    assert report.figure("read_as_asked").real is None and report.reader is not None and report.reader.accuracy is None
    assert all(loss.held_out is None and loss.training is not None for loss in report.losses)
    assert report.figure("frechet_distance").real is not None  # one half against the other


@pytest.mark.parametrize(("count", "held", "n"), [(1, 0, 1), (2, 0, 2), (6, 3, 4)])
def test_few_pictures_give_what_can_be_had_and_say_why_the_rest_cannot(count: int, held: int, n: int, tmp_path: Path) -> None:
    held_out = _data(held, 2, classes=False) if held else None
    report = _evaluated(_ideal(_law()), _data(count, 1, classes=False), held_out, tmp_path, n=n)
    for figure in report.samples[0].figures:
        assert (figure.value is None) == bool(figure.reason)
    assert any("few pictures" in note for note in report.notes)
    assert read_report(tmp_path) == report
    if min(n, held or count) > 3:
        assert report.figure("precision").value is not None


def test_a_space_of_ones_own_comes_beside_the_pixels(tmp_path: Path) -> None:
    mine = network_space(lambda x: x.mean(3).flatten(1), "rows", identity="mean of each row")
    asked = Asked(n=40, steps=4, resamples=20)
    data, held_out = _data(50, 1, classes=False), _data(40, 2, classes=False)
    report = evaluate_model(_ideal(_law()), data, held_out, asked, tmp_path, spaces=[mine])  # type: ignore[arg-type]
    names = {figure.terms.features for figure in report.samples[0].figures}
    assert names == {"pixels", "rows"}
    assert report.figure("recall", "rows").terms.features_identity == "mean of each row"


def test_classes_are_asked_for_in_the_datas_proportions() -> None:
    labels = torch.tensor([0] * 70 + [1] * 20 + [3] * 10)
    for n in (1, 3, 10, 77):
        found = torch.bincount(in_proportion(labels, 4, n), minlength=4)
        assert int(found.sum()) == n
        assert bool(((found - n * torch.tensor([0.7, 0.2, 0.0, 0.1])).abs() < 1).all())
    mixed = in_proportion(labels, 4, 100)
    assert torch.bincount(mixed[:50], minlength=4).tolist() == pytest.approx([35, 10, 0, 5], abs=1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n": 0}, "n must be a whole number >= 1, but is 0"),
        ({"steps": -1}, "steps must be a whole number >= 1"),
        ({"n": True}, "n must be a whole number"),
        ({"guidance": ()}, "at least one scale"),
        ({"guidance": (1.0, 2.0, 2.0)}, "names a scale twice: 1, 2, 2"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Asked(**{"n": 5, **wrong})  # type: ignore[arg-type]


# --- a run folder ----------------------------------------------------------------------------------------------------

TINY = "--steps 4 --size tiny --channels 8 --blocks 1 --attention --batch-size 4 --no-evaluate --no-progress"
QUICK = "--n 24 --steps 2 --no-progress"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run on 60 pictures in two classes, 20 of them held out."""
    place = tmp_path_factory.mktemp("trained")
    random = np.random.default_rng(0)
    for name, bright in (("dark", 60), ("light", 190)):
        (place / "pictures" / name).mkdir(parents=True)
        for i in range(30):
            values = (bright + random.integers(-40, 40, (8, 8))).astype(np.uint8)
            Image.fromarray(values).save(place / "pictures" / name / f"{i}.png")
    words = f"train --data {place / 'pictures'} --out {place / 'run'} --holdout 20 {TINY}".split()
    assert main(words) == 0
    with redirect_stdout(StringIO()) as said:
        assert main(f"evaluate {place / 'run'} {QUICK}".split()) == 0
    (place / "said").write_text(said.getvalue())
    return place / "run"


def test_a_run_is_evaluated_from_its_folder_alone(run: Path) -> None:
    report = read_report(run)
    assert (report.pictures, report.held_out, report.shape, report.model_steps) == (60, 20, (1, 8, 8), 4)
    assert [found.sampling.guidance for found in report.samples] == [1.0, 2.0]
    assert [found.sampling.calls for found in report.samples] == [2, 4]
    assert report.reader is not None and report.reader.held_out == 20 and report.reader.accuracy == 1.0
    assert report.figure("read_as_asked", guidance=2.0).real == 1.0
    config = read_run(run)
    _, held_out = split(open_data(config.data), 20, config.train.seed)
    assert held_out is not None
    pictures, _, _ = read(held_out, range(20))
    assert report.figure("precision").terms.reference_hash == content_hash(pictures)
    names = {path.name for path in (run / "evaluation").iterdir()}
    assert names == {
        "report.json", "loss_by_level.png", "neighbours.png", "grid.png", "grid-guidance-2.png", "classifier"
    }  # fmt: skip
    for name in names - {"report.json", "classifier"}:
        assert Image.open(run / "evaluation" / name).format == "PNG"
    assert Image.open(run / "evaluation" / "grid.png").text["classes"] == "dark, light"  # type: ignore[attr-defined]


def test_an_evaluation_is_the_same_when_it_is_made_again_and_its_classifier_is_kept(run: Path, tmp_path: Path) -> None:
    before = load_classifier(run / "evaluation" / "classifier")
    stamp = (run / "evaluation" / "classifier" / "classifier.json").stat().st_mtime_ns
    again = evaluate(run, n=24, steps=2, progress=False)
    assert again.report == read_report(run) and again.folder == run / "evaluation"
    assert (run / "evaluation" / "classifier" / "classifier.json").stat().st_mtime_ns == stamp
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "grid-guidance-7.png").touch()  # what an earlier evaluation left there
    elsewhere = evaluate(run, n=24, steps=2, guidance=[1.0], progress=False, batch_size=5, out=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("grid*")] == ["grid.png"]
    assert load_classifier(tmp_path / "out" / "classifier").identity == before.identity
    assert elsewhere.report.reader == again.report.reader


def test_the_figures_are_printed_with_intervals_and_real_ones_beside(run: Path) -> None:
    out = (run.parent / "said").read_text()
    first = out.splitlines()[0]
    assert first.startswith("24 samples (adams_moulton, 2 steps, seed 0) beside 20 held-out pictures")
    assert "unguided" in out and "guidance 2" in out and "real pictures" in out
    for words in ("read as asked", "Frechet distance / real, classifier", "kernel distance, pixels", "copies", "held-out"):
        assert words in out
    for figure in (read_report(run).figure("read_as_asked"), read_report(run).figure("precision")):
        assert f"{100 * figure.value:.1f} %" in out  # type: ignore[operator]
    assert f"in {run / 'evaluation'}: grid.png" in out


def test_runs_judged_by_one_classifier_are_compared(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The same run with other steps: the figures are like, the sampling is noted."""
    words = f"evaluate {run} --n 24 --steps 3 --guidance 1 --features {run / 'evaluation' / 'classifier'} --compare {run}"
    assert main([*words.split(), "--no-progress", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "note: guidance 1: sampled with steps 2 and 3" in out and "change" in out
    assert compare(read_report(run), read_report(tmp_path)).differences


def test_unlike_evaluations_end_in_one_line(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = f"evaluate {run} --n 23 --steps 2 --guidance 1 --features pixels --compare {run}"
    assert main([*words.split(), "--no-progress", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0 and "unlike reports" in error and "numbers of samples (24 and 23)" in error


def test_pixels_alone_need_no_classifier(run: Path, tmp_path: Path) -> None:
    made = evaluate(run, n=44, steps=2, features="pixels", guidance=[1.0], progress=False, out=tmp_path)
    assert any("only 40 training pictures to stand beside 44 samples" in note for note in made.report.notes)
    assert made.report.reader is None and not (tmp_path / "classifier").exists()
    assert {f.terms.features for f in made.report.samples[0].figures} == {"pixels"}
    assert "read as asked" not in summary(made)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("evaluate nowhere", "there is no run folder 'nowhere'"),
        ("evaluate {run} --n 0", "n must be a whole number >= 1"),
        ("evaluate {run} --guidance 1 1", "names a scale twice"),
        ("evaluate {run} --solver eulre", "did you mean 'euler'"),
        ("evaluate {run} --features nowhere", "there is no folder 'nowhere'"),
        ("evaluate {run} --data nowhere", "nowhere"),
        ("evaluate {run} --compare nowhere.json", "there is no report 'nowhere.json'"),
        ("evaluate {run} --data digits", "classes are dark, light, but the data's are 0, 1"),
    ],
)
def test_what_cannot_be_evaluated_ends_in_one_line(
    words: str, message: str, run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*words.format(run=run).split(), "--no-progress", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0 and message in error
    assert not (tmp_path / "out" / "report.json").exists()


def test_moved_pictures_are_found_by_data_and_others_are_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(run.parent / "pictures", tmp_path / "moved")
    quick = {"n": 8, "steps": 2, "guidance": [1.0], "progress": False, "features": "pixels"}
    made = evaluate(tmp_path / "run", data=tmp_path / "moved", **quick)  # type: ignore[arg-type]
    hashes = {report.figure("precision").terms.reference_hash for report in (made.report, read_report(run))}
    assert len(hashes) == 1  # the same pictures are held out
    (tmp_path / "moved" / "dark" / "0.png").rename(tmp_path / "moved" / "dark" / "new.png")
    with pytest.raises(ValueError, match=r"no longer those .*\+1 added \(dark/new\.png\), -1 removed \(dark/0\.png\)"):
        evaluate(tmp_path / "run", data=tmp_path / "moved", **quick)  # type: ignore[arg-type]


def test_the_report_is_plain_json_without_infinities(run: Path) -> None:
    told = json.loads((run / "evaluation" / "report.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert told["format"] == "noisepath evaluation 1"


# --- a run without classes -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run on 12 small colour pictures without classes, none held out."""
    place = tmp_path_factory.mktemp("plain")
    random = np.random.default_rng(1)
    (place / "pictures").mkdir()
    for i in range(12):
        Image.fromarray(random.integers(0, 255, (6, 6, 3), dtype=np.uint8)).save(place / "pictures" / f"{i}.png")
    assert main(f"train --data {place / 'pictures'} --out {place / 'run'} {TINY}".split()) == 0
    return place / "run"


def test_a_run_without_classes_is_evaluated_without_guidance_and_reader(plain: Path, tmp_path: Path) -> None:
    report = evaluate(plain, steps=2, progress=False).report
    assert [found.sampling.guidance for found in report.samples] == [1.0]
    assert report.figure("frechet_distance").terms.generated == 12 and report.reader is None
    assert {f.terms.features for f in report.samples[0].figures} == {"pixels"}
    assert any("no two classes" in note for note in report.notes)
    with pytest.raises(ValueError, match="trained without classes.*can't be guided"):
        evaluate(plain, guidance=[1.0, 2.0], progress=False, out=tmp_path)


def test_spaces_and_pictures_may_be_handed_over(plain: Path, tmp_path: Path) -> None:
    mine = network_space(lambda x: x.mean((2, 3)), "colour", identity="mean of each channel")
    known = folder(plain.parent / "pictures")
    made = evaluate(plain, n=6, steps=2, features=mine, data=known, progress=False, out=tmp_path)
    assert {f.terms.features for f in made.report.samples[0].figures} == {"pixels", "colour"}
    with pytest.raises(ValueError, match=r"pictures of shape \(3, 6, 6\), but the data's are \(1, 8, 8\)"):
        evaluate(plain, data=digits(), progress=False, out=tmp_path)


def test_files_that_were_written_again_are_noted(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain.parent / "pictures", tmp_path / "pictures")
    Image.new("RGB", (6, 6), "red").save(tmp_path / "pictures" / "3.png")
    report = evaluate(plain, n=4, steps=2, data=tmp_path / "pictures", progress=False, out=tmp_path / "out").report
    assert any("files have changed since the run began: ~" in note and "3.png" in note for note in report.notes)
    (tmp_path / "run").mkdir()
    for path in plain.iterdir():
        if path.name != "data.json":
            (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / "run" / path.name)
    assert evaluate(tmp_path / "run", n=4, steps=2, progress=False, out=tmp_path / "out").report.pictures == 12


def test_a_classifier_of_other_classes_gives_features_and_reads_nothing(run: Path, tmp_path: Path) -> None:
    other = _data(40, 1)  # classes above and below, of the same shape
    save_classifier(train_classifier(other, recipe=Recipe(epochs=1), progress=False), tmp_path / "other")
    made = evaluate(
        run, n=8, steps=2, guidance=[1.0], features=tmp_path / "other", progress=False, out=tmp_path / "out"
    )
    assert made.report.reader is None and any("knows other classes" in note for note in made.report.notes)
    assert made.report.figure("recall", "classifier").value is not None


def test_pictures_too_small_for_the_classifier_are_judged_in_pixels() -> None:
    small = Dataset(torch.zeros(4, 1, 7, 9), torch.arange(4) % 2, ("a", "b"))
    assert "below 8 pixels" in _no_classifier(small) and not _no_classifier(_data(4, 1))
