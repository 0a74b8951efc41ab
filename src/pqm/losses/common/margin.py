"""Settings of the ranking losses. This module does not import torch, because studies are checked with it."""

from typing import Annotated, Literal

from pydantic import Field

Margin = Annotated[float, Field(ge=0, description="Margin between wrong and correct steps, in logits.")]
# Eq. 9 is always divided by the number of steps H, as printed in the paper.
Normalizer = Annotated[
    Literal["factors", "printed", "official"],
    Field(
        description="Divisor of a trajectory's sum in Eq. 10 and Eq. 12. `factors`: the number of factors that can be below 1,"
        " that is the number of correct steps, plus 1 for slot 0 if a step is wrong. `printed`: the number of correct steps, as"
        " in the paper (1 if no step is correct). `official`: `factors` with two details of the authors' code, 1e-5 added to"
        " every denominator and no margin in Eq. 12."
    ),
]
