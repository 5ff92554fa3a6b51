"""Guidance by what the condition changes.

A model that was trained with its condition dropped now and then has two beliefs: D_c with the condition, D_0 with its null.
Guidance goes from one through the other.  In place of the null may stand another condition, which the pictures are to be unlike
(``negative``).  Both beliefs come from one call of the network, on both batches one after another, or from two calls that need
half the memory (``together=False``).

All of it is done on beliefs about the clean picture, so it is the same on every path and for every kind of prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from .._lazy import torch
from ..conditions import Condition
from ..denoiser import Denoise, Moved
from ..errors import is_number, shown
from ..levels import Level
from .told import ByLevel, Given, Scale, within
from .transformed import Transformed, belief

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["apg", "cfg_plus_plus", "cfg_zero_star", "classifier_free", "composed"]

Combine = Callable[["Tensor", Level, "Tensor", "Tensor", "float | Tensor"], "Tensor | Moved"]
"""(x, level, D_c, D_0, scale) -> the guided belief."""


def classifier_free(
    denoiser: Denoise,
    scale: float | Tensor | ByLevel,
    *,
    negative: Condition | None = None,
    interval: tuple[float, float] | None = None,
    rescale: float = 0.0,
    together: bool = True,
) -> Denoise:
    """Classifier-free guidance: D = D_0 + scale * (D_c - D_0)  (Ho & Salimans 2207.12598, eq. 6).

    Args:
        denoiser: with a null condition (``denoiser.null``: it was trained with its condition dropped now and then), unless
            ``negative`` is given; its run needs a condition.
        scale: 1 means no guidance (the denoiser itself comes back), 0 the unconditional belief.  (The paper's w is
            scale - 1.)  A number, a tensor (B,) with one for each picture, one (B or 1, *) that goes with the pictures, with
            one for each place, or a function of the level that gives any of these.
        negative: the condition that stands for the null, of one row or one for each picture.
        interval: (low, high): no guidance, and one belief in place of two, but at low < sigma / alpha <= high
            (Kynkaanniemi et al. 2404.07724).
        rescale: phi, 0 to 1: how far the standard deviation of each picture's belief is brought back to that of D_c,
            against pictures that burn out at high scales  (Lin et al. 2305.08891, eq. 15 and 16, here on beliefs).
        together: one call of the network, or two.

    ValueError for a scale that is not finite, an empty interval, a rescale out of its range, and a model without a null.
    """
    within("rescale", rescale, 0.0, 1.0)

    def combine(x: Tensor, level: Level, told: Tensor, untold: Tensor, scale: float | Tensor) -> Tensor:
        guided = torch.lerp(untold, told, scale)
        return _rescaled(guided, told, rescale) if rescale else guided

    return _guided("classifier_free", denoiser, Scale.of(scale, interval=interval), negative, together, combine)


def composed(
    denoiser: Denoise,
    conditions: Sequence[tuple[Condition, float | Tensor | ByLevel]],
    *,
    negative: Condition | None = None,
    together: bool = True,
) -> Denoise:
    """Several conditions at once: D = D_0 + sum_i scale_i * (D_i - D_0)  (Liu et al. 2206.01714).

    A negative scale keeps the pictures away from its condition: "A, not B" is ``[(a, 4.0), (b, -1.0)]``.  A single condition
    of scale 1 is that condition without guidance.  Scales for each place, (1, 1, H, W), say where each condition counts: "A on
    the left, B on the right".

    Args:
        conditions: pairs of a condition, of one row or one for each picture, and its scale (as in
            :func:`classifier_free`).  The run itself takes none.
        negative, together: as in :func:`classifier_free`.

    ValueError where there is none, for a scale that is not finite, a model without a null, a run with a condition.
    """
    _check_pairs(conditions)
    given = [Given(condition) for condition, _ in conditions]
    scales = [Scale.of(scale, none=None) for _, scale in conditions]
    count = len(conditions) + 1

    def transform(*parts: Denoise | Given | Scale) -> Denoise:
        runs: list[Denoise] = [part for part in parts if not isinstance(part, Given | Scale)]
        told = [part for part in parts if isinstance(part, Given)]
        weights = [part for part in parts if isinstance(part, Scale)]

        def guided(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
            if condition is not None:
                raise ValueError("a composition has its conditions already: leave the run's condition out")
            scales = [weight.at(x, level) for weight in weights]
            untold, *beliefs = _asked(runs, x, level, [part.of(x) for part in told])
            total = untold
            for one, scale in zip(beliefs, scales, strict=True):
                total = total + scale * (one - untold)
            return total

        return guided

    others = () if together else (denoiser,) * (count - 1)
    all_told: list[Given | Scale] = [_away(denoiser, negative), *given, *scales]
    return Transformed(denoiser, transform, others, all_told, stateless=True, name="composed")


def cfg_plus_plus(
    denoiser: Denoise, scale: float | Tensor | ByLevel, *, negative: Condition | None = None, together: bool = True
) -> Denoise:
    """CFG++: the guided belief, and noise that is taken from the unguided one  (Chung et al. 2406.08070).

        D = D_0 + scale * (D_c - D_0),     x' = x + alpha (D - D_0)

    A step of DDIM from the moved state x' with D is alpha_s D + sigma_s (x - alpha D_0) / sigma: the paper's.  Any other
    solver takes it likewise.  It moves the state, so it must be the outermost transformer, and adds alpha (D - D_0) at each
    call however small the steps are: pictures do not converge as steps are added, and the scale belongs to their number.

    ``scale`` has a range of its own, 0 (unconditional) to 1; 1 is not "no guidance".  Else as :func:`classifier_free`.
    """

    def combine(x: Tensor, level: Level, told: Tensor, untold: Tensor, scale: float | Tensor) -> Moved:
        guided = torch.lerp(untold, told, scale)
        return Moved(torch.add(x, guided - untold, alpha=level.alpha), guided)

    chosen = Scale.of(scale, none=None, least=0.0, most=1.0)
    return _guided("cfg_plus_plus", denoiser, chosen, negative, together, combine)


def cfg_zero_star(
    denoiser: Denoise,
    scale: float | Tensor | ByLevel,
    *,
    zero: float = 0.0,
    negative: Condition | None = None,
    interval: tuple[float, float] | None = None,
    together: bool = True,
) -> Denoise:
    """CFG-Zero*: the unconditional velocity is scaled to fit the conditional one first  (Fan et al. 2503.18886).

        v = s v_0 + scale * (v_c - s v_0),     s = <v_c, v_0> / <v_0, v_0> for each picture

    with the velocities of a rectified flow: at t = sigma / (alpha + sigma) and x_t = x / (alpha + sigma), v = (x_t - D) / t.
    Other paths are seen as this one.

    zero: the share of the way from noise to data, in the flow's time, where v = 0 and the model is not asked: at
        t > 1 - zero ("zero-init"; the paper leaves out the first step, or 4 % of them).  The rest as in
        :func:`classifier_free`; scale 1 is no guidance, with ``zero`` 0.

    ValueError where ``zero`` is not from 0 to 1, and as :func:`classifier_free`.
    """
    within("zero", zero, 0.0, 1.0)

    def combine(x: Tensor, level: Level, told: Tensor, untold: Tensor, scale: float | Tensor) -> Tensor:
        at = x / (level.alpha + level.sigma)
        towards, away = at - told, at - untold  # the velocities times t
        away = _share(towards, away) * away
        return at - torch.lerp(away, towards, scale)

    guided = _guided("cfg_zero_star", denoiser, Scale.of(scale, interval=interval), negative, together, combine)
    return Transformed(guided, partial(_resting, zero), stateless=True, name="zero_init") if zero else guided


def apg(
    denoiser: Denoise,
    scale: float | Tensor | ByLevel,
    *,
    eta: float = 0.0,
    momentum: float = -0.5,
    norm: float = math.inf,
    negative: Condition | None = None,
    interval: tuple[float, float] | None = None,
    together: bool = True,
) -> Denoise:
    """Adaptive projected guidance, for high scales without burnt-out colours  (Sadat et al. 2410.02416).

        d = D_c - D_0 + momentum * (d of the call before);     no longer than ``norm``, for each picture
        D = D_c + (scale - 1) * (d_orthogonal + eta * d_parallel),     orthogonal and parallel to D_c

    eta: what is left of the part along D_c, which saturates colours; 1 is all of it, 0 none.
    momentum: below 0 each call leans away from the direction of the one before; 0 is none.
    norm: the most that |d| may be, over all values of a picture (the paper's r: 2.5 to 15, by model).
        ``eta=1, momentum=0, norm=inf`` is :func:`classifier_free`, and so is the rest of the arguments.

    The memory is a run's own, of the calls at which there is guidance.  ValueError for an ``eta`` or ``momentum`` that is not
    finite or a ``norm`` that is not above 0, and as :func:`classifier_free`.
    """
    for name, value in (("eta", eta), ("momentum", momentum)):
        if not (is_number(value) and math.isfinite(value)):
            raise ValueError(f"{name} must be a finite number, but got {shown(value)}")
    within("norm", norm, 0.0, above=True)

    make = partial(_Projected, eta, momentum, norm)
    memory = make if momentum else None  # without momentum no call knows of another
    return _guided("apg", denoiser, Scale.of(scale, interval=interval), negative, together, make(), memory)


@dataclass
class _Projected:
    """APG's guided belief, with the difference of the call before: one for each run."""

    eta: float
    momentum: float
    norm: float
    before: Tensor | None = None

    def __call__(self, x: Tensor, level: Level, told: Tensor, untold: Tensor, scale: float | Tensor) -> Tensor:
        apart = told - untold
        if self.momentum:
            if self.before is not None and self.before.shape == apart.shape:
                apart = torch.add(apart, self.before, alpha=self.momentum)
            self.before = apart  # not yet shortened: the paper's running average
        apart = _no_longer(apart, self.norm)
        along = _share(apart, told, empty=0.0) * told
        return told + (scale - 1.0) * (apart + (self.eta - 1.0) * along)


# What they share -----------------------------------------------------------------------------------------------------


def _check_pairs(pairs: object) -> None:
    wanted = "a composition needs one pair of condition and scale or more, [(condition, scale), ...]"
    if not isinstance(pairs, Sequence) or not pairs:
        raise ValueError(f"{wanted}, but got {shown(pairs)}")
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"{wanted}, but one is {shown(pair)}")


