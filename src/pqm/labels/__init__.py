"""Stage `labels`: how good a step is, by how often a completer gets from there to the right answer.

A prefix (question and steps up to t) is completed k times; step t's hard label is 1 where any completion is right, its
soft label is the share that is right (Math-Shepherd's estimate of sigma(Q)). The prefix that is a whole solution needs
no completion: its label is the solution's own grade.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pqm import formats
from pqm.config import LabelsConfig
from pqm.errors import PqmError
from pqm.evaluate.grading import Grader, extract_answer
from pqm.progress import say
from pqm.rollouts import load_policy
from pqm.rollouts.engine import Request
from pqm.work import WorkFolder

Prefix = tuple[str, ...]


@dataclass
class Estimate:
    """Right completions, completions tried and tokens spent on one prefix."""

    hits: int = 0
    count: int = 0
    tokens: int = 0


@dataclass
class Outcome:
    """One completion of a prefix: is its answer right, and its length in tokens."""

    right: bool
    tokens: int


# Completes each prefix `count` more times; `first` numbers its completions, so that no draw is used twice.
Completer = Callable[[Sequence[Prefix], int, int], list[list[Outcome]]]


@dataclass
class StepLabeller:
    """Estimates the prefixes of one question's solutions, each distinct prefix once."""

    complete: Completer
    completions: int
    early_stop: bool
    estimates: dict[Prefix, Estimate] = field(default_factory=dict)

    def estimate(self, prefixes: Sequence[Prefix]) -> None:
        """Complete every prefix that has no estimate yet, all at once; with `early_stop` one at a time until a hit."""
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
        """Estimate each proper prefix of each solution."""
        self.estimate([solution[:end] for solution in solutions for end in range(1, len(solution))])

    def binary(self, solutions: Sequence[Prefix]) -> None:
        """Halve each solution's open interval until its first prefix without a hit is known (OmegaPRM's search)."""
        intervals = {solution: (0, len(solution)) for solution in solutions}
        while open_ones := {solution: span for solution, span in intervals.items() if span[1] - span[0] > 1}:
            middles = {solution: solution[: sum(span) // 2] for solution, span in open_ones.items()}
            self.estimate(list(middles.values()))
            for solution, middle in middles.items():
                low, high = intervals[solution]
                intervals[solution] = (len(middle), high) if self.estimates[middle].hits else (low, len(middle))
        self.first_misses = {solution: span[1] for solution, span in intervals.items()}

    def labels(self, solution: Prefix, correct: bool, search: str) -> dict[str, list[Any]]:
        """Hard and soft labels with their counts; the last step's count is 1, its own grade.

        Under `binary` a prefix that was not tried takes the label that its place before or after the first miss
        implies, with a count of 0.
        """
        tried = [self.estimates.get(solution[:end], Estimate()) for end in range(1, len(solution))]
        hits = [one.hits for one in tried] + [int(correct)]
        counts = [one.count for one in tried] + [1]
        if search == "binary":
            first_miss = self.first_misses[solution]
            implied = [float(end < first_miss) for end in range(1, len(solution) + 1)]
            hard = [float(hit > 0) if count else label for hit, count, label in zip(hits, counts, implied)]
        else:
            hard = [float(hit > 0) for hit in hits]
        soft = [hit / count if count else label for hit, count, label in zip(hits, counts, hard)]
        return {"labels": hard, "soft_labels": soft, "hits": hits, "counts": counts}


def make_labels(
    config: LabelsConfig,
    completer: Path,
    questions: Path,
    rollouts: dict[str, Path],
    work: WorkFolder,
    server: Path | None = None,
) -> pd.DataFrame:
    """Label the distinct solutions of every question; a solution that several policies wrote is labelled once.

    Args:
        rollouts: the rollout table of each policy in `config.policies`.
    """
    engine, form = load_policy(completer, config.threads, server)
    table = formats.read(questions, formats.QUESTIONS)
    parts = [formats.read(path, formats.ROLLOUTS).assign(policy=policy) for policy, path in rollouts.items()]
    for part, path in zip(parts, rollouts.values()):
        form.expect(part, path, completer)
    solutions = pd.concat(parts, ignore_index=True)
    unknown = set(solutions["question_id"]) - set(table["question_id"])
    if unknown:
        raise PqmError(f"{questions}: holds no question {min(unknown)!r}, which the rollouts answer")
    solutions["steps"] = solutions["steps"].map(tuple)
    solutions = solutions[solutions["steps"].map(len) > 0].drop_duplicates(["question_id", "steps"])
    by_question = dict(tuple(solutions.groupby("question_id")))
    method = f"{config.search}, {config.completions} completions" + (", early stop" if config.early_stop else "")

    def rows(shard: pd.DataFrame) -> list[dict[str, Any]]:
        labellers = {row.question_id: (row, _labeller(row)) for row in shard.itertuples() if row.question_id in by_question}
        return [one for row, labeller in labellers.values() for one in _label_question(row, labeller)]

    def stated(text: str, finish_reason: str) -> str | None:
        """The answer; a truncated solution states none."""
        return extract_answer(text) if finish_reason == "stop" else None

    def _labeller(row: Any) -> StepLabeller:
        def complete(prefixes: Sequence[Prefix], count: int, first: int) -> list[list[Outcome]]:
            requests = [
                Request("|".join((row.question_id, *prefix)), form.prefix(row.question, prefix), count, skip=first)
                for prefix in prefixes
            ]
            groups = engine.sample(requests, config.temperature, config.max_new_tokens, config.seed, config.rows)
            completed = [one for group in groups for one in group]
            right = iter(grader([(stated(one.text, one.finish_reason), row.answer) for one in completed]))
            return [[Outcome(next(right), one.n_tokens) for one in group] for group in groups]

        return StepLabeller(complete, config.completions, config.early_stop)

    def _label_question(row: Any, labeller: StepLabeller) -> list[dict[str, Any]]:
        own = by_question[row.question_id]
        (labeller.binary if config.search == "binary" else labeller.every_step)(list(own["steps"]))
        spent = sum(one.tokens for one in labeller.estimates.values())
        made = []
        grades = grader([(stated(solution.text, solution.finish_reason), row.answer) for solution in own.itertuples()])
        for index, (solution, correct) in enumerate(zip(own.itertuples(), grades)):
            made.append(
                {
                    "question_id": row.question_id,
                    "policy": solution.policy,
                    "prompt": row.question,
                    "completions": list(solution.steps),
                    **labeller.labels(solution.steps, correct, config.search),
                    "answer": extract_answer(solution.text),
                    "correct": correct,
                    "method": method,
                    "completion_tokens": spent if index == 0 else 0,
                }
            )
        return made

    size = config.questions_per_batch
    shards = [table.iloc[start : start + size] for start in range(0, len(table), size)]
    with Grader() as grader:
        frame = work.table_by_shards(shards, rows, "labels", "batch")
    if message := grader.report():
        say(f"{questions}: {message}")
    return form.mark(frame)
