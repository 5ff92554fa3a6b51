"""What training minimises: its targets by the textbook, its value against the truth, its draws by key."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from noisepath import noise, schedules
from noisepath.conditions import Condition
from noisepath.predictions import PREDICTIONS
from noisepath.times import Importance, LogNormal, Uniform
from noisepath.training.objective import Losses, Objective
from noisepath.training.weighting import WEIGHTINGS

SEED, STEP = 3, 5
PATHS = ["linear", "vp_cosine", "vp_linear", "flow", "edm", "sub_vp"]


def _draws(samples: range, shape: tuple[int, ...]) -> Tensor:
    return noise.normal(noise.key(SEED, STEP, "noise"), samples, shape)


def _losses(objective: Objective, network: object, x0: Tensor, **options: object) -> Losses:
    given = {"seed": SEED, "step": STEP, "samples": range(len(x0)), **options}
    return objective.losses(network, x0, **given)  # type: ignore[arg-type]


def _level(path: schedules.Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
    alpha, sigma = path.alpha_sigma(t)
    return alpha.float().view(-1, 1, 1, 1), sigma.float().view(-1, 1, 1, 1)


# what a network of each kind should say, from the papers, as a function of x_0, noise, alpha, sigma (and sigma_data 0.7)
TEXTBOOK = {
    ("noise", "linear"): lambda x0, z, a, s: z,
    ("x0", "linear"): lambda x0, z, a, s: x0,
    ("v", "linear"): lambda x0, z, a, s: a * z - s * x0,
    ("velocity", "flow"): lambda x0, z, a, s: z - x0,
    ("velocity", "edm"): lambda x0, z, a, s: z,
    ("score", "vp_linear"): lambda x0, z, a, s: -z / s,
    # EDM, eq. 8: (x_0 - c_skip (x_0 + s z)) / c_out
    ("edm", "edm"): lambda x0, z, a, s: (
        (x0 - 0.49 / (s**2 + 0.49) * (x0 + s * z)) / (s * 0.7 / (s**2 + 0.49).sqrt())
    ),
}  # fmt: skip


def _record(seen: list[Tensor], x: Tensor, t: Tensor) -> Tensor:
    seen.extend([x, t])
    return x


@pytest.mark.parametrize(("prediction", "path"), TEXTBOOK)
def test_the_target_is_the_textbooks(prediction: str, path: str) -> None:
    """A network that answers the paper's formula has no loss; one that is off by 0.1 has the loss 0.01."""
    x0 = torch.rand(16, 1, 2, 3) * 2 - 1
    z = _draws(range(16), (1, 2, 3))
    objective = Objective(schedules.schedule(path), prediction, LogNormal(), sigma_data=0.7)
    alpha, sigma = _level(objective.schedule, _losses(objective, lambda x, t: x, x0).t)
    wanted = TEXTBOOK[prediction, path](x0, z, alpha, sigma)
    size = wanted.square().mean().item()
    assert _losses(objective, lambda x, t: wanted, x0).loss.max() < 1e-9 * max(1.0, size)  # float32 rounding, squared
    assert torch.allclose(_losses(objective, lambda x, t: wanted + 0.1, x0).loss, torch.tensor(0.01), rtol=1e-2)


def test_the_network_sees_the_noisy_picture_in_its_own_scale_and_time() -> None:
    x0, z = torch.rand(8, 1, 2, 2), _draws(range(8), (1, 2, 2))
    for prediction, path in (("v", "vp_cosine"), ("edm", "edm")):
        seen: list[Tensor] = []
        objective = Objective(schedules.schedule(path), prediction, LogNormal(), sigma_data=0.7)
        t = _losses(objective, partial(_record, seen), x0).t
        alpha, sigma = _level(objective.schedule, t)
        x_t = alpha * x0 + sigma * z
        if prediction == "v":
            assert torch.allclose(seen[0], x_t, atol=1e-6)
            assert torch.allclose(seen[1], t.float())
        else:
            assert torch.allclose(seen[0], x_t / (sigma**2 + 0.49).sqrt(), atol=1e-6)
            assert torch.allclose(seen[1], (t.log() / 4).float())
        assert seen[1].shape == (8,) and seen[1].dtype == torch.float32


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("path", PATHS)
def test_on_gaussian_data_the_ideal_network_has_the_loss_that_theory_says(path: str, prediction: str, weighting: str) -> None:
    """For x_0 ~ N(0, d^2) the ideal belief errs by d^2 s^2 / (a^2 d^2 + s^2) a pixel: so much, weighted, is the loss.

    Tolerance: 5 standard errors of a mean over 40,000 squared normals each weighted alike, 5 * sqrt(2 / 40,000) = 3.5 %.
    """
    d, schedule = 0.7, schedules.schedule(path)
    objective = Objective(schedule, prediction, _At(0.3), weighting, sigma_data=d)
    x0 = d * torch.randn(40, 1, 1, 1000, generator=torch.Generator().manual_seed(0))
    level = schedule.level_at(_At(0.3).log_snr)
    a, s = level.alpha, level.sigma
    t = torch.tensor(schedule.t_of(level), dtype=torch.float64)
    c_skip, c_out, c_in, _ = PREDICTIONS[prediction].factors(schedule, t, torch.tensor(a), torch.tensor(s), d)

    def ideal(x: Tensor, c: Tensor) -> Tensor:
        x_t = x / c_in.float()
        belief = a * d**2 / (a**2 * d**2 + s**2) * x_t
        return (belief - c_skip.float() * x_t) / c_out.float()

    found = _losses(objective, ideal, x0)
    error = d**2 * s**2 / (a**2 * d**2 + s**2)
    snr = a**2 / s**2
    weights = {
        "plain": 1 / float(c_out) ** 2,
        "snr": snr,
        "min_snr": min(snr, 5.0),
        "edm": (s**2 / a**2 + d**2) / (s / a * d) ** 2,
        "sigmoid": snr / (1 + math.exp(math.log(snr))),
    }
    assert found.loss.mean().item() == pytest.approx(weights[weighting] * error, rel=0.035)


