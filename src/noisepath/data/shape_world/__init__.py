"""A world of captioned shapes: drawn, told in words, understood from words, read from any picture, and judged, by program.

world     shapes, colours, sizes, places, relations; what a scene is, what a caption claims, what is held out of training
captions  claims -> a caption in English, and back
scenes    which scene and caption the n-th one is; prompts
drawing   scenes -> pictures
reading   pictures, drawn or generated -> the things in them
judging   whether things are what a caption claims; how often they are by chance
pictures  shapes(), the data set; a page to look at
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisepath._lazy import offer

if TYPE_CHECKING:
    from noisepath.data.shape_world.captions import parse as parse
    from noisepath.data.shape_world.drawing import draw as draw
    from noisepath.data.shape_world.judging import Verdict as Verdict
    from noisepath.data.shape_world.judging import chance as chance
    from noisepath.data.shape_world.judging import satisfies as satisfies
    from noisepath.data.shape_world.pictures import page as page
    from noisepath.data.shape_world.pictures import shapes as shapes
    from noisepath.data.shape_world.reading import read as read
    from noisepath.data.shape_world.scenes import Captioned as Captioned
    from noisepath.data.shape_world.scenes import captioned as captioned
    from noisepath.data.shape_world.scenes import prompts as prompts
    from noisepath.data.shape_world.world import Claim as Claim
    from noisepath.data.shape_world.world import Claims as Claims
    from noisepath.data.shape_world.world import Relation as Relation
    from noisepath.data.shape_world.world import Thing as Thing
    from noisepath.data.shape_world.world import held_out_pairs as held_out_pairs
    from noisepath.data.shape_world.world import held_out_relations as held_out_relations
    from noisepath.data.shape_world.world import unseen as unseen

_HOME = {
    "parse": "captions",
    "draw": "drawing",
    "Verdict": "judging",
    "chance": "judging",
    "satisfies": "judging",
    "page": "pictures",
    "shapes": "pictures",
    "read": "reading",
    "Captioned": "scenes",
    "captioned": "scenes",
    "prompts": "scenes",
    "Claim": "world",
    "Claims": "world",
    "Relation": "world",
    "Thing": "world",
    "held_out_pairs": "world",
    "held_out_relations": "world",
    "unseen": "world",
}
__all__ = [*_HOME]
__getattr__ = offer(__name__, _HOME)
