"""Heads that a language model needs to detect errors: a token head and a step head."""

from pathlib import Path

from safetensors.torch import load_file
from torch import nn

HEADS = "error_detection_heads.safetensors"


class ErrorDetectionHeads(nn.Module):
    """Two linear heads, each with one logit per position.

    Attributes:
        token: whether the token is right given the text before it.
        step: at the end of a step, whether all steps so far are right.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.token = nn.Linear(hidden_size, 1, bias=False)
        self.step = nn.Linear(hidden_size, 1, bias=False)


def load_heads(snapshot: Path, hidden_size: int) -> ErrorDetectionHeads:
    """Load the heads of a snapshot."""
    heads = ErrorDetectionHeads(hidden_size)
    heads.load_state_dict(load_file(snapshot / HEADS))
    return heads
