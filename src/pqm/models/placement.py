"""The device and the precision of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pqm.arithmetic import pinned

if TYPE_CHECKING:
    from pqm.study.settings import Precision


def use_threads(threads: int) -> None:
    """Set the number of threads of this process. With pinned arithmetic, attention is computed by plain matrix products."""
    torch.set_num_threads(threads)
    if pinned():
        torch.backends.cuda.enable_flash_sdp(False)  # also of the CPU's attention; its bytes differ between processors


def place(model: PreTrainedModel) -> PreTrainedModel:
    """Move a model to the GPU, if there is one, and switch it to inference."""
    cast(nn.Module, model).to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return model.eval()


def convert(model: PreTrainedModel, precision: Precision) -> None:
    """Convert the weights of a model, for inference. Its buffers stay, because rotary frequencies need their precision."""
    if precision == "bf16":
        for weight in model.parameters():
            weight.data = weight.data.to(torch.bfloat16)


def lower_states(model: PreTrainedModel) -> None:
    """Let the states between a model's layers have the precision of `autocast`, where it is on.

    Embeddings are looked up in float32. A sum of float32 and bfloat16 is float32, so without this all states would be, and half of
    the time of a training on a GPU would be conversions.
    """

    def lower(module: nn.Module, arguments: object, states: Tensor) -> Tensor:
        kind = states.device.type
        return states.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else states

    cast(nn.Module, model.get_input_embeddings()).register_forward_hook(lower)


def mixed(model: PreTrainedModel, precision: Precision) -> torch.autocast:
    """Let a model compute in a precision, for training; its weights stay in float32."""
    return torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16")
