import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit
from simulated_studies import Design, answers, covered

from pqm.estimation.intervals import accuracy_interval, difference_interval, spread

CONFIDENCE = 0.95
STUDIES = 1500


def single(accuracy):
    """Totals and sizes of clusters of one question."""
    totals = np.atleast_2d(np.asarray(accuracy, dtype=float))
    return totals, np.ones(totals.shape[1])


def clustered(seed, seeds, clusters, size):
    """Accuracies of shape [seeds, clusters, size] with effects of seeds, clusters and both."""
    random = np.random.default_rng(seed)
    effects = random.normal(0, 0.1, (seeds, 1, 1)) + random.normal(0, 0.2, (1, clusters, 1))
    return np.clip(0.5 + effects + random.normal(0, 0.1, (seeds, clusters, size)), 0, 1)


DESIGNS = [
    (Design(15, 20, 1, 0.0), (0.1, 0.5)),
    (Design(15, 20, 3, 1.0), (0.02, 0.9)),
    (Design(70, 4, 1, 1.0), (0.05, 0.9)),
    (Design(70, 4, 3, 0.4), (0.1, 0.5)),
    (Design(30, 1, 1, 0.0), (0.05, 0.5)),
    (Design(30, 1, 3, 1.0), (0.2, 0.5)),
    (Design(100, 1, 1, 0.0), (0.02, 0.98, 0.99)),
    (Design(100, 1, 3, 0.0), (0.2, 0.98)),
    (Design(100, 1, 3, 1.0), (0.1, 0.8)),
    (Design(500, 1, 1, 1.0), (0.05, 0.5)),
    (Design(500, 1, 3, 0.0), (0.1, 0.5)),
    (Design(500, 1, 3, 0.4), (0.05, 0.5)),
    (Design(500, 1, 3, 1.0), (0.05, 0.5, 0.95)),
    (Design(30, 8, 1, 0.4), (0.02, 0.5)),
    (Design(30, 8, 3, 0.4), (0.5, 0.98)),
    (Design(100, 8, 3, 0.4), (0.05, 0.5)),
]


@pytest.mark.parametrize(
    ("design", "accuracy"),
    [(design, accuracy) for design, each in DESIGNS for accuracy in each],
    ids=lambda value: (
        str(value) if isinstance(value, float) else f"{value.clusters}x{value.size}-{value.seeds}-{value.seed_spread}"
    ),
)
def test_the_interval_covers_the_true_accuracy(design, accuracy):
    """At least 93 % in all designs, at most 97 % if enough is right and wrong; one point is left to chance."""
    totals, truth = answers(np.random.default_rng(7), design, [accuracy], STUDIES)
    _, low, high = accuracy_interval(totals[0], design.sizes, CONFIDENCE)
    share = covered(low, high, truth[0])
    assert share >= 0.92
    assert share <= 0.98 or not design.counts(accuracy)


@pytest.mark.parametrize("accuracies", [(0.5, 0.5), (0.5, 0.6), (0.9, 0.95), (0.98, 0.98)], ids=str)
@pytest.mark.parametrize(
    "design",
    [Design(15, 20, 1, 0.0), Design(100, 1, 1, 0.0), Design(100, 1, 3, 1.0), Design(500, 1, 3, 0.4), Design(30, 8, 3, 0.0)],
    ids=lambda design: f"{design.clusters}x{design.size}-{design.seeds}-{design.seed_spread}",
)
def test_the_interval_covers_the_true_difference(design, accuracies):
    totals, truth = answers(np.random.default_rng(11), design, accuracies, STUDIES)
    parts = spread(totals[0] - totals[1], design.sizes)
    reach, _, _ = difference_interval(parts, CONFIDENCE)
    assert covered(parts.mean - reach, parts.mean + reach, truth[0] - truth[1]) >= 0.92


