"""Stage `rollouts`: solutions that a policy samples, several a question, cut into steps."""

from pathlib import Path
from typing import Any

import pandas as pd

from pqm import formats
from pqm.config import RolloutsConfig
from pqm.policies.served import is_served
from pqm.rollouts.engine import Engine, Request
from pqm.solution import SolutionFormat
from pqm.work import WorkFolder


def load_policy(folder: Path, threads: int = 1, server: Path | None = None) -> tuple[Engine, SolutionFormat]:
    """What samples from a policy, and its solution format.

    Args:
        threads: of this process; a server has its own.
        server: what `pqm policies serve` wrote, for a policy whose server is started by a command.

    Raises:
        PqmError: the folder is no policy, or its server does not answer.
    """
    form = SolutionFormat.load(folder)  # first: it says in one sentence that the folder is missing
    if is_served(folder):
        from pqm.rollouts.openai_engine import OpenAIEngine

        return OpenAIEngine(folder, server), form
    from pqm.rollouts.transformers_engine import TransformersEngine

    return TransformersEngine(folder, threads), form


def make_rollouts(
    config: RolloutsConfig, policy: Path, questions: Path, work: WorkFolder, server: Path | None = None
) -> pd.DataFrame:
    """`config.samples` solutions of every question; truncated ones are kept with the finish reason "length"."""
    engine, form = load_policy(policy, config.threads, server)
    table = formats.read(questions, formats.QUESTIONS)
    size = config.questions_per_batch
    shards = [table.iloc[start : start + size] for start in range(0, len(table), size)]

    def rows(shard: pd.DataFrame) -> list[dict[str, Any]]:
        requests = [Request(row.question_id, form.prompt(row.question), config.samples) for row in shard.itertuples()]
        groups = engine.sample(requests, config.temperature, config.max_new_tokens, config.seed, config.rows)
        return [
            {
                "question_id": request.name,
                "sample_id": number,
                "text": one.text,
                "steps": form.split(one.text),
                "n_tokens": one.n_tokens,
                "finish_reason": one.finish_reason,
                "log_likelihood": one.log_likelihood,
                "seed": config.seed,
                "engine": engine.name,
            }
            for request, group in zip(requests, groups)
            for number, one in enumerate(group)
        ]

    return form.mark(work.table_by_shards(shards, rows, f"rollouts of {policy.name}", "batch"))
