"""The config's keys as pydantic models: types are strict, unknown keys are errors, descriptions say what is allowed.

Each group has a model for what wrnexp ships. A group whose `_target_` is somebody else's class is checked against that
class's signature when it is called, see `ExternalTarget`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from wrnexp.config.text import PRINTABLE, Label, Name, Printable, Word


class Keys(BaseModel):
    """A part of the config: strict types, no unknown keys."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ExternalTarget(BaseModel):
    """A group that instantiates a class from outside wrnexp; its keys are that class's affair."""

    model_config = ConfigDict(strict=True, extra="allow")
    target: str = Field(alias="_target_", description="the dotted path of a class")


def _origin(node: Any) -> str:
    target = node.get("_target_", "wrnexp.") if isinstance(node, dict) else "wrnexp."
    return "ours" if str(target).startswith("wrnexp.") else "foreign"


# A description states the range in words: it is what an error message calls allowed.
Share = Annotated[float, Field(ge=0, lt=1, description="a number x with 0 <= x < 1")]
Probability = Annotated[float, Field(ge=0, le=1, description="a number x with 0 <= x <= 1")]
Positive = Annotated[float, Field(gt=0, description="a number above 0")]
NonNegative = Annotated[float, Field(ge=0, description="a number, 0 or more")]
Count = Annotated[int, Field(ge=1, description="a whole number, 1 or more")]
Size = Annotated[int, Field(ge=0, description="a whole number, 0 or more")]
Limit = Annotated[int | None, Field(ge=1, description="a whole number, 1 or more, or null for all")]
TimeLimit = Annotated[
    float | None,
    Field(gt=0, le=1e8, description="a number of seconds above 0, 1e8 at most, or null for no limit"),
]
Switch = Annotated[bool, Field(description="true or false")]
Choice = Annotated[bool | None, Field(description="true, false, or null for what is faster")]
Partial = Annotated[Literal[True], Field(alias="_partial_", description="true")]


class WideResNetConfig(Keys):
    """conf/model."""

    target: Literal["wrnexp.models.WideResNet"] = Field(alias="_target_", description="wrnexp.models.WideResNet")
    partial: Partial
    depth: int = Field(description="6n + 4 for a whole n of 1 or more: 10, 16, 22, 28, 34, 40, ...")
    width: Count
    dropout: Share
    stem_dropout: Share

    @field_validator("depth")
    @classmethod
    def _depth(cls, depth: int) -> int:
        if depth < 10 or (depth - 4) % 6:
            raise ValueError("not a depth of this net")
        return depth


class JitterConfig(Keys):
    """The strengths of ColorJitter."""

    brightness: NonNegative
    contrast: NonNegative
    saturation: NonNegative
    hue: float = Field(ge=0, le=0.5, description="a number x with 0 <= x <= 0.5")


class AugmentConfig(Keys):
    """conf/augment."""

    target: Literal["wrnexp.augment.Augment"] = Field(alias="_target_", description="wrnexp.augment.Augment")
    padding: int = Field(ge=0, le=31, description="a whole number from 0 to 31")
    padding_mode: Literal["constant", "reflect"] = Field(description="constant or reflect")
    flip: Probability
    policy: Literal["none", "autoaugment", "randaugment", "trivialaugment"] = Field(
        description="none, autoaugment, randaugment or trivialaugment"
    )
    num_ops: Count
    magnitude: int = Field(ge=0, le=30, description="a whole number from 0 to 30")
    jitter: JitterConfig
    erasing: Probability
    cutout: int = Field(ge=0, le=64, description="a whole number of pixels from 0 to 64")
    mixup: NonNegative
    cutmix: NonNegative


class CosineConfig(Keys):
    """conf/optim/schedule/cosine."""

    target: Literal["wrnexp.optim.Cosine"] = Field(alias="_target_", description="wrnexp.optim.Cosine")
    warmup_epochs: NonNegative
    final: Probability


class StepsConfig(Keys):
    """conf/optim/schedule/steps."""

    target: Literal["wrnexp.optim.Steps"] = Field(alias="_target_", description="wrnexp.optim.Steps")
    milestones: list[Positive] = Field(description="a list of epochs, growing, for instance [60,120,160]")
    gamma: float = Field(gt=0, le=1, description="a number x with 0 < x <= 1")
    warmup_epochs: NonNegative

    @field_validator("milestones")
    @classmethod
    def _growing(cls, milestones: list[float]) -> list[float]:
        if sorted(set(milestones)) != milestones:
            raise ValueError("the milestones do not grow")
        return milestones


def _schedule(node: Any) -> str:
    target = str(node.get("_target_")) if isinstance(node, dict) else ""
    if _origin(node) == "foreign":
        return "foreign"
    return "steps" if target.endswith("Steps") else "cosine"


class OptimConfig(Keys):
    """conf/optim."""

    target: Literal["wrnexp.optim.SGDRecipe"] = Field(alias="_target_", description="wrnexp.optim.SGDRecipe")
    epochs: Count
    lr: Positive
    momentum: Share
    nesterov: Switch
    weight_decay: NonNegative
    decay_norm_and_bias: Switch
    label_smoothing: Share
    accumulate: Count
    clip_norm: float | None = Field(gt=0, description="a number above 0, or null for no clipping")
    schedule: Annotated[
        Annotated[CosineConfig, Tag("cosine")]
        | Annotated[StepsConfig, Tag("steps")]
        | Annotated[ExternalTarget, Tag("foreign")],
        Discriminator(_schedule),
    ]


