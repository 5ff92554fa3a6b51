"""The table of docs/solvers.md is that of the catalogue."""

from __future__ import annotations

from solver_table import PAGE, page


def test_the_page_holds_the_catalogue_as_it_is() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "docs/solvers.md is out of date: make docs"
