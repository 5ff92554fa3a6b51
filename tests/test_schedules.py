"""Laws that every schedule of the catalogue keeps, tables read as continuous, shifts and storage."""

import dataclasses
import json
import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import torch

from noisepath.levels import Level
from noisepath.scalings import SCALINGS, Scaling
from noisepath.schedules import (
    ALIASES,
    EDM,
    SCHEDULES,
    Discrete,
    Flow,
    Laplace,
    Schedule,
    Shifted,
    Stretch,
    Table,
    VPCosine,
    VPLinear,
    as_schedule,
    begun,
    cut,
    from_dict,
    schedule,
    to_dict,
)
from noisepath.schedules.base import rates_from_slope
from noisepath.tables import DiffusionConfig

EVERY: dict[str, Schedule] = {
    **{name: make() for name, make in SCHEDULES.items()},
    **{f"shifted {name}": Shifted(make(), 3.0) for name, make in SCHEDULES.items()},
    "cut flow": cut(Flow(), 100),
    "zero terminal snr": Discrete(DiffusionConfig(zero_terminal_snr=True)),
    "stretch of a table": Stretch(SCHEDULES["linear"](), 900.0, 500.0),
    "stretch of a flow": Stretch(Flow(), 0.8, 0.25),
}
every = pytest.mark.parametrize("path", EVERY.values(), ids=EVERY.keys())


def inner_times(path: Schedule, n: int = 201) -> torch.Tensor:
    """Times well inside the axis, where every log-SNR is finite; for tables between whole times as well."""
    if path.num_timesteps is not None:
        return torch.linspace(0, path.t_max - 1, n, dtype=torch.float64)
    low = max(path.t_min, 2e-3)
    high = path.t_max if path.t_max > 1 else min(path.t_max, 1 - 2e-3)
    return torch.linspace(low, high, n, dtype=torch.float64)


@every
def test_log_snr_falls_and_time_comes_back_from_it(path: Schedule) -> None:
    t = inner_times(path)
    log_snr = path.log_snr(t)
    assert torch.isfinite(log_snr).all() and (log_snr.diff() < 0).all()
    # an error of one rounding in log_snr is one of eps * |log_snr| / |slope| in t
    slope = (log_snr.diff() / t.diff()).abs().min()
    tolerance = 1e-12 * (1 + float(log_snr.abs().max() / slope) + float(t.max()))
    torch.testing.assert_close(path.t(log_snr), t, rtol=0, atol=tolerance)
    middle = float(t[100])
    assert path.t_of(path.level(middle)) == pytest.approx(middle, rel=1e-11)


@every
def test_levels_lie_on_the_frame_and_have_the_log_snr(path: Schedule) -> None:
    t = inner_times(path)
    alpha, sigma = path.alpha_sigma(t)
    torch.testing.assert_close(2 * (alpha.log() - sigma.log()), path.log_snr(t), rtol=1e-12, atol=1e-12)
    kept = {
        "preserving": alpha**2 + sigma**2,
        "exploding": alpha,
        "flow": alpha + sigma,
        "sub_vp": alpha**2 + sigma,
    }[path.scaling]
    torch.testing.assert_close(kept, torch.ones_like(kept), rtol=0, atol=5e-15)
    at = path.level_at(float(path.log_snr(t)[77]))
    assert (at.alpha, at.sigma) == pytest.approx((float(alpha[77]), float(sigma[77])), rel=1e-13)


@every
def test_rates_are_the_derivatives(path: Schedule) -> None:
    t = inner_times(path, 50)
    if path.num_timesteps is not None:
        t = t.floor() + 0.5  # between the kinks
        t = t[t < path.t_max - 1]
    h = 1e-5 * t.clamp(max=1.0)
    rates = path.rates(t)
    for rate, after, before in zip(rates, path.alpha_sigma(t + h), path.alpha_sigma(t - h), strict=True):
        # central difference: error h^2 |f'''| / 6 and rounding eps / h
        torch.testing.assert_close(rate, (after - before) / (2 * h), rtol=2e-5, atol=1e-8)


