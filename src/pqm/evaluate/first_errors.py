"""Finding a solution's first wrong step: F1 in ProcessBench's definition, with a threshold from validation data only."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pqm import formats
from pqm.errors import PqmError
from pqm.evaluate import join
from pqm.questions.stories import ALL_RIGHT

CANDIDATES = 200


@dataclass(frozen=True)
class Hits:
    """Which solutions are erroneous, and which predictions are right; all of shape [solutions]."""

    erroneous: NDArray[np.bool_]
    right: NDArray[np.bool_]

    @property
    def on_erroneous(self) -> float:
        """Share of the solutions with an error whose first wrong step is found; NaN without any."""
        return _mean(self.right[self.erroneous])

    @property
    def on_correct(self) -> float:
        """Share of the solutions without an error that are let pass; NaN without any."""
        return _mean(self.right[~self.erroneous])

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return harmonic_mean(self.on_erroneous, self.on_correct)


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def harmonic_mean(one: float, other: float) -> float:
    """0 where both are 0, NaN where one is NaN."""
    return 0.0 if one + other == 0 else 2 * one * other / (one + other)


@dataclass(frozen=True)
class Bounds:
    """Where the first step below the threshold is the first wrong one: low < threshold <= high; all of shape [solutions]."""

    erroneous: NDArray[np.bool_]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, solutions: pd.DataFrame) -> "Bounds":
        """From `step_scores` and the true `first_error`: that step must be below the threshold, and none before it."""
        low, high = np.full(len(solutions), -np.inf), np.full(len(solutions), np.inf)
        for row, (steps, error) in enumerate(zip(solutions["step_scores"], solutions["first_error"])):
            scores = np.asarray(steps, dtype=np.float64)
            before = scores if error == ALL_RIGHT else scores[:error]
            high[row] = before.min(initial=np.inf)
            if error != ALL_RIGHT:
                low[row] = scores[error] if error < len(scores) else np.inf  # a step without score is never found
        return cls(solutions["first_error"].to_numpy(dtype=np.int64) != ALL_RIGHT, low, high)

    def hits(self, threshold: float) -> Hits:
        return Hits(self.erroneous, (self.low < threshold) & (threshold <= self.high))


def hits(solutions: pd.DataFrame, threshold: float) -> Hits:
    """Whether the first step that scores below the threshold is the true `first_error`; no such step says `ALL_RIGHT`."""
    return Bounds.of(solutions).hits(threshold)


def best_threshold(solutions: pd.DataFrame) -> float:
    """The threshold with the highest F1 on these (validation) solutions, of `CANDIDATES` quantiles of their step scores.

    The first of equals; without a right or a wrong solution the middle of the scores.
    """
    scores = np.concatenate([np.asarray(one, dtype=np.float64) for one in solutions["step_scores"]])
    candidates, bounds = np.unique(np.quantile(scores, np.linspace(0, 1, CANDIDATES))), Bounds.of(solutions)
    values = [bounds.hits(threshold).f1 for threshold in candidates]
    return float(np.median(scores)) if np.isnan(values).all() else float(candidates[int(np.nanargmax(values))])


def with_known_truth(solutions: pd.DataFrame) -> pd.DataFrame:
    """The scored solutions that have a step and whose first error is known."""
    return solutions[solutions["first_error"].notna() & (solutions["step_scores"].map(len) > 0)].reset_index(drop=True)


def judge_first_errors(grades: Path, scores: Path, validation_grades: Path, validation_scores: Path) -> str:
    """One sentence with F1, its two accuracies and the threshold.

    Raises:
        PqmError: a sample has no score, the truth of no solution is known, a score is missing at the first error, or the
            test solutions lack right or wrong ones.
    """
    tables = []
    for grade_file, score_file in ((validation_grades, validation_scores), (grades, scores)):
        table = with_known_truth(
            join(formats.read(grade_file, formats.GRADES), formats.read(score_file, formats.SCORES), score_file)
        )
        if table.empty:
            raise PqmError(f"{grade_file}: no solution's first_error is known; expected the place of the first wrong step")
        beyond = table[table["first_error"] >= table["step_scores"].map(len)]
        if len(beyond):
            one = beyond.iloc[0]
            raise PqmError(
                f"{score_file}: question {one.question_id!r}, sample {one.sample_id}: {len(one.step_scores)} step scores,"
                f" but step {int(one.first_error)} is the first wrong one; expected a score a step"
            )
        tables.append(table)
    threshold = best_threshold(tables[0])
    found = hits(tables[1], threshold)
    if np.isnan(found.f1):
        raise PqmError(f"{grades}: F1 needs solutions with and without an error")
    return (
        f"F1 {found.f1:.4f}: first error found in {found.on_erroneous:.4f} of {int(found.erroneous.sum())} solutions with one,"
        f" {found.on_correct:.4f} of {int((~found.erroneous).sum())} without one passed; threshold {threshold:.4f}"
    )
