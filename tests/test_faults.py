"""A run that is killed, stopped, starved or damaged ends as if nothing had happened: a few of the faults that
``benchmarks/faults.py`` goes through one by one."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
import torch

from _disturbances import others
from _faults import NoDisk, Scene
from _kills import killed, writes

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    return Scene(tmp_path_factory.mktemp("scene"))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_ends_as_the_undisturbed_one(scene: Any, workers: int) -> None:
    kills, problem = killed(scene, random.Random(workers), workers)
    assert problem is None and kills >= 1


def test_a_kill_inside_a_save_loses_nothing(scene: Any) -> None:
    """Before an early point of a save, and after a late one; ``benchmarks/faults.py`` goes through all, on both sides."""
    results = [*writes(scene, [2], (False,)), *writes(scene, [13], (True,))]
    assert len(results) == 2
    assert [found for found in results if found[1]] == []


FAULTS = ("SIGTERM to the process", "a bit flipped in network.safetensors", "a picture changed", "NaN for ever")
MORE = ("SIGINT to the group, 2 workers", "two batches with NaN", "two runs in one folder", "pictures on the way fail")


@pytest.mark.parametrize("name", [*FAULTS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)])
def test_a_fault_has_the_stated_outcome(scene: Any, name: str) -> None:
    assert dict(others(scene))[name]() is None


def test_a_disk_that_becomes_full_costs_the_last_checkpoint_and_nothing_else(scene: Any) -> None:
    try:
        assert dict(others(scene))["the disk becomes full"]() is None
    except NoDisk as error:
        pytest.skip(str(error))
