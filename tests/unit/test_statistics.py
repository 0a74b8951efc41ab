from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from pqm.estimation.intervals import accuracy_interval
from pqm.estimation.statistics import Clusters, compare, holm, smallest_difference, summarise

CONFIDENCE = 0.95


def own_clusters(questions):
    return Clusters.of(names(questions))


def names(questions):
    index = [f"q{number:04d}" for number in range(questions)]
    return pd.Series(index, index=index)


def accuracies(seed, shape):
    return np.random.default_rng(seed).beta(1.2, 0.8, size=shape)


def test_totals_are_sums_over_clusters_in_the_order_of_the_questions():
    clusters = Clusters.of(pd.Series({"q3": "b", "q1": "a", "q2": "b", "q4": "a"}))
    assert list(clusters.questions) == ["q1", "q2", "q3", "q4"]
    assert clusters.sizes.tolist() == [2, 2]
    assert clusters.totals(np.array([[1.0, 2.0, 4.0, 8.0]])).tolist() == [[9.0, 6.0]]


def test_p_is_that_of_scipys_paired_t_test_for_single_questions_and_one_seed():
    one = accuracies(0, 60)
    other = one + np.random.default_rng(1).uniform(-0.25, 0.2, 60)
    found = compare(own_clusters(60), one[None], other[None], CONFIDENCE)
    expected = stats.ttest_rel(one, other)
    assert found.difference == pytest.approx(one.mean() - other.mean())
    assert found.error == pytest.approx((one - other).std(ddof=1) / np.sqrt(60))
    assert (found.freedom, found.p) == pytest.approx((59, expected.pvalue))
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_few_questions_that_differ_have_few_degrees_of_freedom():
    """2 discordant questions of 100 say as much as 2 questions; t with 99 degrees of freedom would be far too sure."""
    ours, other = np.zeros((1, 100)), np.zeros((1, 100))
    ours[0, :3] = 1
    found = compare(own_clusters(100), ours, other, CONFIDENCE)
    assert 4 < found.freedom < 9
    assert found.low < 0 < found.high


@pytest.mark.parametrize("seeds", [1, 3])
def test_methods_are_paired(seeds):
    hard = accuracies(3, (seeds, 80)) * 0.8
    better = hard + np.random.default_rng(1).normal(0.05, 0.02, size=(seeds, 80))
    found = compare(own_clusters(80), better, hard, CONFIDENCE)
    _, low, high = accuracy_interval(own_clusters(80).totals(hard), np.ones(80), CONFIDENCE)
    assert found.low > 0
    assert found.high - found.low < (high - low) / 4


def test_clusters_of_equal_questions_widen_the_interval():
    one, other = np.repeat(accuracies(0, (1, 60)), 4, axis=1), np.repeat(accuracies(1, (1, 60)), 4, axis=1)
    index = names(240).index
    clustered = Clusters.of(pd.Series([f"c{number // 4}" for number in range(240)], index=index))
    apart, together = (compare(clusters, one, other, CONFIDENCE) for clusters in (own_clusters(240), clustered))
    assert together.error / apart.error == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("clusters", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("difference", [1.0, 0.1])
def test_clusters_that_differ_alike_show_no_more_than_in_a_sign_test(clusters, difference):
    other = np.zeros((1, clusters))
    found = compare(own_clusters(clusters), other + difference, other, CONFIDENCE)
    sign_test = stats.binomtest(clusters, clusters).pvalue
    assert found.p == pytest.approx(sign_test, rel=0.15)
    assert found.low < difference
    nearly = compare(own_clusters(clusters), other + difference - 1e-9 * np.arange(clusters), other, CONFIDENCE)
    assert nearly.p == pytest.approx(found.p, rel=1e-6)


def test_equal_methods_may_differ_by_what_so_many_questions_cannot_show():
    accuracy = accuracies(0, (3, 40))
    found = compare(own_clusters(40), accuracy, accuracy, CONFIDENCE)
    none_of_40 = stats.binomtest(0, 40).proportion_ci(CONFIDENCE, "exact").high
    assert (found.difference, found.p) == (0.0, 1.0)
    assert (found.low, found.high) == pytest.approx((-none_of_40, none_of_40))


def test_a_difference_stays_between_minus_1_and_1():
    found = compare(own_clusters(3), np.ones((1, 3)), np.zeros((1, 3)), CONFIDENCE)
    assert found.high == 1
    assert compare(own_clusters(3), np.zeros((1, 3)), np.ones((1, 3)), CONFIDENCE).low == -1


def test_a_single_cluster_shows_nothing():
    together = Clusters.of(pd.Series("c", index=names(20).index))
    found = compare(together, np.ones((1, 20)), np.zeros((1, 20)), CONFIDENCE)
    assert (found.low, found.high, found.p) == (-1.0, 1.0, 1.0)
    assert np.isnan(found.error)


METHOD_SEEDS = st.tuples(st.integers(1, 3), st.integers(1, 3))
VALUES = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@given(METHOD_SEEDS, st.integers(2, 8), st.data(), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
@hypothesis_settings(max_examples=300, deadline=None)
def test_p_is_small_if_and_only_if_the_interval_excludes_0(seeds, clusters, data, confidence):
    ours, other = (
        np.array(data.draw(st.lists(st.lists(VALUES, min_size=clusters, max_size=clusters), min_size=size, max_size=size)))
        for size in seeds
    )
    found = compare(own_clusters(clusters), ours, other, confidence)
    assert found.low < found.high
    assert found.low <= found.difference <= found.high
    assert 0 < found.p <= 1
    if abs(found.p - (1 - confidence)) > 1e-9:  # on the boundary, rounding decides
        assert (found.p < 1 - confidence) == (found.low > 0 or found.high < 0)
    mirrored = compare(own_clusters(clusters), other, ours, confidence)
    assert (mirrored.low, mirrored.high, mirrored.p) == pytest.approx((-found.high, -found.low, found.p))


@pytest.mark.parametrize("seeds", [(3, 3), (3, 1), (3, 2)], ids=str)
@pytest.mark.parametrize("seed_spread", [0.0, 0.02, 0.1], ids=["seeds agree", "seeds differ", "seeds decide"])
def test_of_studies_without_a_difference_about_5_in_100_show_one(seeds, seed_spread):
    random, studies, shown = np.random.default_rng(3), 1000, 0
    clusters = own_clusters(60)
    for _ in range(studies):
        questions = random.beta(1.2, 0.8, 60)
        one, other = (
            questions
            + random.normal(0, seed_spread if size > 1 else 0, (size, 1))
            + random.normal(0, 0.1, 60)
            + random.normal(0, 0.1, (size, 60))
            for size in seeds
        )
        shown += compare(clusters, one, other, CONFIDENCE).p < 0.05
    assert 0.01 <= shown / studies <= 0.08


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7), st.sampled_from([0.01, 0.05, 0.2, 0.5]))
@hypothesis_settings(max_examples=100, deadline=None)
def test_holm_is_the_closed_test_of_bonferroni(p, alpha):
    """A hypothesis is rejected if every set of hypotheses that contains it is rejected by Bonferroni."""
    rejected = [
        all(
            min(p[index] for index in group) * len(group) <= alpha
            for size in range(1, len(p) + 1)
            for group in combinations(range(len(p)), size)
            if one in group
        )
        for one in range(len(p))
    ]
    assert [adjusted <= alpha for adjusted in holm(p)] == rejected


