"""Attention of each row's newest token to its own text in a cache of slots, by a kernel for GPUs.

The attention functions of torch read all rows to the end of the longest text. The kernel reads each row to its own end.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from pqm.models.architecture import layer_windows, text_config
from pqm.models.sampling.slot_cache import Place
from pqm.models.tree_attention import takes_attention

NAME = "slots"
LEAST = 16  # rows and columns of a matrix product in the kernel


def takes_slots(model: PreTrainedModel) -> bool:
    """Whether the kernel computes a model's attention: plain, to all earlier tokens, with heads of a size that it can read."""
    config = text_config(model)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    plain = config._attn_implementation == "sdpa" and set(layer_windows(model).values()) == {None}
    plain = plain and not hasattr(config, "kv_lora_rank")  # latent attention has keys and values of other sizes
    return find_spec("triton") is not None and takes_attention(model) and plain and size >= LEAST and size & (size - 1) == 0


@contextmanager
def slot_attention(model: PreTrainedModel, place: Place) -> Iterator[None]:
    """Let a model read the slots of a cache with the kernel."""
    from pqm.models.sampling.slot_kernel import attend

    def attention(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: None, scaling: float, **options: Any
    ) -> tuple[Tensor, None]:
        return attend(query.squeeze(2), key, value, place.positions, scaling).unsqueeze(1), None

    AttentionInterface.register(NAME, attention)
    config = text_config(model)
    own, model.config._attn_implementation = config._attn_implementation, NAME
    try:
        yield
    finally:
        model.config._attn_implementation = own
