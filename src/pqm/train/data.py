"""Training batches from a label table, and their step scores: prefix trees of labelled solutions, with a token budget per batch.

Solutions of one question are merged by their common prefixes, with the question as the trunk, so a batch reads shared tokens once.
A token attends only to its ancestors, so scores and gradients are the same as for reading each solution alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import dropout
from transformers import PreTrainedModel

from pqm.errors import PqmError, shortened
from pqm.losses.common.steps import IGNORED
from pqm.models.encoded import Encoded
from pqm.models.prefix_trees import PrefixTree, Row, read_row, row_of, score_outputs

if TYPE_CHECKING:
    import pandas as pd

    from pqm.models.reward_model import Encoder

# The solutions of a tree have at most this share of a batch's tokens, so that a batch contains several questions.
LARGEST_SHARE = 1 / 4


@dataclass(frozen=True)
class TrainingExample:
    """One labelled solution."""

    question: str
    encoded: Encoded
    labels: tuple[float, ...]


@dataclass(frozen=True)
class LabelledTree:
    """Labelled solutions of one question, duplicates included, and the tree of their tokens."""

    tree: PrefixTree
    examples: list[TrainingExample]

    @property
    def size(self) -> int:
        """The number of tokens of its solutions, each with the question. The tree has fewer, because they share tokens."""
        return sum(len(one.encoded.tokens) for one in self.examples)


@dataclass(frozen=True)
class LabelledRow:
    """A row of trees and its labels.

    Attributes:
        row: the trees.
        step_ends: the place in the row of each step's end, shape [solutions, steps].
        labels: shape [solutions, steps]; `IGNORED` if there is no step.
    """

    row: Row
    step_ends: Tensor
    labels: Tensor


def examples(labels: pd.DataFrame, encoder: Encoder, targets: str) -> list[TrainingExample]:
    """Encode the rows of a label table, with hard or soft targets; solutions without steps are skipped."""
    column = "labels" if targets == "hard" else "soft_labels"
    return [
        TrainingExample(prompt, encoder(prompt, list(steps)), tuple(map(float, values)))
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


def labelled_trees(data: Sequence[TrainingExample], budget: int) -> list[LabelledTree]:
    """Merge the solutions of each question into trees.

    Args:
        budget: tokens of a batch; several solutions of a tree have at most `LARGEST_SHARE` of them.
    """
    trees = []
    in_order = sorted(data, key=lambda one: (one.question, one.encoded.tokens))
    for _, solutions in groupby(in_order, key=lambda one: one.question):
        trees.append(LabelledTree(PrefixTree(), []))
        for one in solutions:
            if trees[-1].examples and trees[-1].size + len(one.encoded.tokens) > budget * LARGEST_SHARE:
                trees.append(LabelledTree(PrefixTree(), []))
            trees[-1].tree.add(one.encoded)
            trees[-1].examples.append(one)
    return trees


def batches(trees: Sequence[LabelledTree], budget: int, random: np.random.Generator) -> list[list[LabelledTree]]:
    """The batches of one epoch: every tree once, in random order, with solutions of at most `budget` tokens per batch.

    A solution of more than `budget` tokens forms its own batch.
    """
    groups: list[list[LabelledTree]] = [[]]
    for index in random.permutation(len(trees)):
        if groups[-1] and sum(tree.size for tree in groups[-1]) + trees[index].size > budget:
            groups.append([])
        groups[-1].append(trees[index])
    return groups


def collate(trees: Sequence[LabelledTree]) -> LabelledRow:
    """Combine trees into a batch."""
    row = row_of([labelled.tree for labelled in trees])
    owners = [(start, labelled.tree, one) for start, labelled in zip(row.starts, trees) for one in labelled.examples]
    ends = torch.zeros(len(owners), max(len(one.labels) for _, _, one in owners), dtype=torch.long)
    labels = torch.full(ends.shape, float(IGNORED))
    for place, (start, tree, one) in enumerate(owners):
        path = tree.paths[one.encoded]
        ends[place, : len(one.labels)] = torch.tensor([start + path[end] for end in one.encoded.step_ends])
        labels[place, : len(one.labels)] = torch.tensor(one.labels)
    return LabelledRow(row, ends, labels)


def scores_of(model: PreTrainedModel, labelled: LabelledRow) -> Tensor:
    """Step logits, shape [solutions, steps]; with dropout before the head if the model is in training mode."""
    hidden = read_row(model, labelled.row, ends_only=True)
    at_ends = dropout(hidden[labelled.step_ends.to(hidden.device)], model.config.classifier_dropout, model.training)
    return score_outputs(model, at_ends).squeeze(-1)


def parts(trees: Sequence[LabelledTree], count: int) -> list[LabelledRow]:
    """Split trees into `count` batches; a tree without labels, which has no loss, fills a part without trees.

    So every process has a part to read, because processes that share weights must run each forward pass together.
    """
    blank = [replace(one, labels=(float(IGNORED),) * len(one.labels)) for one in trees[0].examples]
    return [collate(trees[k::count] or [replace(trees[0], examples=blank)]) for k in range(count)]


def stream(trees: Sequence[LabelledTree], budget: int, seed: int) -> Iterator[list[LabelledTree]]:
    """An endless stream of the trees of batches, epoch after epoch, which depends only on `seed`."""
    epoch = 0
    while True:
        yield from batches(trees, budget, np.random.default_rng([seed, epoch]))
        epoch += 1
