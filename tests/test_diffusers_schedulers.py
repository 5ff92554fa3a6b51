"""Every scheduler class of the installed diffusers, as it comes and with each key moved: what is read of it is what it does.

A scheduler is asked, at some of its own levels, what it hands to the network (the scaled state, the time) and which denoised
estimate it makes of an answer.  The same state and answer go through ``Denoiser.from_diffusers``.  The two are equal, or the
configuration is refused; nothing is read wrongly.
"""

from __future__ import annotations

import inspect
import logging
import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from noisepath import Denoiser, sample
from noisepath.foreign_schedulers import CLASSES, REFUSED, parts_of_diffusers
from noisepath.levels import Level

diffusers = pytest.importorskip("diffusers")
logging.getLogger("diffusers").setLevel(logging.ERROR)

STEPS, PLACES = 10, (2, 6)
X, OUT = torch.randn(2, 1, 2, 4, 4, generator=torch.Generator().manual_seed(0)).mul_(2.0).unbind(0)

NEEDED: dict[str, dict[str, Any]] = {
    "AmusedScheduler": {"mask_token_id": 5},
    "VQDiffusionScheduler": {"num_vec_classes": 4},
    "RFD4ProteinaScheduler": {"schedule_mode": {}, "noise_mode": {}, "tsr_k": {}, "tsr_sigma": {}},
}
BETAS = [1e-3 + 2e-5 * i for i in range(1000)]
OTHERS: dict[str, list[Any]] = {
    "num_train_timesteps": [500],
    "beta_start": [0.0005],
    "beta_end": [0.015],
    "beta_schedule": ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace", "exp"],
    "trained_betas": [BETAS],
    "prediction_type": ["epsilon", "sample", "v_prediction", "flow_prediction", "trigflow"],
    "clip_sample_range": [0.6],
    "sample_max_value": [2.0],
    "dynamic_thresholding_ratio": [0.8],
    "timestep_spacing": ["linspace", "leading", "trailing"],
    "timestep_type": ["continuous"],
    "interpolation_type": ["log_linear"],
    "final_sigmas_type": ["sigma_min"],
    "sigma_schedule": ["karras", "exponential"],
    "variance_type": ["fixed_small", "fixed_large", "learned_range"],
    "algorithm_type": ["dpmsolver++", "dpmsolver", "sde-dpmsolver++", "noise_prediction"],
    "solver_type": ["midpoint", "heun", "bh1"],
    "time_shift_type": ["linear"],
    "shift_terminal": [0.1],
    "scale_factors": [[0.5, 1.0]],
    "upscale_mode": ["nearest"],
    "lambda_min_clipped": [-5.1],
    "sigma_min": [0.02],
    "sigma_max": [20.0],
    "disable_corrector": [[0]],
    "steps_offset": [1],
    "skip_prk_steps": [True],
    "solver_p": [None],
    "tau_func": [lambda t: 0.5],
}
# keys that count only beside another one
WITH: dict[str, dict[str, Any]] = {
    "clip_sample_range": {"clip_sample": True},
    "dynamic_thresholding_ratio": {"thresholding": True, "sample_max_value": 3.0},
    "sample_max_value": {"thresholding": True},
    "timestep_type": {"prediction_type": "v_prediction"},
    "flow_shift": {"use_flow_sigmas": True, "prediction_type": "flow_prediction"},
    "use_flow_sigmas": {"prediction_type": "flow_prediction"},
    "algorithm_type": {"final_sigmas_type": "sigma_min"},
    "shift_terminal": {"use_flow_sigmas": True, "prediction_type": "flow_prediction"},
}


class Evaluated(NamedTuple):
    """What a scheduler does at one of its levels."""

    level: Level
    time: float
    """What the network is given."""
    scaled: float
    """What the state is multiplied with before the network sees it."""
    denoised: Tensor
    """Of the state X and the answer OUT."""


def scheduler_classes() -> dict[str, Any]:
    # two classes need torchsde, and are stand-ins that say so where that is missing
    names = [name for name in dir(diffusers.schedulers) if name.endswith("Scheduler")]
    return {name: getattr(diffusers.schedulers, name) for name in sorted(names)}


def can_be_built(cls: Any) -> bool:
    return not any("dummy" in base.__module__ for base in cls.__mro__)


