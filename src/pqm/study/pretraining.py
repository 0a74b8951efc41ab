"""Section `pretraining`: language models trained from scratch, or further."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pqm.study.questions import FactRange, TemplateRange
from pqm.study.settings import Count, Positive, Seed, Settings, Share


class Architecture(Settings):
    """The shape of a Llama model."""

    hidden_size: Count
    intermediate_size: Count
    layers: Count
    heads: Count
    key_value_heads: Count
    max_positions: Count = Field(description="Longest text in tokens.")
    initializer_range: Positive = Field(description="Standard deviation of the initial weights.")
    rope_theta: Positive
    attention_bias: Annotated[float, Field(ge=0)] = Field(
        description="Standard deviation of the initial biases of queries and keys (0: no biases). RoPE rotates the biases, so"
        " heads can attend by position from the start, for example to the previous token."
    )


class WordProblemText(Settings):
    """New word problems, as in the demo."""

    kind: Literal["word-problems"] = "word-problems"


class SymbolicText(Settings):
    """New instances of GSM-Symbolic templates."""

    kind: Literal["gsm-symbolic"]
    templates: TemplateRange = Field(description="First and last template. Instances of other templates are never used.")
    vocabulary: Annotated[int, Field(ge=300)] | None = Field(
        None,
        description="For a model from scratch: size of the vocabulary of a tokenizer that is trained on the text, with 256 bytes, a"
        " few special tokens, and merges.",
    )


class CurriculumStage(Settings):
    """Easier text at the start of a phase."""

    steps: Count
    facts: FactRange = Field(description="Least and most facts per problem.")
    quotes_share: Share = Field(
        0.0, description="Share of the texts that quote the problem's facts in random order instead of a solution."
    )


class Phase(Settings):
    """One phase of a pretraining, with its own warm-up and cosine decay.

    A text is a question and a worked solution, with injected errors in some of the solutions. The heads for error detection are
    trained if their weights are not 0. The token head predicts whether a token is right given the text before it. The step head
    predicts at the end of a step, from the last layer, whether all steps so far are right.
    """

    steps: Count = Field(description="Optimizer steps, those of the curriculum included.")
    learning_rate: Positive = Field(description="Peak learning rate.")
    warmup_steps: Count = Field(50, description="Steps of linear warm-up.")
    decay_to: Share = Field(0.01, description="Share of the peak learning rate at the end.")
    facts: FactRange | None = Field(None, description="Least and most facts per word problem.")
    curriculum: tuple[CurriculumStage, ...] = Field((), description="Easier word problems that come first.")
    snapshots_from: int = Field(0, ge=0, description="First step with a snapshot. The last step always has one.")
    injected_error_share: Share = Field(0.0, description="Share of the solutions with injected errors.")
    injected_error_chance: Share = Field(0.0, description="Probability of an error in each step of these solutions.")
    token_head_weight: float = Field(0.0, ge=0, description="Weight of the token head's loss.")
    token_head_layer: Count | None = Field(None, description="Layer that the token head reads, counted from 1.")
    step_head_weight: float = Field(0.0, ge=0, description="Weight of the step head's loss.")

    @model_validator(mode="after")
    def _layer_for_heads(self) -> "Phase":
        if self.token_head_weight and self.token_head_layer is None:
            raise ValueError("token_head_weight needs token_head_layer, the layer that the token head reads")
        return self


def _separator(text: str) -> str:
    if not text or " " in text:
        raise ValueError("expected a text without spaces")
    return text


def snapshot_name(phase: int, step: int) -> str:
    """The folder's name of the snapshot after a step of a phase, both counted from 1."""
    return f"phase-{phase}-step-{step:06d}"


class PretrainingConfig(Settings):
    """How a language model is trained: from scratch, from the last snapshot of another pretraining, or from a pretrained model."""

    start: str | None = Field(
        None,
        description="Pretraining to continue from its last snapshot, or pretrained backbone (hub, gguf); set either `start` or"
        " `architecture`.",
    )
    architecture: Architecture | None = Field(None, description="Shape of a model that is trained from scratch.")
    text: WordProblemText | SymbolicText = Field(WordProblemText(), discriminator="kind", description="The training text.")
    phases: tuple[Phase, ...] = Field(min_length=1, description="Phases, in order.")
    snapshot_every: Count = Field(description="Steps between two snapshots.")
    batch_tokens: Count = Field(description="Tokens per optimizer step, padding included.")
    distraction_share: Share = Field(0.0, description="Share of the word problems with a sentence that no step needs.")
    excluded: tuple[str, ...] = Field(min_length=1, description="Data sets that share no question with the training text.")
    validation: str = Field(description="Data set on which snapshots are validated (pass@1).")
    step_separator: Annotated[str, AfterValidator(_separator)] = Field(
        "\n", description="Text at the end of each step, in the training text and in the model's samples. It is one token."
    )
    max_new_tokens: Count = Field(128, description="Length limit of a sample in validation.")
    seed: Seed
    threads: Count = Field(1, description="CPU threads of the job.")
    text_workers: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Processes that make the training text ahead, for a GPU that is faster than one core; the text is the same.",
    )

    def snapshot_shares(self) -> dict[str, float]:
        """The share of all steps after which each snapshot is taken, by the snapshot's name, in order."""
        total, before = sum(phase.steps for phase in self.phases), 0
        shares: dict[str, float] = {}
        for number, phase in enumerate(self.phases, 1):
            for step in range(1, phase.steps + 1):
                if (step % self.snapshot_every == 0 and step >= phase.snapshots_from) or step == phase.steps:
                    shares[snapshot_name(number, step)] = (before + step) / total
            before += phase.steps
        return shares

    @model_validator(mode="after")
    def _facts_are_of_word_problems(self) -> Self:
        problems = isinstance(self.text, WordProblemText)
        for number, phase in enumerate(self.phases, 1):
            if problems and phase.facts is None:
                raise ValueError(f"phase {number} needs facts, the least and most facts per problem")
            if not problems and (phase.facts or phase.curriculum or self.distraction_share):
                raise ValueError(f"facts, curriculum and distraction_share are for word problems; the text is {self.text.kind}")
        return self

    @model_validator(mode="after")
    def _one_beginning(self) -> "PretrainingConfig":
        if (self.start is None) == (self.architecture is None):
            raise ValueError("give either start (a pretraining or a backbone) or architecture (from scratch), not both")
        if isinstance(self.text, SymbolicText) and (self.architecture is None) != (self.text.vocabulary is None):
            raise ValueError("text.vocabulary is the size of a new tokenizer: give it with architecture, and not with start")
        return self
