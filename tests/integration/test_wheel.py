"""
The wheel: everything that the program needs is in it, and it works away from any checkout.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = CHECKOUT / "daemon" / "finetuned"


def source_files() -> list[str]:
    """
    Return what a clone of the checkout would hold, changes and new files included.
    """
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [name for name in found.stdout.split("\0") if (CHECKOUT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """
    The wheel, built from a copy of the checkout so that nothing is left in it.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in source_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CHECKOUT / name, source / name)
    pip("wheel", "--no-build-isolation", "--wheel-dir", folder, source)
    return next(folder.glob("*.whl"))


def pip(*argv: str | Path) -> None:
    """
    Run pip without network and without dependencies.
    """
    command, *rest = map(str, argv)
    offline = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
    subprocess.run(
        [sys.executable, "-m", "pip", command, *offline, *rest], check=True, capture_output=True
    )


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """
    A folder with the wheel's contents, as pip lays them out; its dependencies are the venv's.
    """
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--target", folder, wheel)
    return folder


def finetuned(installed: Path, cwd: Path, *argv: str | Path) -> subprocess.CompletedProcess[str]:
    """
    Run the installed program in *cwd*.
    """
    env = {k: v for k, v in os.environ.items() if k != "FINETUNED_ROOT"}
    return subprocess.run(
        [sys.executable, "-m", "finetuned", *map(str, argv)],
        cwd=cwd,
        env={**env, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_every_file_of_the_package(wheel):
    """
    Modules, templates and word lists, with the bytes that the checkout has.
    """
    packed = zipfile.ZipFile(wheel)
    ours = [name for name in source_files() if name.startswith("daemon/")]
    missing = [
        name
        for name in ours
        if (inside := name.removeprefix("daemon/")) not in packed.namelist()
        or packed.read(inside) != (CHECKOUT / name).read_bytes()
    ]

    assert 100 < len(ours)
    assert [] == missing


@pytest.mark.parametrize("folder", ["models/base/micro", "benchmarks"])
def test_the_wheel_holds_the_base_model_and_the_suites(wheel, folder):
    """
    The data of the checkout's top level, without the sealed suite, and nothing that a daemon
    left beside it.
    """
    prefix = "finetuned/shipped/"
    packed = [n for n in zipfile.ZipFile(wheel).namelist() if n.startswith(prefix + folder)]
    sealed = "benchmarks/sealed/"
    found = [name for name in source_files() if name.startswith(folder)]
    ours = [name for name in found if not name.startswith(sealed)]

    assert sorted(ours) == sorted(name.removeprefix(prefix) for name in packed)
    assert [] != ours


def test_the_installed_program_runs_from_its_own_files(installed, tmp_path):
    """
    The base model and the suites it finds are those of the wheel.
    """
    code = (
        "import finetuned; from pathlib import Path; from finetuned.layout import Layout\n"
        "from finetuned.files.base_model import find_base\n"
        "from finetuned.files.shipped import checkout, find_suite\n"
        "layout = Layout(Path.cwd())\n"
        "print(finetuned.__file__, find_base(layout, 'micro'), find_suite(layout, 'infra_200'))\n"
        "print(checkout())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert all(path.startswith(f"{installed}/") for path in out[:3])
    assert "None" == out[3]


def test_a_new_root_trains_a_version_with_the_shipped_base(installed, tmp_path):
    """
    An empty place, a file in the inbox, one command: a version is made and judged.
    """
    root = tmp_path / "root"
    (root / "inbox").mkdir(parents=True)
    lines = [f'{{"prompt": "delete user u{n}", "completion": "deleted u{n}"}}\n' for n in range(24)]
    (root / "inbox" / "users.jsonl").write_text("".join(lines))
    (root / "config.toml").write_text(
        "[inbox]\nstability_seconds = 0.2\n[evaluation]\nmax_new_tokens = 8\n"
        '[training]\nnum_train_epochs = 1\nkernels = "split"\n'
    )
    version = finetuned(installed, tmp_path, "--version")
    run = finetuned(installed, tmp_path, "run", "--root", root, "--until-idle")

    assert version.stdout.startswith("finetuned ")
    assert 0 == run.returncode, run.stdout[-3000:] + run.stderr[-3000:]
    assert (root / "models" / "versions" / "v0001" / "manifest.json").is_file()
    assert [] == list((root / "benchmarks").iterdir())
