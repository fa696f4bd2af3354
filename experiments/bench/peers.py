"""
How other tools train the rows, each in its usual way.

Common settings come from Settings; a contestant's options are what its users
would write. Imports what it needs inside: peers are an extra.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.bench.settings import LORA_RANK, MAX_GRAD_NORM, Contestant, Settings
from experiments.bench.shapes import build_base, build_model
from experiments.bench.watch import IGNORED, RowLog
from experiments.bench.workloads import Row


def build(settings: Settings, contestant: Contestant) -> Any:
    """
    Return the model that the contestant trains.
    """
    if contestant.kind == "unsloth":
        return _unsloth_model(settings, longest=40960)
    return build_model(settings, attention=contestant.attention)


def train(
    model: Any,
    rows: Sequence[Row],
    contestant: Contestant,
    settings: Settings,
    *,
    steps: int,
    callbacks: list[Any],
    log: RowLog,
) -> int:
    """
    Train *rows* once in *steps* optimizer steps.

    Args:
        model: From build; trained in place.
        rows: settings.rows_per_step rows for each step.
        contestant: Anyone but ours.
        settings: What all contestants share.
        steps: Optimizer steps to make.
        callbacks: TrainerCallbacks that watch.
        log: Told every row that is trained.

    Returns:
        Optimizer steps made.

    Raises:
        ValueError: Packing cannot cut these rows into *steps* steps.
    """
    how = _plain if contestant.kind == "trainer" else _sft
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        trainer = how(model, rows, contestant, settings, steps=steps, scratch=scratch)
        cut = contestant.options.get("packing_strategy") == "wrapped"
        trainer.data_collator = _logged(trainer.data_collator, log, cut=cut)
        for callback in callbacks:
            trainer.add_callback(callback)
        for callback in list(trainer.callback_handler.callbacks):
            if type(callback).__name__ in ("PrinterCallback", "ProgressCallback"):
                trainer.remove_callback(callback)
        trainer.train()
    return int(trainer.state.global_step)


def common_arguments(settings: Settings, *, steps: int, scratch: str) -> dict[str, Any]:
    """
    Return the TrainingArguments that are the same for everybody.
    """
    return {
        "output_dir": scratch,
        "max_steps": steps,
        "per_device_train_batch_size": settings.rows_per_step,
        "gradient_accumulation_steps": 1,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": MAX_GRAD_NORM,
        "optim": "adamw_torch_fused",
        "bf16": settings.dtype == "bfloat16",
        "use_cpu": settings.device == "cpu",
        "save_strategy": "no",
        "eval_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": settings.device == "cuda",
        "seed": settings.seed,
    }


def _plain(
    model: Any,
    rows: Sequence[Row],
    contestant: Contestant,
    settings: Settings,
    *,
    steps: int,
    scratch: str,
) -> Any:
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    tokenizer = _tokenizer()
    arguments = common_arguments(settings, steps=steps, scratch=scratch) | contestant.options
    return Trainer(
        model=model,
        args=TrainingArguments(**arguments),
        train_dataset=_columns(rows),
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
        processing_class=tokenizer,
    )


def _sft(
    model: Any,
    rows: Sequence[Row],
    contestant: Contestant,
    settings: Settings,
    *,
    steps: int,
    scratch: str,
) -> Any:
    if contestant.kind == "unsloth":
        import unsloth  # noqa: F401  patches trl, so it comes first
    import datasets
    from trl import SFTConfig, SFTTrainer

    datasets.disable_progress_bars()
    dataset = datasets.Dataset.from_list(_columns(rows))
    arguments: dict[str, Any] = common_arguments(settings, steps=steps, scratch=scratch)
    # Its defaults would compute activations twice and cut long rows.
    arguments |= {"gradient_checkpointing": False, "max_length": None} | contestant.options
    if contestant.bins_per_step:
        bins = contestant.bins_per_step
        arguments |= {
            "max_length": packed_length(
                dataset, arguments["packing_strategy"], steps=steps, bins_per_step=bins
            ),
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": bins,
        }
    return SFTTrainer(
        model=model,
        args=SFTConfig(**arguments),
        train_dataset=dataset,
        processing_class=_tokenizer(),
    )


def packed_length(dataset: Any, strategy: str, *, steps: int, bins_per_step: int) -> int:
    """
    Return the length at which packing yields bins for exactly *steps* optimizer steps.

    The shortest that does, and at least the longest row's, so that no row is cut
    by "bfd" (which would drop its end).

    Args:
        dataset: datasets.Dataset with ``input_ids``.
        strategy: As in SFTConfig.packing_strategy.
        steps: Optimizer steps wanted.
        bins_per_step: Bins in each; the last step may hold fewer.

    Raises:
        ValueError: No length does.
    """
    from trl import pack_dataset

    lengths = [len(ids) for ids in dataset["input_ids"]]
    ids = dataset.select_columns(["input_ids"])

    def steps_at(length: int) -> int:
        return -(-len(pack_dataset(ids, length, strategy)) // bins_per_step)

    low = max(max(lengths), sum(lengths) // (steps * bins_per_step))
    high = max(low, sum(lengths))
    while low < high:
        middle = (low + high) // 2
        if steps_at(middle) <= steps:
            high = middle
        else:
            low = middle + 1
    if steps_at(low) != steps:
        raise ValueError(
            f"packing into {steps} steps of {bins_per_step} bins is impossible: "
            f"{low} tokens make {steps_at(low)}"
        )
    return low


def _columns(rows: Sequence[Row]) -> list[dict[str, list[int]]]:
    return [
        {
            "input_ids": ids.tolist(),
            "labels": [int(t) if s else IGNORED for t, s in zip(ids, supervised, strict=True)],
        }
        for ids, supervised in rows
    ]


def _logged(
    collate: Callable[[list[Any]], Any], log: RowLog, *, cut: bool
) -> Callable[[list[Any]], Any]:
    def collate_and_log(features: list[Any]) -> Any:
        for feature in features:
            ids, labels = feature["input_ids"], feature["labels"]
            lengths = None if cut else feature.get("seq_lengths", [len(ids)])
            log.add(ids, labels, lengths)
        return collate(features)

    return collate_and_log


def _tokenizer() -> Any:
    """The least a trainer asks for: it knows which id pads."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    vocabulary = {word: i for i, word in enumerate(words.values())}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(vocabulary)), **words)


def _unsloth_model(settings: Settings, *, longest: int) -> Any:
    """Unsloth patches what it loads itself, so the same weights go by a folder."""
    from unsloth import FastLanguageModel

    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = str(Path(scratch) / "base")
        build_base(settings).save_pretrained(folder)
        _tokenizer().save_pretrained(folder)
        model, _ = FastLanguageModel.from_pretrained(
            model_name=folder,
            max_seq_length=longest,
            dtype=None,
            load_in_4bit=False,
            full_finetuning=settings.method == "full",
        )
    if settings.method == "full":
        return model
    return FastLanguageModel.get_peft_model(
        model,
        r=LORA_RANK,
        lora_alpha=LORA_RANK,
        lora_dropout=0,
        bias="none",
        target_modules=[
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ],
        use_gradient_checkpointing=False,
        random_state=settings.seed,
    )
