"""The laws that hold for every solver: one in the catalogue is tested by being there.

The data are an exact mixture or Gaussian, the states float64, so nothing below is an estimate unless it says so.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from builds import BUILDS, MEAN, MIXTURE, RATIOS, START_Z, VARIANCE, result, unit_draw
from noisepath.analysis import gaussian_law, measured_order
from noisepath.exact import Gaussian
from noisepath.levels import Level
from noisepath.loop import run_loop
from noisepath.scalings import SCALINGS
from noisepath.solvers import SOLVERS, Build, ddim, ddpm, dpmpp_2m, exponential_adams, heun, resolve
from noisepath.tableau import Draw, calls, draws
from noisepath.testing import at

every_build = pytest.mark.parametrize("name", BUILDS)
every_frame = pytest.mark.parametrize("frame", SCALINGS)


# 1. Frame invariance --------------------------------------------------------------------------------------------------


@every_build
def test_the_frame_of_the_path_does_not_matter(name: str) -> None:
    build = BUILDS[name][0]
    for ratios in (RATIOS, [math.inf, *RATIOS, 0.0]):
        base = [at("preserving", r) for r in ratios]
        expected = result(build, base, START_Z)
        for frame in SCALINGS:
            other = [at(frame, r) for r in ratios]
            scale = (other[-1].alpha + other[-1].sigma) / (base[-1].alpha + base[-1].sigma)
            # 1e-11: rounding of levels, carried through eight nonlinear steps (seen: 2e-14)
            torch.testing.assert_close(result(build, other, START_Z) / scale, expected, rtol=0, atol=1e-11)


# 2. Order -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "problem"),
    # weak order is measured where the law is exact; options are tried on the Gaussian alone
    [(name, "gaussian") for name in BUILDS]
    + [(name, "mixture") for name, solver in SOLVERS.items() if not solver.stochastic],
)
def test_the_error_falls_with_the_stated_order(name: str, problem: str) -> None:
    build, order, stochastic = BUILDS[name]
    steps = (256, 512) if name in LATE else (32, 64) if order > 2 else (64, 128)
    measured = measured_order(build, problem=problem, stochastic=stochastic, steps=steps)
    if order == 0:  # more steps do not lead to the answer
        assert measured.errors[-1] > 1e-3 and measured.order < 0.3
        return
    # on a smooth grid the slope is within 0.2 of its limit; where only the start, or one part of the error, is of the lower
    # order, it comes down to the limit later
    assert order - 0.2 < measured.order
    assert measured.order < order + 0.2 or name.startswith(HIGHER)


LATE = ("adams", "edm", "sa_solver 2 0.5", "dpmpp_sde 0.5")  # where two parts of the error cancel before
HIGHER = (
    "exponential_adams 3", "exponential_adams 4", "adams", "lms", "deis", "adams_moulton", "unipc 3", "midpoint", "er_sde",
)  # fmt: skip


@pytest.mark.parametrize(("order", "starts"), [(2, 1), (3, 2), (4, 3)])
def test_adams_of_any_order_reaches_it_from_exact_start_values(order: int, starts: int) -> None:
    build = partial(exponential_adams, order=order)
    measured = measured_order(build, problem="mixture", steps=(32, 64), exact_starts=starts)
    assert measured.order == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("name", [name for name, solver in SOLVERS.items() if solver.looks_back])
def test_a_multistep_method_has_its_own_order_from_exact_start_values(name: str) -> None:
    """On equal steps of sigma / alpha, where those with weights for equal steps have it too."""
    solver = SOLVERS[name]

    def levels(steps: int) -> list[Level]:
        return [Level(1.0, 2.5 - 2.1 * i / steps) for i in range(steps + 1)]

    measured = measured_order(
        solver.build, problem="mixture", steps=(128, 256), exact_starts=solver.looks_back, levels=levels
    )
    assert measured.order == pytest.approx(solver.order_from_exact_starts, abs=0.2)


# 3. Exact moments -----------------------------------------------------------------------------------------------------


def one_value(x: Tensor, level: Level) -> Tensor:
    total = level.alpha**2 * VARIANCE + level.sigma**2
    return MEAN + level.alpha * VARIANCE / total * (x - level.alpha * MEAN)


@every_frame
@every_build
def test_the_law_by_recursion_is_the_law_of_the_loop(name: str, frame: str) -> None:
    levels = [at(frame, r) for r in (math.inf, *RATIOS, 0.0)]
    table = BUILDS[name][0](levels)
    places = draws(table)
    # row 0 starts from 0 and draws nothing; row 1 starts from 1; row 2 + i has draw i = 1: the run's linear form
    basis = torch.eye(2 + len(places), dtype=torch.float64)
    z = {draw: basis[:, 2 + i, None] for i, draw in enumerate(places)}
    x = run_loop(table, one_value, levels[0].sigma * basis[:, 1, None], z.__getitem__)[:, 0]
    mean, variance = gaussian_law(table, MEAN, VARIANCE)
    assert float(x[0]) == pytest.approx(float(mean), rel=1e-10)
    assert float(((x[1:] - x[0]) ** 2).sum()) == pytest.approx(float(variance), rel=1e-10)


@pytest.mark.parametrize("name", SOLVERS)
def test_sampled_moments_are_those_of_the_law(name: str) -> None:
    from noisepath.sampling import sample
    from noisepath.schedules import schedule

    covariance = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
    mean = torch.tensor([0.3, -0.2], dtype=torch.float64)
    data = Gaussian(mean, covariance)
    levels = [at("preserving", r) for r in (20.0, *RATIOS, 0.0)]
    n = 1000
    x = sample(data.denoiser(schedule("vp_linear")), (n, 2), solver=BUILDS[name][0], levels=levels, dtype=torch.float64)
    values, axes = torch.linalg.eigh(covariance)
    expected_mean, expected_variance = gaussian_law(BUILDS[name][0](levels), (mean @ axes).numpy(), values.numpy())
    y = x @ axes
    error = (y.mean(0).numpy() - expected_mean) / (expected_variance / n) ** 0.5
    assert abs(error).max() < 4  # standard errors
    assert abs((y.var(0).numpy() / expected_variance - 1) / (2 / n) ** 0.5).max() < 4


# 6. Ends --------------------------------------------------------------------------------------------------------------


@every_frame
@every_build
def test_a_run_from_pure_noise_to_data_is_finite(name: str, frame: str) -> None:
    for ratios in ([math.inf, 0.0], [math.inf, 1.0, 0.0], [math.inf, *RATIOS, 0.0], [math.inf, 1e6, 1.0, 1e-6, 0.0]):
        x = result(BUILDS[name][0], [at(frame, r) for r in ratios], START_Z)
        assert torch.isfinite(x).all()
        assert x.abs().max() < 20  # the data lie within 4


@every_build
def test_nearly_pure_noise_is_nearly_the_same_as_pure_noise(name: str) -> None:
    """Alpha of 1e-3 to 1e-12 is met in real tables; the limit is 0.  An earlier output goes away like 1 / log(1 / alpha),
    one step's own weights like alpha (or alpha^tau^2)."""
    build = BUILDS[name][0]
    exact = result(build, [at("preserving", r) for r in (math.inf, *RATIOS, 0.0)], START_Z)
    differences = []
    for alpha in (1e-3, 1e-6, 1e-9, 1e-12):
        near = result(build, [Level(alpha, math.sqrt(1 - alpha**2)), *(at("preserving", r) for r in (*RATIOS, 0.0))], START_Z)
        assert torch.isfinite(near).all()
        differences.append(float((near - exact).abs().max()))
    assert differences[0] < 1.0
    assert differences[-1] < 0.1
    assert all(a > b for a, b in zip(differences, differences[1:], strict=False))


