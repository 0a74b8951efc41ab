"""From a training text, made as it is needed from a seed, to batches of tokens with the targets of every loss."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Protocol

import numpy as np

from pqm.config import Lesson, Phase

IGNORED = -100


@dataclass(frozen=True)
class Example:
    """The tokens of a question and of a solution, end token included.

    `right` says of each token of the solution whether it is right given what stands before it; `step_marks` of the place of
    each step's end in the solution whether no step was wrong so far.
    """

    question: Sequence[int]
    solution: Sequence[int]
    right: Sequence[bool]
    step_marks: Sequence[tuple[int, bool]]

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Tokens, the token that follows each, token marks and step marks; what does not count is `IGNORED`. Shape [tokens]."""
        begin = len(self.question)
        tokens, right = np.array([*self.question, *self.solution]), np.array(self.right)
        next_token, token_mark, step_mark = (np.full(len(tokens), IGNORED) for _ in range(3))
        next_token[begin - 1 : -1] = np.where(right, tokens[begin:], IGNORED)
        token_mark[begin:] = right
        for place, fine in self.step_marks:
            step_mark[begin + place] = fine
        return tokens, next_token, token_mark, step_mark


class Text(Protocol):
    """Where examples come from."""

    def example(self, random: Random, part: Phase | Lesson) -> Example:
        """A fresh example, of the kind that a phase or a lesson asks for."""


@dataclass
class Batch:
    """Arrays of shape [rows, tokens]; targets that do not count are `IGNORED`."""

    tokens: np.ndarray
    next_token: np.ndarray
    token_mark: np.ndarray
    step_mark: np.ndarray


@dataclass(frozen=True)
class Corpus:
    """An endless stream of batches of about `batch_tokens` tokens for a phase, made from `seed`."""

    text: Text
    seed: str
    batch_tokens: int
    phase: Phase

    def batches(self) -> Iterator[Batch]:
        """The lessons' batches, then the phase's."""
        for index, lesson in enumerate(self.phase.lessons):
            yield from islice(self._batches(f"{self.seed} lesson {index}", lesson), lesson.steps)
        yield from self.main_text()

    def main_text(self) -> Iterator[Batch]:
        """The phase's own batches, without lessons."""
        return self._batches(self.seed, self.phase)

    def _batches(self, seed: str, part: Phase | Lesson) -> Iterator[Batch]:
        """Batches of rows of like length, drawn from pools of 1,024 examples."""
        random = Random(seed)
        while True:
            examples = (self.text.example(random, part).arrays() for _ in range(1024))
            groups: list[list[tuple[np.ndarray, ...]]] = [[]]
            for example in sorted(examples, key=lambda example: len(example[0])):
                if groups[-1] and (len(groups[-1]) + 1) * len(example[0]) > self.batch_tokens:
                    groups.append([])
                groups[-1].append(example)
            random.shuffle(groups)
            for group in groups:
                yield Batch(*(_pad(arrays, fill) for arrays, fill in zip(zip(*group), (0, IGNORED, IGNORED, IGNORED))))


def _pad(arrays: tuple[np.ndarray, ...], fill: int) -> np.ndarray:
    padded = np.full((len(arrays), max(map(len, arrays))), fill)
    for row, array in zip(padded, arrays):
        row[: len(array)] = array
    return padded
