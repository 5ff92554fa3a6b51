"""An option that can't be is refused when it is given, in one line that says which one and what was given."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from noisepath.denoiser import Condition, Denoiser
from noisepath.discrete import NoiseScheduler
from noisepath.errors import unknown
from noisepath.exact import FiniteData, Gaussian, Mixture
from noisepath.levels import Level
from noisepath.solvers import SOLVERS
from noisepath.training import TrainConfig

NAN, INF = float("nan"), float("inf")
NETWORK = torch.nn.Identity()
TWO = Mixture([1, 1], [[0.0, 0.0], [1.0, 1.0]], [1.0, 1.0])
X = torch.zeros(2, 2)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Gaussian([NAN], [1.0]), ValueError, "the mean must be finite"),
        (lambda: Gaussian([0.0], [NAN]), ValueError, "the covariance must be finite"),
        (lambda: Gaussian("a", 1), TypeError, "the mean must be numbers, .* but got 'a'"),
        (lambda: Gaussian([0.0], None), TypeError, "the covariance must be numbers, .* but got None"),
        (lambda: Gaussian(torch.zeros(2, device="meta"), 1.0), TypeError, "the mean must be real numbers"),
        (lambda: Mixture([INF, 1], [[0.0], [1.0]], [1.0, 1.0]), ValueError, "the weights must be finite"),
        (lambda: FiniteData(torch.full((2, 1), NAN)), ValueError, "the points must be finite"),
        (lambda: Gaussian([0.0], [1.0]).denoiser("flw"), ValueError, "unknown schedule 'flw'; did you mean 'flow'"),
        (lambda: TWO.denoiser()(X, Level(1.0, 1.0), Condition(label=[[0], [1]])), ValueError, r"shape \(B,\), but got .*2, 1"),
        (lambda: Denoiser(NETWORK, "flow", clamp=3), TypeError, "clamp is a function .* but got 3"),
        (lambda: Denoiser(NETWORK, "flow", sigma_data="0.5"), TypeError, "sigma_data must be a number, but got '0.5'"),
        (lambda: Denoiser(NETWORK, "flow", sigma_data=None), TypeError, "sigma_data must be a number, but got None"),
        (lambda: NoiseScheduler().sample_timesteps(4.0), ValueError, "whole number of at least 1, but got 4.0"),
        (lambda: NoiseScheduler().sample_timesteps(True), ValueError, "whole number of at least 1, but got True"),
        (lambda: NoiseScheduler().step(X, X, 5, variance=["a"]), ValueError, r"unknown variance \['a'\]"),
        (lambda: NoiseScheduler().posterior_variance(5, "fixed_smal"), ValueError, "did you mean 'fixed_small'"),
        (lambda: TrainConfig(times="unifrm"), ValueError, "unknown times 'unifrm'; did you mean 'uniform'"),
        (lambda: TrainConfig(schedule="lin"), ValueError, "unknown schedule 'lin'; did you mean 'linear'"),
        (lambda: TrainConfig(schedule=None), ValueError, "unknown schedule None"),
        (lambda: TrainConfig(schedule=["edm"]), ValueError, r"unknown schedule \['edm'\]"),
        (lambda: TrainConfig(weighting="minsnr"), ValueError, "unknown weighting 'minsnr'; did you mean 'min_snr'"),
        (lambda: TrainConfig(batch_size=True), ValueError, "batch_size must be a whole number >= 1, but is True"),
        (lambda: TrainConfig(steps=True), ValueError, "steps must be a whole number >= 1, but is True"),
        (lambda: TrainConfig(warmup=False), ValueError, "warmup must be a whole number >= 0, but is False"),
        (lambda: TrainConfig(minutes="3"), TypeError, "minutes must be a number, but got '3'"),
        (lambda: TrainConfig(dropout="a"), TypeError, "dropout must be a number, but got 'a'"),
        (lambda: TrainConfig(nosuch=3), TypeError, "TrainConfig has no option 'nosuch'"),
        (lambda: TrainConfig(batchsize=3), TypeError, "no option 'batchsize': did you mean batch_size"),
        (lambda: TrainConfig(lr=3), TypeError, "no option 'lr': did you mean learning_rate"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused_at_once(make: Callable[[], object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as seen:
        make()
    assert "\n" not in str(seen.value)


@pytest.mark.parametrize(
    ("name", "near"),
    [("DDIM", "ddim"), ("dpm++2m", "dpmpp_2m"), ("DPM++ 2M", "dpmpp_2m"), ("Euler", "euler"), ("U-NI-PC", "unipc")],
)
def test_the_nearest_name_is_found_whatever_its_case_and_signs(name: str, near: str) -> None:
    known = [n for one, entry in SOLVERS.items() for n in (one, *entry.aliases)]
    assert near in known
    assert f"did you mean {near!r}?" in str(unknown("solver", name, known))


def test_a_training_recipe_of_any_librarys_numbers_is_stored_as_plain_ones() -> None:
    for number in (np.int64, torch.tensor):
        config = TrainConfig(steps=number(3), batch_size=number(8), seed=number(1))
        assert config == TrainConfig(steps=3, batch_size=8, seed=1)
        assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_exact_denoiser_takes_a_schedules_name() -> None:
    assert TWO.denoiser("flow") == TWO.denoiser(TWO.denoiser("flow").schedule)
