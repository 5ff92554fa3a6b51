"""Which levels a run visits: laws for every spacing on every schedule, and the grids that have a name elsewhere."""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
import pytest
import torch

from noisepath.levels import Level
from noisepath.schedules import SCHEDULES, Schedule, Shifted, Stretch, Table, begun, cut, schedule
from noisepath.spacing import (
    AYS,
    GITS,
    LARGEST_RATIO,
    SMALLEST_RATIO,
    SPACINGS,
    Spacing,
    alpha_bar,
    angle,
    asinh,
    ays,
    beta,
    check_falling,
    gits,
    karras,
    kl_optimal,
    leading,
    legs,
    log_snr,
    most_steps,
    polyexponential,
    quadratic,
    reversed_levels,
    sgm_uniform,
    time,
    trailing,
)

PATHS: dict[str, Schedule] = {
    **{name: schedule(name) for name in SCHEDULES},
    "zero terminal": schedule("linear", zero_terminal_snr=True),
    "ten steps to pure noise": schedule("linear", num_timesteps=10, beta_end=0.5, zero_terminal_snr=True),
    "shifted flow": Shifted(schedule("flow"), 3.0),
    "cosine cut to 20": cut(schedule("vp_cosine"), 20),
    "table with a clean entry": Table((math.inf, 4.0, 2.0, 1.0, -1.0, -3.0, -math.inf)),
    "two entries": Table((1.0, -math.inf)),
}
STEPS = (1, 2, 3, 4, 7, 10, 20, 50, 300)
every_spacing = pytest.mark.parametrize("name", SPACINGS)
every_path = pytest.mark.parametrize("path", PATHS)


@cache
def levels_of(name: str, path: str, steps: int) -> list[Level]:
    """What the laws below look at, one after another."""
    return SPACINGS[name](PATHS[path], steps)


def possible(path: Schedule) -> list[int]:
    most = most_steps(path)
    return [n for n in STEPS if most is None or n <= most] + ([] if most is None else [most])


@every_path
@every_spacing
def test_so_many_steps_fall_in_noise_to_exactly_clean_data(name: str, path: str) -> None:
    for steps in possible(PATHS[path]):
        levels = levels_of(name, path, steps)
        assert len(levels) == steps + 1
        check_falling(levels)
        assert levels[-1] == Level(1.0, 0.0)


@every_path
@every_spacing
def test_a_run_starts_at_the_schedule_s_own_noisiest_level(name: str, path: str) -> None:
    for steps in possible(PATHS[path]):
        first = levels_of(name, path, steps)[0]
        own = PATHS[path].level(PATHS[path].t_max)
        assert first.noise_ratio <= own.noise_ratio
        if name != "leading":  # which starts lower by definition
            assert first == own


