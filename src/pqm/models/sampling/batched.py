"""Sampling many continuations of each prompt from a causal language model.

A prompt is read once, and its samples begin with copies of its keys and values. When samples are finished, waiting ones take their
places (continuous batching). Every sample has its own random stream, keyed by the prompt's name, so samples do not depend on which
prompts are in a batch together, on their order or on the number of workers.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pqm.errors import PqmError
from pqm.memory import fits
from pqm.models.architecture import position_limit
from pqm.models.sampling.engine import Request, Sample, random_stream
from pqm.models.sampling.pool import Pool, tuning
from pqm.models.tokenizing import continuation_texts, token_ids
from pqm.progress import say


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    temperature: float,
    max_new_tokens: int,
    seed: int,
    rows: int | None = None,
) -> list[list[Sample]]:
    """The samples of each request, in order.

    Args:
        rows: most samples in the batch at once (None: as many as the device is good for). It is halved when the device runs out
            of memory.

    Raises:
        PqmError: a prompt and `max_new_tokens` exceed the model's positions, or memory is too small for one sample.
    """
    if not requests:
        return []
    rows = rows or tuning(model.device).rows
    rows = min(rows, sum(request.samples for request in requests))
    samples = fits(lambda: _sample(model, tokenizer, requests, temperature, max_new_tokens, seed, rows))
    if samples is not None:
        return samples
    if rows == 1:
        raise PqmError("out of memory with one sample at a time; use a device with more memory")
    say(f"out of memory: continuing with at most {(rows + 1) // 2} samples at a time")
    return sample(model, tokenizer, requests, temperature, max_new_tokens, seed, (rows + 1) // 2)


@torch.inference_mode()
def _sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    temperature: float,
    max_new_tokens: int,
    seed: int,
    rows: int,
) -> list[list[Sample]]:
    prompts = [token_ids(tokenizer, request.prompt) for request in requests]
    pool = Pool(model, rows, _length(model, prompts, max_new_tokens), max_new_tokens, temperature, tokenizer.eos_token_id)
    waiting = deque(piece for index, request in enumerate(requests) for piece in _pieces(index, request, rows))
    grouped = [[Sample() for _ in range(request.samples)] for request in requests]
    least = rows * tuning(model.device).refill
    try:
        while waiting or pool.owners:
            admitted: list[tuple[int, Request]] = []
            free = pool.free
            while waiting and pool.free >= least and waiting[0][1].samples <= free:
                admitted.append(waiting.popleft())
                free -= admitted[-1][1].samples
            if admitted:
                pool.admit(
                    [prompts[index] for index, piece in admitted for _ in range(piece.samples)],
                    [
                        (index, piece.skip - requests[index].skip + number)
                        for index, piece in admitted
                        for number in range(piece.samples)
                    ],
                    np.concatenate([_noise(piece, max_new_tokens, seed) for _, piece in admitted]),
                )
            pool.step()
            for one in pool.look():
                index, number = one.owner
                reason = "stop" if one.ended else "length"
                grouped[index][number] = Sample(one.tokens, len(one.tokens), "", one.log_likelihood, reason)
    finally:
        pool.close()
    for prompt, group in zip(prompts, grouped):
        for current, text in zip(group, continuation_texts(tokenizer, prompt, [one.tokens for one in group])):
            current.text = text
    return grouped


def _length(model: PreTrainedModel, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> int:
    """The most tokens of a prompt and its continuation.

    Raises:
        PqmError: they exceed the model's positions.
    """
    width, limit = max(map(len, prompts)), position_limit(model)
    if limit is not None and width + max_new_tokens > limit:
        raise PqmError(f"a prompt of {width} tokens and max_new_tokens {max_new_tokens} exceed the model's {limit} positions")
    return width + max_new_tokens


def _pieces(index: int, request: Request, rows: int) -> Iterator[tuple[int, Request]]:
    """Split a request into parts of at most `rows` samples."""
    for first in range(0, request.samples, rows):
        yield index, replace(request, samples=min(rows, request.samples - first), skip=request.skip + first)


def _noise(request: Request, length: int, seed: int) -> np.ndarray:
    """Uniform random numbers, shape [samples, length]."""
    return random_stream(seed, request.name).random((request.skip + request.samples, length))[request.skip :]
