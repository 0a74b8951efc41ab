"""Step scores of sampled solutions: by a reward model, or by a backbone's likelihood."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from pqm import formats
from pqm.errors import PqmError
from pqm.evaluate.scoring import Forest, log_likelihoods, plant, step_scores
from pqm.memory import fits
from pqm.progress import say
from pqm.reward_model import Encoder, load_language_model, load_reward_model, place
from pqm.work import WorkFolder, checkpoint_hash

Kind = Literal["reward", "likelihood"]
QUESTIONS_A_SHARD = 25


class Scorer:
    """Checkpoints that score the steps of one question's solutions; they share a tokenizer and a solution format.

    `reward` reads the reward head's logits; `likelihood` gives the log likelihood of the solution up to each step's end,
    so that its last value is the whole solution's.

    Raises:
        PqmError: a checkpoint is of the other kind, or has another tokenizer or format than the first.
    """

    def __init__(self, checkpoints: Sequence[Path], kind: Kind, budget: int) -> None:
        load = load_reward_model if kind == "reward" else load_language_model
        self._read = step_scores if kind == "reward" else log_likelihoods
        loaded = [load(checkpoint) for checkpoint in checkpoints]
        self.checkpoints, self.budget, self.form = list(checkpoints), budget, loaded[0][2]
        for checkpoint, (_, tokenizer, form) in zip(checkpoints, loaded):
            if form != self.form or tokenizer.get_vocab() != loaded[0][1].get_vocab():
                raise PqmError(f"{checkpoint}: another tokenizer or solution format than {checkpoints[0]}; score it by itself")
        self.models = [place(model) for model, _, _ in loaded]
        self.names = [checkpoint_hash(checkpoint) for checkpoint in checkpoints]
        self.encode = Encoder(loaded[0][1], self.form)
        limits = [getattr(model.config, "max_position_embeddings", None) for model in self.models]
        self.limit = min((limit for limit in limits if limit is not None), default=None)

    def plant(self, question: str, solutions: Sequence[Sequence[str]]) -> Forest:
        """The solutions of a question, ready to be read by every checkpoint."""
        encoded = [self.encode(question, steps) for steps in solutions]
        return plant(encoded, len(self.encode(question, []).tokens), self.budget)

    def __call__(self, question: str, solutions: Sequence[Sequence[str]]) -> list[list[list[float]]]:
        """For each checkpoint the step scores of each solution, in order.

        Where the device's memory is full, batches are half as large from then on.
        """
        while True:
            forest = self.plant(question, solutions)
            scores = fits(lambda: [self._read(model, forest) for model in self.models])  # noqa: B023, called at once
            if scores is not None:
                return scores
            if self.budget == 1:
                raise PqmError("out of memory with one solution at a time; take a larger device")
            self.budget //= 2
            say(f"out of memory: batches of {self.budget} tokens from here on")

    def expect_whole(self, rollouts: Path, samples: pd.DataFrame, texts: pd.Series) -> None:
        """Refuse solutions that a model cannot read whole: cut, they would get a score that nobody can tell from others."""
        if self.limit is None:
            return
        lengths = [
            len(self.encode(texts[name], list(steps)).tokens) for name, steps in zip(samples["question_id"], samples["steps"])
        ]
        long = [row for row, length in enumerate(lengths) if length > self.limit]
        if long:
            first = samples.iloc[long[0]]
            raise PqmError(
                f"{rollouts}: {len(long)} of {len(samples)} solutions are longer than the model's {self.limit} positions, the first"
                f" is question {first['question_id']!r}, sample {first['sample_id']}, {lengths[long[0]]} tokens; leave them out"
            )


def score(scorer: Scorer, questions: Path, rollouts: Sequence[Path], work: WorkFolder) -> list[list[pd.DataFrame]]:
    """For each checkpoint the score table of each policy's rollouts on one data set.

    A question's solutions by all policies are read together.

    Raises:
        PqmError: the rollouts answer a question that `questions` does not hold, or a solution is longer than a model reads.
    """
    texts = formats.read(questions, formats.QUESTIONS).set_index("question_id")["question"]
    parts = [formats.read(path, formats.ROLLOUTS) for path in rollouts]
    for path, part in zip(rollouts, parts):
        scorer.form.expect(part, path, scorer.checkpoints[0])
        unknown = part.loc[~part["question_id"].isin(texts.index), "question_id"]
        if len(unknown):
            raise PqmError(f"{path}: answers question {unknown.iloc[0]!r}, which {questions} does not hold")
        scorer.expect_whole(path, part, texts)
    samples = pd.concat([part.assign(table=index) for index, part in enumerate(parts)], ignore_index=True)
    groups = list(samples.groupby("question_id", sort=True))

    def rows(shard: list[tuple[str, pd.DataFrame]]) -> list[dict[str, Any]]:
        return [
            {"by": by, "table": table, "question_id": name, "sample_id": sample, "step_scores": scores, "checkpoint": checkpoint}
            for name, group in shard
            for by, (checkpoint, values) in enumerate(zip(scorer.names, scorer(texts[name], list(group["steps"]))))
            for table, sample, scores in zip(group["table"], group["sample_id"], values)
        ]

    shards = [groups[start : start + QUESTIONS_A_SHARD] for start in range(0, len(groups), QUESTIONS_A_SHARD)]
    scored = dict(tuple(work.table_by_shards(shards, rows, f"scores on {questions.stem}", "shard").groupby(["by", "table"])))
    return [
        [scored[by, table].drop(columns=["by", "table"]).reset_index(drop=True) for table in range(len(parts))]
        for by in range(len(scorer.names))
    ]
