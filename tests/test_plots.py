"""Pictures show what they were given: every pixel, in its place; figures show the numbers that they name."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from noisepath import plots
from noisepath.sampling import Trajectory, trajectory
from noisepath.schedules import SCHEDULES, Shifted, Stretch, schedule
from noisepath.tables import DiffusionConfig

TABLES = [name for name in SCHEDULES if schedule(name).num_timesteps is not None]


def _random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def _last_figure(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Figures that are saved from now on, to look into."""
    saved: list[object] = []
    save = plots._save_figure
    monkeypatch.setattr(plots, "_save_figure", lambda figure, path: (saved.append(figure), save(figure, path))[1])
    return saved


@pytest.mark.parametrize("channels", [1, 3])
def test_a_saved_picture_is_read_back_as_the_nearest_of_256_values(tmp_path: Path, channels: int) -> None:
    pictures = _random(3, channels, 5, 4)
    files = plots.save_pictures(pictures, tmp_path / "new folder")
    assert [file.name for file in files] == ["00000.png", "00001.png", "00002.png"]
    for picture, file in zip(pictures, files, strict=True):
        read = np.asarray(Image.open(file), dtype=np.float64).reshape(5, 4, channels) / 127.5 - 1
        # half a step of 2/255, and nothing more
        assert np.abs(read - picture.permute(1, 2, 0).numpy()).max() <= 1 / 255 + 1e-6


@pytest.mark.parametrize(("value", "grey"), [(-1.0, 0), (0.0, 128), (1.0, 255), (-7.0, 0), (1.3, 255)])
def test_black_is_minus_one_white_is_one_and_beyond_is_black_or_white(tmp_path: Path, value: float, grey: int) -> None:
    (file,) = plots.save_pictures(torch.full((1, 1, 2, 2), value), tmp_path)
    assert set(np.asarray(Image.open(file)).flatten().tolist()) == {grey}


@pytest.mark.parametrize("columns", [1, 2, 3, 7, 20, None])
@pytest.mark.parametrize("as_numpy", [False, True])
def test_each_picture_of_a_grid_stands_in_its_place_enlarged(tmp_path: Path, columns: int | None, as_numpy: bool) -> None:
    pictures, scale, gap = _random(7, 3, 4, 6), 3, 2
    path = plots.save_grid(pictures.numpy() if as_numpy else pictures, tmp_path / "grid.png", columns, scale)
    page = np.asarray(Image.open(path))
    in_row = min(columns or 3, 7)
    rows = math.ceil(7 / in_row)
    assert page.shape == (rows * (4 * scale + gap) + gap, in_row * (6 * scale + gap) + gap, 3)
    for i, picture in enumerate(np.rint((pictures.numpy() + 1) * 127.5)):
        top, left = gap + i // in_row * (4 * scale + gap), gap + i % in_row * (6 * scale + gap)
        shown = page[top : top + 4 * scale, left : left + 6 * scale]
        assert (shown == np.moveaxis(picture, 0, -1).repeat(scale, 0).repeat(scale, 1)).all()


