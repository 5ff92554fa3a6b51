"""Networks from elsewhere: how they are called.

A module is looked at once, by the signature of its ``forward``: x goes to the first parameter, the time to the one of that
name, and the parts of a condition to theirs, by keyword.  What it does not take and what it lacks is refused by name before it
is called.  Nothing of diffusers is imported: its networks are modules that are called, and known by their class's name.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ._lazy import torch
from .errors import shown, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from .foreign_schedulers import Parts

__all__ = ["Wrapped", "wrap_diffusers"]

# What conditions are called here, and by diffusers' networks.
NAMES = {"label": "class_labels", "text": "encoder_hidden_states"}

TIMES = ("timestep", "timesteps", "timestep_ratio", "t", "time", "noise_labels", "sigma", "c_noise")
"""What the time is called by networks; by any other name it is the second parameter."""

NESTED = ("text_embeds", "time_ids", "image_embeds", "hint", "resolution", "aspect_ratio")
"""Parts of a condition that go into ``added_cond_kwargs`` where a network has that, and no parameter of their name."""

_NO_CONDITIONS = ("return_dict",)
_NO_TIMES = ("encoder_hidden_states", "class_labels", "cond", "y", "labels")


class Wrapped:
    """A module as ``network(x, t, **condition) -> tensor``, the way a :class:`~noisepath.denoiser.Denoiser` calls it.

    Args:
        module: anything that can be called; its parameters, where it has some, say where samples are made.
        call: ``(module, x, t, **condition) -> tensor``; by default the module is called after its signature, and of its answer
            the first part is taken (diffusers' ``.sample``).
        time: from t (B,) to the number that the module is given; None: t as it is.
        sign: -1.0 for a module that answers with the negative.
        names: what parts of a condition are called by the module, where it is not what they are called here.
        arguments: what the module is given at every call beside: whole numbers, flags, tables of positions.

    A part of a condition named ``"a.b"`` is the entry ``b`` of the module's argument ``a``, a dict.  An answer with twice the
    channels of x is a learned variance's: its first half is the prediction, and one warning says so.

    Raises:
        ValueError: a module that takes no time, or not one of ``arguments``; when called, a part of the condition that the
            module does not take, or one that it needs and does not have.
    """

    def __init__(
        self,
        module: Callable[..., Any],
        call: Callable[..., Tensor] | None = None,
        *,
        time: Callable[[Tensor], Tensor] | None = None,
        sign: float = 1.0,
        names: Mapping[str, str] | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.module, self._call = module, call
        self.time, self.sign, self.names = time, sign, dict(names or {})
        self.arguments = dict(arguments or {})
        self._form = _form_of(module) if call is None else None
        self._whole = _has_learned_times(module)
        self._variance_is_cut = False
        if self._form is not None:
            for name in self.arguments:
                self._form.check(name, name, self.names)

    def __call__(self, x: Tensor, t: Tensor, **condition: Tensor) -> Tensor:
        """x: (B, C, *), t: (B,) -> (B, C, *)."""
        t = t if self.time is None else self.time(t)
        t = _whole(t) if self._whole else t
        if self._form is None:
            assert self._call is not None
            out = self._call(self.module, x, t, **condition)
        else:
            given = self._form.arguments(condition, self.names, self.arguments)
            try:
                out = _first(self._form(self.module, x, t, given))
            except IndexError as error:
                raise _labels_error(self.module, given) or error from None
        out = self._mean(out, x)
        return out if self.sign == 1.0 else out * self.sign

    def _mean(self, out: Tensor, x: Tensor) -> Tensor:
        """The prediction of an answer that may hold a variance, too."""
        if not isinstance(out, torch.Tensor) or not (out.ndim == x.ndim > 1 and out.shape[1] == 2 * x.shape[1]):
            return out
        if not self._variance_is_cut:
            self._variance_is_cut = True
            warnings.warn(
                f"{_name(self.module)} answers with {out.shape[1]} channels for {x.shape[1]}: the second half, a learned "
                "variance, is cut off; stochastic solvers use their own",
                stacklevel=3,
            )
        return out[:, : x.shape[1]]

    def parameters(self) -> Iterator[Tensor]:
        """Those of the module; none where it has none."""
        own = getattr(self.module, "parameters", None)
        return iter(own() if callable(own) else ())


# ----------------------------------------------------------------------------------------------------------- how to call


@dataclass(frozen=True)
class _Form:
    """How a module is called, by the parameters of its ``forward``."""

    module: str
    time: str | None
    """The time's name; None: it is given second, by position."""
    parts: tuple[str, ...]
    """The names that it takes beside x and the time."""
    any_part: bool
    """Whether it takes any other name, too."""
    needed: tuple[str, ...]
    """Without which it can't be called; ``a.b`` for an entry of a dict."""

    def __call__(self, module: Callable[..., Any], x: Tensor, t: Tensor, given: Mapping[str, Any]) -> Any:
        return module(x, t, **given) if self.time is None else module(x, **{self.time: t}, **given)

    def arguments(
        self, condition: Mapping[str, Tensor], names: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The keyword arguments of one call; ValueError for what is not taken, or is missing."""
        given: dict[str, Any] = {}
        for name, value in (*arguments.items(), *condition.items()):
            place, _, entry = self.check(name, self._place(name, names), names).partition(".")
            if entry:
                given[place] = {**given.get(place, {}), entry: value}
            elif isinstance(value, Mapping):
                given[place] = {**given.get(place, {}), **value}
            else:
                given[place] = value
        for name in self.needed:
            place, _, entry = name.partition(".")
            if place not in given or entry and entry not in given[place]:
                raise ValueError(f"{self.module} needs {_display_name(name, names)}: {_how_to_give(name, names)}")
        return given

    def _place(self, name: str, names: Mapping[str, str]) -> str:
        """Where a part of a condition goes: a parameter, or an entry of one."""
        if name in self.parts or "." in name:
            return name
        if name in NESTED and "added_cond_kwargs" in self.parts:
            return f"added_cond_kwargs.{name}"
        return names.get(name, name)

    def check(self, name: str, place: str, names: Mapping[str, str]) -> str:
        """``place``; ValueError where the module takes no ``name``."""
        if not self.any_part and place.partition(".")[0] not in self.parts:
            if not self.parts:
                raise ValueError(f"{self.module} takes x and the time alone, but the condition has {shown(name)}")
            raise unknown(f"part of a condition for {self.module}:", name, [_display_name(part, names) for part in self.parts])
        return place


def _display_name(name: str, names: Mapping[str, str]) -> str:
    """A module's own name of a part, and ours before it where there is one."""
    ours = next((mine for mine, theirs in names.items() if theirs == name), None)
    return name if ours is None else f"{ours} ({name})"


def _how_to_give(name: str, names: Mapping[str, str]) -> str:
    ours = next((mine for mine, theirs in names.items() if theirs == name), name.rpartition(".")[2])
    argument = name.partition(".")[0]
    return f"give condition=Condition({ours}=...), or arguments={{{argument!r}: ...}} where it is the same at every call"


def _form_of(module: Callable[..., Any]) -> _Form:
    name, inner, kinds = _name(module), _inner(module), inspect.Parameter
    parameters = _parameters(inner)
    if parameters is None:
        return _Form(name, None, (), True, ())
    fixed = [p for p in parameters if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]
    if fixed and re.match(r"(typing\.)?list\b", str(fixed[0].annotation), re.IGNORECASE):
        raise ValueError(f"{name} takes a list of images, not a batch: hand over a function (x, t, **condition) that calls it")
    time = _time_of(fixed[1:])
    if time is None and not any(p.kind == kinds.VAR_POSITIONAL for p in parameters):
        raise ValueError(f"{name} takes no time: none of {', '.join(p.name for p in fixed)} is called timestep or the like")
    parts = [p for p in fixed[1:] if p is not time and p.name not in _NO_CONDITIONS and p.kind != kinds.POSITIONAL_ONLY]
    names = [p.name for p in parts]
    needed = [p.name for p in parts if p.default is kinds.empty]
    needed += [part for part in _needed_by_config(inner) if part not in needed and part.partition(".")[0] in names]
    by_name = time is not None and time.name in TIMES and time.kind != kinds.POSITIONAL_ONLY
    any_part = any(p.kind == kinds.VAR_KEYWORD for p in parameters)
    return _Form(name, time.name if time is not None and by_name else None, tuple(names), any_part, tuple(needed))


def _time_of(rest: list[inspect.Parameter]) -> inspect.Parameter | None:
    """The parameter of the time among those after x: by its name, else the second where a call by position reaches it."""
    named = next((p for wanted in TIMES for p in rest if p.name == wanted), None)
    if named is not None or not rest:
        return named
    second = rest[0]
    return None if second.kind == inspect.Parameter.KEYWORD_ONLY or second.name in _NO_TIMES else second


def _parameters(inner: Any) -> list[inspect.Parameter] | None:
    """Those of a module's ``forward``, or of any other callable; None where Python has no record of them."""
    target = getattr(inner, "forward", inner) if isinstance(inner, torch.nn.Module) else inner
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return None


def _inner(module: Any) -> Any:
    """The module inside of what torch.compile or a parallel wrapper made of it."""
    while isinstance(module, torch.nn.Module):
        within = getattr(module, "_orig_mod", None)
        if within is None and type(module).__name__ in ("DistributedDataParallel", "DataParallel"):
            within = module.module
        if within is None:
            return module
        module = within
    return module


def _name(module: Any) -> str:
    inner = _inner(module)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _config(module: Any, key: str) -> Any:
    """A value of a diffusers network's configuration; None where there is none."""
    config = getattr(_inner(module), "config", None)
    return config.get(key) if isinstance(config, Mapping) else None


_OF_ADDED = {
    "text_time": ("text_embeds", "time_ids"),
    "text_image": ("text_embeds", "image_embeds"),
    "image": ("image_embeds",),
    "image_hint": ("image_embeds", "hint"),
}
_OPTIONAL_IN_NAME = {
    **dict.fromkeys(("SD3Transformer2DModel", "FluxTransformer2DModel"), ("encoder_hidden_states", "pooled_projections")),
    **dict.fromkeys(
        ("Flux2Transformer2DModel", "ChromaTransformer2DModel", "AuraFlowTransformer2DModel", "PixArtTransformer2DModel",
         "QwenImageTransformer2DModel", "HunyuanDiT2DModel"),
        ("encoder_hidden_states",),
    ),
    "DiTTransformer2DModel": ("class_labels",),
}  # fmt: skip
_WITH_POSITIONS = ("FluxTransformer2DModel", "Flux2Transformer2DModel", "ChromaTransformer2DModel")


def _needed_by_config(module: Any) -> list[str]:
    """What a diffusers network can't do without although its signature has a default."""
    kind = type(module).__name__
    needed = list(_OPTIONAL_IN_NAME.get(kind, ()))
    needed += ["img_ids", "txt_ids"] if kind in _WITH_POSITIONS else []
    needed += [f"added_cond_kwargs.{name}" for name in _OF_ADDED.get(_config(module, "addition_embed_type"), ())]
    if _config(module, "use_additional_conditions"):
        needed += ["added_cond_kwargs.resolution", "added_cond_kwargs.aspect_ratio"]
    if _config(module, "num_class_embeds") is not None and _config(module, "class_embed_type") is None:
        needed.append("class_labels")
    return needed


def _first(answer: Any) -> Any:
    """The prediction in what a module answers."""
    part = answer if isinstance(answer, torch.Tensor) else getattr(answer, "sample", None)
    return answer[0] if part is None else part


def _labels_error(module: Any, given: Mapping[str, Any]) -> ValueError | None:
    """What an index out of range means, where it is that of a class."""
    labels, count = given.get("class_labels"), _config(module, "num_class_embeds")
    if count is None and _config(module, "num_embeds_ada_norm") is not None:
        count = _config(module, "num_embeds_ada_norm") + 1  # the last is the class that says nothing
    if count is None or not isinstance(labels, torch.Tensor) or labels.is_floating_point():
        return None
    wrong = labels[(labels < 0) | (labels >= count)]
    if not len(wrong):
        return None
    return ValueError(f"label {int(wrong[0])} is none of the {count} classes of {_name(module)}, 0 to {count - 1}")


def _has_learned_times(module: Any) -> bool:
    """Whether a network of diffusers looks its times up in a table, and so knows whole ones alone."""
    if _config(module, "time_embedding_type") == "learned":
        return True
    return _config(module, "norm_type") == "ada_norm" and _config(module, "num_embeds_ada_norm") is not None


def _whole(t: Tensor) -> Tensor:
    """Times as whole numbers; ValueError where they are none."""
    nearest = t.round()
    if (t - nearest).abs().max() > 1e-3:
        raise ValueError(
            f"this network has learned whole times alone, but is asked at t = {float(t[0]):g}: visit the table's own levels, "
            "with spacing 'leading' or 'trailing' and a number of steps that divides the table's length"
        )
    return nearest.long()


# ------------------------------------------------------------------------------------------------- networks of diffusers


def _over(t: Tensor, length: float) -> Tensor:
    return t / length


def _to_data(t: Tensor, length: float) -> Tensor:
    return 1 - t / length


def _times(t: Tensor, factor: float) -> Tensor:
    return t * factor


def _less(t: Tensor, amount: float) -> Tensor:
    return t - amount


PER_THOUSAND = frozenset({
    "AuraFlowTransformer2DModel", "BriaFibo2Transformer2DModel", "ChromaTransformer2DModel", "Flux2Transformer2DModel",
    "Flux3Transformer2DModel", "FluxTransformer2DModel", "LongCatImageTransformer2DModel", "OvisImageTransformer2DModel",
    "QwenImage21Transformer2DModel", "QwenImageTransformer2DModel",
})  # fmt: skip
"""Networks of straight paths whose pipelines hand over t / 1000."""
PER_LENGTH = frozenset({"Krea2Transformer2DModel", "NucleusMoEImageTransformer2DModel", "PRXTransformer2DModel"})
"""Those whose pipelines hand over t / num_train_timesteps."""
TOWARDS_DATA = frozenset({"Ideogram4Transformer2DModel", "Lumina2Transformer2DModel", "LuminaNextDiT2DModel"})
"""Those whose pipelines hand over 1 - t / num_train_timesteps, and negate the answer."""
NEGATED = frozenset({"HiDreamImageTransformer2DModel", "NucleusMoEImageTransformer2DModel", *TOWARDS_DATA})
"""Those whose pipelines negate the answer."""
PLAIN = frozenset({
    "BriaFiboTransformer2DModel", "BriaTransformer2DModel", "ChronoEditTransformer3DModel", "CogView4Transformer2DModel",
    "DreamLiteUNetModel", "ErnieImageTransformer2DModel", "HunyuanImageTransformer2DModel", "HunyuanVideo15Transformer3DModel",
    "HunyuanVideoTransformer3DModel", "JoyImageEditTransformer3DModel", "Kandinsky5Transformer3DModel",
    "LTXVideoTransformer3DModel", "MochiTransformer3DModel", "MotifVideoTransformer3DModel", "OmniGenTransformer2DModel",
    "SD3Transformer2DModel", "SkyReelsV2Transformer3DModel", "UNet1DModel", "UNet2DConditionModel", "UNet2DModel",
    "WanTransformer3DModel", "WanVACETransformer3DModel",
})  # fmt: skip
"""Those whose pipelines hand over the scheduler's own t."""


def _units(module: Any, length: float) -> tuple[Callable[[Tensor], Tensor] | None, float]:
    """What a pipeline does to the t of a straight path and to the answer, by the network's class.

    A class of diffusers that was not looked at is warned of.
    """
    kind = type(_inner(module)).__name__
    sign = -1.0 if kind in NEGATED else 1.0
    if kind in PER_THOUSAND:
        return partial(_over, length=1000.0), sign
    if kind in PER_LENGTH:
        return partial(_over, length=length), sign
    if kind in TOWARDS_DATA:
        return partial(_to_data, length=length), sign
    if kind == "SanaTransformer2DModel":
        return partial(_times, factor=float(_config(module, "timestep_scale") or 1.0)), sign
    if kind == "GlmImageTransformer2DModel":
        return partial(_less, amount=1.0), sign
    if kind not in PLAIN | NEGATED and type(_inner(module)).__module__.startswith("diffusers."):
        warnings.warn(
            f"how its pipeline gives {kind} the time is not known here: it is given sigma num_train_timesteps, and its answer "
            "is taken for the velocity; where that is wrong, hand over a function (x, t, **condition) that calls it rightly",
            stacklevel=4,
        )
    return None, sign


def wrap_diffusers(network: Callable[..., Any], parts: Parts, arguments: Mapping[str, Any] | None = None) -> Wrapped:
    """A network of diffusers as its own pipeline calls it, for a scheduler that says ``parts`` of it.

    TypeError for what is no network: a folder, a pipeline.
    """
    _check_network(network)
    unit, sign = (None, 1.0) if parts.length is None else _units(network, parts.length)
    time = parts.time if unit is None or parts.time is None else partial(_one_by_one, first=parts.time, then=unit)
    return Wrapped(network, time=time, sign=sign * parts.sign, names=NAMES, arguments=arguments)


def _one_by_one(t: Tensor, first: Callable[[Tensor], Tensor], then: Callable[[Tensor], Tensor]) -> Tensor:
    return then(first(t))


def _check_network(network: Any) -> None:
    instead = "UNet2DModel or another module that diffusers has loaded"
    if isinstance(network, str) or hasattr(network, "__fspath__"):
        instead = "load it with diffusers: UNet2DModel.from_pretrained(folder), DDPMScheduler.from_pretrained(folder)"
    elif isinstance(network, type):
        instead = f"make one, {network.__name__}(...), or load it: {network.__name__}.from_pretrained(folder)"
    elif hasattr(network, "scheduler") and hasattr(network, "components"):
        inner = next((name for name in ("transformer", "unet", "prior") if getattr(network, name, None) is not None), "unet")
        instead = f"a pipeline's is Denoiser.from_diffusers(pipe.{inner}, pipe.scheduler)"
    elif callable(network):
        return
    raise TypeError(f"a network is needed that is called as network(x, t), but got {shown(network)}; {instead}")