def test_holm_keeps_the_order_of_the_tests():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_the_smallest_difference_is_found_with_the_stated_power():
    random, error, clusters = np.random.default_rng(0), 0.04, 60
    difference = smallest_difference(error, clusters - 1, 0.05)
    studies = random.normal(difference, error * np.sqrt(clusters), size=(4000, clusters))
    p = stats.ttest_1samp(studies, 0.0, axis=1).pvalue
    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.03)


def metric_rows(benchmark, method, accuracy, cluster_size=1):
    return pd.DataFrame(
        [
            {
                "policy": "weak",
                "benchmark": benchmark,
                "backbone": "tiny",
                "method": method,
                "aggregation": "min",
                "seed": seed,
                "n": 8,
                "question_id": f"{benchmark}-{number:03d}",
                "cluster": f"{benchmark}-{number // cluster_size}",
                "accuracy": value,
            }
            for seed, row in enumerate(accuracy)
            for number, value in enumerate(row)
        ]
    )


def test_summary_has_one_row_per_cell_with_its_mean_and_interval():
    problems, harder = accuracies(0, (2, 40)), accuracies(1, (1, 30))
    metrics = pd.concat(
        [
            metric_rows("word-problems", "pqm", problems),
            metric_rows("word-problems", "bce", problems * 0.9),
            metric_rows("harder", "pqm", harder),
        ]
    )
    table = summarise(metrics, CONFIDENCE).set_index(["benchmark", "method"])
    assert len(table) == 3
    assert table["questions"].to_dict() == {("word-problems", "pqm"): 40, ("word-problems", "bce"): 40, ("harder", "pqm"): 30}
    assert table["seeds"].to_dict() == {("word-problems", "pqm"): 2, ("word-problems", "bce"): 2, ("harder", "pqm"): 1}
    for key, accuracy in ((("word-problems", "pqm"), problems), (("harder", "pqm"), harder)):
        expected = accuracy_interval(accuracy, np.ones(accuracy.shape[1]), CONFIDENCE)
        assert table.loc[key, ["accuracy", "low", "high"]].tolist() == pytest.approx([float(value) for value in expected])


def test_summary_does_not_depend_on_the_order_of_rows():
    metrics = metric_rows("word-problems", "pqm", accuracies(0, (2, 40)), cluster_size=4)
    shuffled = metrics.sample(frac=1, random_state=0)
    columns = ["accuracy", "low", "high"]
    assert summarise(shuffled, CONFIDENCE)[columns].to_numpy() == pytest.approx(
        summarise(metrics, CONFIDENCE)[columns].to_numpy()
    )


def test_summary_uses_the_clusters_of_the_table():
    accuracy = np.repeat(accuracies(0, (1, 30)), 4, axis=1)
    single, clustered = (summarise(metric_rows("word-problems", "pqm", accuracy, size), CONFIDENCE).iloc[0] for size in (1, 4))
    assert clustered["high"] - clustered["low"] > 1.6 * (single["high"] - single["low"])


def test_100_right_answers_of_100_are_not_certain():
    row = summarise(metric_rows("word-problems", "pqm", np.ones((1, 100))), CONFIDENCE).iloc[0]
    assert (row["accuracy"], row["high"]) == (1.0, 1.0)
    assert row["low"] == pytest.approx(0.025**0.01)
