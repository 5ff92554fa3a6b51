"""Samplers tuned to a model: which levels it is asked at, and the weights of every step, found by measuring.

No fixed sampler is best: it depends on the scales in the data.  A tableau is numbers, so for one model and one number of calls
they can be fitted to the model's own trajectories:

    teacher.py   where starts really lead: a run of many calls, checked against one of twice as many
    search.py    levels by dynamic programming over the teacher's trajectories, and the candidates to begin from
    form.py      a tableau as a function of few numbers, around a solver of the catalogue
    fit.py       those numbers by Gauss and Newton's method, a robust loss, a ridge, and held-out starts that say when to stop
    run.py       all of it
"""

from .run import tune
from .teacher import Starts

__all__ = ["Starts", "tune"]
