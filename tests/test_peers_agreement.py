"""Every solver with an independent implementation gives what that gives, and differs where docs/peers.md says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import _pairs_diffusers
import _peers
import _schedulers
from _pair import TARGET, Pair, difference
from _pairs import ALONE, deterministic, stochastic
from noisepath.analysis import gaussian_law, smooth_levels
from noisepath.levels import Level
from noisepath.solvers import SOLVERS, dpmpp_2m_sde

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' own

PAGE = (Path(__file__).parents[1] / "docs" / "peers.md").read_text(encoding="utf-8")
PAIRS = [*deterministic(), *stochastic()]


def _marked(pair: Pair) -> object:
    name = f"{pair.solver}({pair.options}) {pair.library} {pair.name}"
    return pytest.param(pair, id=name, marks=[] if pair.library == "diffusers" else [pytest.mark.peers])


@pytest.mark.parametrize("pair", [*map(_marked, PAIRS)])
def test_a_solver_is_its_peer_or_differs_for_the_reason_given(pair: Pair) -> None:
    if not _peers.version(pair.library):
        pytest.skip(f"{pair.library} is not installed (make peers)")
    apart = difference(pair.build, pair.peer, pair.over[-1:] if len(pair.over) < 3 else (7,))
    if pair.reason:
        assert apart > 10 * TARGET
    else:
        assert apart < TARGET


def test_each_solver_is_compared_or_said_to_be_alone() -> None:
    compared = {pair.solver for pair in PAIRS}
    assert compared | set(ALONE) == set(SOLVERS)
    assert not compared & set(ALONE)


@pytest.mark.parametrize("reason", sorted({p.reason for p in PAIRS if "peers.md" in p.reason} | set(ALONE.values())))
def test_the_page_has_the_section_that_a_reason_names(reason: str) -> None:
    for section in re.findall(r"docs/peers\.md, (\w+)", reason):
        assert re.search(rf"^## (?:{section}\. |{section}$)", PAGE, re.MULTILINE | re.IGNORECASE), section


def test_the_law_of_a_scheduler_is_that_of_the_same_solver_here() -> None:
    levels, law = smooth_levels(9), _peers.Law(0.3, 0.7, 9)
    source = _peers.copy_of(_peers.SCHEDULERS + "dpmsolver_multistep")
    _peers.give_noise(source, law.draws())
    peer = _peers.scheduler(source, _pairs_diffusers.MULTI[0], levels, **_schedulers.NO_RULES, **_pairs_diffusers.SDE)
    x = _peers.follow(peer, levels, law.denoise, law.start(levels[0]))
    start = levels[0].alpha ** 2 * 0.7 + levels[0].sigma ** 2
    mean, variance = gaussian_law(dpmpp_2m_sde(levels), 0.3, 0.7, levels[0].alpha * 0.3, start)
    assert float(x[0]) == pytest.approx(float(mean), rel=1e-12)
    assert float((x[1:] ** 2).sum()) == pytest.approx(float(variance), rel=1e-12)


def test_the_denoiser_of_a_law_is_that_of_its_gaussian() -> None:
    law, level = _peers.Law(0.3, 0.7, 0), Level(0.6, 0.8)
    sample = law.start(level)[0] + 1.5 * law.start(level)[1]
    rows = law.denoise(law.start(level), level)
    gain = 0.6 * 0.7 / (0.36 * 0.7 + 0.64)
    torch.testing.assert_close(rows[0] + 1.5 * rows[1], 0.3 + gain * (sample - 0.6 * 0.3))


def test_a_repair_of_a_line_that_is_gone_is_refused() -> None:
    with pytest.raises(_peers.Changed, match="0 times, not once: no such line"):
        _peers.copy_of(_peers.SCHEDULERS + "ddim", {"no such line": ""})
