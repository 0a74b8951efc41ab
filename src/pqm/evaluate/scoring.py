"""Step scores of many solutions of one question: the question is read once, equal solutions are scored once.

The question's keys and values are kept and shared by all rows; solutions of like length are read together behind them, padded
on the right. Reading is causal, so padding is never seen and the result is that of reading each solution by itself.
"""

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from pqm.reward_model import Encoded, head


def _read(
    model: PreTrainedModel, solutions: Sequence[Encoded], prompt_tokens: int, budget: int
) -> Iterator[tuple[list[Encoded], Tensor, Tensor]]:
    """Batches of solutions with their tokens after the prompt, [rows, width], and the last hidden states from the prompt's
    last token on, [rows, 1 + width, hidden]."""
    prompt = solutions[0].tokens[:prompt_tokens]
    if any(solution.tokens[:prompt_tokens] != prompt for solution in solutions):
        raise ValueError("the solutions do not answer the same question; expected one prompt for all")
    device = model.device
    cache = DynamicCache(config=model.config)
    first = model.base_model(input_ids=torch.tensor([prompt], device=device), past_key_values=cache, use_cache=True)
    by_length = sorted(solutions, key=lambda solution: len(solution.tokens))
    while by_length:
        width = len(by_length[-1].tokens) - prompt_tokens
        rows = max(1, budget // width)
        batch, by_length = by_length[-rows:], by_length[:-rows]
        tokens = torch.zeros(len(batch), width, dtype=torch.long)
        for row, solution in enumerate(batch):
            tokens[row, : len(solution.tokens) - prompt_tokens] = torch.tensor(solution.tokens[prompt_tokens:])
        tokens = tokens.to(device)
        shared = copy.deepcopy(cache)
        shared.batch_repeat_interleave(len(batch))
        output = model.base_model(input_ids=tokens, past_key_values=shared, use_cache=True)
        before = first.last_hidden_state[:, -1:].expand(len(batch), -1, -1)
        yield batch, tokens, torch.cat([before, output.last_hidden_state], dim=1)


@torch.inference_mode()
def step_scores(model: PreTrainedModel, solutions: Sequence[Encoded], prompt_tokens: int, budget: int) -> list[list[float]]:
    """The logit at the end of each step of each solution.

    Args:
        solutions: of one question, which is their first `prompt_tokens` tokens.
        budget: tokens of a batch, at least one solution.
    """
    scores: dict[Encoded, list[float]] = {solution: [] for solution in solutions}
    unique = [solution for solution in scores if solution.step_ends]
    for batch, _, hidden in _read(model, unique, prompt_tokens, budget) if unique else ():
        rows = [row for row, solution in enumerate(batch) for _ in solution.step_ends]
        places = [end - prompt_tokens + 1 for solution in batch for end in solution.step_ends]
        values = iter(head(model)(hidden[rows, places]).float().squeeze(-1).tolist())
        for solution in batch:
            scores[solution] = [next(values) for _ in solution.step_ends]
    return [scores[solution] for solution in solutions]


@torch.inference_mode()
def log_likelihoods(model: PreTrainedModel, solutions: Sequence[Encoded], prompt_tokens: int, budget: int) -> list[list[float]]:
    """The log likelihood under a language model of each solution up to the end of each step, the prompt not counted."""
    sums: dict[Encoded, list[float]] = {solution: [] for solution in solutions}
    unique = [solution for solution in sums if solution.step_ends]
    for batch, tokens, hidden in _read(model, unique, prompt_tokens, budget) if unique else ():
        logits = model.get_output_embeddings()(hidden[:, :-1]).float()
        gains = torch.log_softmax(logits, dim=-1).gather(2, tokens.unsqueeze(-1)).squeeze(-1).double().cumsum(dim=1).tolist()
        for solution, row in zip(batch, gains):
            sums[solution] = [row[end - prompt_tokens] for end in solution.step_ends]
    return [sums[solution] for solution in solutions]
