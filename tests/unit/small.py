"""Shared by several tests: a tiny model, short training settings, reading and writing YAML."""

from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pqm.study.training import TrainingConfig

TRAINING = TrainingConfig(
    seeds=(0,),
    epochs=1.0,
    learning_rate=3e-3,
    warmup_share=0.1,
    clip=1.0,
    batch_tokens=300,
    weighting="trajectory",
    checkpoint_every=1,
    validation="tiny",
)


def tiny_llama(
    tokenizer: PreTrainedTokenizerFast, positions: int, spread: float, heads: int = 2, seed: int = 0
) -> LlamaForCausalLM:
    """Two layers of width 32 with weights of standard deviation `spread`."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=positions,
        initializer_range=spread,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config).eval()


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


def write_yaml(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output = False, False
    yaml.dump(content, path)
