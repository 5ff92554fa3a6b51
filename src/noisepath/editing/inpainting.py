"""Inpainting: a part of each picture is made anew, and the rest is held.

What is known follows a path of its own, with noise n that is fixed for each picture,

    x = alpha p + sigma n,      D = p      where it is held,

which is just how a run moves a picture that it is sure of.  So the denoiser always sees a known part at the noise of its
level, and what it makes has that part as its neighbour.  It is a transformer of denoisers that moves the state
(:class:`~noisepath.denoiser.Moved`), so it must be the outermost one, and any solver can run it.

The known part is told what the unknown one holds too late to fit itself to it: what is made is drawn from too loose a law.
RePaint goes back up, with fresh noise, and down again: :func:`jumping` does that to any solver.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .._lazy import torch
from ..conditions import Condition, for_batch
from ..denoiser import Denoise, Moved
from ..errors import is_whole, shown, whole
from ..guidance import Transformed
from ..guidance.transformed import HOLDING
from ..levels import Level
from ..noise import Keyed
from ..sampling import DEFAULTS, numbers_of, sample
from ..solvers import Build, resolve
from ..tableau import Draw, Node, Tableau, joined
from ..tuned import Tuned
from .midway import check_free, check_pictures, is_full

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["holding", "inpaint", "jumping", "outpaint"]

# The parts of a condition that tell the holding denoiser its rows; the denoiser inside never sees them.
_PICTURES, _MASK, _NUMBER = "held_pictures", "held_mask", "held_number"


def inpaint(
    denoiser: Denoise,
    pictures: Tensor,
    mask: Tensor,
    *,
    strength: float | Level = 1.0,
    repeats: int = 0,
    jump: int = 2,
    **options: Any,
) -> Tensor:
    """Pictures whose masked part is made anew to fit the rest: (B, *).

    Args:
        denoiser: D(x, level, condition=None); not one that moves the state.
        pictures: (B, *), floats in the data's range; what the masked part holds does not matter at strength 1.
        mask: of as many dimensions, with 1 or B rows, 1 or C channels and the pictures' own size; numbers in [0, 1] or
            booleans.  1 is made anew, 0 is known and comes back unchanged to the bit.  Between them it is how much may
            change: a value of 0.3 is held at levels with sigma / (alpha + sigma) above 0.3 and free below, as if it were an
            image to image of that strength (Levin & Fried 2306.00950, section 3).
        strength: below 1, or a Level, the masked part begins from what it holds, noised to there.
        repeats: RePaint's resampling (Lugmayr et al. 2201.09865, algorithm 1): how often each stretch of ``jump`` steps is
            gone through again, from its upper level, to which fresh noise leads.  Makes 1 + repeats times the calls.
        jump: length of a stretch, in steps; a last one may be shorter.  Short ones fit better for the same calls.
        options: others of :func:`noisepath.sampling.sample`.

    ValueError, before any work, for a mask of another size or outside [0, 1], and for one that holds all or nothing of a
    picture (``sample`` and ``image_to_image`` are for that).
    """
    check_pictures(pictures)
    there = check_mask(mask, pictures)
    check_free(options, *(("start",) if is_full(strength) else ("start", "levels")))
    _check_jumps(repeats, jump)
    if repeats:
        options["solver"] = _repeated(options.get("solver", DEFAULTS.solver), repeats, jump)
    options["condition"] = _told(pictures, there, options)
    if not is_full(strength):
        options.update(strength=strength, start=pictures)
    made = sample(holding(denoiser, options.get("seed", 0)), pictures.shape, **options)
    return torch.where((there == 0.0).to(made.device), pictures.to(made), made)


def outpaint(denoiser: Denoise, pictures: Tensor, pad: tuple[int, int, int, int], **options: Any) -> Tensor:
    """Pictures continued beyond their edges: (B, C, H + top + bottom, W + left + right).

    pad: pixels added (left, right, top, bottom), whole numbers of which one at least is above 0.
    pictures: (B, C, H, W); they come back unchanged to the bit in their place.  options: those of :func:`inpaint`.

    The denoiser must take pictures of the new size.
    """
    check_pictures(pictures)
    if pictures.ndim != 4:
        raise ValueError(f"pictures (B, C, H, W) have edges to go beyond, but got shape {tuple(pictures.shape)}")
    sides = tuple(pad) if isinstance(pad, Sequence) else ()
    if len(sides) != 4 or not all(is_whole(side) and side >= 0 for side in sides) or not any(sides):
        raise ValueError(f"pad is (left, right, top, bottom), whole numbers of pixels, one above 0 at least, but got {pad!r}")
    sides = tuple(map(int, sides))
    larger = torch.nn.functional.pad(pictures, sides, mode="replicate")
    known = torch.zeros(1, 1, *pictures.shape[2:], dtype=pictures.dtype, device=pictures.device)
    return inpaint(denoiser, larger, torch.nn.functional.pad(known, sides, value=1.0), **options)


def holding(denoiser: Denoise, seed: int = 0) -> Denoise:
    """The denoiser that holds known parts, which it is told with the condition: ``held_pictures`` (B, *), ``held_mask`` of
    that shape or with ones, ``held_number`` (B,) the pictures' numbers; :func:`inpaint` puts them there.

    The noise of picture i is a function of (seed, i), the same in a whole falling run, so that the known part is on one path.
    Each time a run goes up, its old noise is covered by new, and so is that of the known part.
    """

    def transform(run: Denoise, memory: _Paths) -> Denoise:
        def held(x: Tensor, level: Level, condition: Condition | None = None) -> Moved:
            if condition is None or _MASK not in condition:
                raise ValueError("a denoiser that holds a part of the pictures must be told it: use inpaint")
            others = {name: value for name, value in condition.items() if name not in (_PICTURES, _MASK, _NUMBER)}
            pictures, mask = condition[_PICTURES].to(x), condition[_MASK].to(x)
            known = (mask < level.sigma / (level.alpha + level.sigma)) | (mask == 0.0)
            noise = memory.noise(level, condition[_NUMBER], x)
            x = torch.where(known, level.alpha * pictures + level.sigma * noise, x)
            belief = run(x, level, Condition(others) if others else None)
            if isinstance(belief, Moved):
                raise TypeError("a denoiser that moves the state must be the outermost one: it can't be inpainted with")
            return Moved(x, torch.where(known, pictures, belief))

        return held

    return Transformed(denoiser, transform, memory=partial(_Paths, seed), name=HOLDING)


class _Paths:
    """The known parts' noise in one run of one batch: anew each time that the run has gone up."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._ratio = math.inf
        self._rises = 0
        self._noise: Tensor | None = None

    def noise(self, level: Level, numbers: Tensor, like: Tensor) -> Tensor:
        """Unit normals of ``like``'s shape."""
        if level.noise_ratio > self._ratio:
            self._rises, self._noise = self._rises + 1, None
        self._ratio = level.noise_ratio
        if self._noise is None:  # beside the run's own draws: its first has the place (-1, 0)
            drawn = Keyed(self._seed, numbers.tolist(), like.shape[1:])(Draw(-1, 1 + self._rises))
            self._noise = drawn.to(like)
        return self._noise


