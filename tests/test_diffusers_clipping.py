"""What a scheduler does to the denoised estimate is done here: whole runs with clipping and thresholding are the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from noisepath import Condition, Denoiser, classifier_free, sample
from noisepath.guidance import clip, dynamic_threshold
from noisepath.levels import Level
from noisepath.spacing import leading
from noisepath.tableau import START, Draw

diffusers = pytest.importorskip("diffusers")

STEPS = 8
DRAWS = torch.randn(STEPS + 1, 2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
OPTIONS = [
    {"clip_sample": True},
    {"clip_sample": True, "clip_sample_range": 0.4},
    {"thresholding": True},  # sample_max_value is 1: the same as clipping
    {"thresholding": True, "sample_max_value": 2.5, "dynamic_thresholding_ratio": 0.9},
    {"thresholding": True, "sample_max_value": 0.7, "clip_sample": True},
    {"clip_sample": False},
]


def network(x: Tensor, t: Any, **condition: Tensor) -> Tensor:
    """Of the noise, and wrong by a fifth: at much noise its estimate lies far outside of the data's range."""
    label = condition.get("class_labels", torch.zeros(len(x)))
    return 0.8 * x + 0.1 * torch.sin(5 * x) + 0.2 * label.view(-1, 1, 1, 1)


def theirs(scheduler: Any, **options: Any) -> Tensor:
    draws: Iterator[Tensor] = iter(DRAWS)
    x = DRAWS[-1]
    with mock.patch("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *a, **k: next(draws)):
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t), t, x, **options).prev_sample
    return x


def ours(scheduler: Any, solver: str) -> Tensor:
    model = Denoiser.from_diffusers(network, scheduler)
    levels = leading(model.schedule, STEPS)
    # their states are x itself, begun with deviation 1 at a level whose sigma is a little less
    noise = {START: DRAWS[-1] / levels[0].sigma, **{Draw(n, 0): DRAWS[n] for n in range(STEPS)}}
    return sample(model, tuple(DRAWS[0].shape), solver=solver, levels=levels, noise=noise.__getitem__)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_run_of_ddpm_with_the_same_draws_is_the_same(options: dict[str, Any]) -> None:
    scheduler = diffusers.DDPMScheduler(**options)
    scheduler.set_timesteps(STEPS)
    expected = theirs(scheduler)
    got = ours(scheduler, "ddpm")
    assert float((got - expected).abs().max() / expected.abs().max()) < 1e-4  # their tables are float32
    free = theirs(with_steps(diffusers.DDPMScheduler(clip_sample=False)))
    assert options == {"clip_sample": False} or float((expected - free).abs().max()) > 0.05


def with_steps(scheduler: Any) -> Any:
    scheduler.set_timesteps(STEPS)
    return scheduler


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_run_of_ddim_is_the_same_where_its_noise_is_that_of_the_clipped_estimate(options: dict[str, Any]) -> None:
    scheduler = with_steps(diffusers.DDIMScheduler(**options))
    expected = theirs(scheduler, use_clipped_model_output=True)
    got = ours(scheduler, "ddim")
    assert float((got - expected).abs().max() / expected.abs().max()) < 1e-4


def test_an_estimate_is_clipped_on_each_branch_and_around_a_guidance_once_more_as_pipelines_do() -> None:
    scheduler = with_steps(diffusers.DDPMScheduler(clip_sample=True))
    model = Denoiser.from_diffusers(network, scheduler, null=0)
    guided, level = clip(classifier_free(model, 3.0)), Level(0.4, 0.9)
    one, condition = DRAWS[0], Condition(label=torch.tensor([1, 2]))
    branches = [model(one, level, c) for c in (Condition(label=torch.tensor([0, 0])), condition)]
    assert all(float(b.abs().max()) == 1.0 for b in branches)
    expected = (branches[0] + 3.0 * (branches[1] - branches[0])).clamp(-1, 1)
    found = guided(one, level, condition)
    assert isinstance(found, Tensor)
    assert torch.allclose(found, expected, atol=1e-6)


def test_the_guidances_of_the_same_name_do_the_same() -> None:
    level = Level(0.4, 0.9)
    free = Denoiser.from_diffusers(network, diffusers.DDPMScheduler(clip_sample=False))
    for options, guided in (
        ({"clip_sample": True, "clip_sample_range": 0.5}, clip(free, -0.5, 0.5)),
        ({"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1e9}, dynamic_threshold(free, 90.0)),
    ):
        model = Denoiser.from_diffusers(network, diffusers.DDPMScheduler(**options))
        found = guided(DRAWS[0], level)
        assert isinstance(found, Tensor)
        assert torch.equal(model(DRAWS[0], level), found)
        assert not torch.equal(found, free(DRAWS[0], level))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_thresholding_keeps_the_dtype_of_the_run(dtype: torch.dtype) -> None:
    model = Denoiser.from_diffusers(network, diffusers.DDPMScheduler(thresholding=True, sample_max_value=3.0))
    found = model(DRAWS[0].to(dtype), Level(0.4, 0.9))
    assert found.dtype == dtype
    exact = model(DRAWS[0].double(), Level(0.4, 0.9))
    assert float((found.double() - exact).abs().max()) <= (0.0 if dtype == torch.float64 else 0.1)
