"""``noisepath tune``: samplers fitted to a run, kept in its folder, where ``noisepath sample`` finds them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from noisepath import noise
from noisepath.cli.labels import labelled
from noisepath.guidance import classifier_free
from noisepath.guiding import unguidable
from noisepath.training.checkpoint import load
from noisepath.tuned import FOLDER, Tuned
from noisepath.tuning import tune

if TYPE_CHECKING:
    from noisepath.cli.options import Tune
    from noisepath.conditions import Condition
    from noisepath.denoiser import Denoiser

__all__ = ["run"]


def run(command: Tune, device: str) -> None:
    """Tune, write ``RUN/tuned/calls-N.json``, and print what was gained."""
    denoiser = load(command.run, device, limit="stored" if command.limit else None)
    guidable = denoiser.info["class_names"] and unguidable(denoiser) is None
    scales = command.guidance or ((1.0, 2.0) if guidable else (1.0,))
    began = time.monotonic()
    made = tune(
        [classifier_free(denoiser, scale) for scale in scales],
        steps=command.steps,
        condition=_classes(denoiser, command.seed, device),
        starts=command.starts,
        begin_from=command.begin_from,
        analytic_start=command.analytic_start,
        seed=command.seed,
        batch_size=command.batch_size,
        progress=command.progress,
        device=device,
    )
    for tuned in made:
        path = command.run / FOLDER / f"calls-{tuned.calls}.json"
        replace(tuned, about={**tuned.about, "guidance": list(scales), "seed": command.seed}).save(path)
    print(table(made))
    took = time.monotonic() - began
    print(f"{took:.0f} s; noisepath sample {command.run} --steps {made[0].calls} uses the first of them by itself")


def table(made: Sequence[Tuned]) -> str:
    """What each sampler gained: how far held-out pictures are from where the model's own runs of many calls end."""
    rows = [("calls", "rmse by default", "tuned", "median by default", "tuned", "begun from")]
    for tuned in made:
        figures = [f"{tuned.about[name]:.4f}" for name in ("default_rmse", "rmse", "default_median", "median")]
        rows.append((_calls(tuned), *figures, str(tuned.about["from"])))  # type: ignore[arg-type]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _calls(tuned: Tuned) -> str:
    return str(tuned.calls) if tuned.start is None else f"{tuned.calls} + analytic start"


def _classes(denoiser: Denoiser, seed: int, device: str) -> Callable[[Sequence[int]], Condition] | None:
    """A class for each start, by its number."""
    known = len(denoiser.info["class_names"])
    if not known:
        return None

    def asked(numbers: Sequence[int]) -> Condition:
        drawn = noise.uniform(noise.key(seed, "class"), numbers)
        return labelled(denoiser, (drawn * known).long())

    return asked
