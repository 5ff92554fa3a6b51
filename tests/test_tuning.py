"""Tuning: the form keeps the solver's laws, the search is the cheapest path, and the fit ends nearer to the truth."""

from __future__ import annotations

import itertools
import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import noisepath
from noisepath.levels import Level
from noisepath.loop import run_loop
from noisepath.solvers import adams, exponential_adams, unipc
from noisepath.spacing import SPACINGS
from noisepath.tuned import Tuned, fingerprint, load_tuned, tuned_of_run
from noisepath.tuning import Starts, tune
from noisepath.tuning.fit import errors, fit
from noisepath.tuning.form import Form
from noisepath.tuning.run import places_within
from noisepath.tuning.search import _cheapest, bases, searched
from noisepath.tuning.teacher import Task, solve, watch

LINEAR = noisepath.schedule("linear")
MIXTURE = noisepath.exact.Mixture([0.3, 0.7], [[-0.8, 0.1], [0.6, -0.4]], [0.04, 0.09])
GAUSSIAN = noisepath.exact.Gaussian([0.3, -0.5], [0.36, 0.01])
IN_FLOAT64 = {"dtype": torch.float64}


def _form(build: object, calls: int, schedule: noisepath.schedules.Schedule = LINEAR) -> Form:
    last = Level(1.0, 0.0)
    first, within = schedule.level(schedule.t_max), places_within(schedule)
    return Form(build, first, last, schedule.level_at, calls, within)  # type: ignore[arg-type]


def _task(data: noisepath.exact.Mixture, count: int, seed: int = 0, steps: int = 64) -> Task:
    starts = Starts(data.denoiser(LINEAR), range(count), seed=seed)
    return solve(starts, LINEAR, data.shape, steps, **IN_FLOAT64)


# --- the form --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in bases(0.3) if "trig" not in name])
@pytest.mark.parametrize("calls", [1, 2, 5])
def test_at_its_beginning_the_form_is_the_solver_s_own_table(name: str, calls: int) -> None:
    build, levels = bases(0.3)[name], SPACINGS["asinh"](LINEAR, calls)
    form = _form(build, calls)
    made, expected = form.table(form.begin(levels)), build(levels)
    assert len(form.begin(levels)) == len(form.kinds)
    for mine, its in zip(made, expected, strict=True):
        assert mine.level.log_snr == pytest.approx(its.level.log_snr, abs=1e-9)
        assert mine.outputs == pytest.approx(its.outputs, rel=1e-6)
        for k in mine.states.keys() | its.states.keys():
            assert mine.states.get(k, 0.0) == pytest.approx(its.states.get(k, 0.0), abs=1e-9)


@given(st.lists(st.floats(-0.5, 0.5), min_size=3 + 3 + 6, max_size=3 + 3 + 6), st.sampled_from(list(bases(1.0))))
def test_whatever_the_numbers_a_constant_belief_is_followed_and_the_noise_is_gone(numbers: list[float], name: str) -> None:
    form = _form(bases(1.0)[name], 4)
    start = form.begin(SPACINGS["asinh"](LINEAR, 4))
    table = form.table([a + b for a, b in zip(start, [0.3 * n for n in numbers], strict=True)])
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    ends = run_loop(table, lambda x, level: torch.full_like(x, 0.7), x)
    torch.testing.assert_close(ends, torch.full_like(x, 0.7), atol=1e-12, rtol=0)


def test_a_weight_adds_an_earlier_belief_and_takes_the_newest_one_away() -> None:
    """As the form is written down: alpha_s (1 - r) d (D_j - D), here with all other numbers left alone."""
    form = _form(partial(adams, frame="flow", order=3), 4)
    start = form.begin(SPACINGS["asinh"](LINEAR, 4))
    for place, (kind, step, back) in enumerate(form.kinds):
        if kind != "weight" or step == form.calls:  # the last step is put right as a whole
            continue
        plain, moved = form.table(start), form.table([n + 0.25 * (i == place) for i, n in enumerate(start)])
        asked = [n for n, node in enumerate(plain) if node.evaluate]
        t, s = plain[asked[step - 1]].level, plain[asked[step]].level
        added = 0.25 * s.alpha * (1 - t.alpha * s.sigma / (s.alpha * t.sigma))
        before, after = plain[asked[step]].outputs, moved[asked[step]].outputs
        changed = {k: after.get(k, 0.0) - before.get(k, 0.0) for k in before.keys() | after.keys()}
        expected = {asked[step - 1 - back]: added, asked[step - 1]: -added}
        assert {k: v for k, v in changed.items() if abs(v) > 1e-12} == pytest.approx(expected)