@every
def test_the_ends_of_the_axis_are_levels(path: Schedule) -> None:
    for t in (path.t_min, path.t_max, path.t_low, path.t_high):
        if math.isinf(t):
            continue
        level = path.level(t)
        assert math.isfinite(level.alpha) and math.isfinite(level.sigma)
        assert path.t_of(level) == pytest.approx(t, rel=1e-9, abs=1e-9)
        rates = path.rates(torch.tensor(t, dtype=torch.float64))
        if not isinstance(getattr(path, "base", path), Laplace):  # whose rates have no limit at the ends, as it says
            assert not any(torch.isnan(r) for r in rates)


@pytest.mark.parametrize("path", [Flow(), VPCosine(), EVERY["cut flow"], EVERY["zero terminal snr"]], ids=repr)
def test_exact_noise_is_exactly_zero_alpha(path: Schedule) -> None:
    level = path.level(path.t_max)
    assert level.alpha == 0.0 and level.sigma == 1.0 and path.t_of(Level(0.0, 7.0)) == path.t_max


@every
def test_a_time_off_the_axis_is_refused_and_never_wraps(path: Schedule) -> None:
    for t in (-1.0, -1e-3, math.nan, *([path.t_high + 1] if math.isfinite(path.t_high) else [])):
        with pytest.raises(ValueError, match="off the time axis"):
            path.level(t)


@every
def test_a_stored_schedule_comes_back_through_json(path: Schedule) -> None:
    back = from_dict(json.loads(json.dumps(to_dict(path))))
    assert back == path
    t = inner_times(path)
    assert torch.equal(back.log_snr(t), path.log_snr(t))


@pytest.mark.parametrize("name", SCALINGS)
def test_frames_split_a_log_snr_to_the_last_digits(name: str) -> None:
    for log_snr in (-40.0, -2.0, 0.0, 1.5, 40.0):
        alpha, sigma = SCALINGS[name].alpha_sigma(torch.tensor(log_snr, dtype=torch.float64))
        with mpmath.workdps(60):
            k = mpmath.exp(-mpmath.mpf(log_snr) / 2)
            a = {
                "preserving": 1 / mpmath.sqrt(1 + k**2),
                "exploding": mpmath.mpf(1),
                "flow": 1 / (1 + k),
                "sub_vp": 2 / (k + mpmath.sqrt(k**2 + 4)),
            }[name]
            s = a * k
        assert float(alpha) == pytest.approx(float(a), rel=1e-15) and float(sigma) == pytest.approx(float(s), rel=1e-14)


def test_continuous_schedules_have_their_papers_values() -> None:
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    with mpmath.workdps(40):
        for i, u in enumerate(map(mpmath.mpf, t.tolist())):
            b = u / 10 + (20 - mpmath.mpf(1) / 10) * u**2 / 2
            truth = {
                "vp_linear": (mpmath.exp(-b / 2), mpmath.sqrt(1 - mpmath.exp(-b))),
                "sub_vp": (mpmath.exp(-b / 2), 1 - mpmath.exp(-b)),
                "vp_cosine": (mpmath.cos(mpmath.pi * u / 2), mpmath.sin(mpmath.pi * u / 2)),
                "flow": (1 - u, u),
                "edm": (mpmath.mpf(1), u),
            }
            laplace = -mpmath.mpf("0.5") * mpmath.sign(0.5 - u) * mpmath.log(1 - 2 * abs(u - 0.5))
            truth["laplace"] = (1 / mpmath.sqrt(1 + mpmath.exp(-laplace)), 1 / mpmath.sqrt(1 + mpmath.exp(laplace)))
            for name, (a, s) in truth.items():
                alpha, sigma = SCHEDULES[name]().alpha_sigma(t[i])
                assert (float(alpha), float(sigma)) == pytest.approx((float(a), float(s)), rel=1e-14), name