def _told(pictures: Tensor, mask: Tensor, options: dict[str, Any]) -> Condition:
    """The run's condition, with what is held beside what is asked for."""
    asked = for_batch(options.get("condition"), len(pictures))
    for name in (_PICTURES, _MASK, _NUMBER):
        if asked is not None and name in asked:
            raise ValueError(f"a condition can't have a part {name!r} here: that is how a run is told what it holds")
    numbers = numbers_of(options.get("indices"), len(pictures))
    places = torch.tensor(numbers, device="cpu")
    held = {_PICTURES: pictures, _MASK: mask.expand(len(pictures), *mask.shape[1:]), _NUMBER: places}
    return Condition({**(asked or {}), **held})


def check_mask(mask: Tensor, pictures: Tensor) -> Tensor:
    """The mask as floats; ValueError where it does not fit the pictures, or holds all or nothing of one."""
    wanted = tuple(pictures.shape)
    if not isinstance(mask, torch.Tensor) or mask.is_complex():
        raise ValueError(f"a mask is a tensor of numbers in [0, 1] or of booleans, but got {shown(mask)}")
    sizes = tuple(mask.shape)
    fits = len(sizes) == len(wanted) and all(
        size == full or (size == 1 and n < 2) for n, (size, full) in enumerate(zip(sizes, wanted, strict=True))
    )
    if not fits:
        raise ValueError(
            f"a mask for pictures {wanted} has as many dimensions, 1 or {wanted[0]} rows, 1 or {wanted[1]} channels, and "
            f"their size, but its shape is {sizes}"
        )
    there = mask.to(pictures.dtype)
    if not bool(((there >= 0.0) & (there <= 1.0)).all()):  # false of NaN, too
        raise ValueError("a mask's numbers are in [0, 1]: 1 is made anew, 0 is known, and NaN says neither")
    for n, (low, high) in enumerate(zip(there.flatten(1).amin(1).tolist(), there.flatten(1).amax(1).tolist(), strict=True)):
        if high == 0.0:
            raise ValueError(f"the mask of picture {n} is 0 everywhere: nothing there is to be made")
        if low == 1.0:
            raise ValueError(f"the mask of picture {n} is 1 everywhere: nothing is known; use sample or image_to_image")
    return there


