"""Every guidance and every kind of editing with every solver: runs, is finite, and is the same picture in every batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from edited import FLOW as EDITED
from edited import POINTS
from guided import DATA, EXAMPLES, SHAPE, asks
from noisepath.editing import image_to_image, inpaint, outpaint, variations
from noisepath.exact import Gaussian
from noisepath.guidance import GUIDANCES
from noisepath.sampling import sample, steps_within
from noisepath.schedules import schedule
from noisepath.solvers import SOLVERS

pytestmark = pytest.mark.matrix
FLOW = schedule("flow")
MODEL = DATA.denoiser(FLOW)
every_solver = pytest.mark.parametrize("solver", SOLVERS)
calls_4_and_10 = pytest.mark.parametrize("calls", [4, 10])


def steps_of(solver: str, calls: int) -> int:
    """The most steps within the calls, and one where a step makes more."""
    try:
        return steps_within(FLOW, calls, solver=solver)
    except ValueError:
        return 1


@calls_4_and_10
@every_solver
@pytest.mark.parametrize("name", GUIDANCES)
def test_every_guidance_runs_with_every_solver(name: str, solver: str, calls: int) -> None:
    model, told = EXAMPLES[name](MODEL), asks(name)
    options: dict[str, Any] = {"solver": solver, "steps": steps_of(solver, calls), "condition": told, "dtype": torch.float64}
    whole = sample(model, (5, *SHAPE), **options)
    assert whole.isfinite().all() and whole.abs().max() < 100
    parts = sample(model, (5, *SHAPE), batch_size=2, **options)
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-9)


_SIDE = Gaussian(torch.full((1, 4, 4), 0.2), 0.25 * torch.ones(16, 16) + 0.05 * torch.eye(16))
_LARGE = Gaussian(torch.full((1, 5, 5), 0.2), 0.25 * torch.ones(25, 25) + 0.05 * torch.eye(25)).denoiser(FLOW)
_SMALL, _PICTURES = _SIDE.denoiser(FLOW), _SIDE.sample(5, seed=1)
_MASK = torch.zeros(1, 1, 4, 4)
_MASK[..., 1:3, 2:] = 1.0
_SOFT = torch.linspace(0.0, 1.0, 16).view(1, 1, 4, 4)
EDITS: dict[str, Callable[..., Tensor]] = {
    "image_to_image": lambda **options: image_to_image(EDITED, POINTS, 0.5, **options),
    "variations": lambda **options: variations(EDITED, POINTS, 0.5, 2, **options),
    "inpaint": lambda **options: inpaint(_SMALL, _PICTURES, _MASK, **options),
    "inpaint, soft": lambda **options: inpaint(_SMALL, _PICTURES, _SOFT, **options),
    "inpaint, repeats": lambda **options: inpaint(_SMALL, _PICTURES, _MASK, repeats=1, **options),
    "outpaint": lambda **options: outpaint(_LARGE, _PICTURES, (1, 0, 0, 1), **options),
}


@calls_4_and_10
@every_solver
@pytest.mark.parametrize("edit", EDITS)
def test_every_kind_of_editing_runs_with_every_solver(edit: str, solver: str, calls: int) -> None:
    options: dict[str, Any] = {"solver": solver, "steps": steps_of(solver, calls), "seed": 3, "dtype": torch.float64}
    whole = EDITS[edit](**options)
    assert whole.isfinite().all() and whole.abs().max() < 100
    torch.testing.assert_close(EDITS[edit](batch_size=2, **options), whole, rtol=1e-9, atol=1e-9)
