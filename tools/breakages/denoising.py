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
        "dtype=x.dtype if x.dtype.itemsize >= 4 else torch.float32",
        "dtype=shown.dtype",
        ("denoiser",),
    ),
)
