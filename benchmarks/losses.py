"""The losses against the formulas of the authors' code, in plain exponentials: time, equality, and values that are not a number.

Each side reads labels as its own trainer makes them. Part of the authors' work is in their collator, a loop over trajectories:
whether a step is wrong, and the place of the last step. Losses that read these count the time of that loop.

python benchmarks/losses.py
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from bench import Row, cpu_seconds, main, versions
from torch import Tensor

from pqm.losses.common import loss as losses
from pqm.losses.common.steps import IGNORED, reduce

TRAJECTORIES, STEPS = 64, 12
ZETA, EPSILON = 4.0, 1e-5
LARGE = 85.0  # exp(85 + zeta) is infinite in float32
CALLS, ROUNDS = 10, 100  # short rounds, because the minimum of many is steady on a busy machine


@dataclass(frozen=True)
class Batch:
    """Step scores and their labels.

    Attributes:
        scores: shape [trajectories, steps]; a leaf.
        labels: as ours reads them, floats, shape [trajectories, steps].
        integers: as the authors' code reads them, the same shape.
        lists: the labels of each trajectory, which the authors' collator reads.
    """

    scores: Tensor
    labels: Tensor
    integers: Tensor
    lists: list[list[int]]

    @classmethod
    def of(cls, scores: Tensor, labels: Tensor) -> "Batch":
        """Make a batch of leaf scores from integer labels."""
        lists = [[label for label in row if label != IGNORED] for row in labels.tolist()]
        return cls(scores.clone().requires_grad_(), labels.float(), labels, lists)

    def has_wrong(self) -> Tensor:
        """Whether a step is wrong, 0 or 1, shape [trajectories], as the authors' collator finds it."""
        return torch.tensor([int(0 in labels) for labels in self.lists])

    def last(self) -> Tensor:
        """The place of the last step, shape [trajectories], as the authors' collator finds it."""
        return torch.tensor([max(len(labels) - 1, 0) for labels in self.lists])


MeanLoss = Callable[[Batch], Tensor]


def authors_ranking(batch: Batch, first_only: bool = False) -> Tensor:
    """Eq. 10, or Eq. 12 with `first_only`: the step whose place is the number of correct steps, without a margin."""
    labels, has_wrong = batch.integers, batch.has_wrong()
    correct = torch.where(labels == 1, batch.scores.exp(), 0)
    if first_only:
        place = torch.where(has_wrong.bool(), (labels == 1).sum(dim=1), 0)
        against = has_wrong * batch.scores.gather(1, place.unsqueeze(1)).exp().squeeze(1)
    else:
        against = torch.where(labels == 0, (batch.scores + ZETA).exp(), 0).sum(dim=1)
    one = torch.ones(len(correct), 1)
    before = torch.cat([torch.zeros(len(correct), 1), torch.cat([one, correct], dim=1).cumsum(dim=1)[:, :-1]], dim=1)
    factors = _factors(labels, correct, before, against)
    counted = torch.cat([has_wrong.unsqueeze(1), labels], dim=1) == 1
    return (torch.where(counted, factors, 0).sum(dim=1) / counted.sum(dim=1)).mean()


def authors_theorem(batch: Batch) -> Tensor:
    """Eq. 9: the ranking among the wrong steps, and the correct part, which counts steps after the first one twice."""
    labels, has_wrong = batch.integers, batch.has_wrong()
    steps = (labels != IGNORED).sum(dim=1)
    correct = torch.where(labels == 1, batch.scores.exp(), 0)
    against = torch.where(labels == 0, (batch.scores + ZETA).exp(), 0).sum(dim=1)
    wrong = torch.where(labels == 0, batch.scores.exp(), 0).flip(1)
    is_wrong = labels.flip(1)[:, 1:] == 0
    current = torch.where(is_wrong, wrong[:, 1:], 1)
    among_wrong = -torch.log(current / (current + wrong.cumsum(dim=1)[:, :-1] + EPSILON))
    rising = torch.cat([torch.zeros(len(correct), 1), correct.cumsum(dim=1)[:, 1:]], dim=1) + 1
    factors = _factors(labels, correct, torch.cat([torch.zeros(len(correct), 1), rising], dim=1), against)
    counted = torch.cat([has_wrong.unsqueeze(1), labels], dim=1) == 1
    wrong_part = (torch.where(is_wrong, among_wrong, 0).sum(dim=1) / steps).mean()
    return (torch.where(counted, factors, 0).sum(dim=1) / (steps + 1)).mean() + wrong_part


def _factors(labels: Tensor, correct: Tensor, before: Tensor, against: Tensor) -> Tensor:
    """-log of the factors of slot 0 and of each step, shape [trajectories, 1 + steps]."""
    current = torch.cat([torch.ones(len(correct), 1), torch.where(labels == 1, correct, 1)], dim=1)
    return -torch.log(current / (current + before + against.unsqueeze(1) + EPSILON))


