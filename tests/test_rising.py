"""Runs from data to noise, and runs that turn: solvers without noise integrate the probability flow both ways."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from torch import Tensor

from noisepath import solvers
from noisepath.analysis import PROBLEMS, gaussian_flow, gaussian_law, smooth_levels
from noisepath.levels import Level
from noisepath.loop import run_loop
from noisepath.sampling import design, sample
from noisepath.scalings import SCALINGS
from noisepath.schedules import schedule
from noisepath.solvers import SOLVERS, Build, ddim, dpmpp_2m
from noisepath.spacing import reversed_levels
from noisepath.tableau import Draft, Draw, Tableau, draws, joined, z

# Each solver without noise of the catalogue, the frames, and those with noise where an option takes it away: (build, order)
BOTH_WAYS: dict[str, tuple[Build, int]] = {
    **{name: (entry.build, entry.order) for name, entry in SOLVERS.items() if not entry.stochastic},
    "heun flow": (partial(solvers.heun, frame="flow"), 2),
    "midpoint noise": (partial(solvers.midpoint, frame="noise"), 2),
    "rk4 noise": (partial(solvers.rk4, frame="noise"), 4),
    "exponential_adams 4": (partial(solvers.exponential_adams, order=4), 2),
    "adams x0": (partial(solvers.adams, frame="x0"), 2),
    "adams_moulton deis": (partial(solvers.adams_moulton, frame="deis"), 2),
    "adams_moulton x0 again": (partial(solvers.adams_moulton, frame="x0", again=True), 3),
    "unipc bh1 3": (partial(solvers.unipc, variant="bh1", order=3), 3),
    "sa_solver tau=0": (partial(solvers.sa_solver, tau=0.0), 3),
    "dpm2_ancestral eta=0": (partial(solvers.dpm2_ancestral, eta=0.0), 2),
    "dpmpp_2s_ancestral eta=0": (partial(solvers.dpmpp_2s_ancestral, eta=0.0), 2),
    "dpmpp_sde eta=0": (partial(solvers.dpmpp_sde, eta=0.0), 2),
    "dpmpp_2m_sde eta=0": (partial(solvers.dpmpp_2m_sde, eta=0.0), 2),
    "dpmpp_3m_sde eta=0": (partial(solvers.dpmpp_3m_sde, eta=0.0), 2),
    "seeds_2 eta=0": (partial(solvers.seeds, eta=0.0), 2),
    "seeds_3 eta=0": (partial(solvers.seeds, order=3, eta=0.0), 3),
    "er_sde ode": (partial(solvers.er_sde, noise_scale=float), 2),
    "edm churn=0": (partial(solvers.edm, churn=0.0), 2),
    "restart repeats=0": (partial(solvers.restart, repeats=0), 2),
    "langevin corrections=0": (partial(solvers.langevin, corrections=0), 1),
    "tcd gamma=0": (partial(solvers.tcd, gamma=0.0), 1),
}
every_build = pytest.mark.parametrize("name", BOTH_WAYS)
STEPS = (32, 64)
MIXTURE = PROBLEMS["mixture"]()
START = torch.linspace(-2.0, 2.0, 41, dtype=torch.float64)


@cache
def _top() -> Tensor:
    """Where the flow takes the start of :func:`rising`."""
    return MIXTURE.flow(START, rising(1)[0], rising(1)[-1])


def rising(steps: int) -> list[Level]:
    return smooth_levels(steps)[::-1]


def up_and_down(steps: int) -> list[Level]:
    return [*rising(steps), *smooth_levels(steps)[1:]]


def all_ratios(ratios: list[float], frame: str) -> list[Level]:
    """The frame's levels of some sigma / alpha."""
    split = SCALINGS[frame].alpha_sigma
    inner = [split(torch.tensor(-2.0 * math.log(r), dtype=torch.float64)) for r in ratios if r < math.inf]
    return [*(Level(float(a), float(s)) for a, s in inner), *([Level(0.0, 1.0)] if math.inf in ratios else [])]


@every_build
def test_upwards_a_solver_has_its_order_too(name: str) -> None:
    build, order = BOTH_WAYS[name]
    errors = [float((run_loop(build(rising(steps)), MIXTURE.denoise, START) - _top()).abs().max()) for steps in STEPS]
    assert math.log2(errors[0] / errors[1]) > order - 0.25


@pytest.mark.parametrize("name", ["ddim", "heun", "dpmpp_2m", "deis", "unipc", "rk4"])
def test_up_to_noise_and_down_again_comes_back_with_the_solver_s_order(name: str) -> None:
    build, order = BOTH_WAYS[name]

    def there_and_back(levels: list[Level]) -> Tableau:
        return design(solver=build, levels=levels, rising=True)

    errors = []
    for steps in STEPS:
        table = there_and_back(up_and_down(steps))
        assert table[0].level == table[-1].level
        errors.append(float((run_loop(table, MIXTURE.denoise, START) - START).abs().max()))
    assert errors[1] < 0.05 and math.log2(errors[0] / errors[1]) > order - 0.35


