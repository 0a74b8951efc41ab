"""Hashes of the operations that a build is made of, as JSON. Two machines with the same hashes give the same bytes.

python tests/unit/arithmetic_hashes.py
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from pqm.arithmetic import PINNED

os.environ.update(PINNED)  # before the libraries are loaded

import numpy as np
import torch
import torch.nn.functional as F
from scipy import special, stats
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from pqm.models.placement import use_threads

Values = Tensor | np.ndarray | float


def uniform(*shape: int, seed: int) -> Tensor:
    """Numbers in [-1, 1) in float32, made from integers, which are the same everywhere."""
    whole = torch.randint(0, 2**20, shape, generator=torch.Generator().manual_seed(seed))
    return (whole.double() / 2**19 - 1).float()


def attention(*, masked: bool) -> Tensor:
    query, key, value = (uniform(4, 4, 65, 24, seed=seed) for seed in (8, 9, 10))
    if masked:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=torch.ones(65, 65).tril().log())
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


def training() -> dict[str, list[Values]]:
    """A small language model: its logits, loss and gradients, and its weights after 30 steps."""
    sizes = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=256, num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, **sizes)
    model = LlamaForCausalLM(config)
    for place, weight in enumerate(model.parameters()):
        weight.data = 0.05 * uniform(*weight.shape, seed=100 + place) if weight.dim() > 1 else torch.ones_like(weight)
    weights = list(model.parameters())
    tokens = torch.randint(0, 256, (24, 64), generator=torch.Generator().manual_seed(1))
    output = model(input_ids=tokens, labels=tokens)
    output.loss.backward()
    found = {"logits": [output.logits], "loss": [output.loss], "gradients": [weight.grad.clone() for weight in weights]}
    optimizer = torch.optim.AdamW(weights, lr=3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        model(input_ids=tokens, labels=tokens).loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    return found | {"30 steps": weights}


x, y = uniform(512, 96, seed=1), uniform(512, 96, seed=2)
n, m = (one.double().numpy() for one in (x, y))
OPERATIONS: dict[str, Callable[[], Values | list[Values]]] = {
    "linear": lambda: F.linear(x, uniform(256, 96, seed=3)),
    "matmul, large": lambda: uniform(700, 700, seed=4) @ uniform(700, 700, seed=5),
    "bmm": lambda: torch.bmm(uniform(8, 64, 24, seed=6), uniform(8, 24, 64, seed=7)),
    "exp": lambda: torch.exp(x),
    "log": lambda: torch.log(x.abs() + 1),
    "sigmoid": lambda: torch.sigmoid(x),
    "silu": lambda: F.silu(x),
    "rsqrt": lambda: torch.rsqrt(x.abs() + 1),
    "cos, sin": lambda: [torch.cos(x * 50), torch.sin(x * 50)],
    "softmax": lambda: torch.softmax(x, -1),
    "logsumexp": lambda: torch.logsumexp(x, -1),
    "logcumsumexp": lambda: torch.logcumsumexp(x, -1),
    "cumsum": lambda: torch.cumsum(x, -1),
    "sum, mean": lambda: [x.sum(), x.mean(-1)],
    "randn": lambda: torch.randn(1000, generator=torch.Generator().manual_seed(0)),
    "attention, causal": lambda: attention(masked=False),
    "attention, mask": lambda: attention(masked=True),
    "log_softmax": lambda: torch.log_softmax(x, -1),
    "exp, log in double, rounded": lambda: [torch.exp(x.double()).float(), torch.log(x.double().abs() + 1).float()],
    "log of sigmoid": lambda: F.logsigmoid(x),
    "binary cross-entropy": lambda: F.binary_cross_entropy_with_logits(x, (y > 0).float()),
    "vector norm": lambda: torch.linalg.vector_norm(x, dim=-1),
    "numpy: exp, log": lambda: [np.exp(n), np.log(np.abs(n) + 1), np.log1p(np.abs(n)), np.logaddexp(n, m)],
    "numpy: sum, mean, cumsum": lambda: [n.sum(), n.mean(axis=1), n.cumsum(axis=1), n.var(axis=0)],
    "numpy: matmul": lambda: n @ m.T,
    "numpy: einsum, tensordot": lambda: [np.einsum("ij,ij->i", n, m), np.tensordot(n, m, axes=([0], [0]))],
    "numpy: random": lambda: np.random.default_rng(0).random(1000),
    "scipy: quantiles": lambda: [stats.t.isf(np.abs(n), 7.5), special.betaincinv(3.0, 5.0, np.abs(n)), special.ndtri(np.abs(n))],
}


def digest(values: Values | list[Values]) -> str:
    """The hash of some values, of their bytes."""
    parts = values if isinstance(values, list) else [values]
    arrays = [one.detach().contiguous().numpy() if isinstance(one, Tensor) else np.asarray(one) for one in parts]
    return hashlib.sha256(b"".join(one.tobytes() for one in arrays)).hexdigest()[:10]


def main() -> None:
    """Print the hash of each operation."""
    use_threads(1)
    found = {name: digest(operation()) for name, operation in OPERATIONS.items()}
    print(json.dumps(found | {f"language model: {name}": digest(values) for name, values in training().items()}, indent=1))


if __name__ == "__main__":
    main()
