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
    aggregate_all,
    area_under_curve,
    best_of_n,
    first_n,
    logit,
    pass_at_n,
    probability,
    vote_weights,
)
from pqm.estimation.estimators import vote as votes


def vote(*arguments):
    """The votes of one vector of weights, as a list."""
    return votes(*arguments).tolist()


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


def vote_of_draw(answers, correct, weights, drawn):
    """Samples in the order in which they are drawn: ties go to the answer drawn first, and its first sample is the verdict."""
    totals = {}
    for index in drawn:
        if answers[index] is not None:
            totals[answers[index]] = totals.get(answers[index], Fraction(0)) + Fraction(weights[index])
    if not totals:
        return 0
    winner = max(totals, key=totals.get)
    return int(next(correct[index] for index in drawn if answers[index] == winner))


def enumerated_vote(answers, correct, weights, n):
    """The mean over all ordered draws."""
    hits = [vote_of_draw(answers, correct, weights, drawn) for drawn in permutations(range(len(answers)), n)]
    return sum(hits) / len(hits)


answered = st.tuples(st.sampled_from(["1", "2", "3", None]), st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))


@settings(max_examples=100, deadline=None)
@given(st.lists(answered, min_size=1, max_size=5), st.booleans())
def test_votes_are_exact_where_subsets_are_few(samples, same_verdicts):
    answers, correct, weights = (list(column) for column in zip(*samples))
    if same_verdicts:
        correct = [answer in ("1", "3") for answer in answers]
    n = list(range(1, len(samples) + 1))
    found = vote(answers, np.array(correct), np.array(weights), n, 20, np.random.default_rng(0))
    assert found == pytest.approx([enumerated_vote(answers, correct, weights, k) for k in n], abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["1", "2", "3"]), st.booleans()), min_size=1, max_size=40))
def test_the_vote_of_one_sample_is_pass_at_1(samples):
    correct = np.array([right for _, right in samples])
    found = vote([answer for answer, _ in samples], correct, np.ones(len(samples)), [1], 3, np.random.default_rng(0))
    assert found == [pytest.approx(correct.mean(), abs=1e-12)]


def many_samples():
    random = np.random.default_rng(5)
    answers = [[None, "1", "2", "3", "4"][code] for code in random.integers(0, 5, size=13)]
    return answers, np.array([answer in ("1", "4") for answer in answers]), random.random(13)


def test_votes_over_random_subsets_are_near_the_enumeration():
    answers, correct, weights = many_samples()
    for weight in (weights, np.ones(13)):
        found = vote(answers, correct, weight, [6], 1500, np.random.default_rng(0))
        subsets = list(combinations(range(13), 6))
        assert len(subsets) > 1500
        random = np.random.default_rng(1)
        draws = [random.permutation(subset) for subset in subsets for _ in range(3)]
        expected = np.mean([vote_of_draw(answers, correct, weight, drawn) for drawn in draws])
        assert found == [pytest.approx(expected, abs=0.04)]


def test_random_subsets_are_the_first_samples_of_permutations():
    answers, correct, weights = many_samples()
    found = vote(answers, correct, weights, [3, 6], 150, np.random.default_rng(7))
    orders = np.argsort(np.random.default_rng(7).random((150, 13)), axis=1)
    expected = [np.mean([vote_of_draw(answers, correct, weights, order[:n]) for order in orders]) for n in (3, 6)]
    assert found == pytest.approx(expected, abs=1e-12)  # the weights have no ties


def test_ties_go_to_the_answer_drawn_first():
    # "a" ties with "b" at 2, and is drawn before both of them in a third of the draws.
    accuracy = vote(["a", "b", "b"], np.array([True, False, False]), np.array([2.0, 1.0, 1.0]), [3], 1, np.random.default_rng(0))
    assert accuracy == [pytest.approx(1 / 3, abs=1e-12)]


def test_tied_sums_are_equal_whatever_the_order_of_adding():
    weights = np.array([0.1, 0.2, 0.3, 0.6])
    accuracy = vote(["a", "a", "a", "b"], np.array([True] * 3 + [False]), weights, [4], 1, np.random.default_rng(0))
    assert accuracy == [pytest.approx(3 / 4, abs=1e-12)]


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
    found = vote(answers, correct, weights, [1, 4], 50, np.random.default_rng(0))
    assert found == [pytest.approx(1 / 4), 1.0]
    assert vote([None, None], np.array([False, False]), np.ones(2), [1, 2], 50, np.random.default_rng(0)) == [0.0, 0.0]


