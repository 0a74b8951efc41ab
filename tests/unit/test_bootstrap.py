import numpy as np
import pandas as pd
import pytest

from pqm.estimation.bootstrap import Bootstrap, draw, interval


def own_clusters(questions):
    names = [f"q{index:04d}" for index in range(questions)]
    return pd.Series(names, index=names)


def test_interval_is_a_percentile_interval():
    assert interval(np.arange(1001.0), 0.9) == pytest.approx((50.0, 950.0))
    assert interval(np.array([np.nan, *np.arange(1001.0)]), 0.9) == pytest.approx((50.0, 950.0))


@pytest.mark.parametrize("units", [2, 3, 10])
def test_drawn_means_have_the_unbiased_variance(units):
    values = np.random.default_rng(5).beta(1.2, 0.8, units)
    weights = draw(units, 200_000, np.random.default_rng(0)) / units
    assert weights.sum(axis=1) == pytest.approx(np.ones(len(weights)))
    assert (weights @ values).var() == pytest.approx(values.var(ddof=1) / units, rel=0.02)


def test_a_single_unit_is_never_missing():
    assert (draw(1, 10, np.random.default_rng(0)) == 1).all()


def test_questions_of_a_cluster_are_drawn_together():
    together = pd.Series([f"c{number // 4}" for number in range(40)], index=own_clusters(40).index)
    weights = Bootstrap(together, 300, seed=0).question_weights
    assert (weights.reshape(300, 10, 4) == weights.reshape(300, 10, 4)[:, :, :1]).all()


def test_shares_are_those_of_weighted_sums():
    bootstrap = Bootstrap(own_clusters(12), 300, seed=0)
    counts = np.random.default_rng(0).integers(0, 4, size=(2, 12)).astype(float)
    hits = np.minimum(counts, 1)
    shares = bootstrap.shares(hits, counts)
    for seed in range(2):
        assert shares[:, seed] == pytest.approx(
            (bootstrap.question_weights @ hits[seed]) / (bootstrap.question_weights @ counts[seed])
        )
    assert np.isnan(bootstrap.shares(np.zeros((1, 12)), np.zeros((1, 12)))).all()


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
    counts = np.random.default_rng(0).random((3, 50))
    first, again, other = (Bootstrap(own_clusters(50), 200, seed=seed).shares(counts, counts + 1) for seed in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).any()
