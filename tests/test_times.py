"""Every timestep sampler against its own distribution function, and importance sampling against what it promises.

Seeds are fixed, so nothing here is random from run to run.  Shares of N draws are compared within 4.5 standard errors,
which a right sampler misses once in 150,000 comparisons.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from noisepath.noise import key
from noisepath.schedules import EDM, SCHEDULES, Discrete, Flow, Schedule, Shifted, Stretch, VPCosine, VPLinear, begun, schedule
from noisepath.tables import DiffusionConfig
from noisepath.times import TIMES, Balanced, Importance, LogitNormal, LogNormal, Stratified, TimestepSampler, Uniform

N = 20_000
TABLE = Discrete(config=DiffusionConfig(num_timesteps=50, beta_end=0.3))
DARK = Discrete(config=DiffusionConfig(num_timesteps=50, zero_terminal_snr=True))
CONTINUOUS = ("log_normal", "balanced")
"""Which live on the axis of noise levels also where there is a table."""
PATHS: dict[str, Schedule] = {**{name: schedule(name) for name in SCHEDULES}, "short table": TABLE, "dark table": DARK}


def draw(sampler: TimestepSampler, path: Schedule, n: int = N, seed: int = 7) -> tuple[Tensor, Tensor]:
    return sampler.draw(path, key(seed), range(n), range(n), n)


def fits(values: Tensor, cdf: Callable[[float], float], at: list[float]) -> None:
    """Is the share of values up to each point what the distribution function says?"""
    for x in at:
        true, share = cdf(x), float((values <= x).double().mean())
        assert abs(share - true) <= 4.5 * math.sqrt(true * (1 - true) / len(values)) + 1e-12, (x, share, true)


def normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def filled(losses: list[float], history: int = 3, mixing: float = 0.001) -> Importance:
    """An importance sampler whose history at t is full of losses[t]."""
    sampler = Importance(history=history, mixing=mixing)
    draw(sampler, Discrete(config=DiffusionConfig(num_timesteps=len(losses))), 1)
    for _ in range(history):
        sampler.update(range(len(losses)), losses)
    return sampler


LINEAR = schedule("linear")
DERIVED: dict[str, Schedule] = {
    "shifted table": Shifted(TABLE, 3.0),
    "shifted flow": Shifted(Flow(), 3.0),
    "stretch of a table": Stretch(LINEAR, 900.0, 500.0),
    "stretch of a table between entries": Stretch(TABLE, 40.25, 3.5),
    "stretch within a step of a table": Stretch(TABLE, 7.75, 7.25),
    "stretch of a flow": Stretch(Flow(), 0.8, 0.25),
    "stretch of edm": Stretch(EDM(), 10.0, 0.1),
    "stretch of a shifted table": Stretch(Shifted(TABLE, 0.5), 30.0, 10.0),
    "shifted stretch": Shifted(Stretch(TABLE, 30.0, 10.0), 2.0),
    "stretch of a stretch": Stretch(Stretch(TABLE, 30.0, 10.0), 20.0, 15.5),
    "begun midway": begun(DARK, 0.6),
}


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("path", DERIVED.values(), ids=DERIVED)
def test_times_of_a_derived_schedule_lie_within_it_and_reach_its_ends(name: str, path: Schedule) -> None:
    if name == "importance" and path.num_timesteps is None:
        return
    sampler = TIMES[name](mean=0.0, std=3.0) if name in CONTINUOUS else TIMES[name]()
    t, _ = draw(sampler, path, 8000)
    low, high = path.t_min, path.t_max
    assert float(t.min()) >= low and float(t.max()) <= high
    # of 8,000 draws some lie in the first and the last hundredth of the way, of times or (log-normal ones) of noise
    where, ends = t, [low, high]
    if name in CONTINUOUS:
        where, ends = path.log_snr(t), path.log_snr(torch.tensor([high, low], dtype=torch.float64)).tolist()
    if all(map(math.isfinite, ends)):
        reach = 0.25 if name == "logit_normal" else 0.02  # which is rare at the ends
        slack = reach * (ends[1] - ends[0]) + (0.0 if path.num_timesteps is None else 1.0)
        assert float(where.min()) <= ends[0] + slack and float(where.max()) >= ends[1] - slack
    if path.num_timesteps is not None and name not in CONTINUOUS:
        assert set(t.tolist()) <= {low, high, *map(float, range(math.ceil(low), math.floor(high) + 1))}
        assert len(set(path.entries(torch.arange(path.num_timesteps)).tolist())) == path.num_timesteps


@pytest.mark.parametrize("path", [Stretch(TABLE, 12.0, 8.0), Stretch(TABLE, 11.5, 8.25)])
def test_importance_learns_the_losses_of_a_stretch_at_its_own_times(path: Schedule) -> None:
    sampler = Importance(history=2, mixing=0.0)
    draw(sampler, path, 1)
    times = path.entries(torch.arange(5)).tolist()
    for _ in range(2):
        sampler.update(times, [1.0, 1.0, 1.0, 1.0, 16.0])
    t, weight = draw(sampler, path)
    share = float((t == times[-1]).double().mean())
    assert abs(share - 0.8) <= 4.5 * math.sqrt(0.8 * 0.2 / N)
    torch.testing.assert_close(weight[t == times[-1]], torch.full((int((t == times[-1]).sum()),), 0.25, dtype=torch.float64))
    with pytest.raises(ValueError, match="none of the timesteps that are kept"):
        sampler.update([3.0], [1.0])


# ------------------------------------------------------------------------------------------------- the whole catalogue


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_times_lie_within_the_run_and_are_whole_on_tables(name: str, path: Schedule) -> None:
    if name == "importance" and path.num_timesteps is None:
        with pytest.raises(ValueError, match="needs a table: use cut"):
            draw(TIMES[name](), path, 10)
        return
    t, weight = draw(TIMES[name](), path, 2000)
    assert t.dtype == weight.dtype == torch.float64 and t.shape == weight.shape == (2000,)
    assert float(t.min()) >= path.t_min and float(t.max()) <= path.t_max
    assert torch.isfinite(path.log_snr(t)).all() or name not in CONTINUOUS
    if path.num_timesteps is not None and name not in CONTINUOUS:
        assert torch.equal(t, t.round())
    torch.testing.assert_close(weight, torch.ones_like(weight), rtol=1e-12, atol=0)  # importance: no history yet


@pytest.mark.parametrize("name", TIMES)
def test_a_samples_time_is_its_own_whatever_the_batch_and_the_order(name: str) -> None:
    sampler, indices = TIMES[name](), [5, 900, 17, 3, 44, 8]
    t, weight = sampler.draw(TABLE, key(1), indices, range(6), 6)
    some = [4, 1, 2]
    part, part_weight = sampler.draw(TABLE, key(1), [indices[i] for i in some], some, 6)
    assert torch.equal(part, t[some]) and torch.equal(part_weight, weight[some])


@pytest.mark.parametrize("name", TIMES)
def test_another_key_gives_other_times(name: str) -> None:
    path = VPLinear() if name != "importance" else TABLE
    assert not torch.equal(draw(TIMES[name](), path, 100, 1)[0], draw(TIMES[name](), path, 100, 2)[0])


@pytest.mark.parametrize("name", TIMES)
def test_a_batch_that_does_not_fit_together_is_an_error(name: str) -> None:
    sampler = TIMES[name]()
    with pytest.raises(ValueError, match="2 indices but 3 positions"):
        sampler.draw(TABLE, 1, [1, 2], [0, 1, 2], 3)
    for positions in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match=r"positions must lie in 0..2"):
            sampler.draw(TABLE, 1, [1, 2], positions, 3)
    t, weight = sampler.draw(TABLE, 1, [], [], 3)
    assert t.shape == weight.shape == (0,)


# -------------------------------------------------------------------------------------------------------- one by one


@pytest.mark.parametrize("sampler", [Uniform(), Stratified()])
def test_uniform_and_stratified_times_are_even(sampler: TimestepSampler) -> None:
    fits(draw(sampler, TABLE)[0], lambda t: (math.floor(t) + 1) / 50, [0, 1, 10, 24, 37, 48])
    fits(draw(sampler, VPLinear())[0], lambda t: (t - 1e-3) / (1 - 1e-3), [0.01, 0.1, 0.5, 0.9])
    fits(draw(sampler, EDM())[0], lambda t: (t - 0.002) / (80 - 0.002), [1.0, 20.0, 70.0])
    assert sorted(set(draw(sampler, TABLE)[0].tolist())) == list(range(50))


def test_stratified_times_fill_every_slice_once_wherever_the_samples_are() -> None:
    t, _ = Stratified().draw(TABLE, key(3), range(100, 150), range(50), 50)
    assert t.tolist() == list(range(50))
    halves = [Stratified().draw(Flow(), key(3), range(a, a + 8), range(a, a + 8), 16)[0] for a in (0, 8)]
    assert torch.equal((torch.cat(halves) * 16).floor(), torch.arange(16).double())


def test_stratified_means_scatter_less_than_independent_ones() -> None:
    means = {
        type(sampler): torch.stack([draw(sampler, Flow(), 32, seed)[0].mean() for seed in range(200)])
        for sampler in (Uniform(), Stratified())
    }
    # 1 / sqrt(12 n) against 1 / sqrt(12 n^3): 32 times less; 200 repeats know each spread to 5 %
    assert float(means[Uniform].std() / means[Stratified].std()) == pytest.approx(32, rel=0.3)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-1.0, 0.5), (2.0, 1.5)])
def test_logit_normal_times_have_a_normal_logit(mean: float, std: float) -> None:
    def cdf(t: float) -> float:
        return normal_cdf((math.log(t / (1 - t)) - mean) / std)

    fits(draw(LogitNormal(mean, std), Flow())[0], cdf, [0.05, 0.2, 0.5, 0.7, 0.95])
    fits(draw(LogitNormal(mean, std), TABLE)[0], lambda t: cdf((t + 1) / 50), [2, 9, 24, 34, 47])


LOG_NORMAL_PATHS: dict[str, Schedule] = {
    "edm": EDM(),
    "narrow edm": EDM(sigma_min=0.1, sigma_max=0.5),
    "flow": Flow(),
    "vp_linear": VPLinear(),
    "vp_cosine": VPCosine(),
    "table": TABLE,
    "dark table": DARK,
}


@pytest.mark.parametrize(("mean", "std"), [(-1.2, 1.2), (0.5, 0.3), (-6.0, 2.0), (-14.0, 1.0)])
@pytest.mark.parametrize("path", LOG_NORMAL_PATHS.values(), ids=LOG_NORMAL_PATHS)
def test_log_normal_noise_is_a_normal_cut_exactly_to_the_schedules_range(path: Schedule, mean: float, std: float) -> None:
    t, _ = draw(LogNormal(mean, std), path)
    last = path.t_max - (path is DARK)  # at its last step the dark table has no signal and no log-SNR
    low, high = (-path.log_snr(torch.tensor([path.t_min, last], dtype=torch.float64)) / 2).tolist()
    noise = -path.log_snr(t) / 2

    # in tails the difference of two distribution functions near 1 has no digits: take it from the other side
    def tail(x: float) -> float:
        return normal_cdf((mean - x) / std)

    def cdf(x: float) -> float:
        return (tail(low) - tail(x)) / (tail(low) - tail(high))

    near, far = max(low, mean - 2 * std), min(high, mean + 2 * std)
    if near > far:  # all of the normal lies below the range
        near, far = low, low + 0.5 * std
    fits(noise, cdf, [near + part * (far - near) for part in (0.1, 0.3, 0.5, 0.7, 0.9)])
    assert float(noise.min()) >= low - 1e-9 and float(noise.max()) <= high + 1e-9


def test_log_normal_far_off_the_range_is_an_error_not_a_nan() -> None:
    with pytest.raises(ValueError, match="no mass within the schedule's noise levels"):
        draw(LogNormal(mean=-200.0, std=1.0), EDM(), 10)
    with pytest.raises(ValueError, match="no mass within the schedule's noise levels"):
        draw(LogNormal(mean=200.0, std=1.0), EDM(), 10)


@pytest.mark.parametrize("make", [LogitNormal, LogNormal])
@pytest.mark.parametrize("options", [{"std": 0.0}, {"std": -1.0}, {"std": math.nan}, {"mean": math.inf}, {"std": math.inf}])
def test_a_normal_needs_a_finite_mean_and_a_positive_spread(
    make: Callable[..., TimestepSampler], options: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match="mean must be finite and std positive"):
        make(**options)


def test_a_stratified_log_normal_fills_every_slice_once_and_has_the_same_distribution() -> None:
    narrow, sampler = EDM(sigma_min=0.1, sigma_max=0.5), LogNormal(-1.0, 0.7, stratified=True)
    halves = [sampler.draw(narrow, key(3), range(a, a + 8), range(a, a + 8), 16)[0] for a in (0, 8)]
    low, high, levels = ((torch.as_tensor(v).log() + 1.0) / 0.7 for v in (0.1, 0.5, torch.cat(halves)))
    shares = (torch.special.ndtr(levels) - torch.special.ndtr(low)) / (torch.special.ndtr(high) - torch.special.ndtr(low))
    assert torch.equal((shares * 16).floor().sort().values, torch.arange(16).double())
    fits(draw(sampler, EDM())[0].log(), lambda x: normal_cdf((x + 1.0) / 0.7), [-2.0, -1.0, 0.0])


# ---------------------------------------------------------------------------------------------------------- balanced


def balanced(loss: Callable[[Tensor], Tensor], rounds: int = 60, **options: Any) -> Balanced:
    """A sampler that has seen ``rounds`` batches of 64 with this loss as a function of log sigma."""
    sampler = Balanced(mean=0.0, std=1.0, **options)
    for n in range(rounds):
        t, _ = draw(sampler, EDM(), 64, seed=n)
        sampler.update(t, loss(t.log()))
    return sampler


def test_balanced_draws_what_a_stratified_log_normal_draws_and_weighs_nothing_before_it_knows_losses() -> None:
    t, weight = draw(Balanced(-1.0, 0.8), EDM(), 200)
    assert torch.equal(t, draw(LogNormal(-1.0, 0.8, stratified=True), EDM(), 200)[0])
    assert torch.equal(weight, torch.ones_like(weight))
    t, weight = draw(balanced(torch.ones_like), EDM(), 200)
    torch.testing.assert_close(weight, torch.ones_like(weight), rtol=1e-12, atol=0)


def test_balanced_weighs_each_level_by_the_inverse_of_its_loss_and_keeps_the_mean() -> None:
    loss = lambda level: torch.exp(0.9 * level)  # noqa: E731
    t, weight = draw(balanced(loss, rounds=300, bands=32, memory=1000), EDM())
    weighted, level = weight * loss(t.log()), t.log()
    middle = (level > -1.5) & (level < 1.5)  # of the outermost bands the means are those of half a distribution's tail
    flat = weighted[middle]
    assert float(flat.std() / flat.mean()) < 0.03 < 0.5 < float(loss(level[middle]).std() / loss(level[middle]).mean())
    assert float(weighted.mean()) == pytest.approx(math.exp(0.9**2 / 2), rel=0.05)


def test_balanced_forgets_old_losses() -> None:
    sampler = balanced(lambda level: torch.ones_like(level), rounds=30, bands=2, memory=40)
    for n in range(30):
        t, _ = draw(sampler, EDM(), 64, seed=n)
        sampler.update(t, torch.where(t > 1.0, 4.0, 1.0))
    assert sampler.usual() == pytest.approx([50 / 44, 170 / 44], rel=1e-6)  # four more at the mean of all, 2.5


def test_balanced_means_are_exact_and_few_losses_stay_near_the_mean_of_all() -> None:
    sampler = Balanced(0.0, 1.0, bands=2, memory=2)
    draw(sampler, EDM(), 1)
    sampler.update([2.0, 0.5, 3.0], [8.0, 1.0, 4.0])  # two at much noise, of which the older counts half; one at little
    overall = (8 / 2 + 4 + 1) / 2.5
    assert sampler.usual() == pytest.approx([(1 + 4 * overall) / 5, (8 + 4 * overall) / 5.5])
    assert Balanced().usual() == [1.0] * 16
    perfect = Balanced(0.0, 1.0, bands=2)
    draw(perfect, EDM(), 1)
    perfect.update([0.5, 2.0], [0.0, 0.0])
    assert perfect.usual() == [1.0, 1.0]  # nothing to weigh by


def test_balanced_means_survive_json_and_go_on_alike() -> None:
    one, two = balanced(torch.exp), Balanced(0.0, 1.0)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for sampler in (one, two):
        t, _ = draw(sampler, EDM(), 30)
        sampler.update(t, t)
    assert one.state_dict() == two.state_dict()
    assert torch.equal(draw(one, EDM(), 50)[1], draw(two, EDM(), 50)[1])
    one.state_dict()["sums"][0] = 7.0
    assert one.state_dict() == two.state_dict(), "the state that is handed out is a copy"


def test_balanced_refuses_what_would_spoil_its_means_and_bad_settings() -> None:
    sampler = balanced(torch.exp)
    before = sampler.state_dict()
    for losses, message in (
        ([1.0], "2 times and 1 losses"),
        ([1.0, math.nan], "the loss at t = 2 is nan"),
        ([math.inf, 1.0], "the loss at t = 1 is inf"),
    ):
        with pytest.raises(ValueError, match=message):
            sampler.update([1.0, 2.0], losses)
    assert sampler.state_dict() == before
    with pytest.raises(ValueError, match="draw from a schedule first"):
        Balanced().update([1.0], [1.0])
    with pytest.raises(ValueError, match="kept with bands = 16, not 8"):
        Balanced(bands=8).load_state_dict(before)
    for options in ({"bands": 0}, {"bands": 2.0}, {"memory": True}, {"std": 0.0}):
        with pytest.raises(ValueError, match="must be a whole number|mean must be finite"):
            Balanced(**options)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------- importance

LOSSES = [math.exp(-((i - 6) ** 2) / 20) + 0.01 * i for i in range(40)]


def test_importance_draws_each_time_in_proportion_to_the_root_mean_square_of_its_losses() -> None:
    sampler = Importance(history=2, mixing=0.01)
    path = Discrete(config=DiffusionConfig(num_timesteps=3))
    draw(sampler, path, 1)
    sampler.update([0, 0, 1, 1, 2, 2, 2], [3.0, 4.0, 1.0, 1.0, 100.0, 0.0, 2.0])  # 100 is older than two losses
    roots = [math.sqrt(12.5), 1.0, math.sqrt(2.0)]
    true = [0.99 * r / sum(roots) + 0.01 / 3 for r in roots]
    assert sampler.probabilities(3) == pytest.approx(true, rel=1e-14)
    t, weight = draw(sampler, path)
    fits(t, lambda x: sum(true[: int(x) + 1]), [0, 1])
    torch.testing.assert_close(weight, 1 / (3 * torch.tensor(true, dtype=torch.float64))[t.long()])


def test_importance_weights_leave_every_mean_as_it_was() -> None:
    sampler, path = filled(LOSSES), Discrete(config=DiffusionConfig(num_timesteps=40))
    t, weight = draw(sampler, path)
    steps = torch.arange(40, dtype=torch.float64)
    for f in (torch.ones_like(steps), torch.tensor(LOSSES, dtype=torch.float64), torch.sin(steps), steps**2):
        values = weight * f[t.long()]
        assert abs(float(values.mean() - f.mean())) <= 4.5 * float(values.std()) / math.sqrt(N)


def test_importance_makes_the_weighted_loss_nearly_constant() -> None:
    sampler = filled(LOSSES, mixing=0.0)
    t, weight = draw(sampler, Discrete(config=DiffusionConfig(num_timesteps=40)))
    values = weight * torch.tensor(LOSSES).double()[t.long()]
    assert float(values.std()) < 1e-6 < float(torch.tensor(LOSSES).std())


def test_importance_is_uniform_until_every_time_has_its_history() -> None:
    sampler = Importance(history=2)
    draw(sampler, TABLE, 1)
    sampler.update(range(50), range(50))
    sampler.update(range(49), range(49))
    assert sampler.probabilities(50) == [1 / 50] * 50
    sampler.update([49], [49.0])
    assert sampler.probabilities(50)[49] == pytest.approx(0.999 * 49 / sum(range(50)) + 0.001 / 50)


def test_importance_never_draws_a_time_without_probability() -> None:
    t, weight = draw(filled([0.0, 1.0, 0.0, 3.0, 0.0], mixing=0.0), Discrete(config=DiffusionConfig(num_timesteps=5)))
    assert set(t.tolist()) == {1.0, 3.0} and torch.isfinite(weight).all()
    assert filled([0.0, 0.0]).probabilities(2) == [0.5, 0.5]


def test_importance_history_survives_json_and_goes_on_alike() -> None:
    one, two = filled(LOSSES), Importance(history=3)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    path = Discrete(config=DiffusionConfig(num_timesteps=40))
    for sampler in (one, two):
        sampler.update(torch.tensor([1.0, 2.0]), torch.tensor([5.0, 6.0]))
    assert one.state_dict() == two.state_dict()
    assert torch.equal(draw(one, path, 50)[0], draw(two, path, 50)[0])
    one.state_dict()["squares"][0].append(1.0)
    assert one.state_dict() == two.state_dict(), "the state that is handed out is a copy"


def test_importance_refuses_what_would_spoil_its_history() -> None:
    sampler = filled([1.0, 2.0, 3.0])
    before = sampler.state_dict()
    for times, losses, message in (
        ([0], [1.0, 2.0], "1 times and 2 losses"),
        ([0, 3], [1.0, 1.0], r"t = 3 is none of the timesteps that are kept \(0..2\)"),
        ([0, -1], [1.0, 1.0], "t = -1"),
        ([0, 0.5], [1.0, 1.0], "t = 0.5"),
        ([0, 1], [1.0, math.nan], "the loss at t = 1 is nan"),
        ([0, 1], [1.0, math.inf], "the loss at t = 1 is inf"),
    ):
        with pytest.raises(ValueError, match=message):
            sampler.update(times, losses)
    assert sampler.state_dict() == before
    with pytest.raises(ValueError, match="draw from a schedule first"):
        Importance().update([0], [1.0])
    with pytest.raises(ValueError, match="kept for 3 timesteps; the schedule has 50"):
        draw(sampler, TABLE, 1)
    with pytest.raises(ValueError, match="kept with history = 3, not 10"):
        Importance().load_state_dict(before)


@pytest.mark.parametrize("options", [{"history": 0}, {"history": 2.0}, {"history": True}, {"mixing": -0.1}, {"mixing": 2}])
def test_importance_refuses_bad_settings(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="history must be a whole number|mixing must lie in"):
        Importance(**options)  # type: ignore[arg-type]
