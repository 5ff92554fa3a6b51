"""The board of a run, for its page: what its model draws when asked, how a picture comes about, and edits before and after.

asked     what a board shows: rows of requests, guidance scales, seeds, and how they are sampled; how large one may be
making    the pictures, and RUN/board/: board.json, cell-ROW-COLUMN.png, way-ROW.png
edits     RUN/edits/: the last edits made with the run's model, small

Nothing here is needed to use the model: any file may be removed, and ``noisepath board RUN`` makes the board again.
"""

from __future__ import annotations

from noisepath.board.asked import Asked, calls, fitted, in_words, needs_pictures, requests
from noisepath.board.edits import Edited, keep_edits
from noisepath.board.making import write_board

__all__ = ["Asked", "Edited", "calls", "fitted", "in_words", "keep_edits", "needs_pictures", "requests", "write_board"]
