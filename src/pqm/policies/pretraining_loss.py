"""The loss of a pretraining: next-token prediction, and the error-detection heads if a phase trains them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from pqm.models.error_detection_heads import ErrorDetectionHeads
from pqm.models.placement import mixed
from pqm.problems.corpus import IGNORED, TextBatch

if TYPE_CHECKING:
    from pqm.study.pretraining import Phase
    from pqm.study.settings import Precision


def pretraining_loss(
    model: PreTrainedModel, heads: ErrorDetectionHeads, batch: TextBatch, phase: Phase, precision: Precision
) -> Tensor:
    """Cross-entropy of the next token, plus the weighted losses of the heads that the phase trains; both in float32."""
    tokens, next_token = (torch.from_numpy(array).to(model.device) for array in (batch.tokens, batch.next_token))
    counted = next_token != IGNORED
    with mixed(model, precision):
        last, middle = hidden_states(model, tokens, phase.token_head_layer)
        logits = model.get_output_embeddings()(last[counted])
    loss = F.cross_entropy(logits.float(), next_token[counted])
    if phase.token_head_weight and middle is not None:
        loss = loss + phase.token_head_weight * _head_loss(heads.token, middle, batch.token_targets)
    if phase.step_head_weight:
        loss = loss + phase.step_head_weight * _head_loss(heads.step, last, batch.step_targets)
    return loss


def hidden_states(model: PreTrainedModel, tokens: Tensor, layer: int | None) -> tuple[Tensor, Tensor | None]:
    """Hidden states after the last layer, and after `layer` (counted from 1) if it is given; shape [rows, tokens, hidden]."""
    output = model.base_model(input_ids=tokens, use_cache=False, output_hidden_states=layer is not None)
    return output.last_hidden_state, output.hidden_states[layer] if layer is not None else None


def _head_loss(head: nn.Module, hidden: Tensor, targets: np.ndarray) -> Tensor:
    wanted = torch.from_numpy(targets).to(hidden.device)
    counted = wanted != IGNORED
    return F.binary_cross_entropy_with_logits(head(hidden[counted].float()).squeeze(-1), wanted[counted].float())
