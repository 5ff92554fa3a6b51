"""What the configuration of a diffusers scheduler says of the network that was trained with it.

A network is four things: the levels it knows (a schedule), what it predicts, the number it is given as time, and whether its
denoised estimate is clipped.  A scheduler's configuration holds these beside what belongs to its own runs, so each key has one
of three roles, and the tables below say which:

    read        it says what the network is                                         (``_Kind.keys``, by class)
    grid        it says which levels a run of that scheduler visits, or how it steps: here that is the business of the
                spacing and the solver, and the key is passed over                  (``GRID``)
    neutral     it says what the network is in another class, or nothing that is known here: refused by name unless it has
                the one value that changes nothing                                  (``NEUTRAL``, ``_Kind.neutral``)

A key that is in none of the tables is refused by name.  Nothing of diffusers is imported: a configuration is a mapping of plain
values.  The tables are of diffusers 0.42.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ._lazy import torch
from .clipping import clip_to_range, threshold
from .errors import lookup, shown, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from .schedules import Schedule

__all__ = ["Parts", "parts_of_diffusers"]

PREDICTIONS = {"epsilon": "noise", "sample": "x0", "v_prediction": "v", "flow_prediction": "velocity"}
SCHEDULES = {"linear": "linear", "scaled_linear": "quadratic", "squaredcos_cap_v2": "cosine", "sigmoid": "sigmoid"}


class Parts(NamedTuple):
    """What a scheduler's configuration says of its network."""

    schedule: Schedule
    prediction: str
    sigma_data: float = 0.5
    time: Callable[[Tensor], Tensor] | None = None
    """From c_noise (B,) to the number that the scheduler hands to the network; None: they are the same."""
    sign: float = 1.0
    """-1 where the network predicts the negative of what ``prediction`` says."""
    clamp: Callable[[Tensor], Tensor] | None = None
    """What is done to the denoised estimate."""
    length: float | None = None
    """``num_train_timesteps`` of a straight path, on which pipelines of some networks count in units of their own."""


def parts_of_diffusers(config: Any) -> Parts:
    """What a diffusers scheduler, or its ``config`` as a mapping, says of the network it was trained with.

    A configuration without ``_class_name`` (that of a scheduler that was never saved) is recognised by its keys where they are
    those of a table of betas or of flow matching.

    TypeError for what is no scheduler.  ValueError, by name: a class that is none of a denoiser's, an unknown key, a key that
    is not at the value that changes nothing, a value that its class does not know.
    """
    values = _values_of(config)
    name = _class_of(config, values)
    if name is not None and name in REFUSED:
        raise ValueError(f"{name} can't be read: {REFUSED[name]}")
    kind = _nameless(values) if name is None else CLASSES[name]
    name = name or "this configuration"
    _check_keys(name, kind, values)
    known = {key: value for key, value in values.items() if key in kind.keys and value is not None}
    return kind.read(name, {**kind.defaults, **known})


# ------------------------------------------------------------------------------------------------ which class, which keys


Config = Mapping[str, Any]


@dataclass(frozen=True)
class _Kind:
    """How a class of schedulers is read."""

    read: Callable[[str, Config], Parts]
    keys: frozenset[str]
    defaults: Config = field(default_factory=dict)
    """The class's own values of keys that a configuration may leave out, where they are not those of ``read``."""
    neutral: Config = field(default_factory=dict)
    """Beside ``NEUTRAL``, and before it."""


def _values_of(config: Any) -> Config:
    for wrong, instead in (
        (isinstance(config, str) or hasattr(config, "__fspath__"), "load it: DDIMScheduler.from_pretrained(folder)"),
        (isinstance(config, type), f"make one: {getattr(config, '__name__', '')}()"),
        (hasattr(config, "scheduler"), "a pipeline has one: pipe.scheduler"),
    ):
        if wrong:
            raise TypeError(f"a scheduler or its config is needed, but got {shown(config)}; {instead}")
    values = getattr(config, "config", config)
    if not isinstance(values, Mapping):
        got = type(config).__name__
        raise TypeError(f"a scheduler's configuration is a mapping, or a scheduler that has one, but got {got}")
    return values


