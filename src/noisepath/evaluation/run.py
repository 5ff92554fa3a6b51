"""Evaluating a run: from its folder to a report and pictures in ``RUN/evaluation``.

    report.json            every figure with its terms (:mod:`.report`)
    loss_by_level.png      the loss by noise level, held out and trained on
    neighbours.png         samples beside their nearest training pictures
    grid.png               samples, classes as columns; grid-guidance-2.png: those with guidance 2
    classifier/            the classifier that reads them and gives the features
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from noisepath import __version__
from noisepath.defaults import torch_defaults
from noisepath.evaluation import figures
from noisepath.evaluation.classifier import SMALLEST, Classifier, Recipe, load_classifier, save_classifier, train_classifier
from noisepath.evaluation.distances import share_interval
from noisepath.evaluation.features import classifier_space, folder_space, pixel_space
from noisepath.evaluation.judging import Asked, Drawn, draw, judge, losses, told_more
from noisepath.evaluation.report import FILE, Reader, Report, SampleSet, write_report
from noisepath.evaluation.space import Space
from noisepath.evaluation.standards import Real, gather
from noisepath.guiding import unguidable
from noisepath.sampling import DEFAULTS

if TYPE_CHECKING:
    from noisepath.asking import TextFeatures
    from noisepath.data.dataset import Data
    from noisepath.denoiser import Denoiser
    from noisepath.limit import Limit
    from noisepath.training.record import RunConfig

__all__ = ["Evaluation", "evaluate", "evaluate_model"]

MOST_SAMPLES = 1000
FOLDER = "evaluation"


@dataclass(frozen=True)
class Evaluation:
    """A report, and the folder where it and its pictures are."""

    report: Report
    folder: Path


@torch_defaults()
def evaluate(
    run: str | os.PathLike[str],
    *,
    n: int | None = None,
    guidance: Sequence[float] | None = None,
    seed: int = 0,
    solver: str = DEFAULTS.solver,
    spacing: str = DEFAULTS.spacing,
    steps: int | None = None,
    features: str | os.PathLike[str] | Space | Sequence[Space] = "auto",
    data: str | os.PathLike[str] | Data | None = None,
    device: str = "cpu",
    batch_size: int = 256,
    progress: bool = True,
    out: str | os.PathLike[str] | None = None,
    encoder: str | os.PathLike[str] | TextFeatures | None = None,
    limit: Limit | Literal["stored"] | None = "stored",
) -> Evaluation:
    """Judge a run's newest model by the pictures that were held out of its training, and write down what was found.

    Args:
        run: the run folder.
        n: how many samples; as many as there are training pictures, at most 1,000, if not given.
        guidance: scales to judge, each with samples of its own; 1 and 2 if not given (1 of a model without classes).
        seed: of the samples, and of everything else that is random.
        solver, spacing, steps: how samples are made; see :func:`noisepath.sample`.
        features: "auto": pixels, and a classifier trained on the run's own pictures where they have classes;
            "pixels" alone; a folder with another run's classifier or a Hugging Face vision model; or spaces of your own
            (:func:`noisepath.evaluation.network_space`).  All but "auto" and "pixels" come beside the pixels.
        data: where the run's pictures are, if not where they were; or the pictures themselves.
        device: where the network lives.
        batch_size: pictures at once; changes nothing but memory and speed.
        progress: show live bars.
        out: where to write; RUN/evaluation if not given.
        encoder: where the run's frozen text encoder is, if not where it was; or the encoder itself.
        limit: of the model, as for :func:`noisepath.load`.

    Raises:
        FileNotFoundError: no such run, data or features.
        ValueError: pictures that are not those of the run, or settings out of range.
    """
    from noisepath.training import load, read_run

    config, denoiser = read_run(run), load(run, device, encoder=encoder, limit=limit)
    pictures = _pictures(config, data)
    notes = _check_data(Path(run), denoiser, pictures)
    conditional = denoiser.null is not None and (told_more(denoiser) or pictures.labels is not None)
    train, held_out = _parts(config, pictures)
    asked = Asked(
        n=min(MOST_SAMPLES, len(train)) if n is None else n,
        guidance=tuple(guidance) if guidance is not None else (1.0, 2.0) if conditional else (1.0,),
        seed=seed,
        solver=solver,
        spacing=spacing,
        steps=DEFAULTS.steps if steps is None else steps,
        batch_size=batch_size,
    )
    if not conditional and asked.guidance != (1.0,):
        reason = unguidable(denoiser) or "these pictures have no classes to guide to"
        raise ValueError(f"{reason}; it can't be guided: leave guidance out")
    folder = Path(run) / FOLDER if out is None else Path(out)
    spaces, reader, more = _judges(features, train, held_out, config, folder, device, progress)
    report = evaluate_model(
        denoiser, train, held_out, asked, folder, spaces=spaces, reader=reader, device=device, progress=progress,
        told={"data": str(config.data.data), "data_fingerprint": pictures.fingerprint}, notes=(*notes, *more),
    )  # fmt: skip
    return Evaluation(report, folder)


@torch_defaults()
def evaluate_model(
    denoiser: Denoiser,
    train: Data,
    held_out: Data | None,
    asked: Asked,
    folder: Path,
    *,
    spaces: Sequence[Space] = (),
    reader: Classifier | None = None,
    device: str = "cpu",
    progress: bool = False,
    told: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """The same for a model and pictures at hand; the pixels' space is added to ``spaces``."""
    real = gather(train, held_out, asked.n, asked.seed)
    if len(real.reference) > 1:
        spaces = (pixel_space(real.reference), *spaces)
    judged = judge(real, spaces, reader, asked)
    sets, drawn = [], []
    for scale in asked.guidance:
        made = draw(denoiser, train, asked, scale, device, progress)
        found = replace(judged.figures(made, asked, train.names), grid=_grid_name(asked, scale))
        figures.sample_grid(made, train, folder / found.grid)
        sets.append(found)
        drawn.append(made)
    by_level = losses(denoiser, real, train.sigma_data**2, asked.seed, device, progress)
    figures.loss_by_level(by_level, folder / "loss_by_level.png")
    _draw_neighbours(sets, drawn, real, spaces, folder / "neighbours.png")
    report = Report(
        noisepath=__version__,
        data=(told or {}).get("data", ""),
        data_fingerprint=(told or {}).get("data_fingerprint", ""),
        pictures=len(train) + (len(held_out) if held_out is not None else 0),
        held_out=len(held_out) if held_out is not None else 0,
        shape=train.shape,
        model_steps=int(getattr(denoiser, "info", {}).get("steps", 0)),
        samples=tuple(sets),
        losses=by_level,
        reader=None if reader is None else _reader(reader),
        notes=(*notes, *_notes(real, asked), *_limited(denoiser)),
    )
    write_report(report, folder / FILE)
    for old in folder.glob("grid-guidance-*.png"):  # of an earlier evaluation, with other scales
        if old.name not in {found.grid for found in sets}:
            old.unlink()
    return report


