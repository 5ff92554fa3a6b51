"""Breakages in tuning."""

from __future__ import annotations

from .breakage import Breakage

__all__ = ["BREAKAGES"]

BREAKAGES = (
    Breakage("an added weight is not taken from the newest belief", "tuning/form.py", "0.0) - added", "0.0)", ("tuning",)),
    Breakage(
        "an added weight is of another belief",
        "tuning/form.py",
        "now, before = asked[n - 1], asked[n - 1 - back]",
        "now, before = asked[n - 1], asked[n - 2]",
        ("tuning",),
    ),
    Breakage(
        "the last step keeps a trace of the start",
        "tuning/form.py",
        "taken = -a[-1] / a[now]",
        "taken = a[-1] / a[now]",
        ("tuning",),
    ),
    Breakage("levels may leave what the network was shown", "tuning/form.py", "places[-1] < high + 1e-9", "True", ("tuning",)),
    Breakage(
        "the path is followed one step too late",
        "tuning/search.py",
        "path.append(before_[path[-1]])",
        "path.append(before_[path[0]])",
        ("tuning",),
    ),
    Breakage(
        "levels are searched for on another teacher's way",
        "tuning/search.py",
        "way.beliefs[i]",
        "way.beliefs[i - 1]",
        ("tuning",),
    ),
    Breakage("the fit goes uphill", "tuning/fit.py", "moved = now - torch.linalg", "moved = now + torch.linalg", ("tuning",)),
    Breakage(
        "a state that is shared is written to",
        "tuning/fit.py",
        "torch.zeros_like(self._noise)",
        "self._noise.clone()",
        ("tuning",),
    ),
    Breakage(
        "a derivative of the other sign",
        "tuning/fit.py",
        "(batch.go(other) - ends).flatten(1) / step",
        "(ends - batch.go(other)).flatten(1) / step",
        ("tuning",),
    ),
    Breakage(
        "the sampler that was found is thrown away",
        "tuning/run.py",
        "form.table(found.numbers), name",
        "default, name",
        ("tuning",),
    ),
    Breakage(
        "an analytic start adds variances without the path's scale",
        "gaussian_start.py",
        "math.hypot(at.alpha * math.sqrt(variance), at.sigma)",
        "math.hypot(math.sqrt(variance), at.sigma)",
        ("gaussian_start",),
    ),
    Breakage(
        "an analytic start forgets the mean that its noise began with",
        "gaussian_start.py",
        "self.first.sigma * noise.flatten(1) - self.first.alpha * mean",
        "self.first.sigma * noise.flatten(1)",
        ("gaussian_start",),
    ),
    Breakage(
        "a sampler's analytic start is left out of its run",
        "sampling.py",
        "isinstance(solver, Tuned) and solver.start is not None:\n            return",
        "False:\n            return",
        ("gaussian_start",),
    ),
    Breakage("another schedule is not noticed", "tuned.py", "if not _same(here, self.schedule):", "if False:", ("tuning",)),
)
