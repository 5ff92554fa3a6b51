"""The tables against 60-digit arithmetic that starts again from the parameters, and the errors of bad ones."""

from __future__ import annotations

import inspect
import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from fractions import Fraction
from functools import cache

import hypothesis.strategies as st
import mpmath
import numpy as np
import pytest
from hypothesis import given
from mpmath import mpf

from noisepath.tables import (
    ALIASES,
    BETAS,
    DiffusionConfig,
    Tables,
    from_alphas_cumprod,
    from_betas,
    named,
    zero_terminal_snr,
)

mpmath.mp.dps = 60
START, END = 1e-4, 0.02

# A float64 is off by up to 1.1e-16; the betas are floats, and near the noisy end a thousand of them have added up.
TABLE = 2e-14
# Rescaling subtracts the last root from its neighbour, 100 times as large: an input error grows a hundredfold.
RESCALED = 1e-12


@cache
def true_betas(kind: str, steps: int, start: float = START, end: float = END) -> Sequence[mpf]:
    """The betas by their definition, in mpmath."""
    part = [mpf(i) / max(steps - 1, 1) for i in range(steps)]
    b0, b1 = mpf(start), mpf(end)
    if kind == "linear":
        return [b0 + (b1 - b0) * p for p in part]
    if kind == "quadratic":
        return [(mpmath.sqrt(b0) + (mpmath.sqrt(b1) - mpmath.sqrt(b0)) * p) ** 2 for p in part]
    if kind == "sigmoid":
        return [b0 + (b1 - b0) / (1 + mpmath.exp(6 - 12 * p)) for p in part]
    assert kind == "cosine"

    def signal(t: int) -> mpf:
        return mpmath.cos((mpf(t) / steps + mpf("0.008")) / mpf("1.008") * mpmath.pi / 2) ** 2

    return [min(1 - signal(i + 1) / signal(i), mpf("0.999")) for i in range(steps)]


def product(betas: Sequence[mpf]) -> list[mpf]:
    """alpha_bar of betas."""
    out, bar = [], mpf(1)
    for beta in betas:
        bar *= 1 - beta
        out.append(bar)
    return out


def rescaled(abar: Sequence[mpf]) -> list[mpf]:
    """Lin et al., algorithm 1, line by line."""
    roots = [mpmath.sqrt(a) for a in abar]
    first, last = roots[0], roots[-1]
    roots = [r - last for r in roots]
    roots = [r * first / (first - last) for r in roots]
    return [r**2 for r in roots]


def truth(abar: Sequence[mpf]) -> dict[str, list[mpf]]:
    """Every column of the tables from alpha_bar."""
    prev = [mpf(1), *abar[:-1]]
    alphas = [a / p for a, p in zip(abar, prev, strict=True)]
    betas = [1 - a for a in alphas]
    rows = list(zip(abar, prev, alphas, betas, strict=True))
    return {
        "betas": betas,
        "alphas": alphas,
        "alphas_cumprod": list(abar),
        "one_minus_alphas_cumprod": [1 - a for a in abar],
        "alphas_cumprod_prev": prev,
        "sqrt_alphas_cumprod": [mpmath.sqrt(a) for a in abar],
        "sqrt_one_minus_alphas_cumprod": [mpmath.sqrt(1 - a) for a in abar],
        "snr": [a / (1 - a) for a in abar],
        "posterior_variance": [b * (1 - p) / (1 - a) for a, p, _, b in rows],
        "posterior_mean_x0": [mpmath.sqrt(p) * b / (1 - a) for a, p, _, b in rows],
        "posterior_mean_xt": [mpmath.sqrt(al) * (1 - p) / (1 - a) for a, p, al, _ in rows],
    }


def worst(tables: Tables, true: dict[str, list[mpf]]) -> dict[str, float]:
    """The largest relative error of each column over every t; a true 0 must be 0 exactly."""
    out = {}
    for name, column in true.items():
        values = getattr(tables, name)
        assert len(values) == len(column)
        assert all(v == 0.0 for v, c in zip(values, column, strict=True) if c == 0), name
        out[name] = max((float(abs(mpf(v) - c) / c) for v, c in zip(values, column, strict=True) if c != 0), default=0.0)
    return out


