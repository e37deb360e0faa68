"""What a killed, stopped and restarted podpass keeps, and what it tells about itself."""

import os
import pathlib
import random
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
import urllib.error
import urllib.parse

import pytest
from podpass import COMMAND_SECONDS, Call, Credentials, Kubectl, Podpass

MAPS = "/api/v1/namespaces/default/configmaps"
TOKEN = "/api/v1/namespaces/default/serviceaccounts/default/token"
WRITERS = 8
ROUNDS = 5


def admin(running, directory):
    made = pathlib.Path(directory)
    made.mkdir(exist_ok=True)
    return Call(running.url, Credentials(running.kubeconfig, made))


def token_of(call):
    answer = call("POST", TOKEN, {"spec": {}})
    assert answer.code == 201, answer
    return answer.json["status"]["token"]


class Writer(threading.Thread):
    """Creates and deletes until the server is gone, and keeps what was acknowledged."""

    def __init__(self, call, number):
        super().__init__(daemon=True)
        self.call, self.number = call, number
        self.created, self.deleted, self.in_doubt, self.token = set(), set(), set(), None

    def run(self):
        try:
            for count in range(10_000):
                name = f"writer-{self.number}-{time.monotonic_ns()}"
                self.in_doubt = {name}
                assert self.call("POST", MAPS, {"metadata": {"name": name}}).code == 201
                self.created.add(name)
                if count % 3 == 2:
                    self.in_doubt = {victim := random.choice(sorted(self.created))}
                    assert self.call("DELETE", f"{MAPS}/{victim}").code == 200
                    self.created.remove(victim)
                    self.deleted.add(victim)
                if count % 10 == 5:
                    self.token = token_of(self.call)
        except (OSError, urllib.error.URLError):
            pass  # killed: what was in doubt may be there or not


def test_nothing_acknowledged_is_lost_when_it_is_killed(tmp_path):
    present, gone, url, kids = set(), set(), None, None
    for number in range(ROUNDS + 1):
        with Podpass(tmp_path, "--node", "off") as running:
            call = admin(running, tmp_path / "admin")
            assert url in (None, running.url), "port 0 means the port of the last run"
            url = running.url
            jwks = call("GET", "/openid/v1/jwks").json["keys"]
            assert kids in (None, [key["kid"] for key in jwks])
            kids = [key["kid"] for key in jwks]
            found = {item["metadata"]["name"] for item in call("GET", MAPS).json["items"]}
            assert not present - found, f"acknowledged and lost in round {number}"
            assert not gone & found, f"deleted and back in round {number}"
            if number == ROUNDS:
                break
            writers = [Writer(call, number * WRITERS + k) for k in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(0.3 + random.random() / 2)  # at any moment
            running.kill()
            for writer in writers:
                writer.join(60)
        for writer in writers:
            present |= writer.created - writer.in_doubt
            gone |= writer.deleted
    assert len(present) > 10 and len(gone) > 3, "the writers wrote"


def test_tokens_and_kubeconfigs_outlive_a_restart(tmp_path):
    with Podpass(tmp_path, "--node", "off") as running:
        token = token_of(admin(running, tmp_path / "admin"))
        kept = tmp_path / "copy.kubeconfig"
        shutil.copy(running.kubeconfig, kept)
        url = running.url
    with Podpass(tmp_path, "--node", "off") as running:
        assert running.url == url
        assert admin(running, tmp_path / "admin")("GET", "/api", token=token).code == 200
        assert "default" in Kubectl(kept, tmp_path)("get", "serviceaccounts", "-o", "name")


def test_a_port_that_was_taken_meanwhile_voids_no_token(tmp_path):
    with Podpass(tmp_path, "--node", "off") as running:
        token = token_of(admin(running, tmp_path / "admin"))
        taken = urllib.parse.urlparse(running.url).port
    with socket.create_server(("127.0.0.1", taken)), Podpass(tmp_path, "--node", "off") as running:
        assert urllib.parse.urlparse(running.url).port != taken
        call = admin(running, tmp_path / "admin")
        assert call("GET", "/api", token=token).code == 200
        assert call("GET", "/api", token=token_of(call)).code == 200
        assert f":{taken}" in running.log()


def test_files_with_keys_are_the_owners_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        with Podpass(tmp_path, "--node", "off") as running:
            assert stat.S_IMODE(running.data.stat().st_mode) == 0o700
            checked = []
            for path in running.data.rglob("*"):
                if not path.is_file():
                    continue
                text = path.read_bytes()
                secret = b"PRIVATE KEY" in text or b"client-key-data" in text or path.name in ("kek", "sts.key", "aws-credentials", "store.db", "store.db-wal")
                mode = stat.S_IMODE(path.stat().st_mode)
                assert mode & 0o022 == 0, f"{path} can be written by others"
                if secret:
                    assert mode == 0o600, f"{path} has {mode:o}"
                    checked.append(path.name)
            assert {"ca.key", "server.key", "sts-server.key", "kek", "sts.key", "aws-credentials", "admin.kubeconfig", "store.db"} <= set(checked)
    finally:
        os.umask(before)


def test_it_says_what_to_try_and_stops_on_ctrl_c(tmp_path):
    data = tmp_path / "data"
    running = subprocess.Popen([os.environ["PODPASS"], "up", "--data-dir", data, "--port", "0", "--node", "off"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        said = [running.stdout.readline() for _ in range(4)]
        assert "podpass is ready at https://127.0.0.1:" in said[0]
        assert str(data / "admin.kubeconfig") in said[1]
        command = said[2].split("try:")[1].split()
        tried = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
        assert "default" in tried.stdout
        assert str(running.pid) in said[3]

        second = subprocess.run([os.environ["PODPASS"], "up", "--data-dir", data, "--port", "0", "--node", "off"], capture_output=True, text=True,
                                timeout=COMMAND_SECONDS, check=False)
        assert second.returncode == 1
        assert "another podpass uses the data directory" in second.stderr and "fix:" in second.stderr

        running.send_signal(signal.SIGINT)
        assert running.wait(COMMAND_SECONDS) == 0
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()


COMPLETE = {
    "bash": 'source <("$PODPASS" completion bash); COMP_WORDS=(podpass {words}); COMP_CWORD={at}; _podpass; echo "${{COMPREPLY[@]}}"',
    "zsh": 'source <("$PODPASS" completion zsh); emulate ksh; COMP_WORDS=(podpass {words}); COMP_CWORD={at}; _podpass; echo "${{COMPREPLY[@]}}"',
    "fish": '"$PODPASS" completion fish | source; complete -C "podpass {words}"',
}


@pytest.mark.parametrize("shell", COMPLETE)
def test_shells_complete_verbs_and_flags(shell, tmp_path):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")

    def completed(*words):
        script = COMPLETE[shell].format(words=" ".join(words), at=len(words))
        done = subprocess.run([shell, "-c", script], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True,
                              env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PODPASS": os.environ["PODPASS"], "TERM": "dumb"})
        return [word for word in done.stdout.split() if word.startswith(words[-1])]  # zsh narrows what it is offered by itself

    assert completed("tok") == ["token", "tokens"]
    assert completed("token", "in") == ["inspect"]
    assert "--audience" in completed("token", "verify", "--")
    assert "--data-dir" in completed("up", "--data")