def authors_pointwise(batch: Batch, function: Callable[..., Tensor]) -> Tensor:
    """BCE or MSE of probabilities, mean over the batch's steps, which their code finds three times."""
    labels = batch.integers
    targets = torch.where(labels != IGNORED, labels, 0).float()
    terms = function(batch.scores.sigmoid(), targets) * (labels != IGNORED)
    return terms.sum() / (labels != IGNORED).sum()


def authors_orm(batch: Batch) -> Tensor:
    """BCE of the probability at the last step."""
    at_last = batch.scores.gather(1, batch.last().unsqueeze(1)).sigmoid().squeeze(1)
    return torch.nn.functional.binary_cross_entropy(at_last, 1 - batch.has_wrong().float(), reduction="none").mean()


AUTHORS: dict[str, MeanLoss] = {
    "pqm": authors_ranking,
    "theorem": authors_theorem,
    "first-error": partial(authors_ranking, first_only=True),
    "bce": partial(authors_pointwise, function=torch.nn.BCELoss(reduction="none")),
    "mse": partial(authors_pointwise, function=torch.nn.MSELoss(reduction="none")),
    "orm": authors_orm,
}
RANKING = ("pqm", "theorem", "first-error")


def ours(name: str, normalizer: str) -> MeanLoss:
    """The mean loss as a training computes it."""
    function = losses.find(name).bind({"zeta": ZETA, "normalizer": normalizer} if name in RANKING else {})
    weighting = "step" if name in ("bce", "mse") else "trajectory"

    def mean_loss(batch: Batch) -> Tensor:
        total, weight = reduce(function(batch.scores, batch.labels), batch.labels, weighting)
        return total / weight

    return mean_loss


def value_and_gradient(loss: MeanLoss, batch: Batch) -> Tensor:
    """The mean loss, and the gradient of each score; shape [1 + trajectories * steps]."""
    value = loss(batch)
    (gradient,) = torch.autograd.grad(value, batch.scores)
    return torch.cat([value.detach().reshape(1), gradient.flatten()])


def random_batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores of normal scale and labels of 2 to 11 steps, in any order. The last slot is padding, because Eq. 9 of the authors'
    code leaves out a wrong step there."""
    random = torch.Generator().manual_seed(seed)
    scores = torch.randn(TRAJECTORIES, STEPS, generator=random)
    labels = (torch.rand(TRAJECTORIES, STEPS, generator=random) < 0.6).long()
    steps = torch.randint(2, STEPS, (TRAJECTORIES, 1), generator=random)
    return scores, torch.where(torch.arange(STEPS) < steps, labels, IGNORED)


def rows_of(name: str) -> list[Row]:
    """The rows of one loss."""
    scores, labels = random_batch()
    batch, authors = Batch.of(scores, labels), AUTHORS[name]
    used, compared = ours(name, "factors"), ours(name, "official")
    difference = float((value_and_gradient(compared, batch) - value_and_gradient(authors, batch)).abs().max())

    def calls(loss: MeanLoss) -> None:
        for _ in range(CALLS):
            value_and_gradient(loss, batch)

    calls(used), calls(authors)  # warms up
    mine, theirs = (1e6 * seconds / CALLS for seconds in cpu_seconds(lambda: calls(used), lambda: calls(authors), repeats=ROUNDS))
    unlabelled = labels.clone()
    unlabelled[0] = IGNORED
    cases = {
        f"with scores of {LARGE:g}": Batch.of(torch.full_like(scores, LARGE), labels),
        "with a trajectory that has no step": Batch.of(scores, unlabelled),
    }
    row = partial(Row, "losses")
    size = f"{TRAJECTORIES} x {STEPS} steps, float32"
    return [
        row(f"{name}: forward and backward pass", mine, theirs, "CPU-us", theirs / mine, ">= 1", size),
        row(f"{name}: largest difference of loss and gradient", difference, unit="", goal="<= 1e-6", note=_compared(name)),
        *(
            row(
                f"{name}: NaN in loss and gradient {case}",
                *_nans(name, one),
                "count",
                goal="= 0",
                note=f"of {scores.numel() + 1}",
            )
            for case, one in cases.items()
        ),
    ]


def _compared(name: str) -> str:
    return "`normalizer: official`, scores from a normal distribution" if name in RANKING else "scores from a normal distribution"


def _nans(name: str, batch: Batch) -> tuple[int, int]:
    mine, theirs = (int(value_and_gradient(loss, batch).isnan().sum()) for loss in (ours(name, "factors"), AUTHORS[name]))
    return mine, theirs


def measure() -> list[Row]:
    """Rows for every loss."""
    torch.set_num_threads(1)
    assert set(AUTHORS) == set(losses.names()), "a loss without a formula to compare with"
    print(versions("torch"))
    return [row for name in AUTHORS for row in rows_of(name)]


if __name__ == "__main__":
    main(measure)