class _At:
    """All samples at one level: sigma / alpha = ``ratio``."""

    def __init__(self, ratio: float) -> None:
        self.log_snr = -2 * math.log(ratio)

    def draw(
        self, schedule: schedules.Schedule, key: int, indices: object, positions: range, total: int
    ) -> tuple[Tensor, Tensor]:
        t = torch.full((len(positions),), schedule.t_of(schedule.level_at(self.log_snr)), dtype=torch.float64)
        return t, torch.ones_like(t)


def _weight(weighting: str, log_snr: float, **options: float) -> float:
    value = WEIGHTINGS[weighting](torch.tensor([log_snr], dtype=torch.float64), sigma_data=0.5, **options)
    assert value is not None
    return float(value)


def test_weightings_stay_finite_in_logarithms_and_have_their_limits() -> None:
    assert _weight("min_snr", 800.0) == pytest.approx(math.log(5.0))
    assert _weight("min_snr", 800.0, gamma=1.0) == pytest.approx(0.0)
    assert _weight("edm", -800.0) == pytest.approx(math.log(4.0))  # 1 / sigma_data^2
    assert _weight("edm", 800.0) == pytest.approx(800.0)
    assert _weight("sigmoid", 800.0, bias=1.0) == pytest.approx(1.0)  # snr * exp(bias - log_snr)
    assert _weight("sigmoid", -800.0) == pytest.approx(-800.0)


@pytest.mark.parametrize(("prediction", "path", "same"), [("noise", "linear", "snr"), ("edm", "edm", "edm")])
def test_plain_is_the_predictions_own_weighting(prediction: str, path: str, same: str) -> None:
    x0 = torch.rand(16, 1, 2, 2)
    plain, named = (
        _losses(Objective(schedules.schedule(path), prediction, LogNormal(), w, sigma_data=0.6), lambda x, t: x, x0).loss
        for w in ("plain", same)
    )
    assert torch.allclose(plain, named, rtol=1e-5)


