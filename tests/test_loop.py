"""The loop does what the table says, writes to nobody's memory but its own, and keeps nothing it no longer needs."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import loop_memory
from noisepath.denoiser import Denoiser, Moved
from noisepath.guidance import clip
from noisepath.levels import Level
from noisepath.loop import Cancelled, Event, cancellable, iterate, observed, proven_finite, reported, run_loop
from noisepath.noise import Keyed
from noisepath.sampling import sample
from noisepath.schedules import schedule
from noisepath.solvers import SOLVERS, ddim, ddpm, exponential_adams, heun
from noisepath.tableau import Draft, Draw, Node, Tableau, calls, draws, z
from noisepath.testing import at

LEVELS = [Level.from_log_snr(v) for v in (-5.0, -2.0, -0.5, 1.0, 3.0)] + [Level(1.0, 0.0)]
BUILDS = {
    **{name: solver.build for name, solver in SOLVERS.items()},
    "adams 4 tau": partial(exponential_adams, order=4, tau=0.7),
}
every_build = pytest.mark.parametrize("name", BUILDS)


def think(x: Tensor, level: Level) -> Tensor:
    """A belief that is not linear, so that a state in the wrong place is seen."""
    return torch.tanh(x * level.alpha + level.sigma)


def plainly(table: Tableau, x: Tensor, noise: dict[Draw, Tensor]) -> list[Tensor]:
    """The table by its definition: nothing in place, everything kept."""
    states, outputs = [x], [think(x, table[0].level)]
    for node in table[1:]:
        new = torch.zeros_like(x)
        for k, w in node.states.items():
            new = new + w * states[k]
        for k, w in node.outputs.items():
            new = new + w * outputs[k]
        for place, w in node.draws.items():
            new = new + w * noise[place]
        states.append(new)
        outputs.append(think(new, node.level))
    return states


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@st.composite
def tables(draw: st.DrawFn) -> Tableau:
    """Any small table: every node looks back at any earlier ones, draws are shared, some nodes only help."""
    weight = st.sampled_from([1.0, -0.7, 0.4])
    asked = [True] + [draw(st.booleans()) for _ in range(draw(st.integers(1, 6)))]
    nodes = [Node(LEVELS[0], {}, {}, {}, True)]
    for n in range(1, len(asked)):
        back = st.integers(0, n - 1)
        states = draw(st.dictionaries(back, weight, max_size=3))
        outputs = {k: w for k, w in draw(st.dictionaries(back, weight, max_size=3)).items() if asked[k]}
        made = draw(st.dictionaries(st.builds(Draw, st.integers(0, 2), st.integers(0, 1)), weight, max_size=2))
        nodes.append(Node(LEVELS[n % 5], states, outputs, made, asked[n]))
    return tuple(nodes)


@given(table=tables(), overwrite=st.booleans())
def test_any_table_is_computed_as_it_is_written(table: Tableau, overwrite: bool) -> None:
    x = normal(0, 2, 3)
    noise = {place: normal(1 + i, 2, 3) for i, place in enumerate(draws(table))}
    expected = plainly(table, x, noise)
    kept = {place: drawn.clone() for place, drawn in noise.items()}
    seen = [event.x.clone() for event in iterate(table, think, x.clone(), noise.__getitem__, overwrite=overwrite)]
    # the same sums in another order
    torch.testing.assert_close(torch.stack(seen), torch.stack(expected), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(noise[place], kept[place]) for place in noise)


@every_build
def test_a_run_is_what_its_table_says(name: str) -> None:
    table = BUILDS[name](LEVELS)
    x = normal(0, 2, 3, 4)
    noise = {place: normal(1 + i, 2, 3, 4) for i, place in enumerate(draws(table))}
    torch.testing.assert_close(run_loop(table, think, x, noise.__getitem__), plainly(table, x, noise)[-1], rtol=0, atol=1e-13)


@every_build
def test_neither_the_start_nor_an_output_is_ever_written_to(name: str) -> None:
    table = BUILDS[name](LEVELS)
    x, given = normal(0, 2, 3), []

    def run(y: Tensor, level: Level) -> Tensor:
        given.append((out := think(y, level), out.clone()))
        return out

    before = x.clone()
    end = run_loop(table, run, x, Keyed(0, [0, 1], (3,)))
    assert torch.equal(x, before)
    assert all(torch.equal(out, copy) for out, copy in given)
    assert all(end.data_ptr() != out.data_ptr() for out, _ in given)


@every_build
@pytest.mark.parametrize("how", ["itself", "a view", "an expanded part"])
def test_a_network_that_gives_its_input_back_is_read_before_it_is_overwritten(name: str, how: str) -> None:
    table = BUILDS[name](LEVELS)
    x = normal(0, 2, 3)
    noise = {place: normal(1 + i, 2, 3) for i, place in enumerate(draws(table))}
    share = {
        "itself": lambda y: y,
        "a view": lambda y: y.view(6).view(2, 3),
        "an expanded part": lambda y: y[:, 1:2].expand(2, 3),
    }[how]
    shared = run_loop(table, lambda y, level: share(y), x, noise.__getitem__)
    copied = run_loop(table, lambda y, level: share(y).clone(), x, noise.__getitem__)
    torch.testing.assert_close(shared, copied, rtol=0, atol=1e-13)  # torch rounds an expanded tensor's product otherwise


@every_build
def test_only_as_many_tensors_live_as_the_table_still_looks_at(name: str) -> None:
    """States and outputs that can be reached, at each call: first-order solvers hold one of each, Adams of order k one
    state and k outputs."""
    table = BUILDS[name](LEVELS)
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def run(y: Tensor, level: Level) -> Tensor:
        nonlocal most
        most = max(most, sum(ref() is not None for ref in alive))
        out = think(y, level)
        alive.append(weakref.ref(out))
        return out

    run_loop(table, run, normal(0, 2, 3), Keyed(0, [0, 1], (3,)))
    looked_at = [max((n - k for k in node.outputs), default=0) for n, node in enumerate(table)]
    assert most <= max(looked_at)  # the outputs of the last few nodes, those this one reads among them


@pytest.mark.parametrize("name", SOLVERS)
def test_no_more_tensors_are_alive_than_the_table_needs(name: str) -> None:
    """At any operation of the loop, draws and temporaries among them (``make bench-loop-memory``)."""
    for ratios in ([math.inf, 9.0, 4.0, 2.2, 1.1, 0.5, 0.2, 0.06, 0.0], [8.0, 4.0, 1.0, 0.5, 0.25, 0.1]):
        table = SOLVERS[name].build([at("flow", ratio) for ratio in ratios])
        assert loop_memory.measured(table) <= loop_memory.needed(table)


def test_a_state_that_nobody_looks_at_any_more_is_let_go() -> None:
    table = (
        Node(LEVELS[0], {}, {}, {}, False),
        Node(LEVELS[1], {0: 0.5}, {}, {}, False),
        Node(LEVELS[2], {0: 0.3}, {}, {}, False),
        Node(LEVELS[3], {1: 1.0, 2: 1.0}, {}, {}, False),  # both die here; the memory of one is the new state's
        Node(LEVELS[4], {3: 1.0}, {}, {}, False),
    )
    states: list[weakref.ref[Tensor]] = []
    alive = []
    for event in iterate(table, think, normal(0, 2, 3)):
        states.append(weakref.ref(event.x))
        del event
        alive.append(sum(ref() is not None for ref in dict.fromkeys(states)))
    assert alive == [1, 2, 2, 1, 1]  # the start is last looked at by node 2


def test_a_state_that_dies_gives_its_memory_to_the_next() -> None:
    places = {event.x.data_ptr() for event in iterate(ddim(LEVELS), think, normal(0, 2, 3), overwrite=True)}
    assert len(places) == 1
    own = [event.x.data_ptr() for event in iterate(ddim(LEVELS), think, normal(0, 2, 3))]
    assert len(set(own)) == 2 and own[0] not in own[1:]


def test_every_draw_is_made_once_and_in_memory_of_one_draw() -> None:
    draft = Draft(LEVELS)
    for step, p, s in draft.steps():
        middle = draft.add(s, p.x + 0.3 * p.D + 0.5 * z(step))
        draft.add(s, middle.x + 0.2 * middle.D - 0.4 * z(step))  # the corrector shares the predictor's draw
    made: list[tuple[Draw, int]] = []

    def noise(place: Draw, out: Tensor | None = None) -> Tensor:
        out = torch.empty(2, 3, dtype=torch.float64) if out is None else out
        made.append((place, out.data_ptr()))
        return out.copy_(normal(place.step, 2, 3))

    x = normal(9, 2, 3)
    got = run_loop(draft.finish(), think, x, noise)
    assert [place for place, _ in made] == [Draw(step, 0) for step in range(5)]
    assert len({memory for _, memory in made}) == 1
    expected = plainly(draft.finish(), x, {Draw(step, 0): normal(step, 2, 3) for step in range(5)})[-1]
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-13)


def test_draws_that_are_handed_in_are_left_as_they_are() -> None:
    table = ddpm(LEVELS)
    noise = {place: normal(i, 2, 3) for i, place in enumerate(draws(table))}
    before = {place: drawn.clone() for place, drawn in noise.items()}
    run_loop(table, think, normal(9, 2, 3), noise.__getitem__)
    assert all(torch.equal(noise[place], before[place]) for place in noise)


# Moved states -----------------------------------------------------------------------------------------------------------


@every_build
@pytest.mark.parametrize("in_place", [True, False])
def test_a_moved_state_is_the_one_the_run_goes_on_from(name: str, in_place: bool) -> None:
    table = BUILDS[name](LEVELS)
    x = normal(0, 2, 3)
    noise = {place: normal(1 + i, 2, 3) for i, place in enumerate(draws(table))}

    def run(y: Tensor, level: Level) -> Moved:
        there = y.mul_(0.5).add_(0.1) if in_place else y * 0.5 + 0.1
        return Moved(there, think(there, level))

    start = x * 0.5 + 0.1 if table[0].evaluate else x
    states, outputs = [start], [think(start, table[0].level)]
    for node in table[1:]:
        new = sum((w * states[k] for k, w in node.states.items()), torch.zeros_like(x))
        new = sum((w * outputs[k] for k, w in node.outputs.items()), new)
        new = sum((w * noise[place] for place, w in node.draws.items()), new)
        new = new * 0.5 + 0.1 if node.evaluate else new
        states.append(new)
        outputs.append(think(new, node.level))
    got = run_loop(table, run, x.clone(), noise.__getitem__)
    torch.testing.assert_close(got, states[-1], rtol=0, atol=1e-13)


def test_a_moved_state_that_the_network_keeps_is_not_written_to() -> None:
    anchor = normal(3, 2, 3)
    before = anchor.clone()
    run_loop(ddim(LEVELS), lambda y, level: Moved(anchor, think(anchor, level)), normal(0, 2, 3))
    assert torch.equal(anchor, before)


# Shapes, dtypes, noise ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda x: x[:, :1], r"output has shape \(2, 1\), but the states have shape \(2, 3\).*call 3 of 5 \(node 2"),
        (lambda x: None, r"output has type NoneType"),
        (lambda x: Moved(x[:1], x), r"moved state has shape \(1, 3\)"),
        (lambda x: Moved(x, x[:1]), r"output has shape \(1, 3\)"),
    ],
)
def test_a_wrong_shape_is_refused_at_once_with_the_place(answer: object, says: str) -> None:
    asked = 0

    def run(x: Tensor, level: Level) -> Tensor:
        nonlocal asked
        asked += 1
        return answer(x) if asked == 3 else x.clone()  # type: ignore[operator, no-any-return]

    with pytest.raises(ValueError, match=says):
        run_loop(ddim(LEVELS), run, normal(0, 2, 3))
    assert asked == 3


def test_a_network_that_answers_in_another_shape_is_named_with_its_place_too() -> None:
    path = schedule("flow")
    model = Denoiser(lambda x, t: x[:, :1] if t[0] < 0.6 else x, path, "velocity")
    for run in (model, clip(model)):
        with pytest.raises(ValueError, match=r"input's shape .*gave shape \(2, 1\): at call 3 of 4 \(node 2, alpha=0.5"):
            sample(run, (2, 3), solver="ddim", spacing="time", steps=4)


def test_a_draw_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Draw\(step=0, stage=0\) has shape \(1, 3\), but the states have \(2, 3\)"):
        run_loop(ddpm(LEVELS), think, normal(0, 2, 3), lambda place: normal(0, 1, 3))


def test_a_table_that_draws_needs_noise_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="hand in noise="):
        iterate(ddpm(LEVELS), think, normal(0, 2, 3))


def test_a_table_that_cannot_be_run_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="state 4"):
        iterate((Node(LEVELS[0], {}, {}, {}), Node(LEVELS[1], {4: 1.0}, {}, {})), think, normal(0, 2, 3))


@every_build
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("answer", [None, torch.float16, torch.float64])
def test_states_keep_their_dtype_whatever_the_network_answers_in(
    name: str, dtype: torch.dtype, answer: torch.dtype | None
) -> None:
    table = BUILDS[name](LEVELS)
    x = normal(0, 2, 3)
    noise = Keyed(3, [0, 1], (3,))
    expected = run_loop(table, think, x, noise)
    events = iterate(table, lambda y, level: think(y, level).to(answer or dtype), x.to(dtype), noise)
    seen = [event.x.dtype for event in events]
    assert set(seen) == {dtype}
    end = run_loop(table, lambda y, level: think(y, level).to(answer or dtype), x.to(dtype), noise)
    # a run of a few steps loses a few roundings of the coarser of the two
    eps = max(torch.finfo(dtype).eps, torch.finfo(answer or dtype).eps)
    torch.testing.assert_close(end.double(), expected, rtol=0, atol=30 * eps)


def test_a_run_of_one_step_keeps_its_dtype_too() -> None:
    end = run_loop(ddim([LEVELS[0], LEVELS[-1]]), lambda x, level: think(x, level).to(torch.float64), normal(0, 2, 3).float())
    assert end.dtype == torch.float32


def test_memory_formats_do_not_change_the_picture() -> None:
    table, x = heun(LEVELS), normal(0, 2, 3, 4, 5)
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(run_loop(table, think, last), run_loop(table, think, x))


def test_a_table_of_nothing_but_a_start_gives_the_start() -> None:
    x = normal(0, 2, 3)
    assert torch.equal(run_loop((Node(LEVELS[0], {}, {}, {}, False),), think, x), x)


def test_a_state_made_of_nothing_is_zero() -> None:
    table = (Node(LEVELS[0], {}, {}, {}, False), Node(LEVELS[1], {}, {}, {}, False))
    assert torch.equal(run_loop(table, think, normal(0, 2, 3)), torch.zeros(2, 3, dtype=torch.float64))


# Interleaving ---------------------------------------------------------------------------------------------------------------


@every_build
def test_runs_that_interleave_do_not_see_each_other(name: str) -> None:
    table = BUILDS[name](LEVELS)
    alone = [run_loop(table, think, normal(i, 2, 3), Keyed(i, [0, 1], (3,))) for i in (1, 2)]
    runs = [iterate(table, think, normal(i, 2, 3), Keyed(i, [0, 1], (3,))) for i in (1, 2)]
    ends = [torch.empty(0), torch.empty(0)]
    for pair in zip(*runs, strict=True):
        ends = [event.x for event in pair]
    assert all(torch.equal(a, b) for a, b in zip(ends, alone, strict=True))


def test_two_runs_in_two_threads_give_what_each_gives_alone() -> None:
    table = ddpm([Level.from_log_snr(-6 + 0.1 * i) for i in range(100)])
    alone = {i: run_loop(table, think, normal(i, 2, 3), Keyed(i, [0, 1], (3,))) for i in (1, 2)}
    together: dict[int, Tensor] = {}

    def work(i: int) -> None:
        together[i] = run_loop(table, think, normal(i, 2, 3), Keyed(i, [0, 1], (3,)))

    threads = [threading.Thread(target=work, args=(i,)) for i in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(together[i], alone[i]) for i in (1, 2))


# Wrappers ---------------------------------------------------------------------------------------------------------------------


class Bar:
    def __init__(self) -> None:
        self.n = 0

    def update(self) -> None:
        self.n += 1


def test_progress_counts_calls_of_the_network_not_nodes() -> None:
    bar, table = Bar(), heun(LEVELS)
    nodes = list(reported(iterate(table, think, normal(0, 2, 3)), bar))
    assert (len(nodes), bar.n) == (10, 9)


def test_callbacks_see_every_event_in_order_and_each_is_called() -> None:
    one: list[int] = []
    two: list[Level] = []
    events = observed(
        iterate(ddim(LEVELS), think, normal(0, 2, 3)), lambda e: one.append(e.node), lambda e: two.append(e.level)
    )
    assert len(list(events)) == 6
    assert one == list(range(6)) and two == LEVELS


def test_cancelling_stops_after_the_node_and_says_what_is_known() -> None:
    asked = 0

    def run(x: Tensor, level: Level) -> Tensor:
        nonlocal asked
        asked += 1
        return think(x, level)

    with pytest.raises(Cancelled, match="cancelled at node 2") as caught:
        for _ in cancellable(iterate(ddim(LEVELS), run, normal(0, 2, 3)), lambda: asked == 3):
            pass
    assert asked == 3
    expected = [e.x.clone() for e in iterate(ddim(LEVELS), think, normal(0, 2, 3))]
    assert torch.equal(caught.value.event.x, expected[2])
    assert caught.value.event.output is not None


def spoiled(value: float, at: int) -> Iterator[Event]:
    asked = 0

    def run(x: Tensor, level: Level) -> Tensor:
        nonlocal asked
        out = think(x, level)
        if asked == at:
            out[0, 1] = value
        asked += 1
        return out

    return iterate(ddim(LEVELS), run, normal(0, 2, 3).float())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_first_output_that_is_not_finite_is_named_at_the_end(value: float) -> None:
    seen = []
    with pytest.raises(ValueError, match=f"output at node 2 .alpha={LEVELS[2].alpha:g}, sigma=.* is not finite"):
        for event in proven_finite(spoiled(value, 2)):
            seen.append(event.node)
    assert seen == list(range(6))


def test_a_nan_that_the_run_forgets_is_found_all_the_same() -> None:
    """The step to data does not look at the state: only the flags know that the last state was spoiled."""
    draft = Draft([LEVELS[0], LEVELS[1], LEVELS[2]])
    start = draft.newest
    lost = draft.add(LEVELS[1], start.x + z(0))
    draft.add(LEVELS[2], 1.0 * start.D + 0.0 * lost.x + 1e-30 * lost.D)
    noise = {Draw(0, 0): torch.full((2, 3), float("nan"))}
    events = iterate(draft.finish(), lambda x, level: think(x, level).nan_to_num(), normal(0, 2, 3).float(), noise.__getitem__)
    end = [event.x for event in events][-1]
    assert torch.isfinite(end).all()
    events = iterate(draft.finish(), think, normal(0, 2, 3).float(), noise.__getitem__)
    with pytest.raises(ValueError, match="node 1"):
        list(proven_finite(events))


def test_a_finite_run_passes_the_check_unchanged_in_any_precision() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        x = torch.full((2, 60000), 3.0, dtype=dtype)  # their sum overflows in float16
        ends = [e.x.clone() for e in proven_finite(iterate(ddim(LEVELS), lambda y, level: y.clone(), x))]
        assert torch.equal(ends[-1], run_loop(ddim(LEVELS), lambda y, level: y.clone(), x))
    assert list(proven_finite(iter(()))) == []


# Gradients, and what an event knows ------------------------------------------------------------------------------------------


@every_build
def test_a_run_lets_gradients_through(name: str) -> None:
    """For every solver: the derivative of an end along a direction, by autograd and by central differences.

    The belief is not linear, so that each evaluation counts.  The differences' own error is h^2 f''' / 6 and eps / h: 1e-9 for
    h = 1e-5 and values about 1.
    """
    table = BUILDS[name](LEVELS)
    keyed = {place: normal(10 + n, 2, 3) for n, place in enumerate(draws(table))}
    x, way, weight = normal(0, 2, 3), normal(1, 2, 3), normal(2, 2, 3)
    h = 1e-5

    def end(x: Tensor) -> Tensor:
        return (weight * run_loop(table, think, x, keyed.__getitem__)).sum()

    leaf = x.clone().requires_grad_()
    value = end(leaf)
    (slope,) = torch.autograd.grad(value, leaf)
    difference = float((end(x + h * way) - end(x - h * way)) / (2 * h))
    assert float((slope * way).sum()) == pytest.approx(difference, rel=1e-6, abs=1e-7)
    # the same numbers as without, and nothing is overwritten
    assert float(value.detach()) == float(end(x)) and torch.equal(leaf, x)


@every_build
def test_gradients_reach_a_networks_parameter_and_the_draws(name: str) -> None:
    """From a start that has none: nothing that autograd has kept is overwritten later."""
    table, h = BUILDS[name](LEVELS), 1e-5
    keyed = {place: normal(10 + n, 2, 3) for n, place in enumerate(draws(table))}

    def end(gain: Tensor, scale: Tensor) -> Tensor:
        run = lambda x, level: torch.tanh(x * level.alpha * gain + level.sigma)  # noqa: E731
        return run_loop(table, run, normal(0, 2, 3), lambda place: keyed[place] * scale).sum()

    one = torch.ones((), dtype=torch.float64)
    leaves = [one.clone().requires_grad_(), one.clone().requires_grad_()]
    slopes = torch.autograd.grad(end(*leaves), leaves, allow_unused=True)
    up, down = one + h, one - h
    for slope, plus, minus in zip(slopes, (end(up, one), end(one, up)), (end(down, one), end(one, down)), strict=True):
        found = 0.0 if slope is None else float(slope)
        assert found == pytest.approx(float(plus - minus) / (2 * h), rel=1e-6, abs=1e-7)


def test_without_a_tensor_that_wants_one_a_run_is_in_place_in_either_mode() -> None:
    """No gradient costs nothing: the same memory is written to with autograd on and off."""
    table = BUILDS["ddim"](LEVELS)

    def memory() -> set[int]:
        return {event.x.data_ptr() for event in iterate(table, think, normal(0, 2, 3), overwrite=True)}

    with torch.no_grad():
        off = memory()
    assert len(off) == len(memory()) == 1


@every_build
def test_an_event_knows_how_often_the_denoiser_was_evaluated_and_will_be(name: str) -> None:
    table = BUILDS[name](LEVELS)
    keyed = {place: normal(n, 1, 2) for n, place in enumerate(draws(table))}
    evaluated = 0
    for event in iterate(table, think, normal(0, 1, 2), keyed.__getitem__):
        evaluated += event.output is not None
        assert event.nfe == evaluated and event.total_nfe == calls(table)
    assert evaluated == calls(table)
