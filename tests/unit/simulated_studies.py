"""Studies with a known true accuracy, simulated in bulk: logits are a mean plus normal effects of seed, cluster and question.

It knows nothing of the estimators. The true mean over seeds and clusters is a Gauss-Hermite sum.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

AT, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
CLUSTER, QUESTION, METHOD = 1.0, 1.0, 0.7  # standard deviations in logits; METHOD is that of a question's effect on one method
CHUNK = 1_000_000


@dataclass(frozen=True)
class Design:
    """A study: `clusters` of `size` questions, all answered by `seeds` trainings whose effects differ by `seed_spread` logits."""

    clusters: int
    size: int
    seeds: int
    seed_spread: float

    @property
    def sizes(self):
        return np.full(self.clusters, float(self.size))

    def counts(self, accuracy):
        """Whether five or more clusters are expected right, and five or more wrong."""
        return self.clusters * min(accuracy, 1 - accuracy) >= 5


def mean_accuracy(logit, spread):
    """The mean of expit(logit + normal), whose standard deviation is `spread`."""
    return expit(np.asarray(logit)[..., None] + spread * AT) @ WEIGHTS / WEIGHTS.sum()


def logit_of(accuracy, spread):
    """The inverse of `mean_accuracy`."""
    return brentq(lambda logit: mean_accuracy(logit, spread) - accuracy, -40, 40)


def answers(random, design, accuracies, studies):
    """Totals right per method, shape [methods, studies, seeds, clusters], and the true accuracies [methods, studies].

    With one seed the truth is that seed's accuracy.
    """
    spread = np.hypot(CLUSTER, QUESTION) if len(accuracies) == 1 else np.sqrt(CLUSTER**2 + QUESTION**2 + METHOD**2)
    totals, truth = np.empty((len(accuracies), studies, design.seeds, design.clusters)), np.empty((len(accuracies), studies))
    chunk = max(1, CHUNK // (design.clusters * design.size * design.seeds))
    for first in range(0, studies, chunk):
        part = slice(first, min(first + chunk, studies))
        shape = (part.stop - part.start, 1, design.clusters, design.size)
        questions = random.normal(0, CLUSTER, (*shape[:3], 1)) + random.normal(0, QUESTION, shape)
        for method, accuracy in enumerate(accuracies):
            of_seeds = random.normal(0, design.seed_spread, (shape[0], design.seeds, 1, 1))
            middle = logit_of(accuracy, np.hypot(spread, design.seed_spread))
            logits = middle + of_seeds + questions + (random.normal(0, METHOD, shape) if len(accuracies) > 1 else 0)
            totals[method, part] = (random.random(logits.shape) < expit(logits)).sum(axis=-1)
            truth[method, part] = mean_accuracy(middle + of_seeds[:, 0, 0, 0], spread) if design.seeds == 1 else accuracy
    return totals, truth


def covered(low, high, truth):
    """The share of intervals that contain the truth."""
    return float(np.mean((low <= truth) & (truth <= high)))
