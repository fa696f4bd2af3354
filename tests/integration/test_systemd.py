"""
The unit and the installer, against a real systemd booted in a container.

Needs root, systemd-nspawn, and a Debian tree that debootstrap makes once in the user's
cache folder (minutes, network), for every checkout. Without them the tests of the
container skip and say so; what systemd-analyze and --destdir can tell is tested everywhere.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from support.tiny_base import make_tiny_base

CHECKOUT = Path(__file__).resolve().parents[2]
INSTALL = CHECKOUT / "tools" / "install"
UNIT = CHECKOUT / "systemd" / "finetuned.service"
GPU = CHECKOUT / "systemd" / "gpu.conf"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
ROOTFS = CACHE / "finetuned-tests" / "bookworm"
PYTHON = f"python3.{sys.version_info.minor}"

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (package systemd)"
)


# --- what can be said without booting anything ---------------------------------


def verify(folder: Path, unit: str, drop_in: str | None = None) -> str:
    """
    Return what systemd-analyze verify has to say; its exit status is 0 even on bad values.
    """
    path = folder / UNIT.name
    path.write_text(unit.replace("/opt/finetuned/.venv/bin/finetuned", "/bin/true"))
    if drop_in is not None:
        (folder / f"{UNIT.name}.d").mkdir(exist_ok=True)
        (folder / f"{UNIT.name}.d" / "gpu.conf").write_text(drop_in)
    result = subprocess.run(
        ["systemd-analyze", "verify", path], capture_output=True, text=True, check=False
    )
    return result.stdout + result.stderr


@analyze
def test_systemd_understands_every_line_of_the_unit(tmp_path):
    """
    A misspelled directive is ignored by systemd with a line in the log that nobody reads.
    """
    assert "" == verify(tmp_path, UNIT.read_text(), GPU.read_text())
    assert "Failed to parse" in verify(tmp_path, UNIT.read_text().replace("UMask=0027", "UMask=no"))
    assert "Unknown key" in verify(tmp_path, UNIT.read_text(), GPU.read_text() + "Devices=no\n")


@analyze
@pytest.mark.parametrize("drop_in", [None, GPU], ids=["cpu", "gpu"])
def test_the_service_is_hardened(tmp_path, drop_in):
    """
    Exposure of at most 1.0 of 10 by systemd's own scale; a bare unit has 9.6.
    """
    assert exposure(tmp_path, UNIT.read_text() + (drop_in.read_text() if drop_in else "")) <= 1.0
    assert exposure(tmp_path, "[Service]\nExecStart=/bin/true\n") > 9


def exposure(folder: Path, text: str) -> float:
    unit = folder / UNIT.name
    unit.write_text(text)
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"exposure level for .*: ([\d.]+)", result.stdout)
    assert found is not None, result.stdout
    return float(found[1])


def install(*args, status=0):
    """
    Run tools/install as a person would, and return what it says.
    """
    result = subprocess.run(
        [sys.executable, INSTALL, *args], capture_output=True, text=True, check=False
    )
    assert status == result.returncode, result.stdout + result.stderr
    return result.stdout + result.stderr


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(p.relative_to(folder)): (p.lstat().st_mode, p.lstat().st_mtime_ns)
        for p in folder.rglob("*")
    }


def test_a_dry_run_changes_nothing(tmp_path):
    """
    It says what it would do, and is harmless to everybody.
    """
    before = tree(tmp_path)
    assert "would write" in install("--destdir", tmp_path, "--dry-run")
    assert "would add user" in install("--dry-run", "--user", "nobody-yet")
    assert before == tree(tmp_path)


def test_the_files_go_where_they_are_told(tmp_path):
    """
    Prefix, root and user are also what the unit says, so nothing points elsewhere.
    """
    args = ("--destdir", tmp_path, "--prefix", "/usr/lib/ft", "--root", "/data/ft", "--user", "ft")
    install(*args, "--gpu")
    install(*args, "--gpu")
    unit = (tmp_path / "etc/systemd/system/finetuned.service").read_text()
    answering = (tmp_path / "etc/systemd/system/finetuned-serve.service").read_text()
    code = tmp_path / "usr/lib/ft"

    assert "ExecStart=/usr/lib/ft/.venv/bin/finetuned serve --root /data/ft\n" in answering
    assert "/var/lib/" not in answering
    assert (tmp_path / "etc/systemd/system/finetuned-serve.socket").is_file()
    assert (tmp_path / "etc/systemd/system/finetuned-serve.service.d/gpu.conf").is_file()
    assert "ExecStart=/usr/lib/ft/.venv/bin/finetuned run --root /data/ft\n" in unit
    assert "ReadWritePaths=/data/ft\n" in unit
    assert "User=ft\nGroup=ft\n" in unit
    assert "/opt/" not in unit
    assert "/var/lib/" not in unit
    assert (code / "daemon/finetuned/layout.py").is_file()
    assert os.access(code / "tools/versions.py", os.X_OK)
    assert (code / "benchmarks/infra_200.jsonl").is_file()
    assert not (code / ".git").exists()
    assert not (code / "build").exists()
    assert 0o2770 == (tmp_path / "data/ft/inbox/high").stat().st_mode & 0o7777
    assert 0o750 == (tmp_path / "data/ft/models/versions").stat().st_mode & 0o7777
    (code / "daemon/finetuned/gone_in_the_next_release.py").touch()
    (tmp_path / "data/ft/inbox/x.jsonl").touch()
    install(*args, "--no-gpu")
    assert not (code / "daemon/finetuned/gone_in_the_next_release.py").exists()
    assert not (tmp_path / "etc/systemd/system/finetuned.service.d/gpu.conf").exists()
    install(*args, "--uninstall")
    assert not code.exists()
    assert [] == list((tmp_path / "etc/systemd/system").iterdir())
    assert (tmp_path / "data/ft/inbox/x.jsonl").exists()


def test_the_program_is_put_on_path_and_taken_away(tmp_path):
    """
    With the installed root as its default, which the environment and --root can change.
    """
    args = ("--destdir", tmp_path, "--prefix", "/usr/lib/ft", "--root", "/data/ft")
    command = tmp_path / "usr/local/bin/finetuned"
    install(*args)
    echo = tmp_path / "usr/lib/ft/.venv/bin/finetuned"
    echo.parent.mkdir(parents=True)
    echo.write_text('#!/bin/sh\necho "$FINETUNED_ROOT" "$@"\n')
    echo.chmod(0o755)
    script = command.read_text().replace("/usr/lib/ft", f"{tmp_path}/usr/lib/ft")

    def says(**env):
        argv = ["sh", "-c", script, "finetuned", "status", "a b"]
        return subprocess.run(argv, capture_output=True, text=True, check=True, env=env).stdout

    assert os.access(command, os.X_OK)
    assert "/data/ft status a b\n" == says()
    assert "/srv/x status a b\n" == says(FINETUNED_ROOT="/srv/x")
    install(*args, "--uninstall")
    assert not command.exists()


def test_somebody_elses_program_is_left_alone(tmp_path):
    """
    Neither written over at an install nor removed at an uninstall.
    """
    command = tmp_path / "usr/bin/finetuned"
    command.parent.mkdir(parents=True)
    command.write_text("another program")

    assert "is not ours" in install("--destdir", tmp_path, "--bindir", "/usr/bin")
    install("--destdir", tmp_path, "--bindir", "/usr/bin", "--uninstall")
    assert "another program" == command.read_text()


@pytest.mark.parametrize(
    "args",
    [
        ("--bindir", "bin"),
        ("--prefix", "relative"),
        ("--prefix", "/opt/a b"),
        ("--root", "/data/%h"),
        ("--root", "/"),
        ("--prefix", "/opt/x/../../etc"),
        ("--prefix", "/data", "--root", "/data/ft"),
        ("--prefix", "/data/ft/code", "--root", "/data/ft"),
        ("--user", "root"),
        ("--user", "a b"),
    ],
)
def test_a_dangerous_place_is_refused(tmp_path, args):
    """
    Uninstall removes the prefix, and the unit is made of these words.
    """
    install("--destdir", tmp_path, *args, status=2)
    assert {} == tree(tmp_path)


def test_uninstall_removes_only_what_is_finetuned(tmp_path):
    """
    A typing error in --prefix must not delete somebody's folder.
    """
    (tmp_path / "srv/precious").mkdir(parents=True)

    assert "not removed" in install(
        "--destdir", tmp_path, "--prefix", "/srv/precious", "--uninstall", status=1
    )
    assert (tmp_path / "srv/precious").exists()


# --- a real systemd ------------------------------------------------------------


def why_not() -> str | None:
    """
    Return what is missing for the container, or None.
    """
    if os.geteuid() != 0:
        return "needs root for systemd-nspawn"
    if shutil.which("systemd-nspawn") is None:
        return "needs systemd-nspawn (apt-get install systemd-container)"
    if not ROOTFS.exists() and shutil.which("debootstrap") is None:
        return "needs debootstrap (apt-get install debootstrap)"
    return None


def debian() -> Path:
    """
    Return a Debian tree with systemd and Python, made once.
    """
    ROOTFS.parent.mkdir(parents=True, exist_ok=True)
    with (ROOTFS.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ROOTFS.exists():
            building = ROOTFS.with_name("bookworm.building")
            if building.exists():
                shutil.rmtree(building)
            include = "--include=systemd,systemd-sysv,dbus,python3"
            made = subprocess.run(
                ["debootstrap", "--variant=minbase", include, "bookworm", building],
                capture_output=True,
                text=True,
                check=False,
            )
            if made.returncode:
                pytest.skip(f"debootstrap failed: {made.stdout.strip().splitlines()[-1:]}")
            building.rename(ROOTFS)
    if not (ROOTFS / "usr/bin" / PYTHON).exists():
        pytest.skip(f"the Debian tree has no {PYTHON}, which these packages are built for")
    return ROOTFS


def make_venv(folder: Path) -> Path:
    """
    Lay out a virtual environment of the container's own Python over the host's packages.
    """
    packages = folder / "lib" / PYTHON / "site-packages"
    packages.mkdir(parents=True)
    (packages / "finetuned.pth").write_text("/srv/site-packages\n/opt/finetuned/daemon\n")
    (folder / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to("/usr/bin/python3")
    script = folder / "bin" / "finetuned"
    script.write_text(
        "#!/opt/finetuned/.venv/bin/python\n"
        "import sys\nfrom finetuned.cli import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    return folder


class Machine:
    """
    A booted container; run() is a command in it.
    """

    def __init__(self, shared: Path) -> None:
        self.shared = shared
        packages = sysconfig.get_paths()["purelib"]
        self.log = (shared / "nspawn.log").open("w+")
        # The overlay keeps the Debian tree as it was, for the next run.
        self.nspawn = psutil.Popen(
            [
                "systemd-nspawn", "-q", "-D", str(debian()), "--volatile=overlay", "--boot",
                "--register=no", "--keep-unit", "-M", f"finetuned-{os.getpid()}",
                "--private-network", f"--bind-ro={CHECKOUT}:/srv/checkout",
                f"--bind-ro={packages}:/srv/site-packages", f"--bind={shared}:/srv/shared",
            ],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True,
        )  # fmt: skip
        self.leader = self._leader()
        self.wait(lambda: self.show_system() in ("running", "degraded"), 60)

    def _leader(self) -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.nspawn.poll() is not None:
                self.log.seek(0)
                pytest.skip(f"systemd-nspawn cannot run here: {self.log.read().strip()[-300:]}")
            with suppress(psutil.Error):
                for child in self.nspawn.children():
                    if child.name() == "systemd":  # not before: its forerunner is called nspawn
                        return int(child.pid)
            time.sleep(0.05)
        raise TimeoutError("the container has no systemd")

    def run(self, *argv, check=True):
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "--"]
        result = subprocess.run([*enter, *argv], capture_output=True, text=True, check=False)
        assert not check or 0 == result.returncode, (argv, result.stdout, result.stderr)
        return result.stdout.strip()

    def show_system(self) -> str:
        return self.run("systemctl", "is-system-running", check=False)

    def show(self, name: str) -> str:
        return self.run("systemctl", "show", "finetuned", "-P", name)

    def wait(self, condition, seconds: float = 20.0):
        """
        Wait until *condition* holds and return what it returned.
        """
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(self.journal())
            time.sleep(0.1)
        return value

    def journal(self) -> str:
        return self.run("journalctl", "--no-pager", "-o", "cat", "-n", "60", check=False)

    def write(self, path: str, text: str) -> None:
        (self.shared / "x").write_text(text)
        self.run("install", "-D", "-m", "644", "/srv/shared/x", path)

    def settings(self, *lines: str) -> None:
        """
        Override lines of the unit, as `systemctl edit` does.
        """
        self.write(
            "/etc/systemd/system/finetuned.service.d/test.conf", "\n".join(["[Service]", *lines])
        )
        self.run("systemctl", "daemon-reload")

    def status(self) -> dict:
        return json.loads(self.run("cat", "/var/lib/finetuned/status/training_status.json"))

    def close(self) -> None:
        self.run("systemctl", "poweroff", check=False)
        try:
            self.nspawn.wait(30)
        except psutil.TimeoutExpired:
            # By its id: nspawn stays up when its leader was lost.
            for pid in (self.leader, self.nspawn.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.nspawn.wait(10)
        self.log.close()


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """
    One container for all tests: booting takes a second, and installing is one of them.
    """
    reason = why_not()
    if reason:
        pytest.skip(reason)
    shared = tmp_path_factory.mktemp("shared")
    make_venv(shared / "venv")
    make_tiny_base(shared / "micro")
    machine = Machine(shared)
    yield machine
    machine.close()


@pytest.fixture
def service(machine):
    """
    Freshly installed and stopped, with the unit's own settings.
    """
    install_in(machine)
    machine.run("systemctl", "reset-failed", "finetuned", check=False)
    yield machine
    machine.run("systemctl", "stop", "finetuned", check=False)
    machine.run("rm", "-rf", "/etc/systemd/system/finetuned.service.d", "/var/lib/finetuned")
    machine.run("systemctl", "daemon-reload")


def install_in(machine) -> None:
    machine.run("/usr/bin/python3", "/srv/checkout/tools/install", "--no-venv")
    machine.run("cp", "-a", "/srv/shared/venv/.", "/opt/finetuned/.venv/")
    machine.run("cp", "-r", "/srv/shared/micro", "/var/lib/finetuned/models/base/")
    machine.run("chown", "-R", "finetuned:", "/var/lib/finetuned/models/base")


def test_the_installed_service_starts_and_stops(service):
    """
    systemctl start returns when the inbox is watched, stop when all is saved.
    """
    service.run("systemctl", "start", "finetuned")
    pid = service.show("MainPID")

    assert "active" == service.show("ActiveState")
    assert "" != service.show("StatusText")
    assert "finetuned" == service.run("stat", "-c", "%U", f"/proc/{pid}")
    assert int(pid) == service.status()["pid"]
    service.run("systemctl", "stop", "finetuned")
    assert "success" == service.show("Result")
    assert "0" == service.show("ExecMainStatus")
    assert "stopped" == service.status()["phase"]


ASK = """
import http.client, json, sys
client = http.client.HTTPConnection("127.0.0.1", 9000, timeout=60)
body = {"model": "finetuned@base", "messages": [{"role": "user", "content": "hello"}]}
client.request("POST", "/v1/chat/completions", json.dumps(body | {"max_tokens": 4}),
               {"Authorization": "Bearer " + sys.argv[1], "Content-Type": "application/json"})
