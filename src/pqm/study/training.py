"""Section `training`: settings that all runs share."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pqm.study.settings import Count, Positive, Seed, Settings, Share

TRIED_SHARE = 1 / 4  # of the training questions, on which learning rates are tried


class TrainingConfig(Settings):
    """Settings that all runs share: budget, optimizer, weighting and seeds, and how a step is distributed over processes."""

    seeds: tuple[Seed, ...] = Field(min_length=1, description="Training seeds. Each run trains one model per seed.")
    epochs: Positive = Field(description="Passes over the labels.")
    learning_rate: Positive | None = Field(
        None, description="Peak learning rate; a run can set its own. Set either `learning_rate` or `learning_rates`."
    )
    learning_rates: tuple[Positive, ...] | None = Field(
        None,
        min_length=2,
        description="Peak learning rates to try. For each run without its own, the one with the highest `solution_auc` on the"
        " validation labels is taken, after training with the first seed on a quarter of the questions.",
    )
    warmup_share: Share = Field(description="Share of the steps with warm-up. Then the rate decays linearly to 0.")
    warmup_type: Literal["linear", "log"] = Field(
        "linear",
        description="How the rate rises: `linear`, or `log`, with the logarithm of the step from 0, as DeepSpeed's"
        " `WarmupDecayLR` does by default.",
    )
    weight_decay: float = Field(0.0, ge=0)
    clip: Positive = Field(description="Largest norm of the gradient.")
    batch_tokens: Count = Field(
        description="Tokens of the solutions per optimizer step, each with its question. Tokens that solutions of one question"
        " share are read once: the solutions are merged into prefix trees. The trees are distributed over the processes, and each"
        " process reads its trees in `accumulation` parts."
    )
    weighting: Literal["trajectory", "step"] = Field(
        description="Weight of a solution in the mean loss: 1 (`trajectory`) or its number of steps (`step`)."
    )
    head_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the head, in training.")
    head_bias: bool = Field(False, description="Whether the head has a bias. In some models, such as GPT-2, it always has.")
    checkpoint_every: Count = Field(description="Steps between two validations. The training state is saved at each one.")
    threads: Count = Field(1, description="CPU threads of a process.")
    validation: str = Field(description="Label set for validation.")
    accelerate: str | None = Field(None, description="Config file for `accelerate launch`. By default one process trains.")
    accumulation: Count = Field(1, description="Parts in which a process reads its trees of a step. More parts need less memory.")

    @model_validator(mode="after")
    def _one_or_several_rates(self) -> Self:
        if (self.learning_rate is None) == (self.learning_rates is None):
            raise ValueError("give either learning_rate, or learning_rates to try, not both")
        return self
