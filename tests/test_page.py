"""The page of a run: made from whatever lies in the folder, harmless whatever the words in it are, alive in a real browser."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from noisepath import page
from noisepath.page.words import figure
from paged import BOARD, EDITS, EVALUATED, PICTURES, STEPS, Seen, board_record, line, make_run, page_of, png

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")

PARTS = ["plan.json", "log.jsonl", "run.toml", "samples", "checkpoints", "evaluation", "loss.png", "evaluation/report.json"]
PARTS += [*EVALUATED, "board", "board/board.json", "board/cell-0-1.png", "board/way-0.png"]
PARTS += ["edits", "edits/edits.json", EDITS[1], EDITS[3]]
JSON_PARTS = ["plan.json", "log.jsonl", "run.toml", "evaluation/report.json", "board/board.json", "edits/edits.json"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="module")
def written(run: Path) -> Seen:
    return page_of(run)


# --- what is on it ----------------------------------------------------------------------------------------------------


def test_the_page_shows_the_plan_the_figures_and_how_to_go_on(written: Seen, run: Path) -> None:
    text = written.text()
    for words in ("Finished: all 1,200 steps", "8 × 8, grey", "1.23 million", "3 min", "620 MB", "3 minutes"):
        assert words in text
    assert {"Samples", "Loss", "Loss by noise level", "Evaluation", "Nearest training pictures", "Plan", "How to go on"} <= set(
        written.words["h2"]
    )
    assert f"noisepath sample {run} --n 64 --out samples" in written.words["code"]
    assert f"noisepath evaluate {run}" in written.words["code"]
    assert "steps = 1200" in text


def test_a_figure_stands_with_its_interval_for_each_set_of_samples_beside_real_pictures(written: Seen) -> None:
    heads = written.words["th"]
    assert heads[heads.index("figure") : heads.index("figure") + 4] == ["figure", "unguided", "guidance 2", "real pictures"]
    rows = {cells[0]: cells[1:] for cells in written.rows}
    assert rows["read as asked"] == ["96.1 % 95.1 % to 97.2 %"] * 2 + ["98.8 %"]
    assert rows["kernel distance in word"] == ["1.50 1.25 to 1.75", "3.00 1.25 to 1.75", "1.00 0.900 to 1.10"]
    assert rows["Frechet distance in word"] == ["word", "word", "–"]
    assert ["word", "75 % of 40", "75 % of 40", "90 % of 10"] in written.rows
    assert "guidance 2, seed 0" in rows["guidance 2: sampling"][0]
    assert "reference 300, reference kind held-out" in rows["unguided: word"][0]


def test_a_report_of_another_make_is_shown_as_far_as_it_is_understood(tmp_path: Path) -> None:
    (tmp_path / "evaluation").mkdir()
    odd = {"samples": [7, {"figures": [{"name": "depth", "value": 0.5}, None], "sampling": 3}], "notes": "none", "reader": [1]}
    (tmp_path / "evaluation" / "report.json").write_text(json.dumps(odd))
    assert ["depth", "0.500", "–"] in page_of(tmp_path).rows
    outside = {"samples": [{"grid": "../../secret.png"}, {"grid": "/etc/passwd"}, {"grid": ["x"]}]}
    (tmp_path / "evaluation" / "report.json").write_text(json.dumps(outside))
    png(tmp_path.parent / "secret.png")
    assert not page_of(tmp_path).all("img", "src")


def test_pictures_are_named_by_paths_from_the_folder_and_have_their_size_and_words(written: Seen, run: Path) -> None:
    images = [attrs for tag, attrs in written.elements if tag == "img"]
    assert len(images) == PICTURES
    for image in images:
        assert image["alt"]
        with Image.open(run / unquote(str(image["src"]))) as picture:
            assert picture.size == (int(str(image["width"])), int(str(image["height"])))
    assert images[0]["src"] == "samples/001200.png"
    large = [name for name in written.all("a", "href") if not name.startswith("samples/")]
    assert written.all("a", "href")[: len(STEPS)] == [f"samples/{step:06d}.png" for step in STEPS]
    assert sorted(large) == sorted([*BOARD, *EDITS]) and set(large) < set(written.all("img", "src"))


def test_a_board_is_a_row_for_each_prompt_and_a_column_for_each_guidance_scale(written: Seen, run: Path) -> None:
    words = {attrs["src"]: attrs["alt"] for tag, attrs in written.elements if tag == "img"}
    assert words["board/cell-1-0.png"] == "4 pictures of “word again”, guidance 1"
    assert words["board/cell-0-1.png"] == "4 pictures of “word”, guidance 2"
    assert "after step 1,200 with solver word, spacing word, 20 steps, seed 0." in written.text()
    assert ["", "guidance 1", "guidance 2"] in written.rows
    assert f"noisepath board {run}" in written.words["code"]
    levels = [words for words in written.words["li"] if words.startswith("σ/α")]
    assert levels == ["σ/α 80.0", "σ/α 1.33", "σ/α 0"] * 2
    said = [words for words in written.words["small"] if words.startswith("log-SNR")]
    assert said == [f"log-SNR −{2 * math.log(80):.1f}", f"log-SNR −{2 * math.log(0.8 / 0.6):.1f}", "log-SNR ∞"] * 2


def test_a_board_of_a_model_that_is_not_asked_has_neither_rows_nor_scales(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    told = {**board_record(), "rows": [{"words": "", "asked": {}}], "guidance": [1.0], "seeds": 16}
    (run / "board" / "board.json").write_text(json.dumps(told))
    seen = page_of(run)
    assert "Different noise" in seen.words["h2"] and "guidance 1" not in seen.words["th"]
    assert next(attrs["alt"] for tag, attrs in seen.elements if tag == "img" and "cell" in str(attrs["src"])) == "16 pictures"


def test_edits_stand_before_and_after_the_newest_first(written: Seen) -> None:
    shown = [name for name in written.all("a", "href") if name.startswith("edits/")]
    assert shown == [EDITS[2], EDITS[3], EDITS[4], EDITS[0], EDITS[1]]
    assert "classes word, strength 0.5" in written.words["small"]


@pytest.mark.parametrize("outside", ["../secret", "/etc/passwd", "..", "a/b", 7, None, ["x"]])
def test_no_path_is_taken_from_the_names_in_a_record(outside: object, tmp_path: Path) -> None:
    for name in ("before", "after"):
        png(tmp_path / f"secret-{name}.png")
    run = make_run(tmp_path / "run")
    (run / "edits" / "edits.json").write_text(json.dumps({"edits": [{"id": outside}, 7, None]}))
    assert not [name for name in page_of(run).all("img", "src") if "edits" in name or "secret" in name]


def test_the_page_needs_nothing_from_elsewhere(written: Seen) -> None:
    assert "://" not in written.source.replace("://www.w3.org/2000/svg", "")
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in written.elements}


def test_the_page_is_made_without_torch_and_its_files_come_with_the_package() -> None:
    code = "import sys, noisepath.page; print(any(name in sys.modules for name in ('torch', 'numpy', 'PIL', 'matplotlib')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert {"page.css", "page.js"} <= {path.name for path in Path(page.__file__).parent.iterdir()}


# --- runs that are not whole ------------------------------------------------------------------------------------------


def test_a_run_under_way_says_where_it_stands_and_how_it_goes_on(tmp_path: Path) -> None:
    run = make_run(tmp_path / "my run")
    (run / "log.jsonl").write_text("".join(line(step) + "\n" for step in range(10, 641, 10)))
    (run / "samples" / "001200.png").unlink()
    shutil.rmtree(run / "checkpoints" / "step-001200")
    seen = page_of(run)
    assert "At step 640 of 1,200." in seen.text()
    assert "from step 600, its newest checkpoint" in seen.text()
    assert f"noisepath train --resume '{run}'" in seen.words["code"]
    assert seen.all("progress", "value") == ["640"] and seen.all("progress", "max") == ["1200"]


def test_a_run_without_anything_has_a_page_that_says_so(tmp_path: Path) -> None:
    seen = page_of(tmp_path)
    assert "It has just begun" in seen.text()
    assert seen.words["h2"] == ["How to go on"]


@pytest.mark.parametrize("part", PARTS)
def test_any_part_may_be_missing_and_any_may_be_the_only_one(part: str, tmp_path: Path) -> None:
    whole = make_run(tmp_path / "whole")
    alone = tmp_path / "alone" / part
    alone.parent.mkdir(parents=True)
    (shutil.copytree if (whole / part).is_dir() else shutil.copy)(whole / part, alone)
    (shutil.rmtree if (whole / part).is_dir() else Path.unlink)(whole / part)
    for run in (whole, tmp_path / "alone"):
        seen = page_of(run)
        assert all((run / unquote(url)).is_file() for url in seen.all("img", "src"))
    assert part not in page_of(whole).all("img", "src")


@pytest.mark.parametrize("part", JSON_PARTS)
@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[1, 2]", b"null", b"7",
        b'{"step": NaN, "loss": NaN, "steps": -3, "shape": 8, "choices": [1], "value": {}}',
        b'{"step": 1e400, "steps": 1e300, "seconds": "long", "pictures": [], "classes": {}, "choices": {"a": 1}}',
        b'{"step": 1, "steps": 2.5, "shape": [[], {}, null], "choices": [{}, {"name": [1], "value": {}}], "a": {"value": []}}',
        b'{"step": 5, "loss": 0, "rate": -1e308, "pictures_per_s": 1e308, "seconds": true}\n{"step": 5.5, "loss": 1e308}',
        b"\xff\xfe\x00" * 50, b"[" * 100_000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"steps": ' + b"9" * 5000 + b"}",
        b'{"step": ' + b"9" * 400 + b', "loss": 1, "steps": ' + b"9" * 400 + b', "pictures": ' + b"9" * 400 + b"}",
    ],
    ids=range(14),
)  # fmt: skip
def test_a_file_that_is_damaged_is_passed_over(part: str, content: bytes, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / part).write_bytes(content)
    seen = page_of(run)
    assert "How to go on" in seen.words["h2"]
    assert not re.search(r"\b(nan|inf)\b", " ".join(seen.all("svg", "data-points") + seen.all("path", "d")))


def test_damaged_lines_of_the_log_are_counted_and_the_others_are_drawn(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "log.jsonl").write_text(f'{line(10)}\n{{"step": 20, "lo\n\n{line(30)}\nrubbish\n{line(40)[:-5]}')
    seen = page_of(run)
    assert "2 damaged lines" not in seen.text() and "3 damaged lines of the log" in seen.text()
    assert [words.split(":")[0] for _, _, words in json.loads(seen.all("svg", "data-points")[0])] == ["Step 10", "Step 30"]


def test_a_picture_that_is_none_is_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "samples" / "000075.png").write_bytes(b"")
    (run / "samples" / "000150.png").write_text("no picture, though its name says so")
    (run / "evaluation" / "neighbours.png").unlink()
    (run / "evaluation" / "neighbours.png").mkdir()
    seen = page_of(run)
    assert seen.all("a", "href")[:3] == [f"samples/{step:06d}.png" for step in STEPS[2:]]
    assert "Nearest training pictures" not in seen.words["h2"]


def test_many_grids_are_spread_evenly_with_the_first_and_the_newest(tmp_path: Path) -> None:
    png(tmp_path / "samples" / "000001.png")
    for step in range(2, 202):
        shutil.copy(tmp_path / "samples" / "000001.png", tmp_path / "samples" / f"{step:06d}.png")
    seen = page_of(tmp_path)
    shown = [int(step) for step in seen.all("li", "data-step")]
    assert len(shown) == 60 and shown[0] == 1 and shown[-1] == 201
    assert set(np.diff(shown)) <= {3, 4}
    assert "60 of 201 grids" in seen.text()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run folder '.*nowhere'"):
        page.write(tmp_path / "nowhere")


def test_the_page_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    before = {path.name for path in run.iterdir()}
    assert page.write(str(run)) == page.write(run) == run / "index.html"
    assert {path.name for path in run.iterdir()} == before | {"index.html"}


def test_a_single_line_of_the_log_is_a_dot(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(line(10))
    seen = page_of(tmp_path)
    assert len([tag for tag, _ in seen.elements if tag == "circle"]) == 2


# --- words that would like to be more ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "</script><svg onload=x>",
     "</style>", "&lt;b&gt;",
     "<!--", "]]>", "{run}", "%s%n", "../x", "javascript:alert(1)", "</code></pre>", "\u202eevil", "日本語 ü"],
)  # fmt: skip
def test_words_change_no_element_of_the_page_and_are_shown_as_they_are(word: str, written: Seen, tmp_path: Path) -> None:
    run = make_run(tmp_path / "digits", word)
    seen = page_of(run)
    assert seen.structure() == written.structure()
    assert word in seen.words["td"] and word in " ".join(seen.words["pre"] if "pre" in seen.words else seen.words["code"])
    assert f"{word}0, {word}1" in seen.text()


def test_a_name_that_is_no_text_makes_a_page_too(tmp_path: Path) -> None:
    run = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        run.mkdir()
    except OSError:
        pytest.skip("the file system takes no such names")
    page.write(run)
    assert b"\\udce9" in (run / "index.html").read_bytes()


# --- in a browser -----------------------------------------------------------------------------------------------------


def _opened(path: Path, profile: Path, *flags: str) -> Seen:
    """The page as Chromium has it after its scripts have run."""
    done = subprocess.run(
        [str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         f"--user-data-dir={profile}", "--virtual-time-budget=2000", *flags, "--dump-dom", path.resolve().as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return Seen(done.stdout)


def _told(seen: Seen, name: str) -> str | None:
    return next(attrs for tag, attrs in seen.elements if tag == "html").get(f"data-{name}")


@in_a_browser
@pytest.mark.parametrize("name", ["digits", "my run #2, 50% of it?", "größe & <b>日本"])
def test_a_page_opened_from_disk_shows_every_picture_and_has_no_error(name: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / name / "run", "<script>document.title = 'taken'</script>")
    shutil.move(run, tmp_path / name / name)
    seen = _opened(page.write(tmp_path / name / name), tmp_path / "profile")
    assert _told(seen, "errors") == "0"
    assert _told(seen, "broken-pictures") == "0"
    assert _told(seen, "pictures") == str(PICTURES)
    assert seen.words["title"] == [f"{name} · noisepath"]
    assert "after step 1,200" in seen.words["figcaption"]
    assert seen.all("input", "max") == [str(len(STEPS) - 1)]


@in_a_browser
def test_a_picture_that_went_away_and_a_foreign_script_are_noticed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    path = page.write(run)
    (run / "evaluation" / "neighbours.png").unlink()
    path.write_text(path.read_text().replace("</footer>", "</footer><script>document.title = 'taken'</script>"))
    seen = _opened(path, tmp_path / "profile")
    assert _told(seen, "broken-pictures") == "1"
    assert _told(seen, "errors") == "1"
    assert seen.words["title"] == ["run · noisepath"]


TOUCHES = """
addEventListener("load", () => {
  document.querySelectorAll("a.enlarge")[1].click();
  const dialog = document.querySelector("dialog"), key = new KeyboardEvent("keydown", { key: "ArrowRight" });
  const large = [dialog.open, dialog.textContent];
  dialog.dispatchEvent(key);
  large.push(dialog.textContent, dialog.querySelector("img").getAttribute("src").split("/").pop());
  dialog.click();
  document.querySelector("h1").dataset.large = [...large, dialog.open].join(" | ");
  const slider = document.querySelector("#stage input"), chart = document.querySelector("svg");
  slider.value = 1;
  slider.dispatchEvent(new Event("input"));
  const box = chart.getBoundingClientRect();
  chart.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left, clientY: box.top + 5 }));
  const first = document.querySelector("output").textContent;
  chart.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
  const second = document.querySelector("output").textContent;
  chart.dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
  const third = document.querySelector("output").textContent, middle = box.left + box.width * (78 + 720 - 36) / 2 / 720;
  chart.dispatchEvent(new PointerEvent("pointermove", { clientX: middle, clientY: box.top + 5 }));
  document.querySelector("h1").textContent = [first, second, third, document.querySelector("output").textContent].join(" | ");
});
"""


@in_a_browser
def test_the_slider_turns_to_other_steps_and_the_chart_is_read_under_the_pointer(tmp_path: Path) -> None:
    path = page.write(make_run(tmp_path / "run"))
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", path.read_text())
    path.write_text(text.replace("</footer>", f"</footer><script>{TOUCHES}</script>"))
    seen = _opened(path, tmp_path / "profile")
    assert _told(seen, "errors") == "0"
    assert "after step 150" in seen.words["figcaption"]
    image = next(attrs for tag, attrs in seen.elements if tag == "img")
    assert str(image["src"]).endswith("samples/000150.png")
    chosen = [attrs["href"] for tag, attrs in seen.elements if tag == "a" and attrs.get("aria-current") == "true"]
    assert chosen == ["samples/000150.png"]
    large = seen.all("h1", "data-large")[0].split(" | ")
    told = ["4 pictures of “word”, guidance 2", "4 pictures of “word again”, guidance 1"]
    assert large == ["true", *told, "cell-1-0.png", "false"]
    read = seen.words["h1"][0].split(" | ")
    assert [words.split(":")[0] for words in read] == ["Step 10", "Step 20", "Step 1,200", "Step 600"]
    first = figure(0.3 + 0.7 * math.exp(-10 / 120))
    assert read[0] == f"Step 10: loss {first}, smoothed {first}"