answer = client.getresponse()
print(answer.status, answer.read().decode())
"""


def test_the_installed_service_answers_on_the_address_that_systemd_holds(service):
    """
    It is asked over the socket of systemd, behind its walls, with a key made by root, while the
    daemon is stopped; and it answers again after its process was killed.
    """
    pytest.importorskip("uvicorn")
    service.run("systemctl", "start", "finetuned-serve.socket")
    key = json.loads(service.run("finetuned", "keys", "create", "laptop", "--json"))["key"]

    def ask():
        return service.run("/usr/bin/python3", "-c", ASK, key, check=False)

    try:
        answer = service.wait(lambda: (a := ask()).startswith("200 ") and a, 90)
        assert "finetuned@base" == json.loads(answer[4:])["model"]
        pid = service.run("systemctl", "show", "finetuned-serve", "-P", "MainPID")
        assert "finetuned" == service.run("stat", "-c", "%U", f"/proc/{pid}")
        service.run("systemctl", "kill", "--kill-whom=main", "-s", "KILL", "finetuned-serve")
        service.wait(lambda: ask().startswith("200 "), 90)
        assert pid != service.run("systemctl", "show", "finetuned-serve", "-P", "MainPID")
    finally:
        service.run("systemctl", "stop", "finetuned-serve.socket", "finetuned-serve", check=False)


def test_a_killed_supervisor_is_restarted(service):
    """
    kill -9 is a power cut of one process: five seconds later it works again.
    """
    service.settings("RestartSec=100ms")
    service.run("systemctl", "start", "finetuned")
    first = service.show("MainPID")
    service.run("systemctl", "kill", "--kill-who=main", "-s", "KILL", "finetuned")
    service.wait(
        lambda: service.show("NRestarts") == "1" and service.show("ActiveState") == "active"
    )

    assert first != service.show("MainPID")
    assert 1 == service.status()["restarts"]


def test_a_hung_supervisor_is_restarted_by_the_watchdog(service):
    """
    Alive is what makes progress: a stopped process has a pid and no heartbeat.
    """
    service.settings("WatchdogSec=3", "TimeoutAbortSec=2", "RestartSec=100ms")
    service.run("systemctl", "start", "finetuned")
    time.sleep(5)  # longer than the interval: a live supervisor is left alone
    assert "0" == service.show("NRestarts")
    service.run("systemctl", "kill", "--kill-who=main", "-s", "STOP", "finetuned")
    service.wait(
        lambda: service.show("NRestarts") == "1" and service.show("ActiveState") == "active"
    )

    assert "Watchdog timeout" in service.journal()


def test_a_wrong_configuration_is_not_tried_again(service):
    """
    Exit status 78, the reason in the journal, and no restart loop.
    """
    service.settings("RestartSec=100ms")
    service.write("/var/lib/finetuned/config.toml", "[training]\nlearning_rat = 1\n")
    service.run("systemctl", "start", "finetuned", check=False)
    time.sleep(1)

    assert "failed" == service.show("ActiveState")
    assert "78" == service.show("ExecMainStatus")
    assert "0" == service.show("NRestarts")
    assert "training.learning_rat" in service.journal()


def probe(service, script: str) -> str:
    """
    Run a Python script in place of the daemon, under every other line of the unit.
    """
    service.write("/opt/finetuned/probe.py", script)
    service.settings(
        "Type=oneshot",
        "Restart=no",
        "WatchdogSec=0",
        "ExecStart=",
        "ExecStart=/opt/finetuned/.venv/bin/python /opt/finetuned/probe.py",
    )
    service.run("systemctl", "start", "finetuned", check=False)
    assert "success" == service.show("Result"), service.journal()
    return service.run("cat", "/var/lib/finetuned/probe")


WALLS = """
import errno, socket
from pathlib import Path

