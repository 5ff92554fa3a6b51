"""Whatever a network predicts, on whatever path: the denoiser made of it is E[x_0 | x_t].

The network here is the ideal one of its kind, written from the definition of what it predicts (never from the factors),
with the exact belief of a Gaussian mixture inside.
"""

import copy
import functools
import itertools
import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from noisepath.denoiser import Condition, Denoiser, Moved, begin
from noisepath.discrete import NoiseScheduler
from noisepath.exact import Mixture
from noisepath.foreign import Wrapped
from noisepath.guidance import classifier_free
from noisepath.levels import Level
from noisepath.modules import mode_of, modules_in
from noisepath.nn import UNet, UNetConfig
from noisepath.predictions import PREDICTIONS, find, preconditioned
from noisepath.sampling import sample, trajectory
from noisepath.scalings import SCALINGS
from noisepath.schedules import EDM, SCHEDULES, Flow, Schedule, Shifted, VPCosine, schedule
from noisepath.times import Uniform
from noisepath.training import Objective, TrainConfig

DATA = Mixture([0.3, 0.7], [[1.0, -0.5, 0.2], [-0.6, 0.4, 0.0]], torch.tensor([0.04, 0.2]))
SIGMA_DATA = 0.7


def ideal_network(path: Schedule, prediction: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The network that has learnt ``prediction`` on ``path`` perfectly: (x, c_noise) -> F."""

    def network(x: Tensor, told: Tensor) -> Tensor:
        if prediction == "edm":  # Karras et al., Table 1, in their coordinates (alpha = 1)
            s = math.exp(4 * float(told[0]))
            y = x * math.sqrt(s**2 + SIGMA_DATA**2)
            belief = DATA.belief(y, Level(1.0, s))
            c_skip, c_out = SIGMA_DATA**2 / (s**2 + SIGMA_DATA**2), s * SIGMA_DATA / math.sqrt(s**2 + SIGMA_DATA**2)
            return (belief - c_skip * y) / c_out
        t = float(told[0])
        level = path.level(t)
        a, s = level.alpha, level.sigma
        belief = DATA.belief(x, level)
        noise = (x - a * belief) / s
        da, ds = (float(r) for r in path.rates(told[:1]))
        return {
            "noise": noise,
            "x0": belief,
            "v": a * noise - s * belief,
            "velocity": da * belief + ds * noise,
            "score": -noise / s,
        }[prediction]

    return network


PATHS = {
    **{n: make() for n, make in SCHEDULES.items()},
    "shifted flow": Shifted(Flow(), 2.0),
    "shifted edm": Shifted(EDM(), 0.5),
}


def some_levels(path: Schedule) -> list[Level]:
    spans = {"EDM": (0.01, 20.0)}.get(type(getattr(path, "base", path)).__name__)
    low, high = spans or ((3.0, path.t_max - 10) if path.num_timesteps else (0.02, 0.97))
    return path.levels(torch.linspace(low, high, 7).tolist())


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_an_ideal_network_makes_the_exact_denoiser_on_its_own_path_and_every_other(path: Schedule, prediction: str) -> None:
    denoise = Denoiser(ideal_network(path, prediction), path, prediction, sigma_data=SIGMA_DATA)
    for level in some_levels(path):
        for frame in (None, *SCALINGS):
            if frame is not None:
                alpha, sigma = SCALINGS[frame].alpha_sigma(torch.tensor(level.log_snr, dtype=torch.float64))
                level = Level(float(alpha), float(sigma))
            x = level.alpha * DATA.sample(5, 1) + level.sigma * torch.randn(
                5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
            )
            # c_out * F cancels against c_skip * x by as much as the noise is stronger than the picture
            atol = 1e-9 * (1 + level.noise_ratio)
            torch.testing.assert_close(denoise(x, level), DATA.belief(x, level), rtol=1e-7, atol=atol)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_target_of_the_factors_is_the_definition(name: str, prediction: str) -> None:
    path = SCHEDULES[name]()
    high = path.t_max - 5 if path.num_timesteps else min(path.t_max, 0.97)
    t = torch.linspace(5.0 if path.num_timesteps else 0.02, high, 9, dtype=torch.float64)
    a, s = path.alpha_sigma(t)
    on_x0, on_noise = PREDICTIONS[prediction].factors(path, t, a, s, SIGMA_DATA).target(a, s)
    da, ds = path.rates(t)
    k = s / a
    mix = torch.sqrt(k**2 + SIGMA_DATA**2)
    truth = {
        "noise": (0 * a, 1 + 0 * a),
        "x0": (1 + 0 * a, 0 * a),
        "v": (-s, a),
        "velocity": (da, ds),
        "score": (0 * a, -1 / s),
        "edm": (k / (SIGMA_DATA * mix), -SIGMA_DATA / mix),  # (x_0 - c_skip (x_0 + k noise)) / c_out
    }[prediction]
    torch.testing.assert_close(on_x0, truth[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(on_noise, truth[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_unit_preconditioning_has_unit_variance_in_and_out(prediction: str) -> None:
    """Of data of deviation sigma_data at every level of every schedule; and c_skip x is what it is without."""
    for make in SCHEDULES.values():
        path = make()
        high = path.t_max - 5 if path.num_timesteps else min(path.t_max, 0.97)
        t = torch.linspace(5.0 if path.num_timesteps else 0.02, high, 9, dtype=torch.float64)
        a, s = path.alpha_sigma(t)
        unit = preconditioned(PREDICTIONS[prediction], path, t, a, s, SIGMA_DATA, "unit")
        on_x0, on_noise = unit.target(a, s)
        one = torch.ones_like(t)
        torch.testing.assert_close(unit.c_in * torch.hypot(a * SIGMA_DATA, s), one)
        torch.testing.assert_close(torch.hypot(on_x0 * SIGMA_DATA, on_noise), one)
        plain = PREDICTIONS[prediction].factors(path, t, a, s, SIGMA_DATA)
        assert torch.equal(unit.c_skip, plain.c_skip) and torch.equal(unit.c_out > 0, plain.c_out > 0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(
    "path", [Flow(), VPCosine(), SCHEDULES["cosine"](zero_terminal_snr=True)], ids=["flow", "vp_cosine", "zero snr"]
)
def test_at_pure_noise_a_prediction_has_its_limit_or_says_that_it_has_none(path: Schedule, prediction: str) -> None:
    def network(x: Tensor, told: Tensor) -> Tensor:
        assert float(told[0]) == path.t_max
        mean = (DATA.log_weights.exp()[:, None] * DATA.means).sum(0).expand_as(x)
        da, ds = (float(r) for r in path.rates(told[:1]))
        return {"x0": mean, "v": -mean, "velocity": da * mean + ds * x}[prediction]

    denoise = Denoiser(network, path, prediction, sigma_data=SIGMA_DATA)
    x = torch.randn(4, 3, dtype=torch.float64)
    if not PREDICTIONS[prediction].at_pure_noise:
        with pytest.raises(ValueError, match="predicts x0, v, velocity"):
            denoise(x, Level(0.0, 1.0))
    elif prediction == "velocity" and path.num_timesteps:
        with pytest.raises(ValueError, match="not finite"):  # a table has no rate at an end of its own
            denoise(x, Level(0.0, 1.0))
    else:
        torch.testing.assert_close(denoise(3 * x, Level(0.0, 3.0)), DATA.belief(x, Level(0.0, 1.0)), rtol=1e-12, atol=1e-12)


def test_a_run_refuses_its_levels_before_the_network_is_asked() -> None:
    asked: list[float] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        asked.append(float(t[0]))
        return x

    denoise = Denoiser(network, SCHEDULES["linear"](), "noise")
    with pytest.raises(ValueError, match="alpha = 0"):
        begin(denoise, [Level(0.5, 0.5), Level(0.0, 1.0)])
    with pytest.raises(ValueError, match="lies outside"):
        begin(denoise, [Level(1e-9, 1.0)])
    assert asked == []


def test_a_network_is_told_what_it_was_trained_on() -> None:
    seen: list[tuple[float, float]] = []

    def network(x: Tensor, told: Tensor) -> Tensor:
        seen.append((float(x.flatten()[0]), float(told[0])))
        return x

    x = torch.ones(2, 3, dtype=torch.float64)
    Denoiser(network, SCHEDULES["linear"](), "noise")(x, SCHEDULES["linear"]().level(500))
    Denoiser(network, EDM(), "edm", sigma_data=0.5)(x, Level(1.0, 2.0))
    assert seen[0] == pytest.approx((1.0, 500.0)) and seen[1] == pytest.approx((1 / math.sqrt(4.25), math.log(2) / 4))


def test_a_condition_reaches_the_network_by_name() -> None:
    def network(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return x * label[:, None]

    denoise = Denoiser(network, EDM(), "x0", null=Condition(label=torch.tensor([0])))
    x = torch.ones(3, 2)
    assert denoise(x, Level(1.0, 1.0), Condition(label=torch.tensor([1, 2, 3]))).tolist() == [[1, 1], [2, 2], [3, 3]]


def test_what_a_network_gives_in_a_wrong_shape_is_refused_at_once() -> None:
    for wrong, got in ((lambda x, t: x[:, :1], r"\(2, 1\)"), (lambda x, t: None, "NoneType")):
        with pytest.raises(ValueError, match=rf"input's shape \(2, 3\), but gave .*{got}"):
            Denoiser(wrong, EDM(), "x0")(torch.ones(2, 3), Level(1.0, 1.0))


def test_half_precision_networks_leave_the_state_in_float32() -> None:
    def network(x: Tensor, t: Tensor) -> Tensor:
        assert t.dtype == torch.float32
        return x.bfloat16()

    assert Denoiser(network, EDM(), "edm")(torch.ones(2, 3), Level(1.0, 1.0)).dtype == torch.float32


def test_the_networks_own_memory_is_left_alone() -> None:
    kept = torch.ones(2, 3)
    denoise = Denoiser(lambda x, t: kept, EDM(), "edm")
    denoise(torch.full((2, 3), 5.0), Level(1.0, 1.0))
    assert torch.equal(kept, torch.ones(2, 3))


def test_wrong_names_and_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'velocity'"):
        Denoiser(lambda x, t: x, EDM(), "velocty")
    with pytest.raises(ValueError, match="sigma_data"):
        Denoiser(lambda x, t: x, EDM(), "edm", sigma_data=0.0)
    with pytest.raises(TypeError, match="callable"):
        Denoiser(3, EDM())  # type: ignore[arg-type]


def test_each_run_of_a_denoiser_with_a_memory_starts_afresh() -> None:
    class Counting:
        def begin(self, levels: list[Level]) -> Callable[..., Tensor | Moved]:
            calls = 0

            def run(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
                nonlocal calls
                calls += 1
                return x * calls

            return run

        def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
            return x

    one, two = begin(Counting()), begin(Counting())
    x, level = torch.ones(1), Level(1.0, 1.0)
    assert [float(one(x, level)), float(one(x, level)), float(two(x, level))] == [1.0, 2.0, 1.0]  # type: ignore[arg-type]


# Half precision -----------------------------------------------------------------------------------------------------------


class Listener(torch.nn.Module):
    """Writes down what it is asked, and answers in its own precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.count = torch.nn.Parameter(torch.zeros(1, dtype=torch.int64), requires_grad=False)  # no precision of its own
        self.gain = torch.nn.Parameter(torch.full((1,), 0.5, dtype=dtype))
        self.heard: list[dict[str, Tensor]] = []

    def forward(self, x: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        self.heard.append({"x": x, "t": t, **condition})
        return x * self.gain


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_a_network_in_half_precision_is_asked_so_and_nothing_else_is(half: torch.dtype) -> None:
    network, path = Listener(half), SCHEDULES["linear"]()
    wrapped = Wrapped(network, names={"text": "words"})
    told = Condition(label=torch.tensor([1, 2]), text=torch.full((2, 3), 1 / 3))
    for model, name in ((Denoiser(network, path), "text"), (Denoiser(wrapped, path), "words")):
        level = path.level(999.0)
        x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
        for run in (model, begin(model, [level])):
            belief = run(x, level, told)
            heard = network.heard[-1]
            assert heard["x"].dtype == half == heard[name].dtype and torch.equal(heard["x"], x.to(half))
            assert heard["t"].dtype == torch.float32 and float(heard["t"][0]) == 999.0  # 1,000 in bfloat16
            assert heard["label"].dtype == torch.int64
            # the factors, of 100 and more here, meet float32 numbers
            exact = (x - level.sigma * (x.to(half) * 0.5).float()) / level.alpha
            torch.testing.assert_close(belief, exact, rtol=1e-5, atol=1e-5)
    assert not torch.equal(x, x.to(half).float())


def test_a_u_net_in_bfloat16_makes_the_pictures_of_the_one_in_float32() -> None:
    torch.manual_seed(0)
    config = UNetConfig(in_channels=1, out_channels=1, channels=(16, 32), blocks=1, attention=(1,), classes=3)
    fine = UNet(config).eval().requires_grad_(False)
    for parameter in fine.parameters():  # at the start it says 0
        parameter.add_(0.05 * torch.randn(parameter.shape))
    coarse = copy.deepcopy(fine).to(torch.bfloat16)
    labels = Condition(label=torch.tensor([0, 1, 2, 3]))
    for path, prediction in ((SCHEDULES["linear"](), "v"), (Flow(), "velocity"), (EDM(), "edm")):
        made = []
        for network in (fine, coarse):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                model = classifier_free(Denoiser(network, path, prediction, null=Condition(label=torch.tensor([3]))), 1.5)
                run = trajectory(model, (4, 1, 8, 8), condition=labels, steps=5)
            assert all(state.dtype == torch.float32 for state in run.states)
            made.append(run.pictures)
        off = (made[1] - made[0]).square().mean().sqrt() / made[0].square().mean().sqrt()
        assert 1e-5 < off < 2e-2  # a bfloat16 number is right to 0.4 %


def test_at_whole_times_of_a_table_a_network_in_bfloat16_knows_which_it_is() -> None:
    torch.manual_seed(0)
    network = UNet(UNetConfig(in_channels=1, out_channels=1, channels=(8,), blocks=1, attention=())).to(torch.bfloat16)
    x = torch.randn(1, 1, 4, 4, dtype=torch.bfloat16)
    with torch.no_grad():
        e = [network._embed(x, torch.tensor([t]), None, {})[0] for t in (997.0, 998.0, 999.0, 1000.0)]
    assert all(vector.dtype == torch.bfloat16 for vector in e)
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(e))


# How a network is called: its own dtype, its mode, its rows ----------------------------------------------------------


class Recorder(torch.nn.Module):
    """A network that notes the dtypes it is given, and computes in float32, float64 or half precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 3, dtype=dtype)
        self.given: list[tuple[torch.dtype, ...]] = []

    def forward(self, x: Tensor, t: Tensor, text: Tensor | None = None) -> Tensor:
        self.given.append((x.dtype, t.dtype, *(() if text is None else (text.dtype,))))
        return self.linear(x) + (0 if text is None else text)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("inside", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("run", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_network_is_given_its_own_dtype_and_d_has_the_runs(prediction: str, inside: torch.dtype, run: torch.dtype) -> None:
    """As EDM's sampler runs: states in float64 around a network in float32.  The time is float32 at least."""
    network = Recorder(inside)
    model = Denoiser(network, "cosine", prediction)
    x, text = torch.linspace(-1, 1, 6).view(2, 3).to(run), Condition(text=torch.zeros(2, 3, dtype=torch.float64))
    level = Flow().level(0.5)
    for denoise in (model, begin(model, [level])):
        assert denoise(x, level, text).dtype == run
    time = inside if inside.itemsize >= 4 else run if run.itemsize >= 4 else torch.float32
    assert set(network.given) == {(inside, time, inside)}


def test_factors_keep_the_digits_of_a_float64_run() -> None:
    """c_skip x reaches D in float64: only the network's own answer has float32's digits."""
    zero = torch.nn.Linear(3, 3, bias=False)
    torch.nn.init.zeros_(zero.weight)
    x = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64)
    model = Denoiser(lambda x, t: zero(x), "flow", "velocity")
    assert torch.equal(model(x, Flow().level(0.3)), x)


