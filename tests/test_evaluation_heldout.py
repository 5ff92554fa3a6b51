"""The loss by noise level, against denoisers whose error is known; and nearness to the training pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import noisepath
from noisepath.conditions import Condition
from noisepath.data import Dataset
from noisepath.evaluation.features import network_space
from noisepath.evaluation.heldout import gaussian_error, log_snrs_of, loss_by_level
from noisepath.evaluation.neighbours import nearest, nearest_ratio
from noisepath.exact import FiniteData, Gaussian
from noisepath.levels import Level

LEVELS = (-6.0, -2.5, 0.0, 1.25, 5.0, 9.0)


def _gaussian() -> tuple[Gaussian, Tensor]:
    """Four correlated values, and the variances of their principal axes."""
    random = torch.Generator().manual_seed(0)
    mix = torch.randn(4, 4, generator=random, dtype=torch.float64) / 3
    covariance = mix @ mix.T
    return Gaussian(torch.zeros(4).double(), covariance), torch.linalg.eigvalsh(covariance)


def test_the_error_of_the_exact_denoiser_is_its_closed_form() -> None:
    """E |D - x_0|^2 / d is the mean over principal axes of v sigma^2 / (alpha^2 v + sigma^2)."""
    law, variances = _gaussian()
    found = loss_by_level(law.denoiser(), law.sample(3000).float(), log_snrs=LEVELS)
    for log_snr, mean in found:
        level = Level.from_log_snr(log_snr)
        expected = float((variances * level.sigma**2 / (level.alpha**2 * variances + level.sigma**2)).mean())
        assert mean.value == pytest.approx(expected, abs=4 * mean.standard_error)
        assert mean.standard_error < 0.03 * mean.value and mean.count == 3000


def test_of_independent_values_the_relative_error_is_1_at_every_level() -> None:
    variance = 0.3
    law = Gaussian(torch.zeros(6).double(), torch.full((6,), variance).double())
    for log_snr, mean in loss_by_level(law.denoiser(), law.sample(2000).float(), log_snrs=LEVELS):
        unit = gaussian_error(log_snr, variance)
        assert mean.value / unit == pytest.approx(1.0, abs=4 * mean.standard_error / unit)


def test_the_gaussian_error_goes_from_the_variance_to_that_of_the_noise() -> None:
    assert gaussian_error(-30.0, 0.3) == pytest.approx(0.3)
    assert gaussian_error(20.0, 0.3) == pytest.approx(math.exp(-20), rel=1e-6)
    level = Level.from_log_snr(1.0)
    assert gaussian_error(1.0, 0.3) == pytest.approx(0.3 * level.sigma**2 / (level.alpha**2 * 0.3 + level.sigma**2))


def test_a_model_that_has_learned_its_pictures_by_heart_errs_on_others_alone() -> None:
    random = torch.Generator().manual_seed(0)
    seen, unseen = torch.randn(2, 30, 8, generator=random).double()
    memory = FiniteData(seen).denoiser()
    for (_, known), (_, new) in zip(
        loss_by_level(memory, seen.float(), log_snrs=[4.0]), loss_by_level(memory, unseen.float(), log_snrs=[4.0]), strict=True
    ):
        assert known.value < 1e-3 and new.value > 0.3


def test_the_noise_of_a_picture_does_not_depend_on_its_batch() -> None:
    law, _ = _gaussian()
    x = law.sample(50).float()
    whole = loss_by_level(law.denoiser(), x, log_snrs=LEVELS)
    pieces = loss_by_level(law.denoiser(), x, log_snrs=LEVELS[2:4], batch_size=7)
    assert [m.value for _, m in pieces] == pytest.approx([m.value for _, m in whole[2:4]], rel=1e-6)
    assert loss_by_level(law.denoiser(), x, log_snrs=[0.0], seed=1) != whole[2:3]


def test_the_classes_reach_the_denoiser() -> None:
    asked: list[int] = []

    def denoiser(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        assert condition is not None
        asked.extend(condition["label"].tolist())
        return x

    loss_by_level(denoiser, torch.zeros(5, 2), torch.tensor([3, 1, 4, 1, 5]), log_snrs=[0.0], batch_size=2)
    assert asked == [3, 1, 4, 1, 5]


def test_a_single_picture_has_a_mean_and_no_scatter() -> None:
    law, _ = _gaussian()
    ((_, mean),) = loss_by_level(law.denoiser(), law.sample(1).float(), log_snrs=[0.0])
    assert mean.count == 1 and mean.standard_error == 0.0 and mean.value > 0


@pytest.mark.parametrize("name", noisepath.SCHEDULES)
def test_every_schedule_is_asked_at_levels_that_it_has_and_shares_with_others(name: str) -> None:
    schedule = noisepath.schedule(name)
    levels = log_snrs_of(schedule)
    assert 8 <= len(levels) <= 25 and levels == sorted(levels)
    assert all(value % 1.25 == 0 for value in levels)
    for value in levels:
        schedule.t_of(Level.from_log_snr(value))  # an error if it lies outside


def test_a_denoiser_without_a_schedule_must_be_told_the_levels() -> None:
    law, _ = _gaussian()
    with pytest.raises(ValueError, match="say log_snrs="):
        loss_by_level(law.denoiser(), torch.zeros(2, 4))


# --- neighbours ------------------------------------------------------------------------------------------------------


def _lattice(side: int = 10) -> Dataset:
    """Pictures of two values, on a square lattice 1/8 apart, which 8 bits nearly hold."""
    points = torch.tensor([[i, j] for i in range(side) for j in range(side)]) / 8.0 - 0.5
    return Dataset(points.view(-1, 1, 1, 2))


def test_the_two_nearest_are_those_that_a_plain_search_finds() -> None:
    random = torch.Generator().manual_seed(0)
    data = Dataset((torch.rand(90, 1, 3, 4, generator=random) * 255).round() / 127.5 - 1)
    pictures = (torch.rand(13, 1, 3, 4, generator=random) * 255).round() / 127.5 - 1
    found = nearest(pictures, data, size=17)
    for k, picture in enumerate(pictures):
        apart = ((data.pictures - picture).double() ** 2).flatten(1).sum(1).sqrt()
        order = apart.argsort()[:2]
        assert found.index[k].tolist() == order.tolist()
        assert found.distance[k].tolist() == pytest.approx(apart[order].tolist(), abs=1e-5)
    whole = nearest(pictures, data)
    assert np.array_equal(found.index, whole.index)


def test_a_picture_of_the_data_is_not_its_own_neighbour() -> None:
    data = _lattice()
    x, _ = data.batch([0, 37])
    apart = nearest(x, data, apart=[0, 37])
    assert apart.distance[:, 0].tolist() == pytest.approx([0.125, 0.125], abs=0.01)
    assert 0 not in apart.index[0] and 37 not in apart.index[1]
    assert nearest(x, data).index[:, 0].tolist() == [0, 37]


def test_copies_are_told_from_new_pictures() -> None:
    """On a lattice of unit 1/8: a picture 0.03 off a point has its second neighbour at 0.095, which is less than three
    times as far, but one 0.02 off has it at 0.105, five times as far."""
    data = _lattice()
    x, _ = data.batch([44, 45, 46, 47])
    moved = x + torch.tensor([[0.0, 0.0], [0.02, 0.0], [0.04, 0.0], [0.0625, 0.0625]]).view(4, 1, 1, 2)
    assert nearest(moved, data).copied.tolist() == [True, True, False, False]


def test_a_copy_of_a_picture_that_the_data_hold_twice_is_a_copy() -> None:
    data = _lattice()
    twice = Dataset(torch.cat([data.pictures, data.pictures]))
    found = nearest(data.pictures[:3] + 0.005, twice)
    assert found.distance[:, 0] == pytest.approx(found.distance[:, 1], abs=1e-6)
    assert found.copied.all()


def test_in_a_feature_space_the_nearest_is_that_of_the_features() -> None:
    data = _lattice()
    first = network_space(lambda x: x.flatten(1)[:, :1], "first value", identity="1")
    x = torch.tensor([[[[-0.5, 5.0]]]])
    found = nearest(x, data, first)
    assert set(found.index[0].tolist()) <= set(range(10))  # all of the lattice's first column are equally near
    assert found.distance[0].tolist() == pytest.approx([0.0, 0.0], abs=1 / 255)
    assert found.same == 0.0


def test_data_of_one_picture_have_no_second() -> None:
    found = nearest(torch.zeros(2, 1, 1, 2), Dataset(torch.ones(1, 1, 1, 2)))
    assert found.index.tolist() == [[0, -1], [0, -1]] and np.isinf(found.distance[:, 1]).all()
    assert not found.copied.any()


def test_the_ratio_of_the_mean_distances_is_that_of_a_plain_search() -> None:
    real = _lattice().pictures
    assert nearest_ratio(real + torch.tensor([0.0625, 0.0]), real) == pytest.approx(0.5, rel=1e-6)
