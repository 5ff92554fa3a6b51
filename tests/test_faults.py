"""A run that is killed, stopped, starved or damaged ends as if nothing had happened: a few of the faults that
``benchmarks/faults.py`` goes through one by one."""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")


def _module() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "faults.py"
    spec = importlib.util.spec_from_file_location("faults", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["faults"] = module
    spec.loader.exec_module(module)
    return module


faults: Any = _module() if hasattr(os, "fork") else None


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Any:
    faults.torch.set_num_threads(1)
    return faults.Scene(tmp_path_factory.mktemp("scene"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_killed_at_random_moments_ends_as_the_undisturbed_one(scene: Any, workers: int) -> None:
    kills, problem = faults.killed(scene, random.Random(workers), workers)
    assert problem is None and kills >= 1


def test_a_kill_inside_a_save_loses_nothing(scene: Any) -> None:
    """Some of the points of a save: the middle of a file, the manifest, the rename."""
    results = list(faults.writes(scene, [2, 13]))
    assert len(results) == 4
    assert [found for found in results if found[1]] == []


FAULTS = (
    "SIGTERM to the process",
    "SIGINT to the group, 2 workers",
    "a bit flipped in network.safetensors",
    "a picture changed",
    "NaN for ever",
    "two batches with NaN",
    "two runs in one folder",
    "pictures on the way fail",
)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_the_stated_outcome(scene: Any, name: str) -> None:
    assert dict(faults.others(scene))[name]() is None


def test_a_disk_that_becomes_full_costs_the_last_checkpoint_and_nothing_else(scene: Any) -> None:
    problem = dict(faults.others(scene))["the disk becomes full"]()
    if problem == "no tmpfs can be mounted here":
        pytest.skip(problem)
    assert problem is None
