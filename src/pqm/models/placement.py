"""The device of a model."""

import torch
from torch import nn
from transformers import PreTrainedModel


def place(model: PreTrainedModel) -> PreTrainedModel:
    """Move a model to the GPU, if there is one, and switch it to inference."""
    module: nn.Module = model
    module.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return model.eval()
