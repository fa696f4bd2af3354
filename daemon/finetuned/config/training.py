"""
Knobs of the model and of its training.
"""

from __future__ import annotations

from dataclasses import dataclass

from finetuned.config.checks import check, ranges, words


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    base: str = "micro"
    """
    The base model: a name under models/base/, a directory, or a hub id such as
    "Qwen/Qwen3-0.6B" that has been downloaded. The daemon itself never downloads.
    """

    enable_thinking: bool = False
    """
    Whether chat templates that know the switch render reasoning. One policy for
    training, evaluation and serving, so that all three see the same token ids.
    """

    dtype: str = "auto"
    """
    Precision of the weights while training: "auto" (float32 on CPU, bfloat16 on
    CUDA), "float32" or "bfloat16". float16 is refused: on CPU it is about 100
    times slower, on CUDA it needs loss scaling that bfloat16 does not.
    """

    device: str = "auto"
    """Where workers run: "auto" (CUDA if there is one), "cpu", "cuda" or "mps"."""

    answer_format: str = ""
    """
    The JSON Schema that answers are held to, token by token, in evaluations and by the service:
    "intents" (infrastructure commands), or a file of the root; "" holds none. Rows, suites and
    requests may ask for another, or for "none". Held-out rows and items whose expected answer
    does not fit are asked freely.
    """

    def __post_init__(self) -> None:
        check(bool(self.base.strip()), "model.base", "a name, directory or hub id", self.base)
        words(
            "model",
            self,
            dtype=("auto", "float32", "bfloat16"),
            device=("auto", "cpu", "cuda", "mps"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    method: str = "lora"
    """
    "lora" (adapters on all linear layers), "full" (all weights, for small models)
    or "qlora" (4-bit base; CUDA with bitsandbytes only).
    """

    r: int = 32
    """LoRA rank, 1 to 1024."""

    lora_alpha: int = 64
    """
    LoRA scaling numerator, 1 to 4096; the update is scaled by lora_alpha / r. Used when a
    lineage starts: a version that training goes on from keeps its own.
    """

    lora_dropout: float = 0.0
    """Dropout on the adapter's input, 0 to 0.9."""

    target_modules: str = "all-linear"
    """The modules that get adapters: "all-linear", or names separated by commas."""

    adapters: str = "one"
    """
    "one" adapter learns all files; or "families": each family of files (files of one kind, told
    by their rows) has an adapter of its own, so that no file makes the model forget another
    kind. A question goes to the family whose prompts are nearest by their words.
    """

    learning_rate: float = 5e-4
    """
    AdamW step size, 1e-7 to 1. LoRA needs about ten times the rate of full fine-tuning
    (for training.method "full" try 5e-5).
    """

    warmup_steps: int = 20
    """
    Optimizer steps of linear warm-up, >= 0, once per lineage of versions and not per
    file: warming up again at each file makes the model forget earlier files.
    """

    lr_scheduler_type: str = "wsd"
    """
    Shape of the rate within each job: "wsd" holds it and lets it fall to zero over the
    last fifth, which ends as well for one file as for a stream of small ones; "linear"
    and "cosine" fall over the whole job (as good for one file, worse for many);
    "constant" never falls, and ends each file a little unsettled.
    """

    weight_decay: float = 0.0
    """AdamW decoupled weight decay, 0 to 1."""

    max_grad_norm: float = 1.0
    """Gradient clipping norm, > 0."""

    num_train_epochs: int = 2
    """Passes over each dataset, 1 to 1000."""

    per_device_train_batch_size: int = 8
    """The most examples in one micro-batch, 1 to 4096."""

    gradient_accumulation_steps: int = 1
    """
    Micro-batches of one optimizer step, 1 to 1024. The examples of a step are this
    times per_device_train_batch_size times the processes of a run.
    """

    max_batch_tokens: int = 16384
    """
    The most tokens computed in one micro-batch, 16 to 16777216: bounds memory. A shared
    beginning counts once. Lowered automatically to what the free memory is foreseen to
    hold, and halved if memory runs out; the examples of a step stay the same.
    """

    kernels: str = "auto"
    """
    How the loss is computed; all give the same loss. "auto" times those that fit the
    model; or "split", "cache" (shared beginnings computed once), "none" (rows side by
    side), "stock" (as transformers does it).
    """

    gradient_checkpointing: bool = False
    """
    Compute activations again instead of keeping them: less memory, about a fifth slower,
    and shared beginnings are computed for each row.
    """

    replay_presentations: int = 300
    """
    How often a job presents rows of each family of earlier files (files of one kind),
    0 to 100000: the cheapest known way against forgetting. At most half of a job; a small
    share where the new rows are of the same kind; more for a file that lost ground, less
    for one that held it. 0 switches it off.
    """

    replay_rows: int = 2000
    """Rows kept for replay with each version, of each file equally many, 0 to 100000."""

    average: bool = True
    """
    Whether a job that goes on from a version keeps only the share of its change that has
    the lowest held-out loss (1, 3/4, 1/2 or 1/4): a stream of small files ends nearer to
    where one large file does. Not for training.method "full".
    """

    patience: int = 0
    """
    Optimizer steps without a better held-out loss after which a job stops, >= 0; 0
    never stops. The loss is measured every evaluation.eval_steps.
    """

    min_delta: float = 0.01
    """The least fall of the held-out loss that counts as better, in nats per token, 0 to 100."""

    max_bad_steps: int = 5
    """
    Steps in a row whose loss or gradient is not a finite number, after which the job
    fails, >= 1. Each of them is left out and leaves weights and optimizer unchanged.
    """

    save_steps: int = 50
    """Optimizer steps between checkpoints, >= 1. A crash costs at most this much work."""

    keep_checkpoints: int = 2
    """Verified checkpoints kept in a run, >= 1."""

    seed: int = 0
    """Seed of shuffling, adapter initialisation and dropout, >= 0."""

    accelerate_config: str = ""
    """
    File made by `accelerate config`, relative to the root, to train on more than one
    device or machine: the worker is then started by `accelerate launch`, once per run.
    Empty for one process.
    """

    def __post_init__(self) -> None:
        words(
            "training",
            self,
            method=("lora", "full", "qlora"),
            lr_scheduler_type=("constant", "linear", "cosine", "wsd"),
            kernels=("auto", "split", "cache", "none", "stock"),
            adapters=("one", "families"),
        )
        if self.adapters == "families":
            what = 'with training.adapters = "families"'
            check(self.method != "full", f"training.method {what}", "lora or qlora", self.method)
            rows = self.replay_rows
            check(rows >= 16, f"training.replay_rows {what}", ">= 16 (they tell a family)", rows)
        check(self.max_grad_norm > 0, "training.max_grad_norm", "> 0", self.max_grad_norm)
        ranges(
            "training",
            self,
            r=(1, 1024),
            lora_alpha=(1, 4096),
            lora_dropout=(0, 0.9),
            learning_rate=(1e-7, 1),
            warmup_steps=(0, None),
            max_batch_tokens=(16, 2**24),
            replay_presentations=(0, 100_000),
            replay_rows=(0, 100_000),
            patience=(0, None),
            min_delta=(0, 100),
            max_bad_steps=(1, None),
            weight_decay=(0, 1),
            num_train_epochs=(1, 1000),
            per_device_train_batch_size=(1, 4096),
            gradient_accumulation_steps=(1, 1024),
            save_steps=(1, None),
            keep_checkpoints=(1, None),
            seed=(0, None),
        )
