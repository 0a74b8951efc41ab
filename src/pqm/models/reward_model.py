"""A reward model: the body of a language model with a linear head, which is read at the end of each step.

It is an `AutoModelForTokenClassification` with one label, so a checkpoint can be loaded with plain `transformers`. A checkpoint
with two labels (wrong and right, as TRL trains them) is read as well: its step logit is the difference of the two logits.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from pqm.errors import PqmError
from pqm.models.architecture import expect_class
from pqm.models.encoded import Encoded
from pqm.models.placement import lower_states
from pqm.models.rms_norm import use_fast_norms
from pqm.models.step_head import head
from pqm.models.tokenizing import token_ids
from pqm.solution_format import SolutionFormat


class Encoder:
    """Converts questions and steps to tokens, piece by piece, so that a step's tokens do not depend on its neighbours.

    Raises:
        PqmError: the step token is not a single token of the tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, solution_format: SolutionFormat) -> None:
        self._tokenizer, self._format = tokenizer, solution_format
        self._pieces: dict[str, list[int]] = {}
        self._step_token = step_token_id(tokenizer, solution_format.step_token)

    def _encode(self, text: str) -> list[int]:
        if text not in self._pieces:
            self._pieces[text] = token_ids(self._tokenizer, text) if text else []
        return self._pieces[text]

    def __call__(self, question: str, steps: Sequence[str]) -> Encoded:
        """The tokens of a solution up to and including its last scored position."""
        tokens, ends = list(self._encode(self._format.prompt(question))), []
        for index, step in enumerate(steps):
            if index:
                tokens += self._encode(self._format.between_steps)
            tokens += self._encode(step)
            tokens.append(self._step_token)
            ends.append(len(tokens) - 1)
        return Encoded(tuple(tokens), tuple(ends))

    def length(self, question: str, steps: Sequence[str]) -> int:
        """The number of tokens of a solution, without making them."""
        between = len(self._encode(self._format.between_steps)) if len(steps) else 0
        whole = sum(len(self._encode(step)) + 1 + between for step in steps)  # a step, its step token, a separator
        return len(self._encode(self._format.prompt(question))) + whole - between


def step_token_id(tokenizer: PreTrainedTokenizerBase, step_token: str) -> int:
    """The single token of a step token.

    A SentencePiece tokenizer puts a space before a text, so it may split a text that is one of its tokens. That token is used,
    because a step token does not begin a word.

    Raises:
        PqmError: the step token is not a single token.
    """
    tokens = token_ids(tokenizer, step_token)
    if tokens == [tokenizer.unk_token_id] and step_token != tokenizer.unk_token:
        raise PqmError(f"the tokenizer does not contain the step token {step_token!r}")
    if len(tokens) == 1:
        return tokens[0]
    for token in (*tokens[-1:], tokenizer.get_vocab().get(step_token)):
        if token is not None and tokenizer.decode([token], clean_up_tokenization_spaces=False) == step_token:
            return token
    raise PqmError(f"the tokenizer splits the step token {step_token!r} into {len(tokens)}; expected one token")


def reward_model(
    backbone: Path, seed: int, scores: str = "logit", dropout: float = 0.0, bias: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a backbone with a new random head, to be trained, and its tokenizer.

    Args:
        seed: the seed of the head.
        scores: how step scores are read from the head, see `Loss.scores`; stored in the checkpoint's `config.json`.
        dropout: the dropout before the head, in training.
        bias: whether the head has a bias.

    Raises:
        PqmError: `transformers` has no token classifier of the backbone's type.
    """
    torch.manual_seed(seed)
    config = AutoConfig.from_pretrained(backbone, num_labels=1)
    expect_class(AutoModelForTokenClassification, config, backbone)
    config.token_classification_bias, config.classifier_dropout = bias, dropout
    if scores != "logit":
        config.step_scores = scores
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # no warning about the new head, which is intended
    model = AutoModelForTokenClassification.from_pretrained(backbone, config=config, dtype=torch.float32)
    logging.set_verbosity(level)
    use_fast_norms(model)
    lower_states(model)
    return model, AutoTokenizer.from_pretrained(backbone)


def load_reward_model(checkpoint: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, SolutionFormat]:
    """Load a trained reward model, its tokenizer and its solution format.

    Raises:
        PqmError: the checkpoint is no reward model with one or two logits per step, or has no solution format.
    """
    solution_format = SolutionFormat.load(checkpoint)
    model = _whole(
        AutoModelForTokenClassification, checkpoint, "expected a reward model; a language model is scored by --kind likelihood"
    )
    logits = head(model).out_features
    if logits > 2:
        raise PqmError(f"{checkpoint}: {logits} logits per step; expected 1, or 2 for wrong and right")
    return model, AutoTokenizer.from_pretrained(checkpoint), solution_format


def load_language_model(checkpoint: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, SolutionFormat]:
    """Load a language model, its tokenizer and its solution format.

    Raises:
        PqmError: the checkpoint is no language model, or has no solution format.
    """
    solution_format = SolutionFormat.load(checkpoint)
    model = _whole(AutoModelForCausalLM, checkpoint, "expected a language model; a reward model is scored by --kind reward")
    return model, AutoTokenizer.from_pretrained(checkpoint), solution_format


def _whole(kind: Any, checkpoint: Path, expected: str) -> PreTrainedModel:
    """Load a checkpoint, and refuse it if a weight is missing, because `transformers` would use a random one."""
    expect_class(kind, AutoConfig.from_pretrained(checkpoint), checkpoint)
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    model, report = kind.from_pretrained(checkpoint, dtype=torch.float32, output_loading_info=True)
    logging.set_verbosity(level)
    if report["missing_keys"]:
        raise PqmError(f"{checkpoint}: the weights {min(report['missing_keys'])!r} are missing; {expected}")
    return cast(PreTrainedModel, model.eval())


def save_reward_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    solution_format: SolutionFormat,
    folder: Path,
    weights: dict[str, Tensor] | None = None,
) -> None:
    """Write safetensors, tokenizer and solution format.

    Args:
        weights: the model's weights, if its own are sharded over processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)
    solution_format.save(folder)
