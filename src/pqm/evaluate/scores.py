"""Step scores of sampled solutions: by a reward model, or by a backbone's likelihood."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from pqm import formats
from pqm.errors import PqmError
from pqm.evaluate.scoring import log_likelihoods, step_scores
from pqm.reward_model import Encoder, load_language_model, load_reward_model, place
from pqm.work import WorkFolder, checkpoint_hash

Kind = Literal["reward", "likelihood"]
QUESTIONS_A_SHARD = 25


class Scorer:
    """A checkpoint that scores the steps of one question's solutions.

    `reward` reads the reward head's logits; `likelihood` gives the log likelihood of the solution up to each step's end,
    so that its last value is the whole solution's.
    """

    def __init__(self, checkpoint: Path, kind: Kind, budget: int) -> None:
        self.checkpoint, self.kind, self.budget = checkpoint, kind, budget
        load = load_reward_model if kind == "reward" else load_language_model
        model, tokenizer, self.form = load(checkpoint)
        self.model = place(model)
        self.encode = Encoder(tokenizer, self.form)
        self.name = checkpoint_hash(checkpoint)

    def __call__(self, question: str, solutions: Sequence[Sequence[str]]) -> list[list[float]]:
        """The step scores of each solution, in order."""
        encoded = [self.encode(question, steps) for steps in solutions]
        read = step_scores if self.kind == "reward" else log_likelihoods
        return read(self.model, encoded, len(self.encode(question, []).tokens), self.budget)


def score(scorer: Scorer, questions: Path, rollouts: Sequence[Path], work: WorkFolder) -> list[pd.DataFrame]:
    """The score table of each policy's rollouts on one data set; a question's solutions by all policies are read together.

    Raises:
        PqmError: the rollouts answer a question that `questions` does not hold.
    """
    texts = formats.read(questions, formats.QUESTIONS).set_index("question_id")["question"]
    parts = [formats.read(path, formats.ROLLOUTS) for path in rollouts]
    for path, part in zip(rollouts, parts):
        scorer.form.expect(part, path, scorer.checkpoint)
        unknown = part.loc[~part["question_id"].isin(texts.index), "question_id"]
        if len(unknown):
            raise PqmError(f"{path}: answers question {unknown.iloc[0]!r}, which {questions} does not hold")
    samples = pd.concat([part.assign(table=index) for index, part in enumerate(parts)], ignore_index=True)
    groups = list(samples.groupby("question_id", sort=True))

    def rows(shard: list[tuple[str, pd.DataFrame]]) -> list[dict[str, Any]]:
        return [
            {"table": table, "question_id": name, "sample_id": sample, "step_scores": scores, "checkpoint": scorer.name}
            for name, group in shard
            for table, sample, scores in zip(group["table"], group["sample_id"], scorer(texts[name], list(group["steps"])))
        ]

    shards = [groups[start : start + QUESTIONS_A_SHARD] for start in range(0, len(groups), QUESTIONS_A_SHARD)]
    scored = work.table_by_shards(shards, rows, f"scores on {questions.stem}", "shard")
    return [scored[scored["table"] == index].drop(columns="table").reset_index(drop=True) for index in range(len(parts))]
