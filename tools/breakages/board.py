"""Breakages of the board, of edits that are kept, and of the page that shows both."""

from __future__ import annotations

from .breakage import Breakage

__all__ = ["BREAKAGES"]

BREAKAGES = (
    Breakage(
        "each cell of a board begins from noise of its own",
        "board/making.py",
        "indices=list(range(seeds)) * rows",
        "indices=list(range(seeds * rows))",
        ("board",),
    ),
    Breakage(
        "all columns of a board are guided alike",
        "board/making.py",
        "_guided(denoiser, scale), (rows * seeds",
        "_guided(denoiser, way_scale(asked)), (rows * seeds",
        ("board",),
    ),
    Breakage(
        "beliefs stand above states",
        "board/making.py",
        "torch.stack([*states, *believed])",
        "torch.stack([*believed, *states])",
        ("board",),
    ),
    Breakage(
        "a belief stands under the state of the level before",
        "board/making.py",
        "else beliefs[moment])[number]",
        "else beliefs[max(moment - 1, 0)])[number]",
        ("board",),
    ),
    Breakage(
        "the ways are not counted among a board's calls",
        "board/asked.py",
        "return each * (cells + ways)",
        "return each * cells",
        ("board",),
    ),
    Breakage(
        "guidance is counted as one call",
        "board/asked.py",
        "sum(1 if scale == 1.0 else 2 for scale in asked.guidance)",
        "len(asked.guidance)",
        ("board",),
    ),
    Breakage(
        "the oldest edits are kept, not the newest",
        "board/edits.py",
        "kept = kept[-most:]",
        "kept = kept[:most]",
        ("board",),
    ),
    Breakage(
        "the mask of an edit is shown turned over",
        "cli/recorded.py",
        "return small * 2 - 1",
        "return 1 - small * 2",
        ("board",),
    ),
    Breakage(
        "captions of pictures that were trained on are asked for though others were held out",
        "cli/board.py",
        "return out or kept",
        "return kept",
        ("board",),
    ),
    Breakage(
        "what a picture says is its neighbour's class",
        "asking/vocabulary.py",
        "data.class_names[int(data.labels[place])]",
        "data.class_names[int(data.labels[place - 1])]",
        ("board",),
    ),
    Breakage(
        "rows and columns of a board are swapped on the page",
        "page/board.py",
        '"board/cell-{i}-{k}.png"',
        '"board/cell-{k}-{i}.png"',
        ("page",),
    ),
    Breakage(
        "half the log-SNR is called the log-SNR",
        "page/board.py",
        "2 * (math.log(alpha) - math.log(sigma))",
        "math.log(alpha) - math.log(sigma)",
        ("page",),
    ),
    Breakage(
        "edits stand on the page with the oldest first",
        "page/edits.py",
        "in reversed(told[-MOST:] if isinstance(told, list) else [])",
        "in (told[-MOST:] if isinstance(told, list) else [])",
        ("page",),
    ),
)
