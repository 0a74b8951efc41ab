"""Data sets of the hub, simulated by a local server."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from huggingface_hub import constants
from published_rows import PRM800K

from pqm.errors import PqmError
from pqm.labels.published import published_labels
from pqm.questions.generate import make_questions
from pqm.study.labels import PublishedLabelsConfig
from pqm.study.questions import QuestionsConfig
from pqm.study.reading import load_study
from pqm.study.sources import HubSource

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Answers = dict[str, tuple[int, dict[str, str], bytes]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A local server that simulates the hub, and an empty cache.

    `publish` sets the files of a data set; `refuse` lets requests of a path fail with an error of the hub.
    """
    answers: Answers = {}
    refused: dict[str, tuple[int, str]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            path = self.path.split("?")[0]
            failure = next((failure for start, failure in reversed(refused.items()) if path.startswith(start)), None)
            if failure is None and path not in answers:
                known = any(other.startswith("/".join(path.split("/")[:5])) for other in answers)
                failure = (404, "EntryNotFound" if known else "RepoNotFound")
            status, headers, body = (failure[0], {"X-Error-Code": failure[1]}, b"{}") if failure else answers[path]
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)  # between tries to reach the server
    monkeypatch.delenv("HF_TOKEN", raising=False)

    def publish(dataset: str, files: dict[str, bytes]) -> None:
        tree = [{"type": "file", "path": name, "size": len(body), "oid": f"{len(body):040x}"} for name, body in files.items()]
        answers[f"/api/datasets/{dataset}/tree/{COMMIT}"] = (200, {"Content-Type": "application/json"}, json.dumps(tree).encode())
        for name, body in files.items():
            headers = {"ETag": f'"{len(body):040x}"', "X-Repo-Commit": COMMIT}
            answers[f"/datasets/{dataset}/resolve/{COMMIT}/{name}"] = (200, headers, body)

    def close() -> None:
        if thread.is_alive():
            server.shutdown()
            server.server_close()
            thread.join()

    yield SimpleNamespace(publish=publish, refuse=lambda start, *failure: refused.update({start: failure}), close=close)
    close()


def hub_source(**more: Any) -> HubSource[str]:
    return HubSource[str](
        **{"kind": "hub", "format": "gsm8k", "dataset": "someone/gsm8k", "revision": COMMIT, "split": "test", **more}
    )


def hub_questions(**more: Any) -> pd.DataFrame:
    source = hub_source(**more)
    return make_questions(QuestionsConfig.model_construct(source=source, disjoint_from=()), "gsm8k", {}, Path("."))


GSM8K = [{"question": f"{n} + 1?", "answer": f"{n} + 1 = <<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"} for n in range(3)]
CARD = b"---\nconfigs:\n- config_name: main\n  data_files:\n  - {split: test, path: main.jsonl}\n- config_name: other\n  data_files: other.jsonl\n---\n"


