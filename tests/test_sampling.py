"""What a user calls: the same picture however it is asked for, the right defaults, and one-line errors."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import robustness
from noisepath import spacing
from noisepath.analysis import gaussian_law
from noisepath.conditions import Condition
from noisepath.data_stats import DataStats
from noisepath.denoiser import Denoiser, Moved
from noisepath.exact import Gaussian, Mixture
from noisepath.guidance import classifier_free
from noisepath.levels import Level
from noisepath.loop import Cancelled, Event, run_loop
from noisepath.noise import Keyed
from noisepath.sampling import DEFAULTS, Options, Trajectory, _Asked, design, sample, steps_within, trajectory
from noisepath.schedules import SCHEDULES, begun, schedule
from noisepath.solvers import SOLVERS, adams_moulton, ddim
from noisepath.tableau import START, Draft, Draw, calls

MIXTURE = Mixture([0.5, 0.5], [[0.8, -0.5], [-0.7, 0.2]], [0.1, 0.2])
FLOW = MIXTURE.denoiser(schedule("flow"))
DOUBLE = {"dtype": torch.float64, "steps": 6}
# one of each kind: looks back, looks inside, draws one, draws two that are tied, corrects, goes back to more noise
KINDS = ("ddim", "ddpm", "heun", "dpmpp_2m", "adams", "unipc", "dpmpp_sde", "sa_solver", "seeds_3", "restart")


# The same pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", KINDS)
def test_picture_i_depends_on_the_seed_and_i_alone(solver: str) -> None:
    options: dict[str, Any] = {**DOUBLE, "solver": solver, "seed": 5}
    whole = sample(FLOW, (7, 2), **options)
    # 1e-12: the exact denoiser's sums are ordered by torch as the batch size suits it
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-12)
    for size in (1, 3, 7, 100):
        close(sample(FLOW, (7, 2), batch_size=size, **options), whole)
    order = [4, 0, 6, 2]
    close(sample(FLOW, (4, 2), indices=order, **options), whole[order])
    close(sample(FLOW, (1, 2), indices=[5], **options), whole[5:6])
    assert float((sample(FLOW, (7, 2), **{**options, "seed": 6}) - whole).abs().min()) > 1e-4


def test_the_draws_do_not_depend_on_the_batch_to_the_bit() -> None:
    seen: dict[int, list[Tensor]] = {}
    for size in (1, 3, 7):
        starts: list[Tensor] = []

        def callback(event: Event, starts: list[Tensor] = starts) -> None:
            if event.node == 0:
                starts.append(event.x.clone())

        sample(FLOW, (7, 2), batch_size=size, callback=callback, steps=2)
        seen[size] = [torch.cat(starts)]
    assert torch.equal(seen[1][0], seen[7][0]) and torch.equal(seen[3][0], seen[7][0])


def test_a_run_starts_from_sigma_times_the_draw_of_the_start() -> None:
    for name in ("flow", "edm", "linear"):
        path = schedule(name)
        first = trajectory(MIXTURE.denoiser(path), (3, 2), seed=4, steps=3)
        z = Keyed(4, [0, 1, 2], (2,))(START)
        torch.testing.assert_close(first.states[0], path.level(path.t_max).sigma * z, rtol=1e-7, atol=0)


@pytest.mark.parametrize("batch_size", [None, 2])
@pytest.mark.parametrize("solver", ["ddpm", "heun"])
def test_draws_that_are_handed_in_are_used(solver: str, batch_size: int | None) -> None:
    levels = design(schedule("flow"), solver=solver, steps=4)
    keyed = Keyed(9, range(5), (2,))
    made = {place: keyed(place).double() for place in [START, *(Draw(step, 0) for step in range(4))]}
    got = sample(FLOW, (5, 2), solver=solver, steps=4, noise=made.__getitem__, batch_size=batch_size, dtype=torch.float64)
    expected = run_loop(levels, lambda x, level: FLOW(x, level), made[START] * 1.0, made.__getitem__)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-13)
    same = sample(FLOW, (5, 2), solver=solver, steps=4, seed=9, dtype=torch.float64)
    torch.testing.assert_close(got, same, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_defaults_sample_every_schedule(name: str) -> None:
    """Fifty times the spread of the exact data is far outside what any failure short of a wrong formula gives; the laws
    of the solvers say how near they come."""
    x = sample(MIXTURE.denoiser(schedule(name)), (64, 2))
    assert x.dtype == torch.float32 and x.shape == (64, 2)
    assert x.abs().max() < 3


def test_the_defaults_come_near_the_data_they_are_asked_for() -> None:
    data = Gaussian([0.3, -0.2], [[0.5, 0.2], [0.2, 0.3]])
    x = sample(data.denoiser(schedule("edm")), (4000, 2), dtype=torch.float64)
    # 4 standard errors of 4,000 samples, and 5 % for the solver's own error in 20 steps
    torch.testing.assert_close(x.mean(0), data.means[0], rtol=0, atol=4 * (0.5 / 4000) ** 0.5)
    covariance = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
    torch.testing.assert_close(x.T.cov(), covariance, rtol=0.05 + 4 * (2 / 4000) ** 0.5, atol=0.02)


# Begun midway ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", SCHEDULES)
def test_strength_one_is_the_plain_run_to_the_bit_and_less_begins_where_it_says(name: str) -> None:
    path, pictures = schedule(name), MIXTURE.sample(3, seed=2).float()
    model = MIXTURE.denoiser(path)
    for space in spacing.SPACINGS:
        assert design(path, spacing=space, steps=4, strength=1.0) == design(path, spacing=space, steps=4)
        table = design(path, spacing=space, steps=4, strength=0.3, solver="ddim")
        assert len(table) == 5 and table[0].level == spacing.SPACINGS[space](begun(path, 0.3), 4)[0]
    plain = sample(model, (3, 2), steps=4)
    assert torch.equal(sample(model, (3, 2), steps=4, strength=1), plain)
    run = trajectory(model, (3, 2), steps=4, strength=0.3, start=pictures, seed=5)
    assert len(run.levels) == 5 and run.levels[0] == path.level(begun(path, 0.3).t_max)
    z = Keyed(5, range(3), (2,))(START)
    there = run.levels[0].alpha * pictures.double() + run.levels[0].sigma * z.double()
    torch.testing.assert_close(run.states[0].double(), there, rtol=0, atol=1e-6 * (1 + run.levels[0].sigma))
    assert calls(design(path, calls=3, strength=0.3)) == 3


@pytest.mark.parametrize("where", [0.4, Level(0.6, 0.9)])
@pytest.mark.parametrize("name", ["linear", "flow", "edm"])
def test_pictures_that_are_noised_to_a_level_have_its_law_and_the_run_brings_the_data_back(name: str, where: Any) -> None:
    """Of Gaussian data: the law of a state at any level is known, and from it the exact law of what the solver makes."""
    path, m, v = schedule(name), 0.6, 0.3
    table = design(path, solver="heun", steps=60, strength=where)
    first = table[0].level
    noised = first.alpha * m, first.alpha**2 * v + first.sigma**2
    mean, variance = gaussian_law(table, m, v, *noised)
    assert float(mean) == pytest.approx(m, abs=2e-3) and float(variance) == pytest.approx(v, rel=2e-2)
    # and sample() makes that start, of 4,000 pictures: 5 standard errors
    data = Gaussian([m], [[v]])
    options: dict[str, Any] = {"solver": "heun", "steps": 60, "strength": where, "dtype": torch.float64}
    run = trajectory(data.denoiser(path), (4000, 1), start=data.sample(4000, seed=1), **options)
    for state, law in ((run.states[0], noised), (run.pictures, (float(mean), float(variance)))):
        assert float(state.mean()) == pytest.approx(law[0], abs=5 * (law[1] / 4000) ** 0.5)
        assert float(state.var()) == pytest.approx(law[1], rel=5 * (2 / 4000) ** 0.5)


def test_a_run_begun_from_pictures_keeps_each_picture_to_its_row() -> None:
    pictures = MIXTURE.sample(5, seed=3)
    options: dict[str, Any] = {**DOUBLE, "strength": 0.5, "solver": "ddpm"}
    whole = sample(FLOW, (5, 2), start=pictures, **options)
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-12)
    close(sample(FLOW, (5, 2), start=pictures, batch_size=2, **options), whole)
    close(sample(FLOW, (2, 2), start=pictures[[4, 1]], indices=[4, 1], **options), whole[[4, 1]])
    before = pictures.clone()
    draws = {START: torch.zeros(5, 2, dtype=torch.float64), **{Draw(n, 0): torch.zeros(5, 2) for n in range(6)}}
    still = trajectory(FLOW, (5, 2), start=pictures, noise=draws.__getitem__, **options)
    close(still.states[0], 0.5 * pictures)
    assert torch.equal(pictures, before) and not draws[START].any()
    # at pure noise nothing is left of the pictures, to the bit
    assert torch.equal(sample(FLOW, (5, 2), start=pictures, strength=1.0, steps=3), sample(FLOW, (5, 2), steps=3))


# What is asked --------------------------------------------------------------------------------------------------------------


ONE_CALL = [name for name, entry in SOLVERS.items() if entry.calls == 1 and name not in ("pndm", "plms")]


@pytest.mark.parametrize("solver", ["heun", *ONE_CALL])
def test_calls_are_exactly_as_many_as_were_asked_for(solver: str) -> None:
    asked = 0

    def run(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        nonlocal asked
        asked += 1
        return FLOW(x, level)

    for wanted in (1, 3, 7, 25):
        asked = 0
        sample(run, (1, 2), solver=solver, calls=wanted, schedule=schedule("flow"))
        assert asked == wanted


@pytest.mark.parametrize("path", ["zero terminal SNR", "scaled linear"])
def test_no_run_ends_in_nan_or_an_exception(path: str) -> None:
    """A random network in bfloat16, strong guidance: a few of the runs of ``make bench-robustness``."""
    found = list(robustness.runs([path], SOLVERS, [5], [torch.bfloat16], [15.0]))
    assert len(found) == len(SOLVERS) and [each for each in found if each[1]] == []


def test_a_network_without_an_answer_at_pure_noise_is_refused_before_it_is_asked() -> None:
    found = list(robustness.refusals(["ddim", "heun", "midpoint"]))
    assert len(found) == 12 and [each for each in found if each[1]] == []


def two_at_least(levels: Any) -> Any:
    return ddim([levels[0], Level(0.9, 0.01), *levels[1:]])


def test_calls_that_no_number_of_steps_makes_are_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"exactly 8 calls; the nearest: 7 calls \(4 steps\) or 9 calls \(5 steps\)"):
        sample(FLOW, (1, 2), solver="heun", calls=8)
    ten = MIXTURE.denoiser(schedule("linear", num_timesteps=10, beta_end=0.3))
    with pytest.raises(ValueError, match=r"exactly 12 calls; the nearest: 10 calls \(10 steps\)"):
        sample(ten, (1, 2), solver="ddim", calls=12)
    assert calls(design(schedule("linear", num_timesteps=10, beta_end=0.3), solver="heun", calls=19)) == 19

    with pytest.raises(ValueError, match=r"exactly 1 calls; the nearest: 2 calls \(1 step\)"):
        sample(FLOW, (1, 2), solver=two_at_least, calls=1)


def test_the_largest_run_within_a_number_of_calls() -> None:
    path = schedule("flow")
    for solver, entry in SOLVERS.items():
        for most in (3, 8):
            steps = steps_within(path, most, solver=solver)
            assert calls(design(path, solver=solver, steps=steps)) <= most, solver
            assert calls(design(path, solver=solver, steps=steps + 1)) > most, (solver, entry.calls)
    assert steps_within(path, 8, solver="heun") == 4
    assert steps_within(schedule("linear", num_timesteps=10, beta_end=0.3), 100, spacing="time") == 10
    with pytest.raises(ValueError, match="makes 2 calls in one step already, but 1 are the most"):
        steps_within(path, 1, solver=two_at_least)
    with pytest.raises(ValueError, match="number of calls must be"):
        steps_within(path, 0)


def test_the_default_is_the_named_solver_spacing_and_steps() -> None:
    levels = spacing.SPACINGS[DEFAULTS.spacing](schedule("flow"), DEFAULTS.steps)
    assert design(schedule("flow")) == SOLVERS[DEFAULTS.solver].build(levels)
    assert design(schedule("flow"), solver="euler", steps=3, spacing="time") == ddim(spacing.time(schedule("flow"), 3))


def test_levels_and_spacings_may_be_the_user_s_own() -> None:
    levels = [Level(0.0, 1.0), Level(0.5, 0.5), Level(1.0, 0.0)]
    assert design(levels=levels) == adams_moulton(levels)
    assert design(schedule("flow"), spacing=lambda path, steps: spacing.time(path, 2 * steps), steps=1) == adams_moulton(levels)
    bare = sample(lambda x, level, condition=None: FLOW(x, level), (2, 2), levels=levels)
    torch.testing.assert_close(bare, sample(FLOW, (2, 2), levels=levels), rtol=0, atol=0)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_each_picture_gets_its_own_row_of_the_condition(batch_size: int | None) -> None:
    labels = torch.tensor([0, 1, 1, 0, 1])
    both = sample(FLOW, (5, 2), condition=Condition(label=labels), batch_size=batch_size, **DOUBLE)
    for i, label in enumerate(labels.tolist()):
        one = sample(FLOW, (1, 2), condition=Condition(label=torch.tensor([label])), indices=[i], **DOUBLE)
        torch.testing.assert_close(both[i : i + 1], one, rtol=0, atol=1e-12)
    means = both - MIXTURE.means[labels]
    assert means.abs().max() < 4 * 0.2**0.5


def test_guidance_and_a_network_run_through_the_same_door() -> None:
    def network(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return torch.tanh(x + t[:, None] + label[:, None])

    model = Denoiser(network, schedule("flow"), "velocity", null=Condition(label=torch.tensor([0.0])))
    told = Condition(label=torch.tensor([1.0, 2.0, 3.0]))
    guided = classifier_free(model, 2.0)
    whole = sample(guided, (3, 2), condition=told, steps=4)
    parts = sample(guided, (3, 2), condition=told, steps=4, batch_size=1)
    torch.testing.assert_close(whole, parts, rtol=0, atol=1e-6)
    assert not torch.allclose(whole, sample(model, (3, 2), condition=told, steps=4))


def test_each_batch_begins_a_run_of_its_own_that_knows_where_it_will_be_asked() -> None:
    begun: list[list[Level]] = []

    class Remembers:
        schedule = schedule("flow")

        def begin(self, levels: list[Level]) -> Callable[..., Tensor]:
            begun.append(list(levels))
            asked = iter(begun[-1])

            def run(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
                assert level == next(asked)
                return FLOW(x, level)

            return run

    sample(Remembers(), (3, 2), batch_size=2, steps=4, solver="heun")  # type: ignore[arg-type]
    assert len(begun) == 2 and len(begun[0]) == 7
    assert not any(level.is_data for level in begun[0])


def test_gradients_are_not_kept_and_the_setting_is_given_back() -> None:
    weight = torch.ones((), requires_grad=True)

    def run(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        assert not torch.is_grad_enabled()
        return x * weight

    seen = []
    assert not sample(run, (1, 2), schedule=schedule("flow"), callback=lambda e: seen.append(e.x.requires_grad)).requires_grad
    assert not any(seen) and torch.is_grad_enabled()


def test_a_network_s_device_is_where_it_runs() -> None:
    """The device that every machine has besides the CPU is the meta device, which can't compute: it is refused in one line."""
    conv = torch.nn.Conv2d(1, 1, 1, device="meta")
    for network in (conv, lambda x, t: conv(x)):
        with pytest.raises(ValueError, match="parameters are on the meta device, where they have no values"):
            sample(Denoiser(network, "flow", "velocity"), (1, 1, 2, 2))
    with pytest.raises(ValueError, match="the network must answer on its input's device cpu, but gave a tensor on meta"):
        sample(Denoiser(lambda x, t: x.to("meta"), "flow", "velocity"), (1, 2))
    with pytest.raises(ValueError, match="the denoiser's output is on meta, where the states are not: at call 1 of 2"):
        sample(lambda x, level, condition=None: x.to("meta"), (1, 2), schedule=schedule("flow"), steps=2)


