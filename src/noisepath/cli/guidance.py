"""``noisepath guidance``: what each guidance does, to a known mixture and to a run, as a figure and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from noisepath.cli.labels import labelled, labels_for
from noisepath.evaluation.classifier import load_classifier
from noisepath.evaluation.pictures import as_saved
from noisepath.files import check_folder, write_whole
from noisepath.guidance.told import within
from noisepath.guidance_figure import guidance_figure
from noisepath.guiding import METHODS, Guided, Told, guide_mixture, guide_model, methods_for, unguidable
from noisepath.training.checkpoint import load
from noisepath.training.earlier import load_earlier

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.cli.options import Guidance
    from noisepath.denoiser import Denoiser

__all__ = ["run", "table"]


def run(command: Guidance, device: str) -> None:
    """Guide, print the table, write the figure and the JSON."""
    beside = _checked(command)
    denoiser = load(command.run, device, limit="stored" if command.limit else None)
    methods = methods_for(denoiser, command.methods)
    labels = labels_for(denoiser, command.classes, command.n)
    if labels is None and denoiser.vocabulary:
        known = ", ".join(denoiser.vocabulary.entries)
        raise ValueError(f"guidance is shown towards classes, but this model was told none ({known}): see sample --guidance")
    limit: Literal["stored"] | None = "stored" if command.limit else None
    weaker, which = load_earlier(command.run, denoiser.info["steps"], device, limit=limit)
    told = Told(command.interval, command.rescale, weaker)
    how: dict[str, Any] = {"solver": command.solver, "steps": command.steps, "spacing": command.spacing, "seed": command.seed}
    points = guide_mixture(methods, command.scales, told, **how)
    pictures = guide_model(
        denoiser,
        (command.n, *denoiser.info["shape"]),
        methods,
        command.scales,
        told,
        _reader(command.run, device),
        condition=None if labels is None else labelled(denoiser, labels),
        progress=command.progress,
        **how,
    )
    notes = _notes(denoiser, methods, command, which)
    found = {"run": str(command.run), **how, "n": command.n, "interval": list(command.interval), "rescale": command.rescale}
    found |= {"mixture": [one.to_dict() for one in points], "pictures": [one.to_dict() for one in pictures], "notes": notes}
    with write_whole(beside) as part:
        part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    guidance_figure(points, pictures, command.out)
    print(table(points, pictures))
    print("\n".join(["", *notes, f"drawn in {command.out}, the figures are in {beside}"]))


def _checked(command: Guidance) -> Path:
    """The JSON's place, beside the figure's; errors of what can be seen at once."""
    if command.n < 1:
        raise ValueError(f"n is the number of pictures, 1 or more, but is {command.n}")
    if not command.scales:
        raise ValueError("--scales needs one guidance scale or more (1 means none)")
    if len(set(command.scales)) < len(command.scales):
        raise ValueError(f"--scales names one twice: {', '.join(f'{scale:g}' for scale in command.scales)}")
    within("rescale", command.rescale, 0.0, 1.0)
    if command.out.is_dir() or command.out.suffix.lower() != ".png":
        raise ValueError(f"--out names the figure, a file that ends in .png, but is {str(command.out)!r}")
    check_folder(command.out.parent)
    return command.out.with_suffix(".json")


def _reader(run: Path, device: str) -> Callable[[Tensor], Tensor] | None:
    """What the run's own classifier reads, if it was evaluated."""
    try:
        classifier = load_classifier(run / "evaluation" / "classifier", device)
    except FileNotFoundError:
        return None
    return lambda pictures: classifier.read(as_saved(pictures))


def _notes(denoiser: Denoiser, methods: Sequence[str], command: Guidance, which: str) -> list[str]:
    """What has to be said of the figure."""
    notes = []
    if (reason := unguidable(denoiser)) is not None:
        left_out = [name for name, method in METHODS.items() if method.null]
        notes.append(f"{reason}; left out: {', '.join(left_out)}")
    weaker = [name for name in methods if METHODS[name].weaker and (name == "autoguidance" or reason is not None)]
    if weaker:
        notes.append(f"{' and '.join(weaker)}: the weaker model is {which} (of the mixture: one 3 times as wide)")
    if "interval" in methods:
        low, high = command.interval
        notes.append(f"interval: guidance at {low:g} < sigma / alpha <= {high:g} alone")
    return notes


def table(points: Sequence[Guided], pictures: Sequence[Guided]) -> str:
    """A line for each method and scale: how the mixture's points came out, and the pictures."""
    read = any("read_as_asked" in one.figures for one in pictures)
    plane = {(one.method, one.scale): one.figures for one in points}
    rows = [["method", "scale", "points read", "Frechet", "spread", "contrast", "beyond [-1, 1]"]]
    rows[0] += ["pictures read"] if read else []
    for one in pictures:
        mine, its = plane.get((one.method, one.scale)), one.figures
        row = [one.method, f"{one.scale:g}"]
        row += ["-"] * 3 if mine is None else [
            f"{100 * mine['read_as_asked']:.1f} %", f"{mine['frechet']:.4f}", f"{mine['spread']:.2f}"
        ]  # fmt: skip
        row += [f"{its['contrast']:.3f}", f"{100 * its['beyond']:.1f} %"]
        rows.append([*row, f"{100 * its['read_as_asked']:.0f} %"] if read else row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(_padded(*cell) for cell in enumerate(zip(row, widths, strict=True))) for row in rows)


def _padded(column: int, cell: tuple[str, int]) -> str:
    """The name to the left, numbers to the right."""
    text, width = cell
    return text.ljust(width) if column == 0 else text.rjust(width)
