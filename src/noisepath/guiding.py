"""What each guidance does, side by side: to a mixture whose truth is known, and to a model, with the same noise throughout.

``METHODS`` are the guidances as a figure shows them, each made from one number, the scale.  :func:`guide_mixture` draws points
of one class of :func:`mixture`; :func:`guide_model` draws a model's pictures.  :mod:`noisepath.guidance_figure` draws both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._lazy import torch
from .conditions import Condition
from .denoiser import Denoise
from .errors import lookup
from .exact import Mixture
from .guidance import apg, autoguidance, cfg_plus_plus, cfg_zero_star, classifier_free, dynamic_threshold
from .guidance.conditional import undropped
from .sampling import sample
from .schedules import schedule

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "METHODS", "Guided", "Method", "Told", "guide_mixture", "guide_model", "methods_for", "mixture", "unguidable",
]  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What the methods are told beside the scale."""

    interval: tuple[float, float] = (0.2, 2.0)
    """sigma / alpha between which the method "interval" guides."""
    rescale: float = 0.7
    weaker: Denoise | None = None
    """A worse model of the same data, for autoguidance."""


@dataclass(frozen=True)
class Method:
    """A guidance made from one scale; 1 means none."""

    make: Callable[[Denoise, float, Told], Denoise]
    about: str
    null: bool = True
    """Whether it needs a model with a null condition."""
    weaker: bool = False
    """Whether it needs a weaker model."""
    points: bool = True
    """Whether it has a meaning for points: the contrast of two values has none."""


def _autoguided(denoiser: Denoise, scale: float, told: Told) -> Denoise:
    if told.weaker is None:
        raise ValueError("autoguidance needs a weaker model of the same data")
    return autoguidance(denoiser, told.weaker, scale)


def _threshold(denoiser: Denoise, scale: float, told: Told) -> Denoise:
    """Around what guides the model: its condition, or where there is no null a weaker model."""
    by_condition = unguidable(denoiser) is None
    return dynamic_threshold(classifier_free(denoiser, scale) if by_condition else _autoguided(denoiser, scale, told))


def _plus_plus(denoiser: Denoise, scale: float, told: Told) -> Denoise:
    if not 0 <= scale <= 10:
        raise ValueError(f"cfg_plus_plus is shown at a tenth of the scale, so scales go from 0 to 10, but one is {scale:g}")
    return cfg_plus_plus(denoiser, scale / 10)


METHODS: dict[str, Method] = {
    "classifier_free": Method(lambda d, s, told: classifier_free(d, s), "D_0 + w (D_c - D_0)"),
    "interval": Method(lambda d, s, told: classifier_free(d, s, interval=told.interval), "the same at middle noise alone"),
    "rescale": Method(
        lambda d, s, told: classifier_free(d, s, rescale=told.rescale), "with D_c's contrast brought back", points=False
    ),
    "cfg_plus_plus": Method(_plus_plus, "a tenth of w; the noise is the unguided one's"),
    "cfg_zero_star": Method(lambda d, s, told: cfg_zero_star(d, s), "the flow's v_0 is fitted to v_c first"),
    "apg": Method(lambda d, s, told: apg(d, s), "without what is parallel to D_c, momentum -0.5"),
    "autoguidance": Method(_autoguided, "away from a weaker model", null=False, weaker=True),
    "dynamic_threshold": Method(_threshold, "guided, then held to the data's range", null=False, weaker=True),
}


def unguidable(denoiser: Denoise) -> str | None:
    """Why a model can't be guided by its condition, or None where it can."""
    if (reason := undropped(denoiser)) is not None:
        return reason
    if getattr(denoiser, "null", None) is None:
        return "this model was trained without classes, so it has no null condition to guide away from"
    return None


def methods_for(denoiser: Denoise, names: Sequence[str] = ()) -> list[str]:
    """The methods to show of a model: those asked for, or all that it allows.

    ValueError for an unknown name, one that stands twice, or one that the model does not allow.
    """
    reason = unguidable(denoiser)
    if not names:
        return [name for name, method in METHODS.items() if reason is None or not method.null]
    for name in names:
        if lookup(METHODS, name, "guidance method").null and reason is not None:
            others = ", ".join(other for other, method in METHODS.items() if not method.null)
            raise ValueError(f"{name} can't be shown: {reason}; what needs none: {others}")
    if len(set(names)) < len(names):
        raise ValueError(f"the methods name one twice: {', '.join(names)}")
    return list(names)