def _grid_name(asked: Asked, scale: float) -> str:
    return "grid.png" if scale == asked.guidance[0] else f"grid-guidance-{scale:g}.png"


def _draw_neighbours(
    sets: Sequence[SampleSet], drawn: Sequence[Drawn], real: Real, spaces: Sequence[Space], path: Path
) -> None:
    """Of the set with most copies (of the first, where none has any)."""
    copies = [sum(suspect.copied for suspect in found.suspects) for found in sets]
    worst = copies.index(max(copies))
    others = [space for space in spaces if space.name != "pixels"]
    figures.neighbours(sets[worst], drawn[worst].pictures, real.train, path, others[0] if others else None)


def _reader(reader: Classifier) -> Reader:
    interval = share_interval(reader.right, reader.of) if reader.of else None
    return Reader(reader.identity, reader.trained_on, reader.of, reader.accuracy, interval)


def _limited(denoiser: Denoiser) -> list[str]:
    """What the report says of a model whose answers are limited."""
    limit = getattr(denoiser, "limit", None)
    if limit is None:
        return []
    return [
        f"the model is limited at sigma / alpha above {math.exp(-limit.log_snrs[-1] / 2):.2g}, where its network's errors are "
        "multiplied: there its answer is weighed with what is known of the data"
    ]


def _notes(real: Real, asked: Asked) -> list[str]:
    notes = []
    if real.held_out is None:
        notes.append(
            "no pictures were held out: samples are held against the training pictures, which flatters a model that copies "
            "them; real pictures are one half of these against the other; and what the classifier reads of real pictures "
            "that it has not seen is unknown"
        )
    elif asked.n > len(real.stand_in):
        notes.append(
            f"there are only {len(real.stand_in)} training pictures to stand beside {asked.n} samples: with fewer pictures "
            "distances are larger, so the real ones are worth less than they seem"
        )
    if min(asked.n, len(real.reference)) < 50:
        notes.append(f"few pictures ({asked.n} samples, {len(real.reference)} real ones): the figures say little")
    return notes


