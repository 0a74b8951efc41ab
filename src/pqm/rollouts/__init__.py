"""Stage `rollouts`: solutions that a policy samples, several a question, cut into steps."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pqm import formats
from pqm.config import RolloutsConfig
from pqm.errors import PqmError
from pqm.reward_model import place
from pqm.rollouts.sampling import Request, sample
from pqm.solution import SolutionFormat
from pqm.work import WorkFolder

ENGINE = f"transformers {transformers.__version__}"


def load_policy(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, SolutionFormat]:
    """A causal language model, its tokenizer and its solution format.

    Raises:
        PqmError: the tokenizer has no end token, so no sample could finish.
    """
    form = SolutionFormat.load(folder)  # first: it says in one sentence that the folder is missing
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.eos_token_id is None:
        raise PqmError(f"{folder}: the tokenizer has no end token; expected an eos_token")
    return place(model), tokenizer, form


def make_rollouts(config: RolloutsConfig, policy: Path, questions: Path, work: WorkFolder) -> pd.DataFrame:
    """`config.samples` solutions of every question; truncated ones are kept with the finish reason "length"."""
    torch.set_num_threads(config.threads)
    model, tokenizer, form = load_policy(policy)
    table = formats.read(questions, formats.QUESTIONS)
    size = config.questions_per_batch
    shards = [table.iloc[start : start + size] for start in range(0, len(table), size)]

    def rows(shard: pd.DataFrame) -> list[dict[str, Any]]:
        requests = [Request(row.question_id, form.prompt(row.question), config.samples) for row in shard.itertuples()]
        groups = sample(model, tokenizer, requests, config.temperature, config.max_new_tokens, config.seed)
        return [
            {
                "question_id": request.name,
                "sample_id": number,
                "text": one.text,
                "steps": form.split(one.text),
                "n_tokens": len(one.tokens),
                "finish_reason": one.finish_reason,
                "log_likelihood": one.log_likelihood,
                "seed": config.seed,
                "engine": ENGINE,
            }
            for request, group in zip(requests, groups)
            for number, one in enumerate(group)
        ]

    return form.mark(work.table_by_shards(shards, rows, f"rollouts of {policy.name}", "batch"))
