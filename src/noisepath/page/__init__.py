"""The page of a run: ``RUN/index.html``, made from what lies in the run folder, to be opened from disk.

``folder`` reads the run, ``sections`` and ``evaluation`` say it in HTML, ``chart`` draws, ``elements`` escapes, ``words``
writes numbers.  ``page.css`` and ``page.js`` are put into the file itself: it needs no server and no network.
"""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

from noisepath.files import write_whole
from noisepath.page.elements import Html, element, join
from noisepath.page.folder import Run, read
from noisepath.page.sections import sections

__all__ = ["write"]


def write(run: str | os.PathLike[str]) -> Path:
    """Write ``index.html`` into a run folder, or write it anew; any part of the run may be missing.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no run folder {str(folder)!r}")
    page = folder / "index.html"
    with write_whole(page) as part:
        part.write_bytes(_html(read(folder)).encode("utf-8", "backslashreplace"))
    return page


def _html(run: Run) -> str:
    here = Path(__file__).parent
    script = here.joinpath("page.js").read_text(encoding="utf-8")
    style = here.joinpath("page.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{run.name} · noisepath"),
        element("style", Html(style)),
        element("script", Html(script)),
    )
    body = element("body", join(sections(run), "\n"))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _policy(script: str) -> str:
    """No script but the page's own may run, and nothing is sent anywhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = {"script-src": f"'sha256-{digest}'", "connect-src": "'none'", "object-src": "'none'", "form-action": "'none'"}
    return "; ".join(f"{name} {value}" for name, value in {**rules, "base-uri": "'none'"}.items())
