"""Text encoders for tests: one made up in a few lines, and tiny T5 and CLIP folders with weights drawn at random."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from noisepath.asking.tokens import words_of

WORDS = ["a", "red", "blue", "green", "circle", "square", "and", "tiny", "big"]


class Letters:
    """A token for each word and one for the end; its vector is the word's first letter, its length and its place."""

    name, fingerprint, width, length = "the letters", "abc", 3, 20

    def __init__(self) -> None:
        self.asked: list[str] = []

    def tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(words_of(text)) + 1 for text in texts]

    def left(self, text: str, length: int) -> str:
        return " ".join(words_of(text)[length - 1 :])

    def encode(self, texts: Sequence[str], length: int | None = None) -> Tensor:
        length = self.length if length is None else length
        self.asked += texts
        found = torch.full((len(texts), length, 3), torch.nan)
        for i, text in enumerate(texts):
            words = [*words_of(text)[: length - 1], "."]
            found[i, : len(words)] = torch.tensor([[ord(word[0]) / 97, len(word) / 3, k] for k, word in enumerate(words)])
        return found


def t5_folder(folder: Path, whole: bool = False, seed: int = 0) -> Path:
    """A T5 of two layers; ``whole``: with its decoder too."""
    from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration, T5Tokenizer

    pieces = [*(("▁" + word, -3.0) for word in WORDS), ("▁", -6.0), *((chr(97 + i), -6.0) for i in range(26))]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *pieces]
    T5Tokenizer(vocab=vocabulary, extra_ids=0).save_pretrained(folder)
    config = T5Config(vocab_size=len(vocabulary), d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=2)
    torch.manual_seed(seed)
    (T5ForConditionalGeneration if whole else T5EncoderModel)(config).save_pretrained(folder)
    return folder


def clip_folder(folder: Path) -> Path:
    """A whole CLIP, of pictures and texts."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    pieces = [chr(97 + i) for i in range(26)]
    pieces += [piece + "</w>" for piece in pieces] + ["re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    CLIPTokenizer(vocab=vocabulary, merges=[("r", "e"), ("re", "d</w>")], model_max_length=77).save_pretrained(folder)
    sizes = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "projection_dim": 8}
    ends = {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"]}
    text = {**sizes, **ends, "vocab_size": len(vocabulary), "num_hidden_layers": 2}
    torch.manual_seed(1)
    config = CLIPConfig(text_config=text, vision_config={**sizes, "image_size": 16, "patch_size": 8}, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    return folder


def empty_shell(folder: Path, **config: object) -> Path:
    """A folder that looks like an encoder's from outside."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "t5", "d_model": 16, **config}))
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    return folder
