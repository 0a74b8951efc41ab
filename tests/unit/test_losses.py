import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pqm.errors import PqmError
from pqm.losses.bce import bce
from pqm.losses.common.loss import Loss, find, names, read_method
from pqm.losses.common.steps import IGNORED, reduce
from pqm.losses.first_error import first_error
from pqm.losses.mse import mse
from pqm.losses.orm import orm
from pqm.losses.pqm import pqm
from pqm.losses.theorem import theorem

NORMALIZERS = ("factors", "printed", "official")
RANKING = {"pqm": pqm, "theorem": theorem, "first-error": first_error}
POINTWISE = {"bce": bce, "mse": mse, "orm": orm}
EVERY_LOSS = [(name, 4.0, normalizer) for name in RANKING for normalizer in NORMALIZERS] + [
    (name, None, "factors") for name in POINTWISE
]
FIGURE_1 = ([1.68, 2.76, 3.22, -0.93, -1.67, -1.72], [1, 1, 1, 0, 0, 0])
EPSILON = 1e-5

score = st.floats(-6, 6, allow_nan=False, width=32)
row = st.lists(st.tuples(score, st.sampled_from([0, 1])), max_size=7)
rows = st.lists(row, min_size=1, max_size=4)


def loss_function(name, zeta, normalizer):
    return find(name).bind({} if zeta is None else {"zeta": zeta, "normalizer": normalizer})


def batch(rows, padding=0, dtype=torch.float64, filler=3.0):
    width = max(1, max(map(len, rows))) + padding
    scores = [[r for r, _ in one] + [filler] * (width - len(one)) for one in rows]
    labels = [[y for _, y in one] + [IGNORED] * (width - len(one)) for one in rows]
    return torch.tensor(scores, dtype=dtype), torch.tensor(labels)


def one_row(scores, labels, dtype=torch.float64):
    return torch.tensor([scores], dtype=dtype), torch.tensor([labels])


def factor_costs(correct, negatives, zeta, epsilon):
    """Cost of slot 0 and of each correct step; slot 0 counts if there is a negative."""
    chain, costs = [0.0, *correct], []
    for t in range(len(chain)):
        if t == 0 and not negatives:
            continue
        denominator = epsilon
        for q in range(t + 1):
            denominator += math.exp(chain[q])
        for w in negatives:
            denominator += math.exp(w + zeta)
        costs.append(-math.log(math.exp(chain[t]) / denominator))
    return costs


def equation_10(one, zeta, normalizer, first_only=False):
    correct = [r for r, y in one if y == 1]
    wrong = [r for r, y in one if y == 0]
    if first_only:
        wrong = wrong[:1]
    if first_only and wrong and normalizer == "official":  # the authors' code: the step at the place |C|, without margin
        wrong, zeta = [one[len(correct)][0]], 0.0
    if not one:
        return 0.0
    costs = factor_costs(correct, wrong, zeta, EPSILON if normalizer == "official" else 0.0)
    if normalizer == "printed":
        return sum(costs) / max(1, len(correct))
    return sum(costs) / (len(correct) + (1 if wrong else 0))


def equation_9(one, zeta, normalizer):
    if normalizer == "official":
        return official_equation_9(one, zeta)
    if not one:
        return 0.0
    correct = [r for r, y in one if y == 1]
    wrong = [r for r, y in one if y == 0]
    total = sum(factor_costs(correct, wrong, zeta, 0.0))
    for t in range(len(wrong)):
        total += -math.log(math.exp(wrong[t]) / sum(math.exp(later) for later in wrong[t:]))
    return total / len(one)


def official_equation_9(one, zeta):
    """Eq. 9 in the authors' code: a step after the first one is counted twice, and the correct part is divided by H + 1."""
    if not one:
        return 0.0
    against = sum(math.exp(r + zeta) for r, y in one if y == 0) + EPSILON
    correct_part = math.log(1 + against) if any(y == 0 for _, y in one) else 0.0
    wrong_part, rising = 0.0, 1.0
    for place, (r, y) in enumerate(one):
        if y == 1:
            rising += math.exp(r)
            correct_part += math.log(rising + (math.exp(r) if place else 0.0) + against) - r
        else:
            wrong_part += math.log(sum(math.exp(later) for later, label in one[place:] if label == 0) + EPSILON) - r
    return correct_part / (len(one) + 1) + wrong_part / len(one)


