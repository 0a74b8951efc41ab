"""Push to a remote and pull into a fresh clone, with local S3 and SSH servers (after `make remotes`)."""

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from .conftest import Project, make_pull

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
# A remote: its address, and options that `dvc remote modify` sets.
Remote = tuple[str, dict[str, str]]


def skip_without(needed: object, what: str) -> None:
    if not needed:
        pytest.skip(what)


def have(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)


@pytest.fixture
def s3() -> Iterator[Remote]:
    """A bucket on a local S3 server."""
    skip_without(have("dvc_s3", "moto", "flask"), "dvc-s3 or moto is not installed (make remotes)")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    urlopen(Request(f"{endpoint}/bucket", method="PUT")).close()
    yield (
        "s3://bucket/pqm",
        {"endpointurl": endpoint, "access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"},
    )
    server.stop()


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[Remote]:
    """A folder on a local SSH server that accepts one key."""
    skip_without(have("dvc_ssh"), "dvc-ssh is not installed (make remotes)")
    skip_without(SSHD, "no sshd found (openssh-server)")
    skip_without(os.geteuid() == 0 or Path("/run/sshd").is_dir(), "sshd needs the folder /run/sshd")
    Path("/run/sshd").mkdir(exist_ok=True)
    folder = tmp_path / "ssh"
    (folder / "remote").mkdir(parents=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        f"PidFile none\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
    )
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([str(SSHD), "-D", "-e", "-f", folder / "config"], stderr=log) as server,
    ):
        for _ in range(100):
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            pytest.fail((folder / "log").read_text())
        yield f"ssh://127.0.0.1{folder}/remote", {"port": str(port), "keyfile": str(folder / "user"), "allow_agent": "false"}
        server.terminate()


def add_remote(project: Project, remote: Remote) -> None:
    """Configure the remote as in docs/dvc.md, in settings that git ignores."""
    address, options = remote
    project.run("dvc", "remote", "add", "--local", "--default", "--force", "other", address)
    for option, value in options.items():
        project.run("dvc", "remote", "modify", "--local", "other", option, value)


@pytest.mark.parametrize("kind", ["s3", "ssh"])
def test_a_clone_that_pulls_from_the_remote_is_up_to_date_in_both_tools(
    kind: str, request: pytest.FixtureRequest, dvc_project: Project, tmp_path: Path
) -> None:
    remote = request.getfixturevalue(kind)
    settings = dvc_project.folder / ".dvc/config.local"
    try:
        add_remote(dvc_project, remote)
        assert "pushed" in dvc_project.run("dvc", "push")
    finally:
        settings.unlink(missing_ok=True)
    dvc_project.run("git", "clone", "-q", str(dvc_project.folder), str(tmp_path / "pqm"))
    clone = Project(tmp_path / "pqm")
    add_remote(clone, remote)
    make_pull(clone)
    assert clone.table() == dvc_project.table()
    assert "Nothing to be done" in clone.run("snakemake", "all")
    assert "up to date" in clone.run("dvc", "status")
