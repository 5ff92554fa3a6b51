"""How wide data are: closed form where it is known, and every solver and spacing that takes it is given it."""

from __future__ import annotations

import inspect
import math
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import noisepath
from noisepath.board.asked import Asked as Sheet
from noisepath.board.asked import calls as board_calls
from noisepath.comparing import compare
from noisepath.data import digits, some
from noisepath.data_stats import DataStats
from noisepath.denoiser import Denoiser
from noisepath.editing import jumping
from noisepath.evaluation.judging import Asked, draw
from noisepath.guidance import classifier_free
from noisepath.sampling import design, sample, steps_within
from noisepath.schedules import schedule
from noisepath.solvers import SOLVERS, adams, adams_moulton, ddim
from noisepath.spacing import alpha_bar, log_snr
from noisepath.tableau import calls
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


SCALED = [name for name, entry in SOLVERS.items() if "data_scale" in inspect.signature(entry.build).parameters]


@pytest.mark.parametrize("name", SCALED)
def test_a_solver_is_given_the_models_width_by_name_and_as_a_function_alike(name: str) -> None:
    own = partial(sample, _denoiser(0.4), (3, 2), steps=5, spacing="log_snr")
    build = SOLVERS[name].build
    assert torch.equal(own(solver=name), own(solver=build))
    with_options = build if isinstance(build, partial) else partial(build)
    assert torch.equal(own(solver=name), own(solver=with_options))
    settled = own(solver=partial(build, data_scale=1.7))  # what is settled already stays
    said = sample(_denoiser(1.7), (3, 2), steps=5, spacing="log_snr", solver=name)
    assert torch.equal(settled, said)
    if name not in ("lms", "deis"):  # whose variable has no scale
        assert not torch.equal(settled, own(solver=name))


def test_a_spacing_is_given_the_models_width_as_a_function_too_and_so_is_one_that_was_never_named() -> None:
    own = partial(sample, _denoiser(0.4), (3, 2), steps=5, solver="ddim")
    assert torch.equal(own(spacing="alpha_bar"), own(spacing=alpha_bar))
    assert torch.equal(own(spacing=partial(alpha_bar, data_scale=2.0)), sample(_denoiser(None), (3, 2), steps=5, solver="ddim"))

    seen = []

    def mine(schedule: Any, steps: int, data_scale: float = 1.0) -> list[Any]:
        seen.append(data_scale)
        return log_snr(schedule, steps)

    own(spacing=mine)
    assert seen == [0.4]
    assert torch.equal(own(spacing=lambda path, steps: log_snr(path, steps)), own(spacing="log_snr"))


def test_repainting_is_done_with_the_width_that_a_plain_run_has() -> None:
    own = partial(sample, _denoiser(0.4), (3, 2), steps=4, spacing="log_snr")
    again = partial(jumping, repeats=1, jump=2)
    assert torch.equal(own(solver=again("adams")), own(solver=again(partial(adams, data_scale=0.4))))
    assert not torch.equal(own(solver=again("adams")), own(solver=again(partial(adams, data_scale=1.0))))


@pytest.mark.parametrize("width", [None, 0.3, 3.0])
def test_the_steps_within_a_number_of_calls_make_no_more_with_the_models_width(width: float | None) -> None:
    asked = 0

    def network(x: Tensor, t: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        return x * 0

    path = noisepath.schedule("edm")
    denoiser = Denoiser(network, path, "edm", data_stats=DataStats(scale=width))
    for name in ("restart", "heun", "adams_moulton", "edm"):
        for most in (7, 13):
            steps = steps_within(path, most, solver=name, data_scale=width)
            asked = 0
            sample(denoiser, (1, 2), solver=name, steps=steps)
            assert asked <= most, (name, steps)
            assert calls(design(path, solver=name, steps=steps + 1, data_scale=width)) > most
    for entry in compare(denoiser, ["restart"], calls=[13], shape=(2,), n=1).entries:
        assert entry.calls <= 13


def test_the_calls_that_are_reported_are_those_that_a_run_makes() -> None:
    asked = 0

    def network(x: Tensor, t: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        return x * 0

    denoiser = Denoiser(network, noisepath.schedule("edm"), "edm", data_stats=DataStats(scale=3.0), info={"class_names": ()})
    drawn = draw(denoiser, digits(), Asked(n=1, solver="restart", steps=5))
    assert drawn.sampling.calls == asked
    asked = 0
    sample(denoiser, (1, 2), solver="restart", steps=5)
    board_asked = Sheet(({},), (1.0,), 1, solver="restart", steps=5)
    assert board_calls(board_asked, denoiser) == 2 * asked  # the picture, and how it came about


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
