"""A sampler that was tuned to a model: its tableau, and the schedule that it holds for, as a small JSON file.

What :func:`noisepath.tuning.tune` makes and :func:`noisepath.sampling.sample` takes as its ``solver``.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import write_whole
from .gaussian_start import GaussianStart
from .guidance.transformed import views_of
from .levels import Level
from .tableau import Node, Tableau, calls, check

if TYPE_CHECKING:
    from .denoiser import Denoise
    from .schedules import Schedule

__all__ = ["Tuned", "fingerprint", "load_tuned", "tuned_of_run"]

_FORMAT = "noisepath tuned sampler 1"
FOLDER = "tuned"
"""Where a run keeps its own: ``RUN/tuned/calls-8.json``."""


@dataclass(frozen=True)
class Tuned:
    """A tuned sampler."""

    tableau: Tableau
    schedule: Mapping[str, Any]
    """The :func:`fingerprint` of the schedule it was tuned on."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """How it was made and what it gained, plain values."""
    start: GaussianStart | None = None
    """An analytic start: what leads, without a call, from the schedule's noisiest level to the tableau's first."""
    views: tuple[tuple[str, ...], ...] | None = None
    """What it was tuned for: of each denoiser the names of the guidances that it is seen through, the outermost first (the
    scales may differ); None: not known."""

    @property
    def calls(self) -> int:
        """How often it asks the denoiser."""
        return calls(self.tableau)

    @property
    def steps(self) -> int:
        """How many steps it makes: one a call."""
        return self.calls

    def check(self, schedule: Schedule | None) -> None:
        """ValueError unless ``schedule`` is the one that it was tuned on."""
        if schedule is None:
            raise ValueError("a tuned sampler holds for its own schedule, and none is known of this denoiser: say schedule=")
        here = fingerprint(schedule)
        if not _same(here, self.schedule):
            raise ValueError(
                f"this sampler was tuned on {self.schedule['kind']} from log-SNR {_ends(self.schedule)}, but this denoiser's "
                f"schedule is {here['kind']} from {_ends(here)}: tune one for it, or take a solver by name"
            )

    def check_view(self, denoiser: Denoise) -> None:
        """ValueError unless ``denoiser`` is seen through the guidances that the sampler was tuned for: another view of a model
        has other scales in its answers."""
        here = views_of(denoiser)
        if self.views is not None and here not in self.views:
            tuned_for = " and ".join(_spoken(view) for view in self.views)
            raise ValueError(
                f"this sampler was tuned for {tuned_for}, but is to sample {_spoken(here)}: tune one for that, or take a "
                "solver by name"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, whole or not at all."""
        nodes = [
            {
                "alpha": node.level.alpha,
                "sigma": node.level.sigma,
                "states": {str(k): w for k, w in node.states.items()},
                "outputs": {str(k): w for k, w in node.outputs.items()},
                "asked": node.evaluate,
                "kept": node.kept,
            }
            for node in self.tableau
        ]
        told = {"format": _FORMAT, "schedule": dict(self.schedule), "about": dict(self.about), "nodes": nodes}
        if self.start is not None:
            told["start"] = self.start.to_dict()
        if self.views is not None:
            told["views"] = [list(view) for view in self.views]
        with write_whole(path) as part:
            part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def load_tuned(path: str | os.PathLike[str]) -> Tuned:
    """Read what :meth:`Tuned.save` wrote; FileNotFoundError, or ValueError for a file that is something else or damaged."""
    file = Path(path)
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if told["format"] != _FORMAT:
            raise ValueError(f"its format is {told['format']!r}, not {_FORMAT!r}")
        nodes = tuple(
            Node(
                Level(_number(node["alpha"]), _number(node["sigma"])),
                {int(k): _number(w) for k, w in node["states"].items()},
                {int(k): _number(w) for k, w in node["outputs"].items()},
                {},
                bool(node["asked"]),
                bool(node.get("kept", False)),
            )
            for node in told["nodes"]
        )
        check(nodes)
        schedule = dict(told["schedule"])
        if not _same(schedule, schedule):
            raise ValueError("its schedule has no log-SNRs")
        start = GaussianStart.from_dict(told["start"]) if "start" in told else None
        views = tuple(tuple(map(str, view)) for view in told["views"]) if "views" in told else None
        return Tuned(nodes, schedule, dict(told["about"]), start, views)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no tuned sampler {str(file)!r}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(file)!r} is no tuned sampler, or damaged: {error}") from error


def tuned_of_run(run: str | os.PathLike[str]) -> dict[int, Path]:
    """The files of a run's tuned samplers, by their number of calls, fewest first."""
    found = {}
    for path in (Path(run) / FOLDER).glob("calls-*.json"):
        number = path.stem.removeprefix("calls-")
        if number.isdecimal():
            found[int(number)] = path
    return dict(sorted(found.items()))


def _spoken(view: Sequence[str]) -> str:
    """clip(classifier_free(the model))"""
    return "".join(f"{name}(" for name in view) + "the model" + ")" * len(view)


def _number(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool | str) or not math.isfinite(number):
        raise ValueError(f"{value!r} is not a finite number")
    return number


def fingerprint(schedule: Schedule) -> dict[str, Any]:
    """What a schedule is known again by, plain values: its kind, how it scales, and its log-SNR from first time to last."""
    from ._lazy import torch

    whole = schedule.num_timesteps  # a table is looked at where it has entries
    length = schedule.t_max - schedule.t_min
    times = [schedule.t_min + length * i / (_PLACES - 1) for i in range(_PLACES)]
    if whole is not None:
        times = sorted({float(round(t)) for t in times})
    log_snrs = schedule.log_snr(torch.tensor(times, dtype=torch.float64, device="cpu")).tolist()
    # JSON has no infinity that every reader takes
    return {
        "kind": type(schedule).__name__,
        "scaling": schedule.scaling,
        "times": times,
        "log_snr": [value if math.isfinite(value) else str(value) for value in log_snrs],
    }


_PLACES = 17


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if (one["kind"], one["scaling"], len(one["times"])) != (other["kind"], other["scaling"], len(other["times"])):
        return False
    pairs = [*zip(one["times"], other["times"], strict=True), *zip(one["log_snr"], other["log_snr"], strict=True)]
    return all(math.isclose(float(a), float(b), rel_tol=1e-9, abs_tol=1e-9) for a, b in pairs)


def _ends(told: Mapping[str, Any]) -> str:
    return f"{float(told['log_snr'][-1]):.4g} to {float(told['log_snr'][0]):.4g}"
