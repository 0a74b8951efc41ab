import math
from fractions import Fraction
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqm.estimation.estimators import (
    AGGREGATIONS,
    aggregate,
    area_under_curve,
    best_of_n,
    first_n,
    pass_at_n,
    vote,
)

tied_samples = st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=1, max_size=7)


def columns(samples):
    return np.array([float(score) for score, _ in samples]), np.array([right for _, right in samples])


def enumerated_best(samples, n):
    """The mean over all subsets; ties are averaged."""
    total, count = Fraction(0), 0
    for subset in combinations(samples, n):
        top = max(score for score, _ in subset)
        best = [right for score, right in subset if score == top]
        total += Fraction(sum(best), len(best))
        count += 1
    return float(total / count)


@settings(max_examples=80, deadline=None)
@given(tied_samples, st.data())
def test_best_of_n_equals_enumeration_with_ties(samples, data):
    n = data.draw(st.integers(1, len(samples)))
    assert best_of_n(*columns(samples), n) == pytest.approx(enumerated_best(samples, n), abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_at_n_equals_enumeration(correct, data):
    n = data.draw(st.integers(1, len(correct)))
    subsets = list(combinations(correct, n))
    assert pass_at_n(np.array(correct), n) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(tied_samples)
def test_one_sample_is_the_mean_accuracy(samples):
    scores, correct = columns(samples)
    assert best_of_n(scores, correct, 1) == pytest.approx(correct.mean())
    assert pass_at_n(correct, 1) == pytest.approx(correct.mean())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_all_samples_are_the_argmax(correct, random):
    scores = np.array(random.sample(range(1000), len(correct)), dtype=float)
    assert best_of_n(scores, np.array(correct), len(correct)) == pytest.approx(float(correct[int(np.argmax(scores))]))
    assert pass_at_n(np.array(correct), len(correct)) == float(any(correct))


@settings(max_examples=50, deadline=None)
@given(tied_samples, st.randoms(use_true_random=False))
def test_best_of_n_does_not_depend_on_file_order(samples, random):
    shuffled = random.sample(samples, len(samples))
    for n in range(1, len(samples) + 1):
        assert best_of_n(*columns(samples), n) == pytest.approx(best_of_n(*columns(shuffled), n), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(tied_samples)
def test_best_of_n_reads_the_order_of_scores_only(samples):
    scores, correct = columns(samples)
    for n in range(1, len(samples) + 1):
        assert best_of_n(np.exp(3 * scores), correct, n) == pytest.approx(best_of_n(scores, correct, n), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(tied_samples)
def test_pass_at_n_bounds_best_of_n_and_a_perfect_scorer_reaches_it(samples):
    scores, correct = columns(samples)
    for n in range(1, len(samples) + 1):
        assert best_of_n(scores, correct, n) <= pass_at_n(correct, n) + 1e-12
        assert best_of_n(correct.astype(float), correct, n) == pytest.approx(pass_at_n(correct, n), abs=1e-12)


def test_solutions_without_steps_lose_against_every_other():
    scores = np.array([-math.inf, -50.0, -math.inf])
    assert best_of_n(scores, np.array([False, True, False]), 3) == 1.0
    assert best_of_n(scores, np.array([True, False, False]), 2) == pytest.approx(1 / 3 * 1 / 2)


def test_large_sample_counts_stay_exact():
    random = np.random.default_rng(0)
    scores, correct = random.normal(size=1024), random.random(1024) < 0.01
    assert pass_at_n(correct, 512) == pytest.approx(1 - 0.5 ** correct.sum(), abs=0.01)
    assert best_of_n(correct.astype(float), correct, 512) == pytest.approx(pass_at_n(correct, 512), abs=1e-12)
    assert best_of_n(scores, np.ones(1024, dtype=bool), 512) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("n", [4, 100])
def test_too_few_samples_are_refused(n):
    scores, correct = np.zeros(3), np.ones(3, dtype=bool)
    for refused in (
        lambda: best_of_n(scores, correct, n),
        lambda: pass_at_n(correct, n),
        lambda: first_n(scores, correct, n),
        lambda: vote(["1"] * 3, correct, np.ones(3), [1, n], 10, np.random.default_rng(0)),
    ):
        with pytest.raises(ValueError, match=str(n)):
            refused()


@pytest.mark.parametrize("n", [0, -1])
def test_no_sample_at_all_is_refused(n):
    with pytest.raises(ValueError):
        best_of_n(np.zeros(3), np.ones(3, dtype=bool), n)
    with pytest.raises(ValueError):
        pass_at_n(np.ones(3, dtype=bool), n)


def enumerated_vote(answers, right, weights, n):
    """The mean over all ordered draws; ties go to the answer that is drawn first."""
    hits, draws = 0, 0
    for drawn in permutations(range(len(answers)), n):
        totals = {}
        for index in drawn:
            if answers[index] is not None:
                totals[answers[index]] = totals.get(answers[index], 0.0) + weights[index]
        draws += 1
        if totals:
            winner = max(totals, key=totals.get)
            hits += winner in right
    return hits / draws


@pytest.mark.parametrize("case", range(8))
def test_votes_equal_enumeration(case):
    random = np.random.default_rng(case)
    answers = [[None, "1", "2", "3"][code] for code in random.integers(0, 4, size=5)]
    weights = random.choice([0.25, 0.5, 1.0], size=5)
    right = {"1", "3"} if case % 2 else {"2"}
    correct = np.array([answer in right for answer in answers])
    n = [1, 2, 3, 4, 5]
    found = vote(answers, correct, weights, n, 20_000, np.random.default_rng(100 + case))
    assert found == pytest.approx([enumerated_vote(answers, right, weights, k) for k in n], abs=0.02)


def test_ties_go_to_the_answer_drawn_first():
    # "a" ties with "b" at 2, and is drawn before both of them in a third of the draws.
    accuracy = vote(
        ["a", "b", "b"], np.array([True, False, False]), np.array([2.0, 1.0, 1.0]), [3], 20_000, np.random.default_rng(0)
    )
    assert accuracy == [pytest.approx(1 / 3, abs=0.02)]


def test_tied_sums_are_equal_whatever_the_order_of_adding():
    weights = np.array([0.1, 0.2, 0.3, 0.6])
    accuracy = vote(["a", "a", "a", "b"], np.array([True] * 3 + [False]), weights, [4], 20_000, np.random.default_rng(0))
    assert accuracy == [pytest.approx(3 / 4, abs=0.02)]


@given(st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=9), st.sampled_from(["1", "2", "3"]))
@settings(max_examples=60, deadline=None)
def test_unit_weights_are_self_consistency(answers, gold):
    counts = sorted((answers.count(name), name) for name in set(answers))
    if len(counts) > 1 and counts[-1][0] == counts[-2][0]:
        return
    correct = np.array([answer == gold for answer in answers])
    accuracy = vote(answers, correct, np.ones(len(answers)), [len(answers)], 7, np.random.default_rng(0))
    assert accuracy == [float(counts[-1][1] == gold)]


def test_weights_can_outvote_the_majority():
    correct = np.array([True, False, False])
    random = np.random.default_rng(0)
    assert vote(["a", "b", "b"], correct, np.array([2.1, 1.0, 1.0]), [3], 50, random) == [1.0]
    assert vote(["a", "b", "b"], correct, np.array([1.9, 1.0, 1.0]), [3], 50, random) == [0.0]


def test_samples_without_answer_never_vote():
    answers = [None, None, None, "a"]
    correct, weights = np.array([False, False, False, True]), np.array([9.0, 9.0, 9.0, 0.1])
    found = vote(answers, correct, weights, [1, 4], 20_000, np.random.default_rng(0))
    assert found == [pytest.approx(1 / 4, abs=0.02), 1.0]
    assert vote([None, None], np.array([False, False]), np.ones(2), [1, 2], 50, np.random.default_rng(0)) == [0.0, 0.0]


def test_votes_without_weight_still_count_as_votes():
    assert vote(["a", None], np.array([True, False]), np.zeros(2), [2], 50, np.random.default_rng(0)) == [1.0]


def test_vote_is_the_same_from_the_same_generator():
    answers, correct = ["a", "b", "c", "a", "b"], np.array([True, False, False, True, False])
    first, second = (vote(answers, correct, np.ones(5), [2, 3], 200, np.random.default_rng(5)) for _ in range(2))
    assert first == second


def test_first_n_keeps_the_best_of_the_first_in_file_order():
    scores, correct = np.array([1.0, 3.0, 3.0, 9.0]), np.array([True, False, True, True])
    assert [first_n(scores, correct, n) for n in (1, 2, 3, 4)] == [1.0, 0.0, 0.0, 1.0]


steps = st.lists(st.floats(-20, 20), min_size=1, max_size=8)


@settings(max_examples=50, deadline=None)
@given(steps)
def test_min_and_last_are_logits_of_single_steps(logits):
    assert aggregate(logits, "min") == sorted(logits)[0]
    assert aggregate(logits, "last") == logits[len(logits) - 1]


@settings(max_examples=50, deadline=None)
@given(steps)
def test_product_and_mean_are_of_probabilities(logits):
    probabilities = [1 / (1 + math.exp(-logit)) for logit in logits]
    assert aggregate(logits, "product") == pytest.approx(sum(map(math.log, probabilities)), rel=1e-9, abs=1e-9)
    assert aggregate(logits, "mean") == pytest.approx(sum(probabilities) / len(probabilities), rel=1e-9)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_each_aggregation_answers_for_itself(aggregation):
    values = {name: aggregate([2.0, -1.0, 0.5], name) for name in AGGREGATIONS}
    assert [name for name, value in values.items() if value == pytest.approx(values[aggregation])] == [aggregation]


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_solution_without_steps_scores_below_everything(aggregation):
    assert aggregate([], aggregation) == -math.inf
    assert aggregate([-700.0], aggregation) > -math.inf


def test_product_stays_finite_and_ordered_for_hopeless_steps():
    assert aggregate([-600.0, -600.0], "product") < aggregate([-600.0, 0.0], "product") < aggregate([-500.0, 0.0], "product")
    assert math.isfinite(aggregate([-1000.0], "product"))


def test_unknown_aggregation_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'maximum'.*min, last, product, mean"):
        aggregate([1.0], "maximum")


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=25))
def test_area_under_curve_counts_pairs(samples):
    positive = [score for score, kind in samples if kind]
    negative = [score for score, kind in samples if not kind]
    area = area_under_curve(np.array([s for s, _ in samples], dtype=float), np.array([k for _, k in samples], dtype=bool))
    if not positive or not negative:
        assert math.isnan(area)
    else:
        wins = sum((p > q) + 0.5 * (p == q) for p in positive for q in negative)
        assert area == pytest.approx(wins / (len(positive) * len(negative)))
