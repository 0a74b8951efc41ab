"""Convert checkpoints of the paper's authors: a causal language model with a value head becomes a token classifier.

Their checkpoint is one state dict: the language model under `pretrained_model.`, and a `Linear(d, 1)` with bias on its last
hidden state, `v_head.summary`. Source: `value_model.py`, `bon_eval_hf.py` and `train_main.py` of their public repository.
"""

import json
import pickle
from functools import reduce
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer, PreTrainedConfig, PreTrainedModel

from pqm.errors import PqmError
from pqm.io import formats
from pqm.models.architecture import expect_class
from pqm.models.reward_model import save_reward_model
from pqm.models.step_head import head_name
from pqm.solution_format import SolutionFormat

STEP_TOKEN = "[PRM]"
# The authors trained with the first template and evaluated with the second, so their numbers need the second.
TEMPLATES = {
    "training": "[INST] {question} [/INST]\n",
    "evaluation": "Below is an instruction that describes a task.\nWrite a response that appropriately completes the request.\n\n"
    "### Instruction:\n{question}\n\n### Response: Let's think step by step\n",
}
_BODY, _HEAD = "pretrained_model.", "v_head.summary."
_LANGUAGE_HEADS = ("lm_head.weight", "lm_head.bias", "embed_out.weight")


def convert(weights: Path, backbone: Path, template: str, output: Path) -> None:
    """Convert a checkpoint to the reward model folder `output`. Its scores stay the same; the head's bias is kept.

    Args:
        weights: a safetensors or torch file, or a folder with such a file or with shards and their index.
        backbone: `transformers` folder of the authors' backbone, for its config and tokenizer; the step token is added.
        template: a name in `TEMPLATES`.

    Raises:
        PqmError: a file is missing or malformed, or the weights do not fit the backbone.
    """
    if template not in TEMPLATES:
        raise PqmError(f"--template {template}: expected one of {', '.join(TEMPLATES)}")
    theirs = {name: tensor for name, tensor in read_weights(weights).items() if not name.endswith(_LANGUAGE_HEADS)}
    if _HEAD + "weight" not in theirs:
        raise PqmError(
            f"{weights}: the weights {_HEAD + 'weight'!r} are missing; expected the authors' layout, a model with a value head"
        )
    if not (backbone / "config.json").is_file():
        raise PqmError(f"{backbone}: no config.json; expected the `transformers` folder of the authors' backbone")
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    tokenizer.add_tokens([STEP_TOKEN], special_tokens=True)
    config = AutoConfig.from_pretrained(backbone, num_labels=1)
    expect_class(AutoModelForTokenClassification, config, backbone)
    config.token_classification_bias, config.classifier_dropout = _HEAD + "bias" in theirs, 0.0
    empty = _without_weights(config)
    ours = f"{head_name(empty)}."
    state = {name.removeprefix(_BODY).replace(_HEAD, ours): tensor for name, tensor in theirs.items()}
    embedding = next(name for name, module in empty.named_modules() if module is empty.get_input_embeddings()) + ".weight"
    config.vocab_size = state[embedding].shape[0] if embedding in state else config.vocab_size
    if config.vocab_size < len(tokenizer):
        raise PqmError(
            f"{weights}: {config.vocab_size} token embeddings, but {len(tokenizer)} tokens in the tokenizer of {backbone} with"
            f" {STEP_TOKEN}"
        )
    config.dtype = reduce(torch.promote_types, {tensor.dtype for tensor in state.values()})
    model = _without_weights(config)
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    for name in sorted({*wanted, *state}):
        there, expected = state[name].shape if name in state else None, wanted.get(name)
        if there != expected:
            raise PqmError(f"{weights}: {name}: shape {_shape(there)}; expected {_shape(expected)} for a model like {backbone}")
    model.load_state_dict({name: tensor.to(config.dtype) for name, tensor in state.items()}, assign=True)
    solution_format = SolutionFormat(question_template=TEMPLATES[template], step_separator="\n", step_token=STEP_TOKEN)
    with formats.whole_folder(output) as part:
        save_reward_model(model, tokenizer, solution_format, part)


def _without_weights(config: PreTrainedConfig) -> PreTrainedModel:
    with torch.device("meta"):
        return AutoModelForTokenClassification.from_config(config)


def _shape(shape: torch.Size | None) -> str:
    return "none" if shape is None else str(tuple(shape))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a file, or of a folder's file or shards.

    Raises:
        PqmError: a file is missing or incomplete, or a torch file contains more than tensors.
    """
    state: dict[str, Tensor] = {}
    for file in _weight_files(path):
        try:
            state |= load_file(file) if file.suffix == ".safetensors" else torch.load(file, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise PqmError(f"{file}: missing; expected a checkpoint's weights") from None
        except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise PqmError(f"{file}: not a state dict of tensors, or truncated while it was written ({reason})") from None
    return state


def _weight_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = path / f"{name}.index.json"
        if index.is_file():
            try:
                return [path / shard for shard in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
            except (ValueError, KeyError, TypeError, AttributeError):
                raise PqmError(f"{index}: not an index of shards; expected JSON with `weight_map`") from None
        if (path / name).is_file():
            return [path / name]
    raise PqmError(f"{path}: neither model.safetensors nor pytorch_model.bin; expected one of them, or its shards with an index")
