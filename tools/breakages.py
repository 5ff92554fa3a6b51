"""The breakages that ``make mutants`` applies, one at a time: what is changed where, and which tests must notice.

Each is a mistake that a person makes and a look at shapes does not find: a sign, a factor, a neighbour's index, a swapped
pair, a dropped term.  ``old`` must stand in the file exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BREAKAGES", "Breakage"]


@dataclass(frozen=True)
class Breakage:
    """In ``file`` (below the package) ``old`` becomes ``new``; one of ``tests`` (names of test files) turns red."""

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


BREAKAGES = (
    # levels and tables
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
    # schedules
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
    # noise, times, embedding
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
    # the discrete process
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
    # predictions, denoiser, guidance
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
        "guidance goes the other way",
        "guidance.py",
        "torch.lerp(untold, told, scale)",
        "torch.lerp(told, untold, scale)",
        ("guidance",),
    ),
    Breakage(
        "guidance takes its halves for each other",
        "guidance.py",
        "Condition.cat([condition, null.to(x.device).expand(len(x))])",
        "Condition.cat([null.to(x.device).expand(len(x)), condition])",
        ("guidance",),
    ),
    # truth
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
    # tableau and loop
    Breakage(
        "the weights of an integrator forget q",
        "tableau.py",
        "moments = _moments(q * (b - a), len(finite))",
        "moments = _moments(b - a, len(finite))",
        ("tableau", "solvers"),
    ),
    Breakage(
        "a moment's recursion is off by one",
        "tableau.py",
        "moments.append(1.0 - k / H * moments[-1])",
        "moments.append(1.0 - (k + 1) / H * moments[-1])",
        ("tableau",),
    ),
    Breakage(
        "the noise estimate's sign",
        "tableau.py",
        "(self.x - self.level.alpha * self.D) / self.level.sigma",
        "(self.x + self.level.alpha * self.D) / self.level.sigma",
        ("tableau",),
    ),
    Breakage(
        "a step's ratio is turned round",
        "tableau.py",
        "return (t.alpha * s.sigma) / (s.alpha * t.sigma)",
        "return (s.alpha * t.sigma) / (t.alpha * s.sigma)",
        ("tableau", "solvers"),
    ),
    Breakage(
        "a state is overwritten while it is still wanted",
        "loop.py",
        "dying = [k for k in states if last_state[k] == n]",
        "dying = list(states)",
        ("loop",),
    ),
    Breakage(
        "a draw is made anew at each use",
        "loop.py",
        "if not last:\n            self._kept",
        "if last:\n            self._kept",
        ("loop",),
    ),
    Breakage(
        "an output's weight is dropped",
        "loop.py",
        "x.add_(outputs[k], alpha=weight)",
        "x.add_(outputs[k])",
        ("loop", "solvers"),
    ),
    # solvers, spacing, sampling
    Breakage(
        "DDIM with eta keeps too much of x",
        "solvers/ddim.py",
        "(s.alpha * (1.0 - r * k)) * p.D",
        "(s.alpha * (1.0 - r)) * p.D",
        ("solvers",),
    ),
    Breakage(
        "DDPM's mean is DDIM's",
        "solvers/ddim.py",
        "(s.alpha * (1.0 - r * r)) * p.D",
        "(s.alpha * (1.0 - r)) * p.D",
        ("solvers",),
    ),
    Breakage(
        "DDPM's small and large variance are swapped",
        "solvers/ddim.py",
        '{"small": 0.0, "large": 1.0}',
        '{"small": 1.0, "large": 0.0}',
        ("solvers",),
    ),
    Breakage(
        "Heun corrects twice as much",
        "solvers/heun.py",
        "(1.0 - share) * s.alpha / 2.0 * (1.0 / r - 1.0)",
        "(1.0 - share) * s.alpha * (1.0 / r - 1.0)",
        ("solvers",),
    ),
    Breakage(
        "2M's ratio of steps is turned round",
        "solvers/multistep.py",
        "extra = h / (2.0 * h_before)",
        "extra = h_before / (2.0 * h)",
        ("solvers",),
    ),
    Breakage(
        "Adams' fresh noise is too much",
        "solvers/multistep.py",
        "math.sqrt((1.0 - kept) * (1.0 + kept))",
        "math.sqrt(1.0 - kept)",
        ("solvers",),
    ),
    Breakage("Karras' levels with another exponent", "spacing.py", "RHO = 7.0", "RHO = 6.0", ("spacing",)),
    Breakage(
        "trailing is one timestep late",
        "spacing.py",
        "low + round(times - i * (times / steps)) - 1 for i",
        "low + round(times - i * (times / steps)) - 2 for i",
        ("spacing",),
    ),
    Breakage(
        "a run starts with unit noise whatever its level",
        "sampling.py",
        " * tableau[0].level.sigma",
        "",
        ("sampling",),
    ),
    Breakage(
        "a picture's noise depends on its batch",
        "sampling.py",
        "Keyed(seed, numbers[rows], shape[1:])",
        "Keyed(seed, numbers[: rows.stop - rows.start], shape[1:])",
        ("sampling",),
    ),
    # training and networks
    Breakage(
        "a weighting meets c_out, not its square",
        "training/objective.py",
        "log_weight + 2 * torch.log(c_out.abs())",
        "log_weight + torch.log(c_out.abs())",
        ("objective",),
    ),
    Breakage(
        "conditions are dropped where they should stay",
        "training/objective.py",
        "samples) < self.drop",
        "samples) > self.drop",
        ("objective",),
    ),
    Breakage(
        "min-SNR is a maximum", "training/weighting.py", "log_snr.clamp(max=", "log_snr.clamp(min=", ("objective",)
    ),
    Breakage(
        "the moving average's exponent is off by one",
        "training/ema.py",
        "(1 - 1 / n) ** (self.gamma + 1)",
        "(1 - 1 / n) ** self.gamma",
        ("training",),
    ),
    Breakage(
        "parts of a batch count as whole ones",
        "training/trainer.py",
        "(losses.weighted.sum() * (self.processes.count / total)).backward()",
        "losses.weighted.mean().backward()",
        ("training",),
    ),
    Breakage(
        "each process counts its own samples from 0",
        "training/trainer.py",
        "return [step * self.config.batch_size + place for place in self._places()]",
        "return [step * self.config.batch_size + place for place in range(len(self._places()))]",
        ("processes",),
    ),
    Breakage(
        "a step without a finite gradient is made all the same",
        "training/trainer.py",
        "        if finite:\n            self.optimizer.step()",
        "        if True:\n            self.optimizer.step()",
        ("training",),
    ),
    Breakage(
        "a resumed run forgets the losses since the last line of its log",
        "training/loop.py",
        'float(loss) for loss in kept.get("losses", [])',
        'float(loss) for loss in kept.get("lossess", [])',
        ("faults",),
    ),
    Breakage(
        "lines of steps that are made again stay in the log",
        "training/loop.py",
        'json.loads(line)["step"] <= done',
        'json.loads(line)["step"] <= done + 3',
        ("faults",),
    ),
    Breakage(
        "the optimizer starts afresh when a run goes on",
        "training/trainer.py",
        'self.optimizer.load_state_dict({"state": slots,',
        'self.optimizer.load_state_dict({"state": {},',
        ("training",),
    ),
    Breakage(
        "a damaged checkpoint is taken for whole",
        "files.py",
        "if _sha256(file) != digest:",
        "if len(_sha256(file)) != len(digest):",
        ("files", "checkpoint"),
    ),
    Breakage(
        "a checkpoint appears before its files are on disk",
        "files.py",
        "        for file in files:\n            _sync(file)\n        manifest",
        "        manifest",
        ("files",),
    ),
    Breakage(
        "old checkpoints of every run are removed",
        "training/checkpoint.py",
        'json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["run"] == identity',
        'json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["run"] != ""',
        ("checkpoint",),
    ),
    Breakage(
        "the squares that are folded are not smoothed over",
        "nn/blocks.py",
        "unfolded + seen, outputs, 3, padding=1",
        "unfolded + seen, outputs, 1, padding=0",
        ("nn",),
    ),
    Breakage(
        "a whole number in a file of settings is no rate",
        "training/record.py",
        "isinstance(value, int | float) and not isinstance(value, bool)\n        return good",
        "isinstance(value, float) and not isinstance(value, bool)\n        return good",
        ("record",),
    ),
    Breakage(
        "memory is counted for the whole batch, whatever its parts",
        "training/plan.py",
        "-(-config.batch_size // (config.accumulate * processes))",
        "config.batch_size",
        ("plan",),
    ),
    Breakage(
        "a picture in place of a bad one depends on the try alone",
        "data/stream.py",
        'noise.key(seed, n, "instead", k) % len(data)',
        'noise.key(seed, "instead", k) % len(data)',
        ("data_stream",),
    ),
    Breakage(
        "half of the pictures are mirrored whatever the seed",
        "data/stream.py",
        'noise.uniform(noise.key(seed, "flip"), samples) < 0.5',
        'noise.uniform(noise.key(0, "flip"), samples) < 0.5',
        ("data_stream",),
    ),
    Breakage(
        "the U-Net's modulation scales by s, not 1 + s",
        "nn/blocks.py",
        "torch.addcmul(shift, self.norm_out(h), 1.0 + scale)",
        "torch.addcmul(shift, self.norm_out(h), scale)",
        ("nn",),
    ),
    Breakage(
        "Frechet distance with one overlap",
        "evaluation/distances.py",
        "- 2 * overlap)",
        "- overlap)",
        ("evaluation",),
    ),
    # pictures and the command line
    Breakage(
        "a grid is filled column by column",
        "plots.py",
        "gap + i // columns * (height + gap), gap + i % columns * (width + gap)",
        "gap + i % columns * (height + gap), gap + i // columns * (width + gap)",
        ("plots",),
    ),
    Breakage(
        "states are shown as they are, bright or dark with the path",
        "plots.py",
        "x / math.hypot(level.alpha, level.sigma)",
        "x / level.alpha",
        ("plots",),
    ),
    Breakage(
        "the smoothed loss forgets its newest line",
        "plots.py",
        "(sums[1:] - sums[first])",
        "(sums[:-1] - sums[first])",
        ("plots",),
    ),
    Breakage(
        "all pictures are of the first class asked for",
        "cli/commands.py",
        "wanted[i % len(wanted)]",
        "wanted[0]",
        ("cli",),
    ),
)