def around(module: torch.nn.Module) -> dict[str, Callable[..., Tensor]]:
    """A module, and what people write around one."""

    class Holder:
        def __init__(self) -> None:
            self.net = module

        def __call__(self, x: Tensor, t: Tensor) -> Tensor:
            return self.net(x, t)

        def method(self, x: Tensor, t: Tensor) -> Tensor:
            return self.net(x, t)

    def inner(x: Tensor, t: Tensor) -> Tensor:
        return module(x, t)

    return {
        "module": module,
        "closure": lambda x, t: module(x, t),
        "nested": lambda x, t: inner(x, t),
        "partial": functools.partial(module, text=None),
        "default": lambda x, t, net=module: net(x, t),
        "method": Holder().method,
        "object": Holder(),
        "wrapped": Wrapped(module, call=lambda net, x, t: net(x, t)),
    }


@pytest.mark.parametrize("way", around(Recorder(torch.float32)))
def test_a_function_around_a_module_is_looked_through(way: str) -> None:
    """Its dtype and its training mode are the module's, however the module is reached."""
    module = Recorder(torch.float32)
    module.dropout = torch.nn.Dropout(0.5)
    module.forward = lambda x, t, text=None: (module.given.append((x.dtype, t.dtype)), module.dropout(x))[1]  # type: ignore[method-assign]
    model = Denoiser(around(module)[way], "flow", "velocity")
    x = torch.ones(2, 50, dtype=torch.float64)
    one, two = (sample(model, (2, 50), seed=0, steps=2, dtype=torch.float64) for _ in range(2))
    assert torch.equal(one, two) and set(module.given) == {(torch.float32, torch.float32)} and module.dropout.training
    assert torch.equal(model(x, Flow().level(0.5)), 0.5 * x)


