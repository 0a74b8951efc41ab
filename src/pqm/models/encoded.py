"""A solution as tokens."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Encoded:
    """The tokens of a question and solution, and the position of each step's end."""

    tokens: tuple[int, ...]
    step_ends: tuple[int, ...]
