"""A policy's server is started only for the jobs that sample from it, and is stopped after them."""

import os
import re
import sys

import pandas as pd
import pytest

from .conftest import STUDY, Project, copy_project

# A minimal server with the protocol. It writes its process id, and its answers contain the seed of the request.
SERVER = """
import http.server, json, os, pathlib, sys

pathlib.Path("server.pid").write_text(str(os.getpid()))

class Handler(http.server.BaseHTTPRequestHandler):
    def reply(self, content):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def do_GET(self):
        self.reply({"data": [{"id": "m"}]})

    def do_POST(self):
        seed = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["seed"]
        choice = {"text": f"seed {seed}\\nanswer {seed % 10}", "finish_reason": "stop"}
        self.reply({"choices": [choice], "usage": {"completion_tokens": 2}})

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
POLICY = f"""
  served:
    server: {{command: "{sys.executable} server.py {{port}}", model: m}}
    format: {{question_template: "{{question}}\\n", step_separator: "\\n", step_token: "\\n"}}
"""
MADE = ["data/tiny/rollouts/served/test.parquet", "data/tiny/rollouts/served/validation.parquet"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    one = copy_project(tmp_path_factory.mktemp("service") / "pqm")
    (one.folder / "server.py").write_text(SERVER)
    one.change(STUDY, ("\npolicies:\n", f"\npolicies:{POLICY}"))
    return one


def test_only_what_samples_from_it_waits_for_a_server(project: Project) -> None:
    assert "rule rollouts_server:" in project.run("snakemake", "-n", *MADE)
    assert not re.search("rule (rollouts|labels)_server:", project.run("snakemake", "-n", "all"))


def test_a_server_serves_its_jobs_and_stops(project: Project) -> None:
    output = project.run("snakemake", "--cores", "1", *MADE)
    assert len(re.findall(r"^\[\d/\d\] rollouts_server: served", output, flags=re.M)) == 1
    for path in MADE:
        rollouts = pd.read_parquet(project.folder / path)
        assert rollouts["text"].str.fullmatch(r"seed \d+\nanswer \d").all() and rollouts["text"].is_unique
    with pytest.raises(ProcessLookupError):
        os.kill(int((project.folder / "server.pid").read_text()), 0)
    assert not list((project.folder / ".work/tiny/servers").glob("*.json"))
    assert "Nothing to be done" in project.run("snakemake", "--cores", "1", *MADE)


def test_a_completer_has_a_server_of_its_own(project: Project) -> None:
    project.change(STUDY, ("evaluation:\n  policies: [weak, final]", "evaluation:\n  policies: [weak, final, served]"))
    before = "  validation:\n    dataset: validation\n    policies: [weak, final]\n    completer: final"
    project.change(STUDY, (before, before.replace("[weak, final]", "[served]").replace("completer: final", "completer: served")))
    output = project.run("snakemake", "--cores", "1", "data/tiny/labels/validation.parquet")
    assert len(re.findall(r"^\[ *\d+/\d+\] labels_server: served", output, flags=re.M)) == 1
    made = pd.read_parquet(project.folder / "data/tiny/labels/validation.parquet")
    assert (made["counts"].map(lambda counts: counts[0]) == 2).all(), "two completions by the server after the first step"
    assert made["completion_tokens"].sum() == 2 * 2 * len(made), "each of two tokens"
    with pytest.raises(ProcessLookupError):
        os.kill(int((project.folder / "server.pid").read_text()), 0)
