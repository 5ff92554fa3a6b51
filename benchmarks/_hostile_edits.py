"""Edits from Python that can't be done, each with what its error must say."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from _hostile_kit import LABEL, MODEL, NAN, OTHER, SHAPE, Call
from noisepath import editing as e
from noisepath.conditions import Condition
from noisepath.guidance import cfg_plus_plus
from noisepath.levels import Level
from noisepath.solvers import ddim

__all__ = ["EDITS"]

P = torch.zeros(SHAPE)
HOLE = torch.zeros(1, 1, 2, 2)
HOLE[..., 0] = 1.0
BROKEN = torch.zeros(SHAPE)
BROKEN[2, 0, 1, 1] = NAN


def _change(pictures: Any = P, strength: Any = 0.5, model: Any = MODEL, **options: Any) -> Tensor:
    return e.image_to_image(model, pictures, strength, **{"steps": 2, "condition": LABEL, **options})


def _fill(mask: Any = HOLE, pictures: Any = P, model: Any = MODEL, **options: Any) -> Tensor:
    return e.inpaint(model, pictures, mask, **{"steps": 2, "condition": LABEL, **options})


def _vary(n: Any, **options: Any) -> Tensor:
    return e.variations(MODEL, P, 0.5, n, **{"steps": 2, "condition": LABEL, **options})


def _outpaint(pad: Any, pictures: Any = P) -> Tensor:
    return e.outpaint(OTHER, pictures, pad, steps=2)


def _invert(pictures: Any = P, model: Any = MODEL, **options: Any) -> Tensor:
    return e.invert(model, pictures, **{"steps": 3, "condition": LABEL, **options})


def _exactly(pictures: Any = P, model: Any = MODEL, **options: Any) -> e.Reversed:
    return e.invert_exactly(model, pictures, **{"steps": 3, "condition": LABEL, **options})


def _mask(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, 2, 2)


_PICTURES: dict[str, Any] = {
    "none": torch.zeros(0, 1, 2, 2), "whole numbers": P.long(), "complex ones": P + 0j, "NaN": BROKEN, "a list": [[0.0]],
    "None": None, "an array": P.numpy(), "one number": torch.tensor(0.5),
}  # fmt: skip

_CHANGED = {
    **{f"pictures: {name}": Call(lambda p=p: _change(p), "pictures") for name, p in _PICTURES.items()},
    "strength 0": Call(lambda: _change(strength=0), "above 0 and at most 1, or a Level, but got 0"),
    "strength -0.5": Call(lambda: _change(strength=-0.5), "but got -0.5"),
    "strength 1.01": Call(lambda: _change(strength=1.01), "but got 1.01"),
    "strength NaN": Call(lambda: _change(strength=NAN), "but got nan"),
    "strength inf": Call(lambda: _change(strength=math.inf), "but got inf"),
    "strength in words": Call(lambda: _change(strength="half"), "but got 'half'"),
    "strength None": Call(lambda: _change(strength=None), "but got None"),
    "strength True": Call(lambda: _change(strength=True), "but got True"),
    "strengths for each": Call(lambda: _change(strength=torch.full((4,), 0.5)), "strength"),
    "a strength without noise": Call(lambda: _change(strength=Level(1.0, 0.0)), "sigma=0"),
    "a start beside the pictures": Call(lambda: _change(start=P), "start"),
    "levels beside the strength": Call(lambda: _change(levels=[Level(0.5, 0.5), Level(1.0, 0.0)]), "levels"),
    "a condition of other rows": Call(lambda: _change(condition=LABEL.rows([0, 1])), "2 rows for 4 pictures"),
    "pictures of another model": Call(lambda: _change(model=OTHER, condition=None), "shape"),
    "an option that there is not": Call(lambda: _change(sede=3), "did you mean 'seed'"),
    "no variations": Call(lambda: _vary(0), "a whole number from 1 to 65535, but got 0"),
    "fewer than no variations": Call(lambda: _vary(-1), "but got -1"),
    "half a variation": Call(lambda: _vary(1.5), "but got 1.5"),
    "variations in words": Call(lambda: _vary("many"), "but got 'many'"),
    "True variations": Call(lambda: _vary(True), "but got True"),
    "too many variations": Call(lambda: _vary(65536), "but got 65536"),
    "variations of other indices": Call(lambda: _vary(2, indices=[1]), "1 indices for 4 pictures"),
    "variations of far indices": Call(lambda: _vary(2, indices=[0, 1, 2, 70000]), "70000"),
    "variations between indices": Call(lambda: _vary(2, indices=[0, 1, 2, 2.5]), "2.5"),
    "variations of a dictionary": Call(lambda: _vary(2, condition={"label": 0}), "Condition"),
    "variations of other rows": Call(lambda: _vary(2, condition=LABEL.rows([0])), "1 rows for 4 pictures"),
}  # fmt: skip

_MASKS: dict[str, tuple[Any, str]] = {
    "of another size": (torch.ones(1, 1, 3, 2), "a mask for pictures (4, 1, 2, 2)"),
    "of fewer dimensions": (torch.ones(2, 2), "its shape is (2, 2)"),
    "for two pictures": (torch.ones(2, 1, 2, 2), "1 or 4 rows"),
    "of other channels": (torch.ones(1, 3, 2, 2), "its shape is (1, 3, 2, 2)"),
    "of nothing": (torch.zeros(1, 1, 2, 2), "0 everywhere"),
    "of everything": (torch.ones(1, 1, 2, 2), "1 everywhere"),
    "of nothing in one picture": (torch.cat([HOLE, HOLE, 0 * HOLE, HOLE]), "the mask of picture 2 is 0 everywhere"),
    "below 0": (_mask(-0.1, 1, 1, 0), "numbers are in [0, 1]"),
    "above 1": (_mask(255, 0, 255, 0), "numbers are in [0, 1]"),
    "of NaN": (_mask(NAN, 0, 1, 0), "NaN says neither"),
    "of complex numbers": (HOLE + 0j, "a mask is a tensor of numbers in [0, 1] or of booleans"),
    "of a list": ([[1.0, 0.0]], "a mask is a tensor"),
    "of None": (None, "a mask is a tensor"),
    "by name": ("mask.png", "a mask is a tensor"),
}

_HELD = {
    **{f"a mask {name}": Call(lambda mask=mask: _fill(mask), words) for name, (mask, words) in _MASKS.items()},
    **{f"pictures: {name}": Call(lambda p=p: _fill(pictures=p), "pictures") for name, p in list(_PICTURES.items())[:4]},
    "fewer than no repeats": Call(lambda: _fill(repeats=-1), "repeats is a whole number, 0 or more, but got -1"),
    "half a repeat": Call(lambda: _fill(repeats=0.5), "but got 0.5"),
    "repeats in words": Call(lambda: _fill(repeats="twice"), "but got 'twice'"),
    "jumps of no steps": Call(lambda: _fill(repeats=1, jump=0), "jump is a whole number, 1 or more, but got 0"),
    "jumps back": Call(lambda: _fill(repeats=1, jump=-2), "but got -2"),
    "jumps of half a step": Call(lambda: _fill(repeats=1, jump=1.5), "but got 1.5"),
    "a strength of 0": Call(lambda: _fill(strength=0), "but got 0"),
    "a strength of 2": Call(lambda: _fill(strength=2), "but got 2"),
    "a condition of other rows": Call(lambda: _fill(condition=LABEL.rows([0, 1])), "2 rows for 4 pictures"),
    "a dictionary for a condition": Call(lambda: _fill(condition={"label": 0}), "Condition"),
    "a part that is ours": Call(lambda: _fill(condition=Condition(held_mask=P)), "can't have a part 'held_mask'"),
    "indices of other pictures": Call(lambda: _fill(indices=[1]), "1 indices for 4 pictures"),
    "a start beside the pictures": Call(lambda: _fill(start=P), "start"),
    "a model that moves the state": Call(lambda: _fill(model=cfg_plus_plus(MODEL, 0.5)), "must be the outermost", 1),
    "a number for a model": Call(lambda: _fill(model=3), "a denoiser is called as"),
    "holding without a mask": Call(lambda: e.holding(MODEL)(P, Level(0.5, 0.5), LABEL), "use inpaint"),
    "jumping an unknown solver": Call(lambda: e.jumping("huen"), "did you mean 'heun'"),
    "jumping a number": Call(lambda: e.jumping(3), "a solver is a name or a function"),
    "no margins": Call(lambda: _outpaint((0, 0, 0, 0)), "one above 0 at least"),
    "negative margins": Call(lambda: _outpaint((-1, 0, 0, 2)), "but got (-1, 0, 0, 2)"),
    "margins between pixels": Call(lambda: _outpaint((0.5, 0, 0, 2)), "but got (0.5, 0, 0, 2)"),
    "two margins": Call(lambda: _outpaint((1, 1)), "(left, right, top, bottom)"),
    "one number for margins": Call(lambda: _outpaint(3), "(left, right, top, bottom)"),
    "margins in words": Call(lambda: _outpaint("wide"), "(left, right, top, bottom)"),
    "margins around points": Call(lambda: _outpaint((1, 1, 1, 1), torch.zeros(2, 3)), "have edges to go beyond"),
}  # fmt: skip

Z = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
_ONE, _TWO = Condition(a=torch.zeros(1, 2)), Condition(a=torch.ones(1, 2))

_BETWEEN = {
    "noises of two shapes": Call(lambda: e.interpolate(Z, Z[:, :5], [0.5]), "(4, 6) and (4, 5)"),
    "noises of two batches": Call(lambda: e.interpolate(Z, Z[:2], [0.5]), "(4, 6) and (2, 6)"),
    "noises of NaN": Call(lambda: e.interpolate(Z, Z * NAN, [0.5]), "noises hold NaN or infinity"),
    "noises of whole numbers": Call(lambda: e.interpolate(Z.long(), Z, [0.5]), "noises are floats"),
    "lists of noises": Call(lambda: e.interpolate([0.1], [0.2], [0.5]), "noises are floats"),
    "opposite noises": Call(lambda: e.interpolate(Z, -Z, [0.5], correlation=None), "opposite: say correlation="),
    "noises of 0": Call(lambda: e.interpolate(0 * Z, Z, [0.5], correlation=None), "has no direction"),
    "no shares": Call(lambda: e.interpolate(Z, Z, []), "shares are some numbers from 0"),
    "shares beyond the end": Call(lambda: e.interpolate(Z, Z, [0.5, 1.5]), "but got [0.5, 1.5]"),
    "shares of NaN": Call(lambda: e.interpolate(Z, Z, [NAN]), "but got [nan]"),
    "a number for shares": Call(lambda: e.interpolate(Z, Z, 0.5), "shares"),
    "shares in words": Call(lambda: e.interpolate(Z, Z, ["half"]), "shares"),
    "a correlation of -1": Call(lambda: e.interpolate(Z, Z, [0.5], correlation=-1.0), "above -1 and at most 1"),
    "a correlation of 2": Call(lambda: e.interpolate(Z, Z, [0.5], correlation=2.0), "but got 2.0"),
    "a correlation of NaN": Call(lambda: e.interpolate(Z, Z, [0.5], correlation=NAN), "but got nan"),
    "a correlation in words": Call(lambda: e.interpolate(Z, Z, [0.5], correlation="all"), "correlation"),
    "conditions of other names": Call(lambda: e.interpolate_conditions(LABEL, _ONE, [0.5]), "the same names"),
    "conditions of other sizes": Call(lambda: e.interpolate_conditions(_ONE, Condition(a=Z), [0.5]), "(4, 6)"),
    "between two classes": Call(lambda: e.interpolate_conditions(LABEL.rows([0]), LABEL.rows([1]), [0.5]), "no part of floats"),
    "conditions beyond the end": Call(lambda: e.interpolate_conditions(_ONE, _TWO, [2.0]), "but got [2.0]"),
    "dictionaries": Call(lambda: e.interpolate_conditions({"a": 1}, {"a": 2}, [0.5]), "Condition"),
}  # fmt: skip


def _state(**changes: Any) -> e.Reversed:
    told = {"first": P, "second": P, "levels": (Level(0.2, 0.8), Level(0.5, 0.5), Level(1.0, 0.0)), "gamma": 1.0}
    return e.Reversed(**{**told, **changes})


_INVERTED = {
    **{f"pictures: {name}": Call(lambda p=p: _invert(p), "pictures") for name, p in list(_PICTURES.items())[:5]},
    "a solver that draws noise": Call(lambda: _invert(solver="ddpm"), "draws noise"),
    "a solver with some noise": Call(lambda: _invert(solver=lambda levels: ddim(levels, eta=0.5)), "draws noise"),
    "a solver that looks back": Call(lambda: _invert(solver="dpmpp_2m", steps=6), "looks back"),
    "a solver that adds noise": Call(lambda: _invert(solver="edm"), "a solver without noise"),
    "an unknown solver": Call(lambda: _invert(solver="huen"), "did you mean 'heun'"),
    "fewer than no iterations": Call(lambda: _invert(iterations=-1), "0 or more, but got -1"),
    "half an iteration": Call(lambda: _invert(iterations=0.5), "but got 0.5"),
    "True iterations": Call(lambda: _invert(iterations=True), "but got True"),
    "one step": Call(lambda: _invert(steps=1), "take 2 steps or more"),
    "no steps": Call(lambda: _invert(steps=0), "0"),
    "a batch of 0": Call(lambda: _invert(batch_size=0), "batch_size must be 1 or more, but got 0"),
    "a batch in words": Call(lambda: _invert(batch_size="all"), "batch_size"),
    "a device that there is not": Call(lambda: _invert(device="gpu"), "no device 'gpu'"),
    "whole numbers for states": Call(lambda: _invert(dtype=torch.int64), "dtype"),
    "a condition of other rows": Call(lambda: _invert(condition=LABEL.rows([0, 1])), "2 rows for 4 pictures"),
    "a dictionary for a condition": Call(lambda: _invert(condition={"label": 0}), "Condition"),
    "a model that moves the state": Call(lambda: _invert(model=cfg_plus_plus(MODEL, 0.5)), "can't be inverted", 1),
    "a number for a model": Call(lambda: _invert(model=3), "a denoiser is called as"),
    "a model without a schedule": Call(lambda: _invert(model=lambda x, level, told=None: x), "no schedule"),
    "levels that rise": Call(lambda: _invert(steps=None, levels=[Level(1.0, 0.1), Level(0.5, 0.5)]), "must fall"),
    "gamma 0": Call(lambda: _exactly(gamma=0.0), "gamma must be above 0 and at most 1, but got 0.0"),
    "gamma 1.5": Call(lambda: _exactly(gamma=1.5), "but got 1.5"),
    "gamma -1": Call(lambda: _exactly(gamma=-1.0), "but got -1.0"),
    "gamma NaN": Call(lambda: _exactly(gamma=NAN), "but got nan"),
    "gamma in words": Call(lambda: _exactly(gamma="all"), "gamma must be"),
    "bdia with gamma 0": Call(lambda: e.bdia([Level(0.2, 0.8), Level(1.0, 0.0)], gamma=0), "gamma must be"),
    "bdia of one level": Call(lambda: e.bdia([Level(0.2, 0.8)]), "2 levels"),
    "bdia of no levels": Call(lambda: e.bdia([]), "levels"),
    "exactly in one step": Call(lambda: _exactly(steps=1), "2 steps or more"),
    "exactly with fewer than no iterations": Call(lambda: _exactly(iterations=-1), "0 or more, but got -1"),
    "exactly with half an iteration": Call(lambda: _exactly(iterations=1.5), "but got 1.5"),
    "exactly of other rows": Call(lambda: _exactly(condition=LABEL.rows([0, 1])), "2 rows for 4 pictures"),
    "states of two shapes": Call(lambda: e.restore(MODEL, _state(second=P[:2])), "(2, 1, 2, 2)"),
    "states of NaN": Call(lambda: e.restore(MODEL, _state(first=BROKEN)), "NaN"),
    "states with gamma 0": Call(lambda: e.restore(MODEL, _state(gamma=0.0)), "gamma must be"),
    "states of one level": Call(lambda: e.restore(MODEL, _state(levels=(Level(0.2, 0.8),))), "levels"),
    "states for a tensor": Call(lambda: e.restore(MODEL, P), "Reversed"),
    "states and other rows": Call(lambda: e.restore(MODEL, _state(), condition=LABEL.rows([0])), "1 rows for 4 pictures"),
}  # fmt: skip

EDITS: dict[str, dict[str, Call]] = {
    "Python: changed": _CHANGED, "Python: held": _HELD, "Python: between": _BETWEEN, "Python: inverted": _INVERTED,
}  # fmt: skip
