"""Noise schedules: which level a picture has at time t.

A schedule is a clock on a Gaussian path.  Time t rises from data to noise and is the number that a network is given;
``log_snr(t)`` falls; a frame (:mod:`noisepath.scalings`) splits the log-SNR into the level ``(alpha, sigma)``:

    x_t = alpha(t) * x_0 + sigma(t) * noise,        log_snr(t) = log(alpha(t)^2 / sigma(t)^2)

Tables (DDPM) have t = 0 .. T-1 and are read as continuous: between entries log_snr is interpolated linearly.  Continuous
schedules have t in [0, 1], EDM's has t = sigma.  Every function takes numbers as float64 tensors of any shape.

``SCHEDULES`` holds them by name, :func:`schedule` makes one, :class:`Shifted` moves any of them to another resolution,
:class:`Stretch` is a part of one, :func:`begun` the part that a run of less strength has left, :func:`cut` turns any of them
into a table, and :func:`to_dict` / :func:`from_dict` store them as plain values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ..errors import lookup, shown, unknown
from ..tables import ALIASES as _TABLE_ALIASES
from ..tables import DiffusionConfig
from .base import Schedule
from .continuous import EDM, Flow, Laplace, SubVP, VPCosine, VPLinear
from .shifted import Shifted
from .stretch import Stretch, begun
from .table import Discrete, Table, cut

__all__ = [
    "ALIASES",
    "EDM",
    "SCHEDULES",
    "Discrete",
    "Flow",
    "Laplace",
    "Schedule",
    "Shifted",
    "Stretch",
    "SubVP",
    "Table",
    "VPCosine",
    "VPLinear",
    "as_schedule",
    "begun",
    "cut",
    "from_dict",
    "schedule",
    "to_dict",
]


def _discrete(name: str) -> Callable[..., Discrete]:
    def make(**options: Any) -> Discrete:
        return Discrete(config=DiffusionConfig(schedule=name, **options))

    make.__doc__ = f"The {name} table; options as in DiffusionConfig."
    return make


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "linear": _discrete("linear"),
    "cosine": _discrete("cosine"),
    "quadratic": _discrete("quadratic"),
    "sigmoid": _discrete("sigmoid"),
    "vp_linear": VPLinear,
    "vp_cosine": VPCosine,
    "sub_vp": SubVP,
    "flow": Flow,
    "edm": EDM,
    "laplace": Laplace,
}

ALIASES = {**_TABLE_ALIASES, "rectified_flow": "flow", "flow_matching": "flow"}
"""Other names that are understood: those of diffusers and of papers."""

_STORED: dict[str, type[Any]] = {
    cls.__name__: cls for cls in (Discrete, Table, VPLinear, VPCosine, SubVP, Flow, EDM, Laplace, Shifted, Stretch)
}


def schedule(name: str, **options: Any) -> Schedule:
    """A schedule by name, with its options: ``schedule("cosine", num_timesteps=500)``, ``schedule("edm", sigma_max=40)``."""
    make = lookup(SCHEDULES, ALIASES.get(name, name) if isinstance(name, str) else name, "schedule", ALIASES)
    try:
        return make(**options)
    except TypeError:
        known = dataclasses.fields(DiffusionConfig) if not isinstance(make, type) else dataclasses.fields(make)
        names = [f.name for f in known if f.init and f.name != "schedule"]
        wrong = next((o for o in options if o not in names), None)
        if wrong is None:
            raise
        raise unknown(f"option of schedule {name!r}", wrong, names) from None


def as_schedule(given: Schedule | str) -> Schedule:
    """A schedule as it is, or the one of this name; TypeError for anything else."""
    if isinstance(given, str):
        return schedule(given)
    if not isinstance(given, Schedule):
        near = "; a scheduler of diffusers is read by Denoiser.from_diffusers" if hasattr(given, "config") else ""
        raise TypeError(f"a schedule is a noisepath Schedule or the name of one, such as 'flow', but got {shown(given)}{near}")
    return given


def to_dict(schedule: Schedule) -> dict[str, Any]:
    """A schedule as plain values, for a checkpoint's JSON; ValueError for one of another's class."""
    kind = type(schedule)
    if _STORED.get(kind.__name__) is not kind:
        known = ", ".join(sorted(_STORED))
        raise ValueError(
            f"a {kind.__name__} can't be stored with a model: a schedule that is trained on is one of {known}; the nearest to "
            f"one of your own is its table, cut(schedule, 1000)"
        )
    if isinstance(schedule, Discrete):
        return {"kind": "Discrete", "config": dataclasses.asdict(schedule.config)}
    if isinstance(schedule, Shifted | Stretch):
        own = {name: getattr(schedule, name) for name in ("factor", "first", "last") if hasattr(schedule, name)}
        return {"kind": kind.__name__, "base": to_dict(schedule.base), **own}
    return {"kind": type(schedule).__name__, **dataclasses.asdict(schedule)}  # type: ignore[call-overload]


def from_dict(stored: dict[str, Any]) -> Schedule:
    """The schedule that :func:`to_dict` stored; an unknown kind or field is an error."""
    fields = dict(stored)
    cls = lookup(_STORED, fields.pop("kind", None), "stored schedule")
    known = [f.name for f in dataclasses.fields(cls) if f.init]
    for name in fields:
        if name not in known:
            raise unknown(f"field of {cls.__name__}", name, known)
    if cls is Discrete:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields["config"].items()}
        return Discrete(config=DiffusionConfig(**values))
    if cls in (Shifted, Stretch):
        fields["base"] = from_dict(fields["base"])
    if cls is Table:
        # JSON has no infinity of its own that every reader takes; Python's writer and reader agree on one
        fields["log_snrs"] = tuple(float(v) for v in fields["log_snrs"])
    made = cls(**fields)
    assert isinstance(made, Schedule)
    return made
