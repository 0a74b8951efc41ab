"""Section `evaluation`: what is evaluated, and how."""

from typing import Literal

from pydantic import Field, model_validator

from pqm.study.settings import Count, Seed, Settings


class EvaluationConfig(Settings):
    """Which policies and benchmarks are evaluated, and how.

    Results that need `validation`, `audit` or `annotated` are refused if the study does not set it.
    """

    policies: tuple[str, ...] = Field(
        min_length=1, description="Policies that sample every data set in `rollouts`, and are evaluated."
    )
    benchmarks: tuple[str, ...] = Field(min_length=1, description="Data sets that the results are computed on.")
    validation: str | None = Field(None, description="Data set that thresholds are chosen on. It is scored like a benchmark.")
    audit: str | None = Field(
        None,
        description="Data set with Monte Carlo labels from many completions, to check labels and Q-values."
        " It is scored like a benchmark, unless it is a set of `annotated` solutions, whose truth is known.",
    )
    annotated: tuple[str, ...] = Field((), description="Sets of solutions with known first errors.")
    reference_backbone: str = Field(description="Backbone for the references.")
    references: tuple[Literal["likelihood", "step-classifier"], ...] = Field(
        ("likelihood", "step-classifier"),
        description="Scores of the reference backbone without any reward training. `likelihood`: the log likelihood of a"
        " solution. `step-classifier`: its own step classifier, which only a backbone with error detection has.",
    )
    n: tuple[Count, ...] = Field(min_length=1, description="Sizes of best-of-n, in rising order.")
    vote_subsets: int = Field(
        ge=200,
        description="Random subsets per question and n, for the accuracy of votes. If there are not more subsets than this,"
        " all are used.",
    )
    batch_tokens: Count = Field(description="Tokens per batch when steps are scored.")
    seed: Seed = Field(description="Seed of the random subsets.")
    threads: Count = Field(1, description="CPU threads of a scoring job.")

    @property
    def scored(self) -> tuple[str, ...]:
        """Every data set of sampled solutions that each checkpoint scores."""
        audit = None if self.audit in self.annotated else self.audit
        return (*self.benchmarks, *(name for name in (self.validation, audit) if name is not None))

    @model_validator(mode="after")
    def _n_rises(self) -> "EvaluationConfig":
        if list(self.n) != sorted(set(self.n)):
            raise ValueError("n must be in rising order, e.g. [1, 2, 4, 8]")
        return self
