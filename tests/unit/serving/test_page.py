import pytest
from starlette.testclient import TestClient

from finetuned.core.job import JobEvent
from finetuned.files.journal import Journal
from finetuned.files.tables.datasets import Claim
from finetuned.layout import Layout, Priority
from finetuned.serving.gateway.page import STATIC, LivePage
from tests.support.journals import TO_EVALUATING
from tests.unit.serving.test_live import write_status

NAUGHTY = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\u202e\"'&${7*7}{{7*7}}"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """
    A root in which every text that a stranger gives is naughty.
    """
    layout = Layout(tmp_path_factory.mktemp("root"))
    for folder in layout.folders():
        folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(layout.journal)
    journal.datasets.add([Claim("d00000001", NAUGHTY, b"x", Priority.NORMAL, 1)])
    journal.datasets.accept(
        "d00000001", dataset_id="a" * 16, sha256="a" * 64, n_train=8, n_heldout=1
    )
    job = journal.jobs.add(Priority.NORMAL, ["d00000001"])
    for event in TO_EVALUATING:
        journal.jobs.move(job, event)
    journal.conclude(job, JobEvent.ACCEPT, version="v0001", parent=None, reason=NAUGHTY)
    journal.close()
    example = {"step": 1, "current_file": NAUGHTY, "prompt": NAUGHTY, "golden": "x"}
    write_status(
        layout,
        paused_reason=NAUGHTY,
        error_type="E",
        error_message=NAUGHTY,
        job={"id": NAUGHTY, "datasets": [NAUGHTY], "n_datasets": 1, "attempts": 0},
        recent_examples=[{**example, "model_output": NAUGHTY, "matches": False}],
        gpus=[{"index": 0, "name": NAUGHTY}],
    )
    (layout.logs / "supervisor.log").write_text(NAUGHTY)
    with TestClient(LivePage(layout, name=NAUGHTY).alone()) as found:
        yield found


@pytest.mark.parametrize("path", ["/", "/versions", "/versions/v0001", "/datasets/d00000001"])
def test_no_text_of_a_stranger_is_markup(client, path):
    """
    What a file, a model or an order says is shown and never obeyed.
    """
    page = client.get(path)

    assert 200 == page.status_code
    assert "&lt;img" in page.text
    assert [] == [bad for bad in ("<img", "<script>alert", "\u202e") if bad in page.text]


@pytest.mark.parametrize("path", ["/", "/versions/v0001"])
def test_no_script_and_no_style_stands_in_the_page(client, path):
    """
    The policy forbids both, so that one in the page would not work.
    """
    page = client.get(path)

    assert "script-src 'self'; style-src 'self'" in page.headers["content-security-policy"]
    assert [] == [bad for bad in (" style=", "<style", " onclick=") if bad in page.text]


@pytest.mark.parametrize("path", ["/versions/v9", "/datasets/%2e%2e", "/static/..%2fpage.py"])
def test_a_name_that_nothing_has_is_not_found(client, path):
    """
    A name is looked up, never opened.
    """
    assert 404 == client.get(path).status_code


def test_all_that_a_browser_loads_is_ours_and_small(client):
    """
    It works without the internet; 1 MB at most.
    """
    sizes = [len(client.get(f"/static/{name}").content) for name in STATIC]

    assert "http" not in client.get("/").text.replace("http-equiv", "")
    assert 0 < sum(sizes) < 1_000_000
