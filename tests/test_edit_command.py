"""noisepath edit: a user's own pictures, changed by a run's model, with all of theirs that is to be kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisepath import editing
from noisepath.asking import Vocabulary
from noisepath.cli import edit, main
from noisepath.cli.canvas import read_canvas, seen, to_model
from noisepath.cli.labels import asked_for
from noisepath.denoiser import Denoiser
from noisepath.training.checkpoint import load

RANDOM = np.random.default_rng(0)
ALWAYS = ["--device", "cpu", "--no-progress", "--steps", "2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on two classes of colour pictures, 8 x 8 pixels."""
    root = tmp_path_factory.mktemp("edit")
    for name in ("cat", "dog"):
        (root / "data" / name).mkdir(parents=True)
        for i in range(4):
            _save(root / "data" / name / f"{i}.png", RANDOM.integers(0, 255, (8, 8, 3)))
    words = "--steps 2 --channels 8 --blocks 1 --attention --batch-size 4 --no-progress --no-evaluate --device cpu"
    assert main(["train", "--data", str(root / "data"), "--out", str(root / "run"), *words.split()]) == 0
    return root / "run"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Colours of 12 x 20 pixels (width x height), a quarter of them transparent."""
    return _save(tmp_path / "mine.png", RANDOM.integers(0, 255, (20, 12, 4)))


def _save(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


def _edited(run: Path, pictures: list[Path], *words: str) -> Path:
    out = pictures[0].parent / "out"
    assert main(["edit", str(run), *map(str, pictures), *ALWAYS, *words, "--out", str(out)]) == 0
    return out


def _values(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_picture_keeps_its_size_alpha_and_exif_and_is_what_the_library_makes(run: Path, tmp_path: Path) -> None:
    """Held sideways: the file's 8 x 8 pixels are turned when read, and the result is upright and says nothing of it."""
    values, note = RANDOM.integers(0, 255, (8, 8, 4)).astype(np.uint8), Image.Exif()
    note[0x0112], note[0x010F] = 6, "Maker"
    path = tmp_path / "turned.png"
    Image.fromarray(values).save(path, exif=note)
    upright = np.rot90(values, -1)
    out = _edited(run, [path], "--classes", "dog", "--seed", "3", "--strength", "0.5", "--variations", "2")
    results = [Image.open(out / f"turned-{k}.png") for k in range(2)]
    model = load(run, "cpu")
    canvas = read_canvas(path)
    assert (canvas.colours == upright[..., :3]).all() and canvas.alpha is not None and (canvas.alpha == upright[..., 3]).all()
    start = to_model(seen(canvas), (3, 8, 8))[None]
    level = edit.level_of(model, 0.5)
    told = {"seed": 3, "steps": 2, "condition": asked_for(model, ("dog",), 1.0, 1)}
    made = editing.variations(model, start, level, 2, **told)[0]
    for result, one in zip(results, made, strict=True):
        told_exif, pixels = dict(result.getexif()), np.asarray(result)
        assert told_exif == {0x010F: "Maker"} and result.mode == "RGBA" and result.info["seed"] == "3"
        assert (pixels[..., 3] == upright[..., 3]).all()
        assert (pixels[..., :3] == ((one.clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0).numpy()).all()
    assert Image.open(out / "grid.png").width > 24


def test_what_is_transparent_is_seen_on_white(tmp_path: Path) -> None:
    canvas = read_canvas(_save(tmp_path / "a.png", np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]])))
    assert seen(canvas).tolist() == [[[255, 255, 255], [10, 20, 30]]]


@pytest.mark.parametrize("how", ["mask", "box", "outpaint"])
def test_what_is_held_comes_back_to_the_bit_at_full_size(how: str, run: Path, picture: Path, tmp_path: Path) -> None:
    whole = _values(picture)
    hole = np.zeros((20, 12), np.uint8)
    hole[3:10, 2:7] = 255
    words = {
        "mask": ["--mask", str(_save(tmp_path / "hole.png", hole)), "--jumps", "1"],
        "box": ["--box", "2", "3", "5", "7"],
        "outpaint": ["--outpaint", "4", "0", "0", "6"],
    }[how]
    (result,) = (_values(path) for path in _edited(run, [picture], *words).glob("mine*.png"))
    if how == "outpaint":
        assert result.shape == (26, 16, 4) and (result[:20, 4:] == whole).all()
        assert (result[20:, :, 3] == 255).all() and len(np.unique(result[20:, :, 0])) > 10
        return
    assert (result[hole == 0] == whole[hole == 0]).all() and (result[..., 3] == whole[..., 3]).all()
    assert (result[hole > 0] != whole[hole > 0])[:, :3].any(1).mean() > 0.9


def test_a_soft_mask_changes_more_where_it_is_lighter(run: Path, tmp_path: Path) -> None:
    pictures = [_save(tmp_path / f"p{i}.png", RANDOM.integers(0, 255, (8, 8, 3))) for i in range(6)]
    mask = np.repeat(np.array([[0, 0, 60, 60, 150, 150, 255, 255]]), 8, 0)
    out = _edited(run, pictures, "--mask", str(_save(tmp_path / "soft.png", mask)), "--steps", "8", "--jumps", "0")
    off = [np.abs(_values(out / picture.name).astype(float) - _values(picture)) for picture in pictures]
    far = np.mean(off, 0).mean((0, 2)).reshape(4, 2).mean(1)  # about 0, 25, 68 and 85, each within 4
    assert far[0] == 0 <= far[1] < far[2] < far[3]


