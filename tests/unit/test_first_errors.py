import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqm.errors import PqmError
from pqm.estimation.first_errors import best_threshold, harmonic_mean, hits, judge_first_errors
from pqm.io import formats

scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=6)


def table(rows):
    return pd.DataFrame(rows, columns=["step_scores", "first_error"])


def brute_force(rows, threshold):
    """F1 as defined by ProcessBench, computed solution by solution."""
    right = {True: [], False: []}
    for step_scores, error in rows:
        found = -1
        for place, score in enumerate(step_scores):
            if score < threshold:
                found = place
                break
        right[error != -1].append(found == error)
    if not right[True] or not right[False]:
        return float("nan")
    on_erroneous, on_correct = (sum(right[kind]) / len(right[kind]) for kind in (True, False))
    return 0.0 if on_erroneous + on_correct == 0 else 2 * on_erroneous * on_correct / (on_erroneous + on_correct)


@pytest.mark.parametrize(
    ("step_scores", "threshold", "place"),
    [([1.0, -1.0, 2.0], 0.0, 1), ([1.0, 2.0], 0.0, -1), ([-1.0, -2.0], 0.0, 0), ([0.0, 1.0], 0.0, -1)],
)
def test_the_first_step_below_the_threshold_is_the_error(step_scores, threshold, place):
    found = [hits(table([(step_scores, truth)]), threshold).right[0] for truth in (-1, 0, 1, 2)]
    assert found == [truth == place for truth in (-1, 0, 1, 2)]


@given(st.lists(st.tuples(scores, st.integers(-1, 3)), min_size=1, max_size=12), st.integers(-5, 5))
@settings(max_examples=100)
def test_f1_is_the_definition(rows, threshold):
    assert hits(table(rows), threshold).f1 == pytest.approx(brute_force(rows, threshold), nan_ok=True)


@given(st.lists(st.tuples(scores, st.integers(-1, 3)), min_size=2, max_size=12))
@settings(max_examples=50)
def test_the_threshold_is_the_best_among_the_scores(rows):
    threshold = best_threshold(table(rows))
    best = [brute_force(rows, candidate) for row in rows for candidate in row[0]]
    if not np.isnan(best).all():
        assert brute_force(rows, threshold) == pytest.approx(np.nanmax(best))


def test_harmonic_mean():
    assert harmonic_mean(0.5, 1.0) == pytest.approx(2 / 3)
    assert harmonic_mean(0.0, 0.0) == 0.0
    assert harmonic_mean(0.0, 1.0) == 0.0


def test_a_judge_of_the_truth_is_perfect():
    rows = [([1.0, 1.0, -1.0], 2), ([1.0, -1.0, 1.0], 1), ([1.0, 1.0], -1)]
    assert hits(table(rows), 0.0).f1 == 1.0


@pytest.fixture
def files(tmp_path):
    """Write graded and scored solutions, and return their paths."""

    def write(name, rows):
        keys = {"question_id": [f"q{number}" for number in range(len(rows))], "sample_id": 0}
        grades = pd.DataFrame(
            keys | {"cluster": "c", "answer": "1", "correct": True, "grader": "made up", "second_correct": True}
        )
        grades["first_error"] = pd.array([row[1] for row in rows], dtype="Int64")
        step_scores = pd.DataFrame(keys | {"step_scores": [row[0] for row in rows], "checkpoint": "made up"})
        paths = tmp_path / f"{name}-grades.parquet", tmp_path / f"{name}-scores.parquet"
        formats.write(grades, formats.GRADES, paths[0])
        formats.write(step_scores, formats.SCORES, paths[1])
        return paths

    return write


def test_the_threshold_comes_from_validation_alone(files):
    validation = files("validation", [([5.0, 3.0], 1), ([5.0, 4.0], -1)])  # best: above 3, at most 4
    test = files("test", [([0.9, 1.0], -1), ([0.9, 0.5], 1)])  # its own best threshold is 0.9; with 3 every step is flagged
    said = judge_first_errors(*test, *validation)
    assert "F1 0.0000" in said
    assert 3 < float(said.rsplit("threshold ", 1)[1]) <= 4


def test_a_solution_without_score_is_refused(files):
    grades, _ = files("test", [([1.0], -1), ([-1.0], 0)])
    _, scores = files("fewer", [([1.0], -1)])
    with pytest.raises(PqmError, match="question 'q1', sample 0: no score"):
        judge_first_errors(grades, scores, *files("validation", [([1.0], -1), ([-1.0], 0)]))


def test_an_error_beyond_the_scores_is_refused(files):
    with pytest.raises(PqmError, match="question 'q0', sample 0: 1 step scores"):
        judge_first_errors(*files("test", [([1.0], 3), ([1.0], -1)]), *files("validation", [([1.0], -1), ([-1.0], 0)]))


def test_unknown_truth_is_refused(files):
    known, unknown = files("known", [([1.0], -1), ([-1.0], 0)]), files("unknown", [([1.0], None)])
    with pytest.raises(PqmError, match="first_error"):
        judge_first_errors(*unknown, *known)


def test_solutions_of_unknown_truth_among_known_ones_are_left_out(files):
    known = files("known", [([1.0, -1.0], 1), ([1.0], -1)])
    mixed = files("mixed", [([1.0, -1.0], 1), ([-1.0], None), ([1.0], -1)])
    assert judge_first_errors(*mixed, *mixed) == judge_first_errors(*known, *known)


def test_one_kind_of_solution_is_refused(files):
    known = files("known", [([1.0], -1), ([-1.0], 0)])
    with pytest.raises(PqmError, match="with and without"):
        judge_first_errors(*files("right", [([1.0], -1)]), *known)