def _class_of(config: Any, values: Config) -> str | None:
    """The name of the class as the tables have it; None where there is none to go by."""
    if not isinstance(config, Mapping):
        names = [cls.__name__ for cls in type(config).__mro__]
        found = next((name for name in names if name in CLASSES or name in REFUSED), None)
        if found is not None or not type(config).__module__.startswith("diffusers."):
            return found
        raise unknown("scheduler class", names[0], CLASSES)
    name = values.get("_class_name")
    if name is not None and name not in CLASSES and name not in REFUSED:
        raise unknown("scheduler class", name, CLASSES)
    return name


def _nameless(values: Config) -> _Kind:
    if "beta_schedule" in values:
        # CogVideoX' schedulers have clip_sample among their keys, and do not clip
        return _Kind(_table, TABLE | FLOWS | {"snr_shift_scale"} | (set() if "snr_shift_scale" in values else CLIP | THRESHOLD))
    if {"shift", "use_dynamic_shifting"} <= values.keys() and "stages" not in values:
        return CLASSES["FlowMatchEulerDiscreteScheduler"]
    keys = sorted(key for key in values if not key.startswith("_"))
    raise ValueError(
        f"this configuration has neither a _class_name nor a beta_schedule, and may be of several schedulers: give the "
        f"scheduler itself, or name its class (it has {', '.join(keys)})"
    )


def _check_keys(name: str, kind: _Kind, values: Config) -> None:
    neutral = {**NEUTRAL, **kind.neutral}
    for key, value in values.items():
        if key.startswith("_") or value is None or key in kind.keys or key in GRID and key not in kind.neutral:
            continue
        if key not in neutral:
            if key in CLIP | THRESHOLD | TABLE:  # what a class has no key for it does not do
                continue
            raise ValueError(
                f"unknown key {key!r} = {shown(value)} in the configuration of {name}: whether it changes what the network "
                "is can't be said; take it out where it does not"
            )
        if not (isinstance(value, bool | int | float | str) and value == neutral[key]):
            raise ValueError(
                f"{key} = {shown(value)} is not read in the configuration of {name}, where it changes nothing only as "
                f"{neutral[key]!r}: give the scheduler that the network was trained with"
            )


TABLE = frozenset({
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type",
    "rescale_betas_zero_snr",
})  # fmt: skip
CLIP = frozenset({"clip_sample", "clip_sample_range"})
THRESHOLD = frozenset({"thresholding", "dynamic_thresholding_ratio", "sample_max_value"})
FLOWS = frozenset({"use_flow_sigmas"})

GRID = frozenset({
    # which levels a run visits
    "timestep_spacing", "steps_offset", "set_alpha_to_one", "final_sigmas_type", "interpolation_type", "sigma_schedule", "rho",
    "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "lambda_min_clipped", "sigma_min",
    "sigma_max", "original_inference_steps", "sampling_eps",
    # the same on a straight path: they move levels, and the network is given each level's own time
    "shift", "flow_shift", "use_dynamic_shifting", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len",
    "time_shift_type", "shift_terminal",
    # how a run steps
    "solver_order", "solver_type", "algorithm_type", "lower_order_final", "euler_at_final", "predict_x0", "disable_corrector",
    "solver_p", "predictor_order", "corrector_order", "tau_func", "skip_prk_steps", "variance_type", "eta", "s_noise",
    "stochastic_sampling", "correct_steps", "snr", "timestep_scaling", "upscale_mode",
})  # fmt: skip

NEUTRAL: Config = {
    "snr_shift_scale": 1.0, "timestep_type": "discrete", "invert_sigmas": False, "use_flow_sigmas": False,
    "rescale_betas_zero_snr": False, "scale_factors": None,
}  # fmt: skip


# ------------------------------------------------------------------------------------------------------ a table of betas


def _table(name: str, config: Config) -> Parts:
    """Betas; with ``use_flow_sigmas`` a straight path, of which sigma is the time."""
    kind = config.get("prediction_type", "epsilon")
    prediction = lookup(PREDICTIONS, kind, "prediction_type of diffusers")
    if config.get("use_flow_sigmas", False):
        if kind == "v_prediction":
            raise ValueError(
                f"prediction_type = 'v_prediction' with use_flow_sigmas = True is not read in {name}: on a straight path it is "
                "no v of unit variance (there are: flow_prediction, epsilon, sample)"
            )
        return _flow(name, config)._replace(prediction=prediction, clamp=_clamp(config))
    if kind == "flow_prediction":
        raise ValueError(f"prediction_type = 'flow_prediction' needs a straight path: use_flow_sigmas = True in {name}")
    return Parts(_betas(config), prediction, clamp=_clamp(config))


