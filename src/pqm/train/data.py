"""From a label table to batches: a token budget a batch, rows of like length together, weight independent of length."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from pqm.reward_model import Encoded, Encoder
from pqm.train.losses import IGNORED


@dataclass
class Batch:
    """Tokens [rows, tokens]; the steps' end positions and labels [rows, steps], labels `IGNORED` where there is no step."""

    tokens: Tensor
    step_ends: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Example:
    """One labelled solution."""

    encoded: Encoded
    labels: tuple[float, ...]


def examples(labels: pd.DataFrame, encoder: Encoder, targets: str) -> list[Example]:
    """The rows of a label table, with hard or soft targets; solutions without steps are left out."""
    column = "labels" if targets == "hard" else "soft_labels"
    return [
        Example(encoder(prompt, list(steps)), tuple(map(float, values)))
        for prompt, steps, values in zip(labels["prompt"], labels["completions"], labels[column])
        if len(steps)
    ]


def readable(labels: pd.DataFrame, encoder: Encoder, limit: int | None) -> pd.DataFrame:
    """The rows that a model of `limit` positions reads whole; a longer solution is left out, never cut."""
    if limit is None:
        return labels
    lengths = [len(encoder(prompt, list(steps)).tokens) for prompt, steps in zip(labels["prompt"], labels["completions"])]
    return labels[np.array(lengths) <= limit]


def batches(data: Sequence[Example], budget: int, random: np.random.Generator) -> list[list[int]]:
    """One epoch: every example once, in batches of at most `budget` tokens after padding, in random order.

    Examples are shuffled, then sorted by length, so that rows of a batch have like lengths and an epoch's batches differ
    from another's.
    """
    order = random.permutation(len(data))
    order = order[np.argsort([len(data[index].encoded.tokens) for index in order], kind="stable")]
    groups: list[list[int]] = [[]]
    for index in order:
        if groups[-1] and (len(groups[-1]) + 1) * len(data[index].encoded.tokens) > budget:
            groups.append([])
        groups[-1].append(int(index))
    random.shuffle(groups)
    return groups


def collate(data: Sequence[Example], rows: Sequence[int], pad: int) -> Batch:
    """The batch of these examples, padded on the right."""
    chosen = [data[row] for row in rows]
    width, steps = max(len(one.encoded.tokens) for one in chosen), max(len(one.labels) for one in chosen)
    tokens = torch.full((len(chosen), width), pad)
    ends = torch.zeros(len(chosen), steps, dtype=torch.long)
    labels = torch.full((len(chosen), steps), float(IGNORED))
    for row, one in enumerate(chosen):
        tokens[row, : len(one.encoded.tokens)] = torch.tensor(one.encoded.tokens)
        ends[row, : len(one.labels)] = torch.tensor(one.encoded.step_ends)
        labels[row, : len(one.labels)] = torch.tensor(one.labels)
    return Batch(tokens, ends, labels)


def parts(batch: Batch, count: int) -> list[Batch]:
    """The batch's rows in `count` parts of one size, filled up with rows without labels, which cost nothing.

    Every process thus has a part to read, which those that share weights must do together.
    """
    missing = -len(batch.tokens) % count
    filled = [
        F.pad(item, (0, 0, 0, missing), value=value)
        for item, value in ((batch.tokens, 0), (batch.step_ends, 0), (batch.labels, IGNORED))
    ]
    return [Batch(*rows) for rows in zip(*(item.chunk(count) for item in filled))]


def stream(data: Sequence[Example], budget: int, pad: int, seed: int) -> Iterator[Batch]:
    """Batches of epoch after epoch, from `seed` alone."""
    epoch = 0
    while True:
        for rows in batches(data, budget, np.random.default_rng([seed, epoch])):
            yield collate(data, rows, pad)
        epoch += 1
