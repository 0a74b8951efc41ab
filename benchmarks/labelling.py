"""Completions that labelling needs: full Monte Carlo, early stop, binary search, and prefixes of right solutions taken as right.

    python benchmarks/labelling.py

No model runs. The completions are those of the demo's labels, in random order; or simulated ones if the demo is not built. The
chart `docs/performance-labelling.svg` shows the agreement with the truth at every number of completions per prefix.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import bench
import inputs
import numpy as np
from bench import Row
from matplotlib.figure import Figure

from pqm.io import formats
from pqm.labels.monte_carlo import Estimate, Outcome, Prefix, StepLabeller
from pqm.problems.word_problems import step_truth

USUAL = 4  # completions per prefix of the labels that the demo trains with
SHUFFLES = 4  # orders of the completions
SIMULATED_QUESTIONS, SIMULATED_SAMPLES, SIMULATED_COMPLETIONS = 40, 12, 16
RIGHT, WRONG = 0.85, 0.05  # the chance of a right completion of a simulated right (wrong) prefix
CHART = bench.ROOT / "docs/performance-labelling.svg"


@dataclass
class Solution:
    """A distinct solution: its steps, whether each is right, and whether its answer is."""

    steps: tuple[str, ...]
    truth: list[bool]
    correct: bool


@dataclass
class Question:
    """The distinct solutions of a question, and how many of the completions of each prefix are right, of how many."""

    completions: int
    solutions: list[Solution] = field(default_factory=list)
    hits: dict[tuple[str, ...], int] = field(default_factory=dict)


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
            outcomes = [Outcome(place < hits, 0) for place in range(question.completions)]
            Random(f"{seed} {prefix}").shuffle(outcomes)
            self._outcomes[prefix] = outcomes

    def __call__(self, prefixes: Sequence[Prefix], count: int, first: int) -> list[list[Outcome]]:
        return [self._outcomes[steps][first : first + count] for _, steps in prefixes]


Method = Callable[[Question, Recorded, int], tuple[StepLabeller, str]]


def monte_carlo(question: Question, recorded: Recorded, completions: int, early_stop: bool = False) -> tuple[StepLabeller, str]:
    """Every prefix is completed; with `early_stop` until a completion is right."""
    labeller = StepLabeller(recorded, completions, early_stop)
    labeller.every_step([("", one.steps) for one in question.solutions])
    return labeller, "every-step"


def binary(question: Question, recorded: Recorded, completions: int) -> tuple[StepLabeller, str]:
    """Binary search for the first prefix without a right completion."""
    labeller = StepLabeller(recorded, completions, early_stop=False)
    labeller.binary([("", one.steps) for one in question.solutions])
    return labeller, "binary"


def right_prefixes(question: Question, recorded: Recorded, completions: int) -> tuple[StepLabeller, str]:
    """Prefixes of solutions with the right answer need no completion, because each of these solutions is a right one."""
    labeller = StepLabeller(recorded, completions, early_stop=False)
    for one in question.solutions:
        if one.correct:
            labeller.estimates |= {("", one.steps[:end]): Estimate(hits=1) for end in range(1, len(one.steps))}
    labeller.every_step([("", one.steps) for one in question.solutions])
    return labeller, "every-step"


FULL = "full Monte Carlo"
METHODS: dict[str, Method] = {
    FULL: monte_carlo,
    "binary search": binary,
    "prefixes of right solutions taken as right": right_prefixes,
}


def label(questions: Iterable[Question], method: Method, completions: int) -> Labelled:
    """The labels of a method with `completions` per prefix, in `SHUFFLES` orders of the completions."""
    found = Labelled()
    for shuffle in range(SHUFFLES):
        for number, question in enumerate(questions):
            labeller, search = method(question, Recorded(question, f"{shuffle} {number}"), completions)
            found.completions += sum(one.count for one in labeller.estimates.values())
            for one in question.solutions:
                labels = labeller.labels(("", one.steps), one.correct, search)["labels"]
                found.labels += labels
                found.right += sum(label == truth for label, truth in zip(labels, one.truth))
    return found


def of_demo(labels: str) -> list[Question]:
    """The questions of a label set of the demo."""
    questions: dict[str, Question] = {}
    for row in formats.read(Path(inputs.DEMO.labels(labels)), formats.LABELS).itertuples():
        question, steps = questions.setdefault(row.question_id, Question(max(row.counts))), tuple(row.completions)
        question.completions = max(question.completions, *row.counts)
        question.solutions.append(Solution(steps, step_truth(row.prompt, steps), bool(row.correct)))
        question.hits |= {steps[: place + 1]: int(hits) for place, hits in enumerate(row.hits[:-1])}
    return list(questions.values())


def simulated() -> list[Question]:
    """Word problems with simulated solutions, whose prefixes are completed rightly with probability `RIGHT` or `WRONG`."""
    table, draw = inputs.questions(SIMULATED_QUESTIONS), np.random.default_rng(0)
    questions = []
    for row, (_, group) in zip(table.itertuples(), inputs.rollouts(table, SIMULATED_SAMPLES).groupby("question_id")):
        question = Question(SIMULATED_COMPLETIONS)
        for steps in dict.fromkeys(map(tuple, group["steps"])):
            truth = step_truth(row.question, steps)
            question.solutions.append(Solution(steps, truth, steps[-1].endswith(f" answer {row.answer}")))
            for place, right in enumerate(truth[:-1]):
                hits = int(draw.binomial(SIMULATED_COMPLETIONS, RIGHT if right else WRONG))
                question.hits.setdefault(steps[: place + 1], hits)
        questions.append(question)
    return questions


Curves = dict[str, dict[int, Labelled]]  # the labels of each method by completions per prefix


def curves(questions: Sequence[Question]) -> Curves:
    """The labels of each method with 1, 2, 4, .. completions per prefix, as many as are recorded."""
    most = int(max(question.completions for question in questions))
    sizes = [2**power for power in range(most.bit_length())]
    return {name: {size: label(questions, method, size) for size in sizes} for name, method in METHODS.items()}


def at_cost(curve: dict[int, Labelled], completions: float) -> float:
    """The agreement of full Monte Carlo at a number of completions, linear between its points.

    Below one completion per prefix it is that of one, because it costs as much per solution to label fewer solutions.
    """
    points = list(curve.values())
    return float(np.interp(completions, [one.completions for one in points], [one.agreement() for one in points]))


def draw(sets: dict[str, tuple[int, Curves]], path: Path) -> None:
    """A panel per label set: agreement with the truth over the completions per solution, a curve per method."""
    figure = Figure(figsize=(4.2 * len(sets), 3.8), layout="constrained")
    axes = figure.subplots(1, len(sets), squeeze=False)[0]
    for axis, (title, (solutions, methods)) in zip(axes, sets.items()):
        for name, curve in methods.items():
            cost, agreement = zip(*[(one.completions / solutions / SHUFFLES, one.agreement()) for one in curve.values()])
            (line,) = axis.plot(cost, agreement, marker="o", markersize=4, label=name)
            for size, *place in zip(curve, cost, agreement):
                axis.annotate(str(size), place, (0, 4), textcoords="offset points", fontsize=7, color=line.get_color())
        axis.set(title=title, xlabel="completions per solution", ylabel="steps labelled as the truth, %")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.spines[["right", "top"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(METHODS), frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


def measure() -> list[Row]:
    """The cost of each method, and its agreement with the truth beside that of full Monte Carlo at the same cost."""
    if Path(inputs.DEMO.labels("audit")).exists():
        sets = {f"the demo's {labels} labels": of_demo(labels) for labels in ("audit", "train")}
    else:
        sets = {"simulated completions (the demo is not built)": simulated()}
    found, rows = {}, []
    for name, questions in sets.items():
        solutions = sum(len(question.solutions) for question in questions)
        found[name] = solutions, curves(questions)
        rows += _early_stop(name, questions, found[name][1][FULL][USUAL], solutions)
        for method in METHODS:
            if method != FULL:
                rows += _against_full(name, method, found[name][1], solutions)
        rows.append(_wrong_steps(name, questions))
    draw(found, CHART)
    return rows


def _early_stop(name: str, questions: Sequence[Question], full: Labelled, solutions: int) -> list[Row]:
    early = label(questions, partial(monte_carlo, early_stop=True), USUAL)
    changed = sum(ours != theirs for ours, theirs in zip(early.labels, full.labels, strict=True))
    note = f"{solutions:,} solutions, {USUAL} completions per prefix, mean of {SHUFFLES} orders"
    what = f"early stop: labels of {name} that differ from full Monte Carlo"
    return [_cost(name, "early stop", early, full, solutions, note), Row("labelling", what, changed, unit="labels", goal="= 0")]


def _against_full(name: str, method: str, found: Curves, solutions: int) -> list[Row]:
    """The cost and agreement of a method at the usual number of completions; the note has the whole curve."""
    full, ours = found[FULL], found[method]
    each = [(size, one.agreement(), at_cost(full, one.completions)) for size, one in ours.items()]
    note = "; ".join(f"{size} per prefix: {agreement:.1f}, full {same_cost:.1f}" for size, agreement, same_cost in each)
    agreement, same_cost = next(one[1:] for one in each if one[0] == USUAL)
    what = f"{method}: steps of {name} labelled as the truth, against full Monte Carlo at the same cost"
    return [
        _cost(name, method, ours[USUAL], full[USUAL], solutions, f"{USUAL} completions per prefix"),
        Row("labelling", what, agreement, same_cost, "% of the steps", agreement / same_cost, ">= 1", note),
    ]


def _cost(name: str, method: str, found: Labelled, full: Labelled, solutions: int, note: str) -> Row:
    ours, theirs = (one.completions / solutions / SHUFFLES for one in (found, full))
    what = f"{method}: {name}, against full Monte Carlo"
    return Row("labelling", what, ours, theirs, "completions per solution", theirs / ours, "", note)


def _wrong_steps(name: str, questions: Iterable[Question]) -> Row:
    """How many solutions with the right answer have a wrong step: the labels that no method sees which takes them as right."""
    right = [one for question in questions for one in question.solutions if one.correct]
    wrong = sum(not all(one.truth) for one in right)
    steps = sum(truth is False for one in right for truth in one.truth)
    note = f"{wrong} of {len(right)}; {steps} of their {sum(len(one.truth) for one in right):,} steps are wrong"
    what = f"solutions of {name} with the right answer and a wrong step"
    return Row("labelling", what, 100 * wrong / len(right), unit="% of those with the right answer", note=note)


if __name__ == "__main__":
    bench.main(measure)
