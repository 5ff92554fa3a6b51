"""check_solver holds for the catalogue, and finds what is wrong with a solver."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from builds import TOLD
from noisepath.levels import Level
from noisepath.solvers import SOLVERS, Build, adams, ddim
from noisepath.tableau import Draft, Tableau, ratio, z
from noisepath.testing import check_solver

# All others are held to the same laws in test_solvers.py.
KINDS = ("ddim", "heun", "dpmpp_2m", "unipc", "dpmpp_sde", "seeds_3", "restart", "langevin", "lcm")


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in KINDS else pytest.mark.slow) for name in SOLVERS])
def test_the_laws_hold_for_the_catalogue(name: str) -> None:
    solver = SOLVERS[name]
    report = check_solver(
        solver.build, order=solver.order, stochastic=solver.stochastic, strict=False, **TOLD.get(name, {})
    )
    assert report.broken == ()
    assert "all laws hold" in str(report)


def test_the_trig_frame_does_not_follow_a_constant_belief() -> None:
    build = partial(adams, frame="trig")
    assert check_solver(build, order=2, holds_belief=False, bounded=False).broken == ()
    with pytest.raises(AssertionError, match="constant belief"):
        check_solver(build, order=2, bounded=False)


def _wrong(what: str) -> Build:
    """DDIM with one mistake."""

    def build(levels: Sequence[Level]) -> Tableau:
        draft = Draft(levels)
        for step, p, s in draft.steps():
            r = ratio(p.level, s)
            carried, weight, noise = s.sigma / p.level.sigma, s.alpha * (1.0 - r), 0.0
            if what == "weight":
                weight *= 0.99
            elif what == "frame":
                carried, weight = s.sigma / p.level.sigma, 1.0 - r
            elif what == "noise":
                noise = 0.1 * s.sigma
            elif what == "data":
                noise = 0.1
            elif what == "range":
                beyond = draft.add(Level(1.0, p.level.noise_ratio * 1.1), p.x)
                weight -= 1e-3 * weight
                carried_belief = 1e-3 * s.alpha * (1.0 - r)
                draft.add(s, carried * p.x + weight * p.D + carried_belief * beyond.D)
                continue
            elif what == "pure noise":
                weight = s.alpha * (1.0 - r) / (p.level.alpha + 1e-300)
            draft.add(s, carried * p.x + weight * p.D + noise * z(step))
        return draft.finish()

    return build


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("weight", "constant belief: the mean"),
        ("frame", "frame invariance"),
        ("noise", "constant belief: the variance"),
        ("data", "noise is added in the step to data"),
        ("range", "range: the denoiser is asked at sigma / alpha = 9.9"),
        ("pure noise", "table of 2 steps"),
    ],
)
def test_a_mistake_is_named(what: str, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_solver(_wrong(what), order=1, stochastic=what in ("noise", "data"))


def test_weights_for_equal_steps_are_found_on_alternating_ones() -> None:
    """iPNDM's: of order 2 where steps change smoothly, of order 1 where they do not."""
    solver = SOLVERS["ipndm"]
    assert check_solver(solver.build, order=2, any_grid=False).broken == ()
    with pytest.raises(AssertionError, match=r"alternating steps, where 2 is stated"):
        check_solver(solver.build, order=2)


def test_a_frame_that_must_be_left_out_of_much_noise_is_found_on_long_steps() -> None:
    """The same method with its correction turned round there is of the same order, and worse than DDIM."""

    def turned(levels: Sequence[Level]) -> Tableau:
        draft = Draft(levels)
        for _, p, s in draft.steps():
            r = ratio(p.level, s)
            q = draft.add(s, (s.sigma / p.level.sigma) * p.x + (s.alpha * (1.0 - r)) * p.D)
            if not s.is_data:
                sign = -1.0 if r < 0.1 else 1.0
                draft.add(s, q.x + (0.5 * sign * s.alpha * (1.0 - r)) * (q.D - p.D))
        return draft.finish()

    with pytest.raises(AssertionError, match="long steps: from sigma / alpha = 80 to 2 it errs") as found:
        check_solver(turned, order=2)
    assert "order:" not in str(found.value).replace("measured order:", "")


def test_draws_that_are_not_said_are_named() -> None:
    with pytest.raises(AssertionError, match="draws: it draws noise, but is said to be stochastic=False"):
        check_solver(SOLVERS["ddpm"].build, order=0, noise_tolerance=1.0)


def test_an_order_of_its_own_that_is_not_there_is_named() -> None:
    """Order 3 of Adams, of which the run's own start hides everything above 2."""
    with pytest.raises(AssertionError, match=r"from 2 exact start values, where 4 is stated"):
        check_solver(adams, order=2, looks_back=2, own_order=4)


def test_an_order_that_is_stated_too_high_is_named() -> None:
    with pytest.raises(AssertionError, match=r"order: (0\.9|1\.0). on gaussian, an even grid, where 2 is stated"):
        check_solver(ddim, order=2)
