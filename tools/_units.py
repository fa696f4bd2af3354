"""
What an installation is, and its systemd units: written, and removed.

Needs nothing but Python's standard library.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from _code import CHECKOUT

SERVICES = ("finetuned.service", "finetuned-serve.service")
"""The daemon, and the service that answers: both use the GPU."""

UNITS = (
    *SERVICES,
    *("finetuned-serve.socket", "finetuned-report.service", "finetuned-report.timer"),
)
"""These; the addresses that systemd holds for the second; the sender of reports and its timer."""


@dataclass(frozen=True)
class Plan:
    """
    Where everything goes.
    """

    prefix: Path
    root: Path
    user: str
    bindir: Path
    destdir: Path | None
    gpu: bool
    venv: bool
    dry: bool

    def on_disk(self, path: Path) -> Path:
        """Return where *path* is written: below --destdir where one was given."""
        return path if self.destdir is None else self.destdir / path.relative_to("/")

    def unit(self, name: str) -> Path:
        return self.on_disk(Path("/etc/systemd/system") / name)

    def gpu_conf(self, service: str) -> Path:
        """The drop-in that gives *service* the GPUs."""
        return self.unit(f"{service}.d") / "gpu.conf"

    @property
    def command(self) -> Path:
        """The program on PATH."""
        return self.on_disk(self.bindir / "finetuned")

    @property
    def staged(self) -> bool:
        """Whether only files are laid out, for a package or a test."""
        return self.destdir is not None


def step(plan: Plan, what: str, do: Callable[[], object]) -> None:
    """
    Say what is done, and do it unless this is a dry run.
    """
    print(f"{'would ' if plan.dry else ''}{what}", flush=True)
    if not plan.dry:
        do()


def run(*argv: str | Path, env: dict[str, str] | None = None) -> None:
    """
    Run a command and stop at the first that fails.
    """
    subprocess.run([str(a) for a in argv], check=True, env=env)


def systemctl(plan: Plan, what: str, *argv: str) -> None:
    """
    Tell systemd, where it runs: an image may be built without.
    """
    if Path("/run/systemd/system").is_dir():
        step(plan, what, lambda: run("systemctl", *argv))
    else:
        print(f"not done, systemd does not run here: {what}")


def write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def unit_text(plan: Plan, name: str) -> str:
    """
    Return unit *name* for this prefix, root and user.
    """
    text = (CHECKOUT / "systemd" / name).read_text()
    text = text.replace("/opt/finetuned", str(plan.prefix))
    text = text.replace("/var/lib/finetuned", str(plan.root))
    return re.sub(r"^(User|Group)=finetuned$", rf"\1={plan.user}", text, flags=re.MULTILINE)


def put_units(plan: Plan) -> None:
    """
    Write the units, and the drop-ins that a GPU needs.
    """
    for name in UNITS:
        unit, text = plan.unit(name), unit_text(plan, name)
        step(plan, f"write {unit}", partial(write, unit, text))
    gpu_text = (CHECKOUT / "systemd" / "gpu.conf").read_text()
    for gpu in map(plan.gpu_conf, SERVICES):
        if plan.gpu:
            step(plan, f"write {gpu}", partial(write, gpu, gpu_text))
        else:
            remove_drop_in(plan, gpu)


def remove_drop_in(plan: Plan, path: Path) -> None:
    """
    Remove our drop-in, and its folder if nobody else has one there.
    """
    if path.exists():
        step(plan, f"remove {path}", path.unlink)
        if not plan.dry and not any(path.parent.iterdir()):
            path.parent.rmdir()


def remove_units(plan: Plan) -> None:
    """
    Stop what runs, and remove the units and our drop-ins.
    """
    there = [name for name in UNITS if plan.unit(name).exists()]
    if there and not plan.staged:
        systemctl(plan, "stop the services", "disable", "--now", *there)
    for name in there:
        step(plan, f"remove {plan.unit(name)}", plan.unit(name).unlink)
    for gpu in map(plan.gpu_conf, SERVICES):
        remove_drop_in(plan, gpu)
