"""Best-of-n and votes of any score table, without a study."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pqm.errors import PqmError, shortened
from pqm.estimation.estimators import AGGREGATIONS, logit
from pqm.estimation.judge import Questions, aggregated, join, judge
from pqm.estimation.statistics import summarise
from pqm.evaluate.answers import read_grades
from pqm.io import formats

SCALES = ("logit", "probability")
VOTE_SUBSETS = 200


def judge_scores(
    grades: Path, scores: Path, aggregation: str, n: Sequence[int], seed: int, scale: str | None = None
) -> pd.DataFrame:
    """Exact best-of-n and score-weighted votes of one score table, with 95 % intervals.

    Args:
        seed: of the random subsets for votes.
        scale: see `scored`.

    Raises:
        PqmError: a question has fewer samples than the largest n, or see `scored`.
    """
    joined = scored(read_grades(grades), scores, aggregation, scale)
    solutions, sizes = aggregated(joined["step_scores"].tolist(), [aggregation]), sorted(set(n))
    (rows,) = judge(Questions.of(joined, sizes), solutions[None], [aggregation], sizes, VOTE_SUBSETS, seed)
    rows["method"] = rows["kind"].map({"best": "best-of-n", "vote": "weighted vote"})
    cell = {"policy": "", "benchmark": "", "backbone": "", "seed": 0}
    table = summarise(rows.assign(**cell), 0.95)
    return table[["method", "aggregation", "n", "accuracy", "low", "high", "questions"]]


def scored(graded: pd.DataFrame, scores: Path, aggregation: str, scale: str | None) -> pd.DataFrame:
    """Graded samples with the step scores of a score table as logits.

    Args:
        scale: of the step scores, one of `SCALES`; None if the table says it, if a score is outside [0, 1], or if all solutions have
            the same scores.

    Raises:
        PqmError: the aggregation or scale is unknown, a sample has no score, or a score is no probability though the scale says so.
    """
    if aggregation not in AGGREGATIONS:
        raise PqmError(f"--aggregation {shortened(aggregation)}: expected one of {', '.join(AGGREGATIONS)}")
    if scale not in (None, *SCALES):
        raise PqmError(f"--scale {shortened(scale)}: expected one of {', '.join(SCALES)}")
    table = formats.read(scores, formats.SCORES)
    outside = [bool(((np.asarray(steps) < 0) | (np.asarray(steps) > 1)).any()) for steps in table["step_scores"]]
    scale = scale or table.attrs.get("scale")
    if scale is None and not any(outside) and table["step_scores"].map(tuple).nunique() > 1:  # equal ones tie in any scale
        raise PqmError(
            f"{scores}: all step scores are between 0 and 1; say what they are with --scale probability or --scale logit"
        )
    if scale == "probability":
        if any(outside):
            row = outside.index(True)
            raise PqmError(
                f"{scores}: row {row} (question {shortened(table['question_id'][row])}, sample {table['sample_id'][row]}),"
                f" step_scores: expected probabilities between 0 and 1, found {shortened(list(table['step_scores'][row]))}"
            )
        table["step_scores"] = [logit(steps) for steps in table["step_scores"]]
    return join(graded, table, scores)
