"""What a network is told, brought into the forms that networks take in: a vector, places to look at, more channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisepath.errors import is_number, shown, unknown
from noisepath.nn.attend import TextEncoder
from noisepath.nn.parts import Needs, Part, always_told, check_range

__all__ = ["Encoded", "Heard", "Told", "check_names", "check_pictures", "hear", "reading", "times_for"]

OCTAVES = 5
"""Sines and cosines of a value v: sin(2^j v), cos(2^j v) for j = -1 .. OCTAVES - 2."""


class Encoded(NamedTuple):
    """A text that was read already: it can be told in place of its tokens."""

    features: Tensor
    """(B, L + 1, width)."""
    mask: Tensor
    """(B, L + 1), true where there is something."""


class Heard(NamedTuple):
    """What was said, for B pictures."""

    vector: Tensor | None
    """(B, E), to be added to the time's."""
    places: Tensor | None
    """(B, M, W), for cross-attention."""
    mask: Tensor | None
    """(B, M), true where a place says something."""
    channels: Tensor | None
    """(B, C, H, W), of the size of the picture that enters."""


def reading(told: Told | None) -> Callable[[Mapping[str, Tensor]], Mapping[str, Any]]:
    """For one run: what is said, with each text read when it is first said and not at each call of the network again.

    The text of a call is known for that of the last one by its numbers on a CPU; elsewhere, where looking would mean waiting,
    if it is the same tensor.  Where a gradient is wanted, it is read again.
    """
    texts = [part for part in (told.parts if told is not None else ()) if part.kind == "text"]
    kept: dict[str, tuple[Tensor, Encoded]] = {}

    def read(said: Mapping[str, Tensor]) -> Mapping[str, Any]:
        if told is None or not texts or torch.is_grad_enabled():
            return said
        for part in texts:
            value = said.get(part.name)
            if value is not None and not (part.name in kept and _same(kept[part.name][0], value)):
                part.check(value, len(value))
                encode = cast(_Text, told.by_name[f"part_{part.name}"]).encode
                kept[part.name] = value, Encoded(*encode(value))
        return {**said, **{part.name: kept[part.name][1] for part in texts if part.name in said}}

    return read


def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.device.type == b.device.type == "cpu" and torch.equal(a, b))


def check_names(said: Mapping[str, Any], parts: Sequence[Part], what: str = "network") -> None:
    """ValueError for a name that no part has."""
    known = [part.name for part in parts]
    for name in said:
        if name not in known:
            if not known:
                raise ValueError(f"this {what} takes no conditions, but was told {name!r}")
            raise unknown(f"condition of this {what}", name, known)


class Told(nn.Module):
    """The parts of a condition, each by its kind (:mod:`noisepath.nn.parts`); what is not said is its null.

    Args:
        parts: what can be said.
        embedding: width E of the vector.
        width: W of the places; None: texts reach the network by the vector alone.
    """

    def __init__(self, parts: Sequence[Part], embedding: int, width: int | None) -> None:
        super().__init__()
        self.parts = tuple(parts)
        self.embedding, self.width = embedding, width
        # a bare name such as "values" may be a method of the dictionary
        self.by_name = nn.ModuleDict({f"part_{part.name}": _KINDS[part.kind](part, embedding, width) for part in self.parts})

    @property
    def channels(self) -> int:
        """How many channels are added to the picture that enters."""
        return sum(part.size + 1 for part in self.parts if part.kind == "picture")

    @property
    def has_places(self) -> bool:
        """Whether there is anything to look at."""
        return any(part.kind in ("text", "features") for part in self.parts)

    def forward(self, said: Mapping[str, Any], x: Tensor) -> Heard:
        """What was said of the pictures x (B, C, H, W): tensors, of a text also :class:`Encoded`."""
        check_names(said, self.parts)
        vector: Tensor | None = None
        places: list[Tensor] = []
        masks: list[Tensor] = []
        channels: list[Tensor] = []
        for part in self.parts:
            value = said.get(part.name)
            if value is None:
                value = part.null().to(x.device).expand(len(x), *part.null().shape[1:])
            if not isinstance(value, Encoded):
                part.check(value, len(x))
            heard: Heard = self.by_name[f"part_{part.name}"](value, x)
            if heard.vector is not None:
                vector = heard.vector if vector is None else vector + heard.vector
            if heard.places is not None and heard.mask is not None:
                places.append(heard.places)
                masks.append(heard.mask)
            if heard.channels is not None:
                channels.append(heard.channels)
        if not places:
            return Heard(vector, None, None, torch.cat(channels, 1) if channels else None)
        return Heard(vector, torch.cat(places, 1), torch.cat(masks, 1), torch.cat(channels, 1) if channels else None)


