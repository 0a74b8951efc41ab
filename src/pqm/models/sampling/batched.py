"""Sampling many continuations of each prompt from a causal language model.

A prompt is read once and its samples share its cache. Finished rows leave the batch, and waiting prompts take their place
(continuous batching). Every sample has its own random stream, keyed by the prompt's name, so samples do not depend on which
prompts are in a batch together, on their order or on the number of workers.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from pqm.errors import PqmError
from pqm.memory import fits
from pqm.models.architecture import layer_windows, masks_by_layer, position_limit
from pqm.models.sampling.engine import Request, Sample, random_stream
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
        rows: most samples in the batch at once (None: all). It is halved when the device runs out of memory.

    Raises:
        PqmError: a prompt and `max_new_tokens` exceed the model's positions, or memory is too small for one sample.
    """
    rows = rows or sum(request.samples for request in requests)
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
    waiting = deque(piece for index, request in enumerate(requests) for piece in _pieces(index, request, rows))
    grouped: list[list[Sample]] = [[] for _ in requests]
    batch = _RunningBatch(model, tokenizer, max_new_tokens)
    while waiting or batch.samples:
        newcomers: list[tuple[int, Request]] = []
        while waiting and batch.takes(sum(one.samples for _, one in newcomers) + waiting[0][1].samples, rows):
            newcomers.append(waiting.popleft())
        if newcomers:
            added = batch.admit([request for _, request in newcomers], seed)
            for (index, _), samples in zip(newcomers, added):
                grouped[index] += samples
        token, log_probability = _draw(batch.logits, batch.uniform(), temperature)
        batch.write(token, log_probability)
    for request, group in zip(requests, grouped):
        texts = continuation_texts(tokenizer, token_ids(tokenizer, request.prompt), [one.tokens for one in group])
        for current, text in zip(group, texts):
            current.n_tokens, current.text = len(current.tokens), text
    return grouped


def _pieces(index: int, request: Request, rows: int) -> Iterator[tuple[int, Request]]:
    """Split a request into parts of at most `rows` samples."""
    for first in range(0, request.samples, rows):
        yield index, replace(request, samples=min(rows, request.samples - first), skip=request.skip + first)