GIVEN = [0.3 * (1.05 + math.sin(7 * i)) / 2.1 + 1e-5 for i in range(200)]
GIVEN_BARS = [math.exp(-0.5 * (i / 20 + 0.01) ** 2) for i in range(100)]


@cache
def true_abar(case: str) -> tuple[mpf, ...]:
    """alpha_bar of a named schedule, or of the given betas or alpha_bars."""
    if case == "given betas":
        return tuple(product([mpf(b) for b in GIVEN]))
    if case == "given alphas_cumprod":
        return tuple(mpf(a) for a in GIVEN_BARS)
    return tuple(product(true_betas(case, 1000)))


CASES: dict[str, Callable[[], Tables]] = {
    **{kind: lambda kind=kind: named(kind, 1000, START, END) for kind in BETAS},  # type: ignore[misc]
    "given betas": lambda: from_betas(GIVEN),
    "given alphas_cumprod": lambda: from_alphas_cumprod(GIVEN_BARS),
}
every_case = pytest.mark.parametrize("case", CASES)


@every_case
def test_every_entry_of_every_table_is_within_2e_14_of_the_truth(case: str) -> None:
    errors = worst(CASES[case](), truth(true_abar(case)))
    assert max(errors.values()) <= TABLE, errors


@every_case
def test_zero_terminal_snr_is_within_1e_12_of_the_truth_and_ends_in_nothing_but_noise(case: str) -> None:
    tables = zero_terminal_snr(CASES[case]())
    errors = worst(tables, truth(rescaled(true_abar(case))))
    assert max(errors.values()) <= RESCALED, errors
    assert tables.alphas_cumprod[0] == CASES[case]().alphas_cumprod[0]
    assert tables.alphas_cumprod[-1] == 0.0 and tables.one_minus_alphas_cumprod[-1] == 1.0
    assert tables.betas[-1] == 1.0 and tables.posterior_mean_xt[-1] == 0.0
    assert tables.log_snr[-1] == -math.inf
    for field in fields(tables):
        column = getattr(tables, field.name)
        assert all(math.isfinite(v) for v in (column[:-1] if field.name == "log_snr" else column)), field.name


@every_case
@pytest.mark.parametrize("rescale", [False, True])
def test_log_snr_is_right_to_a_rounding_also_where_the_snr_is_near_1(case: str, rescale: bool) -> None:
    tables = zero_terminal_snr(CASES[case]()) if rescale else CASES[case]()
    for t, bar in enumerate(tables.exact):
        if bar == 0:
            continue
        exact = mpf(str(bar))
        true = mpmath.log(exact / (1 - exact))
        assert abs(mpf(tables.log_snr[t]) - true) <= mpf(4e-16) * abs(true)


@pytest.mark.parametrize("kind", BETAS)
@pytest.mark.parametrize(
    ("steps", "start", "end"),
    [(4000, START, END), *((n, b0, b1) for n in (1, 2, 3, 10, 37) for b0, b1 in ((0.00085, 0.012), (0.3, 1e-3)))],
)
def test_betas_are_the_nearest_floats_to_their_definition(kind: str, steps: int, start: float, end: float) -> None:
    assert BETAS[kind](steps, start, end) == [float(b) for b in true_betas(kind, steps, start, end)]


@pytest.mark.parametrize("kind", BETAS)
@pytest.mark.parametrize("steps", [1, 2, 7, 4000])
def test_short_and_long_tables_are_right_too(kind: str, steps: int) -> None:
    errors = worst(named(kind, steps, START, END), truth(product(true_betas(kind, steps, START, END))))
    assert max(errors.values()) <= TABLE, errors


def nearest(value: float, true: Fraction) -> bool:
    """Is no float nearer to the truth?  (50 digits do not tell which way a tie goes.)"""
    return abs(Fraction(value) - true) <= Fraction(math.ulp(value)) / 2 * (1 + Fraction(1, 10**20))


