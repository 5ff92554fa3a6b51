"""Tiny diffusers networks with random weights: the same pictures here as by diffusers' own schedulers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from noisepath import Condition, Denoiser, classifier_free, sample, schedule
from noisepath.foreign import Wrapped
from noisepath.foreign_schedulers import parts_of_diffusers
from noisepath.levels import Level
from noisepath.schedules import Shifted
from noisepath.solvers import ddim
from noisepath.spacing import leading, sgm_uniform, trailing

diffusers = pytest.importorskip("diffusers")
STEPS = 6
START_X = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))


def network(classes: int | None = None, out: int = 2) -> Any:
    torch.manual_seed(3)
    return diffusers.UNet2DModel(
        sample_size=8, in_channels=2, out_channels=out, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"), num_class_embeds=classes,
    ).eval()  # fmt: skip


def theirs(net: Any, scheduler: Any, x: Tensor, **condition: Tensor) -> Tensor:
    for t in scheduler.timesteps:
        told = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        with torch.no_grad():
            x = scheduler.step(net(told, t, **condition).sample, t, x).prev_sample
    return x


def ours(denoiser: Denoiser, levels: list[Level], **options: Any) -> Tensor:
    return sample(denoiser, tuple(START_X.shape), solver=ddim, levels=levels, noise=lambda place: START_X, **options)


def agree(got: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert float((got - expected).abs().max() / expected.abs().max()) < tolerance


@pytest.mark.parametrize("kind", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction", "sample"])
def test_ddim_with_a_table(kind: str, predicts: str) -> None:
    net = network()
    scheduler = diffusers.DDIMScheduler(beta_schedule=kind, prediction_type=predicts, clip_sample=False)
    scheduler.set_timesteps(STEPS)
    denoiser = Denoiser.from_diffusers(net, scheduler)
    levels = leading(denoiser.schedule, STEPS)
    made = ours(denoiser, levels)
    # as shipped their tables are float32, and the cosine's are wrong in the fourth digit near t = 0 and T
    agree(made, theirs(net, scheduler, START_X * levels[0].sigma), 1e-4 if kind == "squaredcos_cap_v2" else 1e-5)
    scheduler.alphas_cumprod = torch.tensor(denoiser.schedule.config.tables().alphas_cumprod, dtype=torch.float64)
    agree(made, theirs(net, scheduler, START_X * levels[0].sigma))


def test_zero_terminal_snr_with_v_starts_at_pure_noise() -> None:
    net = network()
    scheduler = diffusers.DDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False
    )
    scheduler.set_timesteps(5)  # which divides 1,000: else it recomputes the previous time, and takes another
    denoiser = Denoiser.from_diffusers(net, scheduler.config)
    levels = trailing(denoiser.schedule, 5)
    assert levels[0].is_noise
    agree(ours(denoiser, levels), theirs(net, scheduler, START_X))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching(shift: float) -> None:
    net = network()
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(STEPS)
    denoiser = Denoiser.from_diffusers(net, scheduler)
    levels = [Level(1 - float(s), float(s)) for s in scheduler.sigmas]
    agree(ours(denoiser, levels), theirs(net, scheduler, START_X))
    if shift == 3.0:  # the same levels from the shifted schedule
        shifted = [Level(1.0, 0.0) if level.is_data else level for level in sgm_uniform(Shifted(schedule("flow"), 3.0), 4)]
        assert shifted[2].sigma == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))


def test_edm_preconditioning() -> None:
    net = network()
    scheduler = diffusers.EDMEulerScheduler(sigma_min=0.01, sigma_max=20.0, sigma_data=0.7)
    scheduler.set_timesteps(STEPS)
    denoiser = Denoiser.from_diffusers(net, scheduler)
    levels = [Level(1.0, float(s)) for s in scheduler.sigmas]
    agree(ours(denoiser, levels), theirs(net, scheduler, START_X * levels[0].sigma))


def test_classes_reach_the_network_and_guidance_works() -> None:
    net = network(classes=5)
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(STEPS)
    denoiser = Denoiser.from_diffusers(net, scheduler, null=Condition(label=torch.tensor([4])))
    levels, asked = leading(denoiser.schedule, STEPS), torch.tensor([0, 1, 2])
    plain = ours(denoiser, levels, condition=Condition(label=asked))
    agree(plain, theirs(net, scheduler, START_X * levels[0].sigma, class_labels=asked))
    guided = sample(
        classifier_free(denoiser, 3.0), tuple(START_X.shape), solver=ddim, levels=levels, noise=lambda place: START_X,
        condition=Condition(label=asked),
    )  # fmt: skip
    assert float((guided - plain).abs().max()) > 1e-3


def test_a_learned_variance_is_cut_off_and_one_warning_says_so() -> None:
    net = network(out=4)
    denoiser = Denoiser.from_diffusers(net, diffusers.DDPMScheduler(variance_type="learned_range"))
    with torch.no_grad():
        answer = net(START_X, torch.full((3,), 10.0)).sample
        with pytest.warns(UserWarning, match="4 channels for 2: the second half, a learned variance, is cut off") as seen:
            for _ in range(3):
                assert torch.equal(denoiser.network(START_X, torch.full((3,), 10.0)), answer[:, :2])
    assert len(seen) == 1


def test_trained_betas_and_other_lengths_are_read() -> None:
    parts = parts_of_diffusers(diffusers.DDPMScheduler(trained_betas=[0.1, 0.2, 0.3]))
    assert parts.schedule.num_timesteps == 3
    assert parts.schedule.level(2.0).alpha ** 2 == pytest.approx(0.9 * 0.8 * 0.7)
    short = parts_of_diffusers({"beta_schedule": "linear", "num_train_timesteps": 10, "beta_start": 0.1, "beta_end": 0.2})
    assert short.schedule.num_timesteps == 10


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"beta_schedule": "spiral"}, "beta_schedule"),
        ({"beta_schedule": "linear", "prediction_type": "magic"}, "prediction_type"),
        ({"num_train_timesteps": 10}, "neither a _class_name nor a beta_schedule"),
        ({"_class_name": "EDMEulerScheduler", "prediction_type": "sample"}, "'sample'"),
    ],
)
def test_a_configuration_that_says_too_little_is_refused(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Denoiser.from_diffusers(lambda x, t: x, config)
    with pytest.raises(TypeError, match="a mapping"):
        parts_of_diffusers(3)


def test_any_module_can_be_wrapped() -> None:
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, time: Tensor, picture: Tensor) -> dict[str, Tensor]:
            return {"noise": self.gain * picture + time[:, None, None, None]}

    odd = Odd()
    wrapped = Wrapped(odd, lambda module, x, t: module(t, x)["noise"], time=lambda t: t * 0.5)
    assert torch.equal(wrapped(START_X, torch.full((3,), 4.0)), 2 * START_X + 2.0)
    assert next(wrapped.parameters()) is odd.gain
    assert list(Wrapped(math.hypot).parameters()) == []
    assert torch.equal(Wrapped(lambda x, t: (x, "more"))(START_X, torch.zeros(3)), START_X)