@pytest.mark.parametrize("name", [name for name in BUILDS if "trig" not in name])
def test_a_run_of_one_step_from_noise_gives_the_belief_of_pure_noise(name: str) -> None:
    """(The trig frame does not hold D constant.)"""
    x = result(BUILDS[name][0], [at("preserving", math.inf), at("preserving", 0.0)], START_Z)
    mean = (MIXTURE.log_weights.exp()[:, None] * MIXTURE.means).sum(0)
    torch.testing.assert_close(x, mean.expand(6, 3), rtol=0, atol=1e-12)


@every_build
def test_the_step_to_data_draws_nothing_and_takes_the_last_belief(name: str) -> None:
    table = BUILDS[name][0]([at("flow", r) for r in (*RATIOS, 0.0)])
    last = table[-1]
    assert not last.draws and not last.evaluate
    before = len(table) - 2
    if BUILDS[name][1] == 1 and "eta" not in name or name in ("heun", "heun flow", "dpmpp_2m"):
        assert last.states == {} and last.outputs == {before: pytest.approx(1.0, abs=1e-15)}


@pytest.mark.parametrize(("r", "noise_ratio"), [(0.1, 40.0), (0.05, 40.0), (0.03, 9.0), (0.03, 19.0), (0.07, 13.0)])
def test_heun_is_continuous_where_its_frame_changes(r: float, noise_ratio: float) -> None:
    """Just beside r = 0.1 and 0.05, and v_t = 0.9 and 0.95 (noise ratios 9 and 19), where the blend begins and ends."""
    d = 1e-9
    for one, two in (((1 - d, 1.0), (1 + d, 1.0)), ((1.0, 1 - d), (1.0, 1 + d))):
        a, b = (
            result(heun, [at("flow", noise_ratio * k), at("flow", noise_ratio * k * r * j), at("flow", 0.01)], START_Z)
            for j, k in (one, two)
        )
        assert float((a - b).abs().max()) < 1e-5


