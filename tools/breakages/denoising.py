"""Breakages of predictions, denoisers and the exact denoisers."""

from __future__ import annotations

from .breakage import Breakage

__all__ = ["BREAKAGES"]

BREAKAGES = (
    Breakage(
        "v's c_out holds on variance-preserving paths alone",
        "predictions.py",
        "Factors(alpha / norm2, -sigma / norm2,",
        "Factors(alpha / norm2, -sigma,",
        ("denoiser",),
    ),
    Breakage(
        "velocity's sign",
        "predictions.py",
        "return Factors(skip, -sigma / w,",
        "return Factors(skip, sigma / w,",
        ("denoiser",),
    ),
    Breakage(
        "the score with sigma in place of its square",
        "predictions.py",
        "sigma**2 / alpha",
        "sigma / alpha",
        ("denoiser",),
    ),
    Breakage(
        "EDM's c_in lacks alpha",
        "predictions.py",
        "variance = sigma**2 + (alpha * sigma_data) ** 2",
        "variance = sigma**2 + sigma_data**2",
        ("denoiser",),
    ),
    Breakage(
        "the training target's noise has the wrong sign",
        "predictions.py",
        "-self.c_skip * sigma / self.c_out",
        "self.c_skip * sigma / self.c_out",
        ("denoiser", "objective"),
    ),
    Breakage(
        "x is not rescaled to the network's path",
        "denoiser.py",
        "return c_skip * scale, c_out, c_in * scale",
        "return c_skip, c_out, c_in",
        ("denoiser",),
    ),
    Breakage(
        "a Gaussian's gain lacks alpha",
        "exact.py",
        "gain = level.alpha * self.variances.to(about) / variance",
        "gain = self.variances.to(about) / variance",
        ("exact",),
    ),
    Breakage(
        "a mixture forgets its weights",
        "exact.py",
        "return self.log_weights.to(about) - 0.5 * quadratic",
        "return -0.5 * quadratic",
        ("exact",),
    ),
    Breakage(
        "a finite set's distances lack a half",
        "exact.py",
        "0.5 * level.alpha * (points**2).sum(1)",
        "level.alpha * (points**2).sum(1)",
        ("exact",),
    ),
    Breakage(
        "a finite set's pieces are added without fading",
        "exact.py",
        "mean = mean * fade + weights @ points",
        "mean = mean + weights @ points",
        ("exact",),
    ),
    Breakage(
        "a network in half precision is told the time so, too",
        "denoiser.py",
        "c_noise, dtype=fine,",
        "c_noise, dtype=shown.dtype,",
        ("denoiser",),
    ),
    Breakage(
        "a network is given the run's dtype",
        "denoiser.py",
        'shown = shown.to(mode.dtype)',
        'pass',
        ("denoiser",),
    ),
    Breakage(
        "a condition stays in its dtype",
        "denoiser.py",
        "value.to(mode.dtype) if value.is_floating_point() else value",
        "value",
        ("denoiser",),
    ),
    Breakage(
        "a network stays in training mode",
        "modules.py",
        "        module.training = False\n",
        "        pass\n",
        ("denoiser",),
    ),
    Breakage(
        "frozen modules come back in training mode",
        "modules.py",
        "for part in module.modules() if part.training",
        "for part in module.modules()",
        ("denoiser",),
    ),
    Breakage(
        "an error leaves a network in evaluation mode",
        "modules.py",
        "    try:\n        yield\n    finally:\n        for module in training:\n            module.training = True\n",
        "    yield\n    for module in training:\n        module.training = True\n",
        ("denoiser",),
    ),
    Breakage(
        "a function around a module is not looked through",
        "modules.py",
        "yield from (cell.cell_contents for cell in cells if _is_filled(cell))",
        "pass",
        ("denoiser",),
    ),
    Breakage(
        "modules that disagree have the first one's dtype",
        "modules.py",
        'if len(set(dtypes)) == 1 else None',
        'if dtypes else None',
        ("denoiser",),
    ),
    Breakage(
        "a label out of range ends in torch's error",
        "modules.py",
        'if least < 0 or most >= count:',
        'if least < 0:',
        ("denoiser",),
    ),
    Breakage(
        "a null may have two rows",
        "conditions.py",
        "not isinstance(given, Condition) or given.batch != 1",
        "not isinstance(given, Condition)",
        ("denoiser",),
    ),
    Breakage(
        "an alias of a prediction is kept as it is",
        "predictions.py",
        "    return aliases[name]\n",
        "    return name\n",
        ("denoiser",),
    ),
)
