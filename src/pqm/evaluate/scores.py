"""Step scores of sampled solutions, by a reward model or by the likelihood of a language model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from pqm.errors import PqmError, shortened
from pqm.hashes import checkpoint_hash
from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.memory import fits
from pqm.models.architecture import expect_attention, position_limit
from pqm.models.placement import convert, place
from pqm.models.prefix_trees import PrefixTrees, build_prefix_trees, log_likelihoods, score_outputs, step_scores, token_logits
from pqm.models.reward_model import Encoder, load_language_model, load_reward_model
from pqm.models.rms_norm import use_fast_norms
from pqm.models.step_head import head
from pqm.models.tree_probe import expect_trees_read_right
from pqm.progress import say
from pqm.study.settings import Precision

Kind = Literal["reward", "likelihood"]
QUESTIONS_PER_SHARD = 25


class Scorer:
    """Scores the steps of solutions with several checkpoints.

    Args:
        checkpoints: checkpoints with the same tokenizer and solution format.
        kind: `reward` for the scores of a reward model. `likelihood` for the log likelihood of the solution up to each step's
            end; the last value is that of the whole solution.
        budget: tokens per batch.
        precision: of the weights, but for the head of a reward model. The models are checked in fp32 first.

    Raises:
        PqmError: a checkpoint is of the other kind, has another tokenizer or format than the first, or is of a type that cannot
            be scored.
    """

    def __init__(self, checkpoints: Sequence[Path], kind: Kind, budget: int, precision: Precision = "fp32") -> None:
        load = load_reward_model if kind == "reward" else load_language_model
        self._read = step_scores if kind == "reward" else log_likelihoods
        loaded = [load(checkpoint) for checkpoint in checkpoints]
        self.checkpoints, self.budget, self.solution_format = list(checkpoints), budget, loaded[0][2]
        for checkpoint, (_, tokenizer, solution_format) in zip(checkpoints, loaded):
            if solution_format != self.solution_format or tokenizer.get_vocab() != loaded[0][1].get_vocab():
                raise PqmError(f"{checkpoint}: another tokenizer or solution format than {checkpoints[0]}; score it separately")
        self.models = [place(model) for model, _, _ in loaded]
        for checkpoint, model in zip(checkpoints, self.models):
            expect_attention(model, checkpoint)
            expect_trees_read_right(model, checkpoint, score_outputs if kind == "reward" else token_logits)
            convert(model, precision)
            use_fast_norms(model)
            if kind == "reward":
                head(model).float()
        self.names = [checkpoint_hash(checkpoint) for checkpoint in checkpoints]
        self.encode = Encoder(loaded[0][1], self.solution_format)
        limits = [position_limit(model) for model in self.models]
        self.limit = min((limit for limit in limits if limit is not None), default=None)

    def build_prefix_trees(self, questions: Sequence[tuple[str, Sequence[Sequence[str]]]]) -> PrefixTrees:
        """Build the prefix trees of the solutions of some questions, for all checkpoints."""
        encoded = [
            ([self.encode(question, steps) for steps in solutions], self.encode.length(question, []))
            for question, solutions in questions
        ]
        return build_prefix_trees(encoded, self.budget)

    def __call__(self, questions: Sequence[tuple[str, Sequence[Sequence[str]]]]) -> list[list[list[float]]]:
        """The step scores of each solution of some questions, for each checkpoint.

        After an out-of-memory error, batches are half as large from then on.

        Raises:
            PqmError: memory is too small for one solution.
        """
        while True:
            trees = self.build_prefix_trees(questions)
            scores = fits(lambda: [self._read(model, trees) for model in self.models])  # noqa: B023, called at once
            if scores is not None:
                return scores
            if self.budget == 1:
                raise PqmError("out of memory with one solution at a time; use a device with more memory")
            self.budget //= 2
            say(f"out of memory: continuing with batches of {self.budget} tokens")

    def expect_whole(self, rollouts: Path, samples: pd.DataFrame, texts: pd.Series) -> None:
        """Check that all solutions fit into the models, because the score of a truncated solution would look like any other.

        Args:
            rollouts: path of the table, for the message.
            samples: the rollouts.
            texts: the question texts by id.

        Raises:
            PqmError: a solution is too long.
        """
        if self.limit is None:
            return
        lengths = [self.encode.length(texts[name], steps) for name, steps in zip(samples["question_id"], samples["steps"])]
        long = [row for row, length in enumerate(lengths) if length > self.limit]
        if long:
            first = samples.iloc[long[0]]
            raise PqmError(
                f"{rollouts}: {len(long)} of {len(samples)} solutions are longer than the model's {self.limit} positions, first"
                f" question {shortened(first['question_id'])}, sample {first['sample_id']}, {lengths[long[0]]} tokens; remove them"
            )


def score(scorer: Scorer, questions: Path, rollouts: Sequence[Path], cache: ShardCache) -> list[list[pd.DataFrame]]:
    """Score the rollouts of several policies on one data set; a question's solutions by all policies are merged.

    Args:
        questions: the question table.
        rollouts: one rollout table per policy.
        cache: the cache for finished shards.

    Returns:
        For each checkpoint one score table per rollout table.

    Raises:
        PqmError: the rollouts answer a question that is not in `questions`, or a solution is too long for a model.
    """
    texts = formats.read(questions, formats.QUESTIONS).set_index("question_id")["question"]
    parts = [formats.read(path, formats.ROLLOUTS) for path in rollouts]
    for path, part in zip(rollouts, parts):
        scorer.solution_format.expect(part, path, scorer.checkpoints[0])
        unknown = part.loc[~part["question_id"].isin(texts.index), "question_id"]
        if len(unknown):
            raise PqmError(f"{path}: answers question {shortened(unknown.iloc[0])}, which is not in {questions}")
        scorer.expect_whole(path, part, texts)
    samples = pd.concat([part.assign(table=index) for index, part in enumerate(parts)], ignore_index=True)
    groups = list(samples.groupby("question_id", sort=True))

    def rows(shard: list[tuple[str, pd.DataFrame]]) -> list[dict[str, Any]]:
        found = scorer([(texts[name], list(group["steps"])) for name, group in shard])
        together = pd.concat([group for _, group in shard])
        owners = list(zip(together["table"], together["question_id"], together["sample_id"]))
        return [
            {"by": by, "table": table, "question_id": name, "sample_id": sample, "step_scores": scores, "checkpoint": checkpoint}
            for by, (checkpoint, values) in enumerate(zip(scorer.names, found))
            for (table, name, sample), scores in zip(owners, values, strict=True)
        ]

    shards = [groups[start : start + QUESTIONS_PER_SHARD] for start in range(0, len(groups), QUESTIONS_PER_SHARD)]
    scored = dict(tuple(cache.table_by_shards(shards, rows, f"scores on {questions.stem}", "shard").groupby(["by", "table"])))
    return [
        [scored[by, table].drop(columns=["by", "table"]).reset_index(drop=True) for table in range(len(parts))]
        for by in range(len(scorer.names))
    ]
