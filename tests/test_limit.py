"""The limit: exact where a network is, of the least error where it is not, and no part of what needs none."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import noisepath
from noisepath import noise
from noisepath.conditions import Condition
from noisepath.data import Dataset, digits
from noisepath.data_stats import DataStats, LinearEstimate
from noisepath.denoiser import Denoiser
from noisepath.exact import Exact, Gaussian, Mixture
from noisepath.levels import Level
from noisepath.limit import Limit, is_null, ramp
from noisepath.schedules import SCHEDULES, Schedule
from noisepath.training import TrainConfig
from noisepath.training.limit import Limits, Probe, limited_log_snrs, measure_limit, probe_of
from noisepath.training.run import build
from noisepath.training.trainer import Trainer

LINEAR, COSINE, FLOW = (noisepath.schedule(name) for name in ("linear", "cosine", "flow"))
MIXTURE = Mixture([0.3, 0.7], [[1.0, -0.5, 0.2], [-0.6, 0.4, 0.0]], torch.tensor([0.04, 0.2]))
NULL = Condition(label=torch.tensor([2]))


def noise_network(path: Schedule, truth: Exact, error: float) -> Callable[..., Tensor]:
    """A noise prediction that errs by ``error`` times a normal number of its own."""

    def network(x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        level = path.level(float(t[0]))
        exact = (x.double() - level.alpha * truth.belief(x.double(), level, label)) / level.sigma
        return (exact + error * noise.normal(noise.key(1, repr(level)), range(len(x)), x.shape[1:])).to(x.dtype)

    return network


def _estimate(truth: Exact) -> LinearEstimate:
    return LinearEstimate.measure(truth.sample(20_000))


def _measured(path: Schedule, truth: Exact, error: float, n: int = 4096) -> Limit:
    raw = Denoiser(noise_network(path, truth, error), path, "noise")
    log_snrs = limited_log_snrs(path, "noise", 0.5)
    return measure_limit(raw, _estimate(truth), log_snrs, Probe(truth.sample(n, seed=9), None), batch_size=n)


def test_an_ideal_network_is_followed_everywhere() -> None:
    """D - L and x_0 - D are orthogonal: the measured weight is 1 - e with e about |x_0 - D| / (|D - L| sqrt(values))."""
    limit = _measured(LINEAR, MIXTURE, 0.0)
    for log_snr, weight in zip(limit.log_snrs, limit.cond, strict=True):
        level, x0 = Level.from_log_snr(log_snr), MIXTURE.sample(4096, seed=9)
        x = level.alpha * x0 + level.sigma * noise.normal(3, range(4096), (3,)).double()
        exact = MIXTURE.belief(x, level)
        linear = limit.estimate(x, level.alpha, level.sigma)
        error = float((x0 - exact).square().mean().sqrt() / (exact - linear).square().mean().sqrt())
        assert weight == 1.0 or 1.0 - weight < 5 * error / math.sqrt(3 * 4096), log_snr


@pytest.mark.parametrize("error", [0.02, 0.3])
def test_the_weight_is_that_of_the_least_error(error: float) -> None:
    """For D = D* + c_out error z: w = E|D* - L|^2 / (E|D* - L|^2 + (c_out error)^2)."""
    limit = _measured(COSINE, MIXTURE, error)
    denoiser = Denoiser(lambda x, t: x, COSINE, "noise")
    for log_snr, weight in zip(limit.log_snrs, limit.cond, strict=True):
        level, x0 = Level.from_log_snr(log_snr), MIXTURE.sample(4096, seed=11)
        x = level.alpha * x0 + level.sigma * noise.normal(4, range(4096), (3,)).double()
        linear = limit.estimate(x, level.alpha, level.sigma)
        gain = float((MIXTURE.belief(x, level) - linear).square().mean())
        moved = gain + (denoiser.factors(level)[1] * error) ** 2
        spread = math.sqrt(float((x0 - linear).square().mean()) / moved / (3 * 4096))  # of a measured weight
        assert weight == pytest.approx(gain / moved, abs=5 * spread + 0.02), log_snr


def test_a_network_that_says_nothing_has_no_weight_on_gaussian_data() -> None:
    """Of noise it says 0, so that D = x / alpha; but x_0 - L is orthogonal to all that x says, also to D - L."""
    truth, n = Gaussian([0.0] * 3, [1.0] * 3), 4096
    raw, log_snrs = Denoiser(lambda x, t: torch.zeros_like(x), LINEAR, "noise"), (-3.0, -2.0, -1.0)
    limit = measure_limit(raw, _estimate(truth), log_snrs, Probe(truth.sample(n, seed=9), None))
    for log_snr, weight in zip(log_snrs, limit.cond, strict=True):  # it scatters by alpha / sigma over sqrt(values)
        assert weight < 5 * math.exp(log_snr / 2) / math.sqrt(3 * n), log_snr


def test_on_gaussian_data_any_weight_is_exact() -> None:
    truth = Gaussian([0.5, -0.5], [[0.09, 0.03], [0.03, 0.04]])
    values, axes = torch.linalg.eigh(torch.tensor([[0.09, 0.03], [0.03, 0.04]], dtype=torch.float64))
    estimate = LinearEstimate("principal", torch.tensor([[0.5, -0.5]]), torch.stack([values.float()] * 2), axes.T.float())
    limit = Limit(estimate, (-20.0, 0.0), (0.1, 0.6), (0.3, 0.9))
    model = Denoiser(noise_network(LINEAR, truth, 0.0), LINEAR, "noise", limit=limit, data_stats=DataStats(std=0.3))
    x = torch.randn(50, 2, dtype=torch.float64)
    for t in (999, 700, 400, 100):
        level = LINEAR.level(t)
        torch.testing.assert_close(model(x * level.sigma, level), truth.belief(x * level.sigma, level), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("error", "path"), [(0.01, COSINE), (0.05, COSINE), (0.05, LINEAR), (0.05, FLOW)])
def test_samples_of_a_network_that_errs_have_the_moments_of_the_data(error: float, path: Schedule) -> None:
    """Without the limit 5 % of error make a deviation of hundreds (on a flow there is no answer at the start at all)."""
    truth = Gaussian([0.2] * 16, [0.09] * 16)
    made = {}
    for limit in (_measured(path, truth, error), None):
        model = Denoiser(noise_network(path, truth, error), path, "noise", limit=limit, data_stats=DataStats(std=0.3))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made[limit is None] = noisepath.sample(model, (1000, 16))
        except ValueError:
            assert path is FLOW and limit is None
    scatter = 0.3 / math.sqrt(16_000)
    assert abs(float(made[False].mean()) - 0.2) < 5 * scatter + 0.01
    assert abs(float(made[False].std()) - 0.3) < 5 * scatter + 0.02
    assert error < 0.05 or path is not COSINE or made[True].std() > 3


@pytest.mark.parametrize("prediction", ["x0", "v", "velocity", "edm"])
@pytest.mark.parametrize("schedule", ["vp_cosine", "flow", "edm", "linear", "sub_vp"])
def test_what_needs_no_limit_is_untouched_to_the_bit(schedule: str, prediction: str) -> None:
    """Wherever |c_out| is no larger than 1, whatever limit there is."""
    path = SCHEDULES[schedule]()
    if prediction == "velocity" and schedule not in ("vp_cosine", "flow"):
        return  # there c_out is larger, and answers are limited
    limit = Limit(_estimate(MIXTURE), (-20.0, 20.0), (0.0, 0.0), (0.0, 0.0))
    network = lambda x, t: torch.tanh(x)  # noqa: E731
    with_limit = Denoiser(network, path, prediction, limit=limit, data_stats=DataStats(std=0.5))
    without = Denoiser(network, path, prediction)
    x = torch.randn(4, 3)
    for share in (0.05, 0.3, 0.6, 0.9, 0.99):
        level = path.level(path.t_min + share * (path.t_max - path.t_min))
        assert torch.equal(with_limit(x, level), without(x, level))
    only_at_noise = prediction == "edm" and path.level(path.t_max).is_noise
    assert len(limited_log_snrs(path, prediction, 0.5)) == only_at_noise


def test_the_ramp_is_exactly_none_up_to_the_deviation_and_whole_from_twice_that() -> None:
    assert [ramp(c, 0.3) for c in (0.0, 0.9, -1.41, math.sqrt(2.0))] == [0.0] * 4
    assert ramp(2.0, 0.3) == pytest.approx(0.5) and ramp(-2.83, 0.3) == ramp(math.inf, 0.3) == 1.0
    assert ramp(2.0, 2.0) == 0.0 and ramp(4.0, 2.0) == 1.0
    limit = Limit(_estimate(MIXTURE), (-4.0, -2.0), (0.2, 0.6), (0.4, 0.8))
    assert limit.weights(-3.0, 5.0) == pytest.approx((0.4, 0.6)) and limit.weights(-9.0, 5.0) == (0.2, 0.4)
    assert limit.weights(-3.0, 0.5) == (1.0, 1.0)


def test_a_network_is_followed_where_its_error_is_no_larger_than_the_deviation_of_the_data() -> None:
    limit = Limit(_estimate(MIXTURE), (-20.0, 20.0), (0.0, 0.0), (0.0, 0.0))
    network = lambda x, t: torch.zeros_like(x)  # noqa: E731
    x, level = torch.randn(4, 3), Level.from_log_snr(-2 * math.log(2.5))  # |c_out| is sigma / alpha
    raw = Denoiser(network, LINEAR, "noise")(x, level)
    for std, followed in ((3.0, True), (0.5, False)):
        model = Denoiser(network, LINEAR, "noise", limit=limit, data_stats=DataStats(std=std))
        assert torch.equal(model(x, level), raw) == followed


def test_rows_without_a_condition_have_weight_and_mean_of_their_own() -> None:
    x0, labels = MIXTURE.sample(2000), torch.arange(2000) % 2
    estimate = LinearEstimate.measure(x0 + labels[:, None], labels, 2)
    limit = Limit(estimate, (-20.0, 0.0), (0.25, 0.25), (0.75, 0.75))
    network = lambda x, t, label=None: torch.zeros_like(x)  # noqa: E731
    model = Denoiser(network, LINEAR, "noise", limit=limit, null=NULL)
    raw = Denoiser(network, LINEAR, "noise", null=NULL)
    x, level = torch.randn(3, 3), LINEAR.level(900)
    condition = Condition(label=torch.tensor([0, 1, 2]))
    linear = estimate(x, level.alpha, level.sigma, condition["label"])
    w = torch.tensor([0.25, 0.25, 0.75])[:, None]
    torch.testing.assert_close(model(x, level, condition), linear + w * (raw(x, level, condition) - linear))
    alone = estimate(x, level.alpha, level.sigma)
    torch.testing.assert_close(model(x, level), alone + 0.75 * (raw(x, level) - alone))


def test_rows_that_say_nothing_are_known_by_every_part() -> None:
    null = Condition(label=torch.tensor([3]), age=torch.tensor([[math.nan, math.nan]]))
    condition = Condition(label=torch.tensor([3, 3, 1]), age=torch.tensor([[math.nan] * 2, [math.nan, 1.0], [math.nan] * 2]))
    assert is_null(condition, null).tolist() == [True, False, False]
    assert is_null(condition, None).tolist() == [False] * 3


@pytest.mark.parametrize("prediction", ["noise", "score", "edm"])
def test_at_pure_noise_the_answer_is_the_mean_given_the_condition(prediction: str) -> None:
    x0, labels = MIXTURE.sample(2000), torch.arange(2000) % 2
    estimate = LinearEstimate.measure(x0 + labels[:, None], labels, 2)
    limit = Limit(estimate, (-20.0, 0.0), (0.5, 0.5), (0.5, 0.5))
    model = Denoiser(lambda x, t, label=None: x, FLOW, prediction, limit=limit, null=NULL)
    found = model(torch.randn(3, 3), Level(0.0, 1.0), Condition(label=torch.tensor([0, 1, 2])))
    torch.testing.assert_close(found, estimate.means)


def test_a_range_clamps_where_the_error_is_larger_than_it_and_nowhere_else() -> None:
    network = lambda x, t: torch.zeros_like(x)  # noqa: E731
    model = Denoiser(network, LINEAR, "noise", data_stats=DataStats(range=(-1, 1)))
    raw = Denoiser(network, LINEAR, "noise")
    x = 3 * torch.randn(100, 3)
    noisy, clean = LINEAR.level(900), LINEAR.level(100)
    assert raw(x, noisy).abs().max() > 10 and model(x, noisy).abs().max() == 1.0
    assert raw(x, clean).abs().max() > 1.0 and torch.equal(model(x, clean), raw(x, clean))


@pytest.mark.parametrize("prediction", ["noise", "score"])
def test_a_network_that_nothing_holds_is_warned_of_once(prediction: str) -> None:
    model = Denoiser(lambda x, t: torch.zeros_like(x), LINEAR, prediction)
    with pytest.warns(UserWarning, match=r"sigma / alpha from [\d.]+ to 157.*data_stats=noisepath.DataStats\(range="):
        noisepath.sample(model, (2, 3), steps=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="these samples go")  # of networks that know nothing
        noisepath.sample(model, (2, 3), steps=3)
        noisepath.sample(Denoiser(lambda x, t: x, LINEAR, prediction), (2, 3), steps=3, strength=0.5, start=torch.zeros(2, 3))
        noisepath.sample(Denoiser(lambda x, t: x, LINEAR, "v"), (2, 3), steps=3)
        noisepath.sample(Denoiser(lambda x, t: x, LINEAR, prediction, data_stats=DataStats(range=(-1, 1))), (2, 3), steps=3)


@pytest.mark.parametrize("prediction", ["noise", "score"])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "flow", "vp_linear"])
def test_a_limit_is_measured_wherever_errors_are_multiplied(schedule: str, prediction: str) -> None:
    found = limited_log_snrs(SCHEDULES[schedule](), prediction, 0.5)
    assert len(found) > 4 and all(a < b for a, b in zip(found, found[1:], strict=False))
    assert -1.5 < found[-1] < -0.5  # up to |c_out| = sqrt(2): sigma / alpha, or sigma^2 / alpha


@pytest.mark.parametrize(
    ("log_snrs", "weights", "match"),
    [((), (), "a weight of each kind"), ((0.0, -1.0), (1.0, 1.0), "rise"), ((0.0,), (1.5,), r"\[0, 1\]")],
)
def test_a_limit_that_is_none_is_refused(log_snrs: tuple[float, ...], weights: tuple[float, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Limit(_estimate(MIXTURE), log_snrs, weights, weights)


@pytest.mark.parametrize(("name", "value"), [("limit", 0.5), ("data_stats", (-1, 1)), ("preconditioning", "units")])
def test_a_denoiser_takes_a_limit_statistics_and_preconditioning_and_nothing_like_them(name: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError), match=name.split("_")[0]):
        Denoiser(lambda x, t: x, LINEAR, "noise", **{name: value})  # type: ignore[arg-type]


class _Knowing(torch.nn.Module):
    """Says nothing of the noise, but knows the mean of each class better than a handful of samples do."""

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x)

    def mean_image(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        return (torch.zeros(len(x)) if label is None else label.float() * 2 - 1)[:, None].expand(x.shape).to(x.dtype)


def test_a_network_that_knows_the_mean_given_the_condition_is_asked_for_it() -> None:
    labels = torch.arange(2000) % 2
    x0 = 0.1 * torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)) + (labels * 2.0 - 1.0)[:, None]
    estimate = LinearEstimate.measure(x0)  # which knows of no class
    raw = Denoiser(_Knowing(), LINEAR, "noise", null=NULL)
    log_snrs = limited_log_snrs(LINEAR, "noise", 0.5)
    probe = Probe(x0[:512], Condition(label=labels[:512]))
    limit = measure_limit(raw, estimate, log_snrs, probe)
    assert limit.mean_image and not measure_limit(raw, LinearEstimate.measure(x0, labels, 2), log_snrs, probe).mean_image
    model = Denoiser(_Knowing(), LINEAR, "noise", null=NULL, limit=limit)
    found = model(torch.randn(2, 3), LINEAR.level(999), Condition(label=torch.tensor([0, 1])))
    torch.testing.assert_close(found, torch.tensor([[-1.0], [1.0]]).expand(2, 3), rtol=0, atol=0.1)
    assert Limit.from_dict(limit.to_dict(), estimate).mean_image


# The limit of a run's averages ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    """At step 0, where a network gives 0 and its denoised estimate is x / alpha; and another average that gives 1."""
    config = TrainConfig(schedule="linear", prediction="noise", channels=(8,), blocks=1, attention=(), precision="float32")
    built = build(digits(), config)
    trainer = built.make(built.config, 1)
    network = deepcopy(trainer.network)
    with torch.no_grad():
        next(p for p in reversed(list(network.parameters())) if p.shape == (1,)).fill_(1.0)
    trainer.averages["model-long"].load_state_dict(network.state_dict())
    return trainer


def _inverted(count: int) -> Dataset:
    """Digits that are nothing like the others: black on white."""
    data = digits().subset(range(count))
    return replace(data, pictures=-data.pictures)


def test_a_run_measures_its_network_unclamped_on_what_is_held_out(trainer: Trainer) -> None:
    limits = Limits(trainer, _inverted(40))
    estimate = limits.estimate
    assert estimate is not None
    raw = Denoiser(lambda x, t, label=None: torch.zeros_like(x), LINEAR, "noise", null=trainer.null)
    data = _inverted(40)
    probe = probe_of(digits(), data, 32, lambda data, rows: trainer.vocabulary.told(data, rows))
    assert all(any(torch.equal(x, y) for y in data.pictures) for x in probe.x0)
    wanted, found = measure_limit(raw, estimate, limits.log_snrs, probe), limits.limit()
    assert found is not None and max(found.cond) > 0.2
    assert (found.cond, found.uncond) == (pytest.approx(wanted.cond, abs=1e-4), pytest.approx(wanted.uncond, abs=1e-4))


def test_too_few_held_out_samples_are_not_measured_on() -> None:
    few = probe_of(digits(), _inverted(4), 8, lambda data, rows: None)
    assert torch.equal(few.x0[0], digits().pictures[0]) and len(few.x0) == 8


def test_each_average_has_a_limit_of_its_own(trainer: Trainer) -> None:
    limits = Limits(trainer, None)
    found = {name: limits.denoiser(name).limit for name in trainer.averages}
    assert found == limits.measured and found["model"].cond != found["model-long"].cond  # type: ignore[union-attr]
    assert limits.to_dict() == {name: limit.to_dict() for name, limit in limits.measured.items()}
