"""Breakages of what a model is asked for."""

from __future__ import annotations

from .breakage import Breakage

__all__ = ["BREAKAGES"]

BREAKAGES = (
    Breakage("a word has its neighbour's number", "asking/tokens.py", "{word: i + 1 for", "{word: i for", ("asking",)),
    Breakage(
        "bytes and nothing are the same",
        "asking/tokens.py",
        "[byte + 1 for byte in _utf8(text)]",
        "[byte for byte in text.encode()]",
        ("asking",),
    ),
    Breakage(
        "a number is told in its own units",
        "asking/entries.py",
        "(self._number(value) - self.mean) / self.deviation",
        "self._number(value) - self.mean",
        ("asking",),
    ),
    Breakage(
        "nothing said is the last class",
        "asking/entries.py",
        "            return len(self.names)\n",
        "            return len(self.names) - 1\n",
        ("asking",),
    ),
    Breakage(
        "conditions are hidden together alone",
        "training/objective.py",
        'noise.key(seed, step, "drop", name)',
        'noise.key(seed, step, "drop")',
        ("asking",),
    ),
    Breakage(
        "a prompt is drawn for the next picture",
        "cli/labels.py",
        "prompts[i % len(prompts)]",
        "prompts[(i + 1) % len(prompts)]",
        ("asking",),
    ),
    Breakage(
        "rows said by name end in an error of torch's",
        "conditions.py",
        "except (TypeError, ValueError, RuntimeError):\n            index",
        "except RuntimeError:\n            index",
        ("hostile_asking",),
    ),
    Breakage(
        "an infinite number reaches the network",
        "nn/parts.py",
        "bool(value.isinf().any())",
        "bool(value.isnan().all())",
        ("hostile_asking",),
    ),
    Breakage(
        "the known part is the unknown one",
        "asking/pictured.py",
        "torch.where(kind < 0.5, ~inside, torch",
        "torch.where(kind < 0.5, inside, torch",
        ("asking_pictured",),
    ),
    Breakage(
        "the same part is known in every step",
        "asking/pictured.py",
        "noise.key(seed, step, self.name, k)",
        "noise.key(seed, self.name, k)",
        ("asking_pictured",),
    ),
    Breakage(
        "what is transparent is known",
        "cli/labels.py",
        "(1, *shape[1:])) > 0",
        "(1, *shape[1:])) > -2",
        ("asking_pictured",),
    ),
    Breakage(
        "texts of a length have each other's vectors",
        "asking/encoder.py",
        "[numbers[i] for i in rows]",
        "[numbers[i] for i in rows[::-1]]",
        ("asking_encoder",),
    ),
    Breakage(
        "a cut text is not told what it lost",
        "asking/encoder.py",
        "text[max((end for _, end in",
        "text[max((start for start, _ in",
        ("asking_encoder",),
    ),
    Breakage(
        "an encoder's last weights do not matter",
        "asking/encoder_folder.py",
        "file.seek(size - _MIB)",
        "file.seek(_MIB // 2)",
        ("asking_encoder",),
    ),
    Breakage(
        "any encoder of that width will do",
        "asking/encoded.py",
        "if encoder.fingerprint != self.fingerprint",
        "if encoder.width != self.width",
        ("asking_encoder",),
    ),
    Breakage(
        "prompts of an encoder are cut in silence",
        "asking/encoded.py",
        "if count > self.length:",
        "if count > 2 * self.length:",
        ("asking_encoder",),
    ),
    Breakage(
        "kept captions are looked up in another order",
        "asking/kept.py",
        "{captions[number]: i for",
        "{captions[i]: i for",
        ("asking_encoder",),
    ),
    Breakage(
        "what is kept damaged is taken for whole",
        "asking/kept.py",
        "        verify(folder)\n",
        "        folder.stat()\n",
        ("asking_encoder",),
    ),
    Breakage(
        "what one encoder made is taken for another's",
        "asking/kept.py",
        '["features 1", entry.fingerprint,',
        '["features 1", "",',
        ("asking_encoder",),
    ),
    Breakage(
        "captions are encoded again for each trainer",
        "training/trainer.py",
        "self.vocabulary.table(data) if said is None else said",
        "self.vocabulary.table(data)",
        ("asking_encoder",),
    ),
)