@pytest.mark.parametrize("zeta, cost", [(0, 0.4682), (2, 1.0020), (4, 2.1509), (8, 5.8214), (16, 13.813)])
def test_figure_1_costs_as_much_as_in_the_authors_code(zeta, cost):
    digits = len(str(cost).split(".")[1])
    assert round(pqm(*one_row(*FIGURE_1), zeta, "official").item(), digits) == pytest.approx(cost, abs=1e-12)


@pytest.mark.parametrize("scores, labels, cost", [([0.0], [1], 0.3466), ([0.0, 0.0], [1, 1], 0.6931)])
def test_official_theorem_costs_as_much_as_in_the_authors_code(scores, labels, cost):
    assert theorem(*one_row(scores, labels), 0.0, "official").item() == pytest.approx(cost, abs=1e-4)


@pytest.mark.parametrize(
    "labels, cost",  # all scores 0, margin 0, worked out by hand without the 1e-5
    [
        ([0, 0], math.log(3) / 3 + math.log(2) / 2),  # slot 0 against two wrong steps; 0 + log 2 among the wrong ones
        ([1, 0], (math.log(2) + math.log(3)) / 3),  # slot 0; the first step is counted once
        ([0, 1], (math.log(2) + math.log(4)) / 3),  # slot 0; the only correct step is the second step, and counted twice
        ([1, 0, 1], (math.log(2) + math.log(3) + math.log(5)) / 4),
    ],
)
def test_official_theorem_counts_a_step_twice_by_its_place(labels, cost):
    assert theorem(*one_row([0.0] * len(labels), labels), 0.0, "official").item() == pytest.approx(cost, abs=1e-4)


