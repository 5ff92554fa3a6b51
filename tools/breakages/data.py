"""Breakages of data."""

from __future__ import annotations

from .breakage import Breakage

__all__ = ["BREAKAGES"]

BREAKAGES = (
    Breakage(
        "a picture in place of a bad one depends on the try alone",
        "data/stream.py",
        'noise.key(seed, n, "instead", k) % len(data)',
        'noise.key(seed, "instead", k) % len(data)',
        ("data_stream",),
    ),
    Breakage(
        "half of the pictures are mirrored whatever the seed",
        "data/stream.py",
        'noise.uniform(noise.key(seed, "flip"), samples) < 0.5',
        'noise.uniform(noise.key(0, "flip"), samples) < 0.5',
        ("data_stream",),
    ),
)
