"""Breakages of the noise process: levels, tables, schedules, noise, times, embedding."""

from __future__ import annotations

from .breakage import Breakage

__all__ = ["BREAKAGES"]

BREAKAGES = (
    Breakage(
        "log-SNR is half of what it is",
        "levels.py",
        "return 2.0 * self.half_log_snr",
        "return self.half_log_snr",
        ("levels",),
    ),
    Breakage(
        "linear betas stop one step short",
        "tables.py",
        "step = (last - first) / max(count - 1, 1)",
        "step = (last - first) / max(count, 1)",
        ("tables",),
    ),
    Breakage(
        "cosine betas take a neighbour's sine",
        "tables.py",
        "sines[1] * sines[2 * k - 1]",
        "sines[1] * sines[2 * k]",
        ("tables",),
    ),
    Breakage(
        "sigmoid betas start at -5", "tables.py", "fade = Decimal(6).exp()", "fade = Decimal(5).exp()", ("tables",)
    ),
    Breakage(
        "the posterior looks at its own step's noise",
        "tables.py",
        "noise_prev = [Decimal(0), *noise[:-1]]",
        "noise_prev = noise",
        ("tables",),
    ),
    Breakage(
        "zero terminal SNR forgets a square",
        "tables.py",
        "abar = [((r - roots[-1]) * stretch) ** 2 for r in roots]",
        "abar = [(r - roots[-1]) * stretch for r in roots]",
        ("tables",),
    ),
    Breakage(
        "VP's integral of beta lacks its half",
        "schedules/continuous.py",
        "return t * (self.beta_min + 0.5 * (self.beta_max",
        "return t * (self.beta_min + (self.beta_max",
        ("schedules",),
    ),
    Breakage(
        "VP's d sigma / dt with alpha in place of its square",
        "schedules/continuous.py",
        "0.5 * beta * alpha**2 / sigma",
        "0.5 * beta * alpha / sigma",
        ("schedules",),
    ),
    Breakage(
        "the cosine path's alpha rises",
        "schedules/continuous.py",
        "return -math.pi / 2 * sigma, math.pi",
        "return math.pi / 2 * sigma, math.pi",
        ("schedules",),
    ),
    Breakage(
        "Laplace's halves are swapped",
        "schedules/continuous.py",
        "torch.where(t < 0.5, depth, -depth)",
        "torch.where(t < 0.5, -depth, depth)",
        ("schedules",),
    ),
    Breakage(
        "a shift takes noise away",
        "schedules/shifted.py",
        "self.base.log_snr(t) - 2 * math.log(self.factor)",
        "self.base.log_snr(t) + 2 * math.log(self.factor)",
        ("schedules",),
    ),
    Breakage(
        "a cut table begins one entry early",
        "schedules/table.py",
        "torch.arange(1, num_timesteps + 1, dtype",
        "torch.arange(0, num_timesteps, dtype",
        ("schedules",),
    ),
    Breakage(
        "a table's inverse counts from the wrong neighbour",
        "schedules/table.py",
        "t = left + (falling[left] - log_snr)",
        "t = right + (falling[left] - log_snr)",
        ("schedules",),
    ),
    Breakage(
        "sub-VP's velocity lacks a factor 2",
        "scalings.py",
        "2 * alpha / (1 + alpha**2)",
        "alpha / (1 + alpha**2)",
        ("denoiser", "schedules"),
    ),
    Breakage(
        "every picture gets picture 0's noise",
        "noise.py",
        "generator.manual_seed(_stream(key, index))",
        "generator.manual_seed(_stream(key, 0))",
        ("noise",),
    ),
    Breakage(
        "the stages of a step share their noise",
        "noise.py",
        'key(self.seed, "run", *place)',
        'key(self.seed, "run", place[0])',
        ("noise", "sampling"),
    ),
    Breakage(
        "stratified times forget their slice",
        "times.py",
        "(places + uniform(key, indices)) / total",
        "uniform(key, indices)",
        ("times",),
    ),
    Breakage(
        "importance weights lack 1 / T",
        "times.py",
        "1.0 / (count * torch.tensor(p, dtype=torch.float64)[t])",
        "1.0 / torch.tensor(p, dtype=torch.float64)[t]",
        ("times",),
    ),
    Breakage(
        "log-normal times turn the axis round",
        "times.py",
        "(-0.5 * schedule.log_snr(ends) - self.mean)",
        "(0.5 * schedule.log_snr(ends) - self.mean)",
        ("times",),
    ),
    Breakage(
        "cosines come before sines",
        "embedding.py",
        "features = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)\n    if dim",
        "features = torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)\n    if dim",
        ("embedding",),
    ),
    Breakage(
        "the embedding's exponent is off by one",
        "embedding.py",
        "steps = half - downscale_freq_shift",
        "steps = half",
        ("embedding",),
    ),
    Breakage(
        "v's sign",
        "discrete.py",
        "tuple(-s for s in k.sqrt_one_minus",
        "tuple(s for s in k.sqrt_one_minus",
        ("discrete",),
    ),
    Breakage(
        "the reverse step divides by alpha, not by its root",
        "discrete.py",
        "-b / (s * a**0.5)",
        "-b / (s * a)",
        ("discrete",),
    ),
    Breakage(
        "large variance adds noise at the last step",
        "discrete.py",
        "(0.0, *(math.sqrt(b) for b in k.betas[1:]))",
        "tuple(math.sqrt(b) for b in k.betas)",
        ("discrete",),
    ),
    Breakage(
        "t = -1 wraps to the last step",
        "discrete.py",
        "return table.index_select(1, at)",
        "return table[:, at]",
        ("discrete",),
    ),
)