@every_path
@every_spacing
def test_the_network_was_trained_at_every_level_it_will_be_asked_at(name: str, path: str) -> None:
    for steps in possible(PATHS[path]):
        *levels, last, _ = levels_of(name, path, steps)
        for level in [*levels[:: steps // 20 + 1], last]:  # they fall, as was seen above, so these bound all others
            assert PATHS[path].t_low <= PATHS[path].t_of(level) <= PATHS[path].t_high


@every_path
@every_spacing
def test_levels_lie_in_the_frame_of_the_path(name: str, path: str) -> None:
    for level in SPACINGS[name](PATHS[path], min(possible(PATHS[path])[-1], 20)):
        own = PATHS[path].level_at(level.log_snr) if not level.is_noise else PATHS[path].level(PATHS[path].t_max)
        assert (level.alpha, level.sigma) == pytest.approx((own.alpha, own.sigma), rel=1e-9, abs=1e-12)


# A run that begins midway ------------------------------------------------------------------------------------------------


def middle_of(path: Schedule) -> Level:
    """A level in the middle of the time axis; of a table between two entries, of another scale than the path's own."""
    t = path.t_min + 0.43 * (path.t_max - path.t_min)
    if path.num_timesteps is not None:
        first = int(path.level(0.0).is_data)
        t = 0.0 if path.num_timesteps == 2 else first + math.floor(0.4 * (path.t_max - first)) + 0.3
    own = path.level(t)
    return Level(0.8 * own.alpha, 0.8 * own.sigma)


@every_path
@every_spacing
def test_a_run_that_begins_midway_begins_at_the_level_that_was_named(name: str, path: str) -> None:
    whole, space = PATHS[path], SPACINGS[name]
    for strength in (0.05, 0.6, middle_of(whole)):
        view = begun(whole, strength)
        named = whole.level(view.t_max)
        if isinstance(strength, Level):
            assert named.log_snr == pytest.approx(strength.log_snr, rel=1e-7, abs=1e-7)
        most = most_steps(view)
        for steps in (1, 5, 20) if most is None else {min(n, most) for n in (1, 5, 20)}:
            levels = space(view, steps)
            assert len(levels) == steps + 1
            check_falling(levels)
            assert levels[-1] == Level(1.0, 0.0)
            if name != "leading" or steps == most:  # which starts lower by definition
                assert (levels[0].alpha, levels[0].sigma) == pytest.approx((named.alpha, named.sigma), rel=1e-14)
            latest, earliest = whole.t_of(levels[0]), whole.t_of(levels[-2])
            assert whole.t_min - 1e-9 <= earliest <= latest <= view.t_max + 1e-9 * whole.t_max
        if most is not None:
            with pytest.raises(ValueError, match=f"{most + 1} steps asked for, .* has room for {most}"):
                space(view, most + 1)


@every_path
def test_strength_is_a_share_of_the_schedule_s_own_time(path: str) -> None:
    whole = PATHS[path]
    assert begun(whole, 1.0) is whole and begun(whole, 1) is whole
    assert begun(whole, whole.level(whole.t_max)).t_max == whole.t_max
    times = [begun(whole, share / 64).t_max for share in range(1, 65)]
    assert times == sorted(times) and times[-1] == whole.t_max
    if whole.num_timesteps is None:
        middle = begun(whole, 0.5).t_max
        assert middle == pytest.approx((whole.t_min + whole.t_max) / 2, rel=1e-12)
        return
    room = [most_steps(begun(whole, share / 64)) for share in range(1, 65)]
    full = most_steps(whole)
    assert full is not None and room == [max(round(full * share / 64), 1) for share in range(1, 65)]


@every_path
@every_spacing
def test_levels_turned_round_rise_from_the_smallest_to_the_schedule_s_own_noisiest(name: str, path: str) -> None:
    whole = PATHS[path]
    first = whole.level(whole.t_max)
    middle = None if whole.num_timesteps == 2 else middle_of(whole)
    for smallest, steps in ((None, 1), (None, 5), (middle, 3)):
        if (whole.num_timesteps or 99) <= 2 * steps:
            with pytest.raises(ValueError, match="up this table has room for"):
                reversed_levels(whole, whole.num_timesteps or 0, name, smallest=smallest)
            continue
        levels = reversed_levels(whole, steps, name, smallest=smallest)
        assert len(levels) == steps + 1 and legs(levels) == [levels]
        lowest = smallest or whole.level(whole.t_min)
        if not lowest.is_data:
            assert levels[0].log_snr == pytest.approx(lowest.log_snr, rel=1e-7, abs=1e-7)
        assert not levels[0].is_data
        if name != "leading":  # which stays below it
            assert levels[-1].noise_ratio == pytest.approx(first.noise_ratio, rel=1e-12)


def test_levels_turned_round_are_those_of_the_run_down() -> None:
    edm, flow = schedule("edm"), schedule("flow")
    up = reversed_levels(edm, 9, "karras")
    assert [level.sigma for level in up] == pytest.approx([level.sigma for level in karras(edm, 10)][-2::-1], rel=1e-12)
    assert [level.sigma for level in reversed_levels(flow, 4, time, smallest=Level(0.98, 0.02))] == pytest.approx(
        [0.02, 0.265, 0.51, 0.755, 1.0]
    )
    ends = [schedule("linear").t_of(level) for level in reversed_levels(schedule("linear"), 2, "trailing")]
    assert ends == pytest.approx([0.0, 499.0, 999.0], abs=1e-6)


def test_a_run_up_begins_where_there_is_noise_and_room() -> None:
    with pytest.raises(ValueError, match=r"no noise estimate.*smallest that a run of this schedule visits is .*sigma=0.002"):
        reversed_levels(schedule("edm"), 5, smallest=Level(1.0, 0.0))
    with pytest.raises(ValueError, match="10 steps asked for, but from .* up this table has room for 9"):
        reversed_levels(schedule("linear", num_timesteps=10, beta_end=0.3), 10)
    with pytest.raises(ValueError, match="did you mean 'karras'"):
        reversed_levels(schedule("edm"), 5, "kerras")
    with pytest.raises(ValueError, match="level 1 is .* and level 2 has the same noise"):
        legs([Level(0.9, 0.1), Level(0.5, 0.5), Level(0.7, 0.7)])
    with pytest.raises(ValueError, match="at least 2 levels"):
        legs([Level(0.9, 0.1)])
    a, b, c = Level(0.9, 0.1), Level(0.5, 0.5), Level(0.1, 0.9)
    assert legs([b, a, b, c, b]) == [[b, a], [a, b, c], [c, b]]


def test_trailing_from_midway_are_the_high_ends_of_the_table_that_is_left() -> None:
    path = schedule("linear")
    assert [path.t_of(level) for level in trailing(begun(path, 0.6), 3)[:-1]] == pytest.approx([599.0, 399.0, 199.0])
    assert [path.t_of(level) for level in leading(begun(path, 0.6), 3)[:-1]] == pytest.approx([400.0, 200.0, 0.0], abs=1e-6)
    between = path.level(599.4)
    assert [path.t_of(level) for level in trailing(begun(path, between), 3)[:-1]] == pytest.approx([599.4, 400.0, 199.0])
    assert [level.sigma for level in time(begun(schedule("flow"), 0.6), 3)] == pytest.approx([0.6, 0.4, 0.2, 0.0])


@pytest.mark.parametrize("strength", [0.0, -0.2, 1.5, math.nan, math.inf, True, "0.5", None])
def test_a_strength_that_is_no_share_is_refused(strength: object) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1, or a Level, but got"):
        begun(schedule("flow"), strength)  # type: ignore[arg-type]


def test_a_level_that_no_run_passes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"can't begin at Level\(alpha=1.0, sigma=0.0\), which is data"):
        begun(schedule("edm"), Level(1.0, 0.0))
    for level in (Level(1.0, 0.001), Level(1.0, 90.0)):
        with pytest.raises(ValueError, match="runs of EDM go from .*sigma=80.0.* to .*sigma=0.002"):
            begun(schedule("edm"), level)
    with pytest.raises(ValueError, match="never shown that much noise"):
        begun(schedule("linear"), Level(0.0, 1.0))
    with pytest.raises(ValueError, match="from t = 1 at most to 0 at least, but got 2 to 0"):
        Stretch(schedule("flow"), 2.0, 0.0)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("steps", [1, 3, 7, 20, 33, 999, 1000])
def test_on_tables_leading_and_trailing_visit_the_times_that_diffusers_does(kind: str, steps: int) -> None:
    path = schedule(kind)
    lead = (np.arange(0, steps) * (1000 // steps)).round()[::-1]
    trail = np.round(np.arange(1000, 0, -1000 / steps))[:steps] - 1
    assert leading(path, steps)[:-1] == path.levels(lead.tolist())
    assert trailing(path, steps)[:-1] == path.levels(trail.tolist())


def test_time_is_uniform_and_goes_straight_to_an_exactly_clean_end() -> None:
    assert [level.sigma for level in time(schedule("flow"), 4)] == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])
    assert time(schedule("linear"), 3)[:-1] == schedule("linear").levels([999.0, 499.5, 0.0])
    assert [level.sigma for level in time(schedule("edm"), 3)] == pytest.approx([80.0, 40.001, 0.002, 0.0])


def test_karras_is_the_published_grid() -> None:
    """EDM's eq. 5: (max^(1/rho) + i / (n - 1) (min^(1/rho) - max^(1/rho)))^rho, and 0."""
    n, rho = 18, 7
    i = torch.arange(n, dtype=torch.float64)
    grid = (80 ** (1 / rho) + i / (n - 1) * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho
    assert [level.sigma for level in karras(schedule("edm"), n)] == pytest.approx([*grid.tolist(), 0.0], rel=1e-12)


def test_log_snr_is_uniform_in_log_snr() -> None:
    values = [level.log_snr for level in log_snr(schedule("vp_linear"), 9)[:-1]]
    gaps = [b - a for a, b in zip(values, values[1:], strict=False)]
    assert gaps == pytest.approx([gaps[0]] * 8, rel=1e-9)
    assert values[-1] == pytest.approx(schedule("vp_linear").level(1e-3).log_snr, rel=1e-9)


def test_angle_is_uniform_in_the_angle_and_is_the_cosine_schedule_s_own_time() -> None:
    for one, two in zip(angle(schedule("vp_cosine"), 8), time(schedule("vp_cosine"), 8), strict=True):
        assert (one.alpha, one.sigma) == pytest.approx((two.alpha, two.sigma), abs=1e-14)
    angles = [math.atan2(level.sigma, level.alpha) for level in angle(schedule("edm"), 10)]
    assert angles == pytest.approx([angles[0] * (1 - i / 10) for i in range(11)], abs=1e-12)


def test_angle_stops_at_the_smallest_noise_of_a_table_and_goes_to_data_from_there() -> None:
    path = schedule("linear")
    levels = angle(path, 500)
    assert levels[-2].noise_ratio == pytest.approx(path.level(0).noise_ratio, rel=1e-9)


def test_sgm_uniform_leaves_out_the_last_of_so_many_equal_stretches() -> None:
    path = schedule("linear")
    assert [path.t_of(level) for level in sgm_uniform(path, 3)[:-1]] == pytest.approx([999.0, 666.0, 333.0])
    assert [level.sigma for level in sgm_uniform(schedule("flow"), 4)] == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.0])


