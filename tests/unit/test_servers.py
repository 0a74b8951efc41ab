"""Sampling from a server: requests, samples, and all kinds of failures."""

import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import tenacity.nap

from pqm.errors import PqmError
from pqm.evaluate.metrics import reference_metrics
from pqm.io import formats
from pqm.models.policy import load_policy
from pqm.models.sampling.engine import Request
from pqm.models.server import serve
from pqm.policies.models import write_policy
from pqm.solution_format import SolutionFormat
from pqm.study.evaluation import EvaluationConfig
from pqm.study.layout import Layout
from pqm.study.models import PolicyConfig, ServerConfig
from pqm.study.reading import load_study

ROLLOUTS = {"samples": 3, "temperature": 0.5, "max_new_tokens": 20, "questions_per_batch": 2, "seed": 1}


def completion(text: str, tokens: int = 5, finish_reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "finish_reason": finish_reason} | more
    return {"choices": [choice], "usage": {"completion_tokens": tokens}}


class Server:
    """A server with responses set by a test: `answer` maps the body of a request to status, headers and content."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        self.models = {"data": [{"id": "m", "owned_by": "test"}]}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                known = {"/v1/models": owner.models, "/version": {"version": "1.2"}}
                self.reply(200 if self.path in known else 404, {}, known.get(self.path, {}))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with owner.lock:
                    owner.asked.append(body)
                    owner.in_flight += 1
                    owner.most_in_flight = max(owner.in_flight, owner.most_in_flight)
                try:
                    answer = owner.answer(body)
                finally:
                    with owner.lock:
                        owner.in_flight -= 1
                self.reply(*answer)

            def reply(self, status: int, headers: dict[str, str], content: Any) -> None:
                text = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(text))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)
                self.close_connection = "Content-Length" in headers

            def log_message(self, *arguments: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        return 200, {}, completion(f"step {body['seed']}\nanswer 1\n")


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds between attempts; tests do not wait for them."""
    waited: list[float] = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=waited.append))
    return waited


@pytest.fixture
def policy(server: Server, tmp_path: Path) -> Path:
    write_policy(
        PolicyConfig(server=ServerConfig(url=server.url, model="m", attempts=3, concurrency=4), format=SolutionFormat()),
        None,
        tmp_path / "served",
    )
    return tmp_path / "served"


@pytest.fixture
def sample(policy, tables, settings, tmp_path, run_cli):
    def run(**changes: Any) -> tuple[int, str, Path]:
        output = tmp_path / "rollouts.parquet"
        config = settings("rollouts", **ROLLOUTS | changes)
        options = ("--output", output, "--policy", policy, "--questions", tables.questions, "--cache", tmp_path / "cache")
        return *run_cli("rollouts", "sample", config, *options), output

    return run


def test_samples_become_rollouts(server, sample, tables):
    code, _, output = sample()
    assert code == 0
    rollouts, questions = formats.read(output, formats.ROLLOUTS), formats.read(tables.questions, formats.QUESTIONS)
    assert len(rollouts) == 3 * len(questions)
    assert rollouts["text"].str.match(r"step \d+\nanswer 1\n").all() and rollouts["text"].is_unique
    assert (rollouts["steps"].map(len) == 2).all() and (rollouts["n_tokens"] == 5).all()
    assert rollouts["log_likelihood"].isna().all()
    assert set(rollouts["engine"]) == {"openai protocol, m by test 1.2"}
    asked = {key: server.asked[0][key] for key in ("model", "n", "temperature", "top_p", "max_tokens")}
    assert asked == {"model": "m", "n": 1, "temperature": 0.5, "top_p": 1.0, "max_tokens": 20}
    assert {one["prompt"] for one in server.asked} == set(questions["question"] + "\n")


def test_a_sample_depends_on_name_number_and_seed_alone(server, policy):
    engine, _ = load_policy(policy)
    requests = [Request(name, f"prompt {name}", 3) for name in "abc"]

    def texts(requests: list[Request], seed: int = 1) -> list[list[str]]:
        return [[one.text for one in group] for group in engine.sample(requests, 1.0, 8, seed)]

    whole = texts(requests)
    assert texts(requests[::-1])[::-1] == whole
    assert texts([Request("b", "prompt b", 1, skip=2)]) == [whole[1][2:]]
    others = texts(requests, seed=2)
    assert len({text for group in whole + others for text in group}) == 18