def test_heun_keeps_its_frame_on_usual_grids_and_leaves_it_at_pure_noise() -> None:
    def c(t: float, s: float, frame: str) -> float:
        """The weight of the corrector on the new belief."""
        return heun([at("flow", t), at("flow", s)], frame=frame, guard=False)[-1].outputs[1]

    level = at("flow", 0.01)
    assert c(0.5, 0.01, "noise") == pytest.approx(level.alpha / 2 * (0.5 / 0.01 - 1), rel=1e-12)
    assert c(80.0, 30.0, "noise") == pytest.approx(at("flow", 30.0).alpha / 2 * (80 / 30 - 1), rel=1e-12)
    assert c(1e9, 3.0, "noise") == c(1e9, 3.0, "flow") == pytest.approx(0.5 * (1 / 0.75 - 1), rel=1e-8)


# The number of calls, options and names ---------------------------------------------------------------------------------


@every_build
@pytest.mark.parametrize("to_data", [True, False])
def test_the_denoiser_is_asked_as_often_as_the_table_says(name: str, to_data: bool) -> None:
    levels = [at("flow", r) for r in ((*RATIOS, 0.0) if to_data else RATIOS)]
    table = BUILDS[name][0](levels)
    asked = []

    def run(x: Tensor, level: Level) -> Tensor:
        asked.append(level)
        return one_value(x, level)

    run_loop(table, run, START_Z, unit_draw)
    assert len(asked) == calls(table)
    steps, each = len(levels) - 1, _calls_of(name)
    start = {"pndm": 9, "plms": 1}.get(name, 0)
    repeated = 2 * 4 if name == "restart" else 0  # from 2.2 to 0.06: four steps again
    # nothing is looked at inside the step to data, and a corrector never after the last step
    inside = to_data or "again" in name
    assert len(asked) == each * steps - (each - 1) * inside + start + repeated


def _calls_of(name: str) -> int:
    """Those of the catalogue's entry with the same function."""
    if "again" in name:
        return 2
    same = [solver for solver in SOLVERS.values() if _plain(solver.build) is _plain(BUILDS[name][0])]
    return SOLVERS[name].calls if name in SOLVERS else same[0].calls


def _plain(build: Build) -> Any:
    return build.func if isinstance(build, partial) else build


@every_build
def test_draws_are_named_by_their_step(name: str) -> None:
    table = BUILDS[name][0]([at("flow", r) for r in (*RATIOS, 0.0)])
    steps = set(range(len(RATIOS) - 1)) if BUILDS[name][2] else set()  # none in the step to data
    some = {"edm": set(range(1, 7)), "edm 4": set(range(1, 7)), "restart": {5}}
    got = draws(table)
    assert {draw.step for draw in got} == some.get(name, steps)
    assert {draw.stage for draw in got} <= {0, 1, 2} and got == sorted(got)


