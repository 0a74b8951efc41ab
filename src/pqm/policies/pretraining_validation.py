"""The validation metrics of a snapshot: pass@1, and the AUC of the error-detection heads."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pqm.estimation.estimators import area_under_curve
from pqm.grading.extraction import extract_answer
from pqm.models.error_detection_heads import ErrorDetectionHeads
from pqm.models.placement import mixed
from pqm.models.sampling.batched import sample
from pqm.models.sampling.engine import Request
from pqm.policies.pretraining_loss import hidden_states
from pqm.problems.corpus import IGNORED, Corpus
from pqm.solution_format import SolutionFormat
from pqm.study.settings import Precision

TEMPERATURE = 0.7
SAMPLES = 2  # per question
BATCHES = 20


def pass_at_1(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, questions: pd.DataFrame, max_new_tokens: int, seed: int
) -> float:
    """The share of right samples on the validation questions."""
    prompt = SolutionFormat().prompt  # does not depend on the step separator
    requests = [Request(row.question_id, prompt(row.question), SAMPLES) for row in questions.itertuples()]
    samples = sample(model, tokenizer, requests, TEMPERATURE, max_new_tokens, seed)
    return float(
        np.mean([extract_answer(one.text) == answer for answer, group in zip(questions["answer"], samples) for one in group])
    )


@torch.inference_mode()
def head_aucs(model: PreTrainedModel, heads: ErrorDetectionHeads, corpus: Corpus, precision: Precision) -> tuple[float, float]:
    """The area under the ROC curve of the token head and of the step head, on new text with injected errors.

    It is NaN for a head that the phase of the corpus does not train.
    """
    phase = corpus.phase
    if not phase.token_head_weight and not phase.step_head_weight:
        return float("nan"), float("nan")
    scores: dict[str, list[Tensor]] = {"token": [], "step": []}
    truth: dict[str, list[Tensor]] = {"token": [], "step": []}
    held_out = replace(corpus, seed=f"{corpus.seed} validation")
    for batch, _ in zip(held_out.main_text(), range(BATCHES)):
        with mixed(model, precision):
            last, middle = hidden_states(model, torch.from_numpy(batch.tokens).to(model.device), phase.token_head_layer)
        for kind, hidden, head, targets in (
            ("token", middle, heads.token, batch.token_targets),
            ("step", last, heads.step, batch.step_targets),
        ):
            target = torch.from_numpy(targets)
            if hidden is not None:
                scores[kind].append(head(hidden[(target != IGNORED).to(hidden.device)].float()).squeeze(-1).cpu())
                truth[kind].append(target[target != IGNORED])
    token, step = (area_under_curve(_joined(scores[kind]), _joined(truth[kind])) for kind in ("token", "step"))
    return token, step if phase.step_head_weight else float("nan")


def _joined(parts: list[Tensor]) -> np.ndarray:
    return torch.cat(parts).numpy() if parts else np.zeros(0)
