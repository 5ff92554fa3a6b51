"""A level is a pair of numbers with exact ends."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noisepath.levels import Level


@given(st.floats(-1400, 1400))
def test_a_log_snr_survives_the_way_to_a_level_and_back(log_snr: float) -> None:
    level = Level.from_log_snr(log_snr)
    assert level.log_snr == pytest.approx(log_snr, rel=1e-14, abs=1e-14)  # two logarithms, one rounding each
    assert level.alpha**2 + level.sigma**2 == pytest.approx(1, rel=1e-15)


@pytest.mark.parametrize("log_snr", [-60.0, -3.0, 0.0, 1e-9, 3.0, 60.0])
def test_the_level_of_a_log_snr_has_the_last_digit(log_snr: float) -> None:
    with mpmath.workdps(60):
        alpha = mpmath.sqrt(1 / (1 + mpmath.exp(-mpmath.mpf(log_snr))))
        sigma = mpmath.sqrt(1 / (1 + mpmath.exp(mpmath.mpf(log_snr))))
    level = Level.from_log_snr(log_snr)
    assert level.alpha == pytest.approx(float(alpha), rel=5e-16)
    assert level.sigma == pytest.approx(float(sigma), rel=5e-16)


def test_the_ends_are_exact_levels() -> None:
    data, noise = Level.from_log_snr(math.inf), Level.from_log_snr(-math.inf)
    assert (data, noise) == (Level(1.0, 0.0), Level(0.0, 1.0))
    assert data.is_data and not data.is_noise and data.noise_ratio == 0 and data.log_snr == math.inf
    assert noise.is_noise and not noise.is_data and noise.noise_ratio == math.inf and noise.half_log_snr == -math.inf


@pytest.mark.parametrize("pair", [(0.0, 0.0), (-1.0, 1.0), (1.0, -0.1), (math.inf, 1.0), (1.0, math.nan)])
def test_a_pair_that_is_no_level_is_refused(pair: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="level needs finite alpha"):
        Level(*pair)


def test_a_log_snr_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Level.from_log_snr(math.nan)


def test_a_level_computes_in_float64_whatever_kind_of_number_it_is_given() -> None:
    for kind in (np.float32, np.float64, np.float16, torch.tensor):
        level = Level(kind(0.75), kind(0.5))
        assert type(level.alpha) is float and type(level.sigma) is float and level == Level(0.75, 0.5)
    assert type(Level(1, 0).alpha) is float
    with pytest.raises(TypeError, match="alpha of a level is a number, but got '0.5'"):
        Level("0.5", 0.5)  # type: ignore[arg-type]
