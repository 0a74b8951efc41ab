"""Samples that are continued together, one per row of a cache of slots.

A step gives every row its next token. Rows that are finished stay where they are until the next look at them, which on a GPU is
every few steps, because a look waits for the device. Then the last rows take the places of the finished ones, so that the rows in
use are always the first.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from pqm.models.architecture import layer_windows, masks_by_layer, rope_type, text_config
from pqm.models.sampling.cuda_graphs import Graphs
from pqm.models.sampling.decode_attention import slot_attention, takes_slots
from pqm.models.sampling.drawing import draw
from pqm.models.sampling.slot_cache import SlotCache

# On a GPU each number of rows and of positions has a graph of its own. So the numbers are few: the slots halved up to LEAST_ROWS,
# and multiples of WIDTH.
LEAST_ROWS, WIDTH = 32, 64
SYNCHRONOUS_ROPE = ("dynamic", "longrope")  # their positions wait for the device, which no graph can


@dataclass(frozen=True)
class Tuning:
    """What a device is good at.

    Attributes:
        rows: samples at once.
        refill: share of the rows that must be free before waiting samples are admitted, because reading prompts interrupts the
            others.
        steps_per_look: steps between two looks at which samples are finished; a look waits for the device.
        prefill_tokens: tokens that are read at once.
    """

    rows: int
    refill: float
    steps_per_look: int
    prefill_tokens: int


GPU, CPU = Tuning(4096, 1 / 8, 8, 65_536), Tuning(256, 0.0, 1, 2_048)


def tuning(device: torch.device) -> Tuning:
    """What a device is good at."""
    return GPU if device.type == "cuda" else CPU


@dataclass(frozen=True)
class Finished:
    """A finished sample.

    Attributes:
        owner: as given to `admit`.
        tokens: its tokens, without the end token.
        ended: whether it ended with the end token.
    """

    owner: Any
    tokens: list[int]
    log_likelihood: float
    ended: bool


class Pool:
    """The unfinished samples.

    Args:
        slots: most samples at once.
        length: most tokens of a prompt and its continuation.
        end: the end token.

    Attributes:
        owners: of each row in use.
    """

    def __init__(
        self, model: PreTrainedModel, slots: int, length: int, max_new_tokens: int, temperature: float, end: int
    ) -> None:
        self.model, self.temperature, self.end, self.max_new_tokens = model, temperature, end, max_new_tokens
        self.slots, self.length, self.owners = slots, length, cast(list[Any], [])
        self.device, self.windows = model.device, layer_windows(model)
        self.cache = SlotCache(text_config(model).num_hidden_layers, slots, length, self.device)
        self.steps_per_look = tuning(self.device).steps_per_look
        on_gpu = self.device.type == "cuda"
        self._kernel = on_gpu and takes_slots(model)
        self._graphs = Graphs(self._step) if on_gpu and rope_type(model) not in SYNCHRONOUS_ROPE else None

        def zeros(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.zeros(slots, *shape, dtype=dtype, device=self.device)

        # Of each row: its newest token, how many it has drawn, which, their summed log probability, and its random numbers.
        self._token, self._count = zeros(dtype=torch.long), zeros(dtype=torch.long)
        self._drawn, self._gain = zeros(max_new_tokens, dtype=torch.long), zeros(dtype=torch.float64)
        self._noise = zeros(max_new_tokens, dtype=torch.float64)
        self._live = zeros(dtype=torch.bool)
        self._row, self._column = torch.arange(slots, device=self.device), torch.arange(length, device=self.device)
        self._longest = 0
        self._state = (
            self._token, self._count, self._drawn, self._gain, self._noise, self._live, self.cache.place.positions
        )  # fmt: skip

    @property
    def free(self) -> int:
        """Number of free slots."""
        return self.slots - len(self.owners)

    def close(self) -> None:
        """Let go of the graphs, which refer to this pool, so that its memory is free at once."""
        self._graphs = None

    def admit(self, prompts: Sequence[Sequence[int]], owners: Sequence[Any], noise: np.ndarray) -> None:
        """Add one row per prompt. A prompt that is the beginning of another, or its equal, is not read again.

        Args:
            noise: uniform random numbers, shape [prompts, max_new_tokens].
        """
        first, last = len(self.owners), len(self.owners) + len(prompts)
        self._read(first, [tuple(prompt[:-1]) for prompt in prompts])
        rows = slice(first, last)
        self._token[rows] = torch.tensor([prompt[-1] for prompt in prompts], device=self.device)
        self.cache.place.positions[rows] = torch.tensor([len(prompt) - 1 for prompt in prompts], device=self.device)
        self._noise[rows] = torch.from_numpy(noise).to(self.device)
        self._count[rows], self._gain[rows], self._live[rows] = 0, 0, True
        self.owners += owners
        self._longest = max(self._longest, *map(len, prompts))

    def _read(self, first: int, texts: Sequence[tuple[int, ...]]) -> None:
        """Put the keys and values of texts into the slots from `first` on; each text in order, and beginnings with the whole."""
        wholes: list[tuple[int, ...]] = []
        whole_of = {}
        for text in sorted(set(texts), reverse=True):  # a beginning comes after the texts that it begins
            if not wholes or wholes[-1][: len(text)] != text:
                wholes.append(text)
            whole_of[text] = len(wholes) - 1
        order = sorted(range(len(wholes)), key=lambda index: len(wholes[index]))
        budget, start = tuning(self.device).prefill_tokens, 0
        rows_of: dict[int, list[int]] = {}
        for row, text in enumerate(texts):
            rows_of.setdefault(whole_of[text], []).append(row)
        while start < len(order):
            width, stop = len(wholes[order[start]]), start + 1
            while stop < len(order) and (stop + 1 - start) * len(wholes[order[stop]]) <= budget:
                width, stop = len(wholes[order[stop]]), stop + 1
            if width:
                self._fill(first, [(wholes[index], rows_of[index]) for index in order[start:stop]], width)
            start = stop

    def _fill(self, first: int, group: Sequence[tuple[tuple[int, ...], list[int]]], width: int) -> None:
        tokens = torch.zeros(len(group), width, dtype=torch.long)
        for row, (text, _) in enumerate(group):
            tokens[row, : len(text)] = torch.tensor(text)
        read = DynamicCache()  # without a config it keeps all positions, also of layers with a sliding window
        self.model.base_model(input_ids=tokens.to(self.device), past_key_values=read, use_cache=True)
        owners = torch.tensor([index for index, (_, rows) in enumerate(group) for _ in rows], device=self.device)
        slots = torch.tensor([first + row for _, rows in group for row in rows], device=self.device)
        self.cache.fill(slots, read, owners)

    def look(self) -> list[Finished]:
        """Take the finished samples out, and put the others into the first rows."""
        rows = len(self.owners)
        live = self._live[:rows].tolist()
        done = [row for row in range(rows) if not live[row]]
        if not done:
            return []
        places = torch.tensor(done, device=self.device)
        counts, drawn, gains = (one[places].tolist() for one in (self._count, self._drawn, self._gain))
        finished = []
        for row, count, tokens, gain in zip(done, counts, drawn, gains):
            ended = tokens[count - 1] == self.end
            finished.append(Finished(self.owners[row], tokens[: count - ended], gain, ended))
        kept = rows - len(done)
        targets = [row for row in done if row < kept]
        sources = [row for row in range(kept, rows) if live[row]]
        if targets:
            to, of = (torch.tensor(one, device=self.device) for one in (targets, sources))
            self.cache.move(of, to, self._longest)
            for one in self._state:
                one[to] = one[of]
            for target, source in zip(targets, sources):
                self.owners[target] = self.owners[source]
        self._live[kept:rows] = False
        del self.owners[kept:]
        self._longest = 1 + int(self.cache.place.positions[:kept].max()) if kept else 0
        return finished

    def step(self) -> None:
        """Give every row its next token, or several on a GPU."""
        for _ in range(self.steps_per_look):
            (self._graphs or self._step)(*self._sizes())
            self._longest = min(self._longest + 1, self.length)

    def _sizes(self) -> tuple[int, int]:
        """How many rows are read, and how many positions of each."""
        rows, width = len(self.owners), self._longest
        if self._graphs is None:
            return rows, width
        most = self.slots
        while most > LEAST_ROWS and (most + 1) // 2 >= rows:
            most = (most + 1) // 2
        return most, self.length if self._kernel else min(self.length, -(-width // WIDTH) * WIDTH)

    def _step(self, rows: int, width: int) -> None:
        """The next token of the first `rows` rows, of which at most the first `width` positions are in use."""
        place = self.cache.place
        place.rows, place.width = rows, width
        positions = place.positions[:rows]
        with slot_attention(self.model, place) if self._kernel else nullcontext():
            logits = self.model(
                input_ids=self._token[:rows, None],
                attention_mask=None if self._kernel else self._mask(positions, width),
                position_ids=positions[:, None],
                past_key_values=self.cache,
                use_cache=True,
            ).logits[:, -1]
        live, count = self._live[:rows], self._count[:rows]
        at = (self._row[:rows], count.clamp(max=self.max_new_tokens - 1))
        token, gain = draw(logits, self._noise[at], self.temperature)
        self._drawn[at] = torch.where(live, token, self._drawn[at])
        self._gain[:rows] += torch.where(live, gain, 0.0)
        count += live
        live &= (token != self.end) & (count < self.max_new_tokens)
        self._token[:rows] = torch.where(live, token, self._token[:rows])
        positions += live

    def _mask(self, positions: Tensor, width: int) -> Tensor | dict[str, Tensor]:
        """The additive mask of each kind of layer: a row sees its text up to its position."""
        places, dtype = self._column[None, :width], self.model.dtype
        mask = torch.zeros(len(positions), width, dtype=dtype, device=self.device)
        mask.masked_fill_(places > positions[:, None], torch.finfo(dtype).min)
        return masks_by_layer(self.windows, mask[:, None, None], positions[:, None], places)