def test_a_global_module_is_found_and_modules_that_disagree_are_left_to_the_function() -> None:
    module = Recorder(torch.float64)
    exec("def network(x, t):\n    return NET(x, t)", space := {"NET": module})
    assert modules_in(space["network"]) == [module] and mode_of(space["network"]).dtype == torch.float64
    other = Recorder(torch.float32)
    assert mode_of(lambda x, t: module(x, t) + other(x, t)).dtype is None
    assert modules_in(lambda x, t: x) == [] and modules_in(None) == []


class Slotted:
    """A callable that keeps its network in a slot."""

    __slots__ = ("net",)

    def __init__(self, net: torch.nn.Module) -> None:
        self.net = net

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self.net(x)


class Pipe:
    """An object with networks, and one that refers to itself."""

    def __init__(self, net: torch.nn.Module) -> None:
        self.net, self.nets, self.itself = net, [net], self

    def run(self, x: Tensor, t: Tensor) -> Tensor:
        return self.net(x)


def test_a_network_is_found_behind_objects_containers_slots_and_methods() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(0.5)).double()
    pipe, listed, named, shared = Pipe(net), [net], {"u": net}, type("Shared", (), {"net": net})()
    x = torch.randn(4, 3)
    for network in (
        pipe.run, Slotted(net), lambda x, t: pipe.net(x), lambda x, t: pipe.nets[0](x), lambda x, t: listed[0](x),
        lambda x, t: named["u"](x), lambda x, t: shared.net(x), functools.partial(pipe.run),
    ):  # fmt: skip
        assert modules_in(network) == [net]
        assert mode_of(network).dtype == torch.float64
        denoiser = Denoiser(network, "flow", "velocity")
        assert torch.equal(denoiser(x, Level(0.5, 0.5)), denoiser(x, Level(0.5, 0.5)))  # without dropout
        assert net[1].training


