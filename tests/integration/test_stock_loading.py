"""
What is published is the model that was judged: stock transformers and peft get its answers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from finetuned.data.examples import Example
from finetuned.inference.outcome import Raw

pytestmark = [
    pytest.mark.slow,
    # Of peft, on an adapter on a tied head, which our own merge unties.
    pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings=True"),
]

LIMIT = 24
"""Longest answer, in tokens."""

QWEN3 = Path(__file__).resolve().parents[3] / "shared" / "data" / "tokenizers" / "qwen3"

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Published:
    """
    A candidate of a real run, and what the evaluation's code makes it answer.
    """

    base: Path
    folder: Path
    asked: list[Messages]
    """The held-out prompts of the run."""
    answers: list[Raw]
    end: str
    """The token that ends an answer."""
    data: list[dict[str, Any]]


def edit(path: Path, **values: Any) -> None:
    """
    Set keys of a JSON file.
    """
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture(scope="module")
def elsewhere(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A base like Qwen's: its own end is not the one that its template puts after a turn,
    and it comes with a publisher's settings for chat.
    """
    import shutil

    folder = tmp_path_factory.mktemp("bases") / "elsewhere"
    shutil.copytree(tiny_base, folder)
    edit(folder / "tokenizer_config.json", eos_token="<|pad|>", clean_up_tokenization_spaces=True)
    pad = json.loads((folder / "generation_config.json").read_text())["pad_token_id"]
    edit(
        folder / "generation_config.json",
        eos_token_id=pad,
        do_sample=True,
        temperature=0.6,
        repetition_penalty=1.5,
    )
    edit(folder / "config.json", eos_token_id=pad)
    return folder