def _guided(
    name: str,
    denoiser: Denoise,
    scale: Scale,
    negative: Condition | None,
    together: bool,
    combine: Combine,
    memory: Callable[[], Combine] | None = None,
) -> Denoise:
    """Both beliefs combined by ``combine``; or by what ``memory`` makes afresh for each run, if calls know of each other."""
    if scale.is_none:
        return denoiser

    def transform(*parts: Denoise | Given | Scale, memory: Combine = combine) -> Denoise:
        *runs, away, scale = parts
        assert isinstance(away, Given) and isinstance(scale, Scale)
        return _of_two([run for run in runs if not isinstance(run, Given | Scale)], away, scale, memory)

    others, told = () if together else (denoiser,), (_away(denoiser, negative), scale)
    return Transformed(denoiser, transform, others, told, memory, stateless=memory is None, name=name)


def _of_two(runs: Sequence[Denoise], away: Given, scale: Scale, combine: Combine) -> Denoise:
    """The run that asks with the run's condition and with ``away``."""

    def guided(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor | Moved:
        if condition is None:
            raise ValueError("guidance needs a condition to guide towards, but the run has none: say condition=")
        here = scale.at(x, level)
        if not isinstance(here, torch.Tensor) and here == scale.none:
            return belief(runs[0](x, level, condition))
        told, untold = _asked(runs, x, level, [condition, away.of(x)])
        return combine(x, level, told, untold, here)

    return guided


def _asked(runs: Sequence[Denoise], x: Tensor, level: Level, conditions: Sequence[Condition]) -> Sequence[Tensor]:
    """The belief under each condition: of one run in one call, or of a run for each, which has seen no other."""
    if len(runs) > 1:
        return [belief(run(x, level, condition)) for run, condition in zip(runs, conditions, strict=True)]
    count = len(conditions)
    return belief(runs[0](torch.cat([x] * count), level, Condition.cat(conditions))).chunk(count)


def undropped(denoiser: Denoise) -> str | None:
    """Why a model has no null condition though it has a condition: it was never trained without; None of any other."""
    training = (getattr(denoiser, "info", None) or {}).get("training") or {}
    takes = getattr(denoiser, "null", None) is not None or bool(getattr(denoiser, "vocabulary", None))
    if takes and training.get("drop_condition") == 0:
        return "this model was trained without condition dropout (drop_condition 0), so its null condition means nothing"
    return None


def _away(denoiser: Denoise, negative: Condition | None) -> Given:
    """Where guidance leads away from: ``negative``, or the model's null."""
    null: Condition | None = getattr(denoiser, "null", None)
    if negative is not None:
        return Given(negative)
    if (reason := undropped(denoiser)) is not None:
        raise ValueError(f"{reason}: train it with some, give what to lead away from (negative=), or use scale 1")
    if null is None:
        raise ValueError(f"this model has no null condition, so it can't be guided: {_why_no_null(denoiser)}")
    return Given(null)


def _why_no_null(denoiser: Denoise) -> str:
    """What is missing: of a model that was trained here the training, of any other the argument."""
    while isinstance(denoiser, Transformed):
        denoiser = denoiser.inner
    if getattr(denoiser, "vocabulary", None) is not None:
        return (
            "it was trained without a condition, or without dropping it now and then (condition dropout). Train it so, say "
            "what to lead away from (negative=), or use scale 1"
        )
    return (
        "no null= was given. Where the network learned one by condition dropout, name it, null=Condition(label=...) or "
        "null=Condition(text=...) of one sample (Denoiser, Denoiser.from_diffusers); say what to lead away from (negative=), "
        "or use scale 1"
    )


def _resting(zero: float, run: Denoise) -> Denoise:
    """The run with a flow that stands still at t > 1 - zero: there the belief is x_t itself."""

    def resting(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        total = level.alpha + level.sigma
        return x / total if level.sigma / total > 1.0 - zero else belief(run(x, level, condition))

    return resting


def _rescaled(guided: Tensor, told: Tensor, share: float) -> Tensor:
    """Each picture's standard deviation brought back to that of D_c, by ``share``."""
    if guided[:1].numel() == 1:
        raise ValueError("rescale needs pictures of more than one value: the standard deviation of one says nothing")
    wanted, found = (belief.flatten(1).std(1) for belief in (told, guided))
    ratio = torch.where(found > 0, wanted / found, torch.ones_like(found))
    return guided * _beside(1.0 + share * (ratio - 1.0), guided)


def _share(of: Tensor, along: Tensor, empty: float = 1.0) -> Tensor:
    """<of, along> / <along, along> for each picture, ``empty`` where ``along`` is 0; it goes with the pictures."""
    both, own = (of * along).flatten(1).sum(1), along.square().flatten(1).sum(1)
    return _beside(torch.where(own > 0, both / own, torch.full_like(own, empty)), of)


def _no_longer(apart: Tensor, norm: float) -> Tensor:
    """Each picture's difference shortened to ``norm`` where it is longer."""
    if norm == math.inf:
        return apart
    length = torch.linalg.vector_norm(apart.flatten(1), dim=1)
    return apart * _beside(torch.where(length > norm, norm / length, torch.ones_like(length)), apart)


def _beside(values: Tensor, x: Tensor) -> Tensor:
    """(B,) as it goes with x (B, *)."""
    return values.view(-1, *(1,) * (x.ndim - 1))
