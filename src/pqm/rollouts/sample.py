"""Stage `rollouts`: sample several solutions per question from a policy, and split them into steps."""

from pathlib import Path
from typing import Any

import pandas as pd

from pqm.io import formats
from pqm.io.shard_cache import ShardCache
from pqm.models.policy import load_policy
from pqm.models.sampling.engine import Request
from pqm.study.rollouts import RolloutsConfig
from pqm.study.settings import Precision


def make_rollouts(
    config: RolloutsConfig,
    policy: Path,
    questions: Path,
    cache: ShardCache,
    server: Path | None = None,
    precision: Precision = "fp32",
) -> pd.DataFrame:
    """Sample `config.samples` solutions of every question; truncated ones have the finish reason "length".

    Args:
        policy: the policy's folder.
        questions: the question table.
        cache: the cache for finished shards.
        server, precision: see `load_policy`.
    """
    engine, solution_format = load_policy(policy, config.threads, server, precision)
    table = formats.read(questions, formats.QUESTIONS)
    size = config.questions_per_batch
    shards = [table.iloc[start : start + size] for start in range(0, len(table), size)]

    def rows(shard: pd.DataFrame) -> list[dict[str, Any]]:
        requests = [Request(row.question_id, solution_format.prompt(row.question), config.samples) for row in shard.itertuples()]
        groups = engine.sample(requests, config.temperature, config.max_new_tokens, config.seed, config.rows)
        return [
            {
                "question_id": request.name,
                "sample_id": number,
                "text": one.text,
                "steps": solution_format.split(one.text),
                "n_tokens": one.n_tokens,
                "finish_reason": one.finish_reason,
                "log_likelihood": one.log_likelihood,
                "seed": config.seed,
                "engine": engine.name,
            }
            for request, group in zip(requests, groups)
            for number, one in enumerate(group)
        ]

    return solution_format.mark(cache.table_by_shards(shards, rows, f"rollouts of {policy.name}", "batch"))
