"""Stage `labels`: Monte Carlo labels of steps, which measure how often a completer reaches the right answer from a step.

A prefix (question and steps up to t) is completed k times. A completion is right if the prefix and the completion together state
the right answer, because the prefix may state it already. The hard label of step t is 1 if any completion is right. The soft label
is the share of right completions (Math-Shepherd's estimate of sigma(Q)). A complete solution needs no completion: the label of its
last step is the solution's own grade.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pqm.errors import PqmError, shortened
from pqm.grading.extraction import extract_answer
from pqm.grading.grader import Grader
from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.models.policy import load_policy
from pqm.models.sampling.engine import Request
from pqm.progress import say
from pqm.study.labels import LabelsConfig
from pqm.study.settings import Precision

Prefix = tuple[str, tuple[str, ...]]  # a question's id, and the first steps of a solution, or all of them


@dataclass
class Estimate:
    """The completions of one prefix: how many are right, how many there are, and their tokens."""

    hits: int = 0
    count: int = 0
    tokens: int = 0


@dataclass
class Outcome:
    """One completion of a prefix: whether its answer is right, and its length in tokens."""

    right: bool
    tokens: int


# (prefixes, count, first): completes each prefix `count` more times; `first` is the number of the first of these completions, so
# that no random stream is used twice.
Completer = Callable[[Sequence[Prefix], int, int], list[list[Outcome]]]


@dataclass
class StepLabeller:
    """Labels solutions of any questions; each distinct prefix is completed once, with the prefixes of all questions together."""

    complete: Completer
    completions: int
    early_stop: bool
    estimates: dict[Prefix, Estimate] = field(default_factory=dict)

    def estimate(self, prefixes: Sequence[Prefix]) -> None:
        """Complete every prefix without an estimate; with `early_stop` one completion at a time, until one is right."""
        wanted = [prefix for prefix in dict.fromkeys(prefixes) if prefix not in self.estimates]
        self.estimates |= {prefix: Estimate() for prefix in wanted}
        size = 1 if self.early_stop else self.completions
        for first in range(0, self.completions, size):
            if not wanted:
                return
            for prefix, outcomes in zip(wanted, self.complete(wanted, size, first)):
                found = self.estimates[prefix]
                found.hits += sum(outcome.right for outcome in outcomes)
                found.count += len(outcomes)
                found.tokens += sum(outcome.tokens for outcome in outcomes)
            if self.early_stop:
                wanted = [prefix for prefix in wanted if not self.estimates[prefix].hits]

    def every_step(self, solutions: Sequence[Prefix]) -> None:
        """Estimate each prefix of each solution, except the complete solution."""
        self.estimate([(name, steps[:end]) for name, steps in solutions for end in range(1, len(steps))])

    def binary(self, solutions: Sequence[Prefix]) -> None:
        """Find each solution's first prefix without a right completion by binary search (as OmegaPRM)."""
        intervals = {solution: (0, len(solution[1])) for solution in solutions}
        while open_ones := {solution: span for solution, span in intervals.items() if span[1] - span[0] > 1}:
            middles = {(name, steps): (name, steps[: sum(span) // 2]) for (name, steps), span in open_ones.items()}
            self.estimate(list(middles.values()))
            for solution, middle in middles.items():
                (low, high), end = intervals[solution], len(middle[1])
                intervals[solution] = (end, high) if self.estimates[middle].hits else (low, end)
        self.first_misses = {solution: span[1] for solution, span in intervals.items()}

    def labels(self, solution: Prefix, correct: bool, search: str) -> dict[str, list[Any]]:
        """Hard and soft labels with hits and counts, each of shape [steps]. The last step has a count of 1, its own grade.

        With binary search, a prefix without completions has a count of 0. Its label is 1 before the first prefix without a
        right completion, and 0 after it.
        """
        name, steps = solution
        tried = [self.estimates.get((name, steps[:end]), Estimate()) for end in range(1, len(steps))]
        hits = [one.hits for one in tried] + [int(correct)]
        counts = [one.count for one in tried] + [1]
        if search == "binary":
            first_miss = self.first_misses[solution]
            implied = [float(end < first_miss) for end in range(1, len(steps) + 1)]
            hard = [float(hit > 0) if count else label for hit, count, label in zip(hits, counts, implied)]
        else:
            hard = [float(hit > 0) for hit in hits]
        soft = [hit / count if count else label for hit, count, label in zip(hits, counts, hard)]
        return {"labels": hard, "soft_labels": soft, "hits": hits, "counts": counts}


@dataclass(frozen=True)
class LabelSources:
    """The inputs of Monte Carlo labels.

    Attributes:
        completer: folder of the policy that completes prefixes.
        questions: question table.
        rollouts: rollout tables to label, by policy.
        server, precision: see `load_policy`.
    """

    completer: Path
    questions: Path
    rollouts: dict[str, Path]
    server: Path | None = None
    precision: Precision = "fp32"


class MonteCarloLabeller:
    """Labels the distinct solutions of every question; a solution of several policies is labelled once.

    Raises:
        PqmError: the rollouts answer a question that is not in the question table, or their steps are split in another way than
            those of the completer.
    """

    def __init__(self, config: LabelsConfig, sources: LabelSources) -> None:
        self.config, self.sources = config, sources
        self.engine, self.format = load_policy(sources.completer, config.threads, sources.server, sources.precision)
        self.questions = formats.read(sources.questions, formats.QUESTIONS)
        self.solutions = self._distinct_solutions()

    def _distinct_solutions(self) -> dict[str, pd.DataFrame]:
        """The distinct solutions of each question, without those that have no steps; a finished one is kept before a truncated."""
        rollouts = self.sources.rollouts
        parts = [formats.read(path, formats.ROLLOUTS).assign(policy=policy) for policy, path in rollouts.items()]
        for part, path in zip(parts, rollouts.values()):
            self.format.expect(part, path, self.sources.completer)
        solutions = pd.concat(parts, ignore_index=True)
        unknown = set(solutions["question_id"]) - set(self.questions["question_id"])
        if unknown:
            raise PqmError(f"{self.sources.questions}: question {shortened(min(unknown))} is missing, which the rollouts answer")
        solutions["steps"] = solutions["steps"].map(tuple)
        solutions = solutions[solutions["steps"].map(len) > 0]
        finished_first = solutions.sort_values("finish_reason", key=lambda reason: reason != "stop", kind="stable")
        distinct = finished_first.drop_duplicates(["question_id", "steps"]).sort_index()
        return dict(tuple(distinct.groupby("question_id")))

    def label(self, cache: ShardCache) -> pd.DataFrame:
        """Compute the label table.

        Args:
            cache: the cache for finished shards.
        """
        size = self.config.questions_per_batch
        shards = [self.questions.iloc[start : start + size] for start in range(0, len(self.questions), size)]
        with Grader() as grader:
            self.grader = grader
            frame = cache.table_by_shards(shards, self._label_shard, "labels", "batch")
        if message := grader.report():
            say(f"{self.sources.questions}: {message}")
        return self.format.mark(frame)

    def _label_shard(self, shard: pd.DataFrame) -> list[dict[str, Any]]:
        """The rows of the solutions of some questions."""
        config = self.config
        questions = {one.question_id: one for one in shard.itertuples() if one.question_id in self.solutions}
        labeller = StepLabeller(partial(self._complete, questions), config.completions, config.early_stop)
        solutions = [(name, steps) for name in questions for steps in self.solutions[name]["steps"]]
        (labeller.binary if config.search == "binary" else labeller.every_step)(solutions)
        spent: Counter[str] = Counter()
        for (name, _), estimate in labeller.estimates.items():
            spent[name] += estimate.tokens
        return [row for question in questions.values() for row in self._rows(question, labeller, spent[question.question_id])]

    def _rows(self, question: Any, labeller: StepLabeller, spent: int) -> list[dict[str, Any]]:
        """The rows of one question's solutions; the first contains the tokens of its completions."""
        config, solutions = self.config, self.solutions[question.question_id]
        method = f"{config.search}, {config.completions} completions" + (", early stop" if config.early_stop else "")
        grades = self.grader([(_stated(one.text, one.finish_reason), question.answer) for one in solutions.itertuples()])
        return [
            {
                "question_id": question.question_id,
                "policy": solution.policy,
                "prompt": question.question,
                "completions": list(solution.steps),
                **labeller.labels((question.question_id, solution.steps), correct, config.search),
                "answer": extract_answer(solution.text),
                "correct": correct,
                "method": method,
                "completion_tokens": spent if index == 0 else 0,
            }
            for index, (solution, correct) in enumerate(zip(solutions.itertuples(), grades))
        ]

    def _complete(self, questions: dict[str, Any], prefixes: Sequence[Prefix], count: int, first: int) -> list[list[Outcome]]:
        """Complete each prefix `count` more times, all in one batch of requests."""
        config = self.config
        requests = [
            Request("|".join((name, *steps)), self.format.prefix(questions[name].question, steps), count, skip=first)
            for name, steps in prefixes
        ]
        groups = self.engine.sample(requests, config.temperature, config.max_new_tokens, config.seed, config.rows)
        written = ["".join(step + self.format.step_separator for step in steps) for _, steps in prefixes]
        pairs = [
            (_stated(before + one.text, one.finish_reason), questions[name].answer)
            for (name, _), before, group in zip(prefixes, written, groups)
            for one in group
        ]
        right = iter(self.grader(pairs))
        return [[Outcome(next(right), one.n_tokens) for one in group] for group in groups]


def _stated(text: str, finish_reason: str) -> str | None:
    """The answer that a text states; None if it is truncated."""
    return extract_answer(text) if finish_reason == "stop" else None
