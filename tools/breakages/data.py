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
    Breakage(
        "what is held out is held out from one end alone",
        "data/shape_world/world.py",
        "for a, relation, b in chosen for said in ((a, relation, b), (b, OPPOSITE[relation], a))",
        "for a, relation, b in chosen for said in ((a, relation, b), (a, relation, b))",
        ("shapes",),
    ),
    Breakage(
        "colours that are held out are shown",
        "data/shape_world/scenes.py",
        "scene = layout(draw.different(trained_pairs(), count), draw)",
        "scene = layout(draw.different(trained_pairs() + held_out_pairs()[:1], count), draw)",
        ("shapes",),
    ),
    Breakage(
        "a relation after 'and' is the last thing's, not the first's",
        "data/shape_world/captions.py",
        "relations.append(Relation(first, relation, _more(things, words)))",
        "relations.append(Relation(len(things) - 1, relation, _more(things, words)))",
        ("shapes",),
    ),
    Breakage(
        "a triangle's centre of mass is its middle",
        "data/shape_world/drawing.py",
        'SIZES[name] * size / 6 if shape == "triangle" else 0.0',
        'SIZES[name] * size / 6 if shape == "triangel" else 0.0',
        ("shapes",),
    ),
    Breakage(
        "things that are too many are no fault",
        "data/shape_world/judging.py",
        "return self.count and all(",
        "return all(",
        ("shapes",),
    ),
    Breakage(
        "colours may be swapped between things",
        "data/shape_world/judging.py",
        "thing is not None and thing.colour == claim.colour for thing, claim in pairs",
        "thing is not None and any(thing.colour == other.colour for _, other in pairs) for thing, claim in pairs",
        ("shapes",),
    ),
    Breakage(
        "chance is that of captions about as many shapes",
        "data/shape_world/judging.py",
        "comb(len(trained_pairs()), shapes) / MOST_SHAPES",
        "comb(len(trained_pairs()), shapes)",
        ("shapes",),
    ),
    Breakage(
        "a mess is read as far as it looks like shapes",
        "data/shape_world/reading.py",
        "STRAY = 0.05",
        "STRAY = 1.0",
        ("shapes",),
    ),
    Breakage(
        "images in 0 to 1 are taken silently",
        "data/arrays.py",
        "if least >= 0.0:",
        "if False:",
        ("data_arrays",),
    ),
    Breakage(
        "images in 0 to 255 are clamped",
        "data/arrays.py",
        "if least < -1.0 - _ROUNDING or most > 1.0 + _ROUNDING:",
        "if False:",
        ("data_arrays",),
    ),
    Breakage(
        "labels are counted from their own least",
        "data/arrays.py",
        "if int(labels.min()) < 0:",
        "if False:",
        ("data_arrays",),
    ),
    Breakage(
        "channels that come last are taken for rows",
        "data/arrays.py",
        "if shape[-1] in (1, 3, 4) and shape[1] > 4:",
        "if False:",
        ("data_arrays",),
    ),
)
