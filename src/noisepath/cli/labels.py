"""What is asked for on the command line, as a model's condition."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from noisepath.asking import Pictured
from noisepath.cli.canvas import read_canvas, to_model
from noisepath.conditions import Condition
from noisepath.denoiser import device_of
from noisepath.errors import shown, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.denoiser import Denoiser

__all__ = ["asked_for", "labelled", "labels_for", "prompted"]


def labels_for(denoiser: Denoiser, classes: tuple[str, ...], n: int) -> Tensor | None:
    """The classes asked for, in turn, as labels (n,); all of the model's if none are; None of a model without classes."""
    known: tuple[str, ...] = tuple(denoiser.info["class_names"])
    if not known:
        if classes:
            raise ValueError("this model was trained without classes, so none can be asked for")
        return None
    for name in classes:
        if name not in known:
            raise unknown("class", name, known)
    wanted = [known.index(name) for name in classes] or list(range(len(known)))
    return torch.tensor([wanted[i % len(wanted)] for i in range(n)])


def labelled(denoiser: Denoiser, labels: Tensor) -> Condition:
    """Pictures of these classes; nothing is said of what else the model can be asked for."""
    vocabulary = denoiser.vocabulary
    if vocabulary is None or not vocabulary.others:
        return Condition(label=labels.to(device_of(denoiser)))
    told: Condition | None = vocabulary.condition(len(labels), device=device_of(denoiser), label=labels.tolist())
    assert told is not None
    return told


def prompted(
    denoiser: Denoiser, prompts: tuple[str, ...], said: tuple[str, ...], classes: tuple[str, ...], n: int, cut: bool = False
) -> tuple[Condition | None, list[dict[str, object]]]:
    """The condition of n pictures (prompts and classes in turn, NAME=VALUE for all of them), and what was asked for in each.

    ValueError for what the model can't be asked for.
    """
    vocabulary = denoiser.vocabulary
    assert vocabulary is not None, "loaded models have one"
    asked: dict[str, Any] = {}
    told_of: dict[str, Any] = {}
    for text in said:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"--say takes NAME=VALUE, but was given {shown(text)}")
        _check_once(name, asked)
        entry = vocabulary.entries.get(name)
        asked[name] = [_seen(entry, Path(value)) if isinstance(entry, Pictured) else value] * n
        told_of[name] = [value] * n
    if prompts:
        if "text" not in vocabulary:
            raise ValueError("this model was trained without captions, so it takes no prompt")
        _check_once("text", asked)
        asked["text"] = [prompts[i % len(prompts)] for i in range(n)]
    labels = labels_for(denoiser, classes, n) if classes or not asked else None
    if labels is not None:
        _check_once("label", asked)
        asked["label"] = [denoiser.info["class_names"][label] for label in labels.tolist()]
    told = vocabulary.condition(n, device=device_of(denoiser), cut=cut, **asked)
    names = {"text": "prompt", "label": "class"}
    told_of = {**asked, **told_of}
    return told, [{names.get(name, name): values[i] for name, values in told_of.items()} for i in range(n)]


def _seen(entry: Pictured, path: Path) -> Tensor:
    """A picture file as the model is told it: stretched to its size, NaN where it is transparent by half or more."""
    canvas = read_canvas(path)
    shape = (entry.channels, entry.height, entry.width)
    if canvas.alpha is None:
        return to_model(canvas.colours, shape)
    known = to_model(canvas.alpha[..., None], (1, *shape[1:])) > 0
    return to_model(canvas.colours, shape).where(known, torch.nan)


def _check_once(name: str, asked: Mapping[str, object]) -> None:
    if name in asked:
        raise ValueError(f"{name!r} is asked for twice: say it once, with --classes, --prompt or --say {name}=VALUE")


def asked_for(
    denoiser: Denoiser, classes: tuple[str, ...], guidance: float, n: int, prompts: tuple[str, ...] = ()
) -> Condition | None:
    """What n pictures that are there already are taken to be: the classes or prompts said, in turn; nothing if none are.

    ValueError for an unknown class or word, guidance towards nothing, and what the model never learnt: to be told nothing.
    """
    if not denoiser.vocabulary:
        labels_for(denoiser, classes, n)  # refuses classes
        if prompts:
            raise ValueError("this model was trained without captions, so it takes no prompt")
        if guidance != 1.0:
            raise ValueError(f"guidance {guidance:g} leads towards a class, but this model was trained without classes")
        return None
    dropped = float(denoiser.info.get("training", {}).get("drop_condition", 0.0)) > 0.0
    if guidance != 1.0 and not dropped:
        raise ValueError(
            f"guidance {guidance:g} needs a model that was trained with its condition dropped now and then, but this one was "
            "not (drop_condition 0): leave guidance at 1"
        )
    if classes or prompts:
        return prompted(denoiser, prompts, (), classes, n)[0]
    which = "--classes" if denoiser.vocabulary.classes else "--prompt"
    what = "a class" if denoiser.vocabulary.classes else "a prompt"
    if guidance != 1.0:
        raise ValueError(f"guidance {guidance:g} leads towards {what}: say which with {which}")
    if not dropped or denoiser.null is None:
        raise ValueError(f"this model always needs {what} (it was trained with drop_condition 0): say one with {which}")
    return denoiser.null.expand(n)
