"""What a run is given is refused in one clear line, or understood, before any work."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from noisepath.comparing import compare
from noisepath.conditions import Condition
from noisepath.denoiser import Denoiser
from noisepath.editing import image_to_image
from noisepath.exact import Gaussian
from noisepath.guidance import classifier_free
from noisepath.levels import Level
from noisepath.sampling import sample
from noisepath.schedules import schedule

DENOISER = Gaussian([0.5, -0.5], [0.04, 0.09]).denoiser("flow")
META = torch.zeros(4, 2, device="meta")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"levels": 3}, TypeError, "levels are a list of Level"),
        ({"spacing": lambda path, steps: None}, TypeError, "a spacing gives a list of levels"),
        ({"solver": lambda levels: None}, TypeError, "a solver gives a tableau"),
        ({"cancel": 3}, TypeError, "cancel is a function"),
        ({"noise": torch.zeros(4, 2)}, TypeError, "noise is a function from the place of a draw"),
        ({"noise": lambda place: np.zeros((4, 2))}, TypeError, "noise gives a tensor"),
        ({"state": META, "strength": 0.5}, ValueError, "state is on the meta device"),
        ({"start": META, "strength": 0.5}, ValueError, "start is on the meta device"),
    ],
)
def test_what_a_run_can_not_use_is_refused_in_one_line(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        sample(DENOISER, (4, 2), **options)
    assert "\n" not in str(raised.value)


def test_images_and_networks_on_the_meta_device_are_refused() -> None:
    with pytest.raises(ValueError, match="pictures are on the meta device"):
        image_to_image(DENOISER, META, 0.5)
    model = Denoiser(torch.nn.Linear(2, 2, device="meta"), "flow", "velocity")
    with pytest.raises(ValueError, match="parameters are on the meta device"):
        model(torch.zeros(4, 2), Level(0.5, 0.5))


@pytest.mark.parametrize("shape", [[4, 2], np.array([4, 2]), torch.tensor([4, 2]), torch.Size([4, 2])])
def test_a_shape_may_be_an_array_or_a_tensor(shape: Any) -> None:
    assert torch.equal(sample(DENOISER, shape, steps=2), sample(DENOISER, (4, 2), steps=2))


def test_a_shape_of_floats_is_refused() -> None:
    with pytest.raises(ValueError, match="a shape is"):
        sample(DENOISER, np.array([4.0, 2.0]))  # type: ignore[arg-type]


class Labelled(torch.nn.Module):
    """Its output depends on the label."""

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return x + label.view(-1, 1)


@pytest.mark.parametrize("null", [10, np.int64(10), np.array(10), np.array([10]), torch.tensor(10), torch.tensor([10])])
def test_a_null_is_taken_alike_in_each_form(null: Any) -> None:
    pytest.importorskip("diffusers")
    from diffusers import DDPMScheduler

    for model in (Denoiser(Labelled(), "flow", null=null), Denoiser.from_diffusers(Labelled(), DDPMScheduler(), null=null)):
        assert model.null is not None
        assert model.null["label"].tolist() == [10]


@pytest.mark.parametrize("null", [True, 1.5, "10", np.array([1, 2]), np.array([1.5]), torch.tensor([True]), np.zeros(0)])
def test_what_is_no_null_is_refused_alike(null: Any) -> None:
    pytest.importorskip("diffusers")
    from diffusers import DDPMScheduler

    for make in (lambda: Denoiser(Labelled(), "flow", null=null),
                 lambda: Denoiser.from_diffusers(Labelled(), DDPMScheduler(), null=null)):  # fmt: skip
        with pytest.raises(TypeError, match="a null is"):
            make()


def test_guidance_scales_may_be_an_array_or_a_list() -> None:
    model = Denoiser(Labelled(), "flow", "velocity", null=10)
    scales = [1.0, 2.0, 3.0, 4.0]
    found = [
        sample(classifier_free(model, scale), (4, 2), steps=2, condition=Condition(label=3), batch_size=3)
        for scale in (torch.tensor(scales), scales, np.array(scales), lambda level: np.array(scales))
    ]
    assert all(torch.equal(found[0], other) for other in found[1:])
    with pytest.raises(TypeError, match="a guidance scale is"):
        classifier_free(model, ["much"])  # type: ignore[arg-type]


def test_gradients_through_a_network_in_training_mode_with_dropout_are_warned_of() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.5))
    model = Denoiser(lambda x, t: net(x), "flow", "velocity")
    with pytest.warns(UserWarning, match=r"training mode with Dropout.*network\.eval\(\)"):
        sample(model, (4, 2), steps=2, gradients=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample(model, (4, 2), steps=2)
        net.eval()
        sample(model, (4, 2), steps=2, gradients=True)


def test_a_comparison_gives_each_warning_once() -> None:
    short = schedule("linear", beta_start=1e-4, beta_end=2e-3)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        compare(Gaussian([0.5, -0.5], [0.04, 0.09]).denoiser(short), ["ddim"], steps=[2, 3], n=4, shape=(2,))
    assert len([one for one in given if "begins with noise alone" in str(one.message)]) == 1
