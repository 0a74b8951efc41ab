"""Sections `rollouts`, `solutions` and `annotated`: sampled and published solutions."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pqm.study.questions import TemplateRange
from pqm.study.settings import Count, Positive, Seed, Settings, Share
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


class InjectedErrorsSource(Settings):
    """Worked solutions of new GSM-Symbolic instances, some with injected errors."""

    kind: Literal["gsm-symbolic"]
    questions: Count
    templates: TemplateRange = Field((0, 99), description="First and last template, both included.")
    injected_error_share: Share = Field(description="Share of the solutions with injected errors.")
    injected_error_chance: Share = Field(description="Probability of an error in each step of these solutions.")
    seed: Seed


class AnnotatedConfig(Settings):
    """Solutions with known first errors: published ones that people annotated, or worked solutions with injected errors."""

    source: FileSource[AnnotatedFormat] | HubSource[AnnotatedFormat] | PackageSource[AnnotatedFormat] | InjectedErrorsSource = (
        Field(discriminator="kind")
    )
    disjoint_from: tuple[str, ...] = Field((), description="Data sets that generated solutions must not share a question with.")

    @model_validator(mode="after")
    def _only_generated_ones_can_be_others(self) -> Self:
        if self.disjoint_from and not isinstance(self.source, InjectedErrorsSource):
            raise ValueError("disjoint_from is for generated solutions only")
        return self
