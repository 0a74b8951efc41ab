from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

from pqm.estimation.statistics import Bootstrap, compare, draw, holm, interval, smallest_difference, summarise

CONFIDENCE = 0.95


def own_clusters(questions):
    names = [f"q{index:04d}" for index in range(questions)]
    return pd.Series(names, index=names)


def width(bootstrap, accuracy):
    low, high = interval(bootstrap.means(np.atleast_2d(accuracy)), CONFIDENCE)
    return high - low


def accuracies(seed, shape):
    random = np.random.default_rng(seed)
    return random.beta(1.2, 0.8, size=shape)


def test_interval_is_scipys_for_single_questions_and_one_seed():
    accuracy = accuracies(0, 200)
    low, high = interval(Bootstrap(own_clusters(200), 10_000, seed=1).means(accuracy[None]), CONFIDENCE)
    expected = stats.bootstrap(
        (accuracy,), np.mean, n_resamples=10_000, confidence_level=CONFIDENCE, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.004)
    assert high == pytest.approx(expected.high, abs=0.004)
    assert low < accuracy.mean() < high


def test_interval_is_a_percentile_interval():
    assert interval(np.arange(1001.0), 0.9) == pytest.approx((50.0, 950.0))


def test_more_confidence_widens_the_interval():
    means = Bootstrap(own_clusters(100), 2000, seed=0).means(accuracies(0, (1, 100)))
    (low_80, high_80), (low_99, high_99) = interval(means, 0.8), interval(means, 0.99)
    assert low_99 < low_80 < high_80 < high_99


def test_clusters_of_identical_questions_widen_the_interval():
    accuracy = np.repeat(accuracies(0, 60), 4)
    single = own_clusters(240)
    clustered = pd.Series([f"c{index // 4}" for index in range(240)], index=single.index)
    ratio = width(Bootstrap(clustered, 4000, seed=0), accuracy) / width(Bootstrap(single, 4000, seed=0), accuracy)
    assert ratio == pytest.approx(2.0, rel=0.15)


def test_copies_in_a_cluster_add_no_certainty():
    accuracy = accuracies(0, 60)
    index = [f"q{number:04d}" for number in range(180)]
    copies = pd.Series([f"c{number // 3:04d}" for number in range(180)], index=index)
    once = width(Bootstrap(own_clusters(60), 4000, seed=0), accuracy)
    assert width(Bootstrap(copies, 4000, seed=0), np.repeat(accuracy, 3)) == pytest.approx(once, rel=0.1)


@pytest.mark.parametrize("seeds", [1, 3])
def test_methods_are_paired(seeds):
    bootstrap = Bootstrap(own_clusters(80), 500, seed=0)
    accuracy = accuracies(3, (seeds, 80))
    difference = bootstrap.means(accuracy + 0.1) - bootstrap.means(accuracy)
    assert difference == pytest.approx(np.full(500, 0.1))
    assert np.ptp(bootstrap.means(accuracy)) > 0.05


def test_paired_difference_is_known_better_than_either_method():
    bootstrap = Bootstrap(own_clusters(80), 2000, seed=0)
    hard = accuracies(0, (1, 80))
    better = np.clip(hard + np.random.default_rng(1).normal(0.05, 0.02, size=(1, 80)), 0, 1)
    low, high = interval(bootstrap.means(better) - bootstrap.means(hard), CONFIDENCE)
    assert low > 0
    assert high - low < width(bootstrap, hard) / 4


def test_seeds_that_differ_widen_the_interval():
    bootstrap = Bootstrap(own_clusters(100), 4000, seed=0)
    accuracy = 0.3 + 0.4 * accuracies(0, 100)
    same = np.stack([accuracy] * 3)
    apart = same + np.array([[-0.15], [0.0], [0.15]])
    assert width(bootstrap, same) == pytest.approx(width(bootstrap, accuracy), rel=1e-9)
    assert width(bootstrap, apart) > 1.5 * width(bootstrap, same)


def test_seeds_share_the_weight_in_every_resample():
    weights = Bootstrap(own_clusters(10), 300, seed=0).seed_weights(3)
    assert weights.shape == (300, 3)
    assert weights.sum(axis=1) == pytest.approx(np.ones(300))
    assert weights.mean(axis=0) == pytest.approx(np.full(3, 1 / 3), abs=0.05)
    assert len(np.unique(weights[:, 0])) > 1


def test_seed_weights_do_not_depend_on_what_was_asked_before():
    first, second = Bootstrap(own_clusters(10), 50, seed=0), Bootstrap(own_clusters(10), 50, seed=0)
    first.seed_weights(2)
    assert (first.seed_weights(3) == second.seed_weights(3)).all()


def test_resamples_come_from_the_seed_alone():
    accuracy = accuracies(0, (3, 50))
    first, again, other = (Bootstrap(own_clusters(50), 200, seed=seed).means(accuracy) for seed in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).any()


STUDIES = 2000


@pytest.mark.parametrize(
    ("clusters", "size", "seeds", "seed_spread"),
    [(100, 1, 3, 0.01), (34, 3, 3, 0.01), (100, 1, 3, 0.03), (100, 1, 1, 0.0)],
    ids=["test", "perturbed", "seeds that differ", "one seed"],
)
def test_a_95_percent_interval_covers_the_truth_in_93_to_97_of_100_studies(clusters, size, seeds, seed_spread):
    random = np.random.default_rng(11)
    names = [f"q{number:04d}" for number in range(clusters * size)]
    groups = pd.Series([f"c{number // size}" for number in range(clusters * size)], index=names)
    truth = 1.2 / (1.2 + 0.8)
    covered = 0
    for study in range(STUDIES):
        if study % 100 == 0:
            bootstrap = Bootstrap(groups, 1000, seed=study)
        of_cluster = np.repeat(random.beta(1.2, 0.8, clusters), size)
        of_seed = random.normal(0, seed_spread, (seeds, 1))
        accuracy = of_cluster + of_seed + random.normal(0, 0.1, (seeds, clusters * size))
        low, high = interval(bootstrap.means(accuracy), CONFIDENCE)
        covered += low <= truth <= high
    assert 0.93 <= covered / STUDIES <= 0.97