# --- the run's pictures ----------------------------------------------------------------------------------------------


def _pictures(config: RunConfig, data: str | os.PathLike[str] | Data | None) -> Data:
    from noisepath.data import open_data

    if data is not None and not isinstance(data, str | os.PathLike):
        return data
    place = config.data.data if data is None else os.fspath(data)
    if not place:
        raise ValueError("this run was given its pictures by a program: give them to evaluate() too, as data=")
    return open_data(replace(config.data, data=place))


def _parts(config: RunConfig, pictures: Data) -> tuple[Data, Data | None]:
    """What the run was trained on, and what it was not."""
    from noisepath.data import holdout_size, split

    return split(pictures, holdout_size(config.data, len(pictures)), config.train.seed)


def _check_data(run: Path, denoiser: Denoiser, pictures: Data) -> list[str]:
    """ValueError where these are not the pictures that the run held some out of; a note where they may differ."""
    shape, names = tuple(denoiser.info["shape"]), tuple(denoiser.info["class_names"])
    if pictures.shape != shape:
        raise ValueError(f"the model draws pictures of shape {shape}, but the data's are {pictures.shape}")
    if names and pictures.class_names != names:
        raise ValueError(
            f"the model's classes are {', '.join(names)}, but the data's are {', '.join(pictures.class_names) or 'none'}"
        )
    return _check_listing(run / "data.json", pictures)


def _check_listing(path: Path, pictures: Data) -> list[str]:
    from noisepath.data import changed

    old = _listing(path)
    difference = None if old is None else changed(old, pictures.listing)
    if old is None or difference is None:
        return []
    if old.keys() != pictures.listing.keys():
        raise ValueError(
            f"the pictures are no longer those that the run began with, so which were held out can't be said: {difference}"
        )
    return [f"files have changed since the run began: {difference}"]


def _listing(path: Path) -> Mapping[str, Sequence[int]] | None:
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    listing = told.get("listing") if isinstance(told, dict) else None
    return listing if isinstance(listing, dict) and all(isinstance(entry, list) for entry in listing.values()) else None


# --- who judges ------------------------------------------------------------------------------------------------------


def _judges(
    features: str | os.PathLike[str] | Space | Sequence[Space],
    train: Data,
    held_out: Data | None,
    config: RunConfig,
    folder: Path,
    device: str,
    progress: bool,
) -> tuple[list[Space], Classifier | None, list[str]]:
    """Feature spaces beside the pixels, the classifier that reads, and what should be known of it."""
    if isinstance(features, Space):
        return [features], None, []
    if not isinstance(features, str | os.PathLike):
        return list(features), None, []
    if features == "pixels":
        return [], None, []
    if features == "auto":
        reason = _no_classifier(train)
        if reason:
            return [], None, [reason]
        reader = _own_classifier(train, held_out, config, folder / "classifier", device, progress)
        return [classifier_space(reader)], reader, []
    space, known = folder_space(Path(features), train.shape, device)
    if known is not None and known.class_names != train.class_names:
        return [space], None, [f"the classifier in {os.fspath(features)} knows other classes: it reads no samples"]
    return [space], known, []


def _no_classifier(train: Data) -> str:
    """Why there can be no classifier of the user's classes, or nothing."""
    if train.classes < 2 or train.labels is None:
        return "the pictures have no two classes: no classifier reads them, and the only features are pixels"
    if min(train.shape[1:]) < SMALLEST:
        return f"the pictures are below {SMALLEST} pixels: too small for the classifier, so the only features are pixels"
    return ""


def _own_classifier(
    train: Data, held_out: Data | None, config: RunConfig, folder: Path, device: str, progress: bool
) -> Classifier:
    """The classifier that an earlier evaluation trained on the same pictures, or a new one."""
    recipe = Recipe(flip=config.data.flip)
    words = (train.fingerprint, held_out.fingerprint if held_out is not None else "", recipe)
    made_from = hashlib.sha256(repr(words).encode()).hexdigest()
    try:
        known = load_classifier(folder, device)
        if known.made_from == made_from and known.class_names == train.class_names and known.shape == train.shape:
            return known
    except (FileNotFoundError, ValueError):
        pass  # none yet, or one that can't be used: made anew
    reader = train_classifier(train, held_out, recipe, device=device, progress=progress, made_from=made_from)
    save_classifier(reader, folder)
    return reader
