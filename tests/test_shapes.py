"""Captioned shapes: what is drawn is what is told, read back by program, and what is held out is never shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from math import comb
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from noisepath.cli.train import _absolute
from noisepath.data import DataConfig, Dataset, open_data, shapes, split
from noisepath.data.shape_world import (
    Captioned,
    Claim,
    Claims,
    Relation,
    Thing,
    captioned,
    chance,
    draw,
    held_out_pairs,
    held_out_relations,
    page,
    parse,
    prompts,
    read,
    satisfies,
    unseen,
)
from noisepath.data.shape_world.captions import say
from noisepath.data.shape_world.drawing import cover, patch_side
from noisepath.data.shape_world.judging import Verdict
from noisepath.data.shape_world.world import COLOURS, OPPOSITE, PLACES, RELATIONS, SHAPES, SIZES, facts, trained_pairs


@cache
def _told() -> list[Captioned]:
    return captioned(range(1500), seed=3)


@cache
def _pictures() -> Tensor:
    return draw([one.scene for one in _told()]).float() / 127.5 - 1


def _everything(one: Captioned) -> Claims:
    """All that can be said of a scene."""
    things = tuple(Claim(thing.shape, thing.colour, thing.size, thing.place) for thing in one.scene)
    return Claims(things, one.claims.relations)


def _share_read(pictures: Tensor) -> float:
    verdicts = [satisfies(things, _everything(one)) for things, one in zip(read(pictures), _told(), strict=False)]
    return sum(verdict.all_right for verdict in verdicts) / len(verdicts)


# --- scenes and captions -----------------------------------------------------------------------------------------------


def test_a_scene_its_caption_and_picture_are_functions_of_seed_and_index_alone() -> None:
    one = captioned(range(60), seed=4)
    assert captioned([41, 7], seed=4) == [one[41], one[7]]
    assert len({told.scene for told in captioned(range(60), seed=5)} & {told.scene for told in one}) == 0
    few, more = shapes(5, seed=4), shapes(9, seed=4)
    assert torch.equal(more.pictures[:5], few.pictures) and more.captions[:5] == few.captions  # type: ignore[index]
    assert prompts("held_out", 2, 9, seed=1)[:4] == prompts("held_out", 2, 4, seed=1)
    assert not set(prompts("trained", 3, 50)) & set(captioned(range(150)))


def test_a_third_each_is_about_one_two_and_three_shapes() -> None:
    assert Counter(len(one.scene) for one in _told()) == {1: 500, 2: 500, 3: 500}
    assert all(len(one.claims.things) == len(one.scene) for one in _told())


def test_captions_are_true_and_say_all_kinds_of_things() -> None:
    assert all(satisfies(one.scene, one.claims).all_right for one in _told())
    said = [thing for one in _told() for thing in one.claims.things]
    assert {thing.size for thing in said} == {None, *SIZES} and {thing.place for thing in said} == {None, *PLACES}
    assert {relation.relation for one in _told() for relation in one.claims.relations} == set(RELATIONS)
    assert {(thing.colour, thing.shape) for thing in said} == set(trained_pairs())
    assert len({one.caption for one in _told()}) > 1200


def test_every_caption_is_understood_as_it_was_meant() -> None:
    for one in (*_told(), *prompts("trained", 3, 200), *prompts("held_out", 3, 200), *prompts("held_out", 1, 50)):
        assert parse(one.caption) == one.claims, one.caption


_claim = st.builds(
    Claim,
    st.sampled_from(SHAPES),
    st.sampled_from(list(COLOURS)),
    st.none() | st.sampled_from(list(SIZES)),
    st.none() | st.sampled_from(PLACES),
)
_between = st.sampled_from([(), ((0, 1),), ((1, 2),), ((0, 1), (0, 2))])


@given(st.lists(_claim, min_size=3, max_size=3), _between, st.lists(st.sampled_from(RELATIONS), min_size=2), st.randoms())
def test_any_claims_are_understood_from_any_of_their_captions(things, between, words, random) -> None:  # type: ignore[no-untyped-def]
    count = max([end + 1 for ends in between for end in ends], default=1 + random.randrange(3))
    relations = tuple(Relation(a, word, b) for (a, b), word in zip(between, words, strict=False))
    claims = Claims(tuple(things[:count]), relations)
    caption = say(claims, random.choice)
    assert parse(caption) == claims and parse(f" {caption.upper()}. ") == claims, caption


def test_a_users_words_are_understood() -> None:
    assert parse("Red circle") == Claims((Claim("circle", "red"),))
    assert parse("a big red cross in the center, above a cyan square and to the left of a little green circle") == Claims(
        (Claim("cross", "red", "large", "centre"), Claim("square", "cyan"), Claim("circle", "green", "small")),
        (Relation(0, "above", 1), Relation(0, "left of", 2)),
    )


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ("a rad circle", "'rad'; did you mean 'red'"),
        ("a red circel", "'circel'; did you mean 'circle'"),
        ("two red circles", "'two'"),
        ("a red", "its end where it needs a shape"),
        ("a circle", r"'circle' where it needs a size or a colour \(there are: red"),
        ("a small small red circle", "'small' where it needs a colour"),
        ("a red circle on the top", "'on' where it needs a place"),
        ("a red circle left of a blue square and a green cross", "a comma before it"),
        ("a red circle, a red square, a red cross and a blue circle", "more than 3 shapes"),
        ("", "its end"),
    ],
)
def test_a_caption_outside_the_grammar_is_refused_by_its_word(caption: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(caption)


# --- what is held out --------------------------------------------------------------------------------------------------


def test_a_tenth_is_held_out_and_each_shape_colour_and_relation_is_still_shown() -> None:
    assert len(held_out_pairs()) == 3 and len(held_out_relations()) == 6  # of 24, and 24 said from both ends
    assert len({word for pair in held_out_pairs() for word in pair}) == 6  # no two alike
    for colour in COLOURS:
        assert sum(pair[0] == colour for pair in trained_pairs()) >= 3
    assert all((b, OPPOSITE[relation], a) in held_out_relations() for a, relation, b in held_out_relations())
    assert max(Counter(shape for a, _, b in held_out_relations() for shape in (a, b)).values()) <= 4


def test_what_is_held_out_is_in_no_training_picture_and_all_else_is() -> None:
    shown = {(thing.colour, thing.shape) for one in _told() for thing in one.scene}
    true = {fact for one in _told() for fact in facts(one.scene)}
    assert shown == {(colour, shape) for colour in COLOURS for shape in SHAPES} - set(held_out_pairs())
    everything = {(a, relation, b) for a in SHAPES for relation in RELATIONS for b in SHAPES if a != b}
    assert true == everything - set(held_out_relations())
    assert not any(unseen(one.claims) for one in _told())


def test_prompts_claim_what_their_kind_says() -> None:
    for count in (1, 2, 3):
        trained, new = prompts("trained", count, 60), prompts("held_out", count, 60)
        assert not any(unseen(one.claims) for one in trained)
        for i, one in enumerate(new):
            (found,) = unseen(one.claims)  # one thing that is new, and no more
            assert ("of" in found or "above" in found or "below" in found) == bool(i % 2 and count > 1)
        for one in (*trained, *new):
            assert len(one.scene) == count and satisfies(one.scene, one.claims).all_right
        assert len({unseen(one.claims) for one in new}) >= 3


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("heldout", 1, 1), "did you mean 'held_out'"),
        (("trained", 4, 1), "shapes must be 1 to 3, but is 4"),
        (("trained", 0, 1), "shapes must be 1 to 3, but is 0"),
        (("trained", 1, 0), "n must be a whole number >= 1, but is 0"),
    ],
)
def test_prompts_that_there_are_not_are_refused(asked: tuple[str, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prompts(*asked)


def test_claims_of_what_there_is_not_are_refused() -> None:
    for bad in (("circel", "red"), ("circle", "rad"), ("circle", "red", "smal"), ("circle", "red", None, "top lef")):
        with pytest.raises(ValueError, match="did you mean"):
            Claim(*bad)
    with pytest.raises(ValueError, match="counted from 0"):
        Claims((Claim("circle", "red"),), (Relation(0, "above", 1),))
    with pytest.raises(ValueError, match="one to 3 shapes"):
        Claims(())


# --- drawing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 45])
def test_a_shape_covers_the_area_that_geometry_says(size: int) -> None:
    share = {"circle": torch.pi / 4, "square": 1.0, "triangle": 0.5, "cross": 5 / 9}
    for shape in SHAPES:
        for name, extent in SIZES.items():
            area = float(cover(shape, name, size, patch_side(size) / 2 + 0.25, patch_side(size) / 2).sum())
            assert area == pytest.approx(share[shape] * (extent * size) ** 2, rel=0.06)  # points of an eighth of a pixel


def test_a_thing_is_drawn_in_its_colour_and_at_its_place() -> None:
    picture = draw([[Thing("square", "cyan", "large", 0.25, 0.75)]], 64)[0]
    assert picture[:, 48, 16].tolist() == list(COLOURS["cyan"]) and picture[:, 16, 48].tolist() == [128, 128, 128]
    seen = (picture[0] != 128).nonzero().float()
    assert seen.mean(0).tolist() == pytest.approx([47.5, 15.5], abs=0.01)  # pixel 47 ends where pixel 48 begins


# --- reading -----------------------------------------------------------------------------------------------------------


def test_true_pictures_are_read_as_they_were_drawn() -> None:
    """All shapes, colours, sizes, places and relations right, whether said or not; and places to a quarter of a pixel."""
    assert _share_read(_pictures()) >= 0.995
    for things, one in zip(read(_pictures()[:90]), _told(), strict=False):
        for thing in things:
            assert min(abs(thing.x - true.x) + abs(thing.y - true.y) for true in one.scene) < 0.6 / 32


def test_noise_and_blur_on_a_picture_are_seen_through() -> None:
    some = _pictures()[:300]
    noise = torch.randn(some.shape, generator=torch.Generator().manual_seed(0))
    blurred = F.avg_pool2d(F.pad(some, (1, 1, 1, 1), mode="replicate"), 3, 1)
    assert _share_read(some + 0.1 * noise) >= 0.99
    assert _share_read(some + 0.2 * noise) >= 0.97
    assert _share_read(blurred) >= 0.97


def test_larger_pictures_are_read_as_well() -> None:
    for size in (45, 64, 97):
        pictures = draw([one.scene for one in _told()[:60]], size).float() / 127.5 - 1
        assert _share_read(pictures) == 1.0, size


def test_nothing_is_read_from_noise_or_from_one_colour() -> None:
    noise = torch.randn(200, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    mottled = 4 * F.avg_pool2d(noise, 5, 1, 2)
    assert sum(map(len, read(noise))) == 0 and sum(map(len, read(noise.clamp(-1, 1)))) == 0
    assert sum(map(len, read(mottled))) == 0
    for colour in ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (-1.0, -1.0, -1.0), (0.8, -0.65, -0.65)):
        assert read(torch.tensor(colour)[None, :, None, None].expand(1, 3, 32, 32)) == [()]


def test_a_blot_that_is_no_shape_is_not_named_and_a_large_one_spoils_the_picture() -> None:
    picture = draw([[Thing("circle", "red", "large", 5 / 6, 1 / 6)]]).float() / 127.5 - 1
    picture[0, :, 26:28, 2:20] = torch.tensor([-0.6, 0.5, -0.4])[:, None, None]  # a green line
    assert [(thing.shape, thing.colour) for thing in read(picture)[0]] == [("circle", "red")]
    picture[0, :, 16:30, 2:20] = torch.tensor([-1.0, -1.0, -1.0])[:, None, None]
    assert read(picture) == [()]


def test_only_finite_square_pictures_in_colour_are_read() -> None:
    for shape in ((3, 32, 32), (1, 1, 32, 32), (1, 3, 32, 33), (1, 3, 31, 31)):
        with pytest.raises(ValueError, match="pictures of shapes are"):
            read(torch.zeros(shape))
    for bad in (torch.full((1, 3, 32, 32), torch.nan), torch.zeros(1, 3, 32, 32, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="finite numbers"):
            read(bad)
    assert read(torch.zeros(0, 3, 32, 32)) == []


# --- judging -----------------------------------------------------------------------------------------------------------

_SCENE = (Thing("circle", "red", "small", 1 / 6, 1 / 6), Thing("square", "blue", "large", 5 / 6, 0.5))
_CLAIMS = parse("a small red circle at the top left, left of a large blue square on the right")


def _wrong(verdict: Verdict) -> set[str]:
    """The attributes in which something is wrong."""
    return {name for name, value in vars(verdict).items() if not (value if isinstance(value, bool) else all(value))}


@pytest.mark.parametrize(
    ("attribute", "value"), [("shape", "triangle"), ("colour", "green"), ("size", "medium"), ("place", (1 / 6, 0.5))]
)
def test_each_attribute_that_is_swapped_is_seen_and_no_other(attribute: str, value: object) -> None:
    for which in (0, 1):
        changed = {"x": value[0], "y": value[1]} if isinstance(value, tuple) else {attribute: value}
        if which == 1 and attribute == "place":
            changed = {"y": 5 / 6}
        scene = [*_SCENE]
        scene[which] = replace(scene[which], **changed)
        for seen in (scene, read(draw([scene]).float() / 127.5 - 1)[0]):  # as it was drawn, and as it is read
            assert _wrong(satisfies(seen, _CLAIMS)) == {attribute}
            assert not satisfies(seen, _CLAIMS).all_right


def test_a_relation_that_is_swapped_and_a_thing_too_many_or_too_few_are_seen() -> None:
    assert _wrong(satisfies(_SCENE, _CLAIMS)) == set()
    bare = parse("a red circle left of a blue square")
    for word in RELATIONS:  # the circle is left of the square and above it
        verdict = satisfies(_SCENE, replace(bare, relations=(Relation(0, word, 1),)))
        assert verdict.all_right == (word in ("left of", "above"))
        assert _wrong(verdict) <= {"relation"}
    colours_swapped = [replace(_SCENE[0], colour="blue"), replace(_SCENE[1], colour="red")]
    assert not satisfies(colours_swapped, bare).all_right
    more = satisfies((*_SCENE, replace(_SCENE[0], x=0.5)), bare)
    assert _wrong(more) == {"count"} and not more.all_right
    assert _wrong(satisfies(_SCENE[:1], bare)) == {"count", "shape", "colour", "relation"}
    assert satisfies((), _CLAIMS).right == 0
    assert satisfies(tuple(reversed(_SCENE)), _CLAIMS).all_right  # in whatever order they are found


def test_chance_is_what_pairing_captions_with_other_pictures_gives() -> None:
    # of one shape: its number, pair, its size if said (in one of two), its place if said (in three of five)
    assert chance(1, 6000) == pytest.approx(1 / 3 / 21 * (1 / 2 + 1 / 2 / 3) * (2 / 5 + 3 / 5 / 9), rel=0.06)
    groups: dict[frozenset[tuple[str, str]], list[Captioned]] = {}
    for one in captioned(range(1, 9000, 3), seed=8):  # 3,000 of two shapes
        groups.setdefault(frozenset((thing.colour, thing.shape) for thing in one.scene), []).append(one)
    pairs = [(one, other) for group in groups.values() for one in group for other in group if one is not other]
    right = sum(satisfies(other.scene, one.claims).all_right for one, other in pairs)
    # some 6,000 pairs are right, in clusters: that is known to about 3 %, and so is chance
    assert chance(2, 4000) == pytest.approx(right / 3000 / 2999 / 3, rel=0.12)
    assert 0 < chance(3, 2000) < 1 / 3 / comb(21, 3)
    with pytest.raises(ValueError, match="1 to 3 shapes"):
        chance(4)


# --- as data -----------------------------------------------------------------------------------------------------------


def test_shapes_are_data_as_digits_are() -> None:
    data = shapes(40)
    assert isinstance(data, Dataset) and data.shape == (3, 32, 32) and data.labels is None and len(data) == 40
    train, held = split(data, 10, seed=0)
    assert held is not None and len(train) == 30 and len(held) == 10 and len(held.captions or ()) == 10
    x, labels = held.batch([3, 1])
    assert x.dtype == torch.float32 and x.abs().max() <= 1 and labels is None
    assert held.captions is not None and held.attributes is not None
    for things, caption, known in zip(read(held.batch(range(10))[0]), held.captions, held.attributes, strict=True):
        assert satisfies(things, parse(caption)).all_right
        assert [vars(thing).keys() for thing in things] == [thing.keys() for thing in known["scene"]]  # type: ignore[attr-defined]
    assert shapes(40).fingerprint == data.fingerprint != shapes(40, seed=1).fingerprint


def test_shapes_are_found_by_their_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("noisepath.data.shape_world.shapes", lambda size: shapes(6, size))
    assert open_data(DataConfig("shapes")).shape == (3, 32, 32)
    assert open_data(DataConfig("shapes", picture_size=40)).shape == (3, 40, 40)
    with pytest.raises(ValueError, match="as high as wide"):
        open_data(DataConfig("shapes", picture_size=(32, 40)))
    with pytest.raises(ValueError, match="not mirrored"):
        open_data(DataConfig("shapes", flip=True))
    with pytest.raises(ValueError, match=">= 32, but is 16"):
        open_data(DataConfig("shapes", picture_size=16))
    monkeypatch.chdir(tmp_path)
    assert _absolute("shapes") == "shapes"
    (tmp_path / "shapes").mkdir()
    assert _absolute("shapes") == str(tmp_path / "shapes")


def test_sizes_and_numbers_that_are_none_are_refused() -> None:
    for n in (0, -1, True, 2.0):
        with pytest.raises(ValueError, match="n must be"):
            shapes(n)  # type: ignore[arg-type]
    for size in (31, 32.0, True):
        with pytest.raises(ValueError, match=">= 32"):
            shapes(3, size)  # type: ignore[arg-type]


def test_a_page_shows_pictures_and_captions(tmp_path: Path) -> None:
    from PIL import Image

    with Image.open(page(_told()[:5], tmp_path / "page.png", columns=4)) as sheet:
        assert sheet.width == 4 * (128 + 6) + 6
        assert sheet.getpixel((8, 8)) == (128, 128, 128) or sheet.getpixel((70, 8)) == (128, 128, 128)
