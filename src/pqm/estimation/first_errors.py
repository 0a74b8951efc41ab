"""Finding the first wrong step of a solution: F1 as defined by ProcessBench, with a threshold chosen on validation data only."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pqm.errors import PqmError, shortened
from pqm.estimation.judge import join
from pqm.io import formats
from pqm.io.formats import NO_ERROR

CANDIDATES = 200


@dataclass(frozen=True)
class Hits:
    """Which solutions have an error, and which predictions are right; shape [solutions]."""

    erroneous: NDArray[np.bool_]
    right: NDArray[np.bool_]

    @property
    def on_erroneous(self) -> float:
        """The share of solutions with an error for which the first wrong step is found; NaN if there are none."""
        return _mean(self.right[self.erroneous])

    @property
    def on_correct(self) -> float:
        """The share of solutions without an error for which no error is found; NaN if there are none."""
        return _mean(self.right[~self.erroneous])

    @property
    def f1(self) -> float:
        """The harmonic mean of the two accuracies."""
        return harmonic_mean(self.on_erroneous, self.on_correct)


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def harmonic_mean(one: float, other: float) -> float:
    """The harmonic mean of two numbers; 0 if both are 0, NaN if one is NaN."""
    return 0.0 if one + other == 0 else 2 * one * other / (one + other)


@dataclass(frozen=True)
class Bounds:
    """The thresholds for which the prediction is right: low < threshold <= high; shape [solutions]."""

    erroneous: NDArray[np.bool_]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def of(cls, solutions: pd.DataFrame) -> "Bounds":
        """Compute the bounds from `step_scores` and the true `first_error`.

        The score of the first wrong step must be below the threshold, and no score before it.
        """
        errors, steps = solutions["first_error"].to_numpy(dtype=np.int64), solutions["step_scores"].map(len).to_numpy()
        scores, starts = np.concatenate([[], *solutions["step_scores"]]), np.cumsum(steps) - steps
        erroneous, rows = errors != NO_ERROR, np.repeat(np.arange(len(solutions)), steps)
        before = ~erroneous[rows] | (np.arange(len(rows)) - starts[rows] < errors[rows])
        high = np.full(len(solutions), np.inf)
        np.minimum.at(high, rows[before], scores[before])
        low = np.where(erroneous, np.inf, -np.inf)  # an error without a score is never found
        scored = erroneous & (errors < steps)
        low[scored] = scores[(starts + errors)[scored]]
        return cls(erroneous, low, high)

    def hits(self, threshold: float) -> Hits:
        """The right predictions at a threshold."""
        return Hits(self.erroneous, (self.low < threshold) & (threshold <= self.high))


def hits(solutions: pd.DataFrame, threshold: float) -> Hits:
    """Whether the prediction equals the true `first_error`: the first step with a score below the threshold, else `NO_ERROR`."""
    return Bounds.of(solutions).hits(threshold)


def best_threshold(solutions: pd.DataFrame) -> float:
    """The threshold with the highest F1 on these (validation) solutions, among `CANDIDATES` quantiles of their step scores.

    Ties go to the lowest. If all solutions are right or all have errors, it is the median of the scores.
    """
    scores = np.concatenate([np.asarray(one, dtype=np.float64) for one in solutions["step_scores"]])
    candidates, bounds = np.unique(np.quantile(scores, np.linspace(0, 1, CANDIDATES))), Bounds.of(solutions)
    values = [bounds.hits(threshold).f1 for threshold in candidates]
    return float(np.median(scores)) if np.isnan(values).all() else float(candidates[int(np.nanargmax(values))])


def with_known_truth(solutions: pd.DataFrame) -> pd.DataFrame:
    """The scored solutions with at least one step and a known first error."""
    known = solutions["first_error"].notna() & (solutions["step_scores"].map(len) > 0)
    return solutions[known].astype({"first_error": "int64"}).reset_index(drop=True)  # floats, if any was missing


def judge_first_errors(grades: Path, scores: Path, validation_grades: Path, validation_scores: Path) -> str:
    """One sentence with F1, its two accuracies and the threshold.

    Raises:
        PqmError: a sample has no score, no first error is known, the step of a first error has no score, or the test solutions
            are all right or all wrong.
    """
    tables = []
    for grade_file, score_file in ((validation_grades, validation_scores), (grades, scores)):
        table = with_known_truth(
            join(formats.read(grade_file, formats.GRADES), formats.read(score_file, formats.SCORES), score_file)
        )
        if table.empty:
            raise PqmError(f"{grade_file}: no solution has a known first_error; expected the index of the first wrong step")
        beyond = table[table["first_error"] >= table["step_scores"].map(len)]
        if len(beyond):
            one = beyond.iloc[0]
            raise PqmError(
                f"{score_file}: question {shortened(one.question_id)}, sample {one.sample_id}: {len(one.step_scores)} step scores,"
                f" but the first error is step {int(one.first_error)}; expected one score per step"
            )
        tables.append(table)
    threshold = best_threshold(tables[0])
    found = hits(tables[1], threshold)
    if np.isnan(found.f1):
        raise PqmError(f"{grades}: F1 needs solutions with and without an error; found only one kind")
    return (
        f"F1 {found.f1:.4f}: first error found in {found.on_erroneous:.4f} of {int(found.erroneous.sum())} solutions with one,"
        f" none found in {found.on_correct:.4f} of {int((~found.erroneous).sum())} without one; threshold {threshold:.4f}"
    )
