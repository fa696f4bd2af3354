import argparse
from pathlib import Path

import pytest

from finetuned.cli.root import NO_ROOT, default_root, root_folder
from finetuned.cli.run import make_root
from finetuned.cli.verb import UsageError, chosen_root
from finetuned.errors import ConfigError
from finetuned.files import shipped

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """
    The package as a wheel lays it out: no checkout around it; a directory that is no root.
    """
    monkeypatch.delenv("FINETUNED_ROOT", raising=False)
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "site-packages" / "finetuned")
    shipped.checkout.cache_clear()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    shipped.checkout.cache_clear()


def test_the_root_of_a_checkout_is_the_checkout(monkeypatch, tmp_path):
    """
    From wherever the program is called.
    """
    monkeypatch.delenv("FINETUNED_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)

    assert CHECKOUT == default_root()


def test_the_environment_names_the_root_before_anything_else(monkeypatch):
    """
    Also in a checkout; an empty variable counts as none.
    """
    monkeypatch.setenv("FINETUNED_ROOT", "/srv/ft")
    assert Path("/srv/ft") == default_root()
    monkeypatch.setenv("FINETUNED_ROOT", "")
    assert CHECKOUT == default_root()


def test_an_installed_program_takes_the_current_directory_if_it_is_a_root(installed):
    """
    And never makes a root of some directory that a person happens to be in.
    """
    assert default_root() is None
    (installed / "inbox").mkdir()
    (installed / "models").mkdir()
    assert installed == default_root()


def test_without_any_root_the_message_says_what_to_pass(installed):
    """
    It ends with exit status 2, as a wrong usage.
    """
    with pytest.raises(UsageError, match=r"--root DIR.*FINETUNED_ROOT") as caught:
        chosen_root(argparse.Namespace(root=None))

    assert NO_ROOT == str(caught.value)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_root_is_refused(text):
    """
    ``--root "$UNSET"`` must not mean the current directory.
    """
    with pytest.raises(argparse.ArgumentTypeError):
        root_folder(text)


def test_a_root_is_made_and_its_parents_are_not(tmp_path):
    """
    A typing error, or a disk that is not mounted, must not become a new empty root.
    """
    make_root(tmp_path / "new")
    make_root(tmp_path / "new")
    assert (tmp_path / "new").is_dir()
    with pytest.raises(ConfigError, match="create it first"):
        make_root(tmp_path / "no" / "new")
