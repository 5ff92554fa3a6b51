"""A run that begins a little above data follows the exact flow in float32, whatever the solver and the schedule."""

from __future__ import annotations

import inspect

import pytest
import torch

from noisepath import exact
from noisepath.editing import image_to_image
from noisepath.sampling import DEFAULTS, design, sample
from noisepath.schedules import SCHEDULES, begun, schedule
from noisepath.solvers import SOLVERS
from noisepath.tableau import START, Draw, draws

STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
MEAN, VARIANCE = torch.tensor([0.5, -0.5], dtype=torch.float64), torch.tensor([0.04, 0.09], dtype=torch.float64)
ORDERED = [name for name, solver in SOLVERS.items() if "guard" in inspect.signature(solver.build).parameters]
# The rounding that the guard lets by in a step is 1024 / 2^24 = 6e-5 standard deviations, of some 1.
ROUNDED = 2e-4


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_default_run_from_a_little_noise_follows_the_exact_flow_in_float32(name: str) -> None:
    path = schedule(name)
    denoiser = exact.Gaussian(MEAN.tolist(), VARIANCE.tolist()).denoiser(path)
    start = torch.full((4, 2), 0.25)
    z = torch.randn((4, 2), generator=torch.Generator().manual_seed(0))
    for strength in STRENGTHS:
        first = (lambda s: s.level(s.t_max))(begun(path, strength))
        x = first.alpha * start.double() + first.sigma * z.double()
        deviation = (first.alpha**2 * VARIANCE + first.sigma**2).sqrt()
        flow = MEAN + VARIANCE.sqrt() / deviation * (x - first.alpha * MEAN)
        found = image_to_image(denoiser, start, strength, noise=lambda place: z)
        # the method's own error is below a fortieth of what the run moves, or of rounding
        moved = float((flow - start).abs().max())
        assert float((found - flow).abs().max()) < ROUNDED + 0.025 * moved, strength


@pytest.mark.parametrize("name", ["vp_linear", "edm"])
@pytest.mark.parametrize("solver", ORDERED)
def test_from_a_little_noise_float32_gives_what_float64_does(solver: str, name: str) -> None:
    path = schedule(name)
    denoiser = exact.Gaussian(MEAN.tolist(), VARIANCE.tolist()).denoiser(path)
    start = torch.full((2, 2), 0.25)
    for strength in (1e-6, 1e-4):
        table = design(path, solver=solver, strength=strength)
        drawn = torch.Generator().manual_seed(0)
        made = {place: torch.randn((2, 2), generator=drawn) for place in (START, *draws(table))}

        def noise(place: Draw, made: dict[Draw, torch.Tensor] = made) -> torch.Tensor:
            return made[place]

        rough, fine = (
            sample(denoiser, (2, 2), solver=solver, strength=strength, start=start, noise=noise, dtype=dtype)
            for dtype in (torch.float32, torch.float64)
        )
        assert float((rough - fine).abs().max()) < ROUNDED


def test_many_steps_to_data_do_not_multiply_rounding() -> None:
    """With many steps the last one, to data, is far longer than those before it."""
    denoiser = exact.Gaussian(MEAN.tolist(), VARIANCE.tolist()).denoiser("flow")
    runs = [sample(denoiser, (8, 2), steps=150, spacing="log_snr", dtype=dtype) for dtype in (torch.float32, torch.float64)]
    assert DEFAULTS.solver == "adams_moulton"
    assert float((runs[0] - runs[1]).abs().max()) < ROUNDED
