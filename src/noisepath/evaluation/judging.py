"""Samples drawn from a denoiser, and every figure of them, each beside what real pictures get.

    read_as_asked                                           by the classifier, overall and for each class
    frechet_distance, frechet_ratio (over the real one),
    kernel_distance, precision, recall                      in each feature space, against the reference
    nearest_ratio                                           in pixels and in the features, against the training pictures
    copies                                                  in pixels, against the training pictures
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from noisepath import __version__
from noisepath._lazy import torch
from noisepath.conditions import Condition
from noisepath.evaluation import distances
from noisepath.evaluation.heldout import Mean, gaussian_error, log_snrs_of, loss_by_level
from noisepath.evaluation.neighbours import Nearest, nearest
from noisepath.evaluation.pictures import as_saved, chosen, read
from noisepath.evaluation.report import ClassReading, Figure, LevelLoss, SampleSet, Sampling, Suspect, Terms
from noisepath.evaluation.standards import BALL, Measured, Real, Standard, near_of_real, share, standard, too_few
from noisepath.guidance import classifier_free
from noisepath.sampling import DEFAULTS, design, sample
from noisepath.tableau import calls as count_calls

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.data.dataset import Data
    from noisepath.denoiser import Denoiser
    from noisepath.evaluation.classifier import Classifier
    from noisepath.evaluation.space import Features, Space

__all__ = ["Asked", "Drawn", "Judge", "draw", "in_proportion", "judge", "losses", "told_more"]

MOST_FOR_LOSS = 256
SHOWN = 16
"""How many suspects are written down."""


@dataclass(frozen=True)
class Asked:
    """What is asked of an evaluation, checked."""

    n: int
    guidance: tuple[float, ...] = (1.0,)
    seed: int = 0
    solver: str = DEFAULTS.solver
    spacing: str = DEFAULTS.spacing
    steps: int = DEFAULTS.steps
    batch_size: int = 256
    resamples: int = distances.RESAMPLES

    def __post_init__(self) -> None:
        for name in ("n", "steps", "batch_size", "resamples"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number >= 1, but is {value!r}")
        if not self.guidance:
            raise ValueError("guidance needs at least one scale (1 means none)")
        if len(set(self.guidance)) < len(self.guidance):
            raise ValueError(f"guidance names a scale twice: {', '.join(f'{scale:g}' for scale in self.guidance)}")


@dataclass(frozen=True)
class Drawn:
    """A set of samples, and what was asked for."""

    sampling: Sampling
    pictures: Tensor
    labels: Tensor | None


def draw(
    denoiser: Denoiser, train: Data, asked: Asked, guidance: float = 1.0, device: str = "cpu", progress: bool = False
) -> Drawn:
    """Samples as 8 bits hold them: of the training pictures' classes in their proportions, or, of a model that is told more, of
    what pictures from all over the training data say."""
    labels, condition = None, None
    if told_more(denoiser):
        pictures_of = torch.linspace(0, len(train) - 1, asked.n).round().long()
        labels = None if train.labels is None else train.labels[pictures_of]
        condition = denoiser.vocabulary.told(train, pictures_of.tolist(), device)
    elif takes_classes(denoiser) and train.labels is not None:
        labels = in_proportion(train.labels, train.classes, asked.n)
        condition = Condition(label=labels.to(device))
    pictures = sample(
        classifier_free(denoiser, guidance),
        (asked.n, *train.shape),
        solver=asked.solver,
        spacing=asked.spacing,
        steps=asked.steps,
        seed=asked.seed,
        condition=condition,
        batch_size=asked.batch_size,
        progress=progress,
        device=device,
    )
    width = getattr(denoiser, "data_scale", None)
    run = design(
        denoiser.schedule, solver=asked.solver, steps=asked.steps, spacing=asked.spacing, data_scale=width
    )
    calls = count_calls(run)
    calls = calls if guidance == 1 else 2 * calls
    sampling = Sampling(asked.solver, asked.spacing, asked.steps, calls, float(guidance), asked.seed)
    return Drawn(sampling, as_saved(pictures), labels)


def takes_classes(denoiser: Denoiser) -> bool:
    """Whether a model is told its pictures' class; one that was never trained without has no null."""
    return denoiser.null is not None or bool(getattr(getattr(denoiser, "vocabulary", None), "classes", 0))


def told_more(denoiser: Denoiser) -> bool:
    """Whether a model is told more than its pictures' class; an exact one says nothing of that."""
    return bool(getattr(getattr(denoiser, "vocabulary", None), "others", None))