def test_between_begins_and_ends_at_the_pictures_and_inversion_says_how_near(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = [_save(tmp_path / f"{name}.png", RANDOM.integers(60, 190, (8, 8, 3))) for name in "ab"]
    out = _edited(run, [ends[0]], "--between", str(ends[1]), "--frames", "3", "--steps", "8")
    frames = [_values(out / f"a-{k}.png").astype(int) for k in range(3)]
    for frame, end in ((frames[0], ends[0]), (frames[2], ends[1])):
        assert np.abs(frame - _values(end)).mean() < 12
    assert min(np.abs(frames[1] - frames[k]).mean() for k in (0, 2)) > 12
    capsys.readouterr()
    back = _edited(run, ends, "--invert", "--steps", "8")
    said = [float(line.split(": ")[1].split(" dB")[0]) for line in capsys.readouterr().out.splitlines() if " dB" in line]
    for decibels, end in zip(said, ends, strict=True):
        error = np.square((_values(back / end.name).astype(float) - _values(end)) / 127.5).mean()
        assert decibels > 20 and error < 4 * 10 ** (-decibels / 10) + 2e-5  # and 8 bits


def test_a_strength_is_a_share_of_noise_on_every_schedule(run: Path) -> None:
    model = load(run, "cpu")
    levels = [edit.level_of(model, share) for share in (0.25, 0.5, 1.0)]
    noisiest = model.schedule.level(model.schedule.t_max)
    most = noisiest.sigma / (noisiest.alpha + noisiest.sigma)
    shares = [level if level == 1.0 else level.sigma / (level.alpha + level.sigma) for level in levels]
    assert shares == pytest.approx([most / 4, most / 2, 1.0])


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--strength", "0"], "strength is above 0"),
        (["--strength", "1.5"], "at most 1"),
        (["--mask", "other.png"], "the mask 'other.png' is 5 x 5 pixels, but the picture 'mine.png' is 12 x 20"),
        (["--mask", "black.png"], "black everywhere"),
        (["--mask", "white.png"], "white everywhere"),
        (["--mask", "none.png"], "there is no picture 'none.png'"),
        (["--mask", "text.png"], "can't read the picture 'text.png'"),
        (["--box", "2", "3", "50", "1"], "does not lie in the picture 'mine.png' of 12 x 20 pixels"),
        (["--box", "0", "0", "12", "20"], "holds all of 'mine.png'"),
        (["--outpaint", "0", "0", "0", "0"], "one above 0"),
        (["--box", "0", "0", "1", "1", "--invert"], "--box and --invert are different things"),
        (["--invert", "--strength", "0.5"], "--strength does nothing here"),
        (["--frames", "4"], "--frames does nothing here"),
        (["--jumps", "1"], "--jumps does nothing here"),
        (["--variations", "0"], "variations is a whole number, 1 or more"),
        (["--between", "mine.png", "--frames", "1"], "frames is a whole number, 2 or more"),
        (["--invert", "--solver", "ddpm"], "draws noise"),
        (["--solver", "huen"], "did you mean 'heun'"),
        (["--spacing", "karas"], "did you mean 'karras'"),
        (["--classes", "dgo"], "did you mean 'dog'"),
        (["--guidance", "2"], "say which with --classes"),
        (["--out", "mine.png"], "'mine.png' is a file"),
        (["--out", "."], "say --out for another folder"),
    ],
)
def test_what_can_t_be_done_is_one_line_before_any_work(
    words: list[str], what: str, run: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(picture.parent)
    monkeypatch.setattr(Denoiser, "__call__", lambda *args: pytest.fail("an error comes before any work"))
    for name, value in (("black", 0), ("white", 255)):
        _save(Path(f"{name}.png"), np.full((20, 12), value))
    _save(Path("other.png"), np.eye(5) * 255)
    Path("text.png").write_text("no picture")
    assert main(["edit", str(run), "mine.png", *ALWAYS, *words]) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and err.startswith("noisepath: ") and what in err
    assert not Path("edited").exists()


def test_models_that_can_t_be_guided_say_why(run: Path) -> None:
    model = load(run, "cpu")
    model.info["training"]["drop_condition"] = 0.0
    with pytest.raises(ValueError, match="drop_condition 0"):
        asked_for(model, ("dog",), 2.0, 1)
    with pytest.raises(ValueError, match="always needs a class"):
        asked_for(model, (), 1.0, 1)
    model.info["class_names"], model.vocabulary = (), Vocabulary()
    with pytest.raises(ValueError, match="without classes"):
        asked_for(model, (), 2.0, 1)
    with pytest.raises(ValueError, match="without classes"):
        asked_for(model, ("dog",), 1.0, 1)
    with pytest.raises(ValueError, match="takes no prompt"):
        asked_for(model, (), 1.0, 1, ("a dog",))
    assert asked_for(model, (), 1.0, 1) is None


def test_guidance_and_classes_reach_the_model(run: Path, tmp_path: Path) -> None:
    picture = _save(tmp_path / "p.png", RANDOM.integers(0, 255, (8, 8, 3)))
    made = [_values(_edited(run, [picture], *words.split()) / "p.png") for words in
            ("--classes dog", "--classes cat", "--classes dog --guidance 3", "--strength 0.6 --classes dog")]  # fmt: skip
    assert (made[0] == made[3]).all()
    assert all((made[0] != other).any() for other in made[1:3])


def test_pictures_of_one_name_do_not_overwrite_each_other(run: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        _save(tmp_path / folder / "grid.png", RANDOM.integers(0, 255, (8, 8)))
    out = _edited(run, [tmp_path / "a" / "grid.png", tmp_path / "b" / "grid.png"])
    assert sorted(path.name for path in out.iterdir()) == ["grid-2.png", "grid-3.png", "grid.png"]
    assert read_canvas(out / "grid-2.png").size == (8, 8)