class LoaderConfig(Keys):
    """conf/loader."""

    target: Literal["wrnexp.data.TrainLoader", "wrnexp.data.ResidentLoader"] = Field(
        alias="_target_", description="wrnexp.data.TrainLoader or wrnexp.data.ResidentLoader"
    )
    partial: Partial
    batch_size: Count
    workers: Size
    prefetch_factor: Count
    drop_last: Switch
    persistent_workers: Switch
    pin_memory: Switch
    backend: Literal["batched", "torchvision"] = Field(description="batched or torchvision")


class DataConfig(Keys):
    """conf/data."""

    target: Literal["wrnexp.data.load"] = Field(alias="_target_", description="wrnexp.data.load")
    name: Literal["cifar100", "cifar10", "shapes", "folder"] = Field(description="cifar100, cifar10, shapes or folder")
    root: Printable | None = Field(description=f"a path of {PRINTABLE}, or null for the cache folder")
    val_size: Size
    train_limit: Limit
    test_limit: Limit
    resize: Switch


class TrainerConfig(Keys):
    """conf/trainer."""

    target: Literal["wrnexp.engine.Trainer"] = Field(alias="_target_", description="wrnexp.engine.Trainer")
    partial: Partial
    device: str = Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:<index> or mps")
    precision: Literal["auto", "fp32", "bf16"] = Field(description="auto, fp32 or bf16")
    channels_last: Choice
    compile: Choice
    memory_budget: float = Field(gt=0, le=1, description="a number x with 0 < x <= 1")
    cuda_graphs: Choice
    ema: float | None = Field(gt=0, lt=1, description="a number x with 0 < x < 1, or null for no average")
    test_every: Size
    on_divergence: Literal["stop", "skip", "rollback"] = Field(description="stop, skip or rollback")
    devices: Any = Field(description="a whole number, 1 or more, or auto for all visible GPUs")
    sync_batchnorm: Switch
    checkpoint_seconds: float | None = Field(
        ge=0, allow_inf_nan=False, description="a number of seconds, 0 or more, or null for less than 1% of the time"
    )
    max_seconds: TimeLimit

    @field_validator("devices")
    @classmethod
    def _devices(cls, devices: Any) -> Any:  # of a union each member would be told on a line of its own
        if devices != "auto" and (type(devices) is not int or devices < 1):
            raise ValueError("not a number of devices")
        return devices


class ConsoleConfig(Keys):
    """conf/tracking, console."""

    target: Literal["wrnexp.tracking.Console"] = Field(alias="_target_", description="wrnexp.tracking.Console")
    partial: Partial
    progress: Literal["auto", "bars", "lines", "off"] = Field(description="auto, bars, lines or off")


class WandbConfig(Keys):
    """conf/tracking, wandb."""

    target: Literal["wrnexp.tracking.wandb.Wandb"] = Field(alias="_target_", description="wrnexp.tracking.wandb.Wandb")
    partial: Partial
    mode: Literal["auto", "online", "offline", "disabled"] = Field(description="auto, online, offline or disabled")
    project: Printable = Field(
        pattern=r"^[^/\\#?%:]{1,128}$", description="up to 128 printable characters, none of / \\ # ? % :"
    )
    entity: Name
    tags: list[Word] = Field(description=f"a list of texts, each of 1 to 64 {PRINTABLE}")
    patience: float = Field(gt=0, le=3600, description="a number of seconds above 0, 3600 at most")
    code: Switch
    artifacts: Switch


class MediaConfig(Keys):
    """conf/tracking, media."""

    target: Literal["wrnexp.report.media.Media"] = Field(alias="_target_", description="wrnexp.report.media.Media")
    augmented: Switch
    mistakes: Switch
    confusion: Switch
    reliability: Switch


class TensorBoardConfig(Keys):
    """conf/tracking, tensorboard."""

    target: Literal["wrnexp.tracking.tensorboard.TensorBoard"] = Field(
        alias="_target_", description="wrnexp.tracking.tensorboard.TensorBoard"
    )
    partial: Partial


class SearchConfig(Keys):
    """What `hydra/sweeper=search` gives its trials; nobody else sets it."""

    target: Literal["wrnexp.tracking.search.Search"] = Field(
        alias="_target_", description="wrnexp.tracking.search.Search"
    )
    partial: Partial
    study: str = Field(description="the path of a study")
    trial: Size
    startup_trials: Size
    warmup_epochs: Size


class TrackingConfig(Keys):
    """conf/tracking."""

    console: ConsoleConfig
    wandb: WandbConfig
    media: MediaConfig
    tensorboard: TensorBoardConfig | None = Field(default=None, description="nothing, or what tracking=tensorboard has")
    search: SearchConfig | None = Field(default=None, description="nothing; a search sets it for its trials")


class SweepConfig(Keys):
    """conf/config.yaml, sweep."""

    on_error: Literal["continue", "stop"] = Field(description="continue or stop")
    retry_failed: Switch
    retry_diverged: Switch
    dry_run: Switch
    max_seconds: TimeLimit


class RunConfig(Keys):
    """The whole config."""

    model: Annotated[
        Annotated[WideResNetConfig, Tag("ours")] | Annotated[ExternalTarget, Tag("foreign")], Discriminator(_origin)
    ]
    augment: Annotated[
        Annotated[AugmentConfig, Tag("ours")] | Annotated[ExternalTarget, Tag("foreign")], Discriminator(_origin)
    ]
    optim: OptimConfig
    loader: Annotated[
        Annotated[LoaderConfig, Tag("ours")] | Annotated[ExternalTarget, Tag("foreign")], Discriminator(_origin)
    ]
    data: Annotated[
        Annotated[DataConfig, Tag("ours")] | Annotated[ExternalTarget, Tag("foreign")], Discriminator(_origin)
    ]
    trainer: TrainerConfig
    tracking: TrackingConfig
    seed: int = Field(ge=0, lt=2**63, description="a whole number, 0 or more")
    name: Name
    label: Label
    rerun: Switch
    sweep: SweepConfig
