"""Breakages of what networks are told, and of the transformer."""

from __future__ import annotations

from .breakage import Breakage

__all__ = ["BREAKAGES"]

BREAKAGES = (
    Breakage("a text's padding is heard", "nn/attend.py", "tokens != 0", "tokens != -1", ("nn_told",)),
    Breakage("attention forgets its mask", "nn/attend.py", "attn_mask=seen", "attn_mask=None", ("nn_told",)),
    Breakage("words have no places", "nn/attend.py", "dim=1) + self.places", "dim=1) + self.places[:1]", ("nn_told",)),
    Breakage(
        "a number that is not said makes all NaN",
        "nn/told.py",
        "v = value.nan_to_num(0.0)",
        "v = value",
        ("nn_told",),
    ),
    Breakage(
        "features behind the end of a text are averaged in",
        "nn/told.py",
        "share = known.to(x.dtype)",
        "share = torch.ones_like(known).to(x.dtype)",
        ("nn_told",),
    ),
    Breakage(
        "a pixel known in one colour counts as known",
        "nn/told.py",
        "~value.isnan().any(1, keepdim=True)",
        "~value.isnan().all(1, keepdim=True)",
        ("nn_told",),
    ),
    Breakage(
        "the second part's vector replaces the first's",
        "nn/told.py",
        "else vector + heard.vector\n            if",
        "else heard.vector\n            if",
        ("nn_told",),
    ),
    Breakage(
        "scale and shift change places",
        "nn/dit.py",
        "shift_a, scale_a, gate_a, shift_f",
        "scale_a, shift_a, gate_a, shift_f",
        ("dit",),
    ),
    Breakage("the gate is left out", "nn/dit.py", "x + gate_f * self", "x + self", ("dit",)),
    Breakage(
        "the picture's tokens are looked for where the text's are",
        "nn/dit.py",
        "tokens[:, -rows * columns :]",
        "tokens[:, : rows * columns]",
        ("dit",),
    ),
    Breakage("rows and columns change places", "nn/dit.py", "torch.cat([across, down]", "torch.cat([down, across]", ("dit",)),
    Breakage("padding of texts in context is heard", "nn/dit.py", "F.pad(heard.mask, ", "F.pad(heard.mask | True, ", ("dit",)),
    Breakage("a DiT says no kind", "nn/dit_config.py", '{"kind": "dit", **asdict(self)}', "asdict(self)", ("dit",)),
    Breakage(
        "a text is taken for the first one of the run",
        "nn/told.py",
        "return a is b or (",
        "return True or (",
        ("nn_told",),
    ),
    Breakage(
        "a text is read at each call",
        "nn/told.py",
        "            if value is not None and not (part.name in kept and _same(kept[part.name][0], value)):",
        "            if value is not None:",
        ("nn_told",),
    ),
    Breakage(
        "attention does not know where a place is",
        "nn/blocks.py",
        "    return places if where is None or at is None else places + where(at.flatten(2).mT)",
        "    return places",
        ("nn_told",),
    ),
    Breakage(
        "the waves of height and width are one",
        "nn/blocks.py",
        "across[:, None, :].expand(-1, height, -1)",
        "down[:, :, None].expand(-1, -1, width)",
        ("nn",),
    ),
)
