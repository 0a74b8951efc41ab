"""What a study's files may say: one pydantic model a kind of file, the one source of every default.

Unknown keys are refused with the nearest valid name; every message names the file and the key.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pqm.errors import PqmError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


def _range_of_facts(facts: tuple[int, int]) -> tuple[int, int]:
    if not 1 <= facts[0] <= facts[1] <= 7:
        raise ValueError("expected [least, most] with 1 <= least <= most <= 7, a fact for each day of a week at most")
    return facts


FactRange = Annotated[tuple[int, int], AfterValidator(_range_of_facts)]


class Settings(BaseModel):
    """Base of every settings file: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# ---------------------------------------------------------------- questions/{dataset}.yaml


class StoriesSource(Settings):
    """Fresh arithmetic stories."""

    kind: Literal["stories"]
    questions: Count
    facts: FactRange
    distraction_share: Share = 0.0
    seed: Seed


class PerturbedSource(Settings):
    """The first `seed_questions` of another story data set, each perturbed once in every kind."""

    kind: Literal["perturbed-stories"]
    of: str
    seed_questions: Count
    seed: Seed


class FileSource(Settings):
    """A local file in its publishers' format; a relative path is looked up in the folder that `--real-data` names."""

    kind: Literal["file"]
    format: Literal["gsm8k", "gsm-plus", "math500"]
    path: str


class QuestionsConfig(Settings):
    """A data set: where its questions come from and which other sets it shares no question with."""

    source: StoriesSource | PerturbedSource | FileSource = Field(discriminator="kind")
    disjoint_from: tuple[str, ...] = ()

    @property
    def upstream(self) -> tuple[str, ...]:
        """The data sets that must exist first."""
        seeds = (self.source.of,) if isinstance(self.source, PerturbedSource) else ()
        return tuple(dict.fromkeys((*seeds, *self.disjoint_from)))


# ---------------------------------------------------------------- pretraining, policies, backbones


class Architecture(Settings):
    """A Llama's shape.

    `attention_bias` is the spread of the random biases that queries and keys start with (0: no biases). A rotated bias
    attends by position alone, so heads that look at the previous token need not be found first.
    """

    hidden_size: Count
    intermediate_size: Count
    layers: Count
    heads: Count
    key_value_heads: Count
    max_positions: Count
    initializer_range: Positive
    rope_theta: Positive
    attention_bias: Annotated[float, Field(ge=0)]


class Lesson(Settings):
    """Easier text that a phase begins with: stories of `facts` facts for `steps` steps."""

    steps: Count
    facts: FactRange
    quotes_share: Share = 0.0


class Phase(Settings):
    """One part of a pretraining, with a warm-up and a cosine decay of its own.

    `lessons` come first, within the phase's steps. In a lesson `quotes_share` of the texts quote a story's facts in
    random order; else `slipped_share` have a slip in each step with probability `slip_chance`, and the rest are
    worked solutions. `token_mark_weight` and `step_mark_weight` switch proofreading on: is this token right given
    what stands before it (read from `token_mark_layer`), and has no slip come so far (read from the last layer).
    """

    steps: Count
    learning_rate: Positive
    warmup_steps: Count = 50
    facts: FactRange
    lessons: tuple[Lesson, ...] = ()
    snapshots_from: int = Field(0, ge=0)
    slipped_share: Share = 0.0
    slip_chance: Share = 0.0
    token_mark_weight: float = Field(0.0, ge=0)
    token_mark_layer: Count | None = None
    step_mark_weight: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _layer_for_marks(self) -> "Phase":
        if self.token_mark_weight and self.token_mark_layer is None:
            raise ValueError("token_mark_weight needs token_mark_layer, the layer that the marks are read from")
        return self


class PretrainingConfig(Settings):
    """How models are trained from scratch, or on from the last snapshot of another pretraining (`start`)."""

    start: str | None = None
    architecture: Architecture | None = None
    phases: tuple[Phase, ...] = Field(min_length=1)
    snapshot_every: Count
    batch_tokens: Count
    distraction_share: Share
    excluded: tuple[str, ...] = Field(min_length=1, description="data sets whose questions never enter the training text")
    validation: str
    seed: Seed
    threads: Count = 1

    @model_validator(mode="after")
    def _one_beginning(self) -> "PretrainingConfig":
        if (self.start is None) == (self.architecture is None):
            raise ValueError("give either start (a pretraining to go on from) or architecture (from scratch), not both")
        return self


class Pick(Settings):
    """Which snapshot: the first whose validation `metric` reaches `at_least`, or the last where `at_least` is not given."""

    pretraining: str
    metric: Literal["pass_at_1", "step_auc"]
    at_least: Share | None = None


class PolicyConfig(Settings):
    """A model that samples solutions."""

    pick: Pick


class BackboneConfig(Settings):
    """A model that reward models start from."""

    pick: Pick


# ---------------------------------------------------------------- rollouts/{dataset}.yaml


class RolloutsConfig(Settings):
    """How every policy samples on one data set."""

    samples: Count
    temperature: Positive
    max_new_tokens: Count
    questions_per_batch: Count
    seed: Seed
    threads: Count = 1


# ---------------------------------------------------------------- labels/{labels}.yaml


class LabelsConfig(Settings):
    """Monte Carlo labels of the steps of some policies' rollouts on one data set.

    `early_stop` ends a prefix's completions at the first right one: hard labels stay the same, soft ones are
    not known. `search: binary` looks for the first prefix that no completion saves by halving, which gives the
    labels of `every-step` where labels never rise again after the first 0.
    """

    dataset: str
    policies: tuple[str, ...] = Field(min_length=1)
    completer: str
    completions: Count
    temperature: Positive
    max_new_tokens: Count
    search: Literal["every-step", "binary"] = "every-step"
    early_stop: bool = False
    questions_per_batch: Count
    seed: Seed
    threads: Count = 1


