"""Inversion: the noise of a picture leads back to it, and BDIA's steps can be undone exactly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from edited import FLOW, MIXTURE, POINTS, normal_distance, psnr, unasked
from guided import DATA, LABEL, X
from noisepath import noise
from noisepath.analysis import measured_order
from noisepath.conditions import Condition
from noisepath.denoiser import Denoise, Moved
from noisepath.editing import (
    Reversed,
    bdia,
    invert,
    invert_exactly,
    restore,
)
from noisepath.exact import Gaussian
from noisepath.guidance import apg, classifier_free
from noisepath.levels import Level
from noisepath.sampling import design, sample
from noisepath.schedules import SCHEDULES, schedule
from noisepath.solvers import SOLVERS
from noisepath.testing import check_solver

ONE_STEP = [
    name
    for name in ("ddim", "heun", "midpoint", "rk4", "kdpm2", "dpm_solver_2", "dpm_solver_3", "dpmpp_2s", "dpmpp_3s")
    if name in SOLVERS
]


# Inversion -------------------------------------------------------------------------------------------------------------------


def again(model: Denoise, z: Tensor, **options: Any) -> Tensor:
    return sample(model, z.shape, noise=lambda place: z, **options)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_noise_of_a_picture_leads_back_to_it(name: str) -> None:
    model = MIXTURE.denoiser(schedule(name))
    back = {n: again(model, invert(model, POINTS, steps=20, iterations=n), steps=20, solver="ddim") for n in (0, 1, 5)}
    plain, once, found = (psnr(made, POINTS) for made in back.values())
    assert plain < 40.0 and once > plain + 8.0 and found > 60.0


@pytest.mark.parametrize("solver", ONE_STEP)
def test_every_solver_that_begins_each_step_anew_can_be_inverted(solver: str) -> None:
    z = invert(FLOW, POINTS, solver=solver, steps=8, iterations=10)
    assert psnr(again(FLOW, z, solver=solver, steps=8), POINTS) > 45.0


def test_of_a_run_s_own_pictures_inversion_finds_the_noise_they_were_made_of() -> None:
    made = sample(FLOW, (5, 3), solver="heun", steps=12, seed=3, dtype=torch.float64)
    z = invert(FLOW, made, solver="heun", steps=12, iterations=20, dtype=torch.float64)
    start: list[Tensor] = []
    sample(FLOW, (5, 3), solver="heun", steps=12, seed=3, dtype=torch.float64, callback=lambda e: start.append(e.x.clone()))
    torch.testing.assert_close(z, start[0] / design(schedule("flow"), steps=12)[0].level.sigma, rtol=0, atol=1e-5)


def test_the_noise_of_exact_data_is_unit_normal() -> None:
    z = invert(FLOW, MIXTURE.sample(1000, seed=9), solver="heun", steps=20, iterations=3)
    for value in z.T:
        assert normal_distance(value) < 1.95 / math.sqrt(1000)
    assert float((torch.corrcoef(z.T) - torch.eye(3)).abs().max()) < 4.5 / math.sqrt(1000)


def test_a_seed_gives_noise_where_data_do_not_vary() -> None:
    """Two of four values are constant: what a clean picture says of their noise is nothing, and what is given comes out."""
    data = Gaussian(torch.tensor([0.5, -0.25, 0.1, 0.0]), torch.diag(torch.tensor([0.0, 0.0, 0.2, 0.4])))
    model, pictures = data.denoiser(schedule("flow")), data.sample(1000, seed=2)
    options: dict[str, Any] = {"solver": "heun", "steps": 30, "iterations": 8, "dtype": torch.float64}
    without, with_own = invert(model, pictures, **options), invert(model, pictures, seed=5, **options)
    assert without[:, :2].std() < 0.5
    drawn = noise.normal(noise.key(5, "inversion"), range(1000), (4,)).double()
    torch.testing.assert_close(with_own[:, :2], drawn[:, :2], rtol=0.0, atol=1e-6)
    for value in with_own.T:
        assert normal_distance(value) < 1.95 / math.sqrt(1000)
    assert psnr(again(model, with_own, solver="heun", steps=30, dtype=torch.float64), pictures) > 30.0
    torch.testing.assert_close(invert(model, pictures, seed=5, batch_size=300, **options), with_own, rtol=0.0, atol=1e-9)
    with pytest.raises(ValueError, match="this run ends where they have some"):
        invert(model, pictures, seed=5, levels=[schedule("flow").level(t) for t in (1.0, 0.5, 0.25)])


def test_inversion_does_not_depend_on_the_batch_and_follows_the_condition() -> None:
    labels = Condition(label=torch.tensor([0, 1, 2, 0, 1, 2, 3]))
    options: dict[str, Any] = {"steps": 6, "condition": labels}
    whole = invert(FLOW, POINTS, iterations=3, **options)
    for size in (1, 3):
        torch.testing.assert_close(invert(FLOW, POINTS, batch_size=size, iterations=3, **options), whole, rtol=0, atol=1e-4)
    z = invert(FLOW, POINTS, iterations=15, **options)
    assert psnr(again(FLOW, z, solver="ddim", **options), POINTS) > 60.0
    assert float((z - invert(FLOW, POINTS, steps=6, iterations=15)).abs().max()) > 0.1


def test_a_scale_for_each_picture_follows_it_into_its_batch() -> None:
    guided = classifier_free(FLOW, torch.linspace(1.5, 3.0, len(POINTS)))
    told = {"condition": Condition(label=torch.arange(len(POINTS)) % 3), "steps": 6, "iterations": 3}
    whole = invert(guided, POINTS, **told)
    torch.testing.assert_close(invert(guided, POINTS, batch_size=2, **told), whole, rtol=0, atol=1e-4)


def test_what_can_not_be_inverted_is_refused() -> None:
    path = schedule("flow")
    for solver, what in (("ddpm", "draws noise"), ("dpmpp_2m", "looks back"), ("unipc", "looks back")):
        with pytest.raises(ValueError, match=what):
            invert(unasked, POINTS, solver=solver, steps=5, schedule=path)
    with pytest.raises(ValueError, match="forgets its noise"):
        invert(unasked, POINTS, levels=[Level(0.0, 1.0), Level(1.0, 0.0)])
    with pytest.raises(ValueError, match="iterations"):
        invert(unasked, POINTS, iterations=-1, schedule=path)
    with pytest.raises(ValueError, match="2 steps or more"):
        invert_exactly(unasked, POINTS, steps=1, schedule=path)
    with pytest.raises(TypeError, match="moves the state"):
        invert(lambda x, level, condition=None: Moved(x, x), POINTS, schedule=path)


# Exactly reversible ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [1.0, 0.97])
@pytest.mark.parametrize("name", SCHEDULES)
def test_bdia_is_undone_to_the_rounding_of_the_states(name: str, gamma: float) -> None:
    model = MIXTURE.denoiser(schedule(name))
    for dtype, rounding in ((torch.float32, 2e-5), (torch.float64, 2e-13)):
        states = invert_exactly(model, POINTS, steps=20, gamma=gamma, dtype=dtype)
        assert float((restore(model, states) - POINTS).abs().max()) < rounding
        halves = invert_exactly(model, POINTS, steps=20, gamma=gamma, dtype=dtype, batch_size=3)
        torch.testing.assert_close(halves.first, states.first, rtol=1e-4, atol=1e-4)
    alone = again(model, states.noise.float(), solver=bdia, steps=20)
    assert psnr(alone, POINTS) < 80.0  # 100 is its rounding; one state is not enough, which is why there are two


def test_bdia_is_undone_whatever_the_denoiser_is() -> None:
    def nonsense(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        return torch.sin(3.0 * x + level.sigma).flip(1)

    states = invert_exactly(nonsense, POINTS, steps=12, schedule=schedule("flow"), dtype=torch.float64, iterations=0)
    assert float((restore(nonsense, states) - POINTS).abs().max()) < 1e-9
    assert isinstance(states, Reversed) and bool(states.noise.isfinite().all())


def test_bdia_is_of_second_order_and_of_first_where_it_is_damped() -> None:
    for problem in ("gaussian", "mixture"):
        assert measured_order(bdia, problem=problem).order == pytest.approx(2.0, abs=0.1)
        assert measured_order(lambda levels: bdia(levels, gamma=0.5), problem=problem).order == pytest.approx(1.0, abs=0.1)
    with pytest.raises(ValueError, match="gamma"):
        bdia([Level(0.0, 1.0), Level(1.0, 0.0)], gamma=1.5)


def test_bdia_obeys_the_laws_of_solvers() -> None:
    check_solver(bdia, order=2, any_grid=False, bounded=False)


def test_with_another_condition_the_two_states_lead_to_another_picture() -> None:
    zero, one = (Condition(label=torch.full((7,), label)) for label in (0, 1))
    pictures = MIXTURE.means[0].float() + 0.05 * torch.randn(7, 3, generator=torch.Generator().manual_seed(2))
    states = invert_exactly(FLOW, pictures, steps=20, condition=zero)
    assert float((restore(FLOW, states, condition=zero) - pictures).abs().max()) < 1e-5
    other = restore(FLOW, states, condition=one)
    assert (
        float((other - MIXTURE.means[1].float()).abs().mean()) < float((pictures - MIXTURE.means[1].float()).abs().mean()) / 2
    )


def test_a_denoiser_that_remembers_its_calls_is_not_inverted() -> None:
    null = Condition(label=torch.tensor([3]))
    model = DATA.denoiser(schedule("flow"))
    for momentum in (-0.5, 0.0):
        guided = apg(model, 1.5, momentum=momentum, negative=null)
        if momentum:
            with pytest.raises(ValueError, match=r"remembers its calls.*momentum=0"):
                invert(guided, X, steps=3, condition=LABEL, dtype=torch.float64)
        else:
            assert bool(invert(guided, X, steps=3, condition=LABEL, dtype=torch.float64).isfinite().all())
