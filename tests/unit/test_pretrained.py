"""Pretrained models from a simulated hub, and from a GGUF file inside a package."""

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gguf
import pytest
import torch
from huggingface_hub import constants
from small import tiny_llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from pqm.models.reward_model import reward_model
from pqm.problems.tokenizer import word_problem_tokenizer
from pqm.solution_format import SolutionFormat
from pqm.study.reading import load_study

COMMIT, MISSING = "1" * 40, "2" * 40
FORMAT = {"question_template": "Question: {question}\n"}
REFUSALS = {"org/gated": (403, "GatedRepo"), "org/lost": (404, "RepoNotFound"), "org/down": (507, "")}


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's protocol that the download of a pinned commit needs."""

    files: dict[str, Path]

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        repo = next((name for name in REFUSALS if name in path), None)
        if repo:
            self.refuse(*REFUSALS[repo])
        elif MISSING in path:
            self.refuse(404, "RevisionNotFound")
        elif f"/tree/{COMMIT}" in path:
            listed = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": name} for name, file in self.files.items()
            ]
            self.reply(json.dumps(listed).encode(), "application/json")
        elif (name := path.rpartition("/")[2]) in self.files:
            self.reply(self.files[name].read_bytes(), "application/octet-stream")
        else:
            self.refuse(404, "EntryNotFound")

    do_HEAD = do_GET

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def reply(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Content-Type": kind}
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(policy, tmp_path, monkeypatch):
    """A hub with one model, the policy of the tests, under any name, and with one unneeded file."""
    folder = tmp_path / "published"
    folder.mkdir()
    for file in policy.iterdir():
        if file.name != "solution_format.json":
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "training_args.bin").write_text("not needed")
    handler = type("OneModel", (Hub,), {"files": {file.name: file for file in folder.iterdir()}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield handler
    server.shutdown()


def hub_model(repo="org/model", revision=COMMIT):
    return {"hub": {"repo": repo, "revision": revision}, "format": FORMAT}


def test_a_policy_from_the_hub_is_a_plain_folder(hub, policy, settings, run_cli, tmp_path):
    code, told = run_cli("policies", "policy", settings("policies", **hub_model()), "--output", tmp_path / "out")
    assert code == 0, told
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in policy.iterdir()}
    assert (tmp_path / "out/model.safetensors").read_bytes() == (policy / "model.safetensors").read_bytes()
    assert SolutionFormat.load(tmp_path / "out") == SolutionFormat(**FORMAT)


def test_a_model_in_the_cache_needs_no_hub(hub, settings, run_cli, tmp_path, monkeypatch):
    config = settings("policies", **hub_model())
    assert run_cli("policies", "policy", config, "--output", tmp_path / "first")[0] == 0
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert run_cli("policies", "policy", config, "--output", tmp_path / "second")[0] == 0


def test_without_the_hub_and_a_copy_the_message_explains_what_to_do(settings, run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    code, told = run_cli("policies", "policy", settings("policies", **hub_model()), "--output", tmp_path / "out")
    words = "cannot be reached", f"hf download org/model --repo-type model --revision {COMMIT}", str(tmp_path / "cache")
    assert code == 1 and all(word in told for word in words), told


def test_weights_in_the_old_form_become_safetensors(hub, policy, settings, run_cli, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(policy)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    del hub.files["model.safetensors"]
    hub.files["pytorch_model.bin"] = tmp_path / "pytorch_model.bin"
    assert run_cli("policies", "policy", settings("policies", **hub_model()), "--output", tmp_path / "out")[0] == 0
    assert not list((tmp_path / "out").glob("*.bin"))
    for name, weight in AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict().items():
        assert torch.equal(weight, model.state_dict()[name])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (hub_model("org/gated"), ("org/gated", "hf auth login")),
        (hub_model("org/lost"), ("org/lost", "no such model")),
        (hub_model(revision=MISSING), (MISSING, "does not exist; expected a commit")),
        (hub_model("org/down"), ("org/down", "507")),
        (hub_model("not a name"), ("not a name",)),
        (hub_model(revision="main"), ("revision", "main")),
        ({"hub": hub_model()["hub"]}, ("format is required",)),
        (hub_model() | {"gguf": {"package": "one", "file": "two"}}, ("exactly one", "hub and gguf")),
        ({"gguf": {"package": "no_such_package", "file": "a.gguf"}, "format": FORMAT}, ("no_such_package", "not installed")),
        ({"gguf": {"package": "gguf", "file": "a.gguf"}, "format": FORMAT}, ("has no file 'a.gguf'",)),
        (hub_model() | {"format": {"separator": "\n"}}, ("unknown key", "step_separator")),
        ({"pick": {"pretraining": "language-model"}}, ("language-model", "--pretraining")),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_loaded_is_reported_in_one_sentence(hub, settings, run_cli, tmp_path, model, words):
    code, told = run_cli("policies", "policy", settings("policies", **model), "--output", tmp_path / "out/policy")
    assert code == 1
    assert all(word in told for word in words), told
    assert not list((tmp_path / "out").glob("*"))


def edit_tokenizer(hub, **changes):
    path = hub.files["tokenizer_config.json"]
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_without_a_padding_token_the_end_token_is_used(hub, settings, run_cli, tmp_path):
    edit_tokenizer(hub, pad_token=None)
    code, told = run_cli("policies", "policy", settings("policies", **hub_model()), "--output", tmp_path / "out")
    assert code == 0 and "no padding token" in told
    assert AutoTokenizer.from_pretrained(tmp_path / "out").pad_token == word_problem_tokenizer().eos_token


def test_without_an_end_token_a_policy_is_refused(hub, settings, run_cli, tmp_path):
    edit_tokenizer(hub, eos_token=None)
    code, told = run_cli("policies", "policy", settings("policies", **hub_model()), "--output", tmp_path / "out")
    assert code == 1 and "no end token" in told


# ---------------------------------------------------------------- step tokens


def backbone(step_token, **more):
    return hub_model() | {"format": FORMAT | {"step_token": step_token}} | more


@pytest.mark.parametrize("token", ["has how", "<step>"], ids=["split", "unknown"])
def test_a_step_token_that_is_no_single_token_is_refused(hub, settings, run_cli, tmp_path, token):
    config = settings("backbones", **backbone(token))
    code, told = run_cli("policies", "backbone", config, "--output", tmp_path / "out")
    assert code == 1 and repr(token) in told and "add_step_token: true" in told


def test_a_step_token_that_is_known_is_not_added(hub, settings, run_cli, tmp_path):
    code, told = run_cli(
        "policies", "backbone", settings("backbones", **backbone("=", add_step_token=True)), "--output", tmp_path / "out"
    )
    assert code == 1 and "remove add_step_token" in told


def test_an_added_step_token_starts_as_the_mean_of_all(hub, policy, settings, run_cli, tmp_path):
    config = settings("backbones", **backbone("<step>", add_step_token=True))
    assert run_cli("policies", "backbone", config, "--output", tmp_path / "out")[0] == 0
    assert not (tmp_path / "out/step-classifier").exists()
    before, after = (AutoModelForCausalLM.from_pretrained(folder) for folder in (policy, tmp_path / "out/model"))
    for layer in ("get_input_embeddings", "get_output_embeddings"):
        old, new = getattr(before, layer)().weight, getattr(after, layer)().weight
        assert torch.equal(new[:-1], old)
        assert torch.allclose(new[-1], old.mean(dim=0))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out/model")
    assert tokenizer("<step>", add_special_tokens=False)["input_ids"] == [len(tokenizer) - 1]
    assert reward_model(tmp_path / "out/model", seed=0)[0].config.vocab_size == len(tokenizer)


# ---------------------------------------------------------------- GGUF


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package with a small Llama as GGUF, the model, and its tokenizer (of bytes and two spaces)."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<|endoftext|>", *letters, "ĠĠ"]
    byte_level = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, [("Ġ", "Ġ")]))
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte_level.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level, eos_token=words[0], pad_token=words[0])
    model = tiny_llama(tokenizer, positions=64, spread=0.1)
    folder = tmp_path / "packages/tiny_gguf"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('a package that carries a file is not imported')\n")
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "llama")
    shape = model.config
    writer.add_block_count(shape.num_hidden_layers)
    writer.add_context_length(shape.max_position_embeddings)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.num_attention_heads)
    writer.add_head_count_kv(shape.num_key_value_heads)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_token_types([3] + [1] * (len(words) - 1))
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(0)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, shape.num_hidden_layers)
    for name, weight in model.state_dict().items():
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), permuted(name, weight, shape).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    monkeypatch.syspath_prepend(tmp_path / "packages")
    return model, tokenizer


def permuted(name, weight, shape):
    """Queries and keys in the order of GGUF, with the halves of each rotated pair next to each other."""
    heads = {"q_proj": shape.num_attention_heads, "k_proj": shape.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return weight
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns).contiguous()


def test_a_gguf_file_inside_a_package_becomes_a_plain_folder(package, settings, run_cli, tmp_path):
    model, tokenizer = package
    config = settings("backbones", gguf={"package": "tiny_gguf", "file": "tiny.gguf"}, format=FORMAT)
    code, told = run_cli("policies", "backbone", config, "--output", tmp_path / "out")
    assert code == 0, told
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out/model").eval()
    text = "Tom has 12 coins.\nHow many?"
    tokens = AutoTokenizer.from_pretrained(tmp_path / "out/model")(text, return_tensors="pt")["input_ids"]
    assert tokens.tolist() == [tokenizer(text)["input_ids"]]
    with torch.inference_mode():
        assert torch.allclose(loaded(tokens).logits, model(tokens).logits, atol=1e-5)
    assert "tiny_gguf" not in sys.modules


def test_settings_name_the_origin_of_a_model(settings):
    study, item = settings("policies", **hub_model())
    assert load_study(study).policies[item].format == SolutionFormat(**FORMAT)