def test_no_more_requests_at_once_than_allowed(server, policy):
    four = threading.Barrier(4, timeout=60)
    server.answer = lambda body: (200, {}, completion(str(four.wait())))
    load_policy(policy)[0].sample([Request("a", "prompt", 24)], 1.0, 8, 1)
    assert server.most_in_flight == 4


def test_truncated_samples_are_kept_and_recorded_as_such(server, sample, capsys):
    server.answer = lambda body: (200, {}, completion("step", tokens=20 if body["seed"] % 2 else 7, finish_reason="length"))
    code, error, output = sample(questions_per_batch=100)
    assert code == 0
    rollouts = formats.read(output, formats.ROLLOUTS)
    assert set(rollouts["finish_reason"]) == {"length"}
    short = int((rollouts["n_tokens"] == 7).sum())
    assert 0 < short < len(rollouts)
    assert f"truncated {short} samples before 20 tokens" in error


def test_log_probabilities_are_summed(server, policy):
    write_policy(
        PolicyConfig(server=ServerConfig(url=server.url, model="m", logprobs=True, body={"top_k": 0}), format=SolutionFormat()),
        None,
        policy,
    )
    server.answer = lambda body: (200, {}, completion("x", logprobs={"token_logprobs": [-0.5, -1.25]}))
    [[one]] = load_policy(policy)[0].sample([Request("a", "prompt", 1)], 1.0, 8, 1)
    assert one.log_likelihood == -1.75
    assert server.asked[0]["logprobs"] == 1 and server.asked[0]["top_k"] == 0
    server.answer = lambda body: (200, {}, completion("x", logprobs=None))
    [[one]] = load_policy(policy)[0].sample([Request("a", "prompt", 1)], 1.0, 8, 1)
    assert math.isnan(one.log_likelihood)


def test_a_busy_server_is_asked_again_after_the_time_in_its_header(server, policy, waits):
    busy = iter([(429, {"Retry-After": "7"}, {"error": {"message": "slow down"}}), (503, {}, {})])
    server.answer = lambda body: next(busy, (200, {}, completion("at last")))
    [[one]] = load_policy(policy)[0].sample([Request("a", "prompt", 1)], 1.0, 8, 1)
    assert one.text == "at last"
    assert waits[0] == 7.0 and 0 <= waits[1] <= 2.0 and len(waits) == 2
    assert len({asked["seed"] for asked in server.asked}) == 1


CUT = (200, {"Content-Length": "500"}, b'{"choices": [')
FAILURES = {
    "busy": (
        (429, {"Retry-After": "2"}, {"error": {"message": "slow down"}}),
        "the server responded with 429 (slow down); gave up after 3",
    ),
    "broken": ((500, {}, {"detail": "out of memory"}), "the server responded with 500 (out of memory); gave up after 3 attempts"),
    "cut": (CUT, "the response was interrupted"),
    "not JSON": ((200, {}, b"<html>proxy</html>"), "the response is not JSON: '<html>proxy</html>'; gave up after 3 attempts"),
    "no choice": ((200, {}, {"choices": [], "usage": {"completion_tokens": 0}}), "the server returned 0 choices; expected 1"),
    "another shape": ((200, {}, {"choices": [{"text": 3}]}), "the response does not follow the protocol (choices.0.text"),
    "aborted": (
        (200, {}, completion("x", finish_reason="abort")),
        "finish_reason: expected stop, eos, eos_token, length, max_tokens or null, found 'abort'",
    ),
    "error with 200": (
        (200, {}, {"error": {"message": "the model is overloaded", "code": 503}}),
        "the server responded with 200 (the model is overloaded); gave up after 3 attempts",
    ),
    "error without its key": (
        (200, {}, {"object": "error", "message": "out of memory"}),
        "the server responded with 200 (out of memory); gave up after 3 attempts",
    ),
    "words with 200": ((200, {}, {"error": "no slot"}), "the server responded with 200 (no slot); gave up after 3 attempts"),
    "error in a choice": (
        (200, {}, {"choices": [{"text": "", "finish_reason": "error", "error": {"message": "upstream failed"}}]}),
        "the server responded with 200 (upstream failed); gave up after 3 attempts",
    ),
    "too long": ((400, {}, {"error": {"message": "context length is 8"}}), "the server responded with 400 (context length is 8)"),
    "gone": ((404, {}, {"object": "error", "message": "no such model"}), "the server responded with 404 (no such model)"),
}


