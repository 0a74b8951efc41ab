"""What all settings share: a base model and common types."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["fp32", "bf16"]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ValueError("expected a name of letters, digits, - and _")
    return name


# The name of an item, which is also part of file names.
Name = Annotated[str, AfterValidator(_plain_name)]


class Settings(BaseModel):
    """Base class of all settings: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