@pytest.fixture(scope="module")
def bare(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A base without a chat template whose tokenizer begins every text with a token.
    """
    import shutil

    folder = tmp_path_factory.mktemp("bases") / "bare"
    shutil.copytree(tiny_base, folder)
    (folder / "chat_template.jinja").unlink()
    edit(folder / "tokenizer_config.json", bos_token="<|im_start|>")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (bos,) = [t["id"] for t in tokenizer["added_tokens"] if t["content"] == "<|im_start|>"]
    begins = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    edit(
        folder / "tokenizer.json",
        post_processor={
            "type": "TemplateProcessing",
            "single": [begins, text],
            "pair": [begins, text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                "<|im_start|>": {"id": "<|im_start|>", "ids": [bos], "tokens": ["<|im_start|>"]}
            },
        },
    )
    return folder


def publish(root: Path, base: Path, end: str, **training: Any) -> Published:
    """
    Train a run on *base* and ask its candidate what the evaluation asks.
    """
    import finetuned.training.trainer  # noqa: F401
    from finetuned.training.worker import main
    from support.fork_run import fork_main, ingest, make_run

    root.mkdir(parents=True)
    data = ingest(root, base, [("a.jsonl", 60)])
    # A rate that does not fall: answers that the model is sure of, so that no two are a near tie.
    training = {"num_train_epochs": 6, "lr_scheduler_type": "constant", **training}
    make_run(root / "r1", base=base, datasets=data, training=training)
    assert 0 == fork_main(main, root / "r1")
    folder = root / "r1" / "candidate"
    return Published(base, folder, *ask_held_out(base, folder, data), end, data)


def ask_held_out(
    base: Path, folder: Path | None, data: Sequence[dict[str, Any]]
) -> tuple[list[Messages], list[Raw]]:
    """
    Return the held-out prompts, and what the evaluation's code gets as answers.
    """
    from finetuned.config import ModelConfig
    from finetuned.data.render import Renderer
    from finetuned.evaluation.selected_suites import pick_held_out
    from finetuned.files.spec import HeldOutRows
    from finetuned.inference.ask import ask
    from finetuned.model.load import load_version

    rows = [HeldOutRows(dir=Path(d["dir"]), name=d["name"]) for d in data]
    questions = pick_held_out(rows, [], 100)[0].suite.questions
    outcomes = ask(
        load_version(base, folder, ModelConfig(device="cpu", dtype="float32")),
        Renderer.load(base, max_length=512),
        questions,
        max_new_tokens=LIMIT,
        batch_size=8,
        deadline=time.monotonic() + 60,
    )
    found = {o.question.id: o.raw for o in outcomes}
    return [q.example.messages[:-1] for q in questions], [found[q.id] for q in questions]


def stock_answers(model: Any, folder: Path, asked: Sequence[Messages]) -> list[str]:
    """
    Return what *model* answers by what *folder* holds. Knows transformers only.
    """
    from transformers import AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(folder)
    settings = GenerationConfig.from_pretrained(folder)
    settings.max_new_tokens = LIMIT
    found = []
    for messages in asked:
        prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt"
        )
        output = model.generate(**prompt, generation_config=settings)
        found.append(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :]))
    return found


def assert_same(published: Published, model: Any) -> None:
    """
    Assert that stock answers are the evaluation's, text for text, ended by the stop.
    """
    found = stock_answers(model, published.folder, published.asked)

    expected = [f"{raw.text}{published.end if raw.stopped else ''}" for raw in published.answers]
    assert expected == found
    assert len(expected) / 2 <= sum(raw.stopped for raw in published.answers)
    assert not any(raw.timed_out for raw in published.answers)


@pytest.fixture(scope="module")
def adapter(elsewhere: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """
    An adapter on input embedding's tied head, on a base with another end.
    """
    return publish(
        tmp_path_factory.mktemp("adapter") / "root",
        elsewhere,
        "<|im_end|>",
        target_modules="q_proj,v_proj,up_proj,down_proj,lm_head",
        learning_rate=1e-2,
        r=16,
    )


@pytest.fixture(scope="module")
def full(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """
    A full model on a base without a template.
    """
    return publish(
        tmp_path_factory.mktemp("full") / "root",
        bare,
        "<|im_end|>",
        method="full",
        learning_rate=3e-3,
    )


@pytest.fixture(scope="module")
def merged(adapter: Published) -> Published:
    """
    The adapter merged into its base, whose head was the input embedding.
    """
    from finetuned.training.worker import main
    from support.fork_run import fork_main, make_run

    root = adapter.folder.parents[1]
    run = make_run(root / "r2", base=adapter.base, datasets=[], parent=adapter.folder)
    edit(run / "spec.json", job_kind="consolidation")
    assert 0 == fork_main(main, run)
    folder = run / "candidate"
    return replace(
        adapter,
        base=folder,
        folder=folder,
        answers=ask_held_out(folder, None, adapter.data)[1],
    )


def test_an_adapter_answers_as_it_was_judged(adapter: Published) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(adapter.base, dtype=torch.float32)

    assert_same(adapter, PeftModel.from_pretrained(base, adapter.folder))


def test_a_full_model_answers_as_it_was_judged(full: Published) -> None:
    from transformers import AutoModelForCausalLM

    assert_same(full, AutoModelForCausalLM.from_pretrained(full.folder))


def test_a_template_keeps_the_value_of_thinking_that_was_trained(tmp_path: Path) -> None:
    """
    Whoever does not set it sees the prompt that was trained; whoever sets it decides.
    """
    from transformers import AutoTokenizer

    from finetuned.data.render import Renderer
    from finetuned.merging.stock_files import write_stock_files

    if not QWEN3.is_dir():
        pytest.skip("shared/data/tokenizers is not here")
    asked = [{"role": "user", "content": "Why?"}]
    whole = [*asked, {"role": "assistant", "content": "So."}]
    for thinking in (False, True):
        renderer = Renderer.load(QWEN3, max_length=512, enable_thinking=thinking)
        write_stock_files(tmp_path, QWEN3, renderer)
        stock = AutoTokenizer.from_pretrained(tmp_path)
        prompts = [
            stock.apply_chat_template(asked, add_generation_prompt=True, return_dict=False, **set_)
            for set_ in ({}, {"enable_thinking": thinking}, {"enable_thinking": not thinking})
        ]
        expected = renderer.prompt_ids(Example("conversation", "messages", whole))
        assert [expected, expected] == prompts[:2]
        assert expected != prompts[2]


def test_a_tokenizer_class_that_splits_otherwise_is_not_published(
    tiny_base: Path, tmp_path: Path
) -> None:
    """
    tokenizer.json is what was trained with; the class of the base may make another of it.
    """
    import shutil

    from transformers import AutoTokenizer

    from finetuned.data.render import Renderer
    from finetuned.merging.stock_files import write_stock_files

    base, folder = tmp_path / "base", tmp_path / "folder"
    shutil.copytree(tiny_base, base)
    folder.mkdir()
    edit(base / "tokenizer_config.json", tokenizer_class="BertTokenizer")
    renderer = Renderer.load(base, max_length=512)

    write_stock_files(folder, base, renderer)

    stock = AutoTokenizer.from_pretrained(folder)
    assert renderer.text_ids("It's 3.") == stock("It's 3.").input_ids


def test_no_stock_file_names_a_folder_of_this_machine(
    adapter: Published, full: Published, merged: Published
) -> None:
    """
    A version may be copied to another machine.
    """
    for published in (adapter, full, merged):
        for path in published.folder.iterdir():
            if path.is_file() and path.suffix in (".json", ".jinja"):
                assert str(published.base.parent) not in path.read_text(), path


@pytest.mark.parametrize(
    "changes",
    [
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    ],
    ids=["head", "embedding", "both", "saved head", "saved embedding"],
)
def test_what_an_adapter_does_to_a_tied_head_survives_the_merge(
    tiny_base: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """
    Base and adapter in peft, and the stored merge in transformers, give the same logits.
    """
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    from finetuned.config import ModelConfig
    from finetuned.merging.check import MergeCheck
    from finetuned.merging.merge import merge

    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    made = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **changes))
    torch.manual_seed(0)
    for parameter in made.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    made.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    place = ModelConfig(device="cpu")

    merged, evidence = merge(tiny_base, tmp_path / "adapter", MergeCheck.of(tiny_base), place)
    merged.save_pretrained(tmp_path / "merged")

    assert evidence["untied_head"]
    ids = torch.arange(60)[None]
    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    models = (
        PeftModel.from_pretrained(base, tmp_path / "adapter"),
        AutoModelForCausalLM.from_pretrained(tmp_path / "merged"),
    )
    with torch.no_grad():
        expected, found = (model.eval()(input_ids=ids).logits for model in models)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_merge_of_a_weight_that_others_share_is_refused(tiny_base: Path) -> None:
    """
    Head and embedding can be parted; layers that share a weight in another way cannot.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from finetuned.errors import ModelError
    from finetuned.merging.merge import untie

    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    first, second = (layer.mlp for layer in model.model.layers)
    second.up_proj.weight = first.up_proj.weight
    wrapped = get_peft_model(model, LoraConfig(target_modules=["up_proj"]))

    with pytest.raises(ModelError, match="a weight that other layers"):
        untie(wrapped)


def test_a_merged_model_answers_as_it_was_judged(merged: Published, adapter: Published) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(merged.folder)

    assert_same(merged, model)
    assert [a.text for a in adapter.answers] == [a.text for a in merged.answers]


def test_a_merge_leaves_what_the_adapter_left(merged: Published, adapter: Published) -> None:
    """
    A head that shared its weights has its own; the input embedding is that of the base.
    """
    from safetensors.torch import load_file

    base, after = (load_file(f / "model.safetensors") for f in (adapter.base, merged.folder))
    manifest = json.loads((merged.folder / "manifest.json").read_text())

    assert manifest["merge"]["untied_head"]
    assert torch.equal(base["model.embed_tokens.weight"], after["model.embed_tokens.weight"])
    assert not torch.equal(after["lm_head.weight"], after["model.embed_tokens.weight"])
    assert not json.loads((merged.folder / "config.json").read_text())["tie_word_embeddings"]