def test_quadratic_is_uniform_in_the_root_of_time() -> None:
    path = schedule("linear")
    assert [path.t_of(level) for level in quadratic(path, 4)[:-1]] == pytest.approx([999.0, 444.0, 111.0, 0.0], abs=1e-6)
    assert [level.sigma for level in quadratic(schedule("flow"), 4)] == pytest.approx([1.0, 9 / 16, 4 / 16, 1 / 16, 0.0])


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (0.5, 0.5), (2.0, 0.7)])
def test_beta_visits_the_quantiles_of_its_distribution(a: float, b: float) -> None:
    from scipy.stats import beta as distribution

    times = 999 * distribution.ppf(1 - np.linspace(0, 1, 10, endpoint=False), a, b)
    path = schedule("linear")
    assert [path.t_of(level) for level in beta(path, 10, a=a, b=b)[:-1]] == pytest.approx(times.tolist(), abs=0.05)


def test_polyexponential_of_one_is_log_snr_and_of_more_denser_at_the_data() -> None:
    path = schedule("edm")
    for one, two in zip(polyexponential(path, 9, rho=1.0), log_snr(path, 9), strict=True):
        assert one.sigma == pytest.approx(two.sigma, rel=1e-12)
    place = [math.log(level.sigma / 0.002) / math.log(80 / 0.002) for level in polyexponential(path, 5)[:-1]]
    assert place == pytest.approx([1.0, 9 / 16, 4 / 16, 1 / 16, 0.0], abs=1e-12)


