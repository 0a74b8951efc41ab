"""Which models can be read, how far their layers look back, and their attention masks.

A layer attends to all earlier tokens, or only to the nearest ones (a sliding window). Models with other layers are refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.cache_utils import get_layer_types_and_kwargs

from pqm.errors import PqmError

FULL, SLIDING = "full_attention", "sliding_attention"
NARROW = 3  # tokens
CLASSES = {
    AutoModelForTokenClassification: (MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING, "token classifier"),
    AutoModelForCausalLM: (MODEL_FOR_CAUSAL_LM_MAPPING, "causal language model"),
}
# What models raise if they cannot be read in a tree or a batch.
FAILURES = (TypeError, ValueError, RuntimeError, AttributeError, LookupError, AssertionError)


def text_config(model: PreTrainedModel) -> PreTrainedConfig:
    """The config of the layers that read text; in a model for text and images it is a part of the whole config."""
    return model.config.get_text_config(decoder=True)


def refusal(model: PreTrainedModel, folder: Path, why: str) -> PqmError:
    """The error for a model of a kind that cannot be read right."""
    return PqmError(
        f"{folder}: a model of type {model.config.model_type!r} cannot be read here, because {why}; expected a causal transformer"
        " such as Llama, Qwen, Mistral or Gemma, or, for a policy, a server that runs the model"
    )


def reason(error: Exception) -> str:
    """The beginning of an error's message, for a sentence."""
    return " ".join(str(error).split())[:100] or type(error).__name__


def expect_class(kind: Any, config: PreTrainedConfig, folder: Path) -> None:
    """Check that `transformers` has a model of this kind for a config.

    Args:
        kind: a key of `CLASSES`.

    Raises:
        PqmError: it has none.
    """
    classes, name = CLASSES[kind]
    if type(config) not in classes:
        raise PqmError(
            f"{folder}: `transformers` has no {name} of type {config.model_type!r}; expected e.g. a Llama or Qwen model"
        )


def expect_attention(model: PreTrainedModel, folder: Path) -> None:
    """Check that all layers of a model attend to all earlier tokens, or to a window that the config contains.

    Raises:
        PqmError: a layer attends to other tokens, or is recurrent.
    """
    kinds = {*layer_windows(model), *getattr(text_config(model), "attention_layers", ())}  # GPT-Neo has its own names
    if others := kinds - {FULL, SLIDING, "global"}:
        raise refusal(model, folder, f"it has {min(others)!r} layers")


def layer_windows(model: PreTrainedModel) -> dict[str, int | None]:
    """The window of each kind of layer in tokens, with the current token; None if it attends to all earlier tokens."""
    kinds, options = get_layer_types_and_kwargs(text_config(model))
    each = [options] * len(kinds) if isinstance(options, dict) else options  # transformers 5.17 has one for all layers
    return {kind: one.get("sliding_window") if kind == SLIDING else None for kind, one in zip(kinds, each)}


def masks_by_layer(windows: dict[str, int | None], mask: Tensor, queries: Tensor, keys: Tensor) -> Tensor | dict[str, Tensor]:
    """Narrow a mask to the windows of a model: one mask, or one for each kind of layer if there are several.

    Args:
        windows: see `layer_windows`.
        mask: additive mask of what may be seen at all, shape [rows, 1, queries, keys].
        queries, keys: positions of the tokens, shapes [rows or 1, queries] and [rows or 1, keys].
    """
    masks = {}
    for kind, window in windows.items():
        masks[kind] = mask
        if window is not None:
            distant = queries[:, None, :, None] - keys[:, None, None, :] >= window
            masks[kind] = mask.masked_fill(distant, torch.finfo(mask.dtype).min)
    return masks if len(masks) > 1 else next(iter(masks.values()))


@contextmanager
def narrow_windows(model: PreTrainedModel) -> Iterator[None]:
    """Set sliding windows to a few tokens, so that a short text is longer than they are."""
    config = text_config(model)
    window = layer_windows(model).get(SLIDING)
    if window is None:
        yield
        return
    config.sliding_window = NARROW
    try:
        yield
    finally:
        config.sliding_window = window


def rope_type(model: PreTrainedModel) -> str:
    """The kind of rotary positions, such as `default` or `longrope`."""
    return str((getattr(text_config(model), "rope_parameters", None) or {}).get("rope_type", "default"))


def position_limit(model: PreTrainedModel) -> int | None:
    """The most tokens that a model can read; None if it has no limit.

    Models with `longrope` have other positions in texts of more than `original_max_position_embeddings` tokens, also for the
    tokens before that length. A cached beginning would not fit to such a text, so that length is their limit.
    """
    config = text_config(model)
    limit: int | None = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope_type(model) == "longrope":
        limit = rope.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", limit)
    return limit if limit is not None and limit > 0 else None
