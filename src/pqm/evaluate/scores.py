"""Step scores of sampled solutions: by a reward model, or by a backbone's likelihood."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from pqm import formats
from pqm.errors import PqmError
from pqm.evaluate.scoring import log_likelihoods, step_scores
from pqm.reward_model import Encoder, checkpoint_hash, load_reward_model, place
from pqm.solution import SolutionFormat
from pqm.work import WorkFolder

Kind = Literal["reward", "likelihood"]
QUESTIONS_A_SHARD = 25


class Scorer:
    """A checkpoint that scores the steps of one question's solutions.

    `reward` reads the reward head's logits; `likelihood` gives the log likelihood of the solution up to each step's end,
    so that its last value is the whole solution's.
    """

    def __init__(self, checkpoint: Path, kind: Kind, budget: int) -> None:
        self.checkpoint, self.kind, self.budget = checkpoint, kind, budget
        self.model: PreTrainedModel
        if kind == "reward":
            self.model, tokenizer, self.form = load_reward_model(checkpoint)
        else:
            self.form = SolutionFormat.load(checkpoint)
            self.model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self.model = place(self.model)
        self.encode = Encoder(tokenizer, self.form)
        self.name = checkpoint_hash(checkpoint)

    def __call__(self, question: str, solutions: Sequence[Sequence[str]]) -> list[list[float]]:
        """The step scores of each solution, in order."""
        encoded = [self.encode(question, steps) for steps in solutions]
        read = step_scores if self.kind == "reward" else log_likelihoods
        return read(self.model, encoded, len(self.encode(question, []).tokens), self.budget)


def score(scorer: Scorer, questions: Path, rollouts: Path, work: WorkFolder) -> pd.DataFrame:
    """The score table of one policy's rollouts on one data set.

    Raises:
        PqmError: the rollouts answer a question that `questions` does not hold.
    """
    texts = formats.read(questions, formats.QUESTIONS).set_index("question_id")["question"]
    samples = formats.read(rollouts, formats.ROLLOUTS)
    scorer.form.expect(samples, rollouts, scorer.checkpoint)
    groups = list(samples.groupby("question_id", sort=True))
    unknown = [name for name, _ in groups if name not in texts.index]
    if unknown:
        raise PqmError(f"{rollouts}: answers question {unknown[0]!r}, which {questions} does not hold")

    def rows(shard: list[tuple[str, pd.DataFrame]]) -> list[dict[str, Any]]:
        return [
            {"question_id": name, "sample_id": sample, "step_scores": scores, "checkpoint": scorer.name}
            for name, group in shard
            for sample, scores in zip(group["sample_id"], scorer(texts[name], list(group["steps"])))
        ]

    shards = [groups[start : start + QUESTIONS_A_SHARD] for start in range(0, len(groups), QUESTIONS_A_SHARD)]
    return work.table_by_shards(shards, rows, f"scores of {rollouts.parent.name}/{rollouts.stem}", "shard")
