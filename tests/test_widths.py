"""How wide data are: closed form where it is known, and everyone who is asked for by name is told."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import noisepath
from noisepath.comparing import compare
from noisepath.data import digits, some
from noisepath.data_stats import DataStats
from noisepath.denoiser import Denoiser
from noisepath.guidance import classifier_free
from noisepath.sampling import design, sample
from noisepath.schedules import schedule
from noisepath.solvers import adams, adams_moulton, ddim
from noisepath.spacing import alpha_bar, log_snr
from noisepath.widths import data_scale, told

FLOW = schedule("flow")
POINTS = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # variances 4.5 and 0.5


def _width(variances: list[float]) -> float:
    return (sum(variances) / len(variances) * max(variances)) ** 0.25


def test_the_width_is_the_middle_of_a_values_deviation_and_that_of_the_strongest_direction() -> None:
    assert data_scale(POINTS) == pytest.approx(_width([4.5, 0.5]), rel=5e-3)
    turned = POINTS @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    assert data_scale(turned + 7.0) == data_scale(POINTS)


def test_digits_have_the_width_of_their_covariance() -> None:
    pictures = digits().pictures
    variances = torch.linalg.eigvalsh(torch.cov(pictures.flatten(1).double().T, correction=0))
    assert data_scale(pictures) == pytest.approx(_width(variances.tolist()), rel=5e-3)


@given(st.floats(1e-3, 1e3), st.integers(0, 100))
def test_the_width_grows_with_the_data(factor: float, seed: int) -> None:
    x = torch.randn(9, 1, 2, 3, generator=torch.Generator().manual_seed(seed))
    plain, grown = data_scale(x), data_scale(factor * x)
    assert plain is not None
    assert grown == pytest.approx(factor * plain, rel=1.1e-2)  # each is rounded to three digits


def test_data_that_are_all_the_same_have_none() -> None:
    assert data_scale(torch.full((4, 3), 0.3)) is None
    with pytest.raises(ValueError, match="2 pictures or more"):
        data_scale(torch.zeros(1, 3))


def test_what_takes_no_width_is_left_alone() -> None:
    assert told(ddim, 0.5) is ddim
    assert told(adams, None) is adams
    assert told(log_snr, 0.5) is log_snr


# --- who is told -----------------------------------------------------------------------------------------------------


def _network(x: torch.Tensor, t: torch.Tensor, **condition: torch.Tensor) -> torch.Tensor:
    return 0.3 * torch.tanh(2 * x)


def _denoiser(width: float | None) -> Denoiser:
    return Denoiser(_network, FLOW, "x0", data_stats=DataStats(scale=width), null=noisepath.Condition(label=torch.tensor([1])))


def test_a_run_is_made_for_its_denoisers_width() -> None:
    own = partial(sample, _denoiser(0.4), (3, 2), steps=7)
    said = partial(sample, _denoiser(None), (3, 2), steps=7)
    solver, spacing = partial(adams_moulton, data_scale=0.4), partial(alpha_bar, data_scale=0.4)
    torch.testing.assert_close(own(), said(solver=solver, spacing=spacing), rtol=0, atol=0)
    assert not torch.equal(own(), said())
    named = own(solver="adams", spacing="log_snr")
    torch.testing.assert_close(named, said(solver=partial(adams, data_scale=0.4), spacing=log_snr), rtol=0, atol=0)
    given = own(solver=adams_moulton, spacing=alpha_bar)  # functions are as they are
    torch.testing.assert_close(given, said(), rtol=0, atol=0)


def test_a_guided_denoiser_has_its_own_models_width() -> None:
    condition = noisepath.Condition(label=torch.tensor([0, 0]))
    ends = [
        sample(classifier_free(_denoiser(width), 2.0), (2, 2), steps=5, condition=condition, **options)
        for width, options in ((0.4, {}), (None, {"solver": partial(adams_moulton, data_scale=0.4),
                                                  "spacing": partial(alpha_bar, data_scale=0.4)}))
    ]  # fmt: skip
    torch.testing.assert_close(*ends, rtol=0, atol=0)


def test_a_comparison_tells_its_contenders() -> None:
    own, other = (compare(_denoiser(width), shape=(2,), calls=[6], n=4).entries[0].pictures for width in (0.4, None))
    torch.testing.assert_close(own, sample(_denoiser(0.4), (4, 2), calls=6))
    assert not torch.equal(own, other)


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_a_width_that_is_none_is_refused(width: float) -> None:
    with pytest.raises(ValueError, match="scale must be"):
        _denoiser(width)


def test_the_table_of_a_run_says_the_same() -> None:
    table = design(FLOW, calls=6, data_scale=0.4)
    assert table == adams_moulton(alpha_bar(FLOW, 6, data_scale=0.4), data_scale=0.4)


def test_some_pictures_are_from_all_over_the_data() -> None:
    data = digits()
    found = some(data, 5)
    assert torch.equal(found, data.batch([0, 449, 898, 1347, 1796])[0])
    assert len(some(data, 5000)) == len(data)
