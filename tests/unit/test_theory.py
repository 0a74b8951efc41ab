import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqm.estimation.theory import Process, chain, q_star, two_roads, violations

FIGURE_1 = [1.68, 2.76, 3.22, -0.93, -1.67, -1.72]
chances = st.floats(0.02, 0.98)


def simulated_values(process, count, random):
    """Share of successes among `count` walks from the start."""
    state = np.full(count, process.start)
    for move in process.moves:
        edges = move.cumsum(axis=1)[state]
        state = (random.random((count, 1)) > edges).sum(axis=1).clip(max=len(process.right) - 1)
    return (random.random(count) < process.success[state]).mean()


@pytest.mark.parametrize("process", [chain(0.9, 0.2, 5), two_roads(0.99, 0.8, 0.3, 0.05, 5)], ids=["chain", "roads"])
def test_value_of_the_start_is_the_share_of_walks_that_succeed(process):
    found = simulated_values(process, 200_000, np.random.default_rng(0))
    assert process.values()[0, process.start] == pytest.approx(found, abs=0.005)


@pytest.mark.parametrize("process", [chain(0.7, 0.4, 4), two_roads(0.9, 0.6, 0.5, 0.1, 4)], ids=["chain", "roads"])
def test_values_are_the_sum_over_all_trajectories(process):
    ends = {}
    for chance, states in process.trajectories():
        ends[states[-1]] = ends.get(states[-1], 0.0) + chance
    assert sum(ends.values()) == pytest.approx(1.0)
    expected = sum(chance * process.success[state] for state, chance in ends.items())
    assert process.values()[0, process.start] == pytest.approx(expected)


def test_moves_are_chances():
    for process in (chain(0.7, 0.4, 4), two_roads(0.9, 0.6, 0.5, 0.1, 4)):
        assert process.moves.sum(axis=2) == pytest.approx(np.ones(process.moves.shape[:2]))


@given(chances, chances, st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_the_order_holds_exactly_where_staying_right_is_likelier_than_recovering(stay, recover, steps):
    violated = chain(stay, recover, steps).violated()
    if stay > recover + 1e-6:
        assert violated == 0
    elif recover > stay + 1e-6 and steps > 1:
        assert violated > 0


@given(chances, chances, st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_right_and_wrong_prefixes_differ_by_a_power_of_the_gap(stay, recover, steps):
    values = chain(stay, recover, steps).values()
    gaps = values[:, 0] - values[:, 1]
    assert gaps == pytest.approx((stay - recover) ** np.arange(steps, -1, -1), abs=1e-9)


def assumption(process: Process) -> tuple[float, float]:
    """Both sides of Assumption 3.1: the smallest chance of a right step after a right one, the largest after a wrong one."""
    next_right = process.moves[:, :, process.right].sum(axis=2)
    return float(next_right[:, process.right].min()), float(next_right[:, ~process.right].max())


def test_two_roads_keep_the_assumption_and_break_the_order():
    roads = two_roads(0.99, 0.85, 0.3, 0.05, 6)
    after_right, after_wrong = assumption(roads)
    assert after_right > 0.8 > 0.1 > after_wrong
    assert roads.violated() > 0
    q = q_star(roads)
    assert q[1, 1] < q[0, 0] < q[1, 0]  # a right step onto the hard road lowers Q


def test_bce_is_the_limit_where_steps_are_certain():
    values = chain(1.0, 0.0, 5).values()
    assert values[:, 0] == pytest.approx(np.ones(6))
    assert values[:, 1] == pytest.approx(np.zeros(6))
    near = chain(0.999, 0.001, 5).values()
    assert near[1:, 0].min() > 0.99
    assert near[1:, 1].max() < 0.01


def test_figure_1_of_the_paper_is_in_order():
    assert violations(FIGURE_1, [True] * 3 + [False] * 3, 0.0) == (0, 6)


@pytest.mark.parametrize(
    ("q", "right", "start", "expected"),
    [
        ([1.0, 2.0], [True, True], 0.0, (0, 2)),
        ([2.0, 1.0], [True, True], 0.0, (1, 2)),
        ([-1.0, -2.0], [False, False], 0.0, (0, 2)),
        ([-2.0, -1.0], [False, False], 0.0, (1, 2)),
        ([-1.0, 1.0], [True, False], 0.0, (2, 2)),
        ([0.5, 0.2], [True, False], None, (0, 1)),
        ([0.2, 0.5], [True, False], None, (1, 1)),
        ([0.5, 0.5, 0.5], [True, True, False], None, (0, 2)),
        ([1.0], [True], None, (0, 0)),
        ([], [], None, (0, 0)),
    ],
)
def test_violations(q, right, start, expected):
    assert violations(q, right, start) == expected


def test_violations_of_mixed_labels_follow_the_order_within_each_kind():
    # right, wrong, right, wrong: w2 < w1 < start < c1 < c2
    assert violations([1.0, -1.0, 2.0, -2.0], [True, False, True, False], 0.0) == (0, 4)
    assert violations([2.0, -2.0, 1.0, -1.0], [True, False, True, False], 0.0) == (2, 4)


def test_assumption_of_a_process():
    process = Process(
        np.array([[[0.8, 0.2], [0.3, 0.7]], [[0.6, 0.4], [0.1, 0.9]]]), np.array([True, False]), np.array([1.0, 0.0])
    )
    assert assumption(process) == pytest.approx((0.6, 0.3))
