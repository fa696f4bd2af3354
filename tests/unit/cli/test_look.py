import json
from pathlib import Path

import pytest

from finetuned.cli.live import look
from finetuned.files.status_file import DaemonState
from finetuned.layout import MANIFEST, Layout
from finetuned.supervisor.status import DEFAULTS


def point(link: Path, version: Path) -> None:
    version.mkdir(parents=True, exist_ok=True)
    (version / MANIFEST).write_text("{}")
    link.unlink(missing_ok=True)
    link.symlink_to(version)


@pytest.mark.parametrize("phase", ["stopped", "training"])
def test_without_a_daemon_the_links_say_what_is_in_use(tmp_path, phase):
    """
    The last status names v0001; since the daemon stopped or died a person put v0002 in use.
    """
    layout = Layout(tmp_path)
    layout.status_file.parent.mkdir()
    last = {"phase": phase, "pid": 1, "heartbeat_at": "2001-01-01T00:00:00+00:00"}
    named = {"version": "v0001", "head": "v0001", "beyond_release": {"n_datasets": 3}}
    layout.status_file.write_text(json.dumps({**DEFAULTS, **last, **named}))
    for link in (layout.current_model, layout.head):
        point(link, layout.versions / "v0002")
    status, seen = look(layout)

    assert seen.state in (DaemonState.STOPPED, DaemonState.DIED)
    assert status is not None
    assert ("v0002", "v0002", None) == tuple(status[key] for key in named)


def test_a_link_that_leads_elsewhere_changes_nothing(tmp_path):
    """
    A folder in the place of the link: the status is shown as it was written.
    """
    layout = Layout(tmp_path)
    layout.status_file.parent.mkdir()
    layout.current_model.mkdir()
    layout.status_file.write_text(json.dumps({**DEFAULTS, "phase": "stopped", "version": "v0001"}))
    status, _ = look(layout)

    assert status is not None
    assert "v0001" == status["version"]
