"""The RMSNorm of training is that of `transformers`, with its gradient."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pqm.models.rms_norm import RmsNorm, use_fast_norms

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}


def test_the_gradient_is_that_of_finite_differences() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, weight: RmsNorm.apply(x, weight, 1e-3), (x, weight))


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "mistral", "phi3", "olmo2", "gemma2"])
def test_outputs_and_gradients_of_models_stay(kind: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SIZES)
    model = AutoModelForCausalLM.from_config(config).train()
    for name, weight in model.named_parameters():
        if "norm" in name:  # they begin as ones, which would hide a wrong gradient
            torch.nn.init.normal_(weight, mean=1.0, std=0.3)
    tokens = torch.randint(1, 40, (3, 11))

    def results() -> tuple[torch.Tensor, list[torch.Tensor]]:
        model.zero_grad()
        output = model(input_ids=tokens, labels=tokens)
        output.loss.backward()
        return output.logits.detach(), [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]

    logits, gradients = results()
    use_fast_norms(model)
    fast_logits, fast_gradients = results()
    torch.testing.assert_close(fast_logits, logits, atol=1e-5, rtol=1e-4)
    for fast, plain in zip(fast_gradients, gradients, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-4)


def test_other_precisions_are_left_to_transformers() -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SIZES)).to(torch.bfloat16)
    norm, hidden = model.model.norm, torch.randn(2, 32, dtype=torch.bfloat16)
    before = norm(hidden)
    use_fast_norms(model)
    assert torch.equal(norm(hidden), before)
