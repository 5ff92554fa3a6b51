"""The benchmark on ideal denoisers asks about the problems that it says it does, and judges all samplers alike."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import _kept
import _problems
import quality
from _contender import Asked, Contender
from _kept import Kept, Row
from _problems import LARGEST, LAST, PROBLEMS, Blend, Ideal, Problem, disagreement, errors, figures, problem, solved
from noisepath.exact import Gaussian
from noisepath.levels import Level
from noisepath.sampling import sample
from noisepath.schedules import schedule
from noisepath.solvers import ddim
from noisepath.spacing import karras

SMALL = problem("mixture", starts=6)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_s_belief_is_the_library_s(name: str) -> None:
    assert disagreement(problem(name, starts=4)) < 1e-11


def test_a_belief_has_the_dtype_that_was_asked_and_nothing_is_left_to_say_without_noise() -> None:
    x = SMALL.start.float()
    assert SMALL.belief(x, 3.0).dtype == torch.float32
    assert float((SMALL.belief(x, 3.0) - SMALL.belief(x.double(), 3.0)).abs().max()) < 1e-6
    assert torch.equal(SMALL.belief(x, 0.0), x)


def test_the_answer_is_where_the_flow_of_a_gaussian_leads() -> None:
    mean, variance = torch.tensor([0.3, -0.8], dtype=torch.float64), torch.tensor([0.04, 1.7], dtype=torch.float64)
    data = Blend(torch.ones(1, dtype=torch.float64), mean[None], variance[None])
    asked = Problem("gaussian", data, SMALL.start)
    true = Gaussian(mean, variance).flow(asked.start, Level(1.0, LARGEST), Level(1.0, LAST))
    assert float((solved(asked, 1e-10, progress=False) - true).abs().max()) < 1e-8


def test_answers_that_have_not_converged_are_refused_and_the_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, apart = _problems.answers(SMALL, tmp_path, progress=False)
    assert apart <= _problems.CONVERGED
    monkeypatch.setattr(_problems, "solved", lambda *unused: pytest.fail("they are kept"))
    assert torch.equal(_problems.answers(SMALL, tmp_path)[0], first)
    monkeypatch.setattr(_problems, "solved", lambda asked, tolerance, progress: asked.start * (1.0 + tolerance * 1e3))
    with pytest.raises(ArithmeticError, match="apart"):
        _problems.answers(problem("mixture", starts=5), tmp_path)


def test_a_contender_gets_the_most_steps_that_fit_and_no_real_call_is_spent_on_finding_them() -> None:
    spent: list[float] = []

    class Counted(Blend):
        def belief(self, x: Tensor, sigma: float) -> Tensor:
            spent.append(sigma)
            return super().belief(x, sigma)

    def heun(asked: Asked, steps: int) -> Tensor:
        x = asked.start
        for _ in range(2 * steps - 1):
            x = asked(x, 1.0)
        return x

    asked = replace(SMALL, data=Counted(**vars(SMALL.data)))
    contender = Contender("heun", "none", False, heun)
    assert [contender.steps(asked, calls) for calls in (1, 4, 5, 50)] == [1, 2, 3, 25]
    contender.run(asked, 4)
    assert spent == [1.0] * 3
    with pytest.raises(ValueError, match="more than 2 calls"):
        Contender("long", "none", False, lambda asked, steps: heun(asked, steps + 1)).steps(asked, 2)


def test_our_run_begins_at_the_problem_s_own_start(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Tensor, float]] = []
    plain = Ideal.__call__

    def heard(self: Ideal, x: Tensor, level: Level, condition: object = None) -> Tensor:
        asked.append((x / level.alpha, level.noise_ratio))
        return plain(self, x, level)

    monkeypatch.setattr(Ideal, "__call__", heard)
    quality.made(SMALL, 6)
    assert len(asked) == 6
    assert asked[0][1] == pytest.approx(LARGEST)
    assert float((asked[0][0] / SMALL.start - 1.0).abs().max()) < 1e-12


def test_ours_takes_the_most_steps_that_fit_and_refuses_what_draws_noise() -> None:
    options = quality.configuration("midpoint@karras:rho=5")
    whole = sample(SMALL.denoiser, SMALL.start.shape, noise=lambda place: SMALL.start / LARGEST, dtype=torch.float64, steps=4,
                   **options)  # fmt: skip
    assert torch.equal(quality.made(SMALL, 8, **options), whole)  # 7 calls
    with pytest.raises(ValueError, match="draws noise"):
        quality.made(SMALL, 8, **quality.configuration("ddpm"))


def test_a_configuration_is_said_in_a_word() -> None:
    said = quality.configuration("adams:frame=flow,order=3@asinh:scale=0.2")
    assert said["solver"].keywords == {"frame": "flow", "order": 3}
    assert said["spacing"].keywords == {"scale": 0.2}
    assert quality.configuration("") == {} and list(quality.configuration("@karras")) == ["spacing"]
    with pytest.raises(ValueError, match="karras"):
        quality.configuration("ddim@karas")


def test_an_error_is_the_root_mean_square_over_coordinates() -> None:
    found = errors(torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]]), torch.zeros(3, 2, dtype=torch.float64))
    assert torch.allclose(found, torch.tensor([math.sqrt(12.5), 0.0, 1.0], dtype=torch.float64))
    assert figures(found) == pytest.approx((math.sqrt(13.5 / 3), 1.0))


# What is kept ------------------------------------------------------------------------------------------------------------


def kept(name: str = "mixture", scale: float = 1.0) -> Kept:
    def row(four: Any, eight: Any, shipped: bool = False) -> Row:
        return Row("some", shipped, {4: four, 8: eight})

    made = Kept(name, 6, "1.0", [4, 8], 1e-10, {"torch": "2"})
    made.rows["good"] = row((0.2 * scale, 0.1 * scale), (0.02 * scale, 0.01 * scale))
    made.rows["shipped"] = row((0.4, 0.3), None, shipped=True)
    made.rows["late"] = row((0.9, 0.8), (0.01, 0.04))
    return made


def test_what_is_kept_is_read_as_it_was_written(tmp_path: Path) -> None:
    _kept.write(kept(), tmp_path)
    assert _kept.read_all(tmp_path) == {"mixture": kept()}
    found = {("good, x=1 @4", 4): np.array([0.5, 0.25]), ("late", 8): np.array([1.0])}
    _kept.write_errors("mixture", found, tmp_path)
    again = _kept.read_errors("mixture", tmp_path)
    assert {key: value.tolist() for key, value in again.items()} == {key: value.tolist() for key, value in found.items()}


def test_the_best_single_one_has_no_gap_and_hindsight_chooses_in_each_cell() -> None:
    one = kept()
    assert [name for _, name in _kept.singles([one])] == ["good", "late"]
    assert one.rows["good"].mean == pytest.approx((0.2 * 0.1 * 0.02 * 0.01) ** 0.25)
    assert math.isinf(one.rows["shipped"].mean)
    assert one.line() == {4: (0.2, 0.1), 8: (0.01, 0.01)}
    assert [name for _, name in _kept.singles([one, kept("digits", scale=100.0)])] == ["late", "good"]


def test_errors_are_kept_of_the_shipped_the_best_singles_and_the_best_in_each_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kept, "SINGLES", 1)
    one, other = kept(), kept("digits", scale=100.0)
    assert _kept.matter(one, [one]) == {"good": [4, 8], "shipped": [4], "late": [8]}
    assert _kept.matter(one, [one, other]) == {"good": [4, 8], "shipped": [4], "late": [4, 8]}


def test_a_ratio_is_over_the_cells_that_the_other_has() -> None:
    ours = {4: (0.1, 0.1), 8: (7.0, 7.0)}
    assert quality.ratio(ours, kept().rows["shipped"].cells) == pytest.approx(0.1 / math.sqrt(0.12))


def test_the_starts_redrawn_once_each_give_the_figures_themselves() -> None:
    found = torch.rand(2049, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for n in (2048, 2049):
        order = np.random.default_rng(0).permutation(n)[None]
        assert quality.redrawn(found[:n].numpy(), order)[0] == pytest.approx(figures(found[:n]))


# The others --------------------------------------------------------------------------------------------------------------


def alike(contender: Contender, levels: list[Level], solver: Any) -> float:
    ours = sample(SMALL.denoiser, SMALL.start.shape, noise=lambda place: SMALL.start / LARGEST, levels=levels, solver=solver,
                  dtype=torch.float64)  # fmt: skip
    return float((contender.run(SMALL, 10) - ours).abs().max())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' own, of numpy
def test_diffusers_steps_are_ours_at_their_levels() -> None:
    pytest.importorskip("diffusers")
    from _peer_schedulers import diffusers

    known = {contender.name: contender for contender in diffusers()}
    assert len(known) == 217
    assert alike(known["Euler karras [exact level]"], karras(schedule("linear"), 10), ddim) < 1e-3  # their tables are float32


@pytest.mark.peers
def test_all_of_them_are_there_and_k_diffusion_s_steps_are_ours() -> None:
    from _peer_samplers import contenders

    known = {contender.name: contender for contender in contenders()}
    assert len(known) == 439
    levels = karras(schedule("linear"), 10)
    assert alike(known["euler karras7 smin=0.01"], levels, ddim) < 1e-4
    assert alike(known["samples gam=1.0 karras7 smin=0.01"], levels, ddim) < 1e-4