@given(st.lists(st.floats(1e-9, 1 - 1e-9), min_size=1, max_size=12), st.booleans())
def test_tables_of_any_betas_hold_the_nearest_floats(betas: list[float], dark: bool) -> None:
    betas = [*betas, 1.0] if dark else betas
    tables = from_betas(betas)
    bar = Fraction(1)
    for t, beta in enumerate(betas):
        prev, bar = bar, bar * (1 - Fraction(beta))
        assert tables.betas[t] == beta
        assert nearest(tables.alphas[t], 1 - Fraction(beta))
        assert nearest(tables.alphas_cumprod[t], bar)
        assert nearest(tables.alphas_cumprod_prev[t], prev)
        assert nearest(tables.one_minus_alphas_cumprod[t], 1 - bar)
        assert nearest(tables.snr[t], bar / (1 - bar))
        assert nearest(tables.posterior_variance[t], Fraction(beta) * (1 - prev) / (1 - bar))


@given(st.lists(st.floats(1e-6, 0.5), min_size=2, max_size=20))
def test_betas_and_alphas_cumprod_describe_one_process(betas: list[float]) -> None:
    there = from_betas(betas)
    back = from_alphas_cumprod(there.alphas_cumprod)
    assert back.alphas_cumprod == there.alphas_cumprod
    # alpha_bar as a float is off by eps, which is eps / beta of a beta
    assert all(abs(b - a) <= 4e-16 for a, b in zip(there.betas, back.betas, strict=True))


@given(st.lists(st.floats(1e-6, 0.5), min_size=2, max_size=20))
def test_zero_terminal_snr_changes_nothing_the_second_time(betas: list[float]) -> None:
    once = zero_terminal_snr(from_betas(betas))
    twice = zero_terminal_snr(once)
    for one, two in zip(once.alphas_cumprod, twice.alphas_cumprod, strict=True):
        assert two == pytest.approx(one, rel=1e-15, abs=0)


def test_a_product_too_small_for_a_float_is_0_and_nothing_becomes_nan() -> None:
    tables = from_betas([0.999] * 200)
    assert tables.alphas_cumprod[-1] == 0.0 and tables.log_snr[-1] == -math.inf
    for field in fields(tables):
        assert not any(math.isnan(v) for v in getattr(tables, field.name)), field.name


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_the_schedule_it_stands_for(alias: str) -> None:
    assert named(alias, 50, START, END) == named(ALIASES[alias], 50, START, END)
    assert DiffusionConfig(schedule=alias).tables() == DiffusionConfig(schedule=ALIASES[alias]).tables()


def test_tables_are_worked_out_once() -> None:
    assert named("linear", 77, START, END) is named("linear", 77, START, END)
    assert from_betas([0.1, 0.2]) is from_betas((0.1, 0.2))
    assert DiffusionConfig(num_timesteps=77).tables() is DiffusionConfig(num_timesteps=77).tables()


