"""A check that a model reads trees of tokens right: a small example, compared with a plain forward pass."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pqm.models.architecture import FAILURES, narrow_windows, reason, refusal, text_config
from pqm.models.encoded import Encoded
from pqm.models.prefix_trees import build_prefix_trees, read_rows

PROMPT = (7, 8, 9, 10)
SOLUTIONS = ((11, 12, 13, 14, 15), (11, 12, 16, 17), (18, 19))
# Of the length of a vector. A model that ignores positions or masks is wrong by much more, and rounding by much less.
TOLERANCE = 1e-3


@torch.inference_mode()
def expect_trees_read_right(model: PreTrainedModel, folder: Path, outputs: Callable[[PreTrainedModel, Tensor], Tensor]) -> None:
    """Check that a tree of tokens gives the same as each solution alone, also beyond sliding windows.

    Args:
        outputs: the model's outputs, computed from hidden states.

    Raises:
        PqmError: it does not, for example because the model is not causal or ignores masks or positions.
    """
    size = text_config(model).vocab_size
    texts = [tuple(token % size for token in PROMPT + solution) for solution in SOLUTIONS]
    trees = build_prefix_trees([([Encoded(text, (len(text) - 1,)) for text in texts], len(PROMPT))], budget=100)
    try:
        with narrow_windows(model):
            alone = {text: _plain(model, text) for text in texts}
            right = all(_near(outputs(model, hidden), logits) for hidden, logits in alone.values()) and all(
                _near(hidden[path][places], alone[solution.tokens][0][places])
                for ends_only, places in ((False, slice(None)), (True, slice(-1, None)))
                for row, hidden in read_rows(model, trees, ends_only)
                for solution, path in row.trees[0].paths.items()
            )
    except torch.OutOfMemoryError:
        raise
    except FAILURES as error:
        raise refusal(model, folder, f"it does not read a tree of tokens ({reason(error)})") from None
    if not right:
        raise refusal(model, folder, "its results for a tree of tokens are not those of a plain forward pass")


def _plain(model: PreTrainedModel, text: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The last hidden states and the outputs of a text read alone, shapes [tokens, hidden] and [tokens, outputs]."""
    tokens = torch.tensor([text], device=model.device)
    hidden = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state[0]
    return hidden, model(input_ids=tokens, use_cache=False).logits[0]


def _near(found: Tensor, expected: Tensor) -> bool:
    return bool(((found - expected).norm(dim=-1) <= TOLERANCE * (expected.norm(dim=-1) + 1e-6)).all())