def test_asinh_is_logarithmic_above_its_scale_and_uniform_below() -> None:
    levels = [level.sigma for level in asinh(schedule("edm"), 12, scale=0.5)[:-1]]
    places = [math.asinh(sigma / 0.5) for sigma in levels]
    assert np.diff(places).tolist() == pytest.approx([places[1] - places[0]] * 11, rel=1e-9)


@pytest.mark.parametrize(("power", "steps"), [(0.15, 7), (0.5, 30)])
def test_alpha_bar_is_uniform_in_a_power_of_its_logarithm(power: float, steps: int) -> None:
    path = schedule("edm")
    for detail, last in ((0.0, 0.002), (0.3, 0.3 / steps), (0.001, 0.002)):
        for scale in (1.0, 3.0):
            levels = alpha_bar(path, steps, power=power, data_scale=scale, detail=detail)[:-1]
            assert levels[-1].sigma == pytest.approx(last, rel=1e-9)
            places = [math.log1p((level.sigma / scale) ** 2) ** power for level in levels]
            assert np.diff(places).tolist() == pytest.approx([(places[-1] - places[0]) / (steps - 1)] * (steps - 1), rel=1e-6)


def test_a_short_way_keeps_its_last_levels() -> None:
    path = begun(schedule("edm"), Level(1.0, 0.05))
    assert alpha_bar(path, 2)[1].sigma == pytest.approx(0.005, rel=1e-9)