@pytest.mark.parametrize(
    ("betas", "message"),
    [
        ([0.1, 0.0, 0.2], r"betas\[1\] = 0.0 is outside \(0, 1\)"),
        ([0.1, -0.1], r"betas\[1\] = -0.1"),
        ([0.1, 1.0, 0.2], r"betas\[1\] = 1.0"),
        ([0.1, 1.5], r"betas\[1\] = 1.5"),
        ([math.nan], r"betas\[0\] = nan"),
        ([], "empty"),
    ],
)
def test_a_beta_outside_its_range_is_named(betas: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_betas(betas)
    with pytest.raises(ValueError, match=message):
        DiffusionConfig(betas=tuple(betas))


@pytest.mark.parametrize(
    ("bars", "message"),
    [
        ([0.9, 0.95], r"alphas_cumprod\[1\] = 0.95 is not between 0 and the one before it \(0.9\)"),
        ([0.9, 0.9], r"alphas_cumprod\[1\]"),
        ([1.0, 0.9], r"alphas_cumprod\[0\] = 1.0"),
        ([0.9, 0.0, 0.0], r"alphas_cumprod\[1\] = 0.0"),
        ([0.9, math.nan], r"alphas_cumprod\[1\] = nan"),
        ([0.9, -0.1], r"alphas_cumprod\[1\] = -0.1"),
        ([], "empty"),
    ],
)
def test_an_alpha_bar_that_does_not_fall_within_0_and_1_is_named(bars: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_alphas_cumprod(bars)
    with pytest.raises(ValueError, match=message):
        DiffusionConfig(alphas_cumprod=tuple(bars))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_timesteps": 0}, "num_timesteps must be a whole number of at least 1, but is 0"),
        ({"num_timesteps": 2.5}, "2.5"),
        ({"num_timesteps": True}, "True"),
        ({"num_timesteps": "ten"}, "ten"),
        ({"beta_start": 0.0}, r"beta_start = 0.0 is outside \(0, 1\)"),
        ({"beta_end": 1.0}, r"beta_end = 1.0 is outside \(0, 1\)"),
        ({"beta_end": math.nan}, "beta_end = nan"),
        ({"schedule": "linaer"}, "did you mean 'linear'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"schedule": None}, "unknown schedule None"),
        ({"betas": (0.1,), "alphas_cumprod": (0.9,)}, "both given"),
        ({"betas": (0.1, 0.2), "num_timesteps": 3}, "num_timesteps is 3, but betas has 2 entries"),
        ({"num_timesteps": 1, "zero_terminal_snr": True}, "at least 2 timesteps"),
    ],
)
def test_a_configuration_that_can_not_be_is_refused_when_it_is_made(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        DiffusionConfig(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        DiffusionConfig(),
        DiffusionConfig(num_timesteps=20, schedule="cosine", zero_terminal_snr=True),
        DiffusionConfig(betas=(0.1, 0.2, 1.0)),
        DiffusionConfig(alphas_cumprod=(0.9, 0.1)),
    ],
)
def test_a_configuration_survives_json(config: DiffusionConfig) -> None:
    again = DiffusionConfig(**json.loads(json.dumps(asdict(config))))
    assert again == config and again.tables() == config.tables()


def test_given_numbers_say_how_many_timesteps_there_are() -> None:
    assert DiffusionConfig(betas=[0.1, 0.2]).num_timesteps == 2  # type: ignore[arg-type]
    assert DiffusionConfig(alphas_cumprod=(0.9, 0.5, 0.1)).num_timesteps == 3
    assert DiffusionConfig(betas=(0.1, 0.2)).tables().num_timesteps == 2


def test_numbers_of_numpy_are_numbers_and_are_kept_as_json_has_them() -> None:
    config = DiffusionConfig(np.int64(20), np.float64(1e-3), np.float32(0.5))  # type: ignore[arg-type]
    assert config == DiffusionConfig(20, 1e-3, 0.5) and json.loads(json.dumps(asdict(config))) == asdict(config)
    assert DiffusionConfig(betas=np.array([0.1, 0.2])) == DiffusionConfig(betas=(0.1, 0.2))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_schedule": "cosine"}, "DiffusionConfig has no option 'beta_schedule': did you mean schedule"),
        ({"num_train_timesteps": 100}, "no option 'num_train_timesteps': did you mean num_timesteps"),
        ({"trained_betas": [0.1]}, "no option 'trained_betas': did you mean betas"),
        ({"rescale_betas_zero_snr": True}, "no option 'rescale_betas_zero_snr': did you mean zero_terminal_snr"),
        ({"beta_strat": 0.1}, r"no option 'beta_strat': did you mean beta_start\? \(there are: num_timesteps, beta_start,"),
        ({"colour": 1}, r"no option 'colour' \(there are: num_timesteps,"),
        ({"beta_start": "0.1"}, "beta_start must be a number in .* but is '0.1'"),
        ({"beta_end": None}, "beta_end must be a number in .* but is None"),
        ({"betas": 0.1}, "betas must be a sequence of numbers, but is 0.1"),
        ({"betas": ["a"]}, r"betas must be a sequence of numbers, but is \['a'\]"),
    ],
)
def test_options_that_are_not_its_own_are_answered_with_the_right_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message) as caught:
        DiffusionConfig(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_signature_is_still_that_of_the_fields() -> None:
    assert list(inspect.signature(DiffusionConfig).parameters) == [field.name for field in fields(DiffusionConfig)]


def test_configuration_and_tables_need_no_torch() -> None:
    code = (
        "import sys; from noisepath.tables import DiffusionConfig; DiffusionConfig(schedule='cosine').tables(); "
        "import noisepath.times; list(noisepath.times.TIMES); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
