"""Breakages of training, checkpoints and networks."""

from __future__ import annotations

from .breakage import Breakage

__all__ = ["BREAKAGES"]

BREAKAGES = (
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
        "\"drop\"), samples) < self.drop",
        "\"drop\"), samples) > self.drop",
        ("objective",),
    ),
    Breakage(
        "the linear part forgets the colours on the way back",
        "nn/linear.py",
        '"dc,bdhw->bchw", colours',
        '"cd,bdhw->bchw", colours',
        ("nn_linear",),
    ),
    Breakage(
        "what is left to the network is in units of the data",
        "nn/linear.py",
        "torch.sqrt(left * (1.0 + s * s))",
        "torch.sqrt(left * s * s)",
        ("nn_linear",),
    ),
    Breakage(
        "the linear part is EDM's start once more",
        "nn/linear.py",
        "(power - 1.0) * s * share",
        "power * s * share",
        ("nn_linear",),
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
        "training/optimizer.py",
        'part.load_state_dict({"state": own,',
        'part.load_state_dict({"state": {},',
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
        "unfolded + seen, wide, 3, padding=1",
        "unfolded + seen, wide, 1, padding=0",
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
        "-(-config.batch_size // ((config.accumulate or 1) * processes))",
        "config.batch_size",
        ("plan",),
    ),
    Breakage(
        "attention in half precision, like all else",
        "training/precision.py",
        "if func is not F.scaled_dot_product_attention:",
        "if func is not None:",
        ("precision",),
    ),
    Breakage(
        "a batch is cut into parts as if each process had all of it",
        "training/plan.py",
        "count, own = 1, batch_size // processes",
        "count, own = 1, batch_size",
        ("plan",),
    ),
    Breakage(
        "the U-Net's modulation scales by s, not 1 + s",
        "nn/blocks.py",
        "torch.addcmul(shift, self.norm(x), 1.0 + scale)",
        "torch.addcmul(shift, self.norm(x), scale)",
        ("nn",),
    ),
    Breakage(
        "Muon's matrices are the network's no more",
        "training/optimizer.py",
        "nn.Parameter(p.detach().view(len(p), -1))",
        "nn.Parameter(p.detach().view(len(p), -1).clone())",
        ("optimizer",),
    ),
    Breakage(
        "Muon's state is lost when a run goes on",
        "training/optimizer.py",
        "own = {index - first: slots[index]",
        "own = {index: slots[index]",
        ("optimizer",),
    ),
    Breakage(
        "Muon's step is as long as without Adam's measure",
        "training/optimizer.py",
        'adjust_lr_fn="match_rms_adamw"',
        'adjust_lr_fn="original"',
        ("optimizer",),
    ),
)
