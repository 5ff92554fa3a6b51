"""What the sources must not hold: ways to run code that comes with a file, and words about anything but the project."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TEXTS = [
    *SOURCES,
    *sorted((ROOT / "tests").glob("*.py")),
    *sorted((ROOT / "benchmarks").glob("*")),
    *sorted((ROOT / "tools").rglob("*.py")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("*.md")),
    ROOT / "Makefile",
]
TEXTS = [path for path in TEXTS if path.is_file() and path.suffix in {".py", ".md", ".json", ".txt", ""}]


def _calls(path: Path) -> set[str]:
    """The dotted names of everything that a file calls."""
    return {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_no_module_can_run_code_that_comes_with_a_file(path: Path) -> None:
    forbidden = {"torch.load", "torch.save", "torch.hub.load", "eval", "exec", "compile", "__import__", "os.system"}
    assert not _calls(path) & forbidden
    assert not _imports(path) & {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "subprocess"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_every_module_says_what_it_is_and_is_short_enough_to_read(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a module begins with a sentence that says what lives there"
    assert len(text.splitlines()) <= 650
    assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", text)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_names_a_path_of_the_machine_it_was_written_on(path: Path) -> None:
    # spelled in parts, so that this file passes its own test
    for root in ("work", "tmp", "root", "home"):
        assert not re.search(rf"(?<![\w.)/}}-])/{root}/\w", path.read_text()), f"names a path under /{root}"
    assert "../" + "shared" not in path.read_text()
