"""What a study may say: one pydantic model, `StudyConfig`, the one source of every default.

`pqm.study` reads study files; the reference in `docs/settings.md` and the JSON schema for editors are generated from here.
"""

import re
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from pqm.solution import SolutionFormat

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


def _range_of_facts(facts: tuple[int, int]) -> tuple[int, int]:
    if not 1 <= facts[0] <= facts[1] <= 7:
        raise ValueError("expected [least, most] with 1 <= least <= most <= 7, a fact for each day of a week at most")
    return facts


def _rising(share: tuple[float, float]) -> tuple[float, float]:
    if not share[0] < share[1]:
        raise ValueError("expected [from, to] with from < to")
    return share


def _range_of_templates(templates: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= templates[0] <= templates[1] <= 99:
        raise ValueError("expected [first, last] with 0 <= first <= last <= 99")
    return templates


FactRange = Annotated[tuple[int, int], AfterValidator(_range_of_facts)]
TemplateRange = Annotated[tuple[int, int], AfterValidator(_range_of_templates)]


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


# ---------------------------------------------------------------- where published data comes from


def _commit(revision: str) -> str:
    if not re.fullmatch("[0-9a-f]{40}", revision):
        raise ValueError("expected a commit, 40 hexadecimal digits, for branches and tags move")
    return revision


Commit = Annotated[str, AfterValidator(_commit)]
Format = TypeVar("Format")


class FileSource(Settings, Generic[Format]):
    """A local file in its publishers' format; a relative path is looked up in `data/published`."""

    kind: Literal["file"]
    format: Format
    path: str


class HubSource(Settings, Generic[Format]):
    """A data set of the hub, pinned to a commit: a split (of the configuration `name`), or one file of its repository."""

    kind: Literal["hub"]
    format: Format
    dataset: str
    revision: Commit
    name: str | None = None
    split: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _split_or_file(self) -> Self:
        if (self.split is None) == (self.file is None):
            raise ValueError("give either split or file, not both")
        if self.file is not None and self.name is not None:
            raise ValueError("name chooses among configurations of a split; remove it beside file")
        return self


class PackageSource(Settings, Generic[Format]):
    """A file that an installed package carries; the package is not imported."""

    kind: Literal["package"]
    format: Format
    package: str
    file: str


# ---------------------------------------------------------------- questions


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


class SymbolicSource(Settings):
    """Fresh instances of the GSM-Symbolic templates [first, last], both included; each set draws from the same templates anew."""

    kind: Literal["gsm-symbolic"]
    questions: Count
    templates: TemplateRange = (0, 99)
    seed: Seed


QuestionFormat = Literal["gsm8k", "gsm-plus", "math500"]


class QuestionsConfig(Settings):
    """A data set: where its questions come from and which other sets it shares no question with."""

    source: StoriesSource | PerturbedSource | SymbolicSource | FileSource[QuestionFormat] | HubSource[QuestionFormat] = Field(
        discriminator="kind"
    )
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


class StoriesText(Settings):
    """The demo's stories, made anew."""

    kind: Literal["stories"] = "stories"


class SymbolicText(Settings):
    """Instances of the GSM-Symbolic templates [first, last]; of the others none ever enters. A tokenizer is trained on them."""

    kind: Literal["gsm-symbolic"]
    templates: TemplateRange
    vocabulary: Annotated[int, Field(ge=300, description="tokens: 256 bytes, a few special ones, and merges")]


class Lesson(Settings):
    """Easier text that a phase begins with: stories of `facts` facts for `steps` steps."""

    steps: Count
    facts: FactRange
    quotes_share: Share = 0.0


class Phase(Settings):
    """One part of a pretraining, with a warm-up and a cosine decay of its own.

    `facts` and `lessons` are for stories. `lessons` come first, within the phase's steps. In a lesson `quotes_share` of the texts quote a story's facts in
    random order; else `slipped_share` have a slip in each step with probability `slip_chance`, and the rest are
    worked solutions. `token_mark_weight` and `step_mark_weight` switch proofreading on: is this token right given
    what stands before it (read from `token_mark_layer`), and has no slip come so far (read from the last layer).
    """

    steps: Count
    learning_rate: Positive
    warmup_steps: Count = 50
    facts: FactRange | None = None
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
    text: StoriesText | SymbolicText = Field(StoriesText(), discriminator="kind")
    phases: tuple[Phase, ...] = Field(min_length=1)
    snapshot_every: Count
    batch_tokens: Count
    distraction_share: Share = 0.0
    excluded: tuple[str, ...] = Field(min_length=1, description="data sets whose questions never enter the training text")
    validation: str
    max_new_tokens: Count = 128
    seed: Seed
    threads: Count = 1

    @model_validator(mode="after")
    def _facts_are_of_stories(self) -> Self:
        stories = isinstance(self.text, StoriesText)
        for number, phase in enumerate(self.phases, 1):
            if stories and phase.facts is None:
                raise ValueError(f"phase {number} needs facts, the range of a story's facts")
            if not stories and (phase.facts or phase.lessons or self.distraction_share):
                raise ValueError(f"facts, lessons and distraction_share are for stories; the text is {self.text.kind}")
        return self

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


class ServerConfig(Settings):
    """A server with the OpenAI completions protocol: one that runs at `url`, or one that `command` starts at `{port}`.

    `model` is its name there. `logprobs` asks for log probabilities: only where the server gives them at temperature 1.
    `body` is added to each request: what the server needs to sample from the plain distribution (`top_k`, ..). A request
    is tried `attempts` times and waits `timeout` seconds for its answer; a started server has `start_timeout` seconds.
    """

    url: str | None = None
    command: str | None = None
    model: str
    concurrency: Count = 16
    attempts: Count = 6
    timeout: Positive = 600.0
    start_timeout: Positive = 900.0
    logprobs: bool = False
    body: dict[str, Any] = {}

    @field_validator("body")
    @classmethod
    def _body_leaves_the_study_alone(cls, body: dict[str, Any]) -> dict[str, Any]:
        ours = {"model", "prompt", "n", "seed", "max_tokens", "temperature", "top_p", "logprobs", "stream"} & set(body)
        if ours:
            raise ValueError(f"{min(ours)} is set by the study, not by the server's body")
        return body

    @model_validator(mode="after")
    def _one_place(self) -> "ServerConfig":
        if (self.url is None) == (self.command is None):
            raise ValueError("give either url (a server that runs) or command (how to start one), not both")
        if self.command is not None and "{port}" not in self.command:
            raise ValueError("command must say {port} where the server is told its port")
        return self


class HubModel(Settings):
    """A model of the hub, pinned to a commit."""

    repo: str
    revision: Commit


class GgufModel(Settings):
    """A GGUF file that an installed package carries."""

    package: str
    file: str


class ModelConfig(Settings):
    """Where a model comes from: a snapshot trained here, or elsewhere, whose text format must then be stated."""

    pick: Pick | None = None
    hub: HubModel | None = None
    gguf: GgufModel | None = None
    format: SolutionFormat | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        origins = [name for name in type(self).model_fields if name in ("pick", "hub", "gguf", "server")]
        given = [name for name in origins if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(origins)}; {' and '.join(given) or 'none'} is given")
        if (self.format is None) != (self.pick is not None):
            raise ValueError("a model from elsewhere states its format; a picked snapshot has its own")
        return self


class PolicyConfig(ModelConfig):
    """A model that samples solutions, here or on a server."""

    server: ServerConfig | None = None


class BackboneConfig(ModelConfig):
    """A model that reward models start from; `add_step_token` adds the format's step token to a tokenizer without it."""

    add_step_token: bool = False

    @model_validator(mode="after")
    def _token_of_its_own(self) -> Self:
        if self.add_step_token and self.format is None:
            raise ValueError("add_step_token is for models from elsewhere (hub, gguf)")
        return self


# ---------------------------------------------------------------- rollouts, solutions


class RolloutsConfig(Settings):
    """How every policy samples on one data set.

    What `questions_per_batch` questions ask for is saved together. At most `rows` samples are in the batch at once: as soon as
    enough of them are finished, the next question takes their place (continuous batching). Without it all are in it from the start.
    """

    samples: Count
    temperature: Positive
    max_new_tokens: Count
    questions_per_batch: Count
    rows: Count | None = None
    seed: Seed
    threads: Count = 1


class SolutionsConfig(Settings):
    """Solutions that others published, read as rollouts of a data set, one table per model."""

    source: FileSource[Literal["gsm8k"]]
    dataset: str
    models: tuple[str, ...] = Field(min_length=1)


# ---------------------------------------------------------------- labels


class LabelsConfig(Settings):
    """Monte Carlo labels of the steps of some policies' rollouts on one data set.

    `early_stop` ends a prefix's completions at the first right one: hard labels stay the same, soft ones are
    not known. `search: binary` looks for the first prefix that no completion saves by halving, which gives the
    labels of `every-step` where labels never rise again after the first 0. `rows`: see `RolloutsConfig`.
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
    rows: Count | None = None
    seed: Seed
    threads: Count = 1


LabelFormat = Literal["math-shepherd", "prm800k", "stepwise"]


class ExpectedCounts(Settings):
    """What a whole corpus must give: rows, solutions kept, and the percentage of these whose last step is labelled wrong."""

    rows: Count
    solutions: Count
    wrong_endings: Annotated[float, Field(ge=0, le=100)] | None = None


class PublishedLabelsConfig(Settings):
    """Labels that others published.

    `share` takes the questions whose hash falls into [from, to) of [0, 1): [0.0, 0.95] and [0.95, 1.0] are a training and a
    validation set without a common question. `counts` refuses a corpus that is not the whole one.
    """

    source: FileSource[LabelFormat] | HubSource[LabelFormat] = Field(discriminator="kind")
    share: Annotated[tuple[Share, Share], AfterValidator(_rising)] = (0.0, 1.0)
    counts: ExpectedCounts | None = None


# ---------------------------------------------------------------- annotated

AnnotatedFormat = Literal["processbench", "champ"]


class AnnotatedConfig(Settings):
    """Solutions whose first wrong step people marked."""

    source: FileSource[AnnotatedFormat] | HubSource[AnnotatedFormat] | PackageSource[AnnotatedFormat] = Field(
        discriminator="kind"
    )


# ---------------------------------------------------------------- training, runs


class TrainingConfig(Settings):
    """What all runs share: the budget, the weighting and the seeds; how a step is spread over machines.

    `accelerate` is the file that `accelerate launch` gets; without it one process trains. `batch_tokens` is a whole step's:
    its rows are dealt to the processes, and each reads its own in `accumulation` parts.
    """

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
    accelerate: str | None = None
    accumulation: Count = 1
    precision: Literal["fp32", "bf16"] = "fp32"


class RunConfig(Settings):
    """One reward model: its loss, its labels, its backbone."""

    loss: Literal["pqm", "theorem", "first-error", "bce", "mse", "orm"]
    zeta: float | None = Field(None, ge=0)
    targets: Literal["hard", "soft"] = "hard"
    labels: str
    backbone: str
    seeds: tuple[Seed, ...] | None = Field(None, min_length=1, description="instead of the training section's")
    policies: tuple[str, ...] | None = Field(None, min_length=1, description="judged on these of the evaluation's policies only")
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


# ---------------------------------------------------------------- resources


class JobRequest(Settings):
    """What one job of a stage asks for; what is not named is not asked for."""

    gpus: Annotated[int, Field(ge=0)] = 0
    memory_mb: Count | None = None
    minutes: Count | None = None


class ResourcesConfig(Settings):
    """What the jobs of each stage that run models ask of a machine or a cluster; no part of any result."""

    policies: JobRequest = JobRequest()
    rollouts: JobRequest = JobRequest()
    labels: JobRequest = JobRequest()
    train: JobRequest = JobRequest()
    evaluate: JobRequest = JobRequest()


# ---------------------------------------------------------------- evaluation, results


class EvaluationConfig(Settings):
    """Which policies and benchmarks are judged, and how.

    `validation` is scored too, for thresholds, and `audit`, whose labels come from many completions; a study without results
    that need them leaves them out. `annotated` names solutions whose first wrong step people marked. `references` is what the reference backbone says without reward training: the likelihood of a
    solution, and its own mark.
    """

    policies: tuple[str, ...] = Field(min_length=1)
    benchmarks: tuple[str, ...] = Field(min_length=1)
    validation: str | None = None
    audit: str | None = None
    annotated: tuple[str, ...] = ()
    reference_backbone: str
    references: tuple[Literal["likelihood", "proofreader"], ...] = ("likelihood", "proofreader")
    n: tuple[Count, ...] = Field(min_length=1)
    vote_subsets: int = Field(ge=200)
    batch_tokens: Count
    seed: Seed
    threads: Count = 1

    @property
    def scored(self) -> tuple[str, ...]:
        """Every data set that each checkpoint scores."""
        return (*self.benchmarks, *(name for name in (self.validation, self.audit) if name is not None))

    @model_validator(mode="after")
    def _n_rises(self) -> "EvaluationConfig":
        if list(self.n) != sorted(set(self.n)):
            raise ValueError("n must rise, e.g. [1, 2, 4, 8]")
        return self


class ResultsConfig(Settings):
    """The results that are made, each with the runs that it is about, and their statistics."""

    tables: dict[str, tuple[str, ...]] = {}
    figures: dict[str, tuple[str, ...]] = {}
    report: tuple[str, ...] = Field((), description="runs whose step scores the report shows; without any there is no report")
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    resamples: Count = 2000
    seed: Seed = 0


# ---------------------------------------------------------------- assumptions


class TextSizes(Settings):
    """A data set's number of questions and its mean lengths: tokens of a question and of a solution, steps of a solution."""

    questions: Count
    question_tokens: Count
    solution_tokens: Count
    steps: Count


class UsedShares(Settings):
    """The share of a GPU's peak that each kind of work reaches."""

    sampling: Share
    training: Share
    scoring: Share


class AssumptionsConfig(Settings):
    """What `pqm paper budget` reckons with; nothing else reads it.

    `policies` and `backbones` say which of the models in `parameters` each of the study's is, `label_tokens` how many tokens an
    epoch of a label set has.
    """

    gpu: str
    peak_flops: Positive
    reached: UsedShares
    parameters: dict[str, Positive]
    policies: dict[str, str]
    backbones: dict[str, str]
    datasets: dict[str, TextSizes]
    label_tokens: dict[str, Positive]


# ---------------------------------------------------------------- study.yaml


def _label_kind(settings: Any) -> str:
    published = "source" in settings if isinstance(settings, dict) else isinstance(settings, PublishedLabelsConfig)
    return "published" if published else "monte-carlo"


# A label set with a `source` was published; the others are Monte Carlo labels.
LabelSet = Annotated[
    Annotated[LabelsConfig, Tag("monte-carlo")] | Annotated[PublishedLabelsConfig, Tag("published")],
    Discriminator(_label_kind),
]


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w-]*", name):
        raise ValueError("expected a name of letters, digits, - and _")
    return name


# The name of an item: it becomes the name of files.
Name = Annotated[str, AfterValidator(_plain_name)]


class StudyConfig(Settings):
    """A whole study. Each item of a section is a name and its settings.

    A study without `runs` is a collection of published data: each of its items is built by itself, because few users have
    every file.
    """

    questions: dict[Name, QuestionsConfig] = {}
    pretraining: dict[Name, PretrainingConfig] = {}
    policies: dict[Name, PolicyConfig] = {}
    backbones: dict[Name, BackboneConfig] = {}
    rollouts: dict[Name, RolloutsConfig] = {}
    solutions: dict[Name, SolutionsConfig] = {}
    annotated: dict[Name, AnnotatedConfig] = {}
    labels: dict[Name, LabelSet] = {}
    training: TrainingConfig | None = None
    runs: dict[Name, RunConfig] = {}
    evaluation: EvaluationConfig | None = None
    results: ResultsConfig | None = None
    resources: ResourcesConfig = ResourcesConfig()
    assumptions: AssumptionsConfig | None = None
