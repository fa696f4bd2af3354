"""
What a model's manifest says, and which manifests of earlier releases are still read.
"""

import tarfile
from pathlib import Path

import orjson
import pytest

from finetuned.core.line_set import LineSet
from finetuned.errors import ModelError
from finetuned.files.model_manifest import ModelManifest, TrainedDataset, valid_version_name

OLD_ROOT = Path(__file__).resolve().parents[1] / "data" / "root_of_schema_2.tar.xz"
MANIFEST = Path("models/versions/v0007/manifest.json")

WHOLE = {
    "version": "v0007",
    "run_id": "r000012",
    "job_id": "j000004",
    "parent": "v0006",
    "base": "tiny",
    "base_version": "v0003",
    "consolidates": "v0006",
    "verdict": "promoted",
    "reason": "gain",
    "created_at": "2026-11-28T16:21:14.543Z",
    "eval_run_id": "r000013",
    "datasets": [
        {
            "dataset_id": "d1",
            "name": "a.jsonl",
            "sha256": "ab",
            "n_examples": 3,
            "n_supervised_tokens": 40,
            "unseen_lines": LineSet.of([2]).as_text(),
            "unseen_because": "why",
        }
    ],
    "job_steps": 10,
    "planned_steps": 12,
    "files": {"config.json": {"bytes": 5, "sha256": "cd"}, "w": {"bytes": 7, "sha256": "ef"}},
}

OPTIONAL = sorted(WHOLE.keys() - {"files"})
"""What a manifest may lack: candidates have no version, earlier releases wrote fewer facts."""


def test_every_fact_is_read():
    """
    The typed values are those of the JSON, which is kept as well.
    """
    found = ModelManifest.from_json({**WHOLE, "torch": "2.13"}, MANIFEST)

    assert WHOLE == {key: getattr(found, key) for key in WHOLE.keys() - {"files", "datasets"}} | {
        key: WHOLE[key] for key in ("files", "datasets")
    }
    assert (TrainedDataset("d1", "a.jsonl", "ab", 3, 40, LineSet.of([2]), "why"),) == found.datasets
    assert {"config.json": 5, "w": 7} == found.bytes_by_file
    assert 12 == found.size_bytes
    assert "2.13" == found.document["torch"]


@pytest.mark.parametrize("key", OPTIONAL)
@pytest.mark.parametrize("how", ["missing", "null"])
def test_a_fact_that_an_earlier_release_did_not_write_has_no_value(key, how):
    """
    Roots are older than programs: they open, whatever fact is not there.
    """
    document = {k: v for k, v in WHOLE.items() if k != key}
    if how == "null":
        document[key] = None
    found = ModelManifest.from_json(document, MANIFEST)

    assert getattr(found, key) == {"datasets": (), "job_steps": 0, "planned_steps": 0}.get(key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, 7) for key in OPTIONAL if not key.endswith("_steps") and key != "datasets"),
        *((key, "../../etc") for key in ("version", "parent", "base_version", "consolidates")),
        ("job_steps", -1),
        ("planned_steps", 1.5),
        ("job_steps", True),
        ("job_steps", "10"),
        ("datasets", {"dataset_id": "d1"}),
        ("datasets", ["d1"]),
        ("datasets", [{"name": "a.jsonl"}]),
        ("datasets", [{"dataset_id": "d1", "n_examples": "3"}]),
        ("datasets", [{"dataset_id": "d1", "unseen_lines": "no set"}]),
        ("files", None),
        ("files", ["w"]),
        ("files", {"w": None}),
        ("files", {"w": {"bytes": "7", "sha256": "ef"}}),
        ("files", {"w": {"bytes": 7}}),
    ],
)
def test_a_fact_of_another_type_is_damage_with_the_files_name(key, value):
    """
    A name in it becomes a path: it is refused and not followed.
    """
    with pytest.raises(ModelError, match=f"{MANIFEST}: "):
        ModelManifest.from_json({**WHOLE, key: value}, MANIFEST)


@pytest.mark.parametrize("value", ["v0001", "v12345"])
def test_a_version_name_is_returned(value):
    assert value == valid_version_name(value)


@pytest.mark.parametrize("value", [None, 7, "", "v1", "v0007/..", "V0007", "v0007\n", b"v0007"])
def test_anything_else_is_no_version_name(value):
    assert valid_version_name(value) is None


def test_the_manifests_of_an_earlier_release_are_read():
    """
    A root of journal schema 2, packed when its release was current.
    """
    with tarfile.open(OLD_ROOT) as archive:
        found = {
            name: ModelManifest.from_json(
                orjson.loads(archive.extractfile(name).read()), Path(name)
            )
            for name in archive.getnames()
            if "/versions/" in name and name.endswith("manifest.json")
        }

    assert {"v0001": (None, "promoted"), "v0002": ("v0001", "rejected")} == {
        m.version: (m.parent, m.verdict) for m in found.values()
    }
    assert all(m.datasets and m.job_steps and m.base == "tiny" for m in found.values())
