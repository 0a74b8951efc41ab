"""Training batches from a label table: a token budget per batch, with rows of similar length together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from pqm.errors import PqmError, shortened
from pqm.losses.common.steps import IGNORED
from pqm.models.reward_model import Encoded, Encoder


@dataclass
class LabelledBatch:
    """A padded batch.

    Attributes:
        tokens: shape [rows, tokens].
        step_ends: position of each step's end, shape [rows, steps].
        labels: shape [rows, steps]; `IGNORED` if there is no step.
    """

    tokens: Tensor
    step_ends: Tensor
    labels: Tensor


@dataclass(frozen=True)
class TrainingExample:
    """One labelled solution."""

    encoded: Encoded
    labels: tuple[float, ...]


def examples(labels: pd.DataFrame, encoder: Encoder, targets: str) -> list[TrainingExample]:
    """Encode the rows of a label table, with hard or soft targets; solutions without steps are skipped."""
    column = "labels" if targets == "hard" else "soft_labels"
    return [
        TrainingExample(encoder(prompt, list(steps)), tuple(map(float, values)))
        for prompt, steps, values in zip(labels["prompt"], labels["completions"], labels[column])
        if len(steps)
    ]


def readable(labels: pd.DataFrame, encoder: Encoder, limit: int | None) -> pd.DataFrame:
    """The rows that fit into a model's `limit` positions; longer solutions are skipped, not truncated."""
    if limit is None:
        return labels
    lengths = [len(encoder(prompt, list(steps)).tokens) for prompt, steps in zip(labels["prompt"], labels["completions"])]
    return labels[np.array(lengths) <= limit]


def expect_one_prompt_per_question(labels: pd.DataFrame, path: Path) -> None:
    """Check that the solutions with a question's id answer the same question, because validation compares them.

    Raises:
        PqmError: a question has several prompts; the message names it.
    """
    prompts = labels.groupby("question_id")["prompt"].nunique()
    if (prompts > 1).any():
        name, number = prompts.idxmax(), prompts.max()
        raise PqmError(f"{path}: question_id {shortened(name)} has {number} prompts; expected an own id for each question")


def batches(data: Sequence[TrainingExample], budget: int, random: np.random.Generator) -> list[list[int]]:
    """The batches of one epoch, in random order: every example once, at most `budget` tokens per batch with padding.

    Examples are shuffled and then sorted by length. So the rows of a batch have similar lengths, and each epoch has different
    batches. An example of more than `budget` tokens forms its own batch.

    Returns:
        The indices of each batch's examples.
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


def collate(data: Sequence[TrainingExample], rows: Sequence[int], pad: int) -> LabelledBatch:
    """Combine examples into a batch, padded on the right."""
    chosen = [data[row] for row in rows]
    width, steps = max(len(one.encoded.tokens) for one in chosen), max(len(one.labels) for one in chosen)
    tokens = torch.full((len(chosen), width), pad)
    ends = torch.zeros(len(chosen), steps, dtype=torch.long)
    labels = torch.full((len(chosen), steps), float(IGNORED))
    for row, one in enumerate(chosen):
        tokens[row, : len(one.encoded.tokens)] = torch.tensor(one.encoded.tokens)
        ends[row, : len(one.labels)] = torch.tensor(one.encoded.step_ends)
        labels[row, : len(one.labels)] = torch.tensor(one.labels)
    return LabelledBatch(tokens, ends, labels)


def parts(batch: LabelledBatch, count: int) -> list[LabelledBatch]:
    """Split a batch into `count` parts with the same number of rows; rows without labels, which have no loss, fill them up.

    So every process has a part to read, because processes that share weights must run each forward pass together.
    """
    missing = -len(batch.tokens) % count
    filled = [
        F.pad(item, (0, 0, 0, missing), value=value)
        for item, value in ((batch.tokens, 0), (batch.step_ends, 0), (batch.labels, IGNORED))
    ]
    return [LabelledBatch(*rows) for rows in zip(*(item.chunk(count) for item in filled))]


def stream(data: Sequence[TrainingExample], budget: int, pad: int, seed: int) -> Iterator[LabelledBatch]:
    """An endless stream of batches, epoch after epoch, which depends only on `seed`."""
    epoch = 0
    while True:
        for rows in batches(data, budget, np.random.default_rng([seed, epoch])):
            yield collate(data, rows, pad)
        epoch += 1