def in_proportion(labels: Tensor, classes: int, n: int) -> Tensor:
    """n labels in the proportions of ``labels``, to the nearest (largest remainders first), the classes well mixed."""
    wanted = torch.bincount(labels, minlength=classes).double() * n / len(labels)
    counts = wanted.floor().long()
    counts[(wanted - counts).argsort(descending=True, stable=True)[: n - int(counts.sum())]] += 1
    # the k-th of a class with c pictures stands at (k + 1/2) / c: each class is spread over the whole
    places = torch.cat([(torch.arange(c) + 0.5) / max(1, c) for c in counts.tolist()])
    return torch.arange(classes).repeat_interleave(counts)[places.argsort(stable=True)]


@dataclass(frozen=True)
class Judge:
    """The real pictures and their figures, and who reads: all that a set of samples is judged by."""

    real: Real
    standards: tuple[Standard, ...]
    near: Nearest
    """The nearest training pictures of real ones, in pixels."""
    reader: Classifier | None
    reader_right: Tensor | None
    """Which reference pictures the reader reads right; None where it has seen them in training."""

    def figures(self, drawn: Drawn, asked: Asked, names: Sequence[str] = ()) -> SampleSet:
        """Every figure of a set of samples; ``names`` are the training pictures'."""
        real = self.real
        terms = Terms(
            len(drawn.pictures), len(real.reference), real.kind, real.reference_hash, "pixels", "", "none", drawn.sampling,
            __version__,
        )  # fmt: skip
        reading = _reading(drawn, self, terms)
        near, nearness = _nearness(drawn.pictures, self, terms, asked)
        spaces = [figure for found in self.standards for figure in _in_space(drawn.pictures, real, found, terms, asked)]
        figures = (*([] if reading is None else [reading]), *spaces, *nearness)
        return SampleSet(drawn.sampling, figures, _classes(drawn, self), tuple(_suspects(near, names)))


def judge(real: Real, spaces: Sequence[Space], reader: Classifier | None, asked: Asked) -> Judge:
    """What samples are judged by: everything about the real pictures, worked out once."""
    right = None
    if reader is not None and real.held_out is not None and real.reference_labels is not None:
        right = reader.read(real.reference) == real.reference_labels
    standards = tuple(standard(real, space, asked.seed, asked.resamples) for space in spaces)
    return Judge(real, standards, near_of_real(real), reader, right)


# --- reading ---------------------------------------------------------------------------------------------------------


def _reading(drawn: Drawn, judge: Judge, terms: Terms) -> Figure | None:
    """Whether samples are read as what was asked for; beside it the same for real pictures that the reader never saw."""
    reader = judge.reader
    if reader is None or drawn.labels is None:
        return None
    terms = replace(terms, features="classifier", features_identity=reader.identity)
    real, real_interval = (None, None) if judge.reader_right is None else share(judge.reader_right)
    value, interval = share(reader.read(drawn.pictures) == drawn.labels)
    return Figure("read_as_asked", value, interval, real, real_interval, terms)


def _classes(drawn: Drawn, judge: Judge) -> tuple[ClassReading, ...]:
    """The same for each class."""
    if judge.reader is None or drawn.labels is None:
        return ()
    right, real_labels = judge.reader.read(drawn.pictures) == drawn.labels, judge.real.reference_labels
    found = []
    for label, name in enumerate(judge.real.train.class_names):
        of = right[drawn.labels == label]
        known = None if judge.reader_right is None or real_labels is None else judge.reader_right[real_labels == label]
        counted = (0, 0) if known is None else (len(known), int(known.sum()))
        found.append(ClassReading(name, len(of), int(of.sum()), share(of)[1] if len(of) else None, *counted))
    return tuple(found)


# --- distances in a feature space ------------------------------------------------------------------------------------


def _in_space(pictures: Tensor, real: Real, found: Standard, terms: Terms, asked: Asked) -> list[Figure]:
    space = found.space
    terms = replace(terms, features=space.name, features_identity=space.identity, resize=space.resize)
    made = space(pictures)
    near = nearest(pictures, real.train, space) if space.name != "pixels" else None
    return [
        *_frechet(made, found, terms, asked),
        _kernel(made, found, terms, asked),
        *_balls(made, found, terms),
        *([] if near is None else [_nearest_ratio(near, found.near, terms, asked)]),
    ]


def _frechet(made: Features, found: Standard, terms: Terms, asked: Asked) -> list[Figure]:
    """The distance, and its ratio to that of real pictures."""
    names = ("frechet_distance", "frechet_ratio")
    if reason := too_few(2, made, found.reference):
        return [_missing(name, terms, reason) for name in names]
    draws = distances.frechet_draws(made, found.reference, asked.seed, asked.resamples)
    value = distances.frechet_distance(made, found.reference)
    real = found.figures.get(names[0])
    distance = _beside(names[0], value, distances.percentiles(draws), real, terms)
    if real is None or real.value <= 0:
        why = "needs a distance between real pictures above 0, and there are too few of them or they are all alike"
        return [distance, _missing(names[1], terms, why)]
    within = distances.percentiles(draws / real.draws) if real.draws.min() > 0 else None
    return [distance, Figure(names[1], value / real.value, within, 1.0, None, terms)]


