"""Calls from Python that ask for what can't be had, each with what its error must say: conditions, runs and guidance."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from _hostile_edits import EDITS
from _hostile_kit import LABEL, MODEL, NAN, OTHER, POINT, Call, run
from _hostile_stage import network, vocabulary
from noisepath import guidance as g
from noisepath.asking import Classes, Number, Pictured, Text, Tokens, Vocabulary
from noisepath.conditions import Condition
from noisepath.data import Dataset
from noisepath.denoiser import Denoiser
from noisepath.levels import Level
from noisepath.nn.parts import Part, parts_from
from noisepath.sampling import sample
from noisepath.schedules import schedule

__all__ = ["CALLS"]


@functools.cache
def told_model() -> Denoiser:
    """A network that takes classes, a text, a number and names, for pictures of 8 x 8 pixels."""
    words = vocabulary()
    return Denoiser(network(words), schedule("edm"), "edm", null=words.null(), vocabulary=words)


def _asked(**parts: Any) -> Tensor:
    """A run of the network, two pictures, with some parts of its condition in place of the right ones."""
    right = vocabulary().condition(2, label="cat", text="a red disc", size=2.0, colour="red")
    told = Condition({**(right or {}), **{name: value for name, value in parts.items() if value is not None}})
    return sample(told_model(), (2, 3, 8, 8), steps=2, condition=told)


_RUNS = {
    "a condition of other rows": Call(lambda: run(condition=LABEL.rows([0, 1])), "2 rows for 4 pictures"),
    "a dictionary for a condition": Call(lambda: run(condition={"label": LABEL["label"]}), "Condition"),
    "a tensor for a condition": Call(lambda: run(condition=LABEL["label"]), "Condition"),
    "a class's name for a condition": Call(lambda: run(condition="cat"), "Condition"),
    "an unknown part": Call(lambda: _asked(colur=torch.zeros(2)), "did you mean 'colour'"),
    "labels for a network without classes": Call(
        lambda: sample(Denoiser(network(Vocabulary()), schedule("edm"), "edm"), (2, 3, 8, 8), condition=LABEL.rows([0, 1])),
        "was given labels",
    ),
    "labels of floats": Call(lambda: _asked(label=torch.zeros(2)), "whole-number label"),
    "labels in a column": Call(lambda: _asked(label=torch.zeros(2, 1, dtype=torch.int64)), "shape (2, 1)"),
    "a label out of range": Call(lambda: _asked(label=torch.tensor([0, 3])), "3"),
    "a negative label": Call(lambda: _asked(label=torch.tensor([0, -1])), "-1"),
    "booleans for labels": Call(lambda: _asked(label=torch.tensor([True, False])), "bool"),
    "a label out of a mixture's range": Call(lambda: run(condition=Condition(label=torch.tensor([0, 1, 2, 4]))), "4"),
    "labels of floats for a mixture": Call(lambda: run(condition=Condition(label=torch.zeros(4))), "label"),
    "a condition that a mixture does not have": Call(lambda: run(condition=Condition(txt=torch.zeros(4))), "label"),
    "a text of another length": Call(lambda: _asked(text=torch.ones(2, 5, dtype=torch.int64)), "shape (2, 6)"),
    "a text of floats": Call(lambda: _asked(text=torch.ones(2, 6)), "takes whole numbers"),
    "a token out of range": Call(lambda: _asked(text=torch.full((2, 6), 7)), "7"),
    "a negative token": Call(lambda: _asked(text=torch.full((2, 6), -1)), "-1"),
    "a number without a row": Call(lambda: _asked(size=torch.zeros(2)), "floats of shape (2, 1)"),
    "a whole number for a number": Call(lambda: _asked(size=torch.zeros(2, 1, dtype=torch.int64)), "takes floats"),
    "a number that is infinite": Call(lambda: _asked(size=torch.tensor([[0.0], [math.inf]])), "size"),
    "a name out of range": Call(lambda: _asked(colour=torch.tensor([0, 5])), "5"),
    "a name of floats": Call(lambda: _asked(colour=torch.zeros(2)), "takes whole numbers"),
    "no such device": Call(lambda: run(device="gpu"), "no device 'gpu'"),
    "a device without memory": Call(lambda: run(device="meta"), "no device 'meta'"),
    "a number for a device": Call(lambda: run(device=-7), "-7"),
    "whole numbers for states": Call(lambda: run(dtype=torch.int32), "dtype"),
    "a text for a dtype": Call(lambda: run(dtype="float32"), "dtype"),
    "a network for a denoiser": Call(lambda: sample(network(vocabulary()), (2, 3, 8, 8)), "schedule"),
    "a number for a denoiser": Call(lambda: run(3), "a denoiser is called as"),
    "nothing for a denoiser": Call(lambda: run(None, schedule=schedule("flow")), "a denoiser is called as"),
    "a text for a batch size": Call(lambda: run(batch_size="all"), "batch_size"),
    "half a batch": Call(lambda: run(batch_size=1.5), "batch_size"),
    "indices of other pictures": Call(lambda: run(indices=[1, 2]), "2 indices for 4 pictures"),
    "indices between pictures": Call(lambda: run(indices=[0, 1, 2, 2.5]), "2.5"),
    "a number for indices": Call(lambda: run(indices=4), "indices"),
    "a seed between seeds": Call(lambda: run(seed=0.5), "a seed is a whole number, but got 0.5"),
    "no seed": Call(lambda: run(seed=None), "a seed is a whole number"),
    "strength of nothing": Call(lambda: run(strength=0), "strength"),
    "strength of more than all": Call(lambda: run(strength=1.5), "1.5"),
    "strength in words": Call(lambda: run(strength="half"), "'half'"),
    "levels that rise": Call(lambda: run(steps=None, levels=[Level(1.0, 0.1), Level(0.5, 0.5)]), "must fall"),
    "levels of numbers": Call(lambda: run(steps=None, levels=[0.9, 0.1]), "Level"),
    "no levels": Call(lambda: run(steps=None, levels=[]), "at least 2 levels"),
    "steps in words": Call(lambda: run(steps="many"), "'many'"),
    "no steps": Call(lambda: run(steps=0), "0"),
    "steps between steps": Call(lambda: run(steps=2.5), "2.5"),
    "a shape in words": Call(lambda: run(shape="4"), "a shape is (B, *)"),
    "a number for a shape": Call(lambda: run(shape=4), "a shape is (B, *) in whole numbers, 1 or more, but got 4"),
    "a callback that is none": Call(lambda: run(callback=3), "callback"),
    "an option that there is not": Call(lambda: run(sede=3), "did you mean 'seed'"),
}  # fmt: skip

_CONDITIONS = {
    "nothing": Call(lambda: Condition(), "at least one named tensor"),
    "a word": Call(lambda: Condition(label="cat"), "needs a tensor"),
    "a list of words": Call(lambda: Condition(label=["cat"]), "needs a tensor"),
    "None": Call(lambda: Condition(label=None), "needs a tensor"),
    "a number for a name": Call(lambda: Condition({3: torch.zeros(2)}), "3"),
    "other rows": Call(lambda: Condition(a=torch.zeros(2), b=torch.zeros(3)), "same number of rows"),
    "a list for parts": Call(lambda: Condition([torch.zeros(2)]), "Condition"),
    "a row that is not there": Call(lambda: LABEL.rows([0, 7]), "7"),
    "rows between rows": Call(lambda: LABEL.rows(torch.tensor([0.5])), "whole numbers"),
    "rows by name": Call(lambda: LABEL.rows("first"), "'first'"),
    "a mask of other rows": Call(lambda: LABEL.rows(torch.tensor([True, False])), "4"),
    "more rows than there are": Call(lambda: LABEL.expand(7), "4 rows can't be had for 7"),
    "no rows": Call(lambda: LABEL.rows([0]).expand(-1), "-1"),
    "nothing joined": Call(lambda: Condition.cat([]), "one condition or more"),
    "other names joined": Call(lambda: Condition.cat([LABEL, Condition(text=torch.zeros(4))]), "same names"),
    "other sizes joined": Call(lambda: Condition.cat([LABEL, Condition(label=torch.zeros(4, 2))]), "label"),
    "another null": Call(lambda: LABEL.drop(Condition(text=torch.zeros(1)), torch.ones(4, dtype=torch.bool)), "the null"),
    "a null of another size": Call(lambda: LABEL.drop(Condition(label=torch.zeros(1, 3)), torch.ones(4) > 0), "label"),
    "an unknown part dropped": Call(lambda: LABEL.drop(MODEL.null, {"text": torch.ones(4) > 0}), "'text'"),
    "rows of numbers dropped": Call(lambda: LABEL.drop(MODEL.null, torch.ones(4)), "boolean"),
    "other rows dropped": Call(lambda: LABEL.drop(MODEL.null, torch.ones(3) > 0), "4"),
}  # fmt: skip

_MANY = Dataset(torch.zeros(1001, 1, 1, 1), attributes=tuple({"code": f"{i}"} for i in range(1001)))


def _say(n: Any = 2, **asked: Any) -> object:
    return vocabulary().condition(n, **asked)


def _see(picture: Any) -> object:
    return Vocabulary([Pictured("known", 3, 8, 8)]).condition(1, known=[picture])


_WORDS = {
    "an unknown name": Call(lambda: _say(siez=2), "did you mean 'size'"),
    "an unknown class": Call(lambda: _say(label="dgo"), "did you mean 'dog'"),
    "a class's number out of range": Call(lambda: _say(label=2), "unknown class 2"),
    "a negative class": Call(lambda: _say(label=-1), "unknown class -1"),
    "a truth for a class": Call(lambda: _say(label=True), "unknown class True"),
    "half a class": Call(lambda: _say(label=0.5), "unknown class 0.5"),
    "a class for each of three": Call(lambda: _say(label=["cat"] * 3), "3 times for 2 pictures"),
    "bytes for a text": Call(lambda: _say(text=b"a red disc"), "takes a text"),
    "a tensor for a text": Call(lambda: _say(text=torch.zeros(2)), "takes a text"),
    "an empty text": Call(lambda: _say(text=["a disc", " "]), "an empty text"),
    "a list for a number": Call(lambda: _say(size=[[1], [2]]), "size takes a number"),
    "a number that is none": Call(lambda: _say(size=NAN), "size takes a number"),
    "a number of another world": Call(lambda: _say(size=10**400), "size takes a number"),
    "an unknown kind of picture": Call(lambda: Pictured("lowres", 3, 2, 2), "unknown condition that is a picture 'lowres'"),
    "a picture of no size": Call(lambda: Pictured("known", 0, 8, 8).part(), "size must be"),
    "an array for a picture": Call(lambda: _see(torch.zeros(3, 8, 8).numpy()), "known takes a picture: floats"),
    "a file's name for a picture": Call(lambda: _see("mine.png"), "but got 'mine.png'"),
    "a picture of another size": Call(lambda: _see(torch.zeros(3, 4, 4)), "floats of shape (3, 8, 8)"),
    "a picture of bytes": Call(lambda: _see(torch.zeros(3, 8, 8, dtype=torch.uint8)), "torch.uint8"),
    "a picture of 0 to 255": Call(lambda: _see(torch.full((3, 8, 8), 255.0)), "its values reach 255"),
    "an infinite picture": Call(lambda: _see(torch.full((3, 8, 8), math.inf)), "in [-1, 1]"),
    "no pictures": Call(lambda: _say(0, label="cat"), "pictures"),
    "fewer than no pictures": Call(lambda: _say(-2, label="cat"), "pictures"),
    "pictures in words": Call(lambda: _say("two", label="cat"), "pictures"),
    "a model that is told nothing": Call(lambda: Vocabulary().condition(2, text="a"), "without conditions"),
    "more values than names": Call(lambda: Vocabulary.of(_MANY, ("code",)), "1,001 different values"),
    "pictures that say nothing": Call(lambda: Vocabulary.of(Dataset(torch.zeros(2, 1, 4, 4)), ("text",)), "captions"),
    "an unknown kind of tokens": Call(lambda: Tokens("letters", 5), "unknown kind of tokens 'letters'"),
    "tokens of no length": Call(lambda: Tokens("bytes", 0), ">= 1, but is 0"),
    "tokens of half a length": Call(lambda: Tokens("bytes", 2.5), "but is 2.5"),
    "words without words": Call(lambda: Tokens("words", 5), "need some words"),
    "bytes with words": Call(lambda: Tokens("bytes", 5, ("a",)), "bytes none"),
    "texts without a word": Call(lambda: Tokens.of(["", " "]), "none of them has a word"),
    "no texts": Call(lambda: Tokens.of([]), "nothing to learn"),
    "a text for texts": Call(lambda: Tokens("bytes", 5).encode("red"), "texts"),
    "half a character": Call(lambda: Tokens("bytes", 5).encode(["\udcff"]), "UTF-8"),
    "a part of an unknown kind": Call(lambda: Part("age", "value", 1), "did you mean 'values'"),
    "a part that is called x": Call(lambda: Part("x", "values", 1), "not x, t or self"),
    "a part that is called two words": Call(lambda: Part("my age", "values", 1), "'my age'"),
    "a part that is called 5": Call(lambda: Part(5, "values", 1), "5"),
    "a part of no size": Call(lambda: Part("age", "values", 0), "size must be a whole number >= 1, but is 0"),
    "a part of half a size": Call(lambda: Part("age", "values", 1.5), "but is 1.5"),
    "a part of no layers": Call(lambda: Part("text", "text", 5, layers=0), "layers must be"),
    "two parts of one name": Call(lambda: parts_from([Part("a", "values", 1)] * 2), "a is there twice"),
    "an unknown setting of a part": Call(lambda: parts_from([{"nam": "a"}]), "unknown settings of a condition: nam"),
    "a part without a size": Call(lambda: parts_from([{"name": "a", "kind": "values"}]), "has no size"),
    "two entries of one name": Call(lambda: Vocabulary([Classes("a", ("x",)), Number("a", 0.0, 1.0, 0.0, 1.0)]), "'a'"),
    "an entry without names": Call(lambda: Vocabulary([Classes("a", ())]).parts, "size must be"),
    "a text of no width": Call(lambda: Text("text", Tokens("bytes", 3), 0).part(), "width must be"),
}  # fmt: skip

_SCALED: dict[str, Callable[..., Any]] = {
    "classifier_free": g.classifier_free, "cfg_plus_plus": g.cfg_plus_plus, "cfg_zero_star": g.cfg_zero_star, "apg": g.apg,
    "autoguidance": lambda model, scale, **more: g.autoguidance(model, MODEL, scale, **more),
    "classifier": lambda model, scale, **more: g.classifier(model, lambda D: D.flatten(1).sum(1), scale, **more),
}  # fmt: skip


def _scaled(scale: Any, words: str, later: bool = False, names: tuple[str, ...] = tuple(_SCALED)) -> dict[str, Call]:
    """A scale that every guidance must refuse, at once or when it is run."""
    said = repr(scale).replace("\n", " ")[:40] if not callable(scale) else "a function's"

    def call(make: Callable[..., Any]) -> Call:
        return Call(lambda: run(make(MODEL, scale)) if later else make(MODEL, scale), words, 1)

    return {f"{name} of {said} for {words!r}": call(_SCALED[name]) for name in names}


_THREE, _ONE = ("classifier_free", "autoguidance", "classifier"), ("apg",)
_SCALES = {
    **_scaled(NAN, "finite number"),
    **_scaled(math.inf, "finite number"),
    **_scaled("two", "guidance scale", names=_THREE),
    **_scaled("2.0", "guidance scale", names=_ONE),
    **_scaled(None, "guidance scale", names=_THREE),
    **_scaled([1.0, 2.0], "guidance scale", names=_THREE),
    **_scaled(torch.ones(4, 7), "(4, 7)", later=True, names=_THREE),
    **_scaled(torch.tensor([0.5, NAN, 0.5, 0.5]), "nan"),
    **_scaled(torch.zeros(0), "guidance scale", names=_THREE),
    **_scaled(torch.ones(4, dtype=torch.complex64), "guidance scale", names=_ONE),
    **_scaled(torch.full((3,), 0.5), "3 guidance scales for 4 pictures", later=True),
    **_scaled(lambda level: NAN, "finite number", later=True),
    **_scaled(lambda level: torch.full((3,), 0.5), "3 guidance scales for 4 pictures", later=True, names=_THREE),
    **_scaled(lambda level: None, "guidance scale", later=True, names=_THREE),
    **_scaled(lambda level: "0.5", "guidance scale", later=True, names=_ONE),
}


def _free(scale: Any = 2.0, **options: Any) -> Any:
    return g.classifier_free(MODEL, scale, **options)


def _read(log_p: Any, **options: Any) -> Tensor:
    return run(g.classifier(MODEL, log_p, **options))


_PARTS = [(LABEL, 2.0), (Condition(label=torch.tensor([0])), -1.0)]
_GUIDED = {
    "an interval that is turned": Call(lambda: _free(interval=(2.0, 1.0)), "0 <= low < high"),
    "an empty interval": Call(lambda: _free(interval=(1.0, 1.0)), "but got (1.0, 1.0)"),
    "an interval below 0": Call(lambda: _free(interval=(-1.0, 1.0)), "but got (-1.0, 1.0)"),
    "an interval of NaN": Call(lambda: _free(interval=(NAN, 1.0)), "nan"),
    "an interval of one number": Call(lambda: _free(interval=(1.0,)), "an interval is (low, high)"),
    "a number for an interval": Call(lambda: _free(interval=1.0), "an interval is (low, high)"),
    "an interval in words": Call(lambda: _free(interval=("low", "high")), "an interval is (low, high)"),
    "a rescale of more than all": Call(lambda: _free(rescale=1.5), "rescale must be 0 or more and at most 1"),
    "a rescale below 0": Call(lambda: _free(rescale=-0.1), "but got -0.1"),
    "a rescale of NaN": Call(lambda: _free(rescale=NAN), "but got nan"),
    "a rescale in words": Call(lambda: _free(rescale="half"), "rescale must be"),
    "rescale of points": Call(
        lambda: sample(g.classifier_free(POINT, 2.0, rescale=0.5), (2, 1), condition=LABEL.rows([0, 1]), steps=2),
        "rescale needs pictures of more than one value", 1,
    ),
    "a negative of other rows": Call(lambda: run(_free(negative=LABEL.rows([0, 1]))), "2 rows for 4 pictures"),
    "a negative of other names": Call(lambda: run(_free(negative=Condition(text=torch.zeros(1)))), "same names"),
    "a dictionary for a negative": Call(lambda: _free(negative={"label": torch.zeros(1)}), "Condition"),
    "a text for a negative": Call(lambda: _free(negative="ugly"), "Condition"),
    "a model without a null": Call(lambda: g.classifier_free(lambda x, level, told=None: x, 2.0), "no null condition"),
    "a run without a condition": Call(lambda: run(_free(), condition=None), "needs a condition"),
    "a number for the model": Call(lambda: g.autoguidance(3, MODEL, 2.0), "a denoiser is called as"),
    "a number for the worse model": Call(lambda: g.autoguidance(MODEL, 3, 2.0), "a denoiser is called as"),
    "a schedule for the model": Call(lambda: g.clip(schedule("flow")), "a denoiser is called as"),
    "a worse model of other pictures": Call(lambda: run(g.autoguidance(MODEL, OTHER, 2.0)), "shape", 1),
    "a worse model that answers otherwise": Call(
        lambda: run(g.autoguidance(MODEL, lambda x, level, told=None: x[:, :, 0], 2.0)), "shape", 1
    ),
    "a worse model that moves the state": Call(
        lambda: run(g.autoguidance(MODEL, g.cfg_plus_plus(MODEL, 0.5), 2.0)), "must be the outermost", 2
    ),
    "clipping what moves the state": Call(lambda: run(g.clip(g.cfg_plus_plus(MODEL, 0.5))), "must be the outermost", 1),
    "a scale of cfg_plus_plus above 1": Call(lambda: g.cfg_plus_plus(MODEL, 1.5), "from 0 to 1, but got 1.5"),
    "scales of cfg_plus_plus below 0": Call(lambda: g.cfg_plus_plus(MODEL, -torch.ones(4)), "from 0 to 1, but got -1.0"),
    "a zero of more than all": Call(lambda: g.cfg_zero_star(MODEL, 2.0, zero=1.5), "zero must be"),
    "a zero of NaN": Call(lambda: g.cfg_zero_star(MODEL, 2.0, zero=NAN), "zero must be"),
    "an eta of NaN": Call(lambda: g.apg(MODEL, 2.0, eta=NAN), "eta must be a finite number"),
    "an eta in words": Call(lambda: g.apg(MODEL, 2.0, eta="all"), "eta must be a finite number"),
    "an infinite momentum": Call(lambda: g.apg(MODEL, 2.0, momentum=math.inf), "momentum must be a finite number"),
    "no momentum": Call(lambda: g.apg(MODEL, 2.0, momentum=None), "momentum must be a finite number"),
    "a norm of 0": Call(lambda: g.apg(MODEL, 2.0, norm=0.0), "norm must be above 0"),
    "a norm below 0": Call(lambda: g.apg(MODEL, 2.0, norm=-1.0), "but got -1.0"),
    "a norm of NaN": Call(lambda: g.apg(MODEL, 2.0, norm=NAN), "but got nan"),
    "a norm in words": Call(lambda: g.apg(MODEL, 2.0, norm="short"), "norm must be"),
    "nothing composed": Call(lambda: g.composed(MODEL, []), "one pair of condition and scale or more"),
    "None composed": Call(lambda: g.composed(MODEL, None), "pair"),
    "conditions without scales composed": Call(lambda: g.composed(MODEL, [LABEL, LABEL]), "pair"),
    "one condition composed": Call(lambda: g.composed(MODEL, LABEL), "pair"),
    "triples composed": Call(lambda: g.composed(MODEL, [(LABEL, 1.0, 2.0)]), "pair"),
    "dictionaries composed": Call(lambda: g.composed(MODEL, [({"label": 3}, 1.0)]), "Condition"),
    "a composition of NaN": Call(lambda: g.composed(MODEL, [(LABEL, NAN)]), "finite number"),
    "a composition of other rows": Call(lambda: run(g.composed(MODEL, [(LABEL.rows([0, 1]), 2.0)]), condition=None), "2 rows"),
    "a composition and a condition": Call(lambda: run(g.composed(MODEL, _PARTS)), "leave the run's condition out"),
    "a log_p that is none": Call(lambda: _read(3), "log_p"),
    "a log_p of one number": Call(lambda: _read(lambda D: D.sum()), "(4,)", 1),
    "a log_p of a column": Call(lambda: _read(lambda D: D.flatten(1).sum(1, keepdim=True)), "(4, 1)", 1),
    "a log_p without a tensor": Call(lambda: _read(lambda D: 0.5), "float", 1),
    "a log_p without a gradient": Call(lambda: _read(lambda D: D.detach().flatten(1).sum(1)), "no gradient", 1),
    "a log_p of NaN": Call(lambda: _read(lambda D: (D.flatten(1).sum(1) - 1e9).sqrt()), "not finite", 9),
    "a log_p towards other rows": Call(lambda: _read(lambda D, c: D, towards=LABEL.rows([0, 1])), "2 rows for 4 pictures"),
    "a log_p towards a tensor": Call(lambda: _read(lambda D, c: D, towards=torch.zeros(4)), "Condition"),
    "clipping upside down": Call(lambda: g.clip(MODEL, 1.0, -1.0), "low < high"),
    "clipping to NaN": Call(lambda: g.clip(MODEL, NAN, 1.0), "nan"),
    "clipping to words": Call(lambda: g.clip(MODEL, "dark", "light"), "clipping needs"),
    "a percentile of 0": Call(lambda: g.dynamic_threshold(MODEL, 0.0), "percentile must be above 0 and at most 100"),
    "a percentile of 101": Call(lambda: g.dynamic_threshold(MODEL, 101.0), "but got 101"),
    "a percentile of NaN": Call(lambda: g.dynamic_threshold(MODEL, NAN), "but got nan"),
    "a limit of 0": Call(lambda: g.dynamic_threshold(MODEL, limit=0.0), "limit must be above 0"),
}  # fmt: skip

CALLS: dict[str, dict[str, Call]] = {
    "Python: runs": _RUNS, "Python: conditions": _CONDITIONS, "Python: vocabularies": _WORDS, "Python: scales": _SCALES,
    "Python: guidance": _GUIDED, **EDITS,
}  # fmt: skip
