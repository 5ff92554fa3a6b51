"""The algebra in which solvers are written, the table it collapses into, and the integrals that its weights are."""

from __future__ import annotations

import math

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisepath.levels import Level
from noisepath.schedules import schedule
from noisepath.solvers import SOLVERS
from noisepath.spacing import log_snr
from noisepath.tableau import START, Draft, Draw, Lin, Node, calls, check, draws, joined, ratio, split, weights, z

LEVELS = [Level(0.6, 0.8), Level(0.8, 0.6), Level(1.0, 0.0)]


def test_the_algebra_collects_a_formula_into_the_weights_of_one_node() -> None:
    draft = Draft(LEVELS)
    p = draft.newest
    q = draft.add(LEVELS[1], 2.0 * p.x - (p.D + z(0)) / 4.0)
    draft.add(LEVELS[2], -q.noise * 3.0 + p.x + 0.5 * z(1, 2) + z(0))
    _, one, two = draft.finish()
    assert (one.states, one.outputs, one.draws) == ({0: 2.0}, {0: -0.25}, {Draw(0, 0): -0.25})
    # noise = (x - alpha D) / sigma with (alpha, sigma) = (0.8, 0.6), worked out by hand; 1e-15: a rounding or two
    assert two.states == pytest.approx({1: -5.0, 0: 1.0}, abs=1e-15)
    assert two.outputs == pytest.approx({1: 4.0}, abs=1e-15)
    assert two.draws == {Draw(1, 2): 0.5, Draw(0, 0): 1.0}


def test_a_combination_prints_as_the_formula_it_is() -> None:
    p = Draft(LEVELS).newest
    assert repr(2.0 * p.x - p.D / 4.0) == "Lin(+2*x0 -0.25*D0)"


def test_a_run_is_of_the_levels_it_was_given_and_its_start_has_no_weights() -> None:
    draft = Draft(LEVELS)
    seen = []
    for step, p, s in draft.steps():
        seen.append((step, p.level, s))
        draft.add(s, p.x)
    table = draft.finish()
    assert seen == [(0, LEVELS[0], LEVELS[1]), (1, LEVELS[1], LEVELS[2])]
    assert [node.level for node in table] == LEVELS
    assert table[0] == Node(LEVELS[0], {}, {}, {}, False)


def test_states_that_are_never_looked_back_at_are_dropped_and_the_rest_renumbered() -> None:
    draft = Draft(LEVELS)
    start = draft.newest
    draft.add(LEVELS[1], start.D)  # a corrected state that nobody reads
    kept = draft.add(LEVELS[1], start.x)
    draft.add(LEVELS[2], kept.D + start.x)
    table = draft.finish()
    assert len(table) == 3
    assert (table[2].states, table[2].outputs) == ({0: 1.0}, {1: 1.0})


def test_the_denoiser_is_asked_exactly_where_its_output_is_used() -> None:
    draft = Draft(LEVELS)
    start = draft.newest
    aside = draft.add(LEVELS[1], start.x + start.D)  # a helper state: looked at, not asked
    draft.add(LEVELS[2], aside.x)
    table = draft.finish()
    assert [node.evaluate for node in table] == [True, False, False]
    assert calls(table) == 1


def test_a_weight_of_zero_is_no_look_back() -> None:
    draft = Draft(LEVELS)
    p = draft.newest
    draft.add(LEVELS[2], p.x + 0.0 * p.D + 0.0 * z(0))
    table = draft.finish()
    assert calls(table) == 0 and draws(table) == []


