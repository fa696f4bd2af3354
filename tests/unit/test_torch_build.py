"""
The build of torch is known without loading it.
"""

from __future__ import annotations

from importlib.metadata import version

from finetuned.model.torch_build import torch_build


def test_the_version_is_that_of_the_installed_package() -> None:
    """
    Up to the local part, which a package index may leave out.
    """
    assert version("torch").split("+")[0] == torch_build().version.split("+")[0]