def _betas(config: Config) -> Schedule:
    from .schedules import Discrete
    from .tables import DiffusionConfig

    zero, shift = bool(config.get("rescale_betas_zero_snr", False)), float(config.get("snr_shift_scale", 1.0))
    betas = config.get("trained_betas")
    table = DiffusionConfig(
        num_timesteps=1000 if betas is not None else int(config.get("num_train_timesteps", 1000)),
        beta_start=float(config.get("beta_start", 1e-4)),
        beta_end=float(config.get("beta_end", 0.02)),
        schedule=lookup(SCHEDULES, config.get("beta_schedule", "linear"), "beta_schedule of diffusers"),
        betas=None if betas is None else tuple(map(float, betas)),
        zero_terminal_snr=zero and shift == 1.0,
    )
    if shift == 1.0:
        return Discrete(config=table)
    if not 0 < shift < math.inf:
        raise ValueError(f"snr_shift_scale must be a finite number above 0, but is {shift}")
    # SNR / shift, before the last entry is moved to pure noise  (Yang et al. 2408.06072)
    moved = tuple(snr / (snr + shift) for snr in table.tables().snr)
    return Discrete(config=DiffusionConfig(alphas_cumprod=moved, zero_terminal_snr=zero))


def _euler(name: str, config: Config) -> Parts:
    """Betas; with continuous times and v the same as EDM's preconditioning of sigma_data 1, its network negated."""
    if config.get("timestep_type", "discrete") != "continuous" or config.get("prediction_type") != "v_prediction":
        return _table(name, config)
    from .schedules import Discrete

    table = _betas(config)
    assert isinstance(table, Discrete)
    snr = table.config.tables().snr
    last = snr[-1] or 2.0**-24  # of a table that ends in pure noise diffusers puts this in the last place
    ends = {"sigma_min": snr[0] ** -0.5, "sigma_max": last**-0.5}
    return _edm(name, {**ends, "sigma_data": 1.0, **config})


def _clamp(config: Config) -> Callable[[Tensor], Tensor] | None:
    """What a scheduler does to the denoised estimate, thresholding before clipping as in each of them."""
    if config.get("thresholding", False) and config.get("predict_x0", True):  # UniPC of the noise does not do it
        ratio, most = float(config.get("dynamic_thresholding_ratio", 0.995)), float(config.get("sample_max_value", 1.0))
        if not (0 < ratio <= 1 and most > 0):
            raise ValueError(
                "thresholding needs a dynamic_thresholding_ratio above 0 and at most 1 and a sample_max_value above 0, but got "
                f"{ratio} and {most}"
            )
        return partial(threshold, ratio=ratio, limit=1.0, most=most)
    if config.get("clip_sample", False):
        most = float(config.get("clip_sample_range", 1.0))
        if not most > 0:
            raise ValueError(f"clip_sample_range must be above 0, but is {most}")
        return partial(clip_to_range, low=-most, high=most)
    return None


# ------------------------------------------------------------------------------------------------------- without a table


def _flow(name: str, config: Config) -> Parts:
    """A straight path, time sigma num_train_timesteps; inverted, the network's time and answer run the other way."""
    from .schedules import schedule

    steps = float(config.get("num_train_timesteps", 1000))
    if config.get("invert_sigmas", False):
        return Parts(schedule("flow"), "velocity", time=partial(_mirrored, length=steps), sign=-1.0, length=steps)
    return Parts(schedule("flow"), "velocity", time=partial(_scaled, length=steps), length=steps)


def _minimax(name: str, config: Config) -> Parts:
    """Time 1 - sigma, and the negative of the velocity."""
    return _flow(name, {"num_train_timesteps": 1, "invert_sigmas": True})._replace(length=None)