def test_draws_are_listed_once_in_order_of_use_and_never_the_start() -> None:
    draft = Draft(LEVELS)
    q = draft.add(LEVELS[1], draft.newest.x + z(1) + z(0))
    draft.add(LEVELS[2], q.x + z(1))
    assert draws(draft.finish()) == [Draw(1, 0), Draw(0, 0)]
    assert Draw(-1, 0) == START


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ((), "begins with node 0"),
        ((Node(LEVELS[0], {0: 1.0}, {}, {}),), "begins with node 0"),
        ((Node(LEVELS[0], {}, {}, {}), Node(LEVELS[1], {1: 1.0}, {}, {})), "state 1"),
        ((Node(LEVELS[0], {}, {}, {}), Node(LEVELS[1], {}, {1: 1.0}, {})), "output 1"),
        ((Node(LEVELS[0], {}, {}, {}), Node(LEVELS[1], {-1: 1.0}, {}, {})), "state -1"),
        ((Node(LEVELS[0], {}, {}, {}, False), Node(LEVELS[1], {}, {0: 1.0}, {})), "not asked there"),
        ((Node(LEVELS[0], {}, {}, {}), Node(LEVELS[1], {0: math.nan}, {}, {})), "weight nan"),
        ((Node(LEVELS[0], {}, {}, {}), Node(LEVELS[1], {}, {0: math.inf}, {})), "weight inf"),
        ((Node(LEVELS[0], {}, {}, {}), Node(LEVELS[1], {}, {}, {Draw(0, 0): -math.inf})), "weight -inf"),
    ],
)
def test_a_table_that_cannot_be_run_is_refused_with_the_place(table: tuple[Node, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check(table)


def test_a_draft_refuses_what_has_no_meaning() -> None:
    with pytest.raises(ValueError, match="at least 2 levels"):
        Draft(LEVELS[:1])
    draft, other = Draft(LEVELS), Draft(LEVELS)
    with pytest.raises(ValueError, match="no noise estimate"):
        _ = draft.add(LEVELS[2], draft.newest.x).noise
    far = other.add(LEVELS[1], other.add(LEVELS[1], other.newest.x).x)
    fresh = Draft(LEVELS)
    fresh.add(LEVELS[2], far.x)
    with pytest.raises(ValueError, match="not of this draft"):
        fresh.finish()


def test_ratio_is_the_falling_noise_of_a_step_and_zero_at_both_ends() -> None:
    t, s = Level(0.6, 0.8), Level(0.8, 0.3)
    assert ratio(t, s) == pytest.approx(math.exp(t.half_log_snr - s.half_log_snr), rel=1e-15)
    assert ratio(Level(0.0, 1.0), s) == 0.0 == ratio(t, Level(1.0, 0.0))
    with pytest.raises(ValueError, match="no step leads"):
        ratio(Level(1.0, 0.0), s)
    with pytest.raises(ValueError, match="no step leads"):
        ratio(t, Level(0.0, 1.0))


# The integrals --------------------------------------------------------------------------------------------------------


def _by_quadrature(points: list[float], a: float, b: float, q: float) -> list[mpmath.mpf]:
    """The definition of the weights, integrated to 30 digits."""

    def lagrange(j: int, x: mpmath.mpf) -> mpmath.mpf:
        return mpmath.fprod((x - p) / (mpmath.mpf(points[j]) - p) for i, p in enumerate(points) if i != j)

    with mpmath.workdps(30):
        low, high = mpmath.mpf(a), mpmath.mpf(b)
        cells = mpmath.linspace(low, high, 3)
        return [mpmath.quad(lambda x, j=j: q * mpmath.exp(-q * (high - x)) * lagrange(j, x), cells) for j in range(len(points))]


@settings(max_examples=30)
@given(
    a=st.floats(-6.0, 6.0),
    h=st.floats(-4.0, 1.2).map(lambda e: 10.0**e),
    gaps=st.lists(st.floats(-0.7, 0.7).map(lambda e: 10.0**e), max_size=3),
    ahead=st.booleans(),
    back=st.booleans(),
    q=st.sampled_from([1.0, 1.49, 2.0]),
)
def test_weights_are_the_exponential_integrals_of_the_lagrange_polynomials(
    a: float, h: float, gaps: list[float], ahead: bool, back: bool, q: float
) -> None:
    h = -h if back else h  # from data to noise: the points known are on the other side of a
    b = a + h
    points = [b, a] if ahead else [a]  # with b among them it is a corrector
    for gap in gaps:
        points.append(points[-1] - gap * h)
    truth = _by_quadrature(points, a, b, q)
    scale = max(abs(w) for w in truth)
    # 5e-14 of the largest weight, from steps of 1e-4 to 16 and gaps of a fifth to five steps: the worst seen is 6e-15
    for got, exact in zip(weights(points, a, b, q), truth, strict=True):
        assert abs(got - exact) <= 5e-14 * scale


@pytest.mark.parametrize("h", [1e-6, 0.1, 1.999, 2.001, 9.0, 40.0])
@pytest.mark.parametrize("q", [1.0, 2.0])
def test_weights_sum_to_what_a_constant_belief_gets(h: float, q: float) -> None:
    points = [0.3, 0.3 - h / 2, 0.3 - 2 * h, 0.3 - 3.1 * h]
    total = -math.expm1(-q * ((0.3 + h) - 0.3))
    assert math.fsum(weights(points, 0.3, 0.3 + h, q)) == pytest.approx(total, rel=1e-13)


def test_a_point_at_pure_noise_drops_out_as_the_limit_says() -> None:
    far = weights([0.5, -1e9], 0.5, 1.5)
    assert weights([0.5, -math.inf], 0.5, 1.5) == pytest.approx(far, abs=1e-8)  # 1 / distance
    assert weights([0.5, -0.2, -math.inf], 0.5, 1.5) == [*weights([0.5, -0.2], 0.5, 1.5), 0.0]
    assert weights([-math.inf], -math.inf, 1.5) == [1.0]


def test_a_step_from_pure_noise_is_the_limit_of_long_steps() -> None:
    points = [1.5, 1.0]  # finite points to interpolate through, as a corrector has
    # at h = 60 what is left out is exp(-60)
    assert weights(points, -math.inf, 1.5, 2.0) == pytest.approx(weights(points, -58.5, 1.5, 2.0), rel=1e-12)


def test_a_step_to_data_is_of_first_order_on_the_cleanest_point() -> None:
    assert weights([0.5, -0.2, -3.0], 0.5, math.inf) == [1.0, 0.0, 0.0]
    assert weights([-0.2, 0.5], 0.5, math.inf) == [0.0, 1.0]


@pytest.mark.parametrize(
    ("points", "a", "b", "q"),
    [
        ([], 0.0, 1.0, 1.0),
        ([0.0, 0.0], 0.0, 1.0, 1.0),
        ([math.inf], 0.0, 1.0, 1.0),
        ([0.0], 1.0, 1.0, 1.0),
        ([0.0], 1.0, -math.inf, 1.0),
        ([0.0], math.inf, 1.0, 1.0),
        ([0.0], 0.0, 1.0, 0.0),
    ],
)
def test_weights_refuse_what_has_no_answer(points: list[float], a: float, b: float, q: float) -> None:
    with pytest.raises(ValueError, match="weights need"):
        weights(points, a, b, q)


def test_slopes_are_added_at_once_as_one_by_one() -> None:
    x, y, w = Lin({("x", 0): 2.0}), Lin({("x", 0): -1.0, ("D", 1): 0.5}), Lin({("x", 0): 3.0, ("D", 2): 4.0})
    one_by_one = x + 0.3 * (y - w) + -0.7 * (x - w)
    assert x.moved([0.3, -0.7], [y, x], w).terms == pytest.approx(one_by_one.terms, abs=1e-15)
    assert x.terms == {("x", 0): 2.0}


def test_a_run_of_steps_that_begin_anew_is_split_into_them_and_joined_again() -> None:
    levels = log_snr(schedule("edm"), 5)
    for name in ("ddim", "heun", "midpoint", "rk4", "dpmpp_2s", "dpmpp_3s", "dpm_solver_3", "res_3s"):
        table = SOLVERS[name].build(levels)
        steps = split(table, levels)
        assert steps is not None and len(steps) == 5 and joined(steps) == table, name
    for name in ("dpmpp_2m", "unipc", "adams", "ipndm"):
        assert split(SOLVERS[name].build(levels), levels) is None, name
