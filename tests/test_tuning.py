"""Tuning: the form keeps the solver's laws, the search is the cheapest path, and the fit ends nearer to the truth."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import noisepath
from guided import DATA, EXAMPLES, LABEL, SHAPE, X, asks
from noisepath.conditions import Condition
from noisepath.denoiser import Denoise
from noisepath.guidance import GUIDANCES, Transformed, apg, clip
from noisepath.levels import Level
from noisepath.loop import run_loop
from noisepath.solvers import adams, exponential_adams, unipc
from noisepath.spacing import SPACINGS
from noisepath.tuned import Tuned, fingerprint, load_tuned, tuned_of_run
from noisepath.tuning import Starts, tune
from noisepath.tuning.fit import _Run, errors, fit
from noisepath.tuning.form import Form
from noisepath.tuning.run import answers, places_within, shape_of, spoken
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

    assert error(solver=made) < 0.4 * error(calls=5)  # 0.02 to 0.07 on four sets of starts for each schedule
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
        ({"calls": True}, "1 or more, but got True"),
        ({"calls": "4"}, "whole number of calls, 1 or more, but '4'"),
        ({"steps": 4}, r"tune\(model, steps=8\), but both are given"),
        ({"calls": None}, "but neither is given"),
        ({"shape": None}, "give shape="),
        ({"shape": 4}, r"as in \(1, 8, 8\), but got 4: for a number of calls say calls="),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tune(MIXTURE.denoiser(LINEAR), **{"shape": (2,), "calls": 4, **options})  # type: ignore[arg-type]


def test_a_denoiser_without_a_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="no schedule"):
        tune(MIXTURE.denoiser(), (2,), 4)


def test_steps_are_calls_and_the_denoiser_knows_its_shape() -> None:
    lines: list[str] = []
    model = MIXTURE.denoiser(LINEAR)
    named = noisepath.Denoiser(lambda x, t: x, LINEAR, "x0", info={"shape": (2,)})
    assert shape_of(named, None) == (2,) and shape_of(named, (3,)) == (3,)
    one, *none = tune(model, (2,), steps=np.int64(2), starts=8, told=lambda share, line: lines.append(line), **IN_FLOAT64)
    assert not none and one.calls == 2
    assert one.tableau == tune(model, (2,), 2, starts=8, **IN_FLOAT64)[0].tableau
    assert any(re.fullmatch(r"the sampler in about \d+ s at most", line) for line in lines)


def test_how_long_it_takes_is_said_in_words_and_is_no_less_than_what_is_done() -> None:
    assert [spoken(s) for s in (0.2, 89.0, 91.0, 5399.0, 9000.0)] == [
        "about 1 s", "about 89 s", "about 2 min", "about 90 min", "about 2.5 h",
    ]  # fmt: skip
    asked = 0

    def counted(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        nonlocal asked
        asked += len(x)
        return MIXTURE.denoiser()(x, level)

    before: list[int] = []

    def heard(share: float, line: str) -> None:
        if "at most" in line:
            before.append(asked)

    tune(counted, (2,), 4, schedule=LINEAR, starts=64, told=heard, **IN_FLOAT64)
    assert 0.1 * answers(4, 64, 64, 2) < asked - before[0] <= answers(4, 64, 64, 2)


def test_a_sampler_is_used_for_the_views_that_it_was_tuned_for_alone() -> None:
    model = MIXTURE.denoiser(LINEAR)
    null = Condition(label=torch.tensor([2]))
    clipped, guided = clip(model), noisepath.classifier_free(model, 2.0, negative=null)
    asked = {"condition": Condition(label=torch.tensor([0, 1]))}
    (made,) = tune(clipped, (2,), 2, starts=4, **IN_FLOAT64)
    assert made.views == (("clip",),)
    noisepath.sample(clip(model, -3.0, 3.0), (2, 2), solver=made)
    for other in (model, clip(guided), guided):
        with pytest.raises(ValueError, match=r"tuned for clip\(the model\), but is to sample .*the model.*: tune one"):
            noisepath.sample(other, (2, 2), solver=made, **(asked if other is not model else {}))  # type: ignore[arg-type]
    both = replace(made, views=((), ("classifier_free",)))
    for scale in (1.0, 2.0, 3.0):
        noisepath.sample(noisepath.classifier_free(model, scale, negative=null), (2, 2), solver=both, **asked)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"tuned for the model and classifier_free\(the model\), but"):
        noisepath.sample(apg(model, 2.0, negative=null), (2, 2), solver=both, **asked)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"tuned for clip\(the model\)"):
        noisepath.compare(model, [], tuned=[made], calls=[2], shape=(2,), n=2)
    noisepath.sample(model, (2, 2), solver=replace(made, views=None))  # an older file does not say
    holes = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    noisepath.inpaint(model, torch.zeros(2, 2), holes, solver=both)  # what an edit holds is no view of the model


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


# --- a run that goes on from the middle ------------------------------------------------------------------------------


class Running:
    """A denoiser whose runs remember the mean of what they were asked; it can tell, or can't."""

    def __init__(self, forks: bool) -> None:
        self.forks = forks

    def begin(self, levels: list[Level]) -> Denoise:
        return RunningMean() if self.forks else RunningMean().ask  # type: ignore[return-value]


