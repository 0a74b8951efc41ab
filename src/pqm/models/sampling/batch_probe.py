"""A check that a model samples right in batches: a few short samples, compared with a plain forward pass."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pqm.models.architecture import FAILURES, expect_attention, narrow_windows, reason, refusal
from pqm.models.sampling.batched import sample
from pqm.models.sampling.engine import Request, Sample
from pqm.models.tokenizing import token_ids

REQUESTS = [Request("long", "1 2 3 4 5", 2), Request("short", "1 2", 1)]
ROWS = 2  # fewer than samples, so that one takes the place of another


def expect_samples_right(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Check that the log likelihoods of samples are those of reading them alone, also beyond sliding windows.

    Raises:
        PqmError: they are not, for example because the model is not causal or ignores masks or positions.
    """
    expect_attention(model, folder)
    try:
        with narrow_windows(model):
            samples = sample(model, tokenizer, REQUESTS, temperature=1.0, max_new_tokens=4, seed=0, rows=ROWS)
            right = all(
                _is_likelihood(model, token_ids(tokenizer, request.prompt), one, tokenizer.eos_token_id)
                for request, group in zip(REQUESTS, samples)
                for one in group
            )
    except torch.OutOfMemoryError:
        raise
    except FAILURES as error:
        raise refusal(model, folder, f"it does not continue texts in batches ({reason(error)})") from None
    if not right:
        raise refusal(model, folder, "its results in a batch are not those of a plain forward pass")


@torch.inference_mode()
def _is_likelihood(model: PreTrainedModel, prompt: list[int], one: Sample, end: int) -> bool:
    written = [*one.tokens, *([end] if one.finish_reason == "stop" else [])]
    logits: Tensor = model(torch.tensor([prompt + written], device=model.device), use_cache=False).logits[0]
    gains = torch.log_softmax(logits[len(prompt) - 1 : -1].float(), dim=-1)
    expected = gains.gather(1, torch.tensor(written, device=gains.device).unsqueeze(1)).sum().item()
    tolerance = torch.finfo(model.dtype).eps ** 0.5  # rounding is much smaller, and ignoring a mask changes more
    return abs(one.log_likelihood - expected) <= tolerance * (1 + abs(expected))
