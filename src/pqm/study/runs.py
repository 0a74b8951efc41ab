"""Section `runs`: reward models."""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from pqm.study.settings import Positive, Seed, Settings


def _scalar(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("expected a finite number, a text, true or false")
    return value


Scalar = Annotated[
    Any, AfterValidator(_scalar), WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "boolean"}]})
]


class RunConfig(Settings):
    """One reward model: its loss, labels and backbone."""

    loss: str = Field(description="Name of a loss of the package, or your own function as `package.module:function`.")
    loss_settings: dict[str, Scalar] = Field({}, description="Settings of the loss, see `Settings of the losses`.")
    targets: Literal["hard", "soft"] = Field(
        "hard", description="`hard`: labels 0 and 1. `soft`: the share of right completions, for losses that accept it."
    )
    labels: str = Field(description="Label set to train on.")
    backbone: str = Field(description="Backbone to start from.")
    seeds: tuple[Seed, ...] | None = Field(None, min_length=1, description="Training seeds, if not those of `training`.")
    policies: tuple[str, ...] | None = Field(
        None, min_length=1, description="Policies that the run is evaluated on, if not all of `evaluation.policies`."
    )
    learning_rate: Positive | None = Field(None, description="Peak learning rate, if not that of `training`.")
