"""Begun midway: pictures that are noised to a level and made anew from there, and what lies between two noises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._lazy import torch
from ..conditions import Condition, check_condition, for_batch
from ..denoiser import Denoise
from ..errors import is_number, shown, whole
from ..levels import Level
from ..sampling import numbers_of, sample

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "check_alike", "check_free", "check_pictures", "image_to_image", "interpolate", "interpolate_conditions", "is_full",
    "variations",
]  # fmt: skip

# Variation k of picture i is drawn as picture i + k * _APART: distinct below 2**32, where streams are (noisepath.noise).
_APART = 1 << 16


def image_to_image(denoiser: Denoise, pictures: Tensor, strength: float | Level, **options: Any) -> Tensor:
    """SDEdit (Meng et al. 2108.01073, algorithm 1): pictures noised to a level, and made anew from there.

        x = alpha p + sigma z   at the level of ``strength``, and then any solver's run to data

    Args:
        denoiser: D(x, level, condition=None).
        pictures: p (B, *), floats in the data's range.
        strength: the share of the way from data to the schedule's noisiest level, in the schedule's own time, above 0 and at
            most 1; or a Level.  Near 0 the pictures come back; at 1 nothing of them is used, and the result is that of
            ``sample`` with the same seed, to the bit.
        options: all others of :func:`noisepath.sampling.sample`: solver, steps, spacing, seed, condition, batch_size ...

    Returns (B, *).  ValueError, before any work, for a strength outside (0, 1] and pictures that are not finite; TypeError
    for ``start`` and ``levels``, which are said by the pictures and the strength.
    """
    check_pictures(pictures)
    check_free(options, "start", "levels")
    if is_full(strength):  # whatever a schedule's noisiest level leaves of a picture, a plain run has none of it
        return sample(denoiser, pictures.shape, **options)
    return sample(denoiser, pictures.shape, start=pictures, strength=strength, **options)


def variations(denoiser: Denoise, pictures: Tensor, strength: float | Level, n: int, **options: Any) -> Tensor:
    """``n`` variations of each picture by :func:`image_to_image`, (B, n, *).

    Each has noise of its own: variation k of picture i is a function of (seed, i, k), whatever n is, and variation 0 is what
    ``image_to_image`` gives.  Arguments and errors as there; ``condition`` has a row for each picture, and numbers in
    ``indices`` are below 65,536.
    """
    check_pictures(pictures)
    n = whole(n, f"n is how many variations of each picture, a whole number from 1 to {_APART - 1}", 1, _APART - 1)
    count = len(pictures)
    numbers = numbers_of(options.pop("indices", None), count)
    if not all(0 <= number < _APART for number in numbers):
        raise ValueError(f"pictures that are varied have numbers from 0 to {_APART - 1}, but got {numbers}")
    each = torch.arange(count, device="cpu").repeat_interleave(n)
    condition = for_batch(options.pop("condition", None), count)
    varied = image_to_image(
        denoiser,
        pictures[each.to(pictures.device)],
        strength,
        indices=[number + k * _APART for number in numbers for k in range(n)],
        condition=None if condition is None else condition.rows(each),
        **options,
    )
    return varied.reshape(count, n, *pictures.shape[1:])


def interpolate(noise_a: Tensor, noise_b: Tensor, shares: Sequence[float], *, correlation: float | None = 0.0) -> Tensor:
    """Noise on the way from one to the other along the sphere (Shoemake 1985; Song et al. 2010.02502, eq. 67).

        z = (sin((1 - s) w) a + sin(s w) b) / sin w,        cos w = correlation

    With the correlation that a and b really have, z is unit normal for every share s just as they are, length and all: for
    draws that are independent, 0, it is cos(s pi/2) a + sin(s pi/2) b.

    Args:
        noise_a, noise_b: (B, *) of one shape, unit normals each.
        shares: S numbers in [0, 1]: 0 is a, 1 is b.
        correlation: of a value of a with its value of b, above -1 and at most 1 (then the way is straight); None: each row's
            own angle, which keeps rows of one length at that length, but has no part of the length's law.

    Returns (S * B, *), all rows of the first share first; for runs, ``noise=lambda place: z`` with a solver without noise.
    """
    check_alike(noise_a, noise_b, "noises")
    _check_shares(shares)
    if correlation is not None and not (is_number(correlation) and -1.0 < correlation <= 1.0):
        raise ValueError(f"the correlation is a number above -1 and at most 1, or None, but got {shown(correlation)}")
    a, b = noise_a.flatten(1).double(), noise_b.flatten(1).double()
    if correlation is None:
        if not bool((a.any(1) & b.any(1)).all()):
            raise ValueError("a noise that is 0 throughout has no direction, so there is no angle to it: say correlation=")
        cosines = (torch.nn.functional.normalize(a, dim=1) * torch.nn.functional.normalize(b, dim=1)).sum(1, keepdim=True)
    else:
        cosines = torch.full((len(a), 1), correlation, dtype=a.dtype, device=a.device)
    if bool((cosines <= -1.0 + 1e-12).any()):
        raise ValueError("no way along the sphere is the shortest from a noise to its opposite: say correlation=")
    between = [_along(a, b, cosines, share) for share in shares]
    return torch.cat(between).reshape(-1, *noise_a.shape[1:]).to(noise_a.dtype)


def _along(a: Tensor, b: Tensor, cosines: Tensor, share: float) -> Tensor:
    """One share of the way, for rows whose angle has these cosines (B, 1)."""
    angle = torch.arccos(cosines.clamp(-1.0, 1.0))
    straight = angle < 1e-6  # the limit, where sin w is 0
    sine = torch.where(straight, torch.ones_like(angle), torch.sin(angle))
    first = torch.where(straight, torch.full_like(angle, 1.0 - share), torch.sin((1.0 - share) * angle) / sine)
    second = torch.where(straight, torch.full_like(angle, share), torch.sin(share * angle) / sine)
    return first * a + second * b


def interpolate_conditions(a: Condition, b: Condition, shares: Sequence[float]) -> Condition:
    """Conditions on the straight way from one to the other, S * B rows, all of the first share first.

    Parts of floats (embeddings) are (1 - s) a + s b; all others (labels) must be the same in both.  ValueError for other
    names or sizes, whole numbers that differ, and shares outside [0, 1].
    """
    check_condition(a)
    check_condition(b)
    _check_shares(shares)
    if set(a) != set(b):
        raise ValueError(f"conditions need the same names to go from one to the other, but got {list(a)} and {list(b)}")
    parts = {}
    for name, value in a.items():
        other = b[name]
        if value.shape != other.shape:
            raise ValueError(f"condition {name!r} has shape {tuple(value.shape)} in one and {tuple(other.shape)} in the other")
        if not value.is_floating_point() and not torch.equal(value, other):
            raise ValueError(f"condition {name!r} is no part of floats and differs: there is nothing between {name}s")
        rows = [torch.lerp(value, other, share) if value.is_floating_point() else value for share in shares]
        parts[name] = torch.cat(rows)
    return Condition(parts)


def is_full(strength: float | Level) -> bool:
    """Whether a run of this strength is a plain one; False of what is no strength, which the run refuses."""
    return is_number(strength) and not isinstance(strength, bool) and strength == 1.0


def check_pictures(pictures: Tensor, what: str = "pictures") -> None:
    """ValueError unless they are floats (B, *), at least one, and finite."""
    if not isinstance(pictures, torch.Tensor) or pictures.ndim < 2 or len(pictures) == 0 or not pictures.is_floating_point():
        got = f"{pictures.dtype} of shape {tuple(pictures.shape)}" if isinstance(pictures, torch.Tensor) else shown(pictures)
        raise ValueError(f"{what} are floats (B, *), one or more, but got {got}")
    if pictures.is_meta:
        raise ValueError(f"{what} are on the meta device, where they have no values: hand in a tensor on a real device")
    wrong = ~torch.isfinite(pictures).flatten(1).all(1)
    if bool(wrong.any()):
        raise ValueError(f"{what} hold NaN or infinity, first in picture {int(wrong.nonzero()[0])}")


def _check_shares(shares: Sequence[float]) -> None:
    some = hasattr(shares, "__len__") and not is_number(shares) and len(shares) > 0
    if not some or not all(is_number(share) and 0.0 <= share <= 1.0 for share in shares):
        raise ValueError(f"shares are some numbers from 0 (the first) to 1 (the second), but got {shown(shares)}")


def check_alike(a: Tensor, b: Tensor, what: str) -> None:
    """ValueError unless both are floats (B, *) of one shape, and finite."""
    check_pictures(a, what)
    check_pictures(b, what)
    if a.shape != b.shape:
        raise ValueError(f"two {what} of one shape are needed, but got {tuple(a.shape)} and {tuple(b.shape)}")


def check_free(options: dict[str, Any], *taken: str) -> None:
    """TypeError for options that are said by other arguments."""
    for name in taken:
        if name in options:
            raise TypeError(f"{name}= is not for here: the pictures and the strength say where the run begins")
