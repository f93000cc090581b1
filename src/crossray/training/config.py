"""How a run is trained: what may change its result, and apart from it what may not (:class:`RuntimeConfig`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from crossray.data.sentence_order import SentenceOrder
from crossray.data.streaming.settings import StreamSettings
from crossray.settings import Settings

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "64-true"]


class OptimizerConfig(Settings):
    """The optimiser. The encoders may have a learning rate of their own.

    ``decay: weights`` leaves norms, biases and scales undecayed, ``all`` decays everything (as LoVT and PRIOR do).
    ``betas`` are of Adam and AdamW, ``momentum`` of SGD.
    """

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-4, gt=0.0)
    image_encoder_learning_rate: float | None = Field(default=None, gt=0.0)
    text_encoder_learning_rate: float | None = Field(default=None, gt=0.0)
    weight_decay: float = Field(default=1e-6, ge=0.0)
    decay: Literal["weights", "all"] = "weights"
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)


class WarmUpConfig(Settings):
    """A linear warm-up over ``warmup_epochs`` epochs or, where that is ``null``, ``warmup_fraction`` of all steps.

    It begins at ``warmup_start`` of the learning rate (``null``: at one step's share of it), and its last step has the
    whole.
    """

    warmup_fraction: float = Field(default=0.0, ge=0.0, lt=1.0)
    warmup_epochs: float | None = Field(default=None, gt=0.0)
    warmup_start: float | None = Field(default=None, ge=0.0, le=1.0)


class ConstantScheduleConfig(WarmUpConfig):
    """The learning rate stays after the warm-up."""

    name: Literal["constant"] = "constant"


class CosineScheduleConfig(WarmUpConfig):
    """Warm-up, then half a cosine down to ``final_factor`` of the learning rate at the end."""

    name: Literal["cosine"] = "cosine"
    warmup_fraction: float = Field(default=0.05, ge=0.0, lt=1.0)
    final_factor: float = Field(default=0.0, ge=0.0, le=1.0)


class StepScheduleConfig(WarmUpConfig):
    """Multiply by ``factor`` after each of the ``milestones``, counted in epochs (JoImTeRNet: 0.1 after epoch 20)."""

    name: Literal["step"] = "step"
    milestones: tuple[int, ...] = Field(min_length=1)
    factor: float = Field(default=0.1, gt=0.0, le=1.0)


class PlateauScheduleConfig(WarmUpConfig):
    """Multiply by ``factor`` when the selection metric has not improved for more than ``patience`` validations."""

    name: Literal["plateau"] = "plateau"
    factor: float = Field(default=0.5, gt=0.0, lt=1.0)
    patience: int = Field(default=5, ge=0)


class PeriodicCosineScheduleConfig(Settings):
    """A cosine that falls to ``final_factor`` over ``period`` epochs and rises again over as many, with no restart.

    LoVT's: with a period of one epoch, every second validation meets the full learning rate.
    """

    name: Literal["periodic_cosine"] = "periodic_cosine"
    period: float = Field(default=1.0, gt=0.0)
    final_factor: float = Field(default=0.0, ge=0.0, le=1.0)


class WarmRestartsScheduleConfig(Settings):
    """Half a cosine down to ``final_factor`` over every ``period`` epochs, each time from the full learning rate."""

    name: Literal["warm_restarts"] = "warm_restarts"
    period: float = Field(default=1.0, gt=0.0)
    final_factor: float = Field(default=0.0, ge=0.0, le=1.0)


ScheduleConfig = Annotated[
    ConstantScheduleConfig
    | CosineScheduleConfig
    | StepScheduleConfig
    | PlateauScheduleConfig
    | PeriodicCosineScheduleConfig
    | WarmRestartsScheduleConfig,
    Field(discriminator="name"),
]


class SelectionConfig(Settings):
    """Which validation figure chooses the best weights, drives a plateau schedule and stops early.

    ``metric`` is ``loss`` or a name that the validator returns (``recall_mean``); ``patience`` is the number of
    validations without improvement after which training stops (or its stage ends), ``null`` never. Each stage begins
    without a best figure, since losses of different objectives do not compare.
    """

    metric: str = "loss"
    goal: Literal["min", "max"] = "min"
    patience: int | None = Field(default=None, ge=1)


class StageConfig(Settings):
    """One stage of a method that trains in stages; ``optimizer`` and ``schedule`` replace the run's as a whole."""

    name: str
    epochs: int = Field(ge=1)
    optimizer: OptimizerConfig | None = None
    schedule: ScheduleConfig | None = None


def _epochs_of_stages(so_far: dict[str, Any]) -> int:
    return sum(stage.epochs for stage in so_far.get("stages", ())) or 50  # none where they were refused


class TrainingConfig(Settings):
    """What the result depends on, besides data and model.

    ``batch_size`` is the global one: pairs of one optimiser step over all processes. ``micro_batch`` is how many of
    them a process encodes at a time. With ``accumulation: plain`` each micro-batch is contrasted by itself and the
    gradients are averaged (LoVT: 16 of 32 pairs); with ``cached`` all pairs of the batch meet, as if it were encoded
    at once (gradient caching, at the price of encoding twice). ``clip_norm`` bounds the gradient's norm: of the whole
    model or, with ``clip: by_encoder``, of each encoder (JoImTeRNet's with their projections) and of what belongs to
    neither. ``caption: sentence`` shows one random sentence a step; ``sentence_order`` moves sentences about in
    training (``swaps`` LoVT, ``shuffle`` PRIOR). ``use_validator`` also has the passed-in validator run (retrieval,
    from the command line). ``initial_weights`` is a run's folder (its best weights and its tokenizer) or a checkpoint
    to start from.

    ``stages`` says which stages of the method are trained, in its order, and how long: optimiser and schedule begin
    anew at each. ``epochs`` is then their sum and need not be written.
    """

    seed: int = Field(default=0, ge=0, lt=2**32)
    stages: tuple[StageConfig, ...] = ()
    epochs: int = Field(default_factory=_epochs_of_stages, ge=1)
    batch_size: int = Field(default=48, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    accumulation: Literal["plain", "cached"] = "plain"
    precision: Precision = "32-true"
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = CosineScheduleConfig()
    clip_norm: float | None = Field(default=None, gt=0.0)
    clip: Literal["joint", "by_encoder"] = "joint"
    ema_decay: float | None = Field(default=None, gt=0.0, lt=1.0)
    caption: Literal["report", "sentence"] = "report"
    sentence_order: SentenceOrder = "original"
    validate_every_epochs: int = Field(default=1, ge=1)
    use_validator: bool = True
    selection: SelectionConfig = SelectionConfig()
    initial_weights: str | None = None

    @model_validator(mode="after")
    def _caching_needs_pieces(self) -> TrainingConfig:
        if self.accumulation == "cached" and self.micro_batch is None:
            raise ValueError("accumulation: cached needs micro_batch, the number of pairs to encode at a time")
        return self

    @model_validator(mode="after")
    def _stages_make_the_epochs(self) -> TrainingConfig:
        total = sum(stage.epochs for stage in self.stages)
        if self.stages and self.epochs != total:
            raise ValueError(f"the stages have {total} epochs together, not {self.epochs}: leave epochs out")
        return self

    @property
    def contrasted(self) -> int:
        """Pairs that meet in one loss (on one process, for plain accumulation)."""
        return (
            self.batch_size
            if self.accumulation == "cached"
            else min(self.micro_batch or self.batch_size, self.batch_size)
        )


class RuntimeConfig(Settings):
    """Where and how a run is carried out. None of it changes the result, so a run may be resumed under another one.

    ``checkpoint_every_steps`` and ``checkpoint_every_seconds`` say how often the state to resume from is written
    (whichever comes first, and always at the end of an epoch). ``devices`` counts processes of a host, one a device;
    torchrun and SLURM say it themselves. ``timeout_seconds`` is how long processes wait for one that does not answer.
    ``check_store`` hashes the whole store before the first step: from what is damaged there, nothing is learned.
    ``streaming`` says how a store at a URL is read; its films are checked as they come.

    ``strategy: ddp`` has every process hold all weights, ``fsdp`` shares out those of the encoders' blocks, with their
    gradient and moments (``training.sharding``).
    """

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = Field(default=1, ge=1)
    nodes: int = Field(default=1, ge=1)
    strategy: Literal["ddp", "fsdp"] = "ddp"
    timeout_seconds: float = Field(default=1800.0, gt=0.0)
    workers: int = Field(default=0, ge=0)
    check_store: bool = True
    streaming: StreamSettings = Field(default_factory=StreamSettings)
    checkpoint_every_steps: int | None = Field(default=None, ge=1)
    checkpoint_every_seconds: float | None = Field(default=600.0, gt=0.0)
    tensorboard: bool = True
    progress: bool = True
    log_every_steps: int = Field(default=10, ge=1)
