"""Sections `rollouts`, `solutions` and `annotated`: sampled and published solutions."""

from typing import Literal

from pydantic import Field

from pqm.study.settings import Count, Positive, Seed, Settings
from pqm.study.sources import FileSource, HubSource, PackageSource


class RolloutsConfig(Settings):
    """How every evaluated policy samples on the data set of this name."""

    samples: Count = Field(description="Samples per question.")
    temperature: Positive
    max_new_tokens: Count = Field(description="Length limit of a sample. Longer samples are truncated and count as wrong.")
    questions_per_batch: Count = Field(
        description="Questions per shard. A shard is saved when it is complete, and an interrupted job resumes after it."
    )
    rows: Count | None = Field(
        None,
        description="Most samples in the batch at once. When enough of them are finished, the next question is added"
        " (continuous batching). By default all samples of a shard start together.",
    )
    seed: Seed
    threads: Count = Field(1, description="CPU threads of a job.")


class SolutionsConfig(Settings):
    """Published model solutions of a data set, converted to rollouts, one table per model."""

    source: FileSource[Literal["gsm8k"]]
    dataset: str = Field(description="Data set that contains the questions.")
    models: tuple[str, ...] = Field(min_length=1, description="Models in the file, by their names there.")


AnnotatedFormat = Literal["processbench", "champ"]


class AnnotatedConfig(Settings):
    """Published solutions with human-annotated first errors."""

    source: FileSource[AnnotatedFormat] | HubSource[AnnotatedFormat] | PackageSource[AnnotatedFormat] = Field(
        discriminator="kind"
    )