# ---------------------------------------------------------------- training.yaml, runs/{run}.yaml


class TrainingConfig(Settings):
    """What all runs share: the budget, the weighting and the seeds."""

    seeds: tuple[Seed, ...] = Field(min_length=1)
    epochs: Positive
    learning_rate: Positive
    warmup_share: Share
    weight_decay: float = Field(0.0, ge=0)
    clip: Positive
    batch_tokens: Count
    weighting: Literal["trajectory", "step"]
    normalizer: Literal["factors", "printed", "official"]
    checkpoint_every: Count
    threads: Count = 1
    validation: str


class RunConfig(Settings):
    """One reward model: its loss, its labels, its backbone."""

    loss: Literal["pqm", "theorem", "first-error", "bce", "mse", "orm"]
    zeta: float | None = Field(None, ge=0)
    targets: Literal["hard", "soft"] = "hard"
    labels: str
    backbone: str
    seeds: tuple[Seed, ...] | None = Field(None, min_length=1, description="instead of training.yaml's")
    policies: tuple[str, ...] | None = Field(None, min_length=1, description="judged on these of evaluation.yaml's only")
    learning_rate: Positive | None = None

    @model_validator(mode="after")
    def _zeta_where_it_counts(self) -> "RunConfig":
        ranking = self.loss in ("pqm", "theorem", "first-error")
        if ranking and self.zeta is None:
            raise ValueError(f"loss {self.loss} needs zeta, the margin between wrong and correct steps")
        if not ranking and self.zeta is not None:
            raise ValueError(f"loss {self.loss} has no margin; remove zeta")
        if self.targets == "soft" and self.loss not in ("bce", "mse"):
            raise ValueError(f"loss {self.loss} takes hard targets; soft ones are for bce and mse")
        return self

    @property
    def method(self) -> str:
        """What the run compares, whatever it is called and starts from: `bce`, `mse-soft`, `pqm-zeta4`, .."""
        name = f"{self.loss}-{self.targets}" if self.loss == "mse" or self.targets == "soft" else self.loss
        return name if self.zeta is None else f"{name}-zeta{self.zeta:g}"

    @property
    def aggregation(self) -> Literal["min", "last"]:
        """How step scores become the solution's score: an outcome model speaks at its last step only."""
        return "last" if self.loss == "orm" else "min"


# ---------------------------------------------------------------- evaluation.yaml, paper.yaml


class EvaluationConfig(Settings):
    """Which policies and benchmarks are judged, and how.

    `validation` is scored too, for thresholds, and `audit`, whose labels come from many completions.
    """

    policies: tuple[str, ...] = Field(min_length=1)
    benchmarks: tuple[str, ...] = Field(min_length=1)
    validation: str
    audit: str
    reference_backbone: str
    n: tuple[Count, ...] = Field(min_length=1)
    vote_subsets: int = Field(ge=200)
    batch_tokens: Count
    seed: Seed
    threads: Count = 1

    @property
    def scored(self) -> tuple[str, ...]:
        """Every data set that each checkpoint scores."""
        return (*self.benchmarks, self.validation, self.audit)

    @model_validator(mode="after")
    def _n_rises(self) -> "EvaluationConfig":
        if list(self.n) != sorted(set(self.n)):
            raise ValueError("n must rise, e.g. [1, 2, 4, 8]")
        return self


class PaperConfig(Settings):
    """The results that are made, each with the runs that it is about, and their statistics."""

    tables: dict[str, tuple[str, ...]]
    figures: dict[str, tuple[str, ...]]
    report: tuple[str, ...] = Field(min_length=1, description="runs whose step scores the report shows")
    confidence: Annotated[float, Field(gt=0, lt=1)]
    resamples: Count
    seed: Seed


# ---------------------------------------------------------------- reading


Model = TypeVar("Model", bound=Settings)


def load(model: type[Model], path: Path) -> Model:
    """Read a settings file.

    Raises:
        PqmError: the file is missing, is not YAML, or has a key or a value that `model` refuses; the message
            names the file, the key, what was expected and, for an unknown key, the nearest valid one.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise PqmError(f"{path}: no such settings file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PqmError(f"{path}: cannot be read as a settings file ({error})") from None
    except yaml.YAMLError as error:
        raise PqmError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise PqmError(f"{path}: expected `key: value` lines, found {type(content).__name__}")
    try:
        return model.model_validate(_tuples(content))
    except ValidationError as error:
        raise PqmError(f"{path}: {_explain(model, error)}") from None


def _tuples(value: Any) -> Any:
    """YAML lists as tuples, which is what frozen models hold."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return {key: _tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def _explain(model: type[Settings], error: ValidationError) -> str:
    """The first complaint in one sentence; an unknown key before the missing one that it was meant for."""
    first = min(error.errors(), key=lambda complaint: complaint["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][-1]), _keys(model), n=1, cutoff=0.5)
        return f"unknown key {where!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    if first["type"] == "missing":
        return f"key {where!r} is missing"
    return f"key {where!r}: {first['msg'].removeprefix('Value error, ')}, found {first['input']!r}"


def _keys(model: type[BaseModel]) -> list[str]:
    """Every key that may stand somewhere in a file of this model."""
    keys: list[str] = []
    pending: list[Any] = [model]
    while pending:
        kind = pending.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, info in kind.model_fields.items():
                keys.append(name)
                pending.append(info.annotation)
        else:
            pending.extend(getattr(kind, "__args__", ()))
    return keys
