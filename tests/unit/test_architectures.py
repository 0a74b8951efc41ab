"""Models of many types are scored and sampled as `transformers` alone reads them, or refused in one sentence."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    BertConfig,
    BloomConfig,
    CohereConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    GptOssConfig,
    JambaConfig,
    Llama4TextConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MptConfig,
    OPTConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    RwkvConfig,
    SiglipVisionConfig,
    StableLmConfig,
    T5Config,
)

from pqm.errors import PqmError
from pqm.evaluate.scores import Scorer
from pqm.models import architecture, prefix_trees
from pqm.models.encoded import Encoded
from pqm.models.policy import load_policy
from pqm.models.reward_model import reward_model
from pqm.models.sampling.batched import sample
from pqm.models.sampling.engine import Request
from pqm.problems.tokenizer import word_problem_tokenizer
from pqm.solution_format import SolutionFormat

WINDOW = 6
TOKENIZER = word_problem_tokenizer()
COMMON = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 160,
    "initializer_range": 0.2,
    "pad_token_id": TOKENIZER.pad_token_id,
    "eos_token_id": TOKENIZER.eos_token_id,
    "bos_token_id": None,
}
MODERN = COMMON | {"intermediate_size": 64, "num_key_value_heads": 2}
TEXT = Gemma3TextConfig(**MODERN, head_dim=8, sliding_window=WINDOW, layer_types=["sliding_attention", "full_attention"] * 2)
VISION = SiglipVisionConfig(
    hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4
)
GPT2 = GPT2Config(
    vocab_size=len(TOKENIZER), n_positions=160, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2, eos_token_id=1
)

CLASSIFIERS: dict[str, PreTrainedConfig] = {
    "Llama": LlamaConfig(**MODERN),
    "Mistral": MistralConfig(**MODERN, sliding_window=WINDOW),
    "Mistral, window 1": MistralConfig(**MODERN, sliding_window=1),
    "Gemma 2": Gemma2Config(**MODERN, head_dim=8, sliding_window=WINDOW),
    "Phi-3": Phi3Config(**MODERN, sliding_window=WINDOW),
    "Qwen2, two of four": Qwen2Config(**MODERN, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=2),
    "Qwen2, all": Qwen2Config(**MODERN, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=0),
    "gpt-oss": GptOssConfig(**MODERN, head_dim=8, sliding_window=WINDOW, num_local_experts=4),
    "GPT-2": GPT2,
    "GPT-NeoX": GPTNeoXConfig(**COMMON, intermediate_size=64),
    "StableLM": StableLmConfig(**MODERN),  # no attention function can be given to it
}
LANGUAGE_MODELS = CLASSIFIERS | {
    "Gemma 3 text": TEXT,
    "OPT": OPTConfig(**COMMON, ffn_dim=64, word_embed_proj_dim=32, init_std=0.2),
}
POLICIES = LANGUAGE_MODELS | {
    "Gemma 3 with images": Gemma3Config(text_config=TEXT, vision_config=VISION, mm_tokens_per_image=4, eos_token_id=1)
}


def made(kind: Any, config: PreTrainedConfig, **options: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    config = copy.deepcopy(config)
    for name, value in options.items():
        setattr(config, name, value)
    return kind.from_config(config).eval()


def saved(model: PreTrainedModel, folder: Path) -> Path:
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    SolutionFormat().save(folder)
    return folder


def solutions(prompt_tokens: int) -> list[Encoded]:
    """Solutions of different lengths, many with a common beginning, most longer than the window."""
    random = np.random.default_rng(prompt_tokens)
    prompt = random.integers(5, 60, prompt_tokens).tolist()
    beginning = random.integers(5, 60, 9).tolist()
    found = []
    for length in (1, 4, 9, 14, 25, 25):
        tokens = (beginning + random.integers(5, 60, 30).tolist())[:length]
        ends = sorted({prompt_tokens + length // 2, prompt_tokens + length - 1})
        found.append(Encoded((*prompt, *tokens), tuple(ends)))
    return found


def plain_logits(model: PreTrainedModel, tokens: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([tokens]), use_cache=False).logits[0].double()


# ---------------------------------------------------------------- trees


@pytest.mark.parametrize("prompt_tokens", [2, 5, 6, 23])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_step_scores_are_those_of_the_model_alone(name, prompt_tokens):
    model = made(AutoModelForTokenClassification, CLASSIFIERS[name], num_labels=1)
    encoded = solutions(prompt_tokens)
    expected = [plain_logits(model, list(one.tokens))[list(one.step_ends), 0].tolist() for one in encoded]
    for budget in (1, 40, 10_000):
        found = prefix_trees.step_scores(model, prefix_trees.build_prefix_trees([(encoded, prompt_tokens)], budget))
        for values, right in zip(found, expected):
            assert values == pytest.approx(right, abs=1e-4)


@pytest.mark.parametrize("prompt_tokens", [2, 23])
@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_log_likelihoods_are_those_of_the_model_alone(name, prompt_tokens):
    model = made(AutoModelForCausalLM, LANGUAGE_MODELS[name])
    encoded = solutions(prompt_tokens)
    found = prefix_trees.log_likelihoods(model, prefix_trees.build_prefix_trees([(encoded, prompt_tokens)], 60))
    for values, one in zip(found, encoded):
        gains = plain_logits(model, list(one.tokens)).log_softmax(-1)
        sums = np.cumsum([gains[at - 1, one.tokens[at]].item() for at in range(prompt_tokens, len(one.tokens))])
        assert values == pytest.approx([sums[end - prompt_tokens] for end in one.step_ends], abs=1e-3)


@pytest.mark.parametrize("name", ["Llama", "gpt-oss"])
def test_after_reading_a_model_has_its_own_attention(name):
    model = made(AutoModelForTokenClassification, CLASSIFIERS[name], num_labels=1)
    own, encoded = model.config._attn_implementation, solutions(5)
    before = plain_logits(model, list(encoded[5].tokens))
    trees = prefix_trees.build_prefix_trees([(encoded, 5)], 100)
    prefix_trees.step_scores(model, trees)
    assert model.config._attn_implementation == own
    assert torch.equal(plain_logits(model, list(encoded[5].tokens)), before)
    hook = model.base_model.layers[0].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prefix_trees.step_scores(model, trees)
    hook.remove()
    assert model.config._attn_implementation == own


def test_a_window_changes_the_scores():
    """The models above do not agree by chance."""
    narrow, full = (made(AutoModelForTokenClassification, CLASSIFIERS["Mistral"], sliding_window=size) for size in (WINDOW, None))
    encoded = solutions(23)
    trees = prefix_trees.build_prefix_trees([(encoded, 23)], 100)
    difference = np.abs(np.array(prefix_trees.step_scores(narrow, trees)[5]) - prefix_trees.step_scores(full, trees)[5])
    assert difference.max() > 0.05


# ---------------------------------------------------------------- samples


@pytest.mark.parametrize("name", POLICIES)
def test_samples_are_those_of_the_model_alone(name):
    model = made(AutoModelForCausalLM, POLICIES[name])
    prompts = ["ana has 7 coins . how many coins ?\n", "ben has 4 cards . tuesday bus costs 3 . monday aunt gives 8 .\n", "ana\n"]
    requests = [Request(prompt, prompt, 3) for prompt in prompts]
    together = sample(model, TOKENIZER, requests, 1.0, 20, seed=1)
    some = sample(model, TOKENIZER, requests, 1.0, 20, seed=1, rows=4)
    assert [[one.tokens for one in group] for group in some] == [[one.tokens for one in group] for group in together]
    for request, group in zip(requests, together):
        prompt = TOKENIZER(request.prompt, add_special_tokens=False)["input_ids"]
        for one in group:
            written = one.tokens + ([TOKENIZER.eos_token_id] if one.finish_reason == "stop" else [])
            gains = plain_logits(model, prompt + written).log_softmax(-1)
            expected = sum(gains[len(prompt) - 1 + at, token].item() for at, token in enumerate(written))
            assert one.log_likelihood == pytest.approx(expected, abs=1e-3)


def test_a_policy_with_windows_is_loaded_and_sampled(tmp_path):
    engine, _ = load_policy(saved(made(AutoModelForCausalLM, POLICIES["Gemma 2"]), tmp_path))
    [group] = engine.sample([Request("q", "ana has 7 coins . how many coins ?\n", 2)], 1.0, 20, seed=1)
    assert [one.n_tokens for one in group] == [len(one.tokens) for one in group]
    assert engine.model.config.sliding_window == WINDOW


def test_beyond_its_first_positions_a_model_with_longrope_is_not_sampled(tmp_path):
    factors = {"rope_type": "longrope", "rope_theta": 10_000.0, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    config = Phi3Config(**MODERN, original_max_position_embeddings=40, rope_parameters=factors)
    model = made(AutoModelForCausalLM, config)
    sample(model, TOKENIZER, [Request("q", "ana has 7\n", 1)], 1.0, 36, seed=1)
    with pytest.raises(PqmError, match="max_new_tokens 37 exceed the model's 40 positions"):
        sample(model, TOKENIZER, [Request("q", "ana has 7\n", 1)], 1.0, 37, seed=1)


# ---------------------------------------------------------------- reward models

STEPS = ["monday aunt gives 8 , 4 + 8 = 12", "tuesday bus costs 3 , 12 - 3 = 9 , answer 9"]
QUESTION = "ben has 4 cards . monday aunt gives 8 . tuesday bus costs 3 . how many cards ?"


@pytest.mark.parametrize("name", ["Mistral", "Phi-3", "GPT-2", "GPT-NeoX"])
def test_two_logits_are_read_as_their_difference(name, tmp_path):
    model = made(AutoModelForTokenClassification, CLASSIFIERS[name], num_labels=2)
    scorer = Scorer([saved(model, tmp_path)], "reward", 100)
    encoded = scorer.encode(QUESTION, STEPS)
    logits = plain_logits(model, list(encoded.tokens))[list(encoded.step_ends)]
    assert scorer([(QUESTION, [STEPS])])[0][0] == pytest.approx((logits[:, 1] - logits[:, 0]).tolist(), abs=1e-4)


def test_three_logits_are_refused(tmp_path):
    model = made(AutoModelForTokenClassification, CLASSIFIERS["Llama"], num_labels=3)
    with pytest.raises(PqmError, match="3 logits per step; expected 1, or 2 for wrong and right"):
        Scorer([saved(model, tmp_path)], "reward", 100)


@pytest.mark.parametrize("name", ["Gemma 2", "GPT-2"])
def test_a_backbone_is_trained_and_scores_as_the_checkpoint_alone(name, train_verb, run_cli, out, tmp_path):
    backbone = saved(made(AutoModelForCausalLM, LANGUAGE_MODELS[name]), tmp_path / "backbone")
    code, told = run_cli(*train_verb(backbone=backbone))
    assert code == 0, told
    alone = AutoModelForTokenClassification.from_pretrained(out).eval()
    scorer = Scorer([out], "reward", 100)
    encoded = scorer.encode(QUESTION, STEPS)
    expected = plain_logits(alone, list(encoded.tokens))[list(encoded.step_ends), 0].tolist()
    assert scorer([(QUESTION, [STEPS])])[0][0] == pytest.approx(expected, abs=1e-4)


# ---------------------------------------------------------------- refusals

SMALL = {"vocab_size": len(TOKENIZER), "hidden_size": 32}
# By name: the config, and whether it is refused as a reward model, as a language model to score with, and as a policy.
REFUSED: dict[str, tuple[PreTrainedConfig, str]] = {
    "BERT": (BertConfig(**COMMON, intermediate_size=64), "reward likelihood policy"),
    "Bloom": (BloomConfig(**SMALL, n_layer=2, n_head=4), "reward likelihood policy"),
    "MPT": (MptConfig(vocab_size=len(TOKENIZER), d_model=32, n_heads=4, n_layers=2), "reward likelihood"),
    "Falcon with ALiBi": (
        FalconConfig(**SMALL, num_hidden_layers=2, num_attention_heads=4, alibi=True),
        "reward likelihood policy",
    ),
    "GPT-Neo": (
        GPTNeoConfig(**SMALL, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]]),
        "reward likelihood policy",
    ),
    "T5": (T5Config(vocab_size=len(TOKENIZER), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4), "reward"),
    "Mamba": (MambaConfig(**SMALL, num_hidden_layers=2, state_size=4), "likelihood policy"),
    "RWKV": (RwkvConfig(**SMALL, num_hidden_layers=2), "likelihood policy"),
    "Jamba": (
        JambaConfig(**MODERN, num_experts=2, mamba_d_state=4, mamba_dt_rank=4, use_mamba_kernels=False),
        "likelihood policy",
    ),
    "Llama 4": (Llama4TextConfig(**MODERN, head_dim=8, num_local_experts=2, attention_chunk_size=8), "likelihood policy"),
    "Cohere": (CohereConfig(**MODERN), "likelihood"),  # it scales the logits
}
CASES = [(name, kind) for name, (_, kinds) in REFUSED.items() for kind in kinds.split()]
LOADERS = {
    "reward": (AutoModelForTokenClassification, lambda folder: Scorer([folder], "reward", 100)),
    "likelihood": (AutoModelForCausalLM, lambda folder: Scorer([folder], "likelihood", 100)),
    "policy": (AutoModelForCausalLM, load_policy),
}


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_models_that_cannot_be_read_are_refused_when_they_are_loaded(name, kind, tmp_path):
    auto, load = LOADERS[kind]
    config = REFUSED[name][0]
    folder = saved(made(auto, config, num_labels=1, eos_token_id=1), tmp_path)
    with pytest.raises(PqmError, match=f"^{tmp_path}: a model of type '{config.model_type}' cannot be read here") as refusal:
        load(folder)
    assert "\n" not in str(refusal.value)


def test_without_a_class_in_transformers_a_model_is_refused(tmp_path):
    for config, load, missing in (
        (REFUSED["T5"][0], load_policy, "causal language model of type 't5'"),
        (LANGUAGE_MODELS["OPT"], lambda folder: reward_model(folder, 0), "token classifier of type 'opt'"),
        (POLICIES["Gemma 3 with images"], lambda folder: reward_model(folder, 0), "token classifier of type 'gemma3'"),
        (REFUSED["Mamba"][0], lambda folder: Scorer([folder], "reward", 100), "token classifier of type 'mamba'"),
    ):
        folder = tmp_path / config.model_type
        folder.mkdir()
        config.save_pretrained(folder)
        SolutionFormat().save(folder)
        with pytest.raises(PqmError, match=f"`transformers` has no {missing}"):
            load(folder)


def test_a_backbone_that_is_not_causal_is_refused_before_training(train_verb, refuses, tmp_path):
    backbone = saved(made(AutoModelForCausalLM, REFUSED["BERT"][0]), tmp_path / "bert")
    refuses(*train_verb(backbone=backbone), says=(backbone, "type 'bert' cannot be read here"))


# ---------------------------------------------------------------- precision, and other versions of transformers


@pytest.mark.parametrize("name", ["Llama", "Gemma 2"])
def test_one_dictionary_of_options_for_all_layers_is_read_too(name, monkeypatch):
    model = made(AutoModelForCausalLM, POLICIES[name])
    windows = architecture.layer_windows(model)
    kinds, options = architecture.get_layer_types_and_kwargs(architecture.text_config(model))
    merged = {key: value for one in options for key, value in one.items()}
    monkeypatch.setattr(architecture, "get_layer_types_and_kwargs", lambda config: (kinds, merged))
    assert architecture.layer_windows(model) == windows
    assert (windows.get("sliding_attention") is not None) == (name == "Gemma 2")


def test_half_precision_leaves_the_frequencies_of_positions_and_the_head(tmp_path):
    model = made(AutoModelForTokenClassification, POLICIES["Llama"], num_labels=1)
    plain, half = Scorer([saved(model, tmp_path)], "reward", 100), Scorer([tmp_path], "reward", 100, "bf16")
    buffers = [dict(one.models[0].named_buffers()) for one in (plain, half)]
    assert buffers[0].keys() == buffers[1].keys()
    assert all(torch.equal(buffers[0][key], buffers[1][key]) for key in buffers[0])
    dtypes = {name: weight.dtype for name, weight in half.models[0].named_parameters()}
    assert {dtype for name, dtype in dtypes.items() if "score" not in name} == {torch.bfloat16}
    assert dtypes["score.weight"] == torch.float32