def test_a_grid_carries_what_is_said_about_it(tmp_path: Path) -> None:
    path = plots.save_grid(_random(1, 1, 8, 8), tmp_path / "grid.png", about={"seed": 3, "solver": "heun"})
    assert Image.open(path).text == {"seed": "3", "solver": "heun"}


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (torch.zeros(3, 8, 8), r"\(N, 1 or 3, H, W\)"),
        (torch.zeros(1, 2, 8, 8), r"\(N, 1 or 3, H, W\)"),
        (torch.zeros(0, 1, 8, 8), "empty"),
        (torch.full((1, 1, 8, 8), math.nan), "NaN"),
        (torch.full((1, 1, 8, 8), math.inf), "infinite"),
    ],
)
def test_what_is_no_batch_of_pictures_is_refused_and_no_file_made(
    tmp_path: Path, pictures: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        plots.save_grid(pictures, tmp_path / "grid.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"columns": 0}, {"columns": 1.5}, {"scale": -1}, {"scale": True}])
def test_a_grid_needs_whole_numbers(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="whole number"):
        plots.save_grid(_random(2, 1, 8, 8), tmp_path / "grid.png", **options)


def test_texts_and_pictures_must_be_as_many(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 texts for 3"):
        plots.save_pictures(_random(3, 1, 4, 4), tmp_path, [{}, {}])


def test_a_file_that_can_not_be_written_leaves_the_old_one_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plots.save_grid(_random(1, 1, 8, 8), tmp_path / "grid.png")
    before = path.read_bytes()

    def half(self: Image.Image, file: Path, **options: object) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(OSError, match="disk full"):
        plots.save_grid(_random(4, 1, 8, 8), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("channels", [1, 3])
def test_an_animation_shows_every_frame_and_holds_the_last(tmp_path: Path, channels: int) -> None:
    frames = [torch.full((4, channels, 8, 8), value) for value in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    path = plots.save_gif(frames, tmp_path / "run.gif", milliseconds=40, hold=1000)
    shown = [frame.copy() for frame in ImageSequence.Iterator(Image.open(path))]
    assert [frame.info["duration"] for frame in shown] == [40, 40, 40, 40, 1040]
    assert shown[0].info["loop"] == 0
    for frame, value in zip(shown, (0, 64, 128, 191, 255), strict=True):
        # 32 greys: half a step of 255 / 31
        assert abs(np.asarray(frame.convert("L"), dtype=int)[10, 10] - value) <= 5


def test_an_animation_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        plots.save_gif([], tmp_path / "run.gif")


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_drawn_from_its_first_time_to_its_last(name: str) -> None:
    made = schedule(name)
    times = plots._run_times(made, 11)
    assert len(times) == 11
    assert (times.diff() > 0).all()
    assert times[0].item() == pytest.approx(made.t_min, rel=1e-12, abs=0)
    assert times[-1].item() == pytest.approx(made.t_max, rel=1e-12)


@pytest.mark.parametrize("name", TABLES)
def test_the_betas_that_are_drawn_are_the_table_s(name: str) -> None:
    drawn = plots._betas(schedule(name))
    assert drawn is not None
    # read back from log-SNRs: their rounding, relative to beta of 1e-4
    np.testing.assert_allclose(drawn, DiffusionConfig(schedule=name).tables().betas, rtol=1e-10)


def test_a_stretch_of_a_table_is_drawn_at_its_own_times() -> None:
    whole = schedule("linear")
    part = Stretch(whole, 900.0, 500.0)
    times = plots._run_times(part, 11)
    assert times.tolist() == [500.0 + 40.0 * i for i in range(11)]
    np.testing.assert_allclose(plots._betas(part), plots._betas(whole)[500:901], rtol=1e-9)  # type: ignore[index,arg-type]


def test_a_schedule_without_a_table_has_no_betas() -> None:
    assert all(plots._betas(schedule(name)) is None for name in SCHEDULES if name not in TABLES)


def test_every_schedule_of_the_catalogue_is_drawn_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = _last_figure(monkeypatch)
    path = plots.schedule_figure(list(SCHEDULES), tmp_path / "all.png", columns=3)
    assert Image.open(path).size[0] > 1000
    curves = figures[0].axes[:3]
    for i, name in enumerate(SCHEDULES):
        signal = np.asarray(curves[0].lines[i].get_ydata())
        assert curves[0].lines[i].get_label() == name
        assert (np.diff(signal) <= 0).all()
        alpha, sigma = schedule(name).alpha_sigma(torch.tensor([schedule(name).t_max], dtype=torch.float64))
        assert signal[-1] == pytest.approx(float(alpha**2 / (alpha**2 + sigma**2)), abs=1e-12)
    strips = figures[0].axes[3:]
    assert len(strips) == 3 * len(SCHEDULES)
    picture = plots._pixels(plots._landscape())[0]
    for row in np.array(strips).reshape(-1, 3):
        harm = [np.abs(ax.images[0].get_array().astype(int) - picture).mean() for ax in row]
        assert harm[0] < 25 and harm[2] > 60  # of 255: from nearly data to nearly noise
        assert harm[0] < harm[1] < harm[2]


def test_betas_have_a_panel_only_where_there_are_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = _last_figure(monkeypatch)
    for names, panels in ((["edm"], 2), (["edm", "flow"], 2), (["linear"], 3), (["edm", "linear"], 3)):
        plots.schedule_figure(names, tmp_path / "s.png", columns=2)
        curves = figures[-1].axes[: -2 * len(names)]
        assert len(curves) == panels
        assert all(any(len(line.get_xdata()) for line in ax.lines) for ax in curves), "no panel is empty"


def test_a_figure_takes_schedules_of_one_s_own_and_a_picture_of_one_s_own(tmp_path: Path) -> None:
    own = {"shifted flow": Shifted(schedule("flow"), 3.0), "zero": schedule("linear", zero_terminal_snr=True)}
    assert plots.schedule_figure(own, tmp_path / "own.png", _random(1, 1, 6, 9), columns=4).exists()


def test_a_schedule_figure_refuses_unknown_names_and_none_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        plots.schedule_figure(["cosin"], tmp_path / "s.png")
    with pytest.raises(ValueError, match="no schedule"):
        plots.schedule_figure([], tmp_path / "s.png")


@pytest.mark.parametrize("path_name", ["edm", "flow", "vp_linear"])
def test_a_run_is_shown_as_bright_on_every_path(path_name: str) -> None:
    # unit-variance data: x_t has the variance alpha^2 + sigma^2, what is shown has 1, on every path and at every level
    made = schedule(path_name)
    levels = made.levels(plots._run_times(made, 5))
    x0, noise = torch.randn(2, 40_000, generator=torch.Generator().manual_seed(0))
    states = [level.alpha * x0 + level.sigma * noise for level in levels]
    for shown in plots.visible(Trajectory(levels, states, [None] * 5)):
        assert shown.std().item() == pytest.approx(1.0, abs=0.015)  # 4 standard errors of 40,000 draws: 0.014


def test_a_trajectory_shows_state_above_belief_at_first_and_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denoiser(x: torch.Tensor, level: object, condition: None = None) -> torch.Tensor:
        return torch.full_like(x, 0.25)

    made = trajectory(denoiser, (3, 1, 4, 4), schedule=schedule("edm"), steps=9)
    figures = _last_figure(monkeypatch)
    plots.trajectory_figure(made, tmp_path / "t.png", pictures=2, columns=4)
    axes = np.array(figures[0].axes).reshape(4, 4)
    shown = [[ax.images[0].get_array().astype(int) for ax in row] for row in axes]
    states = plots.visible(made)
    for row, picture in ((0, 0), (2, 1)):
        for column, moment in ((0, 0), (3, len(states) - 1)):
            expected = plots._pixels(states[moment])[picture, ..., 0]
            assert (shown[row][column] == expected).all()
        assert all((belief == 159).all() for belief in shown[row + 1])  # 0.25 -> (1.25) * 127.5 = 159.4


def test_the_loss_curve_smooths_over_what_came_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.jsonl"
    losses = [float(i % 2) for i in range(400)]
    log.write_text("".join(json.dumps({"step": 10 * (i + 1), "loss": v}) + "\n" for i, v in enumerate(losses)))
    figures = _last_figure(monkeypatch)
    plots.loss_curve(log, tmp_path / "loss.png", smooth=0.05)
    raw, smooth = figures[0].axes[0].lines
    assert list(raw.get_ydata()) == losses
    assert smooth.get_ydata()[0] == losses[0]
    np.testing.assert_allclose(smooth.get_ydata()[19:], 0.5, atol=1e-12)  # the mean of 20 lines, half of them 1
    assert Image.open(tmp_path / "loss.png").size[0] > 500


def test_a_loss_curve_of_one_line_is_drawn_and_of_none_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "loss": 0.5}\n')
    assert plots.loss_curve(log, tmp_path / "loss.png").exists()
    log.write_text("")
    with pytest.raises(ValueError, match="no line"):
        plots.loss_curve(log, tmp_path / "none.png")