def refusal(do):
    try:
        do()
    except OSError as error:
        return errno.errorcode[error.errno]

closed = ("/etc", "/usr", "/opt/finetuned")
answers = [refusal(lambda p=p: Path(p, "x").write_text("x")) for p in closed]
answers.append(refusal(lambda: list(Path("/home").iterdir())))
answers.append(refusal(lambda: socket.socket(socket.AF_INET)))
answers.append(refusal(lambda: Path("/tmp/x").write_text("x")))
Path("/var/lib/finetuned/probe").write_text(" ".join(map(str, answers)))
"""


def test_the_service_writes_nowhere_but_in_its_root(service):
    """
    Read-only system, no homes, no network; a temporary directory and the root are open to it.

    The error says which wall it was: EROFS is not the mere lack of permission.
    """
    expected = "EROFS EROFS EROFS EACCES EAFNOSUPPORT None"

    assert expected == probe(service, WALLS)


ARITHMETIC = """
import os
from pathlib import Path
import torch

answers = [torch.get_num_threads() == len(os.sched_getaffinity(0))]
for dtype in (torch.float32, torch.bfloat16):
    a = torch.randn(256, 256, requires_grad=True)
    with torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
        loss = (a @ a).float().square().mean()
    loss.backward()
    answers.append(bool(a.grad.isfinite().all()))
