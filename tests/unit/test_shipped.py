from pathlib import Path

from finetuned.files import shipped as place
from finetuned.files.base_model import find_base
from finetuned.files.shipped import checkout, find_suite, shipped
from finetuned.layout import Layout

CHECKOUT = Path(__file__).resolve().parents[2]


def test_in_a_checkout_the_data_of_its_top_level_is_used():
    """
    There is one copy of it.
    """
    assert CHECKOUT == checkout()
    assert CHECKOUT / "models" / "base" == shipped().bases
    assert CHECKOUT / "benchmarks" / "infra_200.jsonl" == find_suite(
        Layout(Path("/x")), "infra_200"
    )


def test_the_roots_own_comes_before_what_is_shipped(tmp_path):
    """
    A person may replace the base model and the suites by others of the same name.
    """
    layout = Layout(tmp_path)
    assert shipped().bases / "micro" == find_base(layout, "micro")
    (layout.bases / "micro").mkdir(parents=True)
    (layout.bases / "micro" / "config.json").write_text("{}")
    layout.benchmarks.mkdir()
    own = layout.benchmarks / "infra_200.jsonl"
    own.write_text("{}")

    assert layout.bases / "micro" == find_base(layout, "micro")
    assert own == find_suite(layout, "infra_200")


def test_a_suite_that_nobody_has_is_not_found(tmp_path):
    """
    None, and no path that might be read.
    """
    assert find_suite(Layout(tmp_path), "no_such_suite") is None


def test_an_installed_package_has_its_data_inside(tmp_path, monkeypatch):
    """
    Folders of the same names beside an installed package belong to somebody else.
    """
    package = tmp_path / "site-packages" / "finetuned"
    monkeypatch.setattr(place, "_PACKAGE", package)
    checkout.cache_clear()
    try:
        assert checkout() is None
        assert package / "shipped" / "benchmarks" == shipped().benchmarks
        (tmp_path / "setup.cfg").write_text("")
        checkout.cache_clear()
        assert checkout() is None  # its parent is not daemon/
    finally:
        checkout.cache_clear()