# Trajectory, progress, callbacks, cancel -------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", KINDS)
@pytest.mark.parametrize("batch_size", [None, 2])
def test_a_trajectory_is_the_same_run_with_everything_kept(solver: str, batch_size: int | None) -> None:
    options: dict[str, Any] = {**DOUBLE, "solver": solver, "batch_size": batch_size}
    run = trajectory(FLOW, (5, 2), **options)
    assert isinstance(run, Trajectory)
    whole = design(schedule("flow"), solver=solver, steps=6)
    table = [node for node in whole if node.evaluate or node is whole[-1]]  # what is worked out in between is left out
    assert run.levels == [node.level for node in table]
    torch.testing.assert_close(run.pictures, sample(FLOW, (5, 2), **options), rtol=0, atol=0)
    for node, level, state, belief in zip(table, run.levels, run.states, run.beliefs, strict=True):
        assert state.shape == (5, 2)
        assert (belief is not None) == node.evaluate
        if belief is not None:
            torch.testing.assert_close(belief, FLOW(state, level), rtol=0, atol=1e-13)


def test_a_trajectory_keeps_the_moved_state() -> None:
    def run(x: Tensor, level: Level, condition: Condition | None = None) -> Moved:
        return Moved(x * 0 + level.sigma, x * 0)

    states = trajectory(run, (1, 2), schedule=schedule("flow"), solver="ddim", steps=2, spacing="time").states
    assert [float(s[0, 0]) for s in states] == [1.0, 0.5, 0.0]