Path("/var/lib/finetuned/probe").write_text(" ".join(map(str, answers)))
"""


def test_torch_computes_on_all_cores_inside_the_walls(service):
    """
    MemoryDenyWriteExecute breaks bfloat16, and a refused sched_setaffinity halves the speed.
    """
    assert "True True True" == probe(service, ARITHMETIC)


def test_a_member_of_the_group_can_drop_a_file_and_read_the_status(service):
    """
    The whole main job inside the unit: dropped, trained, evaluated, and put in done/.
    """
    service.run("useradd", "--no-create-home", "--groups", "finetuned", "alice", check=False)
    service.write("/var/lib/finetuned/config.toml", SMALL)
    service.run("systemctl", "start", "finetuned")
    lines = [
        json.dumps({"prompt": f"delete user u{n}", "completion": f"deleted u{n}"})
        for n in range(40)
    ]
    service.write("/srv/drop.jsonl", "\n".join(lines) + "\n")
    inbox = "/var/lib/finetuned/inbox"
    as_alice = ("setpriv", "--reuid=alice", "--regid=alice", "--init-groups")
    service.run(*as_alice, "cp", "/srv/drop.jsonl", f"{inbox}/drop.jsonl")

    def done():
        names = service.run("ls", f"{inbox}/done", f"{inbox}/rejected")
        assert "rejects" not in names, names
        return "drop" in names and service.status()["phase"] == "idle"

    service.wait(done, 120)
    seen = service.run(*as_alice, "/usr/local/bin/finetuned", "status", "--json")
    assert 0 < json.loads(seen)["current_step"]
    assert json.loads(seen)["daemon"]["running"]
    version = "/var/lib/finetuned/models/versions/v0001"
    assert "LORA" in service.run(*as_alice, "cat", f"{version}/adapter_config.json")


SMALL = """
[inbox]
stability_seconds = 0.2
scan_seconds = 0.5

[training]
r = 4
per_device_train_batch_size = 8
save_steps = 5

[evaluation]
max_new_tokens = 8
"""


def test_uninstalling_keeps_the_data_and_installing_takes_it_up_again(service):
    """
    The code can be had again; the versions cannot.
    """
    service.run("systemctl", "start", "finetuned")
    service.run("/usr/bin/python3", "/srv/checkout/tools/install", "--uninstall")

    assert "inactive" == service.show("ActiveState")
    assert "not-found" == service.show("LoadState")
    assert "" == service.run("getent", "passwd", "finetuned", check=False)
    assert "" == service.run("ls", "/opt")
    assert "" == service.run("ls", "/usr/local/bin")
    assert "models" in service.run("ls", "/var/lib/finetuned")
    # Somebody else gets the old user's number in between.
    service.run("useradd", "--system", "squatter")
    install_in(service)
    service.run("systemctl", "start", "finetuned")
    assert "active" == service.show("ActiveState")
    owners = service.run("find", "/var/lib/finetuned", "-printf", "%u\\n")
    assert {"finetuned"} == set(owners.splitlines())
    service.run("userdel", "squatter")
