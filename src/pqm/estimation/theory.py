"""Small reasoning processes with an exact Q*, to check Theorem 3.5 (`docs/theory.md`).

A process has a few hidden states. Each state determines whether the step into it is right, and the probability of a right
solution at the end. Under a fixed policy, the value of a state is the probability of success from there, computed by backward
induction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

Floats = NDArray[np.float64]
TOLERANCE = 1e-12


@dataclass(frozen=True)
class Process:
    """A reasoning process of H steps under a policy.

    Attributes:
        moves: probability of each next state, shape [H, states, states]; rows sum to 1.
        right: whether the step into a state is right, shape [states].
        success: probability that a solution ending in a state is right, shape [states].
        start: the state before the first step.
    """

    moves: Floats
    right: NDArray[np.bool_]
    success: Floats
    start: int = 0

    def values(self) -> Floats:
        """The probability of success from each state after t steps, sigma(Q*), shape [H + 1, states]."""
        values = [self.success]
        for move in self.moves[::-1]:
            values.append(move @ values[-1])
        return np.array(values[::-1])

    def trajectories(self) -> Iterator[tuple[float, tuple[int, ...]]]:
        """Every possible trajectory with its probability: the states after 1, .., H steps."""
        for states in product(range(len(self.right)), repeat=len(self.moves)):
            chance = float(np.prod([move[a, b] for move, a, b in zip(self.moves, (self.start, *states), states)]))
            if chance > 0:
                yield chance, states

    def violated(self) -> float:
        """The expected share of the theorem's inequalities that are violated, over the policy's trajectories."""
        values, broken, counted = self.values(), 0.0, 0.0
        for chance, states in self.trajectories():
            q = [values[t + 1, state] for t, state in enumerate(states)]
            failed, total = violations(q, self.right[list(states)], values[0, self.start])
            broken, counted = broken + chance * failed, counted + chance * total
        return broken / counted


def violations(
    q: Sequence[float] | Floats, right: Sequence[bool] | NDArray[np.bool_], start: float | None = None
) -> tuple[int, int]:
    """How many of the adjacent inequalities of Theorem 3.5 are violated in one trajectory, and how many there are.

    The order is: last wrong step < .. < first wrong step < start < first right step < .. < last right step. Equal values are no
    violation.

    Args:
        q: the value of each step, any increasing function of Q; shape [steps].
        right: whether each step is right, shape [steps].
        start: the same function of Q_0, if it is known.
    """
    wrong_steps = [value for value, fine in zip(q, right) if not fine]
    right_steps = [value for value, fine in zip(q, right) if fine]
    order = np.array([*wrong_steps[::-1], *([] if start is None else [start]), *right_steps])
    return int((np.diff(order) < -TOLERANCE).sum()), max(0, len(order) - 1)


def chain(stay: float, recover: float, steps: int) -> Process:
    """Two states: the next step is right with probability `stay` after a right step, and `recover` after a wrong one."""
    move = np.array([[stay, 1 - stay], [recover, 1 - recover]])
    return Process(np.repeat(move[None], steps, axis=0), np.array([True, False]), np.array([1.0, 0.0]))


def two_roads(easy: float, hard: float, hard_share: float, recover: float, steps: int) -> Process:
    """A right first step takes an easy or a hard road; later steps stay right with the probability of the road."""
    stay = {"easy": easy, "hard": hard}
    first = np.array([easy * (1 - hard_share), hard * hard_share, 1 - easy * (1 - hard_share) - hard * hard_share])
    back = np.array([recover, 0.0, 1 - recover])
    later = np.array([[stay["easy"], 0.0, 1 - stay["easy"]], [0.0, stay["hard"], 1 - stay["hard"]], back])
    moves = np.array([np.stack([first, first, back]), *([later] * (steps - 1))])
    return Process(moves, np.array([True, True, False]), np.array([1.0, 1.0, 0.0]))


def q_star(process: Process) -> Floats:
    """Q* (a logit) of each state after t steps, shape [H + 1, states]."""
    return np.asarray(logit(process.values()), dtype=np.float64)
