"""Section `labels`: labels of steps."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from pqm.study.settings import Count, Positive, Seed, Settings, Share
from pqm.study.sources import FileSource, HubSource


def _rising(share: tuple[float, float]) -> tuple[float, float]:
    if not share[0] < share[1]:
        raise ValueError("expected [from, to] with from < to")
    return share


class LabelsConfig(Settings):
    """Monte Carlo labels: each step is labelled by completing the solution from there several times."""

    dataset: str = Field(description="Data set with rollouts.")
    policies: tuple[str, ...] = Field(min_length=1, description="Policies that wrote the rollouts to label.")
    completer: str = Field(description="Policy that completes the solutions.")
    completions: Count = Field(description="Completions per prefix (question and first steps).")
    temperature: Positive
    max_new_tokens: Count = Field(description="Length limit of a completion. Longer ones are truncated and count as wrong.")
    search: Literal["every-step", "binary"] = Field(
        "every-step",
        description="`every-step` completes every prefix. `binary` finds the first prefix without a right completion by binary"
        " search; it gives the same hard labels if no label is 1 after the first 0, and no soft labels.",
    )
    early_stop: bool = Field(
        False,
        description="Stop the completions of a prefix at the first right one. Hard labels stay the same, soft labels are lost.",
    )
    questions_per_batch: Count = Field(
        description="Questions per shard. A shard is saved when it is complete, and an interrupted job resumes after it."
    )
    rows: Count | None = Field(None, description="Most completions in the batch at once, see `RolloutsConfig`.")
    seed: Seed
    threads: Count = Field(1, description="CPU threads of the job.")


LabelFormat = Literal["math-shepherd", "prm800k", "stepwise"]


class ExpectedCounts(Settings):
    """The counts of a complete corpus."""

    rows: Count = Field(description="Rows of the corpus.")
    solutions: Count = Field(description="Solutions that are read from it.")
    wrong_endings: Annotated[float, Field(ge=0, le=100)] | None = Field(
        None, description="Percentage of these solutions with a wrong last step, to one decimal."
    )


class PublishedLabelsConfig(Settings):
    """Published labels."""

    source: FileSource[LabelFormat] | HubSource[LabelFormat] = Field(discriminator="kind")
    share: Annotated[tuple[Share, Share], AfterValidator(_rising)] = Field(
        (0.0, 1.0),
        description="Questions to keep: those with a hash in [from, to) of [0, 1). For example, [0.0, 0.95] and [0.95, 1.0] are"
        " a training and a validation set without a common question.",
    )
    counts: ExpectedCounts | None = Field(None, description="Refuse a corpus with other counts, such as an incomplete download.")


def _label_kind(settings: Any) -> str:
    published = "source" in settings if isinstance(settings, dict) else isinstance(settings, PublishedLabelsConfig)
    return "published" if published else "monte-carlo"


# A label set with a `source` is published; the others are Monte Carlo labels.
LabelSet = Annotated[
    Annotated[LabelsConfig, Tag("monte-carlo")] | Annotated[PublishedLabelsConfig, Tag("published")],
    Discriminator(_label_kind),
]