def test_a_table_is_its_configuration_and_is_straight_in_between() -> None:
    path = SCHEDULES["linear"]()
    tables = DiffusionConfig().tables()
    alpha, sigma = path.alpha_sigma(torch.arange(1000, dtype=torch.float64))
    assert alpha.tolist() == list(tables.sqrt_alphas_cumprod)
    assert sigma.tolist() == list(tables.sqrt_one_minus_alphas_cumprod)
    t = torch.tensor([3.0, 3.25, 4.0], dtype=torch.float64)
    three, between, four = path.log_snr(t).tolist()
    assert between == pytest.approx(0.75 * three + 0.25 * four, rel=1e-14)


def test_there_is_nothing_between_an_exact_end_and_its_neighbour() -> None:
    path = Discrete(DiffusionConfig(zero_terminal_snr=True))
    assert path.level(999).is_noise and path.level(998).alpha > 0
    with pytest.raises(ValueError, match="between an exact end"):
        path.level(998.5)
    last = path.level(998)
    with pytest.raises(ValueError, match=f"between pure noise, an end of .* the nearest .* = {last.noise_ratio:.6g}"):
        path.t_of(Level(last.alpha / 2, 1.0))
    clean = Table((math.inf, 2.0, 1.0, -math.inf))
    assert clean.level(0).is_data and clean.t_of(Level(1.0, 0.0)) == 0.0
    assert clean.t_of(Level.from_log_snr(1.5)) == pytest.approx(1.5, rel=1e-14)
    for one in (Table((0.7,)), Table((0.7, -math.inf)), Table((math.inf, 0.7))):
        t = one.log_snrs.index(0.7)
        assert one.t_of(one.level(t)) == t
        with pytest.raises(ValueError, match="between data, an end" if t else "lies outside"):
            one.t_of(Level.from_log_snr(0.8))


def test_a_cut_schedule_has_the_levels_of_the_uncut_one() -> None:
    table, path = cut(VPLinear(), 1000), VPLinear()
    for i in (0, 499, 999):
        u = path.t_min + (path.t_max - path.t_min) * (i + 1) / 1000
        a, b = table.level(i), path.level(u)
        assert (a.alpha, a.sigma) == pytest.approx((b.alpha, b.sigma), rel=1e-12)


def test_a_shift_multiplies_the_noise_and_is_sd3s_on_a_flow() -> None:
    path, t = Shifted(Flow(), 3.0), 0.4
    assert path.level(t).sigma == pytest.approx(3 * t / (1 + 2 * t), rel=1e-14)
    for base in (VPLinear(), EDM(), SCHEDULES["cosine"]()):
        time = base.t_max * 0.3
        assert Shifted(base, 2.0).level(time).noise_ratio == pytest.approx(2 * base.level(time).noise_ratio, rel=1e-12)


