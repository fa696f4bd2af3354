"""
current_model names the version that the journal decided on, whatever somebody made of the link.
"""

import shutil

import pytest

from finetuned.core.promotion import HeadCause, PromotionCause
from finetuned.errors import ModelError, RegistryError
from finetuned.registry.backup import backup
from finetuned.registry.current_model import incumbent, promote
from finetuned.registry.fallback import repair
from finetuned.registry.head import linked_head, move_head
from finetuned.registry.versions import verify_usable, version_names
from finetuned.supervisor.verdict.follow import follow_journal
from support.desk import configure
from support.journals import release
from support.versions import commit, damage


@pytest.fixture
def two(context):
    """
    v0001 <- v0002 on disk; nothing was decided.
    """
    configure(context, "registry", backup=False)
    return commit(context.layout), commit(context.layout, "v0001")


def decide(context, version):
    release(context.journal, version, PromotionCause.PROMOTE)
    follow_journal(context)


def test_current_model_follows_every_decision(context, two):
    """
    Forward, back, and to the base model; without a decision nothing is touched.
    """
    follow_journal(context)
    assert not context.layout.current_model.is_symlink()
    for version in ("v0001", "v0002", "v0001", None):
        decide(context, version)
        assert (version, version) == (incumbent(context.layout), context.board.fields["version"])


def test_a_link_that_somebody_changed_is_put_back_and_shown(context, two):
    """
    Pointed at another version, or at nothing that the daemon knows.
    """
    decide(context, "v0002")
    promote(context.layout, "v0001")
    follow_journal(context)
    assert "v0002" == incumbent(context.layout)
    assert context.board.fields["last_repair"] is None
    context.layout.current_model.unlink()
    context.layout.current_model.symlink_to("models/versions/v0099")
    follow_journal(context)

    assert "v0002" == incumbent(context.layout)
    repair = context.board.fields["last_repair"]
    assert ("current_model", "v0002") == (repair["what"], repair["version"])
    assert "v0099" in repair["problem"]


def test_a_link_to_nothing_is_removed_if_the_base_model_is_in_use(context, two):
    """
    A server that follows it would fail, although nothing is wrong with the base.
    """
    decide(context, None)
    context.layout.current_model.symlink_to("models/versions/v0099")
    follow_journal(context)

    assert not context.layout.current_model.is_symlink()


def test_a_real_folder_of_that_name_is_left_alone(context, two):
    """
    It may be somebody's only copy.
    """
    context.layout.current_model.mkdir()
    (context.layout.current_model / "mine").write_text("x")
    with pytest.raises(RegistryError, match="not a symbolic link"):
        decide(context, "v0001")

    assert "x" == (context.layout.current_model / "mine").read_text()


def test_a_damaged_version_is_not_put_in_use(context, two):
    """
    current_model is as before.
    """
    decide(context, "v0001")
    damage(context.layout.versions / "v0002")
    with pytest.raises(ModelError):
        decide(context, "v0002")

    assert "v0001" == incumbent(context.layout)


def test_the_version_in_use_has_a_backup_if_backups_are_wanted(context, two):
    """
    One that is there already is not made again.
    """
    decide(context, "v0001")
    assert not (context.layout.backups / "v0001").exists()
    configure(context, "registry", backup=True)
    follow_journal(context)
    made = (context.layout.backups / "v0001").stat().st_ino
    follow_journal(context)

    assert made == (context.layout.backups / "v0001").stat().st_ino
    assert context.layout.backups / "v0001" == backup(context.layout, "v0001")


def test_the_merged_model_below_the_version_in_use_has_a_backup_too(context):
    """
    It was held, so it never had one; without it the release is lost with one file of it.
    """
    layout = context.layout
    commit(layout, full=True, consolidates="v0000", verdict="held")
    decide(context, commit(layout, "v0001", base_version="v0001"))
    assert ["v0001", "v0002"] == version_names(layout.backups)
    damage(layout.versions / "v0001", "config.json")
    repair(layout, "v0002")
    verify_usable(layout, "v0002")


def test_the_head_has_a_link_of_its_own(context, two):
    """
    It is put right if somebody changed it, and is not there for the base model.
    """
    layout, heads = context.layout, context.journal.heads
    decide(context, "v0001")
    assert "v0001" == linked_head(layout)
    heads.add("v0002", HeadCause.HELD)
    follow_journal(context)
    assert ("v0001", "v0002") == (incumbent(layout), linked_head(layout))
    layout.head.unlink()
    layout.head.symlink_to("versions/v0099")
    follow_journal(context)
    assert "v0002" == linked_head(layout)
    repair = context.board.fields["last_repair"]
    assert ("models/head", "v0002") == (repair["what"], repair["version"])
    heads.add(None, HeadCause.ROLLBACK)
    follow_journal(context)

    assert not layout.head.is_symlink()
    assert "v0001" == incumbent(layout)


def test_a_head_that_is_gone_names_the_way_out(context, two):
    """
    It has no backup that could be restored.
    """
    move_head(context.layout, "v0002")
    shutil.rmtree(context.layout.versions / "v0002")
    with pytest.raises(RegistryError, match="without a backup restart the daemon"):
        linked_head(context.layout)
