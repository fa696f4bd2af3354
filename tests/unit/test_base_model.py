"""
Where a base model is looked for, in which order, and what is said if it is nowhere.
"""

import pytest

from finetuned.errors import BaseModelMissing
from finetuned.files.base_model import BaseName, find_base, portable_name, position_limit
from finetuned.layout import Layout

HUB_ID = "org/model"


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    layout = Layout(tmp_path / "root")
    layout.bases.mkdir(parents=True)
    return layout


def model(folder, config="{}"):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config)
    return folder


def snapshot(tmp_path, revision="abc"):
    """
    Make what a download of HUB_ID leaves in the cache, without a config.json.
    """
    repo = tmp_path / "hf" / "hub" / "models--org--model"
    (repo / "refs").mkdir(parents=True, exist_ok=True)
    (repo / "refs" / "main").write_text(f"{revision}\n")
    return repo / "snapshots" / revision


def test_each_place_is_used_only_if_none_before_it_has_the_model(layout, tmp_path):
    """
    Hub cache, then a directory below the root, then models/base/: the later wins here.
    """
    cached = model(snapshot(tmp_path))
    assert cached == find_base(layout, HUB_ID)
    beside = model(layout.root / "org" / "model")
    assert beside == find_base(layout, HUB_ID)
    own = model(layout.bases / "org" / "model")
    assert own == find_base(layout, HUB_ID)


def test_an_absolute_directory_is_taken_as_it_is(layout, tmp_path):
    """
    Models may lie on another disk.
    """
    folder = model(tmp_path / "disk" / "m")

    assert folder == find_base(layout, str(folder))


def test_a_link_is_resolved(layout, tmp_path):
    """
    What is recorded must not change its meaning if the link is pointed elsewhere.
    """
    folder = model(tmp_path / "disk" / "m")
    (layout.bases / "m").symlink_to(folder)

    assert folder == find_base(layout, "m")


def test_a_folder_without_config_is_no_model_and_every_place_is_named(layout, tmp_path):
    """
    A download that broke off; the message says where the daemon looked.
    """
    half = snapshot(tmp_path)
    half.mkdir(parents=True)
    (layout.bases / "org" / "model").mkdir(parents=True)
    with pytest.raises(BaseModelMissing) as caught:
        find_base(layout, HUB_ID)

    assert HUB_ID == caught.value.base
    assert [layout.bases / "org/model", layout.root / "org/model", half] == [
        place for place in caught.value.looked if tmp_path in place.parents
    ]
    assert all(str(place) in str(caught.value) for place in caught.value.looked)


def test_a_revision_that_moved_on_is_followed(layout, tmp_path):
    """
    The snapshot that refs/main names counts, however many older ones are kept.
    """
    model(snapshot(tmp_path, "old"))
    new = model(snapshot(tmp_path, "new"))

    assert new == find_base(layout, HUB_ID)


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ('{"max_position_embeddings": 2048}', 2048),
        ('{"n_positions": 1024}', 1024),
        ('{"max_position_embeddings": 512, "n_positions": 1024}', 512),
        ("{}", None),
        ('{"max_position_embeddings": "many"}', None),
        ('{"max_position_emb', None),
        (None, None),
    ],
)
def test_the_limit_of_positions_is_what_the_model_says(tmp_path, config, limit):
    """
    None if it says nothing usable: no limit is invented.
    """
    if config is not None:
        (tmp_path / "config.json").write_text(config)

    assert limit == position_limit(tmp_path)


def test_adapters_name_a_base_by_its_path_from_the_root(layout, tmp_path):
    """
    Never by a path of this machine, wherever the model really lies.
    """
    model(layout.bases / "own")
    model(layout.root / "beside" / "m")
    model(tmp_path / "disk" / "m")
    (layout.bases / "linked").symlink_to(tmp_path / "disk" / "m")
    named = {
        "own": "models/base/own",
        "linked": "models/base/linked",
        "micro": "models/base/micro",
        "beside/m": "beside/m",
        str(tmp_path / "disk" / "m"): "models/base/m",
    }

    assert named == {name: portable_name(layout, name, None).name for name in named}
    assert "models/versions/v0002" == portable_name(layout, "own", "v0002").name


def test_adapters_name_a_hub_model_by_id_and_commit(layout, tmp_path):
    """
    The commit that was trained on: the model may be changed on the hub later.
    """
    model(snapshot(tmp_path, "abc"))
    assert BaseName(name=HUB_ID, revision="abc") == portable_name(layout, HUB_ID, None)
    model(layout.bases / "org" / "model")
    assert BaseName(name="models/base/org/model") == portable_name(layout, HUB_ID, None)
