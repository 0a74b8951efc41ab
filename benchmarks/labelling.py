"""Completions that labelling needs: full Monte Carlo, early stop, binary search, and prefixes of right solutions taken as right.

    python benchmarks/labelling.py

No model runs. The completions are those of the demo's audit labels, in random order; or simulated ones if the demo is not built.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import bench
import inputs
import numpy as np
from bench import Row

from pqm.io import formats
from pqm.labels.monte_carlo import Estimate, Outcome, Prefix, StepLabeller
from pqm.problems.word_problems import step_truth

COMPLETIONS = 16
SHUFFLES = 8  # orders of the completions
SIMULATED_QUESTIONS, SIMULATED_SAMPLES = 40, 12
RIGHT, WRONG = 0.85, 0.05  # the chance of a right completion of a simulated right (wrong) prefix


@dataclass
class Solution:
    """A distinct solution: its steps, whether each is right, and whether its answer is."""

    steps: Prefix
    truth: list[bool]
    correct: bool


@dataclass
class Question:
    """The distinct solutions of a question, and how many of `COMPLETIONS` completions of each prefix are right."""

    solutions: list[Solution] = field(default_factory=list)
    hits: dict[Prefix, int] = field(default_factory=dict)


@dataclass
class Labelled:
    """Labels of all solutions by one method: how many are equal to the truth, and what they cost."""

    labels: list[float] = field(default_factory=list)
    right: int = 0
    completions: int = 0

    def agreement(self) -> float:
        """Percentage of the steps whose label is the truth."""
        return 100 * self.right / len(self.labels)


class Recorded:
    """Completes a question's prefixes with its recorded outcomes, in a random order."""

    def __init__(self, question: Question, seed: str) -> None:
        self._outcomes = {}
        for prefix, hits in question.hits.items():
            outcomes = [Outcome(place < hits, 0) for place in range(COMPLETIONS)]
            Random(f"{seed} {prefix}").shuffle(outcomes)
            self._outcomes[prefix] = outcomes

    def __call__(self, prefixes: Sequence[Prefix], count: int, first: int) -> list[list[Outcome]]:
        return [self._outcomes[prefix][first : first + count] for prefix in prefixes]


Method = Callable[[Question, Recorded], tuple[StepLabeller, str]]


def monte_carlo(completions: int, early_stop: bool = False) -> Method:
    """Every prefix is completed; with `early_stop` until a completion is right."""

    def label(question: Question, recorded: Recorded) -> tuple[StepLabeller, str]:
        labeller = StepLabeller(recorded, completions, early_stop)
        labeller.every_step([one.steps for one in question.solutions])
        return labeller, "every-step"

    return label


def binary(question: Question, recorded: Recorded) -> tuple[StepLabeller, str]:
    """Binary search for the first prefix without a right completion."""
    labeller = StepLabeller(recorded, COMPLETIONS, early_stop=False)
    labeller.binary([one.steps for one in question.solutions])
    return labeller, "binary"


def right_prefixes(question: Question, recorded: Recorded) -> tuple[StepLabeller, str]:
    """Prefixes of solutions with the right answer need no completion, because each of these solutions is a right one."""
    labeller = StepLabeller(recorded, COMPLETIONS, early_stop=False)
    for one in question.solutions:
        if one.correct:
            labeller.estimates |= {one.steps[:end]: Estimate(hits=1) for end in range(1, len(one.steps))}
    labeller.every_step([one.steps for one in question.solutions])
    return labeller, "every-step"


def label(questions: Iterable[Question], method: Method) -> Labelled:
    """The labels of a method in `SHUFFLES` orders of the completions."""
    found = Labelled()
    for shuffle in range(SHUFFLES):
        for number, question in enumerate(questions):
            labeller, search = method(question, Recorded(question, f"{shuffle} {number}"))
            found.completions += sum(one.count for one in labeller.estimates.values())
            for one in question.solutions:
                labels = labeller.labels(one.steps, one.correct, search)["labels"]
                found.labels += labels
                found.right += sum(label == truth for label, truth in zip(labels, one.truth))
    return found


def audited() -> list[Question]:
    """The questions of the demo's audit set."""
    questions: dict[str, Question] = {}
    for row in formats.read(Path(inputs.DEMO.labels("audit")), formats.LABELS).itertuples():
        question, steps = questions.setdefault(row.question_id, Question()), tuple(row.completions)
        question.solutions.append(Solution(steps, step_truth(row.prompt, steps), bool(row.correct)))
        question.hits |= {steps[: place + 1]: int(hits) for place, hits in enumerate(row.hits[:-1])}
    return list(questions.values())


def simulated() -> list[Question]:
    """Word problems with simulated solutions, whose prefixes are completed rightly with probability `RIGHT` or `WRONG`."""
    table, draw = inputs.questions(SIMULATED_QUESTIONS), np.random.default_rng(0)
    questions = []
    for row, (_, group) in zip(table.itertuples(), inputs.rollouts(table, SIMULATED_SAMPLES).groupby("question_id")):
        question = Question()
        for steps in dict.fromkeys(map(tuple, group["steps"])):
            truth = step_truth(row.question, steps)
            question.solutions.append(Solution(steps, truth, steps[-1].endswith(f" answer {row.answer}")))
            for place, right in enumerate(truth[:-1]):
                question.hits.setdefault(steps[: place + 1], int(draw.binomial(COMPLETIONS, RIGHT if right else WRONG)))
        questions.append(question)
    return questions


def at_cost(curve: Sequence[Labelled], completions: float) -> float:
    """The agreement of full Monte Carlo at a number of completions, linear between whole completions per prefix."""
    return float(np.interp(completions, [one.completions for one in curve], [one.agreement() for one in curve]))


def measure() -> list[Row]:
    """The cost of each method, and its agreement with the truth beside that of full Monte Carlo at the same cost."""
    known = Path(inputs.DEMO.labels("audit")).exists()
    questions = audited() if known else simulated()
    source = "the demo's audit labels" if known else "simulated completions (the demo is not built)"
    curve = [label(questions, monte_carlo(count)) for count in range(1, COMPLETIONS + 1)]
    full, early = curve[-1], label(questions, monte_carlo(COMPLETIONS, early_stop=True))
    number = SHUFFLES * sum(len(question.solutions) for question in questions)
    note = f"{source}: {number // SHUFFLES} solutions, {COMPLETIONS} completions per prefix, mean of {SHUFFLES} orders"
    rows = [_cost("early stop", early, full, number, note)]
    changed = sum(ours != theirs for ours, theirs in zip(early.labels, full.labels, strict=True))
    rows.append(Row("labelling", "early stop: labels that differ from full Monte Carlo", changed, unit="labels", goal="= 0"))
    for name, method in (("binary search", binary), ("prefixes of right solutions taken as right", right_prefixes)):
        found = label(questions, method)
        same_cost = at_cost(curve, found.completions)
        rows.append(_cost(name, found, full, number, note))
        rows.append(
            Row(
                "labelling",
                f"{name}: steps labelled as the truth, against full Monte Carlo at the same cost",
                found.agreement(),
                same_cost,
                "% of the steps",
                found.agreement() / same_cost,
                ">= 1",
                f"full Monte Carlo with {COMPLETIONS} completions {full.agreement():.2f}",
            )
        )
    return rows


def _cost(name: str, found: Labelled, full: Labelled, solutions: int, note: str) -> Row:
    ours, theirs = found.completions / solutions, full.completions / solutions
    what = f"{name}, against full Monte Carlo"
    return Row("labelling", what, ours, theirs, "completions per solution", theirs / ours, "", note)


if __name__ == "__main__":
    bench.main(measure)
