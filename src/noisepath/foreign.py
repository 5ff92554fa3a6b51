"""Networks from elsewhere: how they are called, and what a diffusers scheduler's configuration says of them.

Nothing of diffusers is imported: its networks are modules that are called, its configurations are plain values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ._lazy import torch
from .errors import lookup

if TYPE_CHECKING:
    from torch import Tensor

    from .schedules import Schedule

__all__ = ["Parts", "Wrapped", "parts_of_diffusers"]

# What conditions are called here, and by diffusers' networks.
NAMES = {"label": "class_labels", "text": "encoder_hidden_states"}
PREDICTIONS = {"epsilon": "noise", "sample": "x0", "v_prediction": "v", "flow_prediction": "velocity"}
SCHEDULES = {"linear": "linear", "scaled_linear": "quadratic", "squaredcos_cap_v2": "cosine", "sigmoid": "sigmoid"}


class Wrapped:
    """A module as ``network(x, t, **condition) -> tensor``, the way a :class:`~noisepath.denoiser.Denoiser` calls it.

    Args:
        module: anything that can be called; its parameters, where it has some, say where pictures are made.
        call: ``(module, x, t, **condition) -> tensor``; by default the module is given x and t, and the condition by the names
            of ``names``, and of its answer the first part is taken (diffusers' ``.sample``).
        time_scale: what t is multiplied with, for networks that count in other units.
        names: what parts of a condition are called by the module, where it is not what they are called here.

    An answer with twice the channels of x is a learned variance's: its first half is the prediction.
    """

    def __init__(
        self,
        module: Callable[..., Any],
        call: Callable[..., Tensor] | None = None,
        *,
        time_scale: float = 1.0,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.module, self._call = module, call
        self.time_scale, self.names = time_scale, dict(names or {})

    def __call__(self, x: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        """x: (B, C, *), t: (B,) -> (B, C, *)."""
        t = t if self.time_scale == 1.0 else t * self.time_scale
        if self._call is not None:
            return self._call(self.module, x, t, **condition)
        answer = self.module(x, t, **{self.names.get(name, name): value for name, value in condition.items()})
        part = answer if isinstance(answer, torch.Tensor) else getattr(answer, "sample", None)
        out: Tensor = answer[0] if part is None else part
        if out.ndim == x.ndim > 1 and out.shape[1] == 2 * x.shape[1]:
            out = out[:, : x.shape[1]]
        return out

    def parameters(self) -> Iterator[Tensor]:
        """Those of the module; none where it has none."""
        own = getattr(self.module, "parameters", None)
        return iter(own() if callable(own) else ())


class Parts(NamedTuple):
    """What a scheduler's configuration says of the network that was trained with it."""

    schedule: Schedule
    prediction: str
    sigma_data: float
    time_scale: float


def parts_of_diffusers(config: Any) -> Parts:
    """Schedule and prediction of a diffusers scheduler, or of its ``config`` as a mapping.

    Tables (any scheduler with betas), flow matching and EDM.  ValueError, naming it, for what is none of these.
    """
    from .schedules import schedule

    told: Mapping[str, Any] = getattr(config, "config", config)
    if not isinstance(told, Mapping):
        got = type(config).__name__
        raise TypeError(f"a scheduler's configuration is a mapping, or a scheduler that has one, but got {got}")
    kind = str(told.get("_class_name", type(config).__name__))
    prediction = told.get("prediction_type", "flow_prediction" if _is_flow(kind, told) else "epsilon")
    if prediction == "flow_prediction" or _is_flow(kind, told):
        return Parts(schedule("flow"), "velocity", 0.5, float(told.get("num_train_timesteps", 1000)))
    if kind.startswith("EDM"):
        if prediction != "epsilon":
            raise ValueError(f"of EDM's networks those with prediction_type 'epsilon' are known, not {prediction!r}")
        ends = {name: float(told[name]) for name in ("sigma_min", "sigma_max") if name in told}
        return Parts(schedule("edm", **ends), "edm", float(told.get("sigma_data", 0.5)), 1.0)
    return Parts(_table(told), lookup(PREDICTIONS, prediction, "prediction_type of diffusers"), 0.5, 1.0)


def _is_flow(kind: str, told: Mapping[str, Any]) -> bool:
    return kind.startswith("FlowMatch") or ("shift" in told and "beta_schedule" not in told)


def _table(told: Mapping[str, Any]) -> Schedule:
    from .schedules import Discrete
    from .tables import DiffusionConfig

    zero = bool(told.get("rescale_betas_zero_snr", False))
    if told.get("trained_betas") is not None:
        return Discrete(config=DiffusionConfig(betas=tuple(map(float, told["trained_betas"])), zero_terminal_snr=zero))
    if "beta_schedule" not in told:
        raise ValueError(f"this configuration has no beta_schedule, and is of no flow or EDM scheduler: it has {sorted(told)}")
    return Discrete(
        config=DiffusionConfig(
            num_timesteps=int(told.get("num_train_timesteps", 1000)),
            beta_start=float(told.get("beta_start", 1e-4)),
            beta_end=float(told.get("beta_end", 0.02)),
            schedule=lookup(SCHEDULES, told["beta_schedule"], "beta_schedule of diffusers"),
            zero_terminal_snr=zero,
        )
    )
