"""The exact belief about captioned shapes, which networks are measured by, is the conditional mean of their pictures."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from noisepath import noise
from noisepath.data.shape_world import Captioned, Claim, Claims, Relation, draw, held_out_relations, prompts
from noisepath.data.shape_world.world import OPPOSITE, SHAPES

belief = pytest.importorskip("shapes_belief")

FEW = {("circle", "red"), ("square", "blue"), ("cross", "yellow"), ("triangle", "red")}
"""Some of all shapes and colours: what each may look like is drawn once."""


def about_few(count: int, most: int) -> list[Captioned]:
    told = prompts("trained", count, 3000, 5)
    return [one for one in told if {(thing.shape, thing.colour) for thing in one.claims.things} <= FEW][:most]


@pytest.mark.parametrize("count", [1, 2])
def test_with_next_to_no_noise_the_belief_is_the_picture(count: int) -> None:
    asked = about_few(count, 6)
    x0 = belief.in_pixels(draw([one.scene for one in asked], 32))
    z = noise.normal(3, range(len(asked)), tuple(x0.shape[1:])).double()
    for one, clean, eps in zip(asked, x0, z, strict=True):
        assert (belief.exact(clean + 0.05 * eps, 0.05, one) - clean).abs().max() < 0.02


@pytest.mark.parametrize("sigma", [2.5, 40.0])
@pytest.mark.parametrize("count", [1, 2])
def test_what_the_belief_misses_is_orthogonal_to_it(count: int, sigma: float) -> None:
    """E[<x_0 - E, E - c>] = 0 for the conditional mean E of x_0 and any picture c; 4 standard errors of 50 scenes."""
    asked = about_few(count, 50)
    assert len(asked) == 50
    x0 = belief.in_pixels(draw([one.scene for one in asked], 32))
    x = x0 + sigma * noise.normal(4, range(len(asked)), tuple(x0.shape[1:])).double()
    found = torch.stack([belief.exact(row, sigma, one) for row, one in zip(x, asked, strict=True)])
    along = ((x0 - found) * (found - belief.background())).sum(1)
    assert abs(float(along.mean())) < 4 * float(along.std()) / math.sqrt(len(asked))
    power = (found - belief.background()).square().sum(1).mean()
    assert 4 * float(along.std()) / math.sqrt(len(asked)) < 0.5 * float(power)  # so that a belief twice too strong is seen


def test_what_is_claimed_of_size_and_place_is_all_that_is_believed() -> None:
    claims = Claims((Claim("circle", "red", size="small", place="top right"),))
    x = belief.background() + 40.0 * noise.normal(5, [0], (3 * 32 * 32,))[0].double()
    found = (belief.exact(x, 40.0, Captioned((), claims, "")) - belief.background()).view(3, 32, 32)
    assert float(found[:, :10, 22:].abs().max()) > 0.1
    found[:, :11, 21:] = 0.0
    assert not found.any()
    large = Claims((Claim("circle", "red", size="large", place="top right"),))
    assert float((belief.exact(x, 40.0, Captioned((), large, "")) - belief.background()).view(3, 32, 32)[0, 5, 26]) > 0.7


def two(relation: str, first: str = "circle", second: str = "square") -> Captioned:
    return Captioned((), Claims((Claim(first, "red"), Claim(second, "blue")), (Relation(0, relation, 1),)), "")


def test_a_relation_leaves_cells_that_are_further_apart_along_it_and_half_of_the_diagonal_ones() -> None:
    assert not [fact for fact in held_out_relations() if {fact[0], fact[2]} == {"circle", "square"}]
    table = belief.cells_said(two("left of")).view(3, 3, 3, 3)  # row and column of the first's cell, then of the second's
    half = -math.log(2)  # "above" is said of as many
    want = [[-math.inf, 0.0, 0.0], [-math.inf, half, 0.0], [-math.inf, -math.inf, half]]
    assert torch.allclose(table[0, 0], torch.tensor(want).double())
    assert torch.isinf(table[:, 2]).all()  # nothing is beyond the last column


def test_what_training_never_shows_is_not_believed() -> None:
    first, relation, second = held_out_relations()[0]
    assert {first, second} <= set(SHAPES)
    assert torch.isinf(belief.cells_said(two(relation, first, second))).all()
    assert not torch.isinf(belief.cells_said(two(OPPOSITE[relation], first, second))).all()


def test_a_run_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^there is no run folder '.*nothing'$"):
        belief.captioned_model(tmp_path / "nothing")