def _edm(name: str, config: Config) -> Parts:
    """Karras et al. 2206.00364; with ``v_prediction`` the network's answer is the negative of theirs."""
    from .schedules import schedule

    kind = config.get("prediction_type", "epsilon")
    sign = lookup({"epsilon": 1.0, "v_prediction": -1.0}, kind, f"prediction_type of {name}")
    ends = {end: float(config[end]) for end in ("sigma_min", "sigma_max") if end in config}
    sigma_data = float(config.get("sigma_data", 0.5))
    return Parts(schedule("edm", **ends), "edm", sigma_data, sign=sign, clamp=_clamp(config))


def _edm_by_angle(name: str, config: Config) -> Parts:
    """EDM's preconditioning with time 2 atan(sigma) / pi."""
    return _edm(name, config)._replace(time=_angle)


def _angles(name: str, config: Config) -> Parts:
    """A quarter of a circle from data to noise, time in [0, 1], v: sigma = sin(pi t / 2)."""
    from .schedules import schedule

    return Parts(schedule("vp_cosine"), "v")


def _score_ve(name: str, config: Config) -> Parts:
    """Song et al. 2011.13456, eq. 31: the network is given sigma, and its answer is the score."""
    from .schedules import schedule

    return Parts(schedule("edm", sigma_min=float(config["sigma_min"]), sigma_max=float(config["sigma_max"])), "score")


def _score_vp(name: str, config: Config) -> Parts:
    """Song et al. 2011.13456, eq. 33: time in [0, 1], the network predicts the noise."""
    from .schedules import schedule

    ends = {"beta_min": float(config["beta_min"]), "beta_max": float(config["beta_max"])}
    return Parts(schedule("vp_linear", **ends), "noise")


def _scaled(t: Tensor, length: float) -> Tensor:
    return t * length


def _mirrored(t: Tensor, length: float) -> Tensor:
    return (1.0 - t) * length


def _angle(c_noise: Tensor) -> Tensor:
    """2 atan(sigma) / pi of EDM's c_noise = log(sigma) / 4."""
    return torch.atan(torch.exp(4.0 * c_noise)) * (2 / math.pi)


# --------------------------------------------------------------------------------------------------------- class by class

_UNSCALED = TABLE - {"rescale_betas_zero_snr"}
_SD: Config = {"beta_start": 0.00085, "beta_end": 0.012}
_LATENT: Config = {**_SD, "beta_schedule": "scaled_linear"}
_CLIPS: Config = {"clip_sample": True}
_COGVIDEOX = _Kind(_table, TABLE | {"snr_shift_scale"}, {**_LATENT, "snr_shift_scale": 3.0})
_SINGLE = _Kind(_table, _UNSCALED | THRESHOLD | FLOWS)
_KARRAS = _Kind(_table, _UNSCALED, _SD)
_ANCESTRAL = _Kind(_table, TABLE)
_DDIM = _Kind(_table, TABLE | CLIP | THRESHOLD, _CLIPS)
_FLOW = _Kind(_flow, frozenset({"num_train_timesteps", "invert_sigmas"}), neutral={"prediction_type": "flow_prediction"})
_EPSILON: Config = {"prediction_type": "epsilon"}
_EDM_KEYS = frozenset({"sigma_min", "sigma_max", "sigma_data", "prediction_type"})

