"""Settings of the ranking losses. This module does not import torch, because studies are checked with it."""

from typing import Annotated, Literal

from pydantic import Field

Margin = Annotated[float, Field(ge=0, description="Margin between wrong and correct steps, in logits.")]
Normalizer = Annotated[
    Literal["factors", "printed", "official"],
    Field(
        description="Divisor of a trajectory's sum. `factors`: the number of factors that can be below 1, that is the number of"
        " correct steps, plus 1 for slot 0 if a step is wrong. `printed`: the number of correct steps, as in the paper (1 if no"
        " step is correct). With both, Eq. 9 is divided by the number of steps. `official`: the authors' code of February 2025."
        " It divides as `factors` and adds 1e-5 to every denominator. In Eq. 9 it divides the correct part by the number of steps"
        " plus 1, and counts each correct step after the first step twice in its own denominator. Eq. 12 has no margin, and its"
        " negative is the step whose index is the number of correct steps, which is the first wrong one unless a correct step"
        " follows it."
    ),
]