def test_a_batch_in_parts_has_the_losses_of_the_whole() -> None:
    x0, label = torch.rand(10, 1, 3, 3), torch.arange(10) % 3
    objective = Objective(schedules.schedule("edm"), "edm", Uniform(), drop=0.4)
    null = Condition(label=torch.tensor([3]))

    def network(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return x * (1 + label.view(-1, 1, 1, 1))

    whole = _losses(objective, network, x0, condition=Condition(label=label), null=null)
    parts = [
        _losses(
            objective, network, x0[p.start : p.stop], condition=Condition(label=label[p.start : p.stop]), null=null,
            samples=p, positions=p, total=10,
        )
        for p in (range(0, 3), range(3, 10))
    ]  # fmt: skip
    assert torch.equal(torch.cat([p.t for p in parts]), whole.t)
    assert torch.allclose(torch.cat([p.loss for p in parts]), whole.loss, rtol=1e-6)


def test_draws_depend_on_seed_step_and_sample() -> None:
    objective, x0 = Objective(schedules.schedule("flow"), "velocity", Uniform()), torch.rand(4, 1, 3, 3)
    base = _losses(objective, lambda x, t: x, x0)
    for change in ({"seed": 4}, {"step": 6}, {"samples": range(1, 5)}):
        other = _losses(objective, lambda x, t: x, x0, **change)
        assert not torch.isclose(other.t, base.t).all() and not torch.isclose(other.loss, base.loss).all()
    again = _losses(objective, lambda x, t: x, x0)
    assert torch.equal(again.loss, base.loss) and torch.equal(again.t, base.t)
    moved = _losses(objective, lambda x, t: x, x0, samples=range(1, 5))
    assert torch.equal(moved.t[:-1], base.t[1:])  # sample 1 is sample 1 wherever it stands


def test_the_condition_is_dropped_for_its_share_and_independently_of_the_noise() -> None:
    """4,000 draws of a share of 0.3: within 5 standard errors, 5 * sqrt(0.21 / 4,000) = 0.036."""
    seen: list[Tensor] = []

    def network(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        seen.append(label)
        return x

    objective = Objective(schedules.schedule("flow"), "velocity", Uniform(), drop=0.3)
    x0, told, null = (
        torch.zeros(4000, 1, 1, 1),
        Condition(label=torch.ones(4000, dtype=torch.int64)),
        Condition(label=torch.tensor([2])),
    )
    t = _losses(objective, network, x0, condition=told, null=null).t
    hidden = seen[0] == 2
    assert hidden.float().mean().item() == pytest.approx(0.3, abs=0.036)
    assert (seen[0][~hidden] == 1).all()
    # times of dropped and kept samples have the same mean, 0.5, to 5 standard errors of the difference
    assert abs(float(t[hidden].mean() - t[~hidden].mean())) < 5 * math.sqrt(1 / 12 * (1 / 1200 + 1 / 2800))


def test_the_weight_of_the_times_sampler_is_passed_on_beside_the_loss() -> None:
    times = Importance(history=1, mixing=0.5)
    schedule = schedules.schedule("linear", num_timesteps=4, beta_start=0.1, beta_end=0.5)
    objective = Objective(schedule, "noise", times)
    x0 = torch.rand(64, 1, 2, 2)
    assert torch.equal(_losses(objective, lambda x, t: x, x0).weight, torch.ones(64))
    times.update(torch.arange(4.0), torch.tensor([1.0, 2.0, 3.0, 4.0]))
    found = _losses(objective, lambda x, t: x, x0)
    share = 0.5 * torch.tensor([1.0, 2.0, 3.0, 4.0]) / 10 + 0.125
    assert torch.allclose(found.weight, (1 / (4 * share))[found.t.long()], rtol=1e-6)
    assert torch.equal(found.weighted, found.weight * found.loss)


@pytest.mark.parametrize("prediction", ["noise", "score", "edm"])
def test_predictions_that_say_nothing_about_pure_noise_are_refused_on_a_table_that_ends_there(prediction: str) -> None:
    schedule = schedules.schedule("linear", zero_terminal_snr=True)
    with pytest.raises(ValueError, match=r"pure noise .* predictions that do: x0, v, velocity"):
        Objective(schedule, prediction, Uniform())
    Objective(schedule, "v", Uniform())


@pytest.mark.parametrize("prediction", ["x0", "v", "velocity"])
def test_training_at_pure_noise_is_finite_where_it_means_something(prediction: str) -> None:
    class Last(_At):
        def draw(
            self, schedule: schedules.Schedule, key: int, indices: object, positions: range, total: int
        ) -> tuple[Tensor, Tensor]:
            return torch.full((len(positions),), 999.0, dtype=torch.float64), torch.ones(len(positions)).double()

    objective = Objective(schedules.schedule("linear", zero_terminal_snr=True), prediction, Last(1.0))
    assert _losses(objective, lambda x, t: x, torch.rand(4, 1, 2, 2)).loss.isfinite().all()


def test_a_level_without_a_target_and_a_wrong_shape_are_errors_at_once() -> None:
    class Clean(_At):
        def draw(
            self, schedule: schedules.Schedule, key: int, indices: object, positions: range, total: int
        ) -> tuple[Tensor, Tensor]:
            return torch.zeros(len(positions)).double(), torch.ones(len(positions)).double()

    x0 = torch.rand(2, 1, 2, 2)
    with pytest.raises(ValueError, match="'velocity' can't be trained at t = 0"):
        _losses(Objective(schedules.schedule("flow"), "velocity", Clean(1.0)), lambda x, t: x, x0)
    with pytest.raises(ValueError, match=r"gives shape \(2, 1, 2\) for pictures of shape \(2, 1, 2, 2\)"):
        _losses(Objective(schedules.schedule("flow"), "velocity", Uniform()), lambda x, t: x[..., 0], x0)
    with pytest.raises(ValueError, match="did you mean 'min_snr'"):
        Objective(schedules.schedule("flow"), "velocity", Uniform(), "minsnr")
    with pytest.raises(ValueError, match="unknown prediction"):
        Objective(schedules.schedule("flow"), "nosuch", Uniform())
