"""Published solutions: votes, pass@n, and the solutions on which our two graders and the publishers disagree."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd

from pqm.errors import PqmError
from pqm.estimation.estimators import pass_at_n, vote
from pqm.grading.values import first_spellings
from pqm.io.records import read_json_lines
from pqm.problems.published_values import truth_value
from pqm.progress import say


def judged_solutions(parts: Mapping[str, pd.DataFrame], questions: pd.DataFrame, solutions: Path) -> pd.DataFrame:
    """Majority vote and pass@n of GSM8K's published solutions, and the share of our grades that agree with the publishers'.

    Args:
        parts: the grades of each model, one sample per question.
        questions: the questions, by question id.
        solutions: the publishers' file, with their verdict `is_correct`.
    """
    pooled = pd.concat([part.assign(model=model) for model, part in parts.items()], ignore_index=True)
    n = list(range(1, len(parts) + 1))
    rows = [
        {"models": model, "method": "pass@1", "n": 1, "accuracy": part["correct"].mean(), "questions": len(part)}
        for model, part in parts.items()
    ]
    votes, passes = [], []
    for index, (_, group) in enumerate(pooled.groupby("question_id", sort=True)):
        correct = group["correct"].to_numpy()
        answers = first_spellings(list(group["answer"]))
        votes.append(vote(answers, correct, np.ones(len(group)), n, 200, np.random.default_rng(index)))
        passes.append([pass_at_n(correct, k) for k in n])
    for method, values in (("self-consistency", np.mean(votes, axis=0)), ("pass@n", np.mean(passes, axis=0))):
        rows += [{"models": "all", "method": method, "n": k, "accuracy": v, "questions": len(votes)} for k, v in zip(n, values)]
    pooled["is_correct"] = _is_correct(pooled, questions, solutions)
    for column, method in (
        ("correct", "agreement with is_correct"),
        ("second_correct", "second grader's agreement with is_correct"),
    ):
        same = pooled[column] == pooled["is_correct"]
        rows.append({"models": "all", "method": method, "n": 1, "accuracy": same.mean(), "questions": len(same)})
        say(f"{method}: {same.sum()} of {len(same)} grades ({100 * same.mean():.2f} %)")
    return pd.DataFrame(rows)


def disagreements(parts: Mapping[str, pd.DataFrame], questions: pd.DataFrame, solutions: Path) -> pd.DataFrame:
    """One row per published GSM8K solution on which the two graders and the publishers do not all agree, with who is right.

    GSM8K's gold answers are whole numbers, so no grader's rules are needed: a stated answer is right if it is the same number.
    An answer that is not a plain number is left undecided.

    Args:
        parts: the grades of each model.
        questions: the questions, by question id.
        solutions: the publishers' file, with the third verdict `is_correct`.
    """
    pooled = pd.concat([part.assign(model=model) for model, part in parts.items()], ignore_index=True)
    pooled["is_correct"] = _is_correct(pooled, questions, solutions)
    verdicts = pooled[["correct", "second_correct", "is_correct"]].set_axis(
        ["math-verify", "authors' rules", "publishers"], axis=1
    )
    table = (
        pooled[["question_id", "model", "answer"]]
        .assign(gold=list(questions.loc[pooled["question_id"], "answer"]))
        .join(verdicts)
    )
    table = table[verdicts.nunique(axis=1) > 1].sort_values(["question_id", "model"])
    table["truth"] = [_same_number(row.answer, row.gold) for row in table.itertuples()]
    table["who is right"] = [
        ", ".join(name for name in verdicts if row[name] == row["truth"]) or "undecided" for row in table.to_dict("records")
    ]
    say(f"{len(table)} of {len(pooled)} solutions have different verdicts")
    return table


def _is_correct(pooled: pd.DataFrame, questions: pd.DataFrame, solutions: Path) -> list[bool]:
    """The publishers' verdict on each row."""
    records = {record.get("question"): (number, record) for number, record in read_json_lines(solutions)}
    verdicts = []
    for row in pooled.itertuples():
        number, record = records[questions.at[row.question_id, "question"]]
        try:
            verdicts.append(truth_value(record[row.model]["is_correct"]))
        except (KeyError, ValueError):
            raise PqmError(f"{solutions}: row {number}: {row.model}: expected is_correct, true or false") from None
    return verdicts


def _same_number(answer: str, gold: str) -> bool | None:
    """Whether both are the same number; None if one is not a plain number."""
    try:
        stated, expected = (Fraction(text.replace(",", "").strip("$ ")) for text in (answer, gold))
    except (AttributeError, ValueError, ZeroDivisionError):
        return None
    return stated == expected
