"""Section `assumptions`: the numbers from which `pqm paper budget` estimates the cost of a study."""

from typing import Annotated

from pydantic import Field

from pqm.study.settings import Count, Positive, Settings, Share


class TextSizes(Settings):
    """The size of a data set: its number of questions, and mean lengths."""

    questions: Count
    question_tokens: Count = Field(description="Mean tokens per question.")
    solution_tokens: Count = Field(description="Mean tokens per solution.")
    steps: Count = Field(description="Mean steps per solution.")


class UsedShares(Settings):
    """The share of the GPU's peak rate that each kind of work reaches."""

    sampling: Share
    training: Share
    scoring: Share


class AssumptionsConfig(Settings):
    """Assumptions of `pqm paper budget`, which estimates GPU hours and disk space. Nothing else reads them."""

    gpu: str = Field(description="Name of the GPU, for the printed text.")
    peak_flops: Positive = Field(description="Peak rate of the GPU, in floating point operations per second.")
    reached: UsedShares
    job_seconds: Annotated[float, Field(ge=0)] = Field(0.0, description="Seconds of a GPU that each job takes to start.")
    parameters: dict[str, Positive] = Field(description="Number of parameters per model.")
    policies: dict[str, str] = Field(description="For each policy of the study, the name of its model in `parameters`.")
    backbones: dict[str, str] = Field(description="For each backbone of the study, the name of its model in `parameters`.")
    pretraining: dict[str, str] = Field({}, description="For each pretraining of the study, the name of its model.")
    datasets: dict[str, TextSizes]
    label_tokens: dict[str, Positive] = Field(description="Tokens per epoch, for each label set that a run is trained on.")