def test_levels_that_rise_or_leave_the_schedule_do_not_fit() -> None:
    form = _form(adams, 3)
    rest = [0.0] * (len(form.kinds) - 2)
    assert form.fits([-1.0, 1.0, *rest])
    assert not form.fits([1.0, -1.0, *rest])
    assert not form.fits([-6.0, 1.0, *rest])
    assert not form.fits([-1.0, 9.0, *rest])


# --- where it begins -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_path_found_is_the_cheapest_of_all(steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    cost = torch.rand(7, 7, generator=generator, dtype=torch.float64)
    cost[torch.tril(torch.ones(7, 7)).bool()] = math.inf
    paths = [(0, *inner, 6) for inner in itertools.combinations(range(1, 6), steps - 1)]
    sums = {path: sum(float(cost[a, b]) for a, b in itertools.pairwise(path)) for path in paths}
    assert tuple(_cheapest(cost, steps)) == min(sums, key=sums.__getitem__)


def test_levels_that_were_searched_for_serve_ddim_better_than_any_named_spacing() -> None:
    task = _task(MIXTURE, 64)
    way = watch(task.starts, LINEAR, (2,), 1e-3, **IN_FLOAT64)
    found = searched(LINEAR, 6, way)
    assert found is not None

    def error(levels: list[Level]) -> float:
        return errors(exponential_adams(levels, order=1), [task], 64).rmse

    assert error(found) < min(error(SPACINGS[name](LINEAR, 6)) for name in SPACINGS)


def test_the_teacher_knows_the_truth() -> None:
    task = _task(GAUSSIAN, 32)
    first = LINEAR.level(LINEAR.t_max)
    truth = GAUSSIAN.flow(task.noise * first.sigma, first, Level(1.0, 0.0))
    torch.testing.assert_close(task.ends, truth, atol=2e-4, rtol=0)


# --- the fit ---------------------------------------------------------------------------------------------------------


def test_a_table_of_the_same_form_is_found_again() -> None:
    """Ends made by other numbers of the form are reached exactly."""
    form = _form(partial(adams, frame="flow", order=3), 3)
    start = form.begin(SPACINGS["asinh"](LINEAR, 3))
    away = [n + shift for n, shift in zip(start, [0.1, -0.08, 0.01, -0.01, 0.05, -0.04, 0.03], strict=True)]
    task = _task(MIXTURE, 96, steps=8)
    reached = run_loop(form.table(away), task.starts.denoiser, task.noise * form.first.sigma)
    goal = Task(task.starts, task.noise, reached)
    before = errors(form.table(start), [goal], 64).rmse
    found = fit(form, start, [goal], [goal], batch_size=40, iterations=30)
    assert found.held_out.rmse < 1e-2 * before  # the ridge holds a little of it back


@pytest.mark.parametrize("schedule", ["linear", "flow", "edm"])
def test_a_tuned_sampler_ends_nearer_to_the_truth_on_starts_it_never_saw(schedule: str) -> None:
    path = noisepath.schedule(schedule)
    denoiser = MIXTURE.denoiser(path)
    (made,) = tune(denoiser, (2,), 5, starts=96, **IN_FLOAT64)
    shape, seed = (256, 2), 12345
    truth = noisepath.sample(denoiser, shape, steps=400, seed=seed, **IN_FLOAT64)

    def error(**how: object) -> float:
        got = noisepath.sample(denoiser, shape, seed=seed, **how, **IN_FLOAT64)  # type: ignore[arg-type]
        return float((got - truth).pow(2).mean().sqrt())

    assert error(solver=made) < 0.4 * error(calls=5)
    assert made.about["rmse"] < made.about["default_rmse"]


def test_one_sampler_may_serve_several_guidance_scales() -> None:
    model = MIXTURE.denoiser(LINEAR)
    views = [noisepath.classifier_free(model, scale) for scale in (1.0, 2.0)]

    def asked(numbers: list[int]) -> noisepath.Condition:
        return noisepath.Condition(label=torch.tensor([n % 2 for n in numbers]))

    (made,) = tune(views, (2,), 4, starts=64, condition=asked, **IN_FLOAT64)  # type: ignore[arg-type]
    assert made.about["rmse"] < made.about["default_rmse"]
    assert made.about["starts"] == 64


def test_where_the_default_is_exact_nothing_is_changed() -> None:
    """Data that are one point: every sampler is exact, and the default one stays."""
    point = noisepath.exact.FiniteData(torch.tensor([[0.3, -0.2]]))
    (made,) = tune(point.denoiser(LINEAR), (2,), 3, starts=8, **IN_FLOAT64)
    assert made.tableau == noisepath.sampling.design(LINEAR, calls=3)


