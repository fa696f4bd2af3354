"""
The part of the build that setup.cfg cannot say: data outside the package goes into the wheel.

The embedded base model and the suites lie at the top of the checkout, where people look
for them. A wheel holds copies below finetuned/shipped/; files/shipped.py finds either.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("models/base/micro", "benchmarks")
"""Folders of the checkout, by their paths in it and below finetuned/shipped/."""
NOT_SHIPPED = shutil.ignore_patterns("sealed")
"""The sealed suite stays in the checkout: experiments/sealed.py alone asks it."""


class BuildWithData(build_py):
    """
    build_py, and the shipped data after it.
    """

    def run(self) -> None:
        """
        Build the package; copy the data unless this is an editable install, which reads the
        checkout's own.
        """
        if self.editable_mode:
            super().run()
            return
        package = Path(self.build_lib) / "finetuned"
        shutil.rmtree(package, ignore_errors=True)  # build/ may hold modules that are gone
        super().run()
        for name in SHIPPED:
            shutil.copytree(name, package / "shipped" / name, ignore=NOT_SHIPPED)


setup(cmdclass={"build_py": BuildWithData})
