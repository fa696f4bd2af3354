"""
What the parts of the supervisor share: why nothing starts now, and which configuration counts.
"""

import os
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from finetuned.config import Config
from finetuned.errors import BaseModelMissing, ConfigError
from finetuned.layout import Layout
from finetuned.supervisor import context as shared
from finetuned.supervisor.context import check_root
from support.desk import configure


def edit(context, text):
    """
    Write config.toml; its time of change differs even within one tick of the clock.
    """
    path = context.layout.config
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def events(logs):
    return [entry["event"] for entry in logs]


def test_files_with_a_family_of_their_own_share_no_job(context):
    """
    A job trains one adapter, so two small files of unlike kinds cannot go together.
    """
    assert context.config.inbox.share_run_max_examples == context.share_examples > 0
    configure(context, "training", adapters="families")
    assert 0 == context.share_examples


def test_a_refusal_is_logged_once_however_often_it_comes(context):
    """
    A full disk is seen at every turn; another reason, or another step, is news.
    """
    with capture_logs() as logs:
        for _ in range(3):
            context.block("disk_full", "1 MiB free", by="claim")
        assert ["work_blocked"] == events(logs)
        context.block("disk_full", "1 MiB free", by="evaluate")
        context.block("permission_denied", "models/", by="evaluate")

    assert ["disk_full", "disk_full", "permission_denied"] == [entry["reason"] for entry in logs]
    assert "permission_denied: models/" == context.blocked_reason
    assert "evaluate" == context.blocked_by


def test_the_reason_stays_in_sight_after_the_wait_until_something_succeeds(context, monkeypatch):
    """
    The wait ends so that it is tried again, and not because anything became better.
    """
    now = [1000.0]
    monkeypatch.setattr(shared, "time", SimpleNamespace(monotonic=lambda: now[0]))
    configure(context, "supervisor", retry_seconds=10.0)
    context.block("disk_full", "1 MiB free")
    now[0] += 9.9
    assert "disk_full: 1 MiB free" == context.blocked()
    now[0] += 0.2
    assert context.blocked() is None
    assert "disk_full: 1 MiB free" == context.blocked_reason

    with capture_logs() as logs:
        context.unblock()
        context.unblock()
    assert ["work_unblocked"] == events(logs)
    assert (None, "") == (context.blocked_reason, context.blocked_by)


def test_an_edited_configuration_counts_from_the_next_look(context):
    """
    And one that was not edited is not read again.
    """
    edit(context, '[model]\nbase = "micro"\n[training]\nreplay_rows = 7\n')
    with capture_logs() as logs:
        context.reload_config()
        context.reload_config()

    assert 7 == context.config.training.replay_rows
    assert ["config_changed"] == events(logs)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[model]\nbase = "micro"\n[training]\nreplay_rows = -1\n', "replay_rows"),
        ("[model\n", "config.toml"),
        ('[model]\nbase = "no_such_model"\n', "no_such_model"),
    ],
)
def test_a_bad_edit_is_shown_and_not_used(context, text, said):
    """
    The daemon goes on with what it has, logs it once, and the next good edit clears it.
    """
    before = context.config
    edit(context, text)
    with capture_logs() as logs:
        context.reload_config()
        context.reload_config()

    assert ["config_rejected"] == events(logs)
    assert before == context.config
    assert said in context.board.fields["config_error"]
    edit(context, '[model]\nbase = "micro"\n')
    context.reload_config()
    assert context.board.fields["config_error"] is None


def test_what_start_up_has_read_is_not_read_again(context):
    """
    Otherwise the first job boundary would log a change that nobody made.
    """
    edit(context, '[model]\nbase = "micro"\n')
    context.note_config()
    context.reload_config()
    assert Config() == context.config
    context.layout.config.unlink()
    context.reload_config()
    assert Config().training == context.config.training


def test_a_base_that_went_away_is_said_when_it_is_needed(context):
    """
    It was there when the daemon started.
    """
    configure(context, "model", base="micro")
    assert "micro" == context.base().name
    configure(context, "model", base="no_such_model")
    with pytest.raises(BaseModelMissing, match="no_such_model"):
        context.base()


def test_a_root_is_made_complete_and_never_made_up(tmp_path):
    """
    A mistyped --root must not become a second root; folders that exist keep their content.
    """
    layout = Layout(tmp_path / "root")
    with pytest.raises(ConfigError, match="create it first"):
        check_root(layout)
    layout.root.write_text("a file")
    with pytest.raises(ConfigError, match="not a directory"):
        check_root(layout)
    layout.root.unlink()
    layout.done.mkdir(parents=True)
    (layout.done / "kept").write_text("x")
    check_root(layout)
    check_root(layout)

    assert [] == [folder for folder in layout.folders() if not folder.is_dir()]
    assert "x" == (layout.done / "kept").read_text()