def test_kl_optimal_is_uniform_in_the_angle_down_to_the_smallest_noise() -> None:
    angles = [math.atan(level.sigma) for level in kl_optimal(schedule("edm"), 6)[:-1]]
    assert angles == pytest.approx(np.linspace(math.atan(80), math.atan(0.002), 6).tolist(), rel=1e-12)


@pytest.mark.parametrize(("name", "table"), [("sd", AYS["sd"]), ("svd", AYS["svd"]), ("gits", GITS)])
def test_published_levels_are_visited_where_range_and_steps_are_theirs(name: str, table: tuple[float, ...]) -> None:
    path = schedule("edm", sigma_max=table[0], sigma_min=table[-1])
    space = gits if name == "gits" else partial(ays, model=name)
    assert [level.sigma for level in space(path, 11)] == pytest.approx([*table, 0.0], rel=1e-9)
    finer = [level.sigma for level in space(path, 21)][:-1]  # halfway in the logarithm between each two
    assert finer[1::2] == pytest.approx([math.sqrt(a * b) for a, b in zip(table, table[1:], strict=False)], rel=1e-9)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (partial(karras, rho=0.0), "rho must be"),
        (partial(polyexponential, rho=-1.0), "rho must be"),
        (partial(asinh, scale=math.inf), "scale must be"),
        (partial(alpha_bar, power=0.0), "power must be"),
        (partial(alpha_bar, data_scale=-1.0), "data_scale must be"),
        (partial(alpha_bar, detail=-1.0), "detail must be"),
        (partial(beta, a=0.0), "Beta distribution"),
        (partial(ays, model="sd2"), "did you mean 'sd'"),
    ],
)
def test_an_option_out_of_range_is_refused(space: Spacing, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        space(schedule("flow"), 5)


@pytest.mark.parametrize("name", ["log_snr", "karras"])
def test_a_start_at_pure_noise_goes_on_from_the_largest_ratio_that_matters(name: str) -> None:
    edm = SPACINGS[name](schedule("edm", sigma_max=LARGEST_RATIO, sigma_min=SMALLEST_RATIO), 12)
    flow = SPACINGS[name](schedule("flow"), 12)
    assert flow[0].is_noise
    assert [level.noise_ratio for level in flow[1:]] == pytest.approx([level.noise_ratio for level in edm[1:]], rel=1e-12)


@pytest.mark.parametrize("name", ["log_snr", "karras"])
def test_a_start_as_good_as_pure_noise_is_spread_the_same(name: str) -> None:
    """DDPM's cosine table ends at a ratio of 20,000: spread over it, more than half of Karras' steps would do nothing."""
    levels = SPACINGS[name](schedule("cosine"), 20)
    assert levels[0].noise_ratio > 1e4
    assert levels[1].noise_ratio < LARGEST_RATIO


@every_spacing
@pytest.mark.parametrize("steps", [0, -1, True, 2.0, "3", None])
def test_steps_that_are_no_number_of_steps_are_refused(name: str, steps: object) -> None:
    with pytest.raises(ValueError, match="whole number of steps, 1 or more, but got"):
        SPACINGS[name](schedule("flow"), steps)  # type: ignore[arg-type]


@every_spacing
def test_more_steps_than_a_table_has_times_are_refused_naming_both(name: str) -> None:
    with pytest.raises(ValueError, match="11 steps asked for, but this table of 10 times has room for 10"):
        SPACINGS[name](schedule("linear", num_timesteps=10, beta_end=0.3), 11)
    with pytest.raises(ValueError, match="7 steps asked for, but this table of 7 times has room for 6"):
        SPACINGS[name](PATHS["table with a clean entry"], 7)


def test_levels_that_do_not_fall_are_refused_with_their_place() -> None:
    good = [Level(0.0, 1.0), Level(0.5, 0.5), Level(1.0, 0.0)]
    check_falling(good)
    with pytest.raises(ValueError, match="level 1 is .* and level 2 is"):
        check_falling([good[0], good[1], Level(0.7, 0.7), good[2]])  # another scale of the same noise
    with pytest.raises(ValueError, match="level 0 is"):
        check_falling(good[::-1])
    with pytest.raises(ValueError, match="at least 2 levels"):
        check_falling(good[:1])
