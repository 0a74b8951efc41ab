"""The evaluation protocol of the paper's authors, for comparison: the first n samples in file order, without intervals.

`pqm evaluate judge` computes the expectation over all subsets of size n instead.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pqm.estimation.estimators import Bools, Floats, aggregate_all, first_n, vote_weights
from pqm.estimation.judge import expect_samples
from pqm.evaluate.judge import scored
from pqm.io import formats

GRADINGS = {
    "second_correct": "authors' rules, as applied",
    "rules_correct": "authors' rules, both sides normalised",
    "correct": "math-verify",
}


def official_table(grades: Path, scores: Path, aggregation: str, n: Sequence[int], scale: str | None = None) -> pd.DataFrame:
    """The accuracy of each method and n over all questions, by each of `GRADINGS` that every sample has.

    Raises:
        PqmError: a question has fewer samples than the largest n, or see `scored`.
    """
    joined = scored(formats.read(grades, formats.GRADES), scores, aggregation, scale)
    gradings = [column for column in GRADINGS if joined[column].notna().all()]
    questions = [group.sort_values("sample_id") for _, group in joined.groupby("question_id", sort=True)]
    found: dict[tuple[str, int], list[list[float]]] = {}
    for group in questions:
        expect_samples(group["question_id"].iloc[0], len(group), n)
        answers = list(group["answer"])
        solutions = aggregate_all(group["step_scores"].tolist(), aggregation)
        verdicts = [group[column].to_numpy(dtype=np.bool_) for column in gradings]
        ones, weights = np.ones(len(group)), vote_weights(solutions, aggregation)
        for size in sorted(set(n)):
            methods = {
                "best-of-n": [first_n(solutions, correct, size) for correct in verdicts],
                "best-of-n + self-consistency": [first_n_vote(answers, correct, weights, size) for correct in verdicts],
                "self-consistency": [first_n_vote(answers, correct, ones, size) for correct in verdicts],
                "pass@n": [float(correct[:size].any()) for correct in verdicts],
            }
            for method, values in methods.items():
                found.setdefault((method, size), []).append(values)
    rows = [(*key, len(questions), *np.mean(values, axis=0)) for key, values in found.items()]
    table = pd.DataFrame(rows, columns=["method", "n", "questions", *(GRADINGS[column] for column in gradings)])
    return table.sort_values(["method", "n"], kind="stable", ignore_index=True)


def first_n_vote(answers: Sequence[str | None], correct: Bools, weights: Floats, n: int) -> float:
    """Whether the answer with the largest sum of weights among the first n samples is right (1 or 0).

    Ties go to the first answer. As in the authors' code, no answer (None) counts as an answer, and an answer is right if the
    first sample with it is right. All arguments have shape [M], M >= n.
    """
    totals: dict[str | None, float] = {}
    for answer, weight in zip(answers[:n], weights):
        totals[answer] = totals.get(answer, 0.0) + float(weight)
    return float(correct[answers.index(max(totals, key=lambda answer: totals[answer]))])