class _RunningBatch:
    """The unfinished samples, one per row.

    Attributes:
        visible: the cache positions that a row attends to (rows are padded on the left), shape [rows, width].
        positions: the position of the next token, shape [rows].
        logits: the logits of the next token, shape [rows, vocabulary].
        noise: the uniform random numbers of a row, shape [rows, max_new_tokens].
        written: how many of these numbers are used, shape [rows].
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_new_tokens: int) -> None:
        self.model, self.tokenizer, self.max_new_tokens = model, tokenizer, max_new_tokens
        self.windows = layer_windows(model)
        self.samples: list[Sample] = []

    def takes(self, newcomers: int, rows: int) -> bool:
        """Whether the batch has room for more samples."""
        return len(self.samples) + newcomers <= rows

    def admit(self, requests: Sequence[Request], seed: int) -> list[list[Sample]]:
        """Read the prompts, add one row for each of their samples, and return these samples."""
        prompts = [token_ids(self.tokenizer, request.prompt) for request in requests]
        width, device = max(map(len, prompts)), self.model.device
        limit = position_limit(self.model)
        if limit is not None and width + self.max_new_tokens > limit:
            raise PqmError(
                f"a prompt of {width} tokens and max_new_tokens {self.max_new_tokens} exceed the model's {limit} positions"
            )
        tokens = torch.zeros(len(prompts), width, dtype=torch.long)
        visible = torch.zeros(len(prompts), width, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            tokens[row, width - len(prompt) :] = torch.tensor(prompt)
            visible[row, width - len(prompt) :] = True
        tokens, visible = tokens.to(device), visible.to(device)
        cache = DynamicCache()  # layers with a sliding window forget nothing, because rows that join would not fit
        output = self.model(
            input_ids=tokens,
            attention_mask=visible.long(),
            position_ids=(visible.long().cumsum(1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        counts = [request.samples for request in requests]
        owner = torch.repeat_interleave(torch.arange(len(requests)), torch.tensor(counts)).to(device)
        cache.batch_select_indices(owner)
        noise = torch.from_numpy(np.concatenate([_noise(request, self.max_new_tokens, seed) for request in requests]))
        new = {
            "logits": output.logits[owner, -1],
            "positions": visible.sum(1)[owner],
            "noise": noise.to(device),
            "written": torch.zeros(len(owner), dtype=torch.long, device=device),
        }
        added = [[Sample() for _ in range(count)] for count in counts]
        if self.samples:
            visible = self._join(cache, visible[owner])
            new = {name: torch.cat([getattr(self, name), rows]) for name, rows in new.items()}
        else:
            self.cache, visible = cache, visible[owner]
        self.visible, self.logits, self.positions = visible, new["logits"], new["positions"]
        self.noise, self.written = new["noise"], new["written"]
        self.samples += [one for group in added for one in group]
        return added

    def _join(self, cache: DynamicCache, visible: Tensor) -> Tensor:
        """Append another cache's rows, with both padded to the same width, and return `visible` for all rows.

        Positions that no row attends to any more are dropped.
        """
        unseen = int(self.visible.any(0).int().argmax())
        own = self.visible[:, unseen:]
        wide = max(own.shape[1], visible.shape[1])
        for layer, other in zip(self.cache.layers, cache.layers):
            for name in ("keys", "values"):
                parts = getattr(layer, name)[:, :, unseen:], getattr(other, name)
                setattr(layer, name, torch.cat([pad(part, (0, 0, wide - part.shape[2], 0)) for part in parts]))
        return torch.cat([pad(part, (wide - part.shape[1], 0)) for part in (own, visible)])

    def uniform(self) -> Tensor:
        """The next number of each row's stream, shape [rows]."""
        return self.noise[torch.arange(len(self.samples), device=self.noise.device), self.written]

    def write(self, token: Tensor, log_probability: Tensor) -> None:
        """Append a token to each row, remove the finished rows, and compute the next logits of the others."""
        done = token == self.tokenizer.eos_token_id
        for current, value, gain, ended in zip(self.samples, token.tolist(), log_probability.tolist(), done.tolist()):
            current.log_likelihood += gain
            if ended:
                current.finish_reason = "stop"
            else:
                current.tokens.append(value)
        self.written += 1
        done |= self.written == self.max_new_tokens
        if bool(done.any()):
            keep = (~done).nonzero().squeeze(1)
            self.samples = [self.samples[row] for row in keep.tolist()]
            if not self.samples:
                return
            self.cache.batch_select_indices(keep)
            token, self.visible, self.positions = token[keep], self.visible[keep], self.positions[keep]
            self.noise, self.written = self.noise[keep], self.written[keep]
        self.visible = torch.cat([self.visible, self.visible.new_ones(len(token), 1)], dim=1)
        places = torch.arange(self.visible.shape[1], device=self.visible.device)[None]
        mask = _additive(self.visible, self.model.dtype)[:, None, None, :]
        output = self.model(
            input_ids=token.unsqueeze(1),
            attention_mask=masks_by_layer(self.windows, mask, places[:, -1:], places),
            position_ids=self.positions.unsqueeze(1),
            past_key_values=self.cache,
            use_cache=True,
        )
        self.logits, self.positions = output.logits[:, -1], self.positions + 1


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """An additive attention mask, which every attention implementation supports: 0 where visible."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, torch.finfo(dtype).min)


def _noise(request: Request, length: int, seed: int) -> np.ndarray:
    """Uniform random numbers, shape [samples, length]."""
    return random_stream(seed, request.name).random((request.skip + request.samples, length))[request.skip :]


def _draw(logits: Tensor, uniform: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Draw one token per row by inverse transform sampling, and return it with its log probability at temperature 1."""
    logits = logits.float()
    heights = torch.softmax(logits.double() / temperature, dim=-1).cumsum(dim=-1)
    token = (heights < uniform.unsqueeze(1) * heights[:, -1:]).sum(dim=-1).clamp(max=logits.shape[-1] - 1)
    return token, torch.log_softmax(logits, dim=-1).gather(1, token.unsqueeze(1)).squeeze(1)