@pytest.mark.parametrize(("answer", "sentence"), FAILURES.values(), ids=FAILURES)
def test_failures_end_in_one_sentence_and_keep_finished_shards(server, sample, waits, tables, answer, sentence):
    first_two = set(formats.read(tables.questions, formats.QUESTIONS)["question"].head(2) + "\n")
    good = server.answer
    server.answer = lambda body: good(body) if body["prompt"] in first_two else answer
    code, error, output = sample()
    assert code == 1 and not output.exists()
    assert error.startswith("pqm: ") and error.count("\n") == 1
    assert sentence in error and "sample " in error and server.url in error
    server.answer = good
    server.asked.clear()
    assert sample()[0] == 0
    assert {one["prompt"] for one in server.asked}.isdisjoint(first_two)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("stop", "stop"), ("EOS", "stop"), ("eos_token", "stop"), (None, "stop"), ("Length", "length"), ("max_tokens", "length")],
)
def test_any_servers_finish_reasons_are_read(server, policy, name, reason):
    server.answer = lambda body: (200, {}, completion("x", finish_reason=name) | {"error": None})
    [[one]] = load_policy(policy)[0].sample([Request("a", "prompt", 1)], 1.0, 8, 1)
    assert one.finish_reason == reason


def test_half_a_character_is_replaced(server, policy):
    server.answer = lambda body: (
        200,
        {},
        b'{"choices": [{"text": "\\ud83d\\ude00 \\ud83d"}], "usage": {"completion_tokens": 1}}',
    )
    [[one]] = load_policy(policy)[0].sample([Request("a", "prompt", 1)], 1.0, 8, 1)
    assert one.text == "\N{GRINNING FACE} \N{REPLACEMENT CHARACTER}"


def test_an_error_with_status_200_is_asked_again(server, policy, waits):
    failures = iter([(200, {}, {"error": {"message": "busy"}}), (200, {}, {"detail": "busy"})])
    server.answer = lambda body: next(failures, (200, {}, completion("at last")))
    [[one]] = load_policy(policy)[0].sample([Request("a", "prompt", 1)], 1.0, 8, 1)
    assert one.text == "at last" and len(waits) == 2


def test_a_prompt_with_a_lone_surrogate_is_not_sent(server, policy):
    with pytest.raises(PqmError, match="lone surrogate"):
        load_policy(policy)[0].sample([Request("a", "prompt \ud83d", 1)], 1.0, 8, 1)
    assert not server.asked


def test_a_server_that_is_not_there(policy, server, sample, waits):
    server.http.shutdown()
    server.http.server_close()
    code, error, _ = sample()
    assert code == 1 and "the server cannot be reached" in error and "gave up after 3 attempts" in error


def test_a_model_that_the_server_has_not(server, sample):
    server.models = {"data": [{"id": "one"}, {"id": "two"}]}
    code, error, _ = sample()
    assert code == 1 and "has no model 'm'; it has one, two" in error


# ---------------------------------------------------------------- starting


