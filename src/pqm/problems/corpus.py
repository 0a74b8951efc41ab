"""Batches of pretraining text, generated on the fly from a seed, with the targets of every loss."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from multiprocessing import get_context
from random import Random
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from pqm.study.pretraining import CurriculumStage, Phase

IGNORED = -100
POOL = 1024  # examples


@dataclass(frozen=True)
class TextExample:
    """A question and a solution.

    Attributes:
        question: tokens of the question.
        solution: tokens of the solution, with the end token.
        right: whether each token of the solution is right given the text before it.
        steps_right: for each step, the position of its end in the solution, and whether all steps so far are right.
    """

    question: Sequence[int]
    solution: Sequence[int]
    right: Sequence[bool]
    steps_right: Sequence[tuple[int, bool]]

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Tokens, next tokens, token targets and step targets, each of shape [tokens].

        Wrong next tokens, and positions without a target, are `IGNORED`.
        """
        begin = len(self.question)
        tokens, right = np.array([*self.question, *self.solution]), np.array(self.right)
        next_token, token_targets, step_targets = (np.full(len(tokens), IGNORED) for _ in range(3))
        next_token[begin - 1 : -1] = np.where(right, tokens[begin:], IGNORED)
        token_targets[begin:] = right
        for place, fine in self.steps_right:
            step_targets[begin + place] = fine
        return tokens, next_token, token_targets, step_targets


class TextSource(Protocol):
    """Generates training examples."""

    def example(self, random: Random, part: Phase | CurriculumStage) -> TextExample:
        """A new example with the settings of a phase or of a stage of its curriculum."""


@dataclass
class TextBatch:
    """Padded arrays of shape [rows, tokens]; positions without a target are `IGNORED`."""

    tokens: np.ndarray
    next_token: np.ndarray
    token_targets: np.ndarray
    step_targets: np.ndarray


@dataclass(frozen=True)
class Corpus:
    """The training text of a phase.

    Attributes:
        text: generates the examples.
        seed: the seed of the text.
        batch_tokens: most tokens per batch, with padding.
        phase: the phase.
        workers: processes that make the text ahead; 0 to make it in this one. The text is the same.
    """

    text: TextSource
    seed: str
    batch_tokens: int
    phase: Phase
    workers: int = 0

    def batches(self) -> Iterator[TextBatch]:
        """An endless stream of batches: first those of the curriculum, then those of the phase."""
        for index, stage in enumerate(self.phase.curriculum):
            yield from islice(self._batches(f"{self.seed} lesson {index}", stage), stage.steps)
        yield from self.main_text()

    def main_text(self) -> Iterator[TextBatch]:
        """An endless stream of the phase's batches, without the curriculum."""
        return self._batches(self.seed, self.phase)

    def _batches(self, seed: str, part: Phase | CurriculumStage) -> Iterator[TextBatch]:
        """The batches of one pool of examples after the other."""
        make = partial(_pool, self.text, seed, self.batch_tokens, part)
        if not self.workers:
            for number in count():
                yield from make(number)
        workers = ProcessPoolExecutor(self.workers, get_context("spawn"))  # a copy of this process could not use its GPU
        try:
            ahead = deque(workers.submit(make, number) for number in range(2 * self.workers))
            for number in count(len(ahead)):
                batches = ahead.popleft().result()
                ahead.append(workers.submit(make, number))
                yield from batches
        finally:
            workers.shutdown(cancel_futures=True)


def _pool(text: TextSource, seed: str, batch_tokens: int, part: Phase | CurriculumStage, number: int) -> list[TextBatch]:
    """Batches of rows with similar lengths, from a pool of examples that depends only on its number."""
    random = Random(f"{seed} pool {number}")
    examples = (text.example(random, part).arrays() for _ in range(POOL))
    groups: list[list[tuple[np.ndarray, ...]]] = [[]]
    for example in sorted(examples, key=lambda example: len(example[0])):
        if groups[-1] and (len(groups[-1]) + 1) * len(example[0]) > batch_tokens:
            groups.append([])
        groups[-1].append(example)
    random.shuffle(groups)
    return [
        TextBatch(*(_pad(arrays, fill) for arrays, fill in zip(zip(*group), (0, IGNORED, IGNORED, IGNORED)))) for group in groups
    ]


def _pad(arrays: tuple[np.ndarray, ...], fill: int) -> np.ndarray:
    padded = np.full((len(arrays), max(map(len, arrays))), fill)
    for row, array in zip(padded, arrays):
        row[: len(array)] = array
    return padded
