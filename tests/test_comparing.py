"""Solvers are compared by their distance from the true answer to the same noise, where there is one."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from noisepath import plots
from noisepath.comparing import Comparison, compare
from noisepath.conditions import Condition
from noisepath.data_stats import DataStats
from noisepath.denoiser import Denoiser
from noisepath.exact import Gaussian, Mixture
from noisepath.levels import Level
from noisepath.noise import Keyed
from noisepath.sampling import sample
from noisepath.schedules import schedule
from noisepath.solvers import SOLVERS, ddim, heun
from noisepath.spacing import alpha_bar, log_snr
from noisepath.tableau import START, calls
from noisepath.tuned import Tuned, fingerprint

N = 16
GAUSSIAN = Gaussian([0.5, -0.3], [[0.3, 0.1], [0.1, 0.06]])
MIXTURE = Mixture([0.5, 0.3, 0.2], [[0.8, -0.5], [-0.7, 0.2], [0.1, 0.9]], [0.04, 0.06, 0.05])
PICTURES = Mixture([1.0, 1.0], torch.stack([torch.full((1, 3, 4), v) for v in (-0.6, 0.5)]), [0.05, 0.05])


def compared(data: Any, path: str, *args: Any, **options: Any) -> Comparison:
    options = {"n": N, "shape": data.shape, "dtype": torch.float64, "tolerance": 1e-4, **options}
    return compare(data.denoiser(schedule(path)), *args, **options)


def start_of(path: str, n: int, shape: tuple[int, ...]) -> tuple[Tensor, Level]:
    first = log_snr(schedule(path), 4)[0]
    return Keyed(0, range(n), shape)(START).double() * first.sigma, first


def rms(a: Tensor) -> float:
    return float(a.square().mean().sqrt())


# --- the distance is the true one ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["edm", "flow", "linear"])
def test_on_a_gaussian_distances_are_those_from_the_closed_form(path: str) -> None:
    made = compared(GAUSSIAN, path, ["ddim", "dpmpp_2m", "heun"], steps=(6, 12), tolerance=1e-5)
    x, first = start_of(path, N, (2,))
    truth = GAUSSIAN.flow(x, first, Level(1.0, 0.0))
    assert made.references[0].converged
    # what the last belief leaves out at the path's smallest noise: below ratio^2 / smallest standard deviation
    ratio = schedule(path).level(schedule(path).t_min).noise_ratio
    floor = 1e-5 + 3 * max(ratio, 0.002) ** 2
    for entry in made.entries:
        own = sample(
            GAUSSIAN.denoiser(schedule(path)), (N, 2), solver=entry.solver, steps=entry.steps, dtype=torch.float64
        )
        assert entry.rmse == pytest.approx(rms(own - truth), abs=floor)
        each = (own - truth).square().mean(1).sqrt()
        assert entry.median == pytest.approx(float(each.median()), abs=2 * floor)
        assert entry.rmse is not None and entry.rmse > 10 * floor  # or nothing would have been compared
        torch.testing.assert_close(entry.pictures, own[:8], rtol=0, atol=1e-12)
    torch.testing.assert_close(made.references[0].pictures, truth[:8], rtol=0, atol=5 * floor)


def test_on_a_mixture_distances_are_those_from_the_integrated_flow() -> None:
    def slope(x: Tensor, u: float) -> Tensor:  # dx / d log(sigma) = x - D, where alpha = 1
        return x - MIXTURE.belief(x, Level(1.0, math.exp(u)))

    x, first = start_of("edm", N, (2,))
    ends, steps = (math.log(first.sigma), math.log(0.002)), 600
    h = (ends[1] - ends[0]) / steps
    for i in range(steps):  # Runge and Kutta's method
        u = ends[0] + i * h
        a = slope(x, u)
        b = slope(x + h / 2 * a, u + h / 2)
        c = slope(x + h / 2 * b, u + h / 2)
        x = x + h / 6 * (a + 2 * b + 2 * c + slope(x + h * c, u + h))
    truth = MIXTURE.belief(x, Level(1.0, 0.002))
    made = compared(MIXTURE, "edm", ["unipc", "ddim@karras"], calls=(5, 15), tolerance=1e-5)
    torch.testing.assert_close(made.references[0].pictures, truth[:8], rtol=0, atol=1e-4)
    for entry in made.entries:
        own = sample(
            MIXTURE.denoiser(schedule("edm")), (N, 2), solver=entry.solver, spacing=entry.spacing, calls=entry.calls,
            dtype=torch.float64,
        )  # fmt: skip
        assert entry.rmse == pytest.approx(rms(own - truth), abs=1e-4)


def test_the_distances_of_each_solver_fall_with_its_order() -> None:
    made = compared(GAUSSIAN, "edm", ["ddim", "heun", "dpmpp_2m"], steps=(48, 96), tolerance=1e-5)
    found = {(entry.solver, entry.steps): entry.rmse or math.nan for entry in made.entries}
    for name in ("ddim", "heun", "dpmpp_2m"):
        slope = math.log2(found[name, 48] / found[name, 96])
        assert slope == pytest.approx(SOLVERS[name].order, abs=0.25)


def test_a_reference_that_does_not_settle_or_has_no_room_says_so() -> None:
    def rough(x: Tensor, level: Level, condition: object = None) -> Tensor:  # another belief a little further off
        return torch.sin(1e6 * x)

    made = compare(rough, ["ddim"], calls=[3], n=2, shape=(1,), schedule=schedule("edm"), tolerance=1e-4)
    (found,) = made.references
    assert found.calls == 1024 and not found.converged and found.moved is not None and found.moved > 1e-4
    short = compare(
        GAUSSIAN.denoiser(schedule("linear", num_timesteps=40)), ["ddim"], calls=[3], n=2, shape=(2,)
    ).references[0]
    assert (short.calls, short.moved, short.converged) == (40, None, False)


def test_more_calls_than_usual_are_held_against_a_finer_reference() -> None:
    made = compared(GAUSSIAN, "edm", ["ddim"], calls=[40], tolerance=1.0, n=2)
    assert made.references[0].calls == 160  # 80, and once doubled


# --- what is compared ------------------------------------------------------------------------------------------------


def test_a_solver_that_draws_noise_has_no_distance_but_pictures() -> None:
    made = compared(GAUSSIAN, "edm", ["ddpm", "ddim"], calls=[8])
    drawn, straight = made.entries
    assert (drawn.rmse, drawn.median) == (None, None)
    assert drawn.pictures is not None and drawn.pictures.shape == (8, 2)
    assert straight.rmse is not None
    # by its table, not by its name: with eta = 0 nothing is drawn
    own = compared(GAUSSIAN, "edm", {"quiet": partial(ddim, eta=0.0), "noisy": partial(ddim, eta=0.5)}, calls=[8])
    assert [entry.rmse for entry in own.entries] == [straight.rmse, None]


@pytest.mark.parametrize("name", ["ddim", "heun", "rk4", "dpmpp_3s"])
def test_each_makes_as_many_steps_as_fit_into_the_calls(name: str) -> None:
    made = compared(GAUSSIAN, "edm", [name], calls=(7, 12), n=2, tolerance=1.0)
    for entry, most in zip(made.entries, (7, 12), strict=True):
        more = SOLVERS[name].build(alpha_bar(schedule("edm"), entry.steps + 1))
        assert entry.calls <= most < calls(more)


def test_a_solver_may_say_its_own_spacing_and_has_every_other() -> None:
    made = compared(GAUSSIAN, "edm", ["dpmsolver++@time", "ddim"], spacings=["karras", "angle"], calls=[6])
    assert [entry.name for entry in made.entries] == ["dpmpp_2m@time", "ddim@karras", "ddim@angle"]
    labelled = compared(GAUSSIAN, "edm", {"mine": "dpmpp_2m@time", "own": ddim}, spacings=["karras"], calls=[6])
    assert [entry.name for entry in labelled.entries] == ["mine@time", "own@karras"]
    assert [entry.rmse for entry in labelled.entries] == [entry.rmse for entry in made.entries[:2]]


def test_tuned_samplers_are_compared_at_the_calls_they_were_tuned_for() -> None:
    levels = alpha_bar(schedule("edm"), 6)
    own = Tuned(SOLVERS["dpmpp_2m"].build(levels), fingerprint(schedule("edm")))
    made = compared(GAUSSIAN, "edm", ["dpmpp_2m"], tuned=[own], calls=[4, 6], tolerance=1.0)
    assert [(entry.name, entry.calls) for entry in made.entries] == [
        ("dpmpp_2m@alpha_bar", 4), ("dpmpp_2m@alpha_bar", 6), ("tuned@own", 6)
    ]  # fmt: skip
    assert made.entries[2].rmse == made.entries[1].rmse
    assert compared(GAUSSIAN, "edm", [], tuned=[own], calls=[6], tolerance=1.0).entries == made.entries[2:]
    with pytest.raises(ValueError, match="tuned for 6 calls, but 4, 8 are asked for"):
        compared(GAUSSIAN, "edm", ["ddim"], tuned=[own], calls=[8, 4])
    with pytest.raises(ValueError, match="tuned on EDM"):
        compared(GAUSSIAN, "flow", ["ddim"], tuned=[own], calls=[6])


def test_each_guidance_scale_has_a_reference_of_its_own() -> None:
    condition = Condition(label=torch.arange(N) % 3)
    told = {"condition": condition, "calls": [30], "tolerance": 1e-3}
    made = compared(MIXTURE, "edm", ["dpmpp_2m"], guidance=(1.0, 3.0), **told)
    assert [(entry.guidance, found.guidance) for entry, found in zip(made.entries, made.references, strict=True)] == [
        (1.0, 1.0), (3.0, 3.0)
    ]  # fmt: skip
    near, far = (rms(made.entries[i].pictures - made.reference(scale).pictures) for i, scale in ((1, 3.0), (0, 3.0)))
    assert near < 0.2 * far
    alone = compared(MIXTURE, "edm", ["dpmpp_2m"], guidance=[3.0], **told)
    assert alone.entries[0] == made.entries[1]


def test_figures_survive_json_and_pictures_do_not() -> None:
    made = compared(GAUSSIAN, "edm", ["ddim", "ddpm"], calls=[4, 8])
    again = Comparison.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False)))
    assert again == made
    assert again.entries[0].pictures is None and made.entries[0].pictures is not None
    with pytest.raises(ValueError, match="no comparison"):
        Comparison.from_dict({"n": 3})
    with pytest.raises(ValueError, match="one too many"):
        Comparison.from_dict({**made.to_dict(), "entries": [{"solver": "ddim"}]})


@pytest.mark.parametrize(
    ("solvers", "options", "message"),
    [
        (["huen"], {}, "did you mean 'heun'"),
        (["ddim@karas"], {}, "spacing in 'ddim@karas' 'karas'; did you mean 'karras'"),
        (["ddim"], {"spacings": ["karas"]}, "did you mean 'karras'"),
        (["ddim", "euler"], {}, "ddim@alpha_bar would be compared with itself"),
        ([], {}, "nothing to compare"),
        (["ddim"], {"calls": [5], "steps": [5]}, "either steps or calls"),
        (["ddim"], {"calls": [0]}, "calls must be a whole number"),
        (["ddim"], {"steps": [2.5]}, "steps must be a whole number"),
        (["ddim"], {"calls": [5, 5]}, "each once"),
        (["ddim"], {"calls": []}, "one number or more"),
        ({"slow": lambda levels: heun([levels[0], Level(0.5, 0.5), levels[-1]])}, {"calls": [2]}, "makes 3 calls in one step"),
        (["ddim"], {"n": 0}, "n is a number of pictures"),
        (["ddim"], {"keep": -1}, "keep is a number of pictures"),
        (["ddim"], {"tolerance": 0.0}, "tolerance"),
        (["ddim"], {"guidance": [1.0, 1.0]}, "each once"),
        (["ddim"], {"guidance": [math.nan]}, "finite"),
        (["ddim"], {"shape": None}, "say shape="),
        (["ddim"], {"condition": Condition(label=torch.zeros(3, dtype=torch.long))}, "3 rows"),
    ],
)
def test_what_can_not_be_compared_is_refused_before_any_work(
    solvers: Any, options: dict[str, Any], message: str
) -> None:
    def unasked(x: Tensor, level: Level, condition: object = None) -> Tensor:
        raise AssertionError("asked")

    with pytest.raises(ValueError, match=message):
        compare(unasked, solvers, **{"n": 2, "shape": (2,), "schedule": schedule("flow"), **options})
    with pytest.raises(ValueError, match="no schedule"):
        compare(unasked, ["ddim"], shape=(2,))
    with pytest.raises(TypeError, match="lists of names"):
        compare(unasked, "ddim", shape=(2,), schedule=schedule("flow"))


# --- the figure ------------------------------------------------------------------------------------------------------


def _drawn(made: Comparison, path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    saved: list[Any] = []
    save = plots._save_figure
    monkeypatch.setattr(plots, "_save_figure", lambda figure, path: (saved.append(figure), save(figure, path))[1])
    assert Image.open(plots.comparison_figure(made, path, **options)).format == "PNG"
    return saved[-1]


def test_the_figure_shows_each_distance_and_each_picture_below_the_reference_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = compared(PICTURES, "edm", ["ddim", "dpmpp_2m@karras", "ddpm"], calls=[4, 8], keep=3)
    curves, rows = _drawn(made, tmp_path / "c.png", monkeypatch).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in curves.lines[:2]}
    assert lines == {
        name: [[entry.calls, entry.rmse] for entry in made.entries if entry.name == name]
        for name in ("ddim@alpha_bar", "dpmpp_2m@karras")
    }
    page = np.asarray(rows.images[0].get_array())
    shown = [made.references[0].pictures, *(entry.pictures for entry in made.entries)]
    names = [label.get_text() for label in rows.get_yticklabels()]
    assert names[0].startswith("reference") and names[-1] == "ddpm@alpha_bar, 8 calls" and len(names) == len(shown) == 7
    for row, pictures in enumerate(shown):
        assert pictures is not None
        for column in range(3):
            part = page[2 + row * 5 : 5 + row * 5, 2 + column * 6 : 6 + column * 6]
            np.testing.assert_array_equal(part, plots._pixels(pictures)[column, ..., 0])


def test_a_comparison_without_pictures_is_drawn_as_curves_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = compared(GAUSSIAN, "edm", ["ddim", "heun"], calls=[4, 8, 9], guidance=[1.0])
    bare = Comparison.from_dict(compared(PICTURES, "edm", ["ddpm"], calls=[4]).to_dict())
    (ax,) = _drawn(points, tmp_path / "a.png", monkeypatch, median=True).axes
    assert [line.get_label() for line in ax.lines[:2]] == ["ddim", "heun"]  # one spacing: it need not be said
    assert ax.lines[0].get_ydata().tolist() == [entry.median for entry in points.entries if entry.solver == "ddim"]
    (empty,) = _drawn(bare, tmp_path / "b.png", monkeypatch).axes
    assert "draw noise" in empty.get_title()


def test_runs_that_leave_the_datas_range_are_warned_of_once() -> None:
    """A network that answers with 8 is no model of data in [-1, 1]: one line for the reference and all runs."""
    model = Denoiser(lambda x, t: 8.0 * torch.ones_like(x), "flow", "x0", data_stats=DataStats(range=(-1.0, 1.0)))
    with pytest.warns(UserWarning) as seen:
        compare(model, ["ddim", "heun"], steps=[2, 3], n=2, shape=(3,))
    (one,) = [str(warned.message) for warned in seen]
    assert one.startswith("the samples of 6 runs are no samples of the data") and "but the data lie in [-1, 1]" in one
    assert seen[0].filename == __file__
