"""The package is light until it is used, and no room imports from a room below it."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import noisepath

PACKAGE = Path(noisepath.__file__).parent
HEAVY = ["torch", "numpy", "matplotlib", "sklearn", "scipy", "PIL", "tyro", "tqdm", "safetensors", "diffusers", "transformers"]
WINGS = {"asking", "nn", "data", "board", "training", "evaluation", "plots", "guidance_figure", "page", "cli"}


def _loaded_after(code: str) -> set[str]:
    """Which of the heavy packages a fresh Python has loaded after ``code``."""
    report = f"\nimport json, sys; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert _loaded_after("import noisepath; noisepath.__version__; dir(noisepath)") == set()


CATALOGUES = ("SOLVERS", "SPACINGS", "BETAS", "SCHEDULES", "PREDICTIONS", "TIMES", "WEIGHTINGS", "GUIDANCES", "nn.SIZES")
CONFIGURATIONS = ("DiffusionConfig()", "UNetConfig()", "TrainConfig()", "Level(1.0, 0.0)", "DiffusionConfig().tables()")


def test_the_names_in_a_catalogue_and_configurations_need_no_torch() -> None:
    """Each by itself would leave the same trace in the list of modules, so one Python asks after each of them."""
    uses = [f"assert len(list(noisepath.{name})) > 1" for name in CATALOGUES] + [f"noisepath.{name}" for name in CONFIGURATIONS]
    after = "".join(f"{use}\nassert 'torch' not in sys.modules, {use!r}\n" for use in uses)
    assert _loaded_after(f"import sys, noisepath\n{after}") <= {"numpy"}


@pytest.fixture(scope="module")
def with_torch() -> set[str]:
    """What comes with torch: it brings what it likes (numpy); of ours nothing else may come with the heart."""
    return _loaded_after("import torch") | {"torch", "numpy"}


def test_a_heart_touched_everywhere_needs_torch_and_numpy_alone(with_torch: set[str]) -> None:
    heart = [name for name in _rooms() if name not in WINGS]
    code = "".join(f"import noisepath.{name}\n" for name in heart)
    assert _loaded_after(code + "noisepath = __import__('noisepath')\nnoisepath.NoiseScheduler()") <= with_torch


def test_no_public_name_loads_the_drawing_or_learning_libraries(with_torch: set[str]) -> None:
    assert _loaded_after("import noisepath\nfor name in noisepath.__all__: getattr(noisepath, name)") <= with_torch


def test_every_public_name_is_found_and_is_the_one_its_module_has() -> None:
    for name in noisepath.__all__:
        assert getattr(noisepath, name) is not None
    for name, home in noisepath._HOME.items():
        module = importlib.import_module(f"noisepath.{home}")
        assert getattr(noisepath, name) is getattr(module, name)
        assert name in module.__all__


def test_what_the_documents_name_is_found_from_the_package_alone() -> None:
    root = PACKAGE.parents[1]
    texts = [(path, path.read_text(encoding="utf-8")) for path in (root / "README.md", *sorted((root / "docs").rglob("*.md")))]
    name = r"(?<!from )(?<!import )\bnoisepath((?:\.[A-Za-z_]\w*)+)"  # what is imported is found in another way
    named = {(found, path.name) for path, text in texts for found in re.findall(name, text)}
    assert len(named) > 20
    for found, where in sorted(named):
        if found.endswith((".py", ".toml", ".json", ".png")):
            continue  # a file
        first, *rest = found.strip(".").split(".")
        assert first in noisepath.__all__, f"{where} names noisepath{found}, which import noisepath alone does not give"
        value, path = getattr(noisepath, first), f"noisepath.{first}"
        for part in rest:
            path = f"{path}.{part}"
            value = getattr(value, part) if hasattr(value, part) else importlib.import_module(path)


def test_every_module_with_a_list_of_public_names_is_offered() -> None:
    internal = {"batches", "files", "foreign", "foreign_schedulers", "model_folders", "page", "cli"}
    internal |= {"clipping", "defaults", "modules", "printing"}
    missing = {room for room in _rooms() if room not in noisepath._MODULES} - internal
    assert not missing, f"noisepath/__init__.py does not offer {sorted(missing)}"


def test_no_table_is_worked_out_before_it_is_wanted() -> None:
    imports = "".join(f"import noisepath.{name}\n" for name in ("schedules", "times", "sampling", "solvers", "cli.options"))
    code = imports + "from noisepath import tables; print(tables._from_betas.cache_info().misses)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]


def test_what_a_type_checker_sees_is_what_a_program_gets() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen: dict[str, str] = {}
    for node in ast.walk(block):
        if isinstance(node, ast.ImportFrom):
            seen.update({alias.name: (node.module or "") for alias in node.names})
    assert seen == {**noisepath._HOME, **dict.fromkeys(noisepath._MODULES, "")}


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no attribute 'smaple'"):
        noisepath.smaple  # noqa: B018


def test_the_version_is_written_as_versions_are() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", noisepath.__version__)


# --- who may import whom -------------------------------------------------------------------------------------------


@cache
def _rooms() -> list[str]:
    found = [path.stem if path.suffix else path.name for path in PACKAGE.iterdir()]
    return sorted(name for name in found if not name.startswith("_") and (PACKAGE / name / "__init__.py").exists()
                  or (PACKAGE / f"{name}.py").exists() and not name.startswith("_"))


@cache
def _imported_rooms(path: Path) -> set[str]:
    """The rooms of this package that a file imports at run time, wherever in the file."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    here = ("noisepath", *path.relative_to(PACKAGE).parent.parts)
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            names.update(f"{stem}.{alias.name}" for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith("noisepath.")} & set(_rooms())


def _files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py")) if (PACKAGE / room).is_dir() else [PACKAGE / f"{room}.py"]


@pytest.mark.parametrize("room", [room for room in _rooms() if room not in WINGS])
def test_the_heart_imports_no_wing(room: str) -> None:
    for path in _files(room):
        assert not _imported_rooms(path) & WINGS


def test_the_command_line_is_imported_by_nothing_and_drawing_only_by_what_makes_pictures() -> None:
    for room in _rooms():
        imported = set[str]().union(*(_imported_rooms(path) for path in _files(room)))
        assert room == "cli" or "cli" not in imported
        assert room in {"cli", "data", "board", "training", "evaluation", "plots", "guidance_figure"} or "plots" not in imported
    assert not _imported_rooms(PACKAGE / "plots.py") & {"training", "cli", "nn", "evaluation"}


def test_rooms_form_no_circle() -> None:
    uses = {room: set[str]().union(*(_imported_rooms(path) for path in _files(room))) - {room} for room in _rooms()}
    while free := [room for room, used in uses.items() if not used & uses.keys()]:
        for room in free:
            del uses[room]
    assert not uses, f"these rooms import each other: {uses}"
