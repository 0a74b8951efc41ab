"""Sampling many continuations of each prompt from a causal language model.

A prompt is read once and its cache is shared by its samples; finished rows leave the batch. Every sample
draws from a random stream of its own, keyed by the prompt's name, so what is sampled does not depend on
which prompts are in a batch together, on their order or on the number of workers.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from pqm.errors import PqmError
from pqm.memory import fits
from pqm.progress import say
from pqm.rollouts.engine import Request, Sample, random_stream


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    temperature: float,
    max_new_tokens: int,
    seed: int,
) -> list[list[Sample]]:
    """The samples of each request, in order; half of them at a time where the device's memory is full."""
    samples = fits(lambda: _sample(model, tokenizer, requests, temperature, max_new_tokens, seed))
    if samples is not None:
        return samples
    if len(requests) == 1 and requests[0].samples == 1:
        raise PqmError(f"out of memory with one sample of {requests[0].name!r} at a time; take a larger device")
    say(f"out of memory: {sum(request.samples for request in requests)} samples in two halves")
    if len(requests) > 1:
        middle = len(requests) // 2
        first, second = (
            sample(model, tokenizer, half, temperature, max_new_tokens, seed) for half in (requests[:middle], requests[middle:])
        )
        return first + second
    whole, few = requests[0], requests[0].samples // 2
    halves = replace(whole, samples=few), replace(whole, samples=whole.samples - few, skip=whole.skip + few)
    return [[one for half in halves for one in sample(model, tokenizer, [half], temperature, max_new_tokens, seed)[0]]]


@torch.inference_mode()
def _sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    temperature: float,
    max_new_tokens: int,
    seed: int,
) -> list[list[Sample]]:
    device = model.device
    prompts = [tokenizer(request.prompt, add_special_tokens=False)["input_ids"] for request in requests]
    width = max(map(len, prompts))
    limit = getattr(model.config, "max_position_embeddings", width + max_new_tokens)
    if width + max_new_tokens > limit:
        raise PqmError(f"prompt of {width} tokens and max_new_tokens {max_new_tokens} exceed the model's {limit} positions")
    tokens = torch.zeros(len(prompts), width, dtype=torch.long)
    visible = torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :] = torch.tensor(prompt)
        visible[row, width - len(prompt) :] = True
    tokens, visible = tokens.to(device), visible.to(device)
    cache = DynamicCache(config=model.config)
    output = model(
        input_ids=tokens,
        attention_mask=visible.long(),
        position_ids=(visible.long().cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    owner = torch.repeat_interleave(torch.arange(len(requests)), torch.tensor([request.samples for request in requests])).to(
        device
    )
    noise = torch.from_numpy(np.concatenate([_noise(request, max_new_tokens, seed) for request in requests])).to(device)
    samples = [Sample() for _ in range(len(owner))]
    alive = torch.arange(len(samples), device=device)
    cache.batch_select_indices(owner)
    visible, logits, positions = visible[owner], output.logits[owner, -1], visible.sum(1)[owner]
    for step in range(max_new_tokens):
        token, log_probability = _draw(logits, noise[alive, step], temperature)
        done = token == tokenizer.eos_token_id
        for index, value, gain, ended in zip(alive.tolist(), token.tolist(), log_probability.tolist(), done.tolist()):
            current = samples[index]
            current.log_likelihood += gain
            if ended:
                current.finish_reason = "stop"
            else:
                current.tokens.append(value)
        if step + 1 == max_new_tokens or bool(done.all()):
            break
        if bool(done.any()):
            keep = (~done).nonzero().squeeze(1)
            cache.batch_select_indices(keep)
            alive, token, visible, positions = alive[keep], token[keep], visible[keep], positions[keep]
        visible = torch.cat([visible, visible.new_ones(len(alive), 1)], dim=1)
        output = model(
            input_ids=token.unsqueeze(1),
            attention_mask=_additive(visible, model.dtype)[:, None, None, :],
            position_ids=positions.unsqueeze(1),
            past_key_values=cache,
            use_cache=True,
        )
        logits, positions = output.logits[:, -1], positions + 1
    for current in samples:
        current.n_tokens = len(current.tokens)
        current.text = str(tokenizer.decode(current.tokens, skip_special_tokens=True))
    grouped: list[list[Sample]] = [[] for _ in requests]
    for index, current in zip(owner.tolist(), samples):
        grouped[index].append(current)
    return grouped


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask to add to attention scores, which every attention implementation takes: 0 where visible."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, torch.finfo(dtype).min)


def _noise(request: Request, length: int, seed: int) -> np.ndarray:
    """Uniform numbers, shape [samples, length]."""
    return random_stream(seed, request.name).random((request.skip + request.samples, length))[request.skip :]


def _draw(logits: Tensor, uniform: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """A token a row by inverting the distribution function at `uniform`, and its log probability at temperature 1."""
    logits = logits.float()
    heights = torch.softmax(logits.double() / temperature, dim=-1).cumsum(dim=-1)
    token = (heights < uniform.unsqueeze(1) * heights[:, -1:]).sum(dim=-1).clamp(max=logits.shape[-1] - 1)
    return token, torch.log_softmax(logits, dim=-1).gather(1, token.unsqueeze(1)).squeeze(1)