def test_a_part_of_a_network_that_is_found_beside_it_is_not_counted_twice() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 3))
    assert modules_in(lambda x, t: (net, net[0])) == [net]
    first = net[0]
    assert modules_in(lambda x, t: net(x) + first(x)) == [net]


def test_looking_for_a_network_ends_in_large_and_circular_objects() -> None:
    circle: list[object] = [list(range(10**6)), {n: object() for n in range(1000)}]
    circle.append(circle)
    assert modules_in(lambda x, t: circle) == []


class Layers(torch.nn.Module):
    """Dropout and batch statistics, two of which a user has frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.frozen = torch.nn.Dropout(0.5), torch.nn.Sequential(torch.nn.Dropout(0.5))
        self.norm = torch.nn.BatchNorm1d(3)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        if x.isnan().any():
            raise ArithmeticError
        return self.norm(self.frozen(self.drop(x)))


def test_a_network_in_training_mode_is_used_in_evaluation_mode_and_every_flag_put_back() -> None:
    """Each module's own flag, after a run, a single call and an error; and the running statistics are left as they were."""
    network = Layers().train()
    network.frozen.eval()
    model = Denoiser(network, "flow", "velocity")
    before, buffers = [m.training for m in network.modules()], copy.deepcopy(dict(network.named_buffers()))
    assert before == [True, True, False, False, True]
    one, two = (sample(model, (4, 3), seed=0, steps=3) for _ in range(2))
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    torch.testing.assert_close(sample(model, (4, 3), seed=0, steps=3, batch_size=1), one)  # no statistics of the batch
    model(torch.zeros(2, 3), Flow().level(0.5))
    with pytest.raises(ArithmeticError):
        model(torch.full((2, 3), math.nan), Flow().level(0.5))
    assert [m.training for m in network.modules()] == before
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, buffers[name])