def test_votes_without_weight_still_count_as_votes():
    assert vote(["a", None], np.array([True, False]), np.zeros(2), [2], 50, np.random.default_rng(0)) == [1.0]


def test_vote_is_the_same_from_the_same_generator():
    answers, correct, weights = many_samples()
    first, second, other = (vote(answers, correct, weights, [3, 6], 150, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert first == second != other


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


@settings(max_examples=50, deadline=None)
@given(steps)
def test_votes_have_the_weight_of_the_probability_that_was_aggregated(logits):
    probabilities = [1 / (1 + math.exp(-logit)) for logit in logits]
    expected = {
        "min": min(probabilities),
        "last": probabilities[-1],
        "product": math.prod(probabilities),
        "mean": np.mean(probabilities),
    }
    for aggregation in AGGREGATIONS:
        scores = np.array([aggregate(logits, aggregation), aggregate([], aggregation)])
        assert vote_weights(scores, aggregation) == pytest.approx([expected[aggregation], 0.0], rel=1e-9), aggregation


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_probabilities_become_finite_logits_and_come_back(probabilities):
    logits = logit(np.array(probabilities))
    assert np.isfinite(logits).all()
    assert probability(logits) == pytest.approx(probabilities, rel=1e-9, abs=1e-300)
    assert [probabilities[index] for index in np.argsort(logits, kind="stable")] == sorted(probabilities)


def test_certain_steps_are_beyond_all_others():
    values = logit(np.array([0.0, 5e-324, 0.5, np.nextafter(1, 0), 1.0]))
    assert (np.diff(values) > 0).all() and values[2] == 0.0
    assert probability(values)[-1] == 1.0 and probability(values)[0] == pytest.approx(0, abs=1e-300)


@pytest.mark.parametrize("aggregation", ["product", "mean"])
def test_the_same_step_scores_in_another_order_tie(aggregation):
    random = np.random.default_rng(0)
    steps = [random.normal(0, 8, size=7) for _ in range(40)]
    pairs = [(aggregate(one, aggregation), aggregate(random.permutation(one), aggregation)) for one in steps]
    assert any(one != other for one, other in pairs), "rounding differs"
    for one, other in pairs:
        assert best_of_n(np.array([one, other]), np.array([True, False]), 2) == 0.5
        assert first_n(np.array([one, other]), np.array([True, False]), 2) == 1.0
        assert first_n(np.array([other, one]), np.array([True, False]), 2) == 1.0


def test_near_scores_do_not_tie():
    for low, high in ((1.0, 1.0 + 1e-9), (-20.000001, -20.0), (0.0, 1e-30), (-1e-30, 0.0), (-math.inf, -1e300), (30.0, 30.00001)):
        assert best_of_n(np.array([high, low]), np.array([True, False]), 2) == 1.0


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


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(-20, 20), max_size=12), max_size=9), st.sampled_from(AGGREGATIONS))
def test_solutions_of_any_lengths_are_aggregated_together_as_alone(solutions, aggregation):
    assert aggregate_all(solutions, aggregation).tolist() == [aggregate(one, aggregation) for one in solutions]


def test_unknown_aggregation_is_refused():
    with pytest.raises(ValueError, match="median"):
        aggregate_all([], "median")


@pytest.mark.parametrize("n", [1, 2, 7])
def test_questions_and_methods_are_judged_together_as_alone(n):
    random = np.random.default_rng(0)
    scores, correct = random.integers(0, 4, size=(3, 5, 7)).astype(float), random.random((5, 7)) < 0.5
    together = best_of_n(scores, correct, n)
    assert together.shape == (3, 5)
    for method, question in np.ndindex(3, 5):
        alone = enumerated_best(list(zip(scores[method, question], correct[question])), n)
        assert together[method, question] == pytest.approx(alone, abs=1e-12)


def test_several_weights_vote_on_the_same_subsets():
    answers, correct, weights = many_samples()
    several = np.stack([weights, np.ones(13), weights[::-1]])
    together = votes(answers, correct, several, [1, 3, 6], 150, np.random.default_rng(7))
    assert together.tolist() == [vote(answers, correct, one, [1, 3, 6], 150, np.random.default_rng(7)) for one in several]