def _kernel(made: Features, found: Standard, terms: Terms, asked: Asked) -> Figure:
    name = "kernel_distance"
    if reason := too_few(2, made, found.reference):
        return _missing(name, terms, reason)
    value = distances.kernel_distance(made, found.reference)
    within = distances.kernel_interval(made, found.reference, asked.seed, asked.resamples)
    return _beside(name, value, within, found.figures.get(name), terms)


def _balls(made: Features, found: Standard, terms: Terms) -> list[Figure]:
    """Precision: samples in the reference's balls.  Recall: the reference in the samples'."""
    if reason := too_few(BALL + 1, made, found.reference):
        return [_missing(name, terms, reason) for name in ("precision", "recall")]
    precision = share(distances.inside(made, found.reference, BALL))
    recall = share(distances.inside(found.reference, made, BALL))
    return [
        _beside("precision", *precision, found.figures.get("precision"), terms),
        _beside("recall", *recall, found.figures.get("recall"), terms),
    ]


def _beside(name: str, value: float, interval: distances.Interval, real: Measured | None, terms: Terms) -> Figure:
    if real is None:
        return Figure(name, value, interval, None, None, terms)
    return Figure(name, value, interval, real.value, real.interval, terms)


def _missing(name: str, terms: Terms, reason: str) -> Figure:
    return Figure(name, None, None, None, None, terms, reason)


# --- nearness to the training pictures -------------------------------------------------------------------------------


def _nearness(pictures: Tensor, judge: Judge, terms: Terms, asked: Asked) -> tuple[Nearest, list[Figure]]:
    """In pixels: how near the training pictures are, and how many samples are copies of one."""
    near = nearest(pictures, judge.real.train)
    known = Measured(*share(judge.near.copied))
    copies = _beside("copies", *share(near.copied), known, terms)
    return near, [_nearest_ratio(near, judge.near, terms, asked), copies]


def _nearest_ratio(near: Nearest, real: Nearest, terms: Terms, asked: Asked) -> Figure:
    new, old = near.distance[:, 0], real.distance[:, 0]
    if not np.isfinite(old).all() or not old.mean() > 0:
        why = "needs real pictures at a distance from each other, and there are too few of them or they are all alike"
        return _missing("nearest_ratio", terms, why)
    within = distances.ratio_interval(new, old, asked.seed)
    return Figure("nearest_ratio", float(new.mean() / old.mean()), within, 1.0, None, terms)


def _suspects(near: Nearest, names: Sequence[str]) -> list[Suspect]:
    """The samples that are most likely copies: copies first, then those much nearer to one picture than to the next."""
    first, second = near.distance.T
    order = np.lexsort((first / np.maximum(second, 1e-300), ~near.copied))[:SHOWN]
    found = []
    for k in order.tolist():
        index = int(near.index[k, 0])
        name = str(names[index]) if index < len(names) else f"picture {index}"
        found.append(Suspect(k, index, name, float(first[k]), bool(near.copied[k])))
    return found


# --- loss by level ---------------------------------------------------------------------------------------------------


def losses(
    denoiser: Denoiser, real: Real, variance: float, seed: int = 0, device: str = "cpu", progress: bool = False
) -> tuple[LevelLoss, ...]:
    """The error at each level, on held-out and on as many training pictures: at most 256 of each."""
    count = min(MOST_FOR_LOSS, len(real.train), len(real.train) if real.held_out is None else len(real.held_out))
    at = log_snrs_of(denoiser.schedule)

    def of(data: Data) -> list[Mean]:
        which = chosen(len(data), count, seed, "loss by level")
        pictures, labels, shown = read(data, which)
        told: Tensor | Condition | None = labels if takes_classes(denoiser) else None
        if told_more(denoiser):
            told = denoiser.vocabulary.told(data, shown, device)
        found = loss_by_level(denoiser, pictures, told, log_snrs=at, seed=seed, device=device, progress=progress)
        return [mean for _, mean in found]

    training = of(real.train)
    held_out: Sequence[Mean | None] = [None] * len(at) if real.held_out is None else of(real.held_out)
    units = [gaussian_error(log_snr, variance) for log_snr in at]
    return tuple(LevelLoss(*row) for row in zip(at, units, held_out, training, strict=True))
