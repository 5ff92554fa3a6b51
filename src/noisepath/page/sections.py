"""What the page of a run says, section by section; a section that has nothing to show is left out."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePath

from noisepath import __version__
from noisepath.page.board import board_grid, board_ways
from noisepath.page.chart import Point, chart
from noisepath.page.edits import edit_pairs
from noisepath.page.elements import EMPTY, Html, element, join
from noisepath.page.evaluation import details, table
from noisepath.page.folder import Picture, Run
from noisepath.page.words import amount, figure, plain, seconds, size

__all__ = ["sections"]

SHOWN = 60
"""Most sample grids on a page; of more, so many evenly spread ones."""


def sections(run: Run) -> Iterator[Html]:
    """The body of the page."""
    yield _top(run)
    parts = [
        _samples(run), _board(run), _ways(run), _losses(run), _by_level(run), _limit(run), _evaluation(run), _neighbours(run),
        _edits(run), _plan(run), _commands(run),
    ]  # fmt: skip
    yield element("main", join([part for part in parts if part], "\n"), _settings(run))
    told = f"Written by noisepath {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Load the page again to see news."
    yield element("footer", element("p", told))


def _section(title: str, *children: str, anchor: str) -> Html:
    return element("section", element("h2", title), *children, id=anchor)


# --- where the run stands ---------------------------------------------------------------------------------------------


def _top(run: Run) -> Html:
    steps, done = run.steps, run.done
    finished = steps is not None and done >= steps
    bar = element("progress", max=steps, value=min(done, steps), aria_label="steps done") if steps and not finished else EMPTY
    state = element("p", element("span", class_="done" if finished else "going"), _state(run), class_="state")
    return element(
        "header",
        element("p", "noisepath · a training run", class_="kind"),
        element("h1", run.name),
        state,
        bar,
        EMPTY if finished else _how_to_resume(run),
        _facts(run),
    )


def _state(run: Run) -> str:
    steps, done = run.steps, run.done
    if steps is None:
        return f"At step {done:,}." if done else "It has just begun: no step is written down yet."
    return f"Finished: all {steps:,} steps are made." if done >= steps else f"At step {done:,} of {steps:,}."


def _how_to_resume(run: Run) -> Html:
    if not run.checkpoints:
        return EMPTY
    words = f"Stopped, or killed? It goes on from step {run.checkpoints[-1]:,}, its newest checkpoint, with "
    return element("p", words, _code(_command(run, "resume")), ".", class_="note")


def _facts(run: Run) -> Html:
    """The few numbers that one asks for first."""
    plan, last = run.plan, run.log[-1].values if run.log else {}
    shape, classes = plan.get("shape"), plan.get("classes")
    facts = {
        "data": PurePath(run.data).name or run.data if run.data else None,
        "pictures": amount(plan["pictures"]) if "pictures" in plan else None,
        "picture size": _shape(shape) if shape else None,
        "classes": f"{len(classes):,}" if isinstance(classes, list) and classes else None,
        "parameters": amount(plan["parameters"]) if "parameters" in plan else None,
        "loss": figure(last["loss"]) if "loss" in last else None,
        "time so far": seconds(last["seconds"]) if "seconds" in last else None,
        "pictures per second": figure(last["pictures_per_s"]) if "pictures_per_s" in last else None,
        "steps skipped": amount(skipped) if (skipped := _skipped(run)) else None,
    }
    cells = [element("div", element("dt", name), element("dd", value)) for name, value in facts.items() if value is not None]
    return element("dl", *cells, class_="facts") if cells else EMPTY


def _skipped(run: Run) -> float:
    return max((line.values.get("skipped", 0.0) for line in run.log), default=0.0)


def _shape(shape: object) -> str:
    """[3, 32, 48] -> 32 x 48, colour."""
    if not isinstance(shape, list) or len(shape) != 3:
        return plain(shape)
    channels, height, width = (plain(part) for part in shape)
    colour = {"1": "grey", "3": "colour"}.get(channels, f"{channels} channels")
    return f"{height} × {width}, {colour}"


# --- pictures ---------------------------------------------------------------------------------------------------------


def _image(picture: Picture, words: str, class_: str | None = None) -> Html:
    return element("img", src=picture.url, width=picture.width, height=picture.height, alt=words, class_=class_)


def _samples(run: Run) -> Html:
    """The newest grid large, and a strip with all of them."""
    if not run.samples:
        return EMPTY
    shown, newest = _spread(run.samples, SHOWN), run.samples[-1]
    large = element(
        "figure",
        _image(newest, f"Grid of samples after step {newest.step:,}"),
        element("figcaption", f"after step {newest.step:,}"),
        id="stage",
    )
    words = "The same seeds each time: every place of the grid shows what becomes of one and the same noise."
    if len(shown) < len(run.samples):
        words += f" {len(shown)} of {len(run.samples):,} grids are here; all of them are in samples/."
    strip = element("ol", *(_thumbnail(picture, newest) for picture in shown), id="strip") if len(shown) > 1 else EMPTY
    film = element("div", large, strip, class_="film")
    return _section("Samples", element("p", words), film, anchor="samples")


def _thumbnail(picture: Picture, newest: Picture) -> Html:
    image = _image(picture, f"Grid of samples after step {picture.step:,}")
    link = element("a", image, f"{picture.step:,}", href=picture.url, aria_current="true" if picture == newest else None)
    return element("li", link, data_step=picture.step)


def _spread(pictures: tuple[Picture, ...], most: int) -> list[Picture]:
    """At most so many of them, evenly spread, the first and the last among them."""
    if len(pictures) <= most:
        return list(pictures)
    return [pictures[round(i * (len(pictures) - 1) / (most - 1))] for i in range(most)]


def _board(run: Run) -> Html:
    if run.board is None:
        return EMPTY
    title = "What it draws when asked" if any(run.board.rows) else "Different noise"
    return _section(title, *board_grid(run.board, _command(run, "board")), anchor="board")


def _ways(run: Run) -> Html:
    ways = [] if run.board is None else board_ways(run.board)
    return _section("From noise to picture", *ways, anchor="ways") if ways else EMPTY


def _edits(run: Run) -> Html:
    pairs = edit_pairs(run.edits)
    return _section("Edits, before and after", *pairs, anchor="edits") if pairs else EMPTY


def _by_level(run: Run) -> Html:
    if run.by_level is None:
        return EMPTY
    words = "How far the model's belief is from the picture, at each level of noise: on held-out pictures and on training ones."
    image = _image(run.by_level, "Curves: loss over the level of noise", "paper")
    return _section("Loss by noise level", element("p", words), element("figure", image), anchor="levels")


def _limit(run: Run) -> Html:
    if run.limit is None:
        return EMPTY
    words = (
        "Where there is much noise, errors of this network are multiplied in its answer. There the answer is weighed with the "
        "best linear estimate from the data's mean and covariance; the weights have the least error, measured on images."
    )
    image = _image(run.limit, "Curves: weight of the network over the level of noise", "paper")
    return _section("Limit at much noise", element("p", words), element("figure", image), anchor="limit")


def _neighbours(run: Run) -> Html:
    if run.neighbours is None:
        return EMPTY
    words = "Samples beside the training pictures nearest to them. Equal ones were learnt by heart."
    image = _image(run.neighbours, "Samples, each beside its nearest training pictures", "paper")
    return _section("Nearest training pictures", element("p", words), element("figure", image), anchor="neighbours")


# --- curves -----------------------------------------------------------------------------------------------------------


def _losses(run: Run) -> Html:
    """The loss, and below it rate and speed; the drawn curve where there is no log."""
    loss = _measured(run, "loss")
    if not loss:
        image = _image(run.loss, "Curve: loss over the steps", "paper") if run.loss else EMPTY
        return _section("Loss", element("figure", image), anchor="loss") if image else EMPTY
    parts = [chart(loss, "loss", log=True, smooth=True)]
    small = [("rate", "learning rate"), ("pictures_per_s", "pictures per second")]
    others = [(words, points) for name, words in small if len(points := _measured(run, name)) > 1]
    cells = [element("div", element("h3", words.capitalize()), chart(points, words, height=240)) for words, points in others]
    parts.append(element("div", *cells, class_="pair") if cells else EMPTY)
    if run.damaged:
        lines = "1 damaged line of the log is" if run.damaged == 1 else f"{run.damaged:,} damaged lines of the log are"
        parts.append(element("p", f"{lines} passed over.", class_="note"))
    return _section("Loss", *parts, anchor="loss")


def _measured(run: Run, name: str) -> list[Point]:
    """(step, value) of what the log calls ``name``; values that no axis could hold are left out."""
    found = [(line.step, line.values[name]) for line in run.log if name in line.values]
    return [(step, value) for step, value in found if value == 0 or 1e-30 < abs(value) < 1e30]


# --- tables and texts -------------------------------------------------------------------------------------------------


def _evaluation(run: Run) -> Html:
    """The figures, and some of the samples that were judged."""
    figures = table(run.report)
    if not figures and not run.judged:
        return EMPTY
    cells = [
        element("figure", _image(picture, f"Grid of judged samples: {words}"), element("figcaption", words))
        for picture, words in run.judged
    ]
    pictures = element("div", *cells, class_="pair") if cells else EMPTY
    return _section("Evaluation", figures, pictures, details(run.report), anchor="evaluation")


def _plan(run: Run) -> Html:
    """What was chosen at the start, and why."""
    plan = run.plan
    if not plan:
        return EMPTY
    wholes = {
        "pictures": amount(plan.get("pictures")),
        "picture size": _shape(plan.get("shape")),
        "classes": _names(plan.get("classes")),
        "parameters": amount(plan.get("parameters")),
        "steps": amount(plan.get("steps")),
        "time": seconds(plan.get("seconds")),
        "memory": size(plan.get("bytes")),
        "device": plain(plan.get("device")),
    }
    names = {"picture size": "shape", "time": "seconds", "memory": "bytes"}
    rows = [_row(name, value) for name, value in wholes.items() if names.get(name, name) in plan]
    tables = [element("table", element("tbody", *rows))]
    choices = plan.get("choices")
    chosen = [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
    if chosen:
        head = element("thead", element("tr", *(element("th", words, scope="col") for words in ("choice", "value", "reason"))))
        lines = [_row(*(plain(choice.get(key, "")) for key in ("name", "value", "reason"))) for choice in chosen]
        tables.append(element("table", head, element("tbody", *lines)))
    return _section("Plan", *(element("div", part, class_="scroll") for part in tables), anchor="plan")


def _names(names: object, most: int = 30) -> str:
    """The classes, the first of them where there are many."""
    if not isinstance(names, list) or len(names) <= most:
        return plain(names or None)
    return f"{plain(names[:most])} and {len(names) - most:,} more"


def _row(name: str, *cells: str) -> Html:
    return element("tr", element("th", name, scope="row"), *(element("td", cell) for cell in cells))


COMMANDS = {
    "sample": ("Make new pictures", "noisepath sample {run} --n 64 --out samples"),
    "board": ("See what it draws when asked", "noisepath board {run}"),
    "evaluate": ("Judge the model", "noisepath evaluate {run}"),
    "resume": ("Go on with a run that was stopped", "noisepath train --resume {run}"),
}


def _command(run: Run, name: str) -> str:
    return COMMANDS[name][1].format(run=shlex.quote(str(run.path)))


def _commands(run: Run) -> Html:
    unfinished = run.steps is None or run.done < run.steps
    done = {"resume": not unfinished, "board": run.board is not None}  # whose section says the command itself
    names = [name for name in COMMANDS if not done.get(name)]
    lines = [element("li", COMMANDS[name][0], element("pre", _code(_command(run, name)))) for name in names]
    return _section("How to go on", element("ul", *lines, class_="commands"), anchor="commands")


def _code(text: str) -> Html:
    return element("code", text)


def _settings(run: Run) -> Html:
    if run.settings is None:
        return EMPTY
    summary = element("summary", "Settings: ", _code("run.toml"))
    return element("details", summary, element("pre", _code(run.settings), tabindex=0))