class RunningMean:
    def __init__(self, mean: Tensor | float = 0.0) -> None:
        self.mean = mean

    def ask(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        self.mean = 0.5 * self.mean + 0.5 * x
        return DATA.denoiser()(self.mean, level)

    __call__ = ask

    def fork(self) -> RunningMean:
        return RunningMean(self.mean)


REMEMBERING: dict[str, Denoise] = {
    **{name: make(DATA.denoiser()) for name, make in EXAMPLES.items() if name != "cfg_plus_plus"},
    "apg in two calls": apg(DATA.denoiser(), 3.0, together=False),
    "apg in clip in apg": apg(clip(apg(DATA.denoiser(), 2.0), -2.0, 2.0), 3.0, negative=Condition(label=torch.tensor([0]))),
    "one's own with a fork": Running(forks=True),  # type: ignore[dict-item]
    "one's own without": Running(forks=False),  # type: ignore[dict-item]
    "guidance inside of which something remembers": clip(Running(forks=False), -1.0, 1.0),  # type: ignore[arg-type]
}


def test_every_guidance_is_among_them() -> None:
    assert set(GUIDANCES) <= {*REMEMBERING, "cfg_plus_plus"}  # which moves the state, and is refused


@pytest.mark.parametrize("name", REMEMBERING)
def test_a_run_resumed_midway_ends_where_the_same_run_made_anew_ends(name: str) -> None:
    form = _form(partial(adams, frame="flow", order=3), 5)
    numbers = form.begin(SPACINGS["asinh"](LINEAR, 5))
    task = Task(Starts(REMEMBERING[name], range(5), None if "own" in name or "something" in name else asks(name)), X, 0 * X)
    kept = _Run(task, slice(0, 5))
    end = kept.go(form.table(numbers), keep=True)
    assert torch.equal(end, _Run(task, slice(0, 5)).go(form.table(numbers)))
    for j, (kind, n, _) in enumerate(form.kinds):
        moved = list(numbers)
        moved[j] += 1e-9
        ends = [run.go(form.table(moved)) for run in (kept, kept, _Run(task, slice(0, 5)))]
        assert torch.equal(ends[0], ends[2]) and torch.equal(ends[1], ends[2]), (kind, n)
        assert float((ends[0] - end).abs().max()) < 1e-6  # as much as a derivative says, and no jump


def test_a_scale_of_each_start_goes_with_it_into_its_batch() -> None:
    table = adams(SPACINGS["asinh"](LINEAR, 3), frame="flow", order=3)
    task = Task(Starts(EXAMPLES["classifier_free"](DATA.denoiser()), range(5), LABEL), X, 0 * X)
    whole, parts = (errors(table, [task], size).each for size in (5, 2))
    torch.testing.assert_close(parts, whole)


def test_what_nothing_is_known_of_is_run_anew_and_what_remembers_nothing_is_not() -> None:
    asked = []

    def counting(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        asked.append(level)
        return DATA.denoiser()(x, level)

    def mine(run: Denoise) -> Denoise:
        return run

    form = _form(partial(adams, frame="flow", order=3), 5)
    table = form.table(form.begin(SPACINGS["asinh"](LINEAR, 5)))
    last = form.table([*form.begin(SPACINGS["asinh"](LINEAR, 5))[:-1], 1e-3])
    for denoiser, calls in ((counting, 0), (clip(counting), 0), (Transformed(counting, mine), 5)):
        run = _Run(Task(Starts(denoiser, range(5)), X, 0 * X), slice(0, 5))
        run.go(table, keep=True)
        asked.clear()
        run.go(last)
        assert len(asked) == calls


def test_a_fork_leaves_the_run_that_it_was_taken_of_as_it_is() -> None:
    shape = (5, *SHAPE)
    assert X.shape == shape
    denoiser = EXAMPLES["apg"](DATA.denoiser())
    run = noisepath.denoiser.begin(denoiser)
    level = Level(0.5, 0.5)
    run(X, level, asks("apg"))
    forked = noisepath.denoiser.fork(denoiser, run)
    assert forked is not None and forked is not run
    ends = [one(2 * X, level, asks("apg")) for one in (forked, run)]
    assert torch.equal(ends[0], ends[1])  # type: ignore[arg-type]
    plain = noisepath.denoiser.begin(clip(DATA.denoiser()))
    assert noisepath.denoiser.fork(clip(DATA.denoiser()), plain) is plain
