"""Breakages of evaluation, pictures and the command line."""

from __future__ import annotations

from .breakage import Breakage

__all__ = ["BREAKAGES"]

BREAKAGES = (
    Breakage(
        "Frechet distance with one overlap",
        "evaluation/distances.py",
        "- 2 * overlap)",
        "- overlap)",
        ("evaluation",),
    ),
    Breakage(
        "a grid is filled column by column",
        "plots.py",
        "gap + i // columns * (height + gap), gap + i % columns * (width + gap)",
        "gap + i % columns * (height + gap), gap + i // columns * (width + gap)",
        ("plots",),
    ),
    Breakage(
        "states are shown as they are, bright or dark with the path",
        "plots.py",
        "x / math.hypot(level.alpha, level.sigma)",
        "x / level.alpha",
        ("plots",),
    ),
    Breakage(
        "the smoothed loss forgets its newest line",
        "plots.py",
        "(sums[1:] - sums[first])",
        "(sums[:-1] - sums[first])",
        ("plots",),
    ),
    Breakage(
        "all pictures are of the first class asked for",
        "cli/labels.py",
        "wanted[i % len(wanted)]",
        "wanted[0]",
        ("cli",),
    ),
)