def test_a_bar_counts_calls_over_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    import tqdm

    bars: list[Any] = []

    class Bar:
        def __init__(self, total: int, **_: object) -> None:
            self.total, self.n, self.closed = total, 0, False
            bars.append(self)

        def update(self) -> None:
            self.n += 1

        def close(self) -> None:
            self.closed = True

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    sample(FLOW, (5, 2), batch_size=2, steps=4, solver="heun", progress=True)
    assert [(bar.total, bar.n, bar.closed) for bar in bars] == [(21, 21, True)]
    sample(FLOW, (5, 2), steps=4)
    assert len(bars) == 1


def test_a_real_bar_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    sample(FLOW, (1, 2), steps=3, progress=True)
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize("solver", ["ddim", "unipc", "adams_moulton", "restart"])
def test_one_callback_or_several_see_every_call_and_the_end(solver: str) -> None:
    table = design(schedule("flow"), solver=solver, steps=3)
    places = [n for n, node in enumerate(table) if node.evaluate or n == len(table) - 1]
    one: list[int] = []
    two: list[int] = []
    sample(FLOW, (1, 2), steps=3, solver=solver, callback=lambda event: one.append(event.node))
    both = [lambda e: one.append(e.node), lambda e: two.append(e.node)]
    sample(FLOW, (2, 2), steps=3, solver=solver, batch_size=1, callback=both)
    assert one == places * 3 and two == places * 2