@pytest.mark.parametrize("right", [0.0, 1.0])
@pytest.mark.parametrize("questions", [1, 2, 20, 100, 1319])
def test_nothing_or_everything_right_has_clopper_and_pearsons_interval(questions, right):
    _, low, high = accuracy_interval(*single(np.full(questions, right)), CONFIDENCE)
    expected = stats.binomtest(int(questions * right), questions).proportion_ci(CONFIDENCE, "exact")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("right", "questions"), [(1, 30), (99, 100), (50, 100), (490, 500)])
def test_single_questions_have_an_interval_between_clopper_pearson_and_jeffreys(right, questions):
    _, low, high = accuracy_interval(*single(np.arange(questions) < right), CONFIDENCE)
    exact = stats.binomtest(right, questions).proportion_ci(CONFIDENCE, "exact")
    jeffreys = stats.beta(right + 0.5, questions - right + 0.5).interval(CONFIDENCE)
    assert exact.low < low < jeffreys[0]
    assert jeffreys[1] < high < exact.high


def test_many_moderate_accuracies_have_students_interval():
    accuracy = np.random.default_rng(0).uniform(0.3, 0.9, 2000)
    _, low, high = accuracy_interval(*single(accuracy), CONFIDENCE)
    expected = stats.t.interval(CONFIDENCE, 1999, accuracy.mean(), accuracy.std(ddof=1) / np.sqrt(2000))
    assert (low, high) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("accuracy", [0.5, 0.9, 0.999, 1 - 1e-16, 1e-300])
@pytest.mark.parametrize("seeds", [1, 3])
def test_equal_questions_have_an_interval_of_some_width(accuracy, seeds):
    mean, low, high = accuracy_interval(np.full((seeds, 40), accuracy), np.ones(40), CONFIDENCE)
    assert 0 <= low <= mean <= high <= 1
    assert high - low > 1e-4


@given(
    st.integers(1, 4).flatmap(
        lambda seeds: st.integers(1, 6).flatmap(
            lambda clusters: st.lists(
                st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=clusters, max_size=clusters),
                min_size=seeds,
                max_size=seeds,
            )
        )
    )
)
@hypothesis_settings(max_examples=300, deadline=None)
def test_bounds_are_in_order_and_mirrored(accuracy):
    totals, sizes = single(accuracy)
    mean, low, high = accuracy_interval(totals, sizes, CONFIDENCE)
    assert mean == pytest.approx(totals.mean())
    assert 0 <= low < high <= 1
    assert low - 1e-9 <= mean <= high + 1e-9
    _, mirrored_low, mirrored_high = accuracy_interval(1 - totals, sizes, CONFIDENCE)
    assert (mirrored_low, mirrored_high) == pytest.approx((1 - high, 1 - low), abs=1e-6)


def test_the_variance_is_that_of_crossed_random_effects():
    """Mean squares of the balanced two-way layout: (clusters - interaction + seeds) / (seeds * clusters) is unbiased."""
    random, seeds, clusters, size = np.random.default_rng(3), 3, 12, 5
    of_seed, of_cluster, of_both = 0.05, 0.1, 0.08
    cells = (
        random.normal(0, of_seed, (20_000, seeds, 1))
        + random.normal(0, of_cluster, (20_000, 1, clusters))
        + random.normal(0, of_both, (20_000, seeds, clusters))
    )
    parts = spread(size * cells, np.full(clusters, float(size)))
    interaction = of_both**2 / (seeds * clusters)
    assert parts.mean.var() == pytest.approx(of_seed**2 / seeds + of_cluster**2 / clusters + interaction, rel=0.03)
    assert parts.clusters.mean() == pytest.approx(of_cluster**2 / clusters + interaction, rel=0.02)
    assert parts.seeds.mean() == pytest.approx(of_seed**2 / seeds + interaction, rel=0.03)
    assert parts.interaction.mean() == pytest.approx(interaction, rel=0.02)


