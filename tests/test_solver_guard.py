"""The guard: on no grid is a solver much worse than DDIM, and where steps are short it is the published method."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

import grids
from noisepath import solvers
from noisepath.analysis import FACTORS, gaussian_law, over_first_order, smooth_levels
from noisepath.levels import Level
from noisepath.sampling import DEFAULTS
from noisepath.schedules import SCHEDULES, schedule
from noisepath.solvers import SOLVERS, Build, ddim, unguarded
from noisepath.spacing import SPACINGS, alpha_bar
from noisepath.tableau import Tableau
from noisepath.testing import HARD_GRIDS, at, check_solver

GUARDED = [name for name, solver in SOLVERS.items() if "guard" in inspect.signature(solver.build).parameters]
guarded = pytest.mark.parametrize("name", GUARDED)
SOLVING = [name for name, solver in SOLVERS.items() if solver.bounded and name != "ddim"]
# One of each spacing or more, all schedules and numbers of steps among them
SAMPLE = [
    *HARD_GRIDS, ("vp_cosine", "sgm_uniform", 50), ("edm", "quadratic", 10), ("sub_vp", "beta", 5), ("sigmoid", "alpha_bar", 5),
    ("linear", "angle", 5), ("vp_linear", "polyexponential", 10), ("sub_vp", "asinh", 10), ("edm", "ays", 10),
    ("quadratic", "gits", 5),
]  # fmt: skip


def ratios(build: Build) -> list[float]:
    """The errors on the sample's grids and four deviations, over DDIM's."""
    found: list[float] = []
    for name, spacing, steps in SAMPLE:
        levels = SPACINGS[spacing](schedule(name), steps)
        found += over_first_order(build(levels), ddim(levels)).tolist()
    return found


def test_the_sample_has_every_schedule_spacing_and_number_of_steps() -> None:
    assert {name for name, _, _ in SAMPLE} == set(SCHEDULES)
    assert {spacing for _, spacing, _ in SAMPLE} == set(SPACINGS)
    assert {steps for _, _, steps in SAMPLE} == set(grids.STEPS)


def test_on_no_grid_is_a_solver_much_worse_than_first_order() -> None:
    """``benchmarks/grids.py`` has all 79,200 cells: 1 % of them beyond at most, none above 3.  Here are 2,112, many hard."""
    beyond = cells = 0
    for name in SOLVING:
        found, factor = ratios(SOLVERS[name].build), FACTORS[1 if SOLVERS[name].stochastic else 0]
        assert max(found) <= FACTORS[2], name
        beyond, cells = beyond + sum(value > factor for value in found), cells + len(found)
    assert beyond <= 0.01 * cells


@pytest.mark.parametrize("name", ["heun", "kdpm2", "dpm_solver_3", "adams_moulton", "edm", "dpm2_ancestral", "sa_solver"])
def test_without_the_guard_it_would_be(name: str) -> None:
    assert max(ratios(unguarded(SOLVERS[name].build))) > 2.0 * FACTORS[2]


@pytest.mark.slow
def test_in_all_cells_one_in_a_hundred_is_beyond_its_factor_at_most_and_none_above_three() -> None:
    found = list(grids.cells(SOLVING))
    assert len(found) == 4 * len(SOLVING) * len(SCHEDULES) * len(SPACINGS) * len(grids.STEPS)
    assert all(cell.ratio <= FACTORS[2] for cell in found)
    assert sum(cell.ratio > cell.factor for cell in found) <= 0.01 * len(found)


def test_the_solvers_that_follow_neither_ode_nor_sde_are_not_bounded() -> None:
    assert {name for name, solver in SOLVERS.items() if not solver.bounded} == {"langevin", "lcm", "tcd", "consistency"}
    assert all(solver.order == 0 for solver in SOLVERS.values() if not solver.bounded)


OPTIONS: dict[str, Build] = {
    "midpoint noise": partial(solvers.midpoint, frame="noise"),
    "rk4 noise": partial(solvers.rk4, frame="noise"),
    "adams x0 4": partial(solvers.adams, frame="x0", order=4),
    "adams deis 6": partial(solvers.adams, frame="deis", order=6),
    "adams flow 6": partial(solvers.adams, order=6, data_scale=2.0),
    "adams_moulton noise": partial(solvers.adams_moulton, frame="noise"),
    "adams_moulton again": partial(solvers.adams_moulton, again=True),
    "exponential_adams 4": partial(solvers.exponential_adams, order=4),
    "exponential_adams tau": partial(solvers.exponential_adams, order=4, tau=0.5),
    "unipc 4 bh1": partial(solvers.unipc, order=4, variant="bh1"),
    "unipc without corrector": partial(solvers.unipc, order=3, corrector=False),
    "sa_solver 4": partial(solvers.sa_solver, order=4, corrector_order=4, tau=0.5),
    "dpmpp_2m_sde heun": partial(solvers.dpmpp_2m_sde, variant="heun", eta=0.5),
    "dpmpp_3m_sde published": partial(solvers.dpmpp_3m_sde, published=True),
    "dpm2_ancestral 0.5": partial(solvers.dpm2_ancestral, eta=0.5),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_changes_nothing_of_it(name: str) -> None:
    assert max(ratios(OPTIONS[name])) <= FACTORS[2]


# Where it does nothing ------------------------------------------------------------------------------------------------


@guarded
def test_on_a_smooth_grid_the_guard_does_nothing(name: str) -> None:
    build = SOLVERS[name].build
    for levels in (smooth_levels(64), smooth_levels(64)[::-1] if not SOLVERS[name].stochastic else smooth_levels(48)):
        assert_same(build(levels), unguarded(build)(levels))


def assert_same(one: Tableau, other: Tableau) -> None:
    """To rounding: where an order is taken whole it is the published one."""
    assert [node.level for node in one] == [node.level for node in other]
    for a, b in zip(one, other, strict=True):
        for x, y in ((a.states, b.states), (a.outputs, b.outputs), (a.draws, b.draws)):
            assert x == pytest.approx(y, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_default_is_the_published_method_on_its_own_grid(name: str) -> None:
    build = SOLVERS[DEFAULTS.solver].build
    for steps in (6, 8, 10, DEFAULTS.steps, 50):
        levels = alpha_bar(schedule(name), steps)
        assert build(levels) == unguarded(build)(levels)


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2s", "seeds_2", "lcm"])
def test_a_solver_that_needs_no_guard_has_none(name: str) -> None:
    build: Any = SOLVERS[name].build
    assert unguarded(build) is build and name not in GUARDED


# Between ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in GUARDED if name != "restart"])  # which chooses among the levels
def test_what_it_makes_of_a_step_is_continuous_in_the_levels(name: str) -> None:
    """The last level slides from a short step to one so long that the guard takes all of it.

    Where the outcome changes most, it changes less and less as one looks nearer; a jump would stay.
    """
    build = SOLVERS[name].build
    places = [i / 40 for i in range(41)]
    made = [outcome(build, place) for place in places]
    worst = max(range(40), key=lambda i: apart(made[i], made[i + 1]))
    low, high = places[worst], places[worst + 1]
    for _ in range(18):
        middle = (low + high) / 2
        before, here, after = (outcome(build, place) for place in (low, middle, high))
        low, high = (low, middle) if apart(before, here) > apart(here, after) else (middle, high)
    assert apart(outcome(build, low), outcome(build, high)) < 1e-3 * apart(made[0], made[-1])


def outcome(build: Build, share: float) -> Any:
    """Mean and deviation of what a run of four steps makes of several data."""
    levels = [at("preserving", ratio) for ratio in (60.0, 40.0, 25.0, 16.0, 16.0 * math.exp(-0.3 - 5.0 * share))]
    mean, variance = gaussian_law(build(levels), 0.3, [0.01, 0.1, 1.0, 10.0])
    return [*mean, *variance**0.5]


def apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(x - y) for x, y in zip(one, other, strict=True))


# A solver of one's own ----------------------------------------------------------------------------------------------------


def test_check_solver_finds_a_method_that_goes_too_far_on_hard_grids() -> None:
    plain = unguarded(solvers.heun)
    assert check_solver(plain, order=2, bounded=False).broken == ()
    with pytest.raises(AssertionError, match="grids: on 10 steps of the spacing 'time' on 'edm' it errs"):
        check_solver(plain, order=2)


def test_a_solver_of_ones_own_takes_the_guard_as_ours_do() -> None:
    from noisepath.solvers import Guard
    from noisepath.solvers.frames import first_order
    from noisepath.tableau import Draft

    def trapezoid(levels: Sequence[Level], *, guard: bool = True) -> Tableau:
        draft = Draft(levels)
        careful = Guard(draft, guard)
        for _, p, s in draft.steps():
            q = draft.add(s, first_order(p, s))
            if not s.is_data:  # Heun's in the noise frame, which nothing bends at pure noise
                c = s.alpha / 2.0 * (p.level.noise_ratio / s.noise_ratio - 1.0)
                draft.add(s, careful.step(p, s, [q.x, q.x + c * (q.D - p.D)]))
        return draft.finish()

    hard = [grid for grid in SAMPLE if grid[0] in ("linear", "sigmoid", "edm")]  # none of them begins at alpha = 0
    for guard in (True, False):
        worst = 0.0
        for name, spacing, steps in hard:
            levels = SPACINGS[spacing](schedule(name), steps)
            worst = max(worst, float(over_first_order(trapezoid(levels, guard=guard), ddim(levels)).max()))
        assert worst <= FACTORS[0] if guard else worst > 10.0