def test_a_cancelled_run_hands_over_the_batches_that_were_finished() -> None:
    asked = 0

    def cancel() -> bool:
        nonlocal asked
        asked += 1
        return asked == 7  # in the second batch of 5 nodes

    with pytest.raises(Cancelled, match="node 1") as caught:
        sample(FLOW, (6, 2), batch_size=2, steps=4, solver="ddim", cancel=cancel)
    assert caught.value.finished is not None
    assert torch.equal(caught.value.finished, sample(FLOW, (2, 2), steps=4, solver="ddim"))
    with pytest.raises(Cancelled) as early:
        sample(FLOW, (6, 2), steps=4, cancel=lambda: True)
    assert early.value.finished is None


# Errors ------------------------------------------------------------------------------------------------------


def never(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
    raise AssertionError("the network was asked before the request was understood")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"solver": "dmp"}, "unknown solver 'dmp'"),
        ({"spacing": "kerras"}, "did you mean 'karras'"),
        ({"steps": 0}, "whole number of steps"),
        ({"steps": 4, "calls": 4}, "not both"),
        ({"calls": 0}, "number of calls must be"),
        ({"calls": True}, "number of calls must be"),
        ({"levels": [Level(0.5, 0.5), Level(0.5, 0.5)]}, "must fall in noise"),
        ({"levels": [Level(0.0, 1.0), Level(1.0, 0.0)], "steps": 3}, "leave out steps="),
        ({"levels": [Level(0.0, 1.0), Level(1.0, 0.0)], "spacing": "time"}, "leave out steps="),
        ({"indices": [1]}, "1 indices for 2 pictures"),
        ({"condition": Condition(label=torch.zeros(3))}, "condition has 3 rows for 2 pictures"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"schedule": None}, "no schedule"),
        ({"strength": 0.0}, "above 0 and at most 1"),
        ({"strength": float("nan")}, "above 0 and at most 1, or a Level, but got nan"),
        ({"strength": 0.5, "levels": [Level(0.0, 1.0), Level(1.0, 0.0)]}, r"leave out .* strength="),
        ({"strength": 0.3, "schedule": schedule("linear", num_timesteps=10), "steps": 4}, "from t = 2 down has room for 3"),
        ({"start": torch.zeros(3, 2)}, r"floats of shape \(2, 2\), but is float32 of shape \(3, 2\)"),
        ({"start": torch.zeros(2, 2, dtype=torch.int64)}, "floats of shape .* but is int64"),
        ({"start": torch.tensor([[0.0, 0.0], [0.0, float("nan")]])}, "NaN or infinity, first in picture 1"),
        ({"spacing": lambda path, steps: [Level(0.5, 0.5), Level(0.5, 0.6)]}, "must fall in noise"),
        ({"noise": lambda place: torch.zeros(1, 2)}, r"has shape \(1, 2\), but \(2, 2\) is sampled"),
        ({"schedule": schedule("linear", num_timesteps=10), "steps": 20}, "20 steps asked for, but this table of 10"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_before_any_work(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        sample(never, (2, 2), **{"schedule": schedule("flow"), **options})


@pytest.mark.parametrize("name", ["linear", "quadratic", "flow", "edm"])
def test_every_solver_runs_on_a_schedule_s_own_levels_or_says_what_would(name: str) -> None:
    model = Denoiser(lambda x, t: 0.5 * torch.tanh(x), schedule(name), "v")
    for solver in SOLVERS:
        assert torch.isfinite(sample(model, (1, 2), solver=solver, steps=3)).all(), solver

    def upwards(levels: Any) -> Any:
        draft = Draft(levels)
        above = draft.add(Level(levels[0].alpha, 2.0 * levels[0].sigma), draft.newest.x)
        draft.add(levels[-1], above.D)
        return draft.finish()

    if name == "quadratic":  # one that goes up first is told so
        with pytest.raises(ValueError, match=r"never shown that much noise.*adds noise above .*begin lower \(strength=\)"):
            sample(model, (1, 2), solver=upwards, steps=3)


@pytest.mark.parametrize("prediction", ["noise", "velocity"])
def test_a_network_without_an_answer_at_pure_noise_runs_from_where_the_error_says(prediction: str) -> None:
    model = Denoiser(lambda x, t: 0.5 * torch.tanh(x), schedule("linear", zero_terminal_snr=True), prediction)
    with pytest.raises(ValueError, match=r"begin the run where there is some picture \(strength=0.99, .* predicts x0, v"):
        sample(model, (1, 2), steps=4)
    assert torch.isfinite(sample(model, (1, 2), steps=4, strength=0.99)).all()


@pytest.mark.parametrize("shape", [(), (0, 2), (2, -1), (2.0, 2), (True, 2)])
def test_a_shape_that_is_none_is_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match="a shape is"):
        sample(never, shape, schedule=schedule("flow"))


def test_an_unknown_argument_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="stepz"):
        sample(FLOW, (1, 2), stepz=3)  # type: ignore[call-arg]