@pytest.mark.parametrize("zeta", [0.0, 2.0, 4.0])
@pytest.mark.parametrize("correct, wrong", [(0, 1), (1, 0), (3, 0), (0, 4), (2, 3), (5, 1)])
def test_zero_scores_cost_the_closed_form(correct, wrong, zeta):
    against = wrong * math.exp(zeta)
    slot_0 = math.log(1 + against)
    steps = sum(math.log(2 + k + against) for k in range(correct))
    scores, labels = one_row([0.0] * (correct + wrong), [1] * correct + [0] * wrong)
    expected = (slot_0 + steps) / (correct + (wrong > 0))
    assert pqm(scores, labels, zeta).item() == pytest.approx(expected, rel=1e-12)
    assert pqm(scores, labels, zeta, "printed").item() == pytest.approx((slot_0 + steps) / max(1, correct), rel=1e-12)
    among_wrong = sum(math.log(left) for left in range(1, wrong + 1))
    assert theorem(scores, labels, zeta).item() == pytest.approx((slot_0 + steps + among_wrong) / (correct + wrong), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(rows, st.sampled_from([0.0, 2.0, 4.0]), st.sampled_from(NORMALIZERS), st.integers(0, 3))
def test_ranking_losses_equal_the_written_equations(data, zeta, normalizer, padding):
    scores, labels = batch(data, padding)
    assert pqm(scores, labels, zeta, normalizer).tolist() == pytest.approx(
        [equation_10(one, zeta, normalizer) for one in data], rel=1e-9, abs=1e-12
    )
    assert theorem(scores, labels, zeta, normalizer).tolist() == pytest.approx(
        [equation_9(one, zeta, normalizer) for one in data], rel=1e-9, abs=1e-12
    )
    assert first_error(scores, labels, zeta, normalizer).tolist() == pytest.approx(
        [equation_10(one, zeta, normalizer, first_only=True) for one in data], rel=1e-9, abs=1e-12
    )


def logistic(value):
    return 1 / (1 + math.exp(-value))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.tuples(score, st.sampled_from([0.0, 0.25, 0.7, 1.0])), max_size=6), min_size=1, max_size=4),
    st.integers(0, 2),
)
def test_bce_and_mse_are_means_over_the_steps(data, padding):
    scores, labels = batch(data, padding)
    labels = labels.double()
    cross = [[-y * math.log(logistic(r)) - (1 - y) * math.log(1 - logistic(r)) for r, y in one] for one in data]
    square = [[(logistic(r) - y) ** 2 for r, y in one] for one in data]
    assert bce(scores, labels).tolist() == pytest.approx([sum(one) / max(1, len(one)) for one in cross], rel=1e-6, abs=1e-9)
    assert mse(scores, labels).tolist() == pytest.approx([sum(one) / max(1, len(one)) for one in square], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("labels", [[1, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
def test_labels_after_the_first_error_count_as_they_are(labels):
    values = [0.5, -0.3, 1.2, -2.0]
    one = list(zip(values, labels))
    assert pqm(*one_row(values, labels), 4.0).item() == pytest.approx(equation_10(one, 4.0, "factors"))


def test_first_error_takes_the_first_wrong_step_where_labels_rise_again():
    labels = [1, 0, 1, 0]
    base = first_error(*one_row([0.5, -0.3, 1.2, -2.0], labels), 4.0)
    assert first_error(*one_row([0.5, -0.3, 1.2, 9.0], labels), 4.0).item() == pytest.approx(base.item())
    assert first_error(*one_row([0.5, 1.3, 1.2, -2.0], labels), 4.0).item() > base.item() + 0.5
    starts_wrong = [0, 1, 1, 0]
    one = list(zip([0.5, -0.3, 1.2, -2.0], starts_wrong))
    expected = equation_10(one, 4.0, "factors", first_only=True)
    assert first_error(*one_row([r for r, _ in one], starts_wrong), 4.0).item() == pytest.approx(expected)


def test_official_first_error_takes_the_step_whose_index_is_the_number_of_correct_steps():
    values, labels = [0.5, -0.3, 1.2, -2.0], [1, 0, 1, 0]
    taken = [math.log(1 + math.exp(1.2)), math.log(1 + math.exp(0.5) + math.exp(1.2)) - 0.5]
    last = math.log(1 + math.exp(0.5) + 2 * math.exp(1.2)) - 1.2
    assert first_error(*one_row(values, labels), 4.0, "official").item() == pytest.approx((sum(taken) + last) / 3, abs=1e-4)


def test_official_first_error_has_no_margin():
    data = one_row([0.5, -0.3, 1.2, -2.0], [1, 0, 1, 0])
    assert first_error(*data, 8.0, "official").item() == first_error(*data, 0.0, "official").item()
    assert first_error(*data, 8.0).item() > first_error(*data, 0.0).item() + 1


def test_printed_normalizer_does_not_count_slot_0():
    values = [0.5, 1.0, -1.0]
    some_wrong = one_row(values, [1, 1, 0])
    assert pqm(*some_wrong, 2.0, "printed").item() == pytest.approx(pqm(*some_wrong, 2.0).item() * 3 / 2)
    assert first_error(*some_wrong, 2.0, "printed").item() == pytest.approx(first_error(*some_wrong, 2.0).item() * 3 / 2)
    for labels in ([1, 1, 1], [0, 0, 0]):
        data = one_row(values, labels)
        assert pqm(*data, 2.0, "printed").item() == pytest.approx(pqm(*data, 2.0).item())
    assert theorem(*some_wrong, 2.0, "printed").item() == pytest.approx(theorem(*some_wrong, 2.0).item())


@pytest.mark.parametrize("value, cost", [(-12.0, 0.97), (-14.0, 2.6)])
def test_official_theorem_pays_for_low_wrong_steps(value, cost):
    data = one_row([value], [0])
    assert theorem(*data, 0.0).item() == pytest.approx(0, abs=1e-4)
    assert theorem(*data, 0.0, "official").item() == pytest.approx(cost, abs=0.05)


@pytest.mark.parametrize("name", RANKING)
def test_perfect_ranking_with_big_gaps_costs_nothing(name):
    labels = [1, 1, 0, 0, 0]
    good = one_row([15.0, 30.0, -15.0, -30.0, -45.0], labels)
    bad = one_row([-45.0, -30.0, -15.0, 30.0, 15.0], labels)
    assert 0 <= RANKING[name](*good, 4.0).item() < 1e-3
    assert RANKING[name](*bad, 4.0).item() > 5


@pytest.mark.parametrize("name", RANKING)
def test_disorder_among_correct_steps_costs(name):
    rising, falling = one_row([2.0, 4.0], [1, 1]), one_row([4.0, 2.0], [1, 1])
    assert RANKING[name](*falling, 0.0).item() > RANKING[name](*rising, 0.0).item() + 0.5


def test_only_the_theorem_ranks_the_wrong_steps():
    falling, rising = one_row([3.0, -2.0, -6.0], [1, 0, 0]), one_row([3.0, -6.0, -2.0], [1, 0, 0])
    assert pqm(*falling, 4.0).item() == pytest.approx(pqm(*rising, 4.0).item())
    assert theorem(*rising, 4.0).item() > theorem(*falling, 4.0).item() + 1


MIXED = [[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 1, 1, IGNORED, IGNORED], [IGNORED] * 5]


@pytest.mark.parametrize("name, zeta, normalizer", EVERY_LOSS)
def test_gradients_are_those_of_finite_differences(name, zeta, normalizer):
    scores = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).mul_(2).requires_grad_()
    loss = loss_function(name, zeta, normalizer)
    labels = torch.tensor(MIXED)
    assert torch.autograd.gradcheck(lambda values: loss(values, labels), (scores,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name, zeta, normalizer", EVERY_LOSS)
def test_extreme_scores_give_finite_float32_losses_and_gradients(name, zeta, normalizer, dtype):
    labels = torch.tensor(MIXED)
    patterns = [
        torch.full((5, 5), 100.0),
        torch.full((5, 5), -100.0),
        torch.where(labels == 1, 100.0, -100.0),
        torch.where(labels == 1, -100.0, 100.0),
        torch.tensor([[100.0, -100.0, 100.0, -100.0, 100.0]] * 5),
        torch.tensor([[-100.0, 100.0, -100.0, 100.0, -100.0]] * 5),
    ]
    loss = loss_function(name, 16.0 if zeta is not None else None, normalizer)
    for pattern in patterns:
        scores = pattern.to(dtype).requires_grad_()
        losses = loss(scores, labels)
        assert losses.dtype == torch.float32
        assert torch.isfinite(losses).all()
        assert (losses >= 0).all()
        losses.sum().backward()
        assert torch.isfinite(scores.grad).all()


def ranking_in_logarithms(name, scores, labels, zeta):
    """Eq. 9, Eq. 10 or Eq. 12 of one trajectory, by logarithms of sums of exponentials."""
    correct, wrong = [torch.zeros((), dtype=torch.float64), *scores[labels == 1]], scores[labels == 0]
    negatives = wrong[:1] if name == "first-error" else wrong
    below = [r + zeta for r in negatives]
    first = 0 if below else 1
    costs = [torch.stack([*correct[: t + 1], *below]).logsumexp(0) - correct[t] for t in range(first, len(correct))]
    if name != "theorem":
        return torch.stack(costs).mean()
    costs += [wrong[t:].logsumexp(0) - wrong[t] for t in range(len(wrong))]
    return torch.stack(costs).sum() / len(labels)


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("largest", [1.0, 20.0, 85.0, 290.0])
def test_ranking_losses_are_exact_however_far_apart_the_scores_of_a_trajectory_are(name, largest):
    random = torch.Generator().manual_seed(2)
    scores = ((torch.rand(20, 9, dtype=torch.float64, generator=random) * 2 - 1) * largest).requires_grad_()
    labels = (torch.rand(20, 9, generator=random) < 0.6).long()
    expected = torch.stack([ranking_in_logarithms(name, *one, 4.0) for one in zip(scores, labels)])
    weights = torch.linspace(-1, 2, 20, dtype=torch.float64)
    (expected_gradient,) = torch.autograd.grad(expected @ weights, scores)
    found = RANKING[name](scores, labels, 4.0)
    (gradient,) = torch.autograd.grad(found @ weights, scores)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-9, atol=1e-12)
    single = RANKING[name](scores.float(), labels, 4.0)
    torch.testing.assert_close(single, expected.float(), rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("largest", [85.0, 1e3, 1e4])
@pytest.mark.parametrize("name, zeta, normalizer", EVERY_LOSS)
def test_no_score_or_margin_is_too_large_for_finite_losses_and_gradients(name, zeta, normalizer, largest):
    labels = torch.tensor(MIXED)
    signs = [torch.ones(5, 5), -torch.ones(5, 5), torch.where(labels == 1, 1.0, -1.0), torch.where(labels == 1, -1.0, 1.0)]
    for margin in (None,) if zeta is None else (0.0, 4.0, 1e4):
        for pattern in signs:
            scores = (pattern * largest).requires_grad_()
            losses = loss_function(name, margin, normalizer)(scores, labels)
            losses.sum().backward()
            assert torch.isfinite(losses).all() and (losses >= 0).all()
            assert torch.isfinite(scores.grad).all()


def test_scores_beyond_the_limit_are_still_pushed():
    scores = torch.tensor([[-1e4, 1e4]], requires_grad=True)
    pqm(scores, torch.tensor([[1, 0]]), 4.0).sum().backward()
    assert scores.grad[0, 0] < -0.4 and scores.grad[0, 1] > 0.4


@pytest.mark.parametrize("name, zeta, normalizer", EVERY_LOSS)
def test_labels_may_be_integers_or_floats(name, zeta, normalizer):
    scores = torch.randn(5, 5, generator=torch.Generator().manual_seed(3))
    labels, loss = torch.tensor(MIXED), loss_function(name, zeta, normalizer)
    assert loss(scores, labels).tolist() == loss(scores, labels.float()).tolist()


@pytest.mark.parametrize("name", RANKING)
def test_gradient_pushes_even_where_every_score_is_reversed_and_extreme(name):
    labels = torch.tensor([[1, 1, 0, 0]])
    scores = torch.tensor([[-100.0, -90.0, 100.0, 90.0]], requires_grad=True)
    RANKING[name](scores, labels, 16.0).sum().backward()
    assert (scores.grad[0, :2] < 0).all()
    assert scores.grad[0, 2] > 0.1


@pytest.mark.parametrize("weighting", ["trajectory", "step"])
@pytest.mark.parametrize("name, zeta, normalizer", EVERY_LOSS)
def test_rows_and_slots_without_labels_cost_nothing_and_get_no_gradient(name, zeta, normalizer, weighting):
    labels = torch.tensor([[1, 1, 0, IGNORED], [IGNORED] * 4, [1, 1, 1, IGNORED]])
    scores = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    losses = loss_function(name, zeta, normalizer)(scores, labels)
    total, weight = reduce(losses, labels, weighting)
    (total / weight).backward()
    assert losses[1].item() == 0
    assert torch.isfinite(scores.grad).all()
    assert (scores.grad[1] == 0).all()
    assert (scores.grad[:, 3] == 0).all()
    assert (scores.grad[0] != 0).any()


@pytest.mark.parametrize("name, zeta, normalizer", EVERY_LOSS)
def test_batch_without_any_label_is_zero(name, zeta, normalizer):
    labels = torch.full((2, 3), IGNORED)
    scores = torch.ones(2, 3, requires_grad=True)
    losses = loss_function(name, zeta, normalizer)(scores, labels)
    total, weight = reduce(losses, labels, "trajectory")
    total.backward()
    assert losses.tolist() == [0, 0]
    assert weight.item() == 0
    assert (scores.grad == 0).all()


@pytest.mark.parametrize("name, zeta, normalizer", EVERY_LOSS)
def test_padding_and_batch_mates_change_nothing(name, zeta, normalizer):
    loss = loss_function(name, zeta, normalizer)
    first, second = [(0.3, 1), (-0.2, 0), (1.5, 1)], [(2.0, 1)]
    alone = [loss(*batch([one])).item() for one in (first, second)]
    together = loss(*batch([first, second], padding=3, filler=50.0))
    assert together.tolist() == pytest.approx(alone, rel=1e-12)


def test_soft_labels_are_not_cut_to_integers():
    scores, soft = torch.tensor([[0.3]]), torch.tensor([[0.7]])
    sigma = logistic(0.3)
    assert bce(scores, soft).item() == pytest.approx(-0.7 * math.log(sigma) - 0.3 * math.log(1 - sigma), rel=1e-5)
    assert mse(scores, soft).item() == pytest.approx((sigma - 0.7) ** 2, rel=1e-4)


@pytest.mark.parametrize("loss", [bce, mse])
def test_soft_label_is_regressed_at_its_logit(loss):
    best = math.log(0.7 / 0.3)
    scores = torch.tensor([[best]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[0.7]], dtype=torch.float64)
    loss(scores, labels).sum().backward()
    assert scores.grad.item() == pytest.approx(0, abs=1e-12)
    for other in (best - 0.5, best + 0.5):
        assert loss(torch.tensor([[other]], dtype=torch.float64), labels).item() > loss(scores, labels).item() + 1e-3


def test_bce_costs_nothing_where_values_are_certain_and_asks_no_order():
    labels = [1, 1, 0, 0]
    assert bce(*one_row([40.0, 50.0, -40.0, -50.0], labels)).item() == pytest.approx(0, abs=1e-12)
    ordered, swapped = bce(*one_row([1.0, 2.0, -1.0, -2.0], labels)), bce(*one_row([2.0, 1.0, -2.0, -1.0], labels))
    assert ordered.item() == pytest.approx(swapped.item())


@pytest.mark.parametrize(
    "labels, target", [([1, 1, 1, IGNORED], 1), ([1, 0, 1, IGNORED], 0), ([1, 1, 0, IGNORED], 0), ([0, 0, 0, IGNORED], 0)]
)
def test_orm_reads_the_last_labelled_step_and_asks_that_no_step_is_wrong(labels, target):
    expected = -math.log(logistic(0.8)) if target else -math.log(1 - logistic(0.8))
    scores = torch.tensor([[-3.0, 5.0, 0.8, 9.0]], requires_grad=True)
    cost = orm(scores, torch.tensor([labels]))
    cost.sum().backward()
    assert cost.item() == pytest.approx(expected, rel=1e-5)
    assert [value != 0 for value in scores.grad[0].tolist()] == [False, False, True, False]


def test_trajectory_weighting_does_not_depend_on_length():
    labels = torch.tensor([[1, 0, IGNORED, IGNORED], [1, 1, 1, 0], [IGNORED] * 4])
    losses = torch.tensor([1.0, 4.0, 0.0])
    total, weight = reduce(losses, labels, "trajectory")
    assert (total / weight).item() == pytest.approx(2.5)
    longer = torch.cat([labels, labels.clamp(max=0)], dim=1)
    total, weight = reduce(losses, longer, "trajectory")
    assert (total / weight).item() == pytest.approx(2.5)


def test_step_weighting_weighs_each_labelled_step():
    labels = torch.tensor([[1, 0, IGNORED, IGNORED], [1, 1, 1, 0], [IGNORED] * 4])
    total, weight = reduce(torch.tensor([1.0, 4.0, 0.0]), labels, "step")
    assert weight.item() == 6
    assert (total / weight).item() == pytest.approx((2 * 1 + 4 * 4) / 6)


def test_step_weighted_bce_is_the_mean_over_all_steps():
    data = [[(0.3, 1), (-0.2, 0), (1.5, 1)], [(2.0, 0)]]
    scores, labels = batch(data)
    total, weight = reduce(bce(scores, labels), labels, "step")
    every = [-math.log(logistic(r if y else -r)) for one in data for r, y in one]
    assert (total / weight).item() == pytest.approx(sum(every) / len(every))


def test_micro_batches_sum_to_the_whole_batch():
    data = [[(0.3, 1), (-0.2, 0)], [(2.0, 0)], [(1.0, 1), (0.5, 1), (-1.0, 0)]]
    scores, labels = batch(data)
    for weighting in ("trajectory", "step"):
        whole = reduce(pqm(scores, labels, 4.0), labels, weighting)
        parts = [reduce(pqm(scores[rows], labels[rows], 4.0), labels[rows], weighting) for rows in (slice(0, 1), slice(1, 3))]
        assert [sum(values).item() for values in zip(*parts)] == pytest.approx([value.item() for value in whole])


@pytest.mark.parametrize("name, loss", [*RANKING.items(), *POINTWISE.items()])
def test_losses_are_found_by_their_configured_names(name, loss):
    data = one_row([0.5, -0.3, 1.2], [1, 0, 1])
    found = loss_function(name, 2.0 if name in RANKING else None, "printed")(*data)
    expected = loss(*data, 2.0, "printed") if name in RANKING else loss(*data)
    assert found.item() == expected.item()


def test_every_file_of_the_folder_is_a_loss_and_the_tests_know_it():
    assert sorted(names()) == sorted([*RANKING, *POINTWISE])


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("bce", {"zeta": 4.0}, "loss bce: unknown key 'zeta'"),
        ("pqm", {}, "loss pqm: key 'zeta' is missing"),
        ("pqm", {"zeta": -1.0}, "loss pqm: zeta: Input should be greater than or equal to 0"),
        ("theorem", {"zeta": 1.0, "normalizer": "half"}, "loss theorem: normalizer: "),
    ],
)
def test_settings_that_a_loss_does_not_take_are_refused(name, settings, message):
    with pytest.raises(PqmError, match=message):
        find(name).bind(settings)


@pytest.mark.parametrize(
    "name, message",
    [
        ("pmq", "no loss 'pmq'; did you mean 'pqm'"),
        ("no_such_module:loss", "loss 'no_such_module:loss': cannot be imported"),
        ("math:no_such_function", "loss 'math:no_such_function': cannot be imported"),
        ("math:pi", "loss 'math:pi': not a function"),
    ],
)
def test_unknown_losses_are_named(name, message):
    with pytest.raises(PqmError, match=message):
        find(name)


@pytest.mark.parametrize(
    "name, settings, targets, method, label",
    [
        ("pqm", {"zeta": 4.0}, "hard", "pqm-zeta4", "PQM, ζ = 4"),
        ("pqm", {"zeta": 0.5}, "hard", "pqm-zeta0.5", "PQM, ζ = 0.5"),
        ("theorem", {"zeta": 2.0}, "hard", "theorem-zeta2", "Eq. 9 (theorem), ζ = 2"),
        ("first-error", {"zeta": 4.0}, "hard", "first-error-zeta4", "Eq. 12 (first error), ζ = 4"),
        ("mse", {}, "hard", "mse-hard", "MSE, hard"),
        ("mse", {}, "soft", "mse-soft", "MSE, soft"),
        ("bce", {}, "hard", "bce", "BCE"),
        ("bce", {}, "soft", "bce-soft", "BCE, soft"),
        ("orm", {}, "hard", "orm", "ORM"),
    ],
)
def test_a_method_is_named_and_read_back(name, settings, targets, method, label):
    loss = find(name)
    assert loss.named(settings, targets) == method
    found = read_method(method)
    assert found.loss is loss and found.label == label


def test_other_methods_are_no_losses():
    assert read_method("self-consistency") is None and read_method("pqm-zetas") is None


def untyped(scores, labels, margin):
    return scores


def test_a_setting_without_type_is_refused():
    with pytest.raises(PqmError, match="untyped: parameter 'margin' has no type"):
        Loss(untyped, "untyped").bind({"margin": 1.0})