@every_build
@pytest.mark.parametrize("frame", SCALINGS)
def test_a_belief_that_never_changes_is_followed_exactly_up_to_pure_noise(name: str, frame: str) -> None:
    """Data that are a single point m: the state is alpha m + sigma n all the way, whatever the steps."""
    m, n = 0.7, torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
    for ratios in ([0.01, 0.3, 4.0, math.inf], [0.02, 0.05, 0.13, 0.3, 0.8, 2.0, 5.0], [0.5, math.inf]):
        levels = all_ratios(ratios, frame)
        start, end = levels[0], levels[-1]
        made = run_loop(BOTH_WAYS[name][0](levels), lambda x, level: torch.full_like(x, m), start.alpha * m + start.sigma * n)
        torch.testing.assert_close(made, end.alpha * m + end.sigma * n, rtol=0, atol=1e-11 * (1 + end.sigma))


@pytest.mark.parametrize("build", [solvers.adams, solvers.adams_moulton, solvers.midpoint, solvers.rk4])
def test_on_a_gaussian_of_its_scale_the_trig_frame_is_exact_both_ways(build: Callable[..., Tableau]) -> None:
    scale, x = 0.6, torch.linspace(-1.0, 1.0, 5, dtype=torch.float64)

    def denoise(x: Tensor, level: Level) -> Tensor:
        return level.alpha * scale**2 / ((level.alpha * scale) ** 2 + level.sigma**2) * x

    for levels in (rising(3), up_and_down(2)):
        table = design(solver=partial(build, frame="trig", data_scale=scale), levels=levels, rising=True)
        truth = gaussian_flow(x, levels[0], levels[-1], 0.0, scale**2)
        torch.testing.assert_close(run_loop(table, denoise, x), truth, rtol=0, atol=1e-12)


def test_the_law_of_gaussian_data_turned_into_noise_is_the_exact_one() -> None:
    """In closed form by the recursion: the mean and variance of the state at the top, for 80 steps of a solver of order 3."""
    m, v, path = 0.4, 0.2, schedule("vp_linear")
    levels = reversed_levels(path, 80)
    start, end = levels[0], levels[-1]
    table = design(solver="unipc", levels=levels, rising=True)
    mean, variance = gaussian_law(table, m, v, start.alpha * m, start.alpha**2 * v + start.sigma**2)
    assert float(mean) == pytest.approx(end.alpha * m, abs=1e-3)
    assert float(variance) == pytest.approx(end.alpha**2 * v + end.sigma**2, rel=1e-3)


@every_build
def test_where_a_run_turns_the_memory_of_a_solver_begins_anew(name: str) -> None:
    build = BOTH_WAYS[name][0]
    up, down = rising(5), [*smooth_levels(4, noisy=-2.0)]
    table = design(solver=build, levels=[*up, *down[1:]], rising=True)
    turn = len(build(up)) - 1
    assert table[turn].level == up[-1]
    assert all(k >= turn for node in table[turn + 1 :] for k in (*node.states, *node.outputs))
    apart = run_loop(build(down), MIXTURE.denoise, run_loop(build(up), MIXTURE.denoise, START))
    torch.testing.assert_close(run_loop(table, MIXTURE.denoise, START), apart, rtol=0, atol=1e-14)


def test_parts_that_are_joined_draw_noise_of_their_own() -> None:
    down = smooth_levels(3)
    table = joined([solvers.ddpm(down), ddim(down[::-1]), solvers.ddpm(down)])
    assert len(draws(table)) == 2 * len(draws(solvers.ddpm(down)))
    m, v = 0.3, 0.5
    one = gaussian_law(solvers.ddpm(down), m, v)
    two = gaussian_law(ddim(down[::-1]), m, v, *one)
    assert gaussian_law(table, m, v) == pytest.approx(gaussian_law(solvers.ddpm(down), m, v, *two), rel=1e-12)
    with pytest.raises(ValueError, match="can't go on from one that ends at"):
        joined([ddim(down), ddim(down)])


STOCHASTIC = [name for name, entry in SOLVERS.items() if entry.stochastic]


@pytest.mark.parametrize("name", STOCHASTIC)
def test_a_solver_that_adds_noise_only_falls_and_says_so(name: str) -> None:
    for levels in (rising(4), [Level(1.0, 0.3), Level(1.0, 0.4), Level(1.0, 2.0)]):
        with pytest.raises(ValueError, match="a step that adds noise must lead to a cleaner level, .* without noise"):
            design(solver=name, levels=levels, rising=True)


def test_a_run_that_is_not_told_to_rise_does_not() -> None:
    up = rising(3)
    with pytest.raises(ValueError, match="levels must fall in noise"):
        design(levels=up)
    with pytest.raises(ValueError, match="levels must fall in noise"):
        sample(lambda x, level, condition=None: x, (1, 2), levels=up)
    with pytest.raises(ValueError, match="rising=True is about levels="):
        design(schedule("flow"), steps=3, rising=True)
    with pytest.raises(ValueError, match=r"can't begin at Level\(alpha=1.0, sigma=0.0\).*reversed_levels"):
        design(levels=[Level(1.0, 0.0), *up], rising=True)
    with pytest.raises(ValueError, match="level 3 is .* and level 4 is .*rising=True"):
        dpmpp_2m([*up, up[0]])

    def own(levels: list[Level]) -> Tableau:
        draft = Draft(levels)
        for step, p, s in draft.steps():
            draft.add(s, p.x + 0.5 * z(step))
        return draft.finish()

    assert draws(own(up[::-1])) == [Draw(n, 0) for n in range(3)]
    with pytest.raises(ValueError, match="a step that adds noise"):
        own(up)