CLASSES: Mapping[str, _Kind] = {
    "DDIMScheduler": _DDIM,
    "DDIMParallelScheduler": _DDIM,
    "DDIMInverseScheduler": _Kind(_table, TABLE | CLIP, _CLIPS),
    "DDPMScheduler": _DDIM,
    "DDPMParallelScheduler": _DDIM,
    "CogVideoXDDIMScheduler": _COGVIDEOX,
    "CogVideoXDPMScheduler": _COGVIDEOX,
    "DEISMultistepScheduler": _SINGLE,
    "DPMSolverMultistepInverseScheduler": _SINGLE,
    "DPMSolverMultistepScheduler": _Kind(_table, TABLE | THRESHOLD | FLOWS),
    "DPMSolverSDEScheduler": _KARRAS,
    "DPMSolverSinglestepScheduler": _SINGLE,
    "EulerAncestralDiscreteScheduler": _ANCESTRAL,
    "EulerDiscreteScheduler": _Kind(_euler, TABLE | {"timestep_type", "sigma_min", "sigma_max"}),
    "HeunDiscreteScheduler": _Kind(_table, _UNSCALED | CLIP, _SD),
    "KDPM2AncestralDiscreteScheduler": _KARRAS,
    "KDPM2DiscreteScheduler": _KARRAS,
    # its answer is mixed with x by a weight of at most 0.25 / (10 t)^2, which is left out: 7e-6 at its last level
    "LCMScheduler": _Kind(_table, TABLE | CLIP | THRESHOLD, _LATENT, {"timestep_scaling": 10.0}),
    "LMSDiscreteScheduler": _Kind(_table, _UNSCALED),
    "PNDMScheduler": _Kind(_table, _UNSCALED),
    "RePaintScheduler": _Kind(_table, (_UNSCALED - {"prediction_type"}) | {"clip_sample"}, _CLIPS, _EPSILON),
    "SASolverScheduler": _SINGLE,
    "TCDScheduler": _Kind(_table, TABLE, _LATENT),
    "UnCLIPScheduler": _Kind(
        _table, frozenset({"num_train_timesteps", "beta_schedule", "prediction_type"}) | CLIP,
        {**_CLIPS, "beta_schedule": "squaredcos_cap_v2"},
    ),
    "UniPCMultistepScheduler": _Kind(_table, TABLE | THRESHOLD | FLOWS | {"predict_x0"}),
    "FlowMatchEulerDiscreteScheduler": _FLOW,
    "FlowMatchHeunDiscreteScheduler": _FLOW,
    # its step does not know the inverted form
    "FlowMatchLCMScheduler": _Kind(_flow, _FLOW.keys - {"invert_sigmas"}, neutral=_FLOW.neutral),
    "LTXEulerAncestralRFScheduler": _FLOW,
    "MiniMaxH3Scheduler": _Kind(_minimax, frozenset()),
    "EDMEulerScheduler": _Kind(_edm, _EDM_KEYS),
    "EDMDPMSolverMultistepScheduler": _Kind(_edm, _EDM_KEYS | THRESHOLD),
    "CosineDPMSolverMultistepScheduler": _Kind(
        _edm_by_angle, _EDM_KEYS,
        {"sigma_min": 0.3, "sigma_max": 500.0, "sigma_data": 1.0, "prediction_type": "v_prediction"},
    ),
    "IPNDMScheduler": _Kind(_angles, frozenset(), neutral={"trained_betas": None, "prediction_type": "v_prediction"}),
    "ScoreSdeVeScheduler": _Kind(
        _score_ve, frozenset({"sigma_min", "sigma_max"}), {"sigma_min": 0.01, "sigma_max": 1348.0}, {"prediction_type": None}
    ),
    "ScoreSdeVpScheduler": _Kind(
        _score_vp, frozenset({"beta_min", "beta_max"}), {"beta_min": 0.1, "beta_max": 20.0}, _EPSILON
    ),
}  # fmt: skip

_TOKENS = "its samples are tokens, not numbers to which noise is added"
_JUMPS = "its network is distilled to jump between levels, and gives no posterior mean"

REFUSED: Mapping[str, str] = {
    "AmusedScheduler": _TOKENS,
    "BlockRefinementScheduler": _TOKENS,
    "CMStochasticIterativeScheduler": _JUMPS,
    "ConsistencyDecoderScheduler": _JUMPS,
    "DDPMWuerstchenScheduler": "its continuous table, cut off at alpha_bar 0.0001 and 0.9999, is none of the schedules here",
    "DiscreteDDIMScheduler": _TOKENS,
    "EntropyBoundScheduler": _TOKENS,
    "FlowMapEulerDiscreteScheduler": _JUMPS,
    "HeliosDMDScheduler": _JUMPS,
    "HeliosScheduler": "its runs go through stages of several resolutions, each with a path of its own",
    "KarrasVeScheduler": "its pipeline gives the network (x + 1) / 2 at sigma / 2, not x at sigma",
    "PiflowScheduler": "its network answers with a policy for a whole step, not with a posterior mean",
    "RFD4ProteinaScheduler": "its samples are made of parts with a time each",
    "SCMScheduler": _JUMPS,
    "VQDiffusionScheduler": _TOKENS,
}
"""Classes that are no denoiser's, and why."""