# RePaint's jumps -----------------------------------------------------------------------------------------------------------


def jumping(solver: str | Build, *, repeats: int = 1, jump: int = 2) -> Build:
    """A solver whose run goes through each stretch of ``jump`` steps 1 + repeats times (Lugmayr et al. 2201.09865, alg. 1).

    From a stretch's lower level s fresh noise leads up to its upper level t, x_t = (alpha_t / alpha_s) x_s + (what is
    missing to sigma_t) z, which keeps the law of x_s.  A solver that looks back begins anew in each stretch.  The solver made
    takes ``data_scale`` for the one that it is made of.
    """
    _check_jumps(repeats, jump)
    resolve(solver)  # a wrong name is refused at once

    def jumped(levels: Sequence[Level], *, data_scale: float | None = None) -> Tableau:
        build = resolve(solver, data_scale)
        tables: list[Tableau] = []
        for first in range(0, len(levels) - 1, jump):
            stretch = list(levels[first : first + jump + 1])
            down = build(stretch)
            tables += [down, *(table for _ in range(repeats) for table in (_up(stretch[-1], stretch[0]), down))]
        return joined(tables)

    return jumped


def _up(s: Level, t: Level) -> Tableau:
    """One step from a cleaner level to a noisier one by fresh noise alone, q(x_t | x_s)."""
    scale = t.alpha / s.alpha
    added = math.sqrt(t.sigma**2 - (scale * s.sigma) ** 2)
    start = Node(s, {}, {}, {}, evaluate=False)
    return start, Node(t, {0: scale} if scale else {}, {}, {Draw(0, 0): added}, evaluate=False)


def _repeated(solver: str | Build | Tuned, repeats: int, jump: int) -> Build:
    if isinstance(solver, Tuned):
        raise ValueError("a tuned sampler goes down its own levels once: leave out repeats=, or name a solver")
    return jumping(solver, repeats=repeats, jump=jump)


def _check_jumps(repeats: int, jump: int) -> None:
    for name, value, least in (("repeats", repeats, 0), ("jump", jump, 1)):
        whole(value, f"{name} is a whole number, {least} or more", least)
