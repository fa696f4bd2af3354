"""
Every knob is documented, bounded, and named in the error when it is wrong.
"""

import dataclasses
import inspect
import tomllib
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from finetuned import config as rooms
from finetuned.cli.program import main
from finetuned.config import Config, config_from_dict, ignored_keys, load_config
from finetuned.config import default_file as tool
from finetuned.config.retired import _RETIRED, retired_keys
from finetuned.errors import ConfigError
from finetuned.files.journal import Journal
from finetuned.layout import Layout
from finetuned.supervisor.context import Context, check_root
from finetuned.supervisor.status import StatusBoard

KNOBS = [
    (section.name, knob)
    for section in dataclasses.fields(Config)
    for knob in dataclasses.fields(getattr(Config(), section.name))
]
IDS = [f"{section}.{knob.name}" for section, knob in KNOBS]


def test_the_printed_default_is_the_default():
    """
    finetuned config > config.toml changes nothing.
    """
    assert Config() == config_from_dict(tomllib.loads(tool.default_toml()))


@pytest.mark.parametrize(("section", "knob"), KNOBS, ids=IDS)
def test_every_knob_is_documented_and_printed(section, knob):
    """
    The text under the field is the manual; no field goes without.
    """
    text = tool.field_docs()[type(getattr(Config(), section)).__name__, knob.name]

    assert len(text) > 15
    assert text.endswith((".", ";", ")"))
    assert f"# {text.splitlines()[0]}\n" in tool.default_toml()


NUMBERS = [(s, k) for s, k in KNOBS if k.type in ("int", "float")]


@pytest.mark.parametrize(("section", "knob"), NUMBERS, ids=[f"{s}.{k.name}" for s, k in NUMBERS])
def test_every_number_has_a_range_that_is_held_and_documented(section, knob):
    """
    A value below the range is refused by name, and the text says where the range begins.
    """
    with pytest.raises(ConfigError, match=rf"{section}\.{knob.name} must be"):
        config_from_dict({section: {knob.name: -1e9 if knob.type == "float" else -(10**9)}})
    text = tool.field_docs()[type(getattr(Config(), section)).__name__, knob.name]
    assert any(mark in text for mark in (">=", ">", " to "))


@pytest.mark.parametrize(("section", "knob"), KNOBS, ids=IDS)
def test_a_wrong_type_is_refused_by_name(section, knob):
    """
    A table is never what a knob wants.
    """
    with pytest.raises(ConfigError, match=rf"{section}\.{knob.name} must be"):
        config_from_dict({section: {knob.name: {}}})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[training]\nlearning_rat = 1", "training.learning_rat"),
        ("[trainin]\nr = 1", "trainin"),
        ("training = 3", "training"),
        ("r = 3", "r"),
        ("[training]\nr = true", "training.r"),
        ("[training]\nr = 1.5", "training.r"),
        ("[inbox]\nscan_seconds = nan", "inbox.scan_seconds"),
        ("[training\nr = 1", "not TOML"),
        ("\xff", "config.toml"),
    ],
)
def test_a_mistake_is_an_error_that_names_it(tmp_path, text, named):
    """
    A typing error must not silently mean the default.
    """
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode("latin-1"))

    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert named in str(caught.value)
    assert "config.toml" in str(caught.value)


def test_no_file_means_all_defaults(tmp_path):
    """
    The daemon starts on an empty root.
    """
    assert Config() == load_config(tmp_path / "config.toml")


def test_a_resolved_configuration_reads_back_as_itself():
    """
    What is recorded beside a run can be used to run it again.
    """
    config = config_from_dict({"training": {"r": 8}, "model": {"base": "x"}})

    assert config == config_from_dict(config.as_dict())


@given(st.text(min_size=1))
def test_any_text_can_be_written_as_toml(text):
    """
    The printed default stays TOML whatever a default holds.
    """
    assert text == tomllib.loads(f"x = {tool.toml_value(text)}")["x"]


def test_every_class_of_knobs_says_what_it_is_for_or_is_a_section():
    """
    A section that nobody can set would be dead code.
    """
    classes = {
        name
        for name, cls in inspect.getmembers(rooms, dataclasses.is_dataclass)
        if cls is not Config
    }
    used = {
        type(getattr(Config(), section.name)).__name__ for section in dataclasses.fields(Config)
    }

    assert classes == used


def test_a_configuration_printed_by_an_earlier_version_is_still_good():
    """
    An update must not leave a daemon that does not start, nor a job that nobody can judge.
    """
    assert Config() == config_from_dict({"gate": {"max_new_accuracy_drop": 0.0}})


RETIRED = """
[inbox]
share_run_max_files = 10
stability_seconds = 1.0
[training]
rewarm_steps = 0
[supervisor]
log_backups = 2
"""


def test_a_retired_key_is_accepted_and_named_once(tmp_path, capsys):
    """
    A config.toml that sets one still starts the daemon, and its owner learns that it does nothing.
    """
    path = tmp_path / "config.toml"
    path.write_text(RETIRED)

    assert 1.0 == load_config(path).inbox.stability_seconds
    found = [warning.split(" ")[0] for warning in ignored_keys(path)]
    assert ["inbox.share_run_max_files", "training.rewarm_steps", "supervisor.log_backups"] == found
    assert 0 == main(["config", "--check", str(path)])
    shown = capsys.readouterr().err
    assert 3 == shown.count("has no effect any more")


def test_the_daemon_logs_each_retired_key_at_its_start(tmp_path):
    """
    Once: a warning that comes with every job is soon not read.
    """
    layout = Layout(tmp_path)
    layout.config.write_text(RETIRED)
    check_root(layout)
    with closing(Journal(layout.journal)) as journal, capture_logs() as logs:
        board = StatusBoard(layout.status_file)
        context = Context(layout, load_config(layout.config), journal, board)
        context.note_config()
        context.reload_config()

    assert 3 == len(logs)
    assert {"config_key_ignored"} == {entry["event"] for entry in logs}
    assert "inbox.share_run_max_files" in logs[0]["warning"]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_no_part_of_the_configuration(tmp_path, mark):
    """
    Some editors write one; it is not a key.
    """
    path = tmp_path / "config.toml"
    path.write_bytes(mark + b"[training]\nr = 8\n")

    assert 8 == load_config(path).training.r
    assert [] == ignored_keys(path)


@given(
    st.dictionaries(st.text(max_size=8), st.dictionaries(st.text(max_size=8), st.integers())),
    st.sampled_from(sorted(_RETIRED)),
)
def test_every_retired_key_of_any_tables_is_reported_and_no_other(tables, retired):
    """
    Whatever stands beside it.
    """
    section, key = retired
    tables.setdefault(section, {})[key] = 1
    expected = {f"{s}.{k}" for s, table in tables.items() for k in table if (s, k) in _RETIRED}

    assert expected == {warning.split(" ")[0] for warning in retired_keys(tables)}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('method = "full"', "training.method"),
        ("replay_rows = 15", "training.replay_rows"),
    ],
)
def test_families_need_adapters_and_rows_to_be_told_by(tmp_path, text, named):
    """
    A full model has no adapter, and a family of which no row is kept is never known again.
    """
    path = tmp_path / "config.toml"
    path.write_text(f'[training]\nadapters = "families"\n{text}\n')
    with pytest.raises(ConfigError, match=f'{named} with training.adapters = "families"'):
        load_config(path)
