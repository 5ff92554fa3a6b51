"""Pictures to learn from, whatever they lie in.

config     DataConfig: which pictures, and how they are made alike (no torch needed)
decode     one picture file -> an array
source     a folder or a zip: what is there, and its bytes
metadata   metadata.jsonl, line by line
layout     which files are the pictures, and what each of them is
dataset    Data: what a run asks of its pictures; Dataset: all in memory; splitting, order, changes
arrays     as_data(): a tensor or an array as data
memory     decoded pictures, shared by worker processes
files      open_data(); Files: decoded when they are asked for
stream     what a training step sees, and the ledger of bad pictures
shape_world  captioned shapes: drawn, told in words, read from pictures and judged
report     what there is to know of a data set before a run, and its contact sheet
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from noisepath._lazy import offer

if TYPE_CHECKING:
    from noisepath.data.arrays import as_data as as_data
    from noisepath.data.config import DataConfig as DataConfig
    from noisepath.data.dataset import Data as Data
    from noisepath.data.dataset import Dataset as Dataset
    from noisepath.data.dataset import changed as changed
    from noisepath.data.dataset import digits as digits
    from noisepath.data.dataset import holdout_size as holdout_size
    from noisepath.data.dataset import some as some
    from noisepath.data.dataset import split as split
    from noisepath.data.files import Files as Files
    from noisepath.data.files import folder as folder
    from noisepath.data.files import open_data as open_data
    from noisepath.data.shape_world.pictures import shapes as shapes
    from noisepath.data.stream import Bad as Bad
    from noisepath.data.stream import Batch as Batch
    from noisepath.data.stream import Steps as Steps
    from noisepath.data.stream import Stream as Stream
    from noisepath.data.stream import show as show

_HOME = {
    "DataConfig": "config",
    "as_data": "arrays",
    "Data": "dataset",
    "Dataset": "dataset",
    "changed": "dataset",
    "digits": "dataset",
    "folder": "files",
    "holdout_size": "dataset",
    "some": "dataset",
    "split": "dataset",
    "Files": "files",
    "open_data": "files",
    "shapes": "shape_world.pictures",
    "Bad": "stream",
    "Batch": "stream",
    "Steps": "stream",
    "Stream": "stream",
    "show": "stream",
}
__all__ = [*_HOME]
__getattr__ = offer(__name__, _HOME)
