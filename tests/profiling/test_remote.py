"""Kits over SSH: against stand-ins for ssh and scp that run commands here, and (marked sshd) against a local sshd."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import kit_network
import pytest

from edgepart.cli.main import main
from edgepart.errors import ProfileError
from edgepart.frameworks import framework
from edgepart.hardware import Profile
from edgepart.profiling.kit import KitMeasurements, write_kit
from edgepart.profiling.remote import measure_on, require_host

#: runs the last word here; says what it was called with
SSH = """#!/bin/sh
echo "ssh $*" >> {log}
for word; do last=$word; done
exec sh -c "$last"
"""
#: copies the second last word to the last one, without the hosts before them
SCP = """#!/bin/sh
echo "scp $*" >> {log}
for word; do before=$last; last=$word; done
exec cp -r "${{before#*:}}" "${{last#*:}}"
"""


def program(folder, name, text):
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def log(tmp_path, monkeypatch):
    """Stand-ins for ssh and scp; what they were called with goes to the file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("ssh", SSH), ("scp", SCP)):
        program(folder, name, text.format(log=tmp_path / "log"))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (tmp_path / "remote").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "remote"))
    return tmp_path / "log"


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return kit_network.save(tmp_path_factory.mktemp("network") / "small.onnx")


@pytest.fixture(scope="module")
def kit(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kits") / "kit"
    used = framework("onnx")
    write_kit(used, used.program(*used.load(network)), folder)
    return folder


def fails(folder, code, complaint):
    program(folder, "ssh", f"#!/bin/sh\necho '{complaint}' >&2\nexit {code}\n")


def test_a_kit_is_copied_run_and_fetched_and_nothing_is_left(log, kit, tmp_path):
    measure_on("me@board", kit, tmp_path / "m.json", python=sys.executable, threads=2, quick=True)
    assert KitMeasurements.load(tmp_path / "m.json").threads == 2
    assert list((tmp_path / "remote").glob("tmp.*")) == []
    calls = log.read_text().splitlines()
    assert all("-o BatchMode=yes -o ConnectTimeout=10" in call for call in calls)
    assert all("-- me@board" in call for call in calls if call.startswith("ssh"))
    assert [call.split()[0] for call in calls] == ["ssh", "ssh", "scp", "ssh", "scp", "ssh"]
    assert not (kit / "measurements.json").exists()


def test_the_command(log, network, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ["--on", "me@board", "--remote-python", sys.executable, "--quick", "-o", "board.json"]
    assert main(["profile", str(network), *given]) == 0
    profile = Profile.load("board.json")
    assert (profile.device.name, profile.runtime) == ("me@board", "onnxruntime")
    assert "GMAC/s over this network" in capsys.readouterr().out
    assert list((tmp_path / "remote").glob("tmp.*")) == []


@pytest.mark.parametrize(
    ("code", "complaint", "message"),
    [
        (255, "ssh: connect to host board port 22: Connection refused", "cannot reach board over SSH (ssh: connect to"),
        (
            255,
            "board: Permission denied (publickey).",
            "Permission denied (publickey).): expected that 'ssh board true'",
        ),
        (
            255,
            "Host key verification failed.",
            "the host key of board is not known here: connect once with 'ssh board'",
        ),
        (127, "sh: python3: not found", "board has no 'python3': name the Python there with --remote-python"),
        (1, "python3: broken", "'python3' does not run on board: python3: broken"),
    ],
)
def test_a_host_that_does_not_answer_is_one_sentence(code, complaint, message, log, tmp_path):
    fails(tmp_path / "bin", code, complaint)
    with pytest.raises(ProfileError) as caught:
        require_host("board")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["-oProxyCommand=touch me", "", "me@board:22", "two words"])
def test_what_is_no_host_never_reaches_ssh(host, log):
    with pytest.raises(ProfileError, match="is no host"):
        require_host(host)
    assert not log.exists()


def test_without_ssh_here_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProfileError, match="'ssh' is not installed here"):
        require_host("board")


def test_a_package_that_is_missing_there_is_told_and_the_folder_removed(log, kit, tmp_path):
    bare = tmp_path / "bare-python"
    script = f"import runpy, sys; sys.modules['onnxruntime'] = None; sys.argv = sys.argv[1:]; {RUN}"
    program(tmp_path, bare.name, f'#!/bin/sh\n[ "$1" = --version ] || exec {sys.executable} -c "{script}" "$@"\n')
    with pytest.raises(ProfileError, match="the kit failed on board: the package onnxruntime is missing"):
        measure_on("board", kit, tmp_path / "m.json", python=str(bare))
    assert list((tmp_path / "remote").glob("tmp.*")) == []
    assert not (tmp_path / "m.json").exists()


RUN = "runpy.run_path(sys.argv[0], run_name='__main__')"


@pytest.fixture
def sshd(tmp_path, monkeypatch):
    """A server on this machine, and an ssh and scp that know its port and keys; yields what stops it."""
    server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert server, "this test needs OpenSSH's server: install openssh-server"
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    shutil.copy(tmp_path / "user.pub", tmp_path / "authorized")
    options = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": tmp_path / "host", "StrictModes": "no", "UsePAM": "no",
        "AuthorizedKeysFile": tmp_path / "authorized", "PidFile": tmp_path / "pid", "PermitRootLogin": "yes",
        "Subsystem": "sftp internal-sftp",
    }  # fmt: skip
    (tmp_path / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen([server, "-D", "-e", "-f", str(tmp_path / "sshd_config")], stderr=subprocess.DEVNULL)
    key = (tmp_path / "host.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {key}")
    (tmp_path / "config").write_text(
        f"Host board\nHostName 127.0.0.1\nPort {port}\nIdentityFile {tmp_path / 'user'}\nIdentitiesOnly yes\n"
        f"UserKnownHostsFile {tmp_path / 'known'}\n"
    )
    (tmp_path / "bin").mkdir()
    for name in ("ssh", "scp"):
        text = f'#!/bin/sh\nexec {shutil.which(name)} -F {tmp_path / "config"} "$@"\n'
        program(tmp_path / "bin", name, text)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    until = time.monotonic() + 10
    while time.monotonic() < until and not (tmp_path / "pid").exists():
        time.sleep(0.05)
    yield process
    process.terminate()
    process.wait()


@pytest.mark.sshd
def test_over_a_real_ssh(sshd, network, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    host = f"{getpass.getuser()}@board"
    given = ["--on", host, "--remote-python", sys.executable, "--quick", "--json"]
    assert main(["profile", str(network), *given]) == 0
    assert json.loads(capsys.readouterr().out)["device"]["name"] == host
    assert Profile.load("profile.json").end_to_end.median_s > 0

    # every way in which the host cannot be used is one sentence
    def complaint(*arguments):
        assert main(["profile", str(network), "--on", host, *arguments]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1, said
        return said

    assert f"{host} has no 'python-of-nobody'" in complaint("--remote-python", "python-of-nobody")
    known = (tmp_path / "known").read_text()
    (tmp_path / "known").write_text("")
    assert "the host key of" in complaint()
    (tmp_path / "known").write_text(known)
    (tmp_path / "authorized").write_text("")
    assert "Permission denied" in complaint()
    sshd.terminate()
    sshd.wait()
    assert "Connection refused" in complaint()
