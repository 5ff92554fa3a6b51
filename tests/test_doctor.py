"""The report for bug reports: true, whole whatever is missing, and with advice where there is something to say."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
import torch

import noisepath
from noisepath.cli import doctor
from noisepath.cli.doctor import Machine, advice, examine, machine
from noisepath.cli.options import Doctor
from noisepath.cli.parsing import parse

WELL = Machine(
    cores=8, threads=8, memory=32e9, available=20e9, space=1e11, shared=16e9, nvidia=False, cuda=False, cores_there=8
)
GOOD = {"torch": "2.13.0+cpu", "numpy": "2.4.6", "Pillow": "13.0.0", "safetensors": "0.8.0", "tyro": "1.0.17", "tqdm": "4.70.1",
        "scikit-learn": "1.9.1", "matplotlib": "3.11.2"}  # fmt: skip


def _printed(capsys: pytest.CaptureFixture[str], as_json: bool = False) -> str:
    doctor.run(Doctor(json=as_json))
    out, err = capsys.readouterr()
    assert not err
    return out


def test_the_versions_are_those_that_are_installed(capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(_printed(capsys, as_json=True))
    assert report["versions"]["noisepath"] == noisepath.__version__
    assert report["versions"]["python"] == platform.python_version()
    assert report["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    for name, version in report["versions"].items():
        if name not in ("noisepath", "python") and version is not None:
            assert version == metadata.version(name)


def test_every_package_that_noisepath_needs_is_in_the_report_and_checked() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    needed = dict(line.split(">=") for line in project["dependencies"])
    assert needed.keys() <= set(doctor.PACKAGES)
    for name in needed:
        assert advice(WELL, {**GOOD, name: "0.0.1"}, {}) == [
            f"{name.lower()} 0.0.1 is too old: pip install --upgrade '{name.lower()}>={needed[name]}'"
        ]


def test_the_text_says_what_the_json_says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    report, text = json.loads(_printed(capsys, as_json=True)), _printed(capsys)
    assert list(report) == ["versions", "machine", "torch", "environment", "self-test", "advice"]
    assert report["environment"]["OMP_PROC_BIND"] == "close"
    for title in report:
        assert any(line.startswith(title) for line in text.splitlines())
    for name, version in report["versions"].items():
        assert f"  {name:16} {'not installed' if version is None else version}" in text.splitlines()


def test_the_self_test_writes_trains_and_samples_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(12345)
    state = torch.random.get_rng_state()
    tests = examine()["self-test"]
    assert isinstance(tests, dict) and tests.keys() >= {"files", "cpu"}
    assert all(said.startswith("ok (") for said in tests.values())
    assert not list(tmp_path.iterdir())
    assert torch.equal(state, torch.random.get_rng_state())


def test_what_torch_is_told_of_threads_is_in_the_report() -> None:
    assert machine().threads == torch.get_num_threads()
    threads = examine()["torch"]
    assert isinstance(threads, dict) and threads["threads"].startswith(f"{torch.get_num_threads()} for one operation")
    if hasattr(os, "sched_getaffinity"):
        assert 1 <= machine().cores <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("change", "environment", "told"),
    [
        ({}, {}, []),
        ({}, {"OMP_NUM_THREADS": "8"}, []),
        ({"threads": 1}, {"OMP_NUM_THREADS": "1"}, ["1 of 8 cores; OMP_NUM_THREADS=1 is set: unset it"]),
        ({"threads": 4}, {"MKL_NUM_THREADS": "4"}, ["4 of 8 cores; MKL_NUM_THREADS=4 is set: unset it"]),
        ({"threads": 4}, {}, ["4 of 8 cores; set OMP_NUM_THREADS"]),
        ({"cores": 2}, {}, ["8 threads on 2 cores: set OMP_NUM_THREADS=2"]),
        ({"threads": None}, {}, ["torch can't be imported"]),
        ({"shared": 64e6}, {}, ["/dev/shm has only 64 MB free"]),
        ({"space": 5e8}, {}, ["only 0.5 GB are free in the current folder"]),
        ({"available": 1e9}, {}, ["only 1.0 GB of memory are free"]),
        ({"nvidia": True}, {}, ["NVIDIA driver, but torch can't use it"]),
        ({"nvidia": True, "cuda": True}, {}, []),
        ({"memory": None, "available": None, "space": None}, {}, []),
        ({"cores": 2, "nvidia": True, "space": 0.0}, {}, ["on 2 cores", "NVIDIA", "only 0.0 GB are free in"]),
    ],
)
def test_advice_is_a_line_for_each_thing_in_the_way(
    change: dict[str, float | bool | None], environment: dict[str, str], told: list[str]
) -> None:
    lines = advice(replace(WELL, **change), GOOD, environment)  # type: ignore[arg-type]
    assert len(lines) == len(told)
    for line, part in zip(lines, told, strict=True):
        assert part in line and "\n" not in line


def test_a_machine_without_shared_memory_is_told_how_to_read_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert [line.split(":")[0] for line in advice(replace(WELL, shared=None), GOOD, {})] == ["there is no /dev/shm"]
    monkeypatch.setattr(sys, "platform", "darwin")  # where there never was one
    assert advice(replace(WELL, shared=None), GOOD, {}) == []


@pytest.mark.parametrize(
    ("version", "old"),
    [("2.9.1", True), ("1.13", True), ("2.10", False), ("2.10.0+cu130", False), ("2.10.0a0", False), ("3", False)],
)
def test_versions_are_compared_as_numbers(version: str, old: bool) -> None:
    assert bool(advice(WELL, {**GOOD, "torch": version}, {})) == old
    assert advice(WELL, {**GOOD, "tyro": "1"}, {}) == []  # which is 1.0


def test_a_package_that_is_missing_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert advice(WELL, {**GOOD, "tyro": None}, {}) == ["tyro is not installed: pip install 'tyro>=1.0'"]
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package-at-all"))
    versions = examine()["versions"]
    assert isinstance(versions, dict) and versions["no-such-package-at-all"] is None


def test_a_broken_torch_is_reported_and_is_no_error() -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom noisepath.cli import doctor\n"
        "from noisepath.cli.options import Doctor\ndoctor.run(Doctor(json=True))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert "torch" in report["torch"]["can't be imported"]
    assert any("torch can't be imported" in line for line in report["advice"])
    assert report["self-test"]["files"].startswith("ok")


def test_a_machine_that_tells_nothing_has_a_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError("no")

    for home, name in ((Path, "read_text"), (doctor.shutil, "disk_usage"), (os, "sysconf")):
        monkeypatch.setattr(home, name, refuse)
    assert machine().memory is None and machine().space is None and machine().shared is None
    assert "unknown" in _printed(capsys)


def test_a_folder_that_takes_no_files_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("Read-only file system:\n'here'")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    report = json.loads(_printed(capsys, as_json=True))
    assert report["self-test"]["files"] == "failed: OSError: Read-only file system: 'here'"
    assert "files: the self-test failed: OSError: Read-only file system: 'here'" in report["advice"]
    assert report["self-test"]["cpu"].startswith("ok")


def test_the_command_line_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["doctor"]) == Doctor()
    assert parse(["doctor", "--json"]) == Doctor(json=True)
    from noisepath.cli import main

    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["versions"]["noisepath"] == noisepath.__version__