def test_nan_is_found_and_its_place_named() -> None:
    def run(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        return FLOW(x, level) + (float("nan") if level.sigma == 0.5 else 0.0)

    with pytest.raises(ValueError, match=r"output at node 2 \(alpha=0.5, sigma=0.5\) is not finite"):
        sample(run, (2, 2), schedule=schedule("flow"), solver="ddim", spacing="time", steps=4)


def test_every_shared_argument_is_declared_and_explained() -> None:
    taken = [field.name for field in dataclasses.fields(_Asked)]
    assert list(Options.__annotations__) == taken
    assert all(f"{name}:" in (sample.__doc__ or "") for name in taken)


# Whatever torch's defaults are, and whatever kind of number ------------------------------------------------------------------


def test_a_users_default_dtype_or_device_changes_nothing() -> None:
    """Draws, levels, tables and exact answers: the samples are the same to the bit, for every schedule."""

    def found(name: str) -> Tensor:
        mixture = Mixture([0.5, 0.5], [[0.8, -0.5], [-0.7, 0.2]], [0.1, 0.2])
        label = Condition(label=mixture.denoiser().null["label"])
        return sample(mixture.denoiser(schedule(name)), (3, 2), steps=4, solver="dpmpp_2m_sde", condition=label)

    for name in SCHEDULES:
        expected = found(name)
        assert expected.dtype == torch.float32
        for dtype in (torch.float64, torch.bfloat16):
            torch.set_default_dtype(dtype)
            try:
                assert torch.equal(found(name), expected), (name, dtype)
            finally:
                torch.set_default_dtype(torch.float32)
        with torch.device("meta"):
            there = found(name)
        assert there.device.type == "cpu" and torch.equal(there, expected), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", np.int64(3)), ("seed", torch.tensor(3)), ("steps", np.int32(5)), ("calls", np.uint8(5)),
        ("batch_size", np.int64(2)), ("strength", np.float32(0.5)), ("indices", np.arange(4)),
    ],
)  # fmt: skip
def test_numbers_of_numpy_are_numbers(name: str, value: Any) -> None:
    plain = value.tolist()
    more: dict[str, Any] = {"start": torch.zeros(4, 2)} if name == "strength" else {}
    found = sample(FLOW, (np.int64(4), 2), **{name: value}, **more)  # type: ignore[arg-type]
    assert torch.equal(found, sample(FLOW, (4, 2), **{name: plain}, **more))


