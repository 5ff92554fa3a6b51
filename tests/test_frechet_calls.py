"""The benchmark that sets diffusers' schedulers beside noisepath asks the network at their levels and hands on its answer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from noisepath.exact import Mixture
from noisepath.levels import Level
from noisepath.sampling import sample
from noisepath.schedules import schedule
from noisepath.solvers import SOLVERS, ddim, dpmpp_2m
from noisepath.spacing import karras, leading, time
from noisepath.tuned import Tuned, fingerprint

pytest.importorskip("diffusers")
frechet_calls = pytest.importorskip("frechet_calls")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # diffusers' own, of numpy

DATA = Mixture([0.5, 0.5], torch.tensor([[0.6, -0.5], [-0.4, 0.3]]).view(2, 2, 1, 1), [0.01, 0.02])
STEPS = 10


def asked(path: str) -> Any:
    own = schedule(path)
    return frechet_calls.Asked(DATA.denoiser(own), own, (5, 2, 1, 1), None, 3, "cpu", 2)


def ours(levels: list[Level], solver: Any) -> Tensor:
    return sample(DATA.denoiser(), (5, 2, 1, 1), levels=levels, solver=solver, seed=3)


@pytest.mark.parametrize(
    ("name", "levels", "solver"),
    [
        ("Euler", time(schedule("linear"), STEPS), ddim),
        ("DPM++ Karras", karras(schedule("linear"), STEPS), partial(dpmpp_2m, guard=False)),
    ],
)
@pytest.mark.parametrize("path", ["edm", "linear"])
def test_their_schedulers_make_our_pictures_at_their_levels(name: str, levels: list[Level], solver: Any, path: str) -> None:
    made = frechet_calls.of_diffusers(name)(asked(path), STEPS)
    assert float((made - ours(levels, solver)).abs().max()) < 1e-4  # their tables are float32


def test_their_ddim_is_ours_where_no_belief_is_clipped() -> None:
    made = frechet_calls.of_diffusers("DDIM")(asked("linear"), STEPS)
    assert float((made - ours(leading(schedule("linear"), STEPS), ddim)).abs().max()) < 1e-4


def test_a_network_s_own_table_is_theirs_too_and_any_other_path_has_their_default() -> None:
    betas = partial(frechet_calls.scheduler_of, "DDIM")
    assert betas(schedule("quadratic")).betas[-1] == pytest.approx(schedule("quadratic").config.tables().betas[-1], rel=1e-6)
    assert betas(schedule("edm")).betas[-1] == pytest.approx(0.02)


def test_tuned_samplers_are_taken_at_the_calls_that_they_make(tmp_path: Path) -> None:
    levels = time(schedule("edm"), 4)
    Tuned(SOLVERS["heun"].build(levels), fingerprint(schedule("edm"))).save(tmp_path / "tuned" / "calls-7.json")
    sampler = frechet_calls.tuned(tmp_path)
    assert sampler is not None and sampler(asked("edm"), 6) is None
    torch.testing.assert_close(sampler(asked("edm"), 7), ours(levels, "heun"))
    assert frechet_calls.tuned(tmp_path / "nowhere") is None


def test_a_worse_distance_is_equal_only_as_far_as_chance_reaches() -> None:
    spread = torch.linspace(-1, 1, 101).numpy()
    cell = lambda value, reach: frechet_calls.Cell(value, value + reach * spread)  # noqa: E731
    cells = {("a", 1): cell(1.0, 0.1), ("b", 1): cell(2.0, 0.1), ("a", 2): cell(2.0, 0.1), ("b", 2): cell(1.0, 0.1),
             ("a", 3): cell(1.05, 0.2), ("b", 3): cell(1.0, 0.0)}  # fmt: skip
    assert frechet_calls.standing(cells, [1, 2, 3], "a", ["b"]) == ["best", "worse", "equal"]