class Labelled(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(11, 3)

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return x + self.embed(label)


def test_a_label_out_of_range_is_named_with_the_range() -> None:
    model = Denoiser(Labelled(), "flow", "velocity", null=10)
    assert model.null is not None and model.null["label"].tolist() == [10]
    for label, named in ((11, "label 11"), ([3, 12], "label 12"), ([-1, 3], "label -1")):
        with pytest.raises(ValueError, match=rf"{named} is out of range: the network's embedding has 0..10"):
            sample(model, (2, 3), condition=Condition(label=label))
    assert sample(classifier_free(model, 2.0), (2, 3), condition=Condition(label=3), steps=2).shape == (2, 3)

    def broken(x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        raise IndexError("a fault of the network's own")

    with pytest.raises(IndexError, match="a fault of the network's own"):
        sample(Denoiser(broken, "flow", "velocity"), (2, 3), condition=Condition(label=3))


def test_a_null_is_a_condition_of_one_row_or_a_label() -> None:
    for null in (10, np.int64(10), torch.tensor(10), Condition(label=10)):
        assert Denoiser(Labelled(), "flow", null=null).null["label"].tolist() == [10]  # type: ignore[index]
    for wrong in ("none", 1.5, Condition(label=[1, 2]), True):
        with pytest.raises(TypeError, match=r"a null is the condition of one picture .* or a label that means none, 10, but"):
            Denoiser(Labelled(), "flow", null=wrong)  # type: ignore[arg-type]


def test_a_null_that_was_never_trained_is_not_guided_by() -> None:
    """The model's information says that its condition was never dropped."""
    model = Denoiser(Labelled(), "flow", "velocity", null=10, info={"training": {"drop_condition": 0.0}})
    assert sample(model, (2, 3), condition=Condition(label=3), steps=2).shape == (2, 3)
    with pytest.raises(ValueError, match=r"without condition dropout .* \(negative=\), or use scale 1"):
        classifier_free(model, 2.0)
    assert classifier_free(model, 2.0, negative=Condition(label=1)) and classifier_free(model, 1.0) is model


@pytest.mark.parametrize("name", PREDICTIONS)
def test_predictions_are_known_by_the_names_of_other_libraries_too(name: str) -> None:
    for alias in PREDICTIONS[name].aliases:
        assert Denoiser(lambda x, t: x, "flow", alias).prediction == name == TrainConfig(prediction=alias).prediction
        assert Objective(Flow(), alias, Uniform()).prediction == name
    assert find(name) == name
    with pytest.raises(ValueError, match="unknown prediction 'epsillon'; did you mean 'epsilon'"):
        Denoiser(lambda x, t: x, "flow", "epsillon")


def test_a_schedule_may_be_named_and_anything_else_is_refused() -> None:
    assert Denoiser(lambda x, t: x, "squaredcos_cap_v2").schedule == schedule("cosine")
    assert TrainConfig(schedule="scaled_linear").schedule == "quadratic"
    with pytest.raises(ValueError, match="unknown schedule 'nosuch'"):
        Denoiser(lambda x, t: x, "nosuch")
    with pytest.raises(TypeError, match="a schedule is a noisepath Schedule or the name of one, such as 'flow', but got 1000"):
        Denoiser(lambda x, t: x, 1000)  # type: ignore[arg-type]


def test_a_noise_scheduler_stands_for_its_schedule() -> None:
    process = NoiseScheduler("cosine")
    assert Denoiser(lambda x, t: x, process, "noise").schedule == process.schedule