def check_pictures(x: Tensor, channels: int, what: str) -> None:
    """ValueError unless x is (B, channels, H, W)."""
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"the {what} takes x of shape (B, {channels}, H, W), but got {tuple(x.shape)}")


def times_for(x: Tensor, t: Tensor | float, what: str) -> Tensor:
    """t as floats (B,), one for each sample of x: given so, or one for all (a number, a tensor of shape () or (1,))."""
    if not isinstance(t, Tensor):
        if not is_number(t) or isinstance(t, bool):
            raise TypeError(f"the {what} takes t as a number or a tensor, but got {shown(t)}")
        return torch.full((len(x),), float(t), dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
    if t.is_complex() or t.dtype == torch.bool:
        raise ValueError(f"the {what} takes t in real numbers, but got {t.dtype}")
    if t.shape != x.shape[:1] and tuple(t.shape) not in ((), (1,)):
        raise ValueError(
            f"the {what} takes one t per picture, shape ({len(x)},), but got {tuple(t.shape)} (one for all is a number)"
        )
    t = t if t.is_floating_point() else t.float()
    return t if t.shape == x.shape[:1] else t.to(x.device).expand(len(x))


def hear(
    classes: nn.Embedding | None,
    told: Told | None,
    x: Tensor,
    label: Tensor | None,
    said: Mapping[str, Any],
    what: str,
    needs: Needs = "nothing",
) -> Heard:
    """Class and conditions of the pictures x (B, C, H, W), for a network whose ``classes`` has "no class" as its last row.

    needs: what has to be said, since the network was never trained without it: ValueError where it is not.
    """
    if needs != "nothing":
        _check_needs(classes, told, label, said, needs)
    vector: Tensor | None = None
    if classes is not None:
        vector = classes(_label(label, x, classes.num_embeddings - 1, what))
    elif label is not None:
        if told is None:
            raise ValueError(f"the {what} has no classes ({what.replace('-', '')}Config.classes is 0), but was given labels")
        said = {**said, "label": label}
    if told is None:
        check_names(said, (), what)
        return Heard(vector, None, None, None)
    heard: Heard = told(said, x)
    if vector is None:
        return heard
    return heard._replace(vector=vector if heard.vector is None else vector + heard.vector)


def _check_needs(
    classes: nn.Embedding | None, told: Told | None, label: Tensor | None, said: Mapping[str, Any], needs: Needs
) -> None:
    names = [*(["label"] if classes is not None else []), *(part.name for part in (() if told is None else told.parts))]
    given = {**said, **({} if label is None else {"label": label})}
    missing = [name for name in names if given.get(name) is None]
    if missing and (needs == "everything" or len(missing) == len(names)):
        raise ValueError(always_told(missing))
    # the class that means none; labels on an accelerator are not waited for
    alone = classes is not None and label is not None and (needs == "everything" or len(names) == 1)
    if alone and label.device.type == "cpu" and bool((label == classes.num_embeddings - 1).any()):  # type: ignore[union-attr]
        raise ValueError(always_told(["label"]))


def _label(label: Tensor | None, x: Tensor, classes: int, what: str) -> Tensor:
    if label is None:
        return torch.full((len(x),), classes, device=x.device)
    if label.shape != x.shape[:1] or label.is_floating_point():
        raise ValueError(
            f"the {what} takes one whole-number label per picture, shape ({len(x)},), "
            f"but got {label.dtype} of shape {tuple(label.shape)}"
        )
    check_range("a label", label, classes)
    return label


class _Class(nn.Module):
    def __init__(self, part: Part, embedding: int, width: int | None) -> None:
        super().__init__()
        self.embed = nn.Embedding(part.size + 1, embedding)

    def forward(self, value: Tensor, x: Tensor) -> Heard:
        return Heard(self.embed(value), None, None, None)


class _Values(nn.Module):
    """Each number with its sines and cosines; one that is not said is 0 throughout, and has a flag that says so."""

    def __init__(self, part: Part, embedding: int, width: int | None) -> None:
        super().__init__()
        features = part.size * (2 + 2 * OCTAVES)
        self.mix = nn.Sequential(nn.Linear(features, embedding), nn.SiLU(), nn.Linear(embedding, embedding))

    def forward(self, value: Tensor, x: Tensor) -> Heard:
        known = ~value.isnan()
        v = value.nan_to_num(0.0)
        angles = v[..., None] * 2.0 ** torch.arange(-1, OCTAVES - 1, device=v.device, dtype=v.dtype)
        features = torch.cat([v[..., None], angles.sin(), angles.cos()], -1) * known[..., None]
        told = torch.cat([features, known[..., None].to(v.dtype)], -1).flatten(1).to(x.dtype)
        return Heard(self.mix(told), None, None, None)


class _Text(nn.Module):
    def __init__(self, part: Part, embedding: int, width: int | None) -> None:
        super().__init__()
        self.encode = TextEncoder(part.size, part.length, part.width, part.layers)
        self.pool = nn.Linear(part.width, embedding)
        self.project = nn.Linear(part.width, width) if width else None

    def forward(self, value: Tensor | Encoded, x: Tensor) -> Heard:
        features, mask = value if isinstance(value, Encoded) else self.encode(value)
        vector = self.pool(features[:, 0])
        return Heard(vector, None, None, None) if self.project is None else Heard(vector, self.project(features), mask, None)


class _Features(nn.Module):
    """A learned place stands first: an empty text says something too, and attention has somewhere to look."""

    def __init__(self, part: Part, embedding: int, width: int | None) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(part.size)
        self.pool = nn.Linear(part.size, embedding)
        self.project = nn.Linear(part.size, width) if width else None
        self.first = nn.Parameter(0.02 * torch.randn(width)) if width else None

    def forward(self, value: Tensor, x: Tensor) -> Heard:
        known = ~value.isnan().any(-1)
        features = self.norm(value.nan_to_num(0.0).to(x.dtype))
        share = known.to(x.dtype) / known.sum(1, keepdim=True).clamp(min=1)
        vector = self.pool((features * share[..., None]).sum(1))
        if self.project is None or self.first is None:
            return Heard(vector, None, None, None)
        places = torch.cat([self.first.expand(len(value), 1, -1), self.project(features)], 1)
        return Heard(vector, places, F.pad(known, (1, 0), value=True), None)


class _Picture(nn.Module):
    """Brought to the size of x, and a channel that is 1 where it is known; unknown pixels are 0."""

    def __init__(self, part: Part, embedding: int, width: int | None) -> None:
        super().__init__()

    def forward(self, value: Tensor, x: Tensor) -> Heard:
        known = ~value.isnan().any(1, keepdim=True)
        both = torch.cat([value.nan_to_num(0.0) * known, known.to(value.dtype)], 1)
        if both.shape[2:] != x.shape[2:]:
            both = F.interpolate(both, x.shape[2:], mode="bilinear", align_corners=False)
        return Heard(None, None, None, both.to(x.dtype))


_KINDS = {"class": _Class, "values": _Values, "text": _Text, "features": _Features, "picture": _Picture}
