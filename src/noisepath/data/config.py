"""Which pictures, and how they are made alike: one frozen dataclass that needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from noisepath.errors import lookup

__all__ = ["BACKGROUNDS", "BUILT_IN", "MOST_PIXELS", "RESIZES", "DataConfig"]

RESIZES = {
    "cover": "scale to cover the size, then cut around the middle",
    "contain": "scale to fit inside the size, then fill up with the background",
    "stretch": "scale height and width each for itself",
}
BACKGROUNDS = {"white": 255, "black": 0}
BUILT_IN = {
    "digits": "scikit-learn's handwritten digits, 8 x 8 pixels",
    "shapes": "captioned scenes of one to three shapes, 32 x 32 pixels",
}
"""Words that stand for pictures which need no files."""
MOST_PIXELS = 64_000_000
"""A picture that says it has more is refused before its pixels are looked at."""


@dataclass(frozen=True)
class DataConfig:
    """The pictures of a run, and how they are made alike."""

    data: str = "digits"
    """A folder or zip of pictures, or a word: digits (scikit-learn's handwritten digits, 8 x 8 pixels) or shapes (captioned
    scenes of one to three shapes, 32 x 32 pixels, drawn when they are asked for)."""
    picture_size: tuple[int, int] | int | None = None
    """Height and width that pictures are brought to (one number: both); the most common size if not given."""
    resize: str = "cover"
    """How a picture of another size is brought to it: cover (cut around the middle), contain (fill up), stretch."""
    background: str = "white"
    """What transparent pictures are set on, and contain fills up with: white or black."""
    flip: bool = False
    """Show half of the pictures mirrored left to right."""
    holdout: int | None = None
    """Pictures kept out of training, to measure with; a twentieth, at most 1,000, of 200 or more if not given."""
    workers: int = 0
    """Processes that read pictures while the network computes; 0: none."""

    def __post_init__(self) -> None:
        lookup(RESIZES, self.resize, "way to resize")
        lookup(BACKGROUNDS, self.background, "background")
        size = 1 if self.picture_size is None else self.picture_size
        sides = size if isinstance(size, tuple) else (size, size)
        if len(sides) != 2 or any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
            raise ValueError(f"picture_size must be a whole number >= 1, or height and width, but is {self.picture_size!r}")
        if sides[0] * sides[1] > MOST_PIXELS:
            raise ValueError(f"picture_size is at most {MOST_PIXELS:,} pixels, but is {sides[0]} x {sides[1]}")
        for name in ("holdout", "workers"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise ValueError(f"{name} must be a whole number >= 0, but is {value!r}")
