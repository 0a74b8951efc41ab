"""The head of a reward model: one logit per step, or two for wrong and right."""

from typing import cast

from torch import Tensor, nn
from transformers import PreTrainedModel


def head_name(model: PreTrainedModel) -> str:
    """The name of the score head: `score` or `classifier`, the linear layer beside the model's body."""
    [name] = [name for name, layer in model.named_children() if isinstance(layer, nn.Linear)]
    return name


def head(model: PreTrainedModel) -> nn.Linear:
    """The score head."""
    return cast(nn.Linear, getattr(model, head_name(model)))


def step_logits(outputs: Tensor) -> Tensor:
    """The step logits of a head's outputs: the only logit, or the logit of right minus the logit of wrong.

    Args:
        outputs: shape [.., 1] or [.., 2]; the result has shape [..].
    """
    return outputs.squeeze(-1) if outputs.shape[-1] == 1 else outputs[..., 1] - outputs[..., 0]
