"""Small reasoning processes whose Q* is computed and not sampled, to hold Theorem 3.5 against (`docs/theory.md`).

A process has a few hidden states; the step that leads into a state is right or wrong with it. At the end a state succeeds or
not. Under a fixed policy the value of a state is the chance of success from there, by backward induction.
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
        moves: chance of each next state, shape [H, states, states], rows sum to 1.
        right: whether the step into a state is right, shape [states].
        success: chance that a solution that ends in a state is right, shape [states].
        start: the state of the bare question.
    """

    moves: Floats
    right: NDArray[np.bool_]
    success: Floats
    start: int = 0

    def values(self) -> Floats:
        """The chance of success from each state after t steps, sigma(Q*), shape [H + 1, states]."""
        values = [self.success]
        for move in self.moves[::-1]:
            values.append(move @ values[-1])
        return np.array(values[::-1])

    def trajectories(self) -> Iterator[tuple[float, tuple[int, ...]]]:
        """Every trajectory that the policy can take, with its chance: the states after 1, .., H steps."""
        for states in product(range(len(self.right)), repeat=len(self.moves)):
            chance = float(np.prod([move[a, b] for move, a, b in zip(self.moves, (self.start, *states), states)]))
            if chance > 0:
                yield chance, states

    def assumption(self) -> tuple[float, float]:
        """Assumption 3.1's two sides: the least chance of a right step after a right one, the greatest after a wrong one."""
        next_right = self.moves[:, :, self.right].sum(axis=2)
        return float(next_right[:, self.right].min()), float(next_right[:, ~self.right].max())

    def violated(self) -> float:
        """The share of the theorem's inequalities that fail, expected over the policy's trajectories."""
        values, broken, counted = self.values(), 0.0, 0.0
        for chance, states in self.trajectories():
            q = [values[t + 1, state] for t, state in enumerate(states)]
            failed, total = violations(q, self.right[list(states)], values[0, self.start])
            broken, counted = broken + chance * failed, counted + chance * total
        return broken / counted


def violations(
    q: Sequence[float] | Floats, right: Sequence[bool] | NDArray[np.bool_], start: float | None = None
) -> tuple[int, int]:
    """How many of the adjacent inequalities of Theorem 3.5 are reversed in one trajectory, and how many there are.

    The order is: the last wrong step < .. < the first wrong step < the start < the first right step < .. < the last
    right step. Equal values are no violation.

    Args:
        q: the value of each step, any rising function of Q; shape [steps].
        right: whether each step is right, shape [steps].
        start: the same function of Q_0; left out where it is not known.
    """
    wrong_steps = [value for value, fine in zip(q, right) if not fine]
    right_steps = [value for value, fine in zip(q, right) if fine]
    order = np.array([*wrong_steps[::-1], *([] if start is None else [start]), *right_steps])
    return int((np.diff(order) < -TOLERANCE).sum()), max(0, len(order) - 1)


def chain(stay: float, recover: float, steps: int) -> Process:
    """Two states: a right step follows a right one with chance `stay`, a wrong one with chance `recover`."""
    move = np.array([[stay, 1 - stay], [recover, 1 - recover]])
    return Process(np.repeat(move[None], steps, axis=0), np.array([True, False]), np.array([1.0, 0.0]))


def two_roads(easy: float, hard: float, hard_share: float, recover: float, steps: int) -> Process:
    """A first right step takes an easy or a hard road; later steps stay right with the road's chance."""
    stay = {"easy": easy, "hard": hard}
    first = np.array([easy * (1 - hard_share), hard * hard_share, 1 - easy * (1 - hard_share) - hard * hard_share])
    back = np.array([recover, 0.0, 1 - recover])
    later = np.array([[stay["easy"], 0.0, 1 - stay["easy"]], [0.0, stay["hard"], 1 - stay["hard"]], back])
    moves = np.array([np.stack([first, first, back]), *([later] * (steps - 1))])
    return Process(moves, np.array([True, True, False]), np.array([1.0, 1.0, 0.0]))


def q_star(process: Process) -> Floats:
    """Q* of each state after t steps, a logit, shape [H + 1, states]."""
    return np.asarray(logit(process.values()), dtype=np.float64)