def moved(cls: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The defaults, and each key at other values, with what it needs to count."""
    yield "", {}
    parameters = dict(inspect.signature(cls.__init__).parameters)
    parameters = {k: p for k, p in parameters.items() if k != "self" and p.kind != p.VAR_KEYWORD}
    for key, parameter in parameters.items():
        default = parameter.default
        if key in OTHERS:
            values = OTHERS[key]
        elif isinstance(default, bool):
            values = [not default]
        elif isinstance(default, int | float):
            values = [default * 3 if isinstance(default, float) else default + 1]
        else:
            values = []
        beside = {k: v for k, v in WITH.get(key, {}).items() if k in parameters}
        for value in values:
            yield f"{key}={str(value)[:24]}", {**beside, key: value}
    if "use_flow_sigmas" in parameters:
        for prediction in ("epsilon", "sample", "v_prediction"):
            yield f"flow {prediction}", {"use_flow_sigmas": True, "prediction_type": prediction}


def make(cls: Any, options: dict[str, Any]) -> Any:
    usual = {"eta": 0.0} if cls.__name__ == "LTXEulerAncestralRFScheduler" else {}
    if cls.__name__.startswith("KDPM2"):  # 0.2 s to make one of 1,000
        usual = {"num_train_timesteps": 100}
        options = {**options, **({"trained_betas": BETAS[:100]} if "trained_betas" in options else {})}
    return cls(**{**NEEDED.get(cls.__name__, {}), **usual, **options})


# --- what a scheduler does -----------------------------------------------------------------------------------------


def evaluations(scheduler: Any) -> Iterator[Evaluated]:
    """What it does at PLACES of a run of STEPS, by its own methods."""
    kind = type(scheduler).__name__
    dynamic = {"mu": 0.8} if getattr(scheduler.config, "use_dynamic_shifting", False) else {}
    scheduler.set_timesteps(STEPS, **dynamic)
    if kind == "ScoreSdeVeScheduler":
        scheduler.set_sigmas(STEPS)
    for place in PLACES:
        if hasattr(scheduler, "_step_index"):
            scheduler._step_index = None
            scheduler._begin_index = place
            scheduler._step_index = place
            scheduler.sample = scheduler.dt = None  # which half of a step of two calls it is
        t = scheduler.timesteps[place]
        level = level_of(scheduler, kind, place, t)
        scaled = 1.0
        if hasattr(scheduler, "scale_model_input"):
            scaled = float((scheduler.scale_model_input(X, t) / X).flatten()[0])
        time = float(scheduler.sigmas[place]) if kind == "ScoreSdeVeScheduler" else float(t)
        yield Evaluated(level, time, scaled, denoised_by(scheduler, kind, place, t, level))


IN_VP_FRAME = ("DEIS", "DPMSolverMultistep", "DPMSolverSinglestep", "SASolver", "UniPC")


def level_of(scheduler: Any, kind: str, place: int, t: Tensor) -> Level:
    """The level at which the scheduler takes the state to be."""
    config = scheduler.config
    if kind.startswith(IN_VP_FRAME):
        alpha, sigma = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[place])
        return Level(float(alpha), float(sigma))
    if kind.startswith(("FlowMatch", "LTX", "MiniMax")):
        sigma = float(scheduler.sigmas[place])
        return Level(sigma, 1 - sigma) if getattr(config, "invert_sigmas", False) else Level(1 - sigma, sigma)
    if kind == "IPNDMScheduler":
        return Level(float(scheduler.alphas[place]), float(scheduler.betas[place]))
    if kind == "ScoreSdeVpScheduler":
        exponent = -0.25 * float(t) ** 2 * (config.beta_max - config.beta_min) - 0.5 * float(t) * config.beta_min
        return Level(math.exp(exponent), math.sqrt(-math.expm1(2 * exponent)))
    if getattr(scheduler, "sigmas", None) is not None and kind != "LCMScheduler":
        return Level(1.0, float(scheduler.sigmas[place]))
    bar = scheduler.alphas_cumprod[int(t)]
    return Level(float(bar.sqrt()), float((1 - bar).sqrt()))


def denoised_by(scheduler: Any, kind: str, place: int, t: Tensor, level: Level) -> Tensor:
    """The denoised estimate that a scheduler makes of X and OUT."""
    if hasattr(scheduler, "convert_model_output"):
        estimate: Tensor = scheduler.convert_model_output(OUT, sample=X)
        # of some forms it gives the noise
        config = scheduler.config
        of_noise = getattr(config, "algorithm_type", "") in ("deis", "dpmsolver", "sde-dpmsolver", "noise_prediction")
        of_noise = of_noise or getattr(config, "predict_x0", True) is False
        return (X - level.sigma * estimate) / level.alpha if of_noise else estimate
    if kind in ("PNDMScheduler", "TCDScheduler", "DDIMInverseScheduler"):  # of their steps the estimate can't be had alone
        return by_formula(scheduler, kind, level)
    if kind.startswith("ScoreSde"):  # so do their steps: the answer is the score, or minus the score times sigma
        return X + level.sigma**2 * OUT if "Ve" in kind else (X - level.sigma * OUT) / level.alpha
    if kind == "IPNDMScheduler":
        scheduler.ets = []
        scheduler.step(OUT, t, X)
        return (X - level.sigma * scheduler.ets[-1]) / level.alpha
    if kind == "RePaintScheduler":
        step = scheduler.step(OUT, int(t), X, torch.zeros_like(X), torch.zeros_like(X))
    elif kind == "CogVideoXDPMScheduler":
        first: Tensor = scheduler.step(OUT, None, int(t), None, X)[1]
        return first
    elif kind == "UnCLIPScheduler":
        step = scheduler.step(OUT, int(t), X)
    else:
        step = scheduler.step(OUT, t, X)
    draws = any(scheduler.config.get(key) for key in ("eta", "stochastic_sampling"))
    if kind == "FlowMatchLCMScheduler" or draws and "pred_original_sample" not in step:
        return X - level.sigma * OUT  # its step draws noise
    estimate = getattr(step, "denoised", getattr(step, "pred_original_sample", None))
    if estimate is not None:
        return estimate
    now, after = float(scheduler.sigmas[place]), float(scheduler.sigmas[place + 1])
    slope = (step.prev_sample - X) / (after - now)
    return X + ((1.0 if getattr(scheduler.config, "invert_sigmas", False) else 0.0) - now) * slope


def by_formula(scheduler: Any, kind: str, level: Level) -> Tensor:
    predicts = scheduler.config.prediction_type
    if predicts == "v_prediction":
        estimate = level.alpha * X - level.sigma * OUT
    else:
        assert predicts in ("epsilon", "sample")
        estimate = OUT if predicts == "sample" else (X - level.sigma * OUT) / level.alpha
    clips = kind == "DDIMInverseScheduler" and scheduler.config.clip_sample
    return estimate.clamp(-scheduler.config.clip_sample_range, scheduler.config.clip_sample_range) if clips else estimate


# --- the walk ------------------------------------------------------------------------------------------------------


def difference(scheduler: Any, at: Evaluated) -> float:
    """The largest of: state and estimate relative to the largest value, time relative to its own tolerance of rounding."""
    given: list[tuple[Tensor, Tensor]] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        given.append((x, t))
        return OUT

    mine = Denoiser.from_diffusers(network, scheduler)(X, at.level)
    (x, t), tables = given[0], abs(at.time) > 1.0
    # of this form the times belong to other levels than the states do: a fault of its own
    apart = scheduler.config.get("interpolation_type") == "log_linear"
    return max(
        float((mine - at.denoised).abs().max() / at.denoised.abs().max()),
        float((x - at.scaled * X).abs().max() / X.abs().max()),
        # several classes cut fractions off; of the others the table is read linearly in sigma, not in its logarithm
        0.0 if apart else float((t[0] - at.time).abs()) * (2e-4 / 1.01 if tables else 1.0),
    )


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Their tensors are of a few numbers."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def outcome(cls: Any, options: dict[str, Any]) -> str:
    """What came of it: right, refused, its own refusal, WRONG."""
    try:
        scheduler = make(cls, options)
        found = list(evaluations(scheduler))
    except Exception as error:  # noqa: BLE001 - what it can't do itself says nothing of us
        return f"its own refusal: {error}"
    try:
        worst = max(difference(scheduler, at) for at in found)
    except ValueError:
        return "refused"
    return "right" if worst < 2e-4 else f"WRONG by {worst:.2g}"


READ = [name for name, cls in scheduler_classes().items() if name not in REFUSED and can_be_built(cls)]


@pytest.mark.parametrize("name", READ)
def test_a_scheduler_is_read_as_it_acts_or_is_refused_whatever_key_is_moved(name: str) -> None:
    cls = scheduler_classes()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = {label: outcome(cls, options) for label, options in moved(cls)}
    assert not {label: what for label, what in found.items() if what.startswith("WRONG")}
    assert found[""] == "right"


def test_every_class_is_in_one_of_the_two_tables_and_the_second_is_refused_by_name() -> None:
    classes = scheduler_classes()
    assert classes.keys() == CLASSES.keys() | REFUSED.keys()
    assert not CLASSES.keys() & REFUSED.keys()
    for name, cls in classes.items():
        if name in REFUSED:
            with pytest.raises(ValueError, match=f"{name} can't be read: "):
                parts_of_diffusers({"_class_name": name})
        if name in REFUSED and name not in NEEDED:
            with pytest.raises(ValueError, match=f"{name} can't be read: "):
                parts_of_diffusers(cls())


LEVELS = [Level(0.8, 0.6), Level(0.1, 0.99)]


def fingerprint(config: Any) -> list[Tensor]:
    """What a network is given and what comes of its answer, at two levels."""
    given: list[Tensor] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        given.extend([x, t])
        return OUT

    model = Denoiser.from_diffusers(network, config)
    return [*(model(X, level) for level in LEVELS), *given]


@pytest.mark.parametrize("name", READ)
def test_a_saved_configuration_and_one_with_keys_left_out_say_what_the_scheduler_says(name: str) -> None:
    scheduler = scheduler_classes()[name]()
    expected = fingerprint(scheduler)
    for config in ({"_class_name": name}, {"_class_name": name, "_diffusers_version": "0.1", **scheduler.config}):
        assert all(map(torch.equal, fingerprint(config), expected))
    try:  # a configuration that was never saved does not name its class
        found = fingerprint(scheduler.config)
    except ValueError as refusal:
        assert "_class_name" in str(refusal)
    else:
        assert all(map(torch.equal, found, expected))


def test_a_subclass_is_read_as_its_base_and_another_libraries_object_by_its_keys() -> None:
    class Mine(diffusers.DDIMScheduler):  # type: ignore[misc]
        pass

    class Other:
        config = {"beta_schedule": "linear", "num_train_timesteps": 10}

    assert parts_of_diffusers(Mine()).clamp is not None
    assert parts_of_diffusers(Other()).schedule.num_timesteps == 10


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"_class_name": "DDIMScheduler", "snr_shift_scale": 3.0}, "snr_shift_scale = 3.0 is not read .* DDIMScheduler"),
        ({"_class_name": "DDIMScheduler", "timestep_type": "continuous"}, "timestep_type = 'continuous'"),
        ({"_class_name": "HeunDiscreteScheduler", "rescale_betas_zero_snr": True}, "rescale_betas_zero_snr = True"),
        ({"_class_name": "DDPMScheduler", "use_flow_sigmas": True}, "use_flow_sigmas = True"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "prediction_type": "epsilon"}, "prediction_type = 'epsilon'"),
        ({"_class_name": "ScoreSdeVeScheduler", "prediction_type": "epsilon"}, "prediction_type = 'epsilon'"),
        ({"_class_name": "DDIMScheduler", "gama": 3.0}, "unknown key 'gama' = 3.0 .* DDIMScheduler"),
        ({"beta_schedule": "linear", "sigma_data": 1.0}, "unknown key 'sigma_data'"),
        ({"_class_name": "DDIMSchduler"}, "unknown scheduler class 'DDIMSchduler'; did you mean 'DDIMScheduler'"),
        ({"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction"}, "needs a straight path"),
        ({"num_train_timesteps": 1000, "shift": 3.0}, "several schedulers"),
        ({"_class_name": "DDIMScheduler", "clip_sample_range": -1.0}, "clip_sample_range must be above 0, but is -1.0"),
        ({"_class_name": "DDIMScheduler", "thresholding": True, "dynamic_thresholding_ratio": 99.5}, "99.5"),
        ({"_class_name": "CogVideoXDDIMScheduler", "snr_shift_scale": -3.0}, "snr_shift_scale must be .* above 0"),
    ],
)
def test_what_would_be_read_wrongly_is_refused_by_name(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parts_of_diffusers(config)


def test_keys_that_change_nothing_are_passed_over() -> None:
    plain = fingerprint({"_class_name": "EulerDiscreteScheduler"})
    beside = {"clip_sample": True, "thresholding": True, "snr_shift_scale": 1.0, "invert_sigmas": False, "skip_prk_steps": True}
    assert all(map(torch.equal, fingerprint({"_class_name": "EulerDiscreteScheduler", "gama": None, **beside}), plain))


def test_the_wrong_thing_in_the_place_of_a_scheduler_is_one_clear_line() -> None:
    pipeline = type("Pipeline", (), {"scheduler": diffusers.DDIMScheduler(), "config": {}})()
    for wrong, says in (
        ("runs/sd", "load it: DDIMScheduler.from_pretrained"),
        (pipeline, "pipe.scheduler"),
        (diffusers.DDIMScheduler, r"make one: DDIMScheduler\(\)"),
        (3, "a mapping"),
    ):
        with pytest.raises(TypeError, match=says):
            Denoiser.from_diffusers(lambda x, t: x, wrong)


def test_a_run_from_the_first_level_of_a_continuous_euler_gives_the_network_quarters_of_a_logarithm() -> None:
    times: list[float] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        times.append(float(t[0]))
        return x

    options = {"prediction_type": "v_prediction", "timestep_type": "continuous", "use_karras_sigmas": True}
    scheduler = diffusers.EulerDiscreteScheduler(sigma_min=0.002, sigma_max=700.0, **options)
    sample(Denoiser.from_diffusers(network, scheduler), (1, 2, 4, 4), steps=3, solver="ddim")
    assert times[0] == pytest.approx(math.log(700.0) / 4)
    assert max(times) < 2.0
