"""
What may be exported, known before any work.
"""

import pytest

from finetuned.core.export.request import (
    Quant,
    Target,
    default_name,
    needed_bytes,
    request_of,
    require_architecture,
)
from finetuned.errors import ExportRefused


def test_each_target_has_a_usual_precision():
    assert (Quant.Q8_0,) == request_of("gguf", None).quants
    assert (Quant.NONE,) == request_of("hf", None).quants


def test_several_precisions_are_taken_once_each_in_order():
    assert (Quant.Q4_K_M, Quant.Q8_0) == request_of("gguf", "q4_k_m,Q8_0,q4_k_m").quants


@pytest.mark.parametrize(
    ("target", "quants"), [("gguf", "int4"), ("hf", "q8_0"), ("vllm", "q8_0"), ("gguf", "q3")]
)
def test_a_precision_that_a_target_has_not_is_refused_with_those_that_it_has(target, quants):
    with pytest.raises(ValueError, match="takes --quant"):
        request_of(target, quants)


def test_an_architecture_without_a_converter_is_refused():
    require_architecture("LlamaForCausalLM", {"LlamaForCausalLM"})
    with pytest.raises(ExportRefused, match="FancyForCausalLM"):
        require_architecture("FancyForCausalLM", {"LlamaForCausalLM"})


def test_more_precisions_need_more_disk():
    """
    The whole model, the file that is quantised, and each file that comes of it.
    """
    one = needed_bytes(1000, 16, request_of("gguf", "q8_0"))

    assert 2000 < one < needed_bytes(1000, 16, request_of("gguf", "q8_0,q4_k_m")) < 4000


def test_exports_of_one_version_have_different_names():
    names = {default_name("v0007", request_of(str(t), None)) for t in Target}
    names.add(default_name("v0007", request_of("hf", "int8")))

    assert len(Target) + 1 == len(names)