def test_the_verb_becomes_the_server(tmp_path):
    code = "import http.server, json, sys; H = type('H', (http.server.BaseHTTPRequestHandler,), {'do_GET': lambda s: (s.send_response(200), s.end_headers(), s.wfile.write(b'{\"data\": [{\"id\": \"m\"}]}'))}); http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever()"  # fmt: skip
    (tmp_path / "server.py").write_text(code)
    command = f"{sys.executable} {tmp_path / 'server.py'} {{port}}"
    write_policy(
        PolicyConfig(server=ServerConfig(command=command, model="m", start_timeout=20.0), format=SolutionFormat()),
        None,
        tmp_path / "served",
    )
    running = tmp_path / "running.json"
    with pytest.raises(PqmError, match="its server must be started; run `pqm policies serve"):
        load_policy(tmp_path / "served")
    verb = [sys.executable, "-m", "pqm.cli", "policies", "serve", str(tmp_path / "served"), "--output", str(running)]
    process = subprocess.Popen(verb, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        while not running.exists():
            assert process.poll() is None
            time.sleep(0.02)
        assert json.loads(running.read_text())["pid"] == process.pid
        engine, _ = load_policy(tmp_path / "served", server=running)
        assert engine.name == "openai protocol, m by unknown"
    finally:
        process.kill()
        process.wait()
    with pytest.raises(PqmError, match="the server has stopped; see its log"):
        load_policy(tmp_path / "served", server=running)


def test_a_command_that_cannot_be_run(tmp_path):
    write_policy(
        PolicyConfig(server=ServerConfig(command="no-such-server {port}", model="m"), format=SolutionFormat()),
        None,
        tmp_path / "served",
    )
    with pytest.raises(PqmError, match=r"command 'no-such-server' cannot be run \(No such file"):
        serve(tmp_path / "served", tmp_path / "running.json", end_with_parent=False)
    assert not (tmp_path / "running.json").exists()


# ---------------------------------------------------------------- settings

FORM = {"question_template": "{question}\n", "step_separator": "\n", "step_token": "\n"}
PICK = {"pretraining": "p"}
MISTAKES = {
    "nothing": ({}, "give exactly one of pick"),
    "both": ({"pick": PICK, "server": {"url": "http://x/v1", "model": "m"}, "format": FORM}, "give exactly one of pick"),
    "no format": (
        {"server": {"url": "http://x/v1", "model": "m"}},
        "format is required for every model except a picked snapshot",
    ),
    "two places": ({"server": {"url": "u", "command": "c {port}", "model": "m"}, "format": FORM}, "give either url"),
    "no port": ({"server": {"command": "serve", "model": "m"}, "format": FORM}, "command must contain {port}"),
    "study's own": ({"server": {"url": "u", "model": "m", "body": {"top_p": 0.9}}, "format": FORM}, "top_p is set by the study"),
}


@pytest.mark.parametrize(("content", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_mistaken_policies(settings, content, sentence):
    path, _ = settings("policies", **content)
    with pytest.raises(PqmError, match=re.escape(sentence)) as refusal:
        load_study(path)
    assert re.match(rf"{re.escape(str(path))}: line \d+: policies\.tiny", str(refusal.value))


# ---------------------------------------------------------------- without likelihoods


def test_the_policys_likelihood_is_no_reference_where_it_is_unknown(tables, tmp_path, capsys):
    config = EvaluationConfig(
        policies=("tiny",), benchmarks=("test",), validation="test", audit="test", reference_backbone="b", n=(1, 2),
        vote_subsets=200, batch_tokens=64, seed=0,
    )  # fmt: skip
    layout = Layout(str(tmp_path), str(tmp_path))
    rollouts = formats.read(tables.rollouts, formats.ROLLOUTS)
    formats.write(formats.read(tables.grades, formats.GRADES), formats.GRADES, Path(layout.grades("tiny", "test")))
    for kind in ("likelihood", "step-classifier"):
        scores = Path(layout.scores(f"references/{kind}", "tiny", "test"))
        formats.write(formats.read(tables.scores, formats.SCORES), formats.SCORES, scores)

    def methods(frame: pd.DataFrame) -> set[str]:
        formats.write(frame, formats.ROLLOUTS, Path(layout.rollouts("tiny", "test")))
        return set(reference_metrics(config, layout)["method"])

    known = methods(rollouts)
    assert "policy-likelihood" in known and "skipped" not in capsys.readouterr().err
    rollouts.loc[0, "log_likelihood"] = float("nan")
    assert methods(rollouts) == known - {"policy-likelihood"}
    assert "tiny, test: samples without log_likelihood; the reference policy-likelihood is skipped" in capsys.readouterr().err