@dataclass(frozen=True)
class Guided:
    """A method at one scale: what it made, and the figures of that."""

    method: str
    scale: float
    made: Tensor
    figures: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Without what was made."""
        return {"method": self.method, "scale": self.scale, **self.figures}


# --- a mixture -------------------------------------------------------------------------------------------------------


@functools.cache
def mixture(widen: float = 1.0) -> Mixture:
    """Two classes in the plane that overlap; ``widen`` times as wide (in variance) for a model that has learnt less."""
    covariances = [[[0.16, 0.07], [0.07, 0.05]], [[0.05, -0.05], [-0.05, 0.15]]]
    return Mixture([0.5, 0.5], [[0.25, 0.3], [-0.3, -0.15]], widen * torch.tensor(covariances, dtype=torch.float64))


def guide_mixture(
    methods: Sequence[str], scales: Sequence[float], told: Told, n: int = 400, seed: int = 0, **options: Any
) -> list[Guided]:
    """Points (n, 2) of the mixture's first class, by each method at each scale; ``options`` are :func:`noisepath.sample`'s.

    Figures: ``read_as_asked``, the share of points that are more probably of this class than of the other; ``frechet``, the
    squared Frechet distance between the points' Gaussian and the class's (0 is perfect); ``spread``, the root of the points'
    total variance over the class's (1 is right, less is too much alike).  The weaker model is the mixture 3 times as wide.
    Methods that have no meaning for points ("rescale") are left out.
    """
    path = schedule("flow")
    model, weaker = mixture().denoiser(path), mixture(3.0).denoiser(path)
    told = Told(told.interval, told.rescale, weaker)
    condition = Condition(label=torch.zeros(n, dtype=torch.int64))
    options = {"seed": seed, "condition": condition, "dtype": torch.float64, **options}
    methods = [name for name in methods if lookup(METHODS, name, "guidance method").points]
    return [
        Guided(name, scale, made, _of_points(made))
        for name, scale, made in _made(model, methods, scales, told, (n, 2), options)
    ]


def _of_points(made: Tensor) -> dict[str, float]:
    data = mixture()
    label = torch.zeros(len(made), dtype=torch.int64)
    truth = data.axes[0] @ torch.diag(data.variances[0]) @ data.axes[0].T
    found = torch.cov(made.T)
    product = found @ truth
    root = (product.trace() + 2 * torch.linalg.det(product).clamp(min=0).sqrt()).sqrt()  # the trace of a 2 x 2 matrix's root
    off = (made.mean(0) - data.means[0]).square().sum()
    return {
        "read_as_asked": float((_of_class(made, label) >= _of_class(made, label + 1)).double().mean()),
        "frechet": float((off + found.trace() + truth.trace() - 2 * root).clamp(min=0)),
        "spread": float((found.trace() / truth.trace()).sqrt()),
    }


def _of_class(points: Tensor, label: Tensor) -> Tensor:
    """The log density of points under their classes, up to what is common to both."""
    data = mixture()
    about = torch.einsum("bd,bde->be", points - data.means[label], data.axes[label])
    variances = data.variances[label]
    return -0.5 * (about.square() / variances + variances.log()).sum(1)


# --- a model ---------------------------------------------------------------------------------------------------------


def guide_model(
    denoiser: Denoise,
    shape: Sequence[int],
    methods: Sequence[str],
    scales: Sequence[float],
    told: Told,
    read: Callable[[Tensor], Tensor] | None = None,
    **options: Any,
) -> list[Guided]:
    """Pictures (B, *) by each method at each scale, all of the same noise and conditions; ``options`` are :func:`sample`'s.

    Figures: ``contrast``, the mean standard deviation of a picture; ``beyond``, the share of values outside of [-1, 1]; and
    with ``read``, which names the label of each picture, ``read_as_asked``.
    """
    condition: Condition | None = options.get("condition")
    asked = None if condition is None or read is None else condition["label"].cpu()
    found = []
    for name, scale, made in _made(denoiser, methods, scales, told, shape, options):
        figures = {
            "contrast": float(made.flatten(1).std(1).mean()),
            "beyond": float((made.abs() > 1).double().mean()),
        }
        if asked is not None and read is not None:
            figures["read_as_asked"] = float((read(made).cpu() == asked).double().mean())
        found.append(Guided(name, scale, made, figures))
    return found


def _made(
    denoiser: Denoise,
    methods: Sequence[str],
    scales: Sequence[float],
    told: Told,
    shape: Sequence[int],
    options: Mapping[str, Any],
) -> Iterator[tuple[str, float, Tensor]]:
    """What each method makes at each scale; what is the denoiser itself, at the scale of no guidance, is made once."""
    if not scales:
        raise ValueError("a figure of guidance needs one scale or more (1 means none)")
    makers = [(name, lookup(METHODS, name, "guidance method").make) for name in methods]
    models = [(name, scale, make(denoiser, scale, told)) for name, make in makers for scale in scales]  # before any work
    plain = None
    for name, scale, model in models:
        if model is not denoiser:
            yield name, scale, sample(model, shape, **options)
            continue
        plain = sample(denoiser, shape, **options) if plain is None else plain
        yield name, scale, plain
