"""Sampling from a `transformers` checkpoint in this process, on a GPU if there is one."""

from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from pqm.errors import PqmError
from pqm.models.architecture import expect_class
from pqm.models.placement import convert, place, use_threads
from pqm.models.rms_norm import use_fast_norms
from pqm.models.sampling.batch_probe import expect_samples_right
from pqm.models.sampling.batched import sample
from pqm.models.sampling.engine import EngineOptions, Request, Sample


class TransformersEngine:
    """A causal language model and its tokenizer.

    Args:
        folder: a `transformers` folder.
        options: threads, and the precision of the weights. The model is checked in fp32 first, where rounding hides no errors.

    Raises:
        PqmError: the tokenizer has no end token, or models of this type cannot be sampled in batches.
    """

    name = f"transformers {transformers.__version__}"

    def __init__(self, folder: Path, options: EngineOptions) -> None:
        use_threads(options.threads)
        expect_class(AutoModelForCausalLM, AutoConfig.from_pretrained(folder), folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        if self.tokenizer.eos_token_id is None:
            raise PqmError(f"{folder}: the tokenizer has no end token; expected an eos_token")
        self.model = place(model)
        expect_samples_right(self.model, self.tokenizer, folder)
        convert(self.model, options.precision)
        use_fast_norms(self.model)

    def sample(
        self, requests: Sequence[Request], temperature: float, max_new_tokens: int, seed: int, rows: int | None = None
    ) -> list[list[Sample]]:
        return sample(self.model, self.tokenizer, requests, temperature, max_new_tokens, seed, rows)


ENGINE = TransformersEngine