def test_one_call_leaves_nothing_to_be_fitted() -> None:
    (made,) = tune(MIXTURE.denoiser(LINEAR), (2,), 1, starts=8, **IN_FLOAT64)
    assert made.calls == 1 and made.about["rmse"] == made.about["default_rmse"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"calls": 0}, "1 or more, but got 0"),
        ({"calls": [4, 2.5]}, "2.5"),
        ({"calls": 2000}, "room for 1000"),
        ({"starts": 1}, "starts must be 2 or more"),
        ({"begin_from": 0}, "begin_from must be 1 or more"),
        ({"calls": []}, "a number of calls"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tune(MIXTURE.denoiser(LINEAR), (2,), **{"calls": 4, **options})  # type: ignore[arg-type]


def test_a_denoiser_without_a_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="no schedule"):
        tune(MIXTURE.denoiser(), (2,), 4)


# --- what is kept ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made() -> Tuned:
    return tune(MIXTURE.denoiser(LINEAR), (2,), 3, starts=16, **IN_FLOAT64)[0]


def test_the_file_holds_all_of_it(made: Tuned, tmp_path: Path) -> None:
    made.save(tmp_path / "calls-3.json")
    assert load_tuned(tmp_path / "calls-3.json") == made
    assert tuned_of_run(tmp_path) == {}
    made.save(tmp_path / "tuned" / "calls-3.json")
    (tmp_path / "tuned" / "calls-x.json").write_text("{}")
    assert list(tuned_of_run(tmp_path)) == [3]


def test_another_schedule_is_refused_and_an_equal_one_is_not(made: Tuned) -> None:
    made.check(noisepath.schedule("linear"))
    for other in (noisepath.schedule("cosine"), noisepath.schedule("flow"), noisepath.schedule("linear", num_timesteps=500)):
        with pytest.raises(ValueError, match="tuned on Discrete"):
            noisepath.sample(MIXTURE.denoiser(other), (2, 2), solver=made)
    with pytest.raises(ValueError, match="none is known"):
        noisepath.sample(MIXTURE.denoiser(), (2, 2), solver=made)


@pytest.mark.parametrize("said", [{"steps": 4}, {"calls": 2}, {"spacing": "time"}, {"levels": [Level(0.1, 1), Level(1, 0)]}])
def test_what_it_was_not_tuned_for_is_refused(made: Tuned, said: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="tuned"):
        noisepath.sample(MIXTURE.denoiser(LINEAR), (2, 2), solver=made, **said)  # type: ignore[arg-type]


def test_the_number_of_steps_may_be_said(made: Tuned) -> None:
    plain = noisepath.sample(MIXTURE.denoiser(LINEAR), (2, 2), solver=made)
    assert torch.equal(noisepath.sample(MIXTURE.denoiser(LINEAR), (2, 2), solver=made, steps=3), plain)


@pytest.mark.parametrize(
    "damage",
    [
        lambda told: told.pop("nodes"),
        lambda told: told.update(format="another"),
        lambda told: told["nodes"][1]["states"].update({"0": "NaN"}),
        lambda told: told["nodes"][1]["outputs"].update({"5": 1.0}),
        lambda told: told["schedule"].pop("times"),
        lambda told: told["nodes"][0].update(alpha=-1.0),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(made: Tuned, tmp_path: Path, damage: object) -> None:
    path = tmp_path / "calls-3.json"
    made.save(path)
    told = json.loads(path.read_text())
    damage(told)  # type: ignore[operator]
    path.write_text(json.dumps(told))
    with pytest.raises(ValueError, match="is no tuned sampler, or damaged") as caught:
        load_tuned(path)
    assert "\n" not in str(caught.value)


def test_every_schedule_has_a_fingerprint_that_json_keeps() -> None:
    prints = [json.dumps(fingerprint(noisepath.schedule(name))) for name in noisepath.SCHEDULES]
    assert all("Infinity" not in text and "NaN" not in text for text in prints)
    assert len(set(prints)) == len(prints)


def test_the_corrector_of_unipc_is_tuned_with_it() -> None:
    form = _form(unipc, 3)
    start = form.begin(SPACINGS["asinh"](LINEAR, 3))
    task = _task(MIXTURE, 48)
    before = errors(form.table(start), [task], 48).rmse
    assert fit(form, start, [task], [task], batch_size=48, iterations=6).held_out.rmse < 0.5 * before
