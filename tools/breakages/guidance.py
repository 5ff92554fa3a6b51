"""Breakages of guidance."""

from __future__ import annotations

from .breakage import Breakage

__all__ = ["BREAKAGES"]

BREAKAGES = (
    Breakage(
        "scales for each place stay with the first batch's pictures",
        "guidance/told.py",
        "value.ndim == 0 or len(value) == 1:",
        "value.ndim != 1 or len(value) == 1:",
        ("guidance_runs",),
    ),
    Breakage(
        "scales for each place are taken for one a picture",
        "guidance/told.py",
        "each if value.ndim > 1 else",
        "each[:, :1, :1, :1] if value.ndim > 1 else",
        ("guidance",),
    ),
    Breakage(
        "guidance goes the other way",
        "guidance/conditional.py",
        "guided = torch.lerp(untold, told, scale)\n        return _rescaled",
        "guided = torch.lerp(told, untold, scale)\n        return _rescaled",
        ("guidance",),
    ),
    Breakage(
        "guidance takes its halves for each other",
        "guidance/conditional.py",
        "_asked(runs, x, level, [condition, away.of(x)])",
        "_asked(runs, x, level, [away.of(x), condition])",
        ("guidance",),
    ),
    Breakage(
        "guidance stays on below its interval",
        "guidance/told.py",
        "not low < level.noise_ratio <= high",
        "not level.noise_ratio <= high",
        ("guidance",),
    ),
    Breakage(
        "a picture's scale is that of another batch",
        "guidance/told.py",
        "    return value[rows]\n",
        "    return value[: rows.stop - rows.start]\n",
        ("guidance", "guidance_runs"),
    ),
    Breakage(
        "rescaling compares with the unguided belief the wrong way",
        "guidance/conditional.py",
        "wanted / found",
        "found / wanted",
        ("guidance",),
    ),
    Breakage(
        "the parts of a composition are counted from nothing",
        "guidance/conditional.py",
        "weight.at(x, level) * (one - untold)",
        "weight.at(x, level) * one",
        ("guidance",),
    ),
    Breakage(
        "CFG++ moves the state the other way",
        "guidance/conditional.py",
        "torch.add(x, guided - untold, alpha=level.alpha)",
        "torch.add(x, untold - guided, alpha=level.alpha)",
        ("guidance",),
    ),
    Breakage(
        "the velocity's share is of the conditional one",
        "guidance/conditional.py",
        "_share(towards, away) * away",
        "_share(away, towards) * away",
        ("guidance",),
    ),
    Breakage(
        "APG remembers the difference that it has shortened",
        "guidance/conditional.py",
        "self.before = apart  #",
        "self.before = _no_longer(apart, self.norm)  #",
        ("guidance",),
    ),
    Breakage(
        "APG's memory outlives its run",
        "guidance/conditional.py",
        "    def transform(*parts: Denoise | Given | Scale) -> Denoise:\n        *runs, away, scale = parts\n",
        "    kept = begun()\n    begun = lambda: kept\n\n"
        "    def transform(*parts: Denoise | Given | Scale) -> Denoise:\n        *runs, away, scale = parts\n",
        ("guidance",),
    ),
    Breakage(
        "autoguidance leads towards the worse model",
        "guidance/models.py",
        "torch.lerp(belief(worse(x, level, condition)), better, here)",
        "torch.lerp(better, belief(worse(x, level, condition)), here)",
        ("guidance_models",),
    ),
    Breakage(
        "the classifier's gradient has the score's factor",
        "guidance/models.py",
        "here * (near.sigma**2 / near.alpha) * slope",
        "here * near.sigma**2 * slope",
        ("guidance_models",),
    ),
    Breakage(
        "a threshold clips without dividing",
        "guidance/ranges.py",
        "torch.minimum(torch.maximum(believed, -most), most) * (limit / most)",
        "torch.minimum(torch.maximum(believed, -most), most)",
        ("guidance_models",),
    ),
    Breakage(
        "a second call shares the memory of the first",
        "guidance/transformed.py",
        "return self.transform(begin(self.inner, levels), *(begin(other, levels) for other in self.others), *self.told)",
        "run = begin(self.inner, levels)\n"
        "        runs = [run if other is self.inner else begin(other, levels) for other in self.others]\n"
        "        return self.transform(run, *runs, *self.told)",
        ("guidance",),
    ),
    Breakage(
        "a guidance inside another one is not told which pictures it has",
        "guidance/transformed.py",
        "inner=rows_of(self.inner, rows, count)",
        "inner=self.inner",
        ("guidance_runs",),
    ),
    Breakage(
        "points are read as asked where they are of the other class",
        "guiding.py",
        "_of_class(made, label) >= _of_class(made, label + 1)",
        "_of_class(made, label) <= _of_class(made, label + 1)",
        ("guiding",),
    ),
    Breakage(
        "the weaker model is the newest snapshot",
        "training/earlier.py",
        "abs(math.log(step / (share * steps)))",
        "-step",
        ("guiding",),
    ),
    Breakage(
        "a model without condition dropout is guided all the same",
        "guiding.py",
        'training.get("drop_condition") == 0',
        'training.get("drop_condition") == -1',
        ("guiding",),
    ),
    Breakage(
        "the interval of the command line is not passed on",
        "cli/guided.py",
        'extra["interval"] = command.guidance_interval',
        "pass",
        ("guiding",),
    ),
    Breakage(
        "a guidance scale for no pictures is taken",
        "guidance/told.py",
        "value.numel() == 0 or value.is_complex()",
        "value.is_complex()",
        ("hostile_asking",),
    ),
    Breakage(
        "an interval that is a number ends in an error of Python's",
        "guidance/told.py",
        "tuple(ends) if isinstance(ends, Iterable) else ()",
        "tuple(ends)",
        ("hostile_asking",),
    ),
    Breakage(
        "a second model that is none is found when it is asked",
        "guidance/transformed.py",
        "for denoiser in (self.inner, *self.others):",
        "for denoiser in (self.inner,):",
        ("hostile_asking",),
    ),
    Breakage(
        "gradients through a run stop at what APG remembers",
        "guidance/conditional.py",
        "self.before = apart  #",
        "self.before = apart.detach()  #",
        ("guidance",),
    ),
)