def test_stochastic_is_said_of_the_solvers_that_draw_with_their_defaults() -> None:
    levels = [at("flow", r) for r in RATIOS]
    for solver in SOLVERS.values():
        assert bool(draws(solver.build(levels))) == solver.stochastic


def test_full_eta_is_ddpm_and_tau_one_of_first_order_is_both() -> None:
    levels = [at("sub_vp", r) for r in (*RATIOS, 0.0)]
    for other in (partial(ddim, eta=1.0), partial(exponential_adams, order=1, tau=1.0)):
        for a, b in zip(ddpm(levels), other(levels), strict=True):
            for one, two in ((a.states, b.states), (a.outputs, b.outputs), (a.draws, b.draws)):
                assert {k: w for k, w in one.items() if abs(w) > 1e-15} == pytest.approx(
                    {k: w for k, w in two.items() if abs(w) > 1e-15}, abs=1e-14
                )


def test_variance_between_small_and_large_is_interpolated_in_the_logarithm() -> None:
    levels = [at("preserving", r) for r in RATIOS]
    low, half, high = (
        [node.draws[Draw(i, 0)] for i, node in enumerate(ddpm(levels, variance=v)[1:])] for v in ("small", 0.5, "large")
    )
    for a, b, c in zip(low, half, high, strict=True):
        assert a < c
        assert b == pytest.approx(math.sqrt(a * c), rel=1e-14)


def test_first_order_solvers_are_one_where_there_is_no_noise() -> None:
    levels = [at("flow", r) for r in (*RATIOS, 0.0)]
    for a, b in zip(ddim(levels), exponential_adams(levels, order=1), strict=True):
        assert a.states == pytest.approx(b.states, abs=1e-15) and a.outputs == pytest.approx(b.outputs, abs=1e-15)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (partial(ddim, eta=1.1), "eta must be in"),
        (partial(ddim, eta=-0.1), "eta must be in"),
        (partial(ddpm, variance="medium"), "variance must be"),
        (partial(ddpm, variance=1.5), "variance must be"),
        (partial(heun, frame="sideways"), "frame of Heun"),
        (partial(exponential_adams, order=5), "order of exponential Adams"),
        (partial(exponential_adams, tau=-1.0), "tau must be"),
        (partial(exponential_adams, tau=math.inf), "tau must be"),
    ],
)
def test_an_option_out_of_range_is_refused(build: Build, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build([at("flow", r) for r in RATIOS])


@pytest.mark.parametrize("build", [ddpm, partial(ddim, eta=0.5), partial(exponential_adams, tau=1.0)])
def test_a_step_towards_noise_is_refused_where_it_has_no_meaning(build: Build) -> None:
    with pytest.raises(ValueError, match="leads from"):
        build([at("flow", 0.5), at("flow", 1.0)])


@pytest.mark.parametrize("build", [ddim, heun, dpmpp_2m])
def test_the_ode_runs_towards_noise_too(build: Build) -> None:
    x = 0.3 * START_Z
    fine = [at("flow", 0.02 * (450.0 ** (i / 400))) for i in range(401)]
    denoise = MIXTURE.denoiser()
    out = run_loop(build(fine), lambda y, level: denoise(y, level), x)
    back = run_loop(build(fine[::-1]), lambda y, level: denoise(y, level), out)
    # 400 steps there and back of a first-order method: a few per cent at the worst
    assert float((back - x).abs().max()) < 0.05


def test_a_solver_is_found_by_name_alias_or_as_a_function() -> None:
    assert resolve("ddim") is ddim is resolve("euler")
    own = partial(ddim, eta=0.5)
    assert resolve(own) is own
    with pytest.raises(ValueError, match="did you mean 'heun'"):
        resolve("huen")
    with pytest.raises(TypeError, match="a solver is a name or a function"):
        resolve(3)  # type: ignore[arg-type]


def test_no_name_or_alias_means_two_solvers() -> None:
    names = [n for name, solver in SOLVERS.items() for n in (name, *solver.aliases)]
    assert len(names) == len(set(names))
    assert all(solver.source and solver.summary for solver in SOLVERS.values())