@pytest.mark.parametrize("units", [2, 3, 10])
def test_drawn_means_have_the_unbiased_variance(units):
    values = accuracies(5, units)
    weights = draw(units, 200_000, np.random.default_rng(0)) / units
    assert weights.sum(axis=1) == pytest.approx(np.ones(len(weights)))
    assert (weights @ values).var() == pytest.approx(values.var(ddof=1) / units, rel=0.02)


def test_a_single_unit_is_never_missing():
    assert (draw(1, 10, np.random.default_rng(0)) == 1).all()


def test_ratios_are_shares_of_weighted_sums():
    bootstrap = Bootstrap(own_clusters(12), 300, seed=0)
    counts = np.random.default_rng(0).integers(0, 4, size=(1, 12)).astype(float)
    hits = np.minimum(counts, 1)
    expected = (bootstrap.question_weights @ hits[0]) / (bootstrap.question_weights @ counts[0])
    assert bootstrap.ratios(hits, counts) == pytest.approx(expected)
    assert np.isnan(bootstrap.ratios(np.zeros((1, 12)), np.zeros((1, 12)))).all()


def test_p_is_that_of_scipys_paired_t_test_for_single_questions_and_one_seed():
    one = accuracies(0, 60)
    other = np.clip(one + np.random.default_rng(1).normal(0.03, 0.15, 60), 0, 1)
    found = compare(Bootstrap(own_clusters(60), 40_000, seed=0), one[None], other[None], CONFIDENCE)
    expected = stats.ttest_rel(one, other)
    assert found.difference == pytest.approx(one.mean() - other.mean())
    assert found.error == pytest.approx((one - other).std(ddof=1) / np.sqrt(60), rel=0.02)
    assert found.p == pytest.approx(expected.pvalue, rel=0.15)
    assert found.low < found.difference < found.high


def test_equal_methods_do_not_differ():
    accuracy = accuracies(0, (3, 40))
    found = compare(Bootstrap(own_clusters(40), 500, seed=0), accuracy, accuracy, CONFIDENCE)
    assert (found.difference, found.error, found.p) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("seed_spread", [0.0, 0.01, 0.1], ids=["seeds agree", "seeds differ", "seeds decide"])
def test_of_studies_without_a_difference_5_in_100_show_one(seed_spread):
    random, studies, shown, covered = np.random.default_rng(3), 1000, 0, 0
    bootstrap = Bootstrap(own_clusters(60), 500, seed=0)
    for _ in range(studies):
        one, other = (
            random.beta(1.2, 0.8, 60) + random.normal(0, seed_spread, (3, 1)) + random.normal(0, 0.1, (3, 60)) for _ in range(2)
        )
        found = compare(bootstrap, one, other, CONFIDENCE)
        shown += found.p < 0.05
        covered += found.low <= 0 <= found.high
    assert 0.02 <= shown / studies <= 0.08
    assert shown + covered == studies


def test_a_single_cluster_shows_nothing():
    together = pd.Series("c", index=own_clusters(20).index)
    found = compare(Bootstrap(together, 200, seed=0), np.ones((1, 20)), np.zeros((1, 20)), CONFIDENCE)
    assert found.p == 1.0


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
            metric_rows("word-problems", "bce", problems - 0.1),
            metric_rows("harder", "pqm", harder),
        ]
    )
    table = summarise(metrics, CONFIDENCE, 500, seed=0).set_index(["benchmark", "method"])
    assert len(table) == 3
    assert table.loc[("word-problems", "pqm"), "accuracy"] == pytest.approx(problems.mean())
    assert table.loc[("harder", "pqm"), "accuracy"] == pytest.approx(harder.mean())
    assert table["questions"].to_dict() == {("word-problems", "pqm"): 40, ("word-problems", "bce"): 40, ("harder", "pqm"): 30}
    assert table["seeds"].to_dict() == {("word-problems", "pqm"): 2, ("word-problems", "bce"): 2, ("harder", "pqm"): 1}
    assert (table["low"] < table["accuracy"]).all()
    assert (table["accuracy"] < table["high"]).all()
    for bound in ("low", "high"):
        shift = table.loc[("word-problems", "pqm"), bound] - table.loc[("word-problems", "bce"), bound]
        assert shift == pytest.approx(0.1)


def test_summary_does_not_depend_on_the_order_of_rows():
    metrics = metric_rows("word-problems", "pqm", accuracies(0, (2, 40)), cluster_size=4)
    shuffled = metrics.sample(frac=1, random_state=0)
    columns = ["accuracy", "low", "high"]
    assert summarise(shuffled, CONFIDENCE, 500, 0)[columns].to_numpy() == pytest.approx(
        summarise(metrics, CONFIDENCE, 500, 0)[columns].to_numpy()
    )


def test_summary_uses_the_clusters_of_the_table():
    accuracy = np.repeat(accuracies(0, (1, 30)), 4, axis=1)
    single, clustered = (
        summarise(metric_rows("word-problems", "pqm", accuracy, size), CONFIDENCE, 2000, 0).iloc[0] for size in (1, 4)
    )
    assert clustered["high"] - clustered["low"] > 1.6 * (single["high"] - single["low"])