def _cubes(log_snr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A frame of one's own: alpha^3 + sigma^3 = 1."""
    ratio = torch.exp(-log_snr / 2)
    alpha = (1 + ratio**3) ** (-1 / 3)
    return alpha, torch.where(log_snr == -math.inf, torch.ones_like(alpha), alpha * ratio)


OWN_FRAMES = {
    "cubes": Scaling(_cubes, lambda alpha, sigma: alpha**2 / (alpha**3 + sigma**3)),
    **{f"{name} again": dataclasses.replace(frame, shifted_rates=None) for name, frame in SCALINGS.items()},
}


@pytest.mark.parametrize("frame", [*SCALINGS, *OWN_FRAMES])
@pytest.mark.parametrize("base", ["linear", "vp_linear", "flow", "edm", "laplace"])
def test_the_rates_of_a_shifted_schedule_are_its_derivatives_in_every_frame(
    frame: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, own in OWN_FRAMES.items():
        monkeypatch.setitem(SCALINGS, name, own)

    class Clock(type(SCHEDULES[base]())):  # type: ignore[misc]
        scaling = frame

        def alpha_sigma(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return Schedule.alpha_sigma(self, t)

        def rates(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            h = 1e-6 * t.clamp(max=1.0)
            slope = (self.log_snr(t + h) - self.log_snr(t - h)) / (2 * h)
            return rates_from_slope(self, t, slope)

    path = Shifted(Clock(), 3.0)
    t = inner_times(path, 12)[1:-1].floor() + 0.5 if path.num_timesteps else inner_times(path, 13)[1:-1]
    h = 1e-5 * t.clamp(max=1.0)
    for rate, after, before in zip(path.rates(t), path.alpha_sigma(t + h), path.alpha_sigma(t - h), strict=True):
        torch.testing.assert_close(rate, (after - before) / (2 * h), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["flow", "preserving"])
def test_the_rates_of_a_frame_without_its_own_rule_have_their_limit_at_exact_ends(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCALINGS, "again", OWN_FRAMES[f"{name} again"])

    class Again(Flow if name == "flow" else VPCosine):  # type: ignore[misc]
        scaling = "again"

    ends = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    for found, expected in zip(
        Shifted(Again(), 3.0).rates(ends), Shifted(Again.__base__(), 3.0).rates(ends), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


def test_a_stretch_is_stored_and_a_class_of_ones_own_is_not() -> None:
    for path in (Stretch(Flow(), 0.8, 0.25), Shifted(Stretch(Shifted(Flow(), 2.0), 0.8, 0.25), 0.5)):
        assert from_dict(json.loads(json.dumps(to_dict(path)))) == path

    class Kinked(Flow):
        pass

    with pytest.raises(ValueError, match=r"a Kinked can't be stored.*cut\(schedule, 1000\)"):
        to_dict(Shifted(Kinked(), 2.0))


NUMBERS = {"numpy": np.float32, "0-d array": np.array, "tensor": torch.tensor}


def _made_of(path: Schedule, kind: Callable[[float], object]) -> Schedule:
    """The schedule made anew from numbers of another library."""
    options = {}
    for field in (f for f in dataclasses.fields(path) if f.init):
        value = getattr(path, field.name)
        if isinstance(value, float):
            value = kind(value)
        elif isinstance(value, tuple):
            value = [np.float64(v) for v in value]
        elif isinstance(value, Schedule):
            value = _made_of(value, kind)
        options[field.name] = value
    return type(path)(**options)


@every
@pytest.mark.parametrize("kind", NUMBERS.values(), ids=NUMBERS.keys())
def test_options_of_any_librarys_numbers_make_a_schedule_of_plain_ones(path: Schedule, kind: Callable[[float], object]) -> None:
    made = _made_of(path, kind)
    plain = _made_of(path, lambda value: float(kind(value)))  # type: ignore[arg-type]
    assert made == plain and hash(made) == hash(plain)
    assert from_dict(json.loads(json.dumps(to_dict(made)))) == made


def test_a_tables_configuration_of_numpys_numbers_is_stored() -> None:
    made = schedule("linear", num_timesteps=np.int64(10), beta_start=np.float64(1e-4), zero_terminal_snr=np.bool_(True))
    assert made == schedule("linear", num_timesteps=10, zero_terminal_snr=True)
    assert from_dict(json.loads(json.dumps(to_dict(made)))) == made


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: schedule("edm", sigma_max="40"), "sigma_max of EDM must be a number, but got '40'"),
        (lambda: schedule("edm", sigma_max=np.str_("40")), "sigma_max of EDM must be a number, but got"),
        (lambda: schedule("edm", sigma_max=torch.ones((), device="meta")), "sigma_max of EDM must be a number, but got"),
        (lambda: schedule("edm", sigma_max=[40]), r"sigma_max of EDM must be a number, but got \[40\]"),
        (lambda: schedule("vp_linear", beta_max=None), "beta_max of VPLinear must be a number, but got None"),
        (lambda: schedule("sub_vp", beta_min=True), "beta_min of SubVP must be a number, but got True"),
        (lambda: schedule("laplace", scale=1j), "scale of Laplace must be a number, but got 1j"),
        (lambda: Shifted("flow", "3"), "factor of Shifted must be a number, but got '3'"),
        (lambda: Shifted(3, 3.0), "a schedule is a noisepath Schedule or the name of one"),
        (lambda: Stretch(Flow(), "a", 0.0), "first of Stretch must be a number, but got 'a'"),
        (lambda: Table("ab"), "log_snrs of a table are a sequence of numbers, but got 'ab'"),
        (lambda: Table((1.0, "a")), "an entry of log_snrs must be a number, but got 'a'"),
        (lambda: schedule("linear", zero_terminal_snr="no"), "zero_terminal_snr must be True or False, but is 'no'"),
        (lambda: Flow().level("0.5"), "a time must be a number, but got '0.5'"),
        (lambda: Flow().level(None), "a time must be a number, but got None"),
    ],
)  # fmt: skip
def test_an_option_that_is_no_number_is_refused_by_its_name(make: Callable[[], object], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        make()


def test_a_schedule_is_shifted_cut_and_begun_by_its_name_too() -> None:
    assert Shifted("flow", 2.0) == Shifted(Flow(), 2.0)  # type: ignore[arg-type]
    assert cut("vp_cosine", 10) == cut(VPCosine(), 10)
    assert begun("flow", 0.5) == begun(Flow(), 0.5) and Stretch("flow", 0.5, 0.0) == begun(Flow(), 0.5)  # type: ignore[arg-type]


def test_a_level_outside_a_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="never shown that much noise; the nearest level has sigma / alpha = 157.4"):
        SCHEDULES["linear"]().t_of(Level(1e-4, 1.0))
    with pytest.raises(ValueError, match="never shown that much detail; the nearest level has sigma / alpha = 0.0100"):
        SCHEDULES["linear"]().t_of(Level(1.0, 1e-4))
    with pytest.raises(ValueError, match="no time of EDM, where pure noise is .* the nearest level has sigma / alpha = 80"):
        EDM().t_of(Level(0.0, 1.0))


def test_wrong_names_and_options_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        schedule("cosin")
    with pytest.raises(ValueError, match="did you mean 'num_timesteps'"):
        schedule("linear", num_timestep=10)
    with pytest.raises(ValueError, match="did you mean 'sigma_max'"):
        schedule("edm", sigma_maxx=10)
    with pytest.raises(ValueError, match="did you mean 'beta_min'"):
        from_dict({"kind": "VPLinear", "beta_mi": 1.0})
    for wrong in (
        lambda: VPLinear(beta_min=0.0),
        lambda: EDM(sigma_min=3.0, sigma_max=2.0),
        lambda: Shifted(Flow(), 0.0),
        lambda: Table(()),
        lambda: Table((1.0, 1.0)),
        lambda: cut(Flow(), 0),
        lambda: SCHEDULES["laplace"](scale=-1.0),
    ):
        with pytest.raises(ValueError):
            wrong()


def test_every_schedule_is_frozen() -> None:
    for path in EVERY.values():
        with pytest.raises(dataclasses.FrozenInstanceError):
            path.factor = 2.0  # type: ignore[attr-defined]


# Times that are none, and numbers of every kind ----------------------------------------------------------------------

METHODS = ("log_snr", "alpha_sigma", "rates")
PARTS = {**EVERY, "stretch": begun(schedule("cosine"), 0.5), "stretch of a flow": begun(Flow(), 0.4)}


@dataclasses.dataclass(frozen=True)
class Sines(Schedule):
    """A schedule of a user's own, which checks nothing."""

    t_min = 0.01
    t_max = 0.99
    scaling = "preserving"

    def log_snr(self, t: torch.Tensor) -> torch.Tensor:
        return -2 * torch.log(torch.tan(t * (math.pi / 2)))

    def t(self, log_snr: torch.Tensor) -> torch.Tensor:
        return torch.atan(torch.exp(-log_snr / 2)) * (2 / math.pi)

    def rates(self, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raise NotImplementedError


@pytest.mark.parametrize("path", [*PARTS.values(), Sines()], ids=[*PARTS, "a user's own"])
@pytest.mark.parametrize("method", METHODS)
def test_no_method_of_a_schedule_answers_for_a_time_off_its_axis(path: Schedule, method: str) -> None:
    wrong = [-1.0, math.nan, *([path.t_high + 1000.0] if math.isfinite(path.t_high) else [])]
    for t in wrong:
        for given in (torch.tensor([path.t_max, t], dtype=torch.float64), torch.tensor([t]), t):
            with pytest.raises(ValueError, match=rf"t = .* off the time axis of {type(path).__name__}, \[0, "):
                getattr(path, method)(given)


@every
def test_a_time_of_any_kind_of_number_is_the_same_time(path: Schedule) -> None:
    """Whole numbers, numpy's, arrays, and tensors of any type: the answer is that of float64."""
    at = 1 if path.num_timesteps or path.t_high > 1 else 0.5
    kinds = [at, np.float64(at), np.array([at]), np.float32(at), torch.tensor(at), torch.tensor([at], dtype=torch.float16)]
    if isinstance(at, int):
        kinds += [np.int64(at), torch.tensor([at])]
    for method in METHODS:
        exact = getattr(path, method)(torch.tensor(float(at), dtype=torch.float64))
        for given in kinds:
            for found, right in zip(_several(getattr(path, method)(given)), _several(exact), strict=True):
                assert found.dtype == torch.float64 and float(found) == float(right)


def _several(values: object) -> tuple[torch.Tensor, ...]:
    return values if isinstance(values, tuple) else (values,)  # type: ignore[return-value]


@every
def test_a_time_beyond_an_end_by_rounding_is_that_end(path: Schedule) -> None:
    for end, way in ((path.t_high, 1.0), (path.t_low, -1.0)):
        if math.isinf(end):
            continue
        beyond = end + way * 1e-12 * (path.t_max - path.t_low)
        assert [float(v) for v in path.alpha_sigma(beyond)] == [float(v) for v in path.alpha_sigma(end)]


@every
def test_levels_do_not_depend_on_torchs_defaults(path: Schedule) -> None:
    """Another default dtype, or a default device without values: level, time and rates are those of float64 on the CPU."""
    middle = float(inner_times(path, 3)[1])

    def found() -> list[float]:
        level = path.level(middle)
        back, again = path.t_of(level), path.level_at(level.log_snr)
        rates = [float(rate) for rate in path.rates(middle)]
        return [level.alpha, level.sigma, back, again.alpha, again.sigma, *rates]

    expected = found()
    vars(path).pop("_entries", None), vars(path).pop("_roots", None)  # what a table keeps is made anew
    for dtype in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        try:
            assert found() == expected
        finally:
            torch.set_default_dtype(torch.float32)
    vars(path).pop("_entries", None), vars(path).pop("_roots", None)
    with torch.device("meta"):
        assert found() == expected


def test_schedules_are_known_by_the_names_of_other_libraries_too() -> None:
    """Every alias is a schedule of the catalogue, and diffusers' two are made as there."""
    for alias, name in ALIASES.items():
        assert schedule(alias) == schedule(name) and alias not in SCHEDULES
    bar = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1001)]
    betas = {
        "scaled_linear": np.linspace(1e-4**0.5, 0.02**0.5, 1000) ** 2,
        "squaredcos_cap_v2": np.array([min(1 - b / a, 0.999) for a, b in zip(bar, bar[1:], strict=False)]),
    }
    for alias, theirs in betas.items():
        ours = schedule(alias).alpha_sigma(torch.arange(1000))[0].square()
        np.testing.assert_allclose(ours.numpy(), np.cumprod(1 - theirs), rtol=1e-10)
    with pytest.raises(ValueError, match="did you mean 'scaled_linear'"):
        schedule("scaled_linera")


def test_what_is_no_schedule_is_refused_by_what_it_is() -> None:
    assert as_schedule("flow") == Flow() and as_schedule(EDM()) == EDM()
    with pytest.raises(TypeError, match="a schedule is a noisepath Schedule or the name of one.* but got 3"):
        as_schedule(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown schedule 'nosuch'"):
        as_schedule("nosuch")