def test_seeds_that_are_equal_by_chance_leave_some_width():
    """Each seed has its one wrong answer on another question, so all of the clusters' variance is interaction."""
    totals = 1 - np.eye(3, 30)
    _, low, high = accuracy_interval(totals, np.ones(30), CONFIDENCE)
    assert low < 29 / 30 - 0.01
    assert high > 29 / 30 + 0.01
    reach, error, _ = difference_interval(spread(totals - np.eye(3, 30)[:, ::-1], np.ones(30)), CONFIDENCE)
    assert reach > error > 0.001


@pytest.mark.parametrize(("accuracy", "seed_spread"), [(0.02, 1.0), (0.05, 0.0), (0.1, 0.0)])
def test_three_seeds_are_covered_as_often_if_they_agree_as_if_they_differ(accuracy, seed_spread):
    design = Design(300, 1, 3, seed_spread)
    totals, truth = answers(np.random.default_rng(13), design, [accuracy], 2 * STUDIES)
    _, low, high = accuracy_interval(totals[0], design.sizes, CONFIDENCE)
    assert 0.93 <= covered(low, high, truth[0]) <= 0.97


def test_unequal_clusters_have_the_variance_of_a_ratio():
    """The variance of sum / sum over drawn clusters, by simulation."""
    random, clusters = np.random.default_rng(5), 200
    sizes = random.integers(1, 12, clusters).astype(float)
    means = np.clip(0.4 + 0.03 * sizes + random.normal(0, 0.15, clusters), 0, 1)
    drawn = random.integers(0, clusters, (20_000, clusters))
    expected = ((sizes * means)[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)).var()
    assert spread((sizes * means)[None], sizes).clusters == pytest.approx(expected, rel=0.05)


def test_copies_in_a_cluster_add_no_certainty():
    totals, sizes = single(np.random.default_rng(0).beta(1.2, 0.8, 60))
    _, low, high = accuracy_interval(totals, sizes, CONFIDENCE)
    _, low_of_copies, high_of_copies = accuracy_interval(3 * totals, 3 * sizes, CONFIDENCE)
    assert (low_of_copies, high_of_copies) == pytest.approx((low, high), abs=0.003)


def test_seeds_that_agree_on_every_cluster_are_one_seed():
    accuracy = clustered(0, 1, 40, 3).sum(axis=-1)
    sizes = np.full(40, 3.0)
    once, thrice = (accuracy_interval(np.repeat(accuracy, seeds, axis=0), sizes, CONFIDENCE) for seeds in (1, 3))
    assert np.array(thrice) == pytest.approx(np.array(once), abs=0.001)


def test_three_seeds_that_decide_have_two_degrees_of_freedom():
    means = np.array([0.4, 0.5, 0.6])
    totals, sizes = np.repeat(means[:, None] * 20, 400, axis=1), np.full(400, 20.0)
    _, low, high = accuracy_interval(totals + np.random.default_rng(0).normal(0, 0.2, (1, 400)), sizes, CONFIDENCE)
    reach = stats.t.isf(0.025, 2) * means.std(ddof=1) / np.sqrt(3) / 0.25
    assert (low, high) == pytest.approx((expit(logit(0.5) - reach), expit(logit(0.5) + reach)), abs=0.01)


def test_more_confidence_widens_the_interval():
    totals, sizes = clustered(1, 3, 30, 4).sum(axis=-1), np.full(30, 4.0)
    bounds = [accuracy_interval(totals, sizes, confidence)[1:] for confidence in (0.8, 0.95, 0.99)]
    lows, highs = zip(*bounds)
    assert lows[0] > lows[1] > lows[2]
    assert highs[0] < highs[1] < highs[2]


def test_leading_axes_are_studies():
    totals, sizes = np.stack([clustered(seed, 3, 20, 4).sum(axis=-1) for seed in range(5)]), np.full(20, 4.0)
    together = np.array(accuracy_interval(totals, sizes, CONFIDENCE))
    alone = np.array([accuracy_interval(one, sizes, CONFIDENCE) for one in totals]).T
    assert together == pytest.approx(alone)
