"""A whole study: all sections of `config/<study>/study.yaml`."""

from typing import Literal

from pydantic import Field

from pqm.study.assumptions import AssumptionsConfig
from pqm.study.evaluation import EvaluationConfig
from pqm.study.labels import LabelSet
from pqm.study.models import BackboneConfig, PolicyConfig
from pqm.study.pretraining import PretrainingConfig
from pqm.study.questions import QuestionsConfig
from pqm.study.resources import ResourcesConfig
from pqm.study.results import ResultsConfig
from pqm.study.rollouts import AnnotatedConfig, RolloutsConfig, SolutionsConfig
from pqm.study.runs import RunConfig
from pqm.study.settings import Name, Precision, Settings
from pqm.study.training import TrainingConfig


class StudyConfig(Settings):
    """A whole study. Most sections contain named items, each with its settings.

    A study without `runs` is a collection of published data. Its items are built one by one, because few users have every file.
    """

    device: Literal["cpu", "cuda"] = Field(
        "cpu",
        description="What the models run on. With `cpu` no job uses a GPU, and with `cuda` every job that runs a model needs one.",
    )
    precision: Precision = Field(
        "fp32",
        description="Precision of the models. With `bf16` they sample and score in bfloat16, and train in mixed precision: their"
        " weights, losses and heads stay in float32.",
    )
    arithmetic: Literal["native", "pinned"] = Field(
        "native",
        description="With `pinned`, jobs on a CPU use kernels for AVX2 and plain attention, so that other processors give the same"
        " bytes. With `native` each library uses the fastest kernels of the processor.",
    )
    questions: dict[Name, QuestionsConfig] = Field({}, description="Data sets of questions.")
    pretraining: dict[Name, PretrainingConfig] = Field({}, description="Language models trained from scratch.")
    policies: dict[Name, PolicyConfig] = Field({}, description="Models that sample solutions.")
    backbones: dict[Name, BackboneConfig] = Field({}, description="Models that reward models start from.")
    rollouts: dict[Name, RolloutsConfig] = Field({}, description="How policies sample, per data set.")
    solutions: dict[Name, SolutionsConfig] = Field({}, description="Published model solutions.")
    annotated: dict[Name, AnnotatedConfig] = Field({}, description="Solutions with human-annotated first errors.")
    labels: dict[Name, LabelSet] = Field({}, description="Labels of steps.")
    training: TrainingConfig | None = Field(None, description="Settings that all runs share.")
    runs: dict[Name, RunConfig] = Field({}, description="Reward models.")
    evaluation: EvaluationConfig | None = Field(None, description="What is evaluated, and how.")
    results: ResultsConfig | None = Field(None, description="Tables and figures.")
    resources: ResourcesConfig = Field(ResourcesConfig(), description="What jobs request from a machine or a cluster.")
    assumptions: AssumptionsConfig | None = Field(None, description="Assumptions of `pqm paper budget`.")

    def gpus(self, stage: str) -> int:
        """The GPUs that a job of a stage requests."""
        wanted: int | None = getattr(self.resources, stage).gpus
        return wanted if wanted is not None else int(self.device == "cuda")