def published_gsm8k(hub: SimpleNamespace) -> None:
    text = "".join(json.dumps(row) + "\n" for row in GSM8K).encode()
    hub.publish("someone/gsm8k", {"README.md": CARD, "main.jsonl": text, "other.jsonl": text[: len(text) // 3]})


def test_hub_questions_are_read_and_read_again_without_the_hub(hub):
    published_gsm8k(hub)
    table = hub_questions(name="main")
    assert table["question"].tolist() == [row["question"] for row in GSM8K]
    assert table["answer"].tolist() == ["1", "2", "3"] and list(table["solution"][0]) == ["0 + 1 = 1"]
    hub.close()
    pd.testing.assert_frame_equal(hub_questions(name="main"), table)


def test_hub_file_is_read(hub):
    published_gsm8k(hub)
    assert hub_questions(split=None, file="main.jsonl")["answer"].tolist() == ["1", "2", "3"]


def test_nested_rows_survive_the_hub(hub, capsys):
    hub.publish("someone/prm800k", {"train.jsonl": "".join(json.dumps(row) + "\n" for row in PRM800K).encode()})
    source = hub_source(dataset="someone/prm800k", split="train", format="prm800k")
    table = published_labels(PublishedLabelsConfig.model_construct(source=source, share=(0.0, 1.0), counts=None), Path("."))
    assert len(table) == 4 and "hub dataset someone/prm800k, split train: 4 rows" in capsys.readouterr().err


def failure(hub: SimpleNamespace, **more: Any) -> str:
    with pytest.raises(PqmError) as error:
        hub_questions(**more)
    message = str(error.value)
    assert "\n" not in message and "someone/" in message
    return message


@pytest.mark.parametrize("more", [{}, {"split": None, "file": "main.jsonl"}], ids=["split", "file"])
def test_hub_errors_are_reported_in_one_sentence(hub, more):
    published_gsm8k(hub)
    assert "no such dataset, or it is private" in failure(hub, dataset="someone/nothing", **more)
    hub.refuse("/datasets/someone/gsm8k/resolve", 401, "GatedRepo")  # the hub lists gated files, but does not send them
    assert re.search("gated; accept the terms.*hf auth login", failure(hub, **(more or {"name": "main"})))
    for path in ("/api/datasets/someone/gsm8k", "/datasets/someone/gsm8k"):
        hub.refuse(path, 404, "RevisionNotFound")
    other = "f" * 40
    assert f"revision {other} does not exist" in failure(hub, revision=other, **more)


def test_missing_hub_file_is_reported(hub):
    published_gsm8k(hub)
    assert "file nothing.jsonl" in failure(hub, split=None, file="nothing.jsonl")


@pytest.mark.parametrize(
    ("more", "words"),
    [({"name": "main", "split": "dev"}, "Available splits: ['test']"), ({"name": "nothing"}, "Available: ['main', 'other']")],
    ids=["split", "configuration"],
)
def test_missing_split_or_configuration_is_reported_with_the_existing_ones(hub, more, words):
    published_gsm8k(hub)
    assert words in failure(hub, **more)


@pytest.mark.parametrize("way", ["unreachable", "offline"])
@pytest.mark.parametrize("more", [{}, {"split": None, "file": "main.jsonl"}], ids=["split", "file"])
def test_message_without_the_hub_names_what_to_download_and_where_to_put_it(hub, way, more, monkeypatch, tmp_path):
    hub.close()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", way == "offline")
    message = failure(hub, **more)
    file = " main.jsonl" if more else ""
    assert f"hf download someone/gsm8k{file} --repo-type dataset --revision {COMMIT}" in message
    assert str(tmp_path / "cache") in message


def test_offline_by_the_environment_ends_in_one_sentence(tmp_path, settings):
    """The command in a separate process, with the environment variable that users set."""
    source = {"kind": "hub", "format": "gsm8k", "dataset": "someone/gsm8k", "revision": COMMIT, "split": "test"}
    config = settings("questions", source=source)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "pqm.cli", "questions", *map(str, config), "--output", str(tmp_path / "out.parquet")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and not (tmp_path / "out.parquet").exists()
    assert re.fullmatch(r"pqm: hub dataset someone/gsm8k: not in the hub's cache.*hf download.*home/hub.*\n", done.stderr)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"revision": "main"}, "expected a commit, 40 hexadecimal digits"),
        ({"split": None}, "either split or file"),
        ({"file": "a.jsonl"}, "either split or file"),
        ({"split": None, "file": "a.jsonl", "name": "main"}, "remove it if you give file"),
    ],
)
def test_hub_source_that_is_not_pinned_or_has_too_many_keys(change, words, settings):
    source = {"kind": "hub", "format": "gsm8k", "dataset": "someone/gsm8k", "revision": COMMIT, "split": "test"} | change
    with pytest.raises(PqmError, match=words):
        load_study(settings("questions", source=source)[0])