@pytest.mark.parametrize("name", ["seed", "steps", "calls", "batch_size"])
@pytest.mark.parametrize("value", [True, np.bool_(True), 3.0, np.float64(3.0), "3", torch.tensor([3])])
def test_what_is_no_whole_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"whole number|batch_size must be 1 or more"):
        sample(never, (4, 2), schedule=schedule("flow"), **{name: value})


# Where a run begins ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [1.0, 0.4])
@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m_sde", "heun"])
def test_a_run_goes_on_from_an_own_state(solver: str, strength: float) -> None:
    """The state at the first level of the same run, handed in: the same samples, in any batches; it stays as it is."""
    pictures = MIXTURE.sample(5, seed=1)
    options: dict[str, Any] = {**DOUBLE, "solver": solver, "strength": strength, "seed": 3}
    whole = trajectory(FLOW, (5, 2), start=pictures, **options)
    state = whole.states[0].clone()
    for size in (None, 2):
        found = sample(FLOW, (5, 2), state=state, batch_size=size, **options)
        torch.testing.assert_close(found, whole.pictures, rtol=0, atol=1e-12)
    assert torch.equal(state, whole.states[0])
    levels = [Level(0.6, 0.4), Level(0.9, 0.1), Level(1.0, 0.0)]
    midway = trajectory(FLOW, (5, 2), start=pictures, levels=levels, solver="ddim", dtype=torch.float64)
    found = sample(FLOW, (5, 2), state=midway.states[0], levels=levels, solver="ddim", dtype=torch.float64)
    torch.testing.assert_close(found, midway.pictures, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"start": torch.zeros(2, 2)}, ValueError, "start= has no effect on a run that begins in noise: .* strength=0.6"),
        ({"start": [[0.0, 0.0]] * 2, "strength": 0.5}, TypeError, r"start is a tensor of floats of shape .* but got \[\["),
        ({"state": [[0.0, 0.0]] * 2}, TypeError, "state is a tensor of floats"),
        ({"state": torch.zeros(3, 2)}, ValueError, r"state has .* \(2, 2\), but is float32 of shape \(3, 2\)"),
        ({"state": torch.full((2, 2), float("inf"))}, ValueError, "state holds NaN or infinity, first in picture 0"),
        ({"state": torch.zeros(2, 2), "start": torch.zeros(2, 2), "strength": 0.5}, ValueError, "leave one out"),
        ({"schedule": "nosuch"}, ValueError, "unknown schedule 'nosuch'"),
        ({"schedule": 3}, TypeError, "a schedule is a noisepath Schedule or the name of one"),
    ],
)
def test_a_beginning_that_means_nothing_is_refused_before_any_work(options: dict[str, Any], error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        sample(never, (2, 2), **{"schedule": schedule("flow"), **options})


@pytest.mark.parametrize(
    ("path", "options", "warns"),
    [
        ("linear", {}, False), ("quadratic", {}, False), ("cosine", {}, False), ("edm", {}, False), ("flow", {}, False),
        ("flow", {"strength": 0.99}, False),
        ("flow", {"strength": 0.5}, True),
        ("flow", {"strength": 0.5, "start": torch.zeros(2, 2)}, False),
        ("flow", {"strength": 0.5, "state": torch.zeros(2, 2)}, False),
        ("flow", {"levels": [Level(0.5, 0.5), Level(1.0, 0.0)]}, True),
        ("linear", {"spacing": "leading", "steps": 2}, True),
        ("linear", {"spacing": "leading", "steps": 20}, False),
    ],
)  # fmt: skip
def test_a_run_that_begins_where_data_show_is_warned_of(path: str, options: dict[str, Any], warns: bool) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        sample(MIXTURE.denoiser(schedule(path)), (2, 2), **{"steps": 3, **options} if "levels" not in options else options)
    assert [str(one.message)[:34] for one in seen] == ["this run begins with noise alone a"] * warns
    assert all(one.filename == __file__ for one in seen)


def test_a_table_that_never_gets_noisy_is_warned_of_and_by_the_datas_scale() -> None:
    short = schedule("linear", num_timesteps=100)
    with pytest.warns(UserWarning, match=r"at alpha = 0.6.* a schedule that ends in noise \(more timesteps"):
        sample(MIXTURE.denoiser(short), (2, 2))
    model = Denoiser(lambda x, t: 0 * x, short, "x0", data_stats=DataStats(scale=0.1))  # such data hardly show there
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample(model, (2, 2))


@pytest.mark.parametrize("name", SCHEDULES)
def test_where_there_is_no_room_for_the_default_fewer_steps_are_made(name: str) -> None:
    path = schedule(name)
    for strength in (0.01, 0.002, 1.0):
        room = spacing.most_steps(begun(path, strength))
        for space in spacing.SPACINGS:
            table = design(path, strength=strength, spacing=space, solver="ddim")
            assert calls(table) == (DEFAULTS.steps if room is None else min(DEFAULTS.steps, room))
    if path.num_timesteps is not None:
        with pytest.raises(ValueError, match="20 steps asked for, but this table .* has room for 10"):
            design(path, strength=0.01, steps=20)
        assert calls(design(schedule(name, num_timesteps=7))) == 7


# Gradients, and what is said at the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m", "heun", "dpmpp_2m_sde", "restart"])
def test_gradients_are_let_through_where_they_are_wanted(solver: str) -> None:
    """From the samples to the state, in batches: against central differences, whose own error is below 1e-8."""
    options: dict[str, Any] = {"solver": solver, "steps": 4, "dtype": torch.float64, "batch_size": 2}
    state = Keyed(0, range(3), (2,))(START).double()
    leaf = state.clone().requires_grad_()
    end = sample(FLOW, (3, 2), state=leaf, gradients=True, **options)
    (slope,) = torch.autograd.grad(end.square().sum(), leaf)
    way, h = torch.linspace(-1.0, 1.0, 6, dtype=torch.float64).view(3, 2), 1e-5
    up, down = (sample(FLOW, (3, 2), state=state + sign * h * way, **options).square().sum() for sign in (1, -1))
    assert float((slope * way).sum()) == pytest.approx(float(up - down) / (2 * h), rel=1e-5, abs=1e-7)
    assert not sample(FLOW, (3, 2), state=leaf, **options).requires_grad
    ended = trajectory(FLOW, (3, 2), state=leaf, gradients=True, **options)
    assert torch.equal(ended.pictures, end) and ended.pictures.requires_grad
    with torch.no_grad(), pytest.raises(ValueError, match=r"gradients=True has no effect inside of torch.no_grad\(\)"):
        sample(FLOW, (3, 2), gradients=True)


@pytest.mark.parametrize(
    ("value", "share", "warns"),
    [(0.9, 1.0, False), (1.9, 1.0, False), (2.1, 1.0, True), (2.1, 0.04, False), (40.0, 3e-3, True), (40.0, 9e-4, False)],
)
def test_samples_far_outside_of_the_datas_range_are_warned_of(value: float, share: float, warns: bool) -> None:
    """Of a denoiser that knows the range, [-1, 1], by its statistics or its information; ``share`` of the values are off."""
    off = (torch.arange(10000) < 10000 * share).float() * value
    model = Denoiser(lambda x, t: off.expand_as(x), "flow", "x0", info={"data_range": (-1.0, 1.0)})
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        sample(model, (2, 10000), steps=2)
        model.info.clear()
        sample(model, (2, 10000), steps=2)  # nothing is known of the range
    says = [str(one.message) for one in seen]
    assert len(says) == warns and all(f"to {value:g}, but the data lie in [-1, 1]: {100 * share:.3g} %" in one for one in says)


def test_a_condition_of_one_row_goes_for_all() -> None:
    one = sample(FLOW, (4, 2), condition=Condition(label=1), steps=3, batch_size=3)
    assert torch.equal(one, sample(FLOW, (4, 2), condition=Condition(label=[1, 1, 1, 1]), steps=3, batch_size=3))
    assert not torch.equal(one, sample(FLOW, (4, 2), condition=Condition(label=0), steps=3, batch_size=3))
