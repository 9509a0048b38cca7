"""The settings of a run: type, unit, range and meaning of each.

Everything that is said about a setting elsewhere (the JSON schema, `config/README.md`, what an error
message proposes) is derived from these classes.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticUndefined

from .wording import shown


def yaml_float(value: Any) -> Any:
    """Return a text such as ``1e-3`` as a number, any other value as it is.

    YAML 1.1 reads a mantissa without a point as a text.
    """
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+", value, re.ASCII):
        return float(value)
    return value


Number = Annotated[float, BeforeValidator(yaml_float)]
# The upper limit of every count. It keeps sums and products of settings far from overflow.
LARGEST = 10**9
Count = Annotated[int, Field(le=LARGEST)]


def _increasing(values: list[int]) -> list[int]:
    if any(low >= high for low, high in pairwise(values)):
        raise ValueError
    return values


# A setting that is a list: it cannot be swept, and tells no conditions apart.
Iterations = Annotated[
    list[Annotated[Count, Field(ge=1)]],
    AfterValidator(_increasing),
    Field(json_schema_extra={"allowed": "a list of increasing positive integers", "uniqueItems": True}),
]


def log_spaced_iterations(below: int) -> list[int]:
    """Return the iterations 1, 2, 3, 5, 8, 12, 18, … less than ``below``.

    Each is half as many again as the one before, rounded up.
    """
    iterations = []
    iteration = 1
    while iteration < below:
        iterations.append(iteration)
        iteration = (3 * iteration + 1) // 2
    return iterations


class Stage(StrEnum):
    """The stage from which on a setting matters.

    If the setting changes, nothing before that stage is computed again.
    """

    START = "the start"
    SWITCH = "the first switch"
    EVALUATION = "the evaluation"


def _setting(
    meaning: str, *, unit: str = "", stage: Stage = Stage.START, neutral: Any = PydanticUndefined, **field: Any
) -> Any:
    """Declare a setting: meaning, unit, stage, neutral value and pydantic's bounds.

    A setting that is added to a model with finished runs says its ``neutral`` value: the one with which every
    result is what it was without the setting. A run with this value has the identity of the runs made before
    (see `identity`). The neutral value stays as it is if the default changes later.
    """
    extra = {"unit": unit, "stage": stage.value}
    if neutral is not PydanticUndefined:
        extra["neutral"] = neutral
    return Field(description=meaning, json_schema_extra=extra, **field)


# The endings of the settings that need a switch, and what such a setting is without one.
_WITHOUT_A_SWITCH = {"_at_switch": "false", "_after_switch": "null", "_of_last_set": "null"}
OTHERWISE = {
    "sequences_seed": "seed",
    "weights_seed": "seed",
    "lr_after_switch": "lr",
    "batch_size_after_switch": "batch_size",
    "num_iters_of_last_set": "num_iters_per_set",
}
"""For each setting that follows another one unless it is given, the other one."""

SETTINGS_OF_MODEL: dict[str, type["RunSettings"]] = {}
"""The settings class of each model. Each class that names its model below is entered by itself."""


class RunSettings(BaseModel):
    """The settings that every model has.

    A model's own class derives from this one and names the model: ``model: Literal["gpt"]``.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = _setting("the model")
    K: Count = _setting("number of sequences in a set", unit="sequences", ge=1)
    num_switches: int = _setting(
        "how often the set is replaced by the next", stage=Stage.SWITCH, default=1, ge=0, le=10_000
    )
    num_iters_per_set: Count = _setting(
        "training on each set; a multiple of num_iters_per_epoch", unit="iterations", ge=1
    )
    num_iters_of_last_set: Annotated[Count, Field(ge=1)] | None = _setting(
        "training on the last set, if it is shorter; a multiple of num_iters_per_epoch; null: num_iters_per_set",
        unit="iterations",
        stage=Stage.SWITCH,
        default=None,
        neutral=None,
    )
    num_iters_per_epoch: Count = _setting(
        "from one log entry, and test of the sequences, to the next", unit="iterations", ge=1
    )
    batch_size: Count = _setting("sequences drawn for one iteration", unit="sequences", ge=1)
    sequence_sampling_distribution: Literal["uniform", "zipf"] = _setting(
        "how the ranks of a batch are drawn", default="zipf"
    )
    zipf_exponent: Number = _setting(
        "a in p_r ∝ (r + 1)^-a; 0 if the sampling is uniform", default=1.0, ge=0, le=10
    )
    optimizer: Literal["adam", "adamw"] = _setting("the optimiser", default="adam")
    lr: Number = _setting("learning rate", default=1e-3, gt=0)
    weight_decay: Number = _setting("weight decay: in the gradient (adam) or decoupled (adamw)", default=0.0, ge=0)
    seed: Count = _setting(
        "seed of the sequences, batches and initial weights; set by `seeds`, not in the configuration", ge=0
    )
    sequences_seed: Count | None = _setting(
        "seed of the sequences and batches; null: the seed of the run", default=None, neutral=None, ge=0
    )
    weights_seed: Count | None = _setting(
        "seed of the initial weights; null: the seed of the run", default=None, neutral=None, ge=0
    )
    num_held_out: Count = _setting(
        "sequences of the evaluation that are never trained on",
        unit="sequences",
        stage=Stage.EVALUATION,
        default=1000,
        ge=1,
    )
    test_earlier_sets: bool = _setting("whether the tests during training include the earlier sets", default=True)
    test_stride: Count = _setting(
        "every so many-th sequence of a set is tested during training; the evaluation has all",
        unit="sequences",
        default=10,
        neutral=10,
        ge=1,
    )
    test_iters_after_switch: Iterations | None = _setting(
        "iterations after each switch at which the sequences are tested beside the ends of epochs; null: "
        "1, 2, 3, 5, 8, 12, … less than num_iters_per_epoch",
        unit="iterations",
        stage=Stage.SWITCH,
        default=None,
        neutral=[],
    )
    saved_iters: Iterations = _setting(
        "iterations on a set after which the weights are saved and evaluated, beside those when the set is left",
        unit="iterations",
        default=[],
        neutral=[],
    )
    num_threads: int = _setting(
        "threads of a job; they change the last bits of a result", unit="threads", default=1, ge=1, le=1024
    )
    device: Literal["cpu", "cuda"] = _setting("the device on which the model is trained", default="cpu")
    reset_optimizer_at_switch: bool = _setting(
        "whether the optimiser forgets its moments at each switch", stage=Stage.SWITCH, default=False
    )
    reset_model_at_switch: bool = _setting(
        "whether everything starts anew at each switch, from the initial weights: the control without transfer",
        stage=Stage.SWITCH,
        default=False,
    )
    lr_after_switch: Annotated[float, Field(gt=0), BeforeValidator(yaml_float)] | None = _setting(
        "learning rate from the first switch on; null: lr", stage=Stage.SWITCH, default=None, neutral=None
    )
    batch_size_after_switch: Annotated[Count, Field(ge=1)] | None = _setting(
        "batch_size from the first switch on; null: batch_size",
        unit="sequences",
        stage=Stage.SWITCH,
        default=None,
        neutral=None,
    )
    freeze: str = _setting(
        "the part that gets no update after the first switch", stage=Stage.SWITCH, default="none"
    )

    LENGTH: ClassVar[str]
    """The setting that is the length of a sequence."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Enter a class that names its model in `SETTINGS_OF_MODEL`."""
        for model in get_args(cls.model_fields["model"].annotation):
            SETTINGS_OF_MODEL[model] = cls

    def impossible(self) -> Iterator[tuple[str, str]]:
        """Yield each impossible combination of settings.

        Each is given as the setting at fault and what is wrong.
        """
        epoch = self.num_iters_per_epoch
        if self.num_iters_per_set % epoch:
            below = self.num_iters_per_set // epoch * epoch
            near = f"{below} or {below + epoch}" if below else str(epoch)
            yield (
                "num_iters_per_set",
                f"{self.num_iters_per_set} is not a multiple of num_iters_per_epoch ({epoch}), as {near} would be",
            )
        length, num_trained = getattr(self, self.LENGTH), self.K * (self.num_switches + 1)
        if length < 64 and 2**length < 2 * num_trained:
            yield (
                self.LENGTH,
                f"{length} bits make {2**length} sequences, too few to hold out some from {num_trained} "
                f"trained on; {(2 * num_trained - 1).bit_length()} or more would do",
            )
        if self.freeze != "none" and self.num_switches == 0:
            yield (
                "freeze",
                f'"{self.freeze}" needs a switch after which it begins: set num_switches to 1 or more, '
                'or freeze to "none"',
            )
        yield from self._impossible_after_switch()
        if self.freeze != "none" and self.reset_model_at_switch:
            yield (
                "freeze",
                f'"{self.freeze}" would freeze initial weights: set reset_model_at_switch to false, or '
                'freeze to "none"',
            )

    def _impossible_after_switch(self) -> Iterator[tuple[str, str]]:
        """Yield what is impossible of the settings that matter from the first switch on."""
        for key, value in self:
            without = next((words for end, words in _WITHOUT_A_SWITCH.items() if key.endswith(end)), None)
            if value and without and self.num_switches == 0:
                yield (
                    key,
                    f"{shown(value)} needs a switch: set num_switches to 1 or more, or {key} to {without}",
                )
        last, epoch = self.num_iters_of_last_set, self.num_iters_per_epoch
        if last and (last % epoch or last > self.num_iters_per_set):
            yield (
                "num_iters_of_last_set",
                f"{last} is not a multiple of num_iters_per_epoch ({epoch}) of at most num_iters_per_set "
                f"({self.num_iters_per_set})",
            )
        # With one switch, the last set is the only one after it.
        after_switch = "num_iters_of_last_set" if last and self.num_switches == 1 else "num_iters_per_set"
        for key, most in (("test_iters_after_switch", after_switch), ("saved_iters", "num_iters_per_set")):
            late = [t for t in getattr(self, key) or () if t > getattr(self, most)]
            if late:
                yield (key, f"{late[0]} is more than {most} ({getattr(self, most)}): leave it out")

    def resolved(self) -> dict[str, Any]:
        """Return every setting, with what follows from others filled in, as a flat dict."""
        settings = self.model_dump()
        settings["len_context"] = getattr(self, self.LENGTH)
        settings["num_predictions"] = settings["len_context"] - 1
        for key, other in OTHERWISE.items():
            settings[key] = settings[other] if settings[key] is None else settings[key]
        settings["num_iters"] = self.num_iters_per_set * self.num_switches + settings["num_iters_of_last_set"]
        if self.sequence_sampling_distribution == "uniform":
            settings["zipf_exponent"] = 0.0
        if self.test_iters_after_switch is None:
            below = self.num_iters_per_epoch if self.num_switches else 0
            settings["test_iters_after_switch"] = log_spaced_iterations(below)
        return settings


class TransformerSettings(RunSettings):
    """The settings that the transformers have in common."""

    LENGTH = "len_context"

    len_context: Count = _setting("length L of a sequence", unit="bits", ge=2)
    vocab_size: Literal[2] = _setting("values of a token", default=2)
    num_heads: Count = _setting("attention heads, of each layer", ge=1)
    num_hidden_features: Count = _setting("features of one head", default=8, ge=1)
    freeze: Literal["none", "attention", "mlp", "embeddings"] = _setting(
        "the part that gets no update after the first switch", stage=Stage.SWITCH, default="none"
    )


class OneLayerAttentionSettings(TransformerSettings):
    """The settings of the one-layer attention model."""

    model: Literal["one_layer_attention"] = _setting("the model")
    num_hidden_features_mlp: Count | None = _setting(
        "features of the MLP; null: num_heads · num_hidden_features", default=None, ge=1
    )
    num_mlp_layers: Count = _setting("linear layers of the MLP", default=3, ge=1)
    num_layers: Literal[1] = _setting("attention layers", default=1)
    attention_init: Literal["normal", "zero"] = _setting(
        "initial weights of the attention; zero (of the queries) makes it uniform", default="normal"
    )
    attention_init_std: Number = _setting(
        "standard deviation of the initial weights of queries and keys; the rest of the weights has 0.02",
        default=0.02,
        gt=0,
    )
    attention_trainable: bool = _setting("whether the attention is trained at all", default=True)
    mlp_init_std: Number = _setting(
        "standard deviation of the initial weights of the MLP and of the head",
        default=0.02,
        neutral=0.02,
        gt=0,
    )
    mlp_trainable: bool = _setting(
        "whether the MLP, the head included, is trained at all", default=True, neutral=True
    )

    def impossible(self) -> Iterator[tuple[str, str]]:
        """Yield each impossible combination of settings.

        Each is given as the setting at fault and what is wrong.
        """
        yield from super().impossible()
        for part, trained in (("attention", self.attention_trainable), ("mlp", self.mlp_trainable)):
            if self.freeze == part and not trained:
                yield (
                    "freeze",
                    f'"{part}" needs a part that was trained before: set {part}_trainable to true, or '
                    'freeze to "none"',
                )
        if self.freeze == "embeddings" and not (self.attention_trainable or self.mlp_trainable):
            yield (
                "freeze",
                '"embeddings" would leave the LayerNorm alone to learn: set attention_trainable or mlp_trainable '
                'to true, or freeze to "none"',
            )

    def resolved(self) -> dict[str, Any]:
        """Return every setting, with what follows from others filled in, as a flat dict."""
        settings = super().resolved()
        settings["num_hidden_features_mlp"] = (
            self.num_hidden_features_mlp or self.num_heads * self.num_hidden_features
        )
        return settings


class GptSettings(TransformerSettings):
    """The settings of GPT."""

    model: Literal["gpt"] = _setting("the model")
    num_layers: Count = _setting("blocks of attention and MLP", ge=1)


class DamSettings(RunSettings):
    """The settings of the dense associative memory."""

    LENGTH = "N"

    model: Literal["dam"] = _setting("the model")
    lr: Number = _setting("learning rate", default=1e-2, gt=0)
    N: Count = _setting("length of a sequence", unit="bits", ge=2)
    H: Count = _setting("heads: dimension of the keys", ge=1)
    M: Count = _setting("capacity of the memory", unit="sequences", ge=1)
    eta: Number = _setting("η, how sharply the memory is retrieved from", default=10.0, gt=0)
    initial_heads: Literal["random", "one_bit"] = _setting(
        "initial A and B: random logits, or heads that read one bit each", default="random", neutral="random"
    )
    logits_std: Number = _setting(
        "standard deviation of the random initial logits of A and B", default=0.1, gt=0, neutral=0.1
    )
    A_and_B_trainable: bool = _setting("whether A and B are trained at all", default=True, neutral=True)
    freeze: Literal["none", "A", "B", "both"] = _setting(
        "what gets no update after the first switch: A, B, or both", stage=Stage.SWITCH, default="none"
    )
    clear_memory_at_switch: bool = _setting(
        "whether the memory is emptied at each switch", stage=Stage.SWITCH, default=False
    )

    def impossible(self) -> Iterator[tuple[str, str]]:
        """Yield each impossible combination of settings.

        Each is given as the setting at fault and what is wrong.
        """
        yield from super().impossible()
        if self.initial_heads == "one_bit" and self.H > self.N:
            yield ("H", f"{self.H} heads cannot read a bit each of {self.N}: set H to {self.N} or less")
        if self.freeze != "none" and not self.A_and_B_trainable:
            yield (
                "freeze",
                f'"{self.freeze}" needs A and B that were trained before: set A_and_B_trainable to true, or '
                'freeze to "none"',
            )

    def resolved(self) -> dict[str, Any]:
        """Return every setting, with what follows from others filled in, as a flat dict."""
        settings = super().resolved()
        # The first bit is predicted too.
        settings["num_predictions"] = self.N
        return settings


@cache
def _stages(model: str) -> dict[str, Stage]:
    properties = SETTINGS_OF_MODEL[model].model_json_schema()["properties"]
    return {key: Stage(schema["stage"]) for key, schema in properties.items()}


def settings_until(stage: Stage, settings: dict[str, Any]) -> dict[str, Any]:
    """Return those of the ``settings`` of a run that matter before ``stage``."""
    later = list(Stage)[list(Stage).index(stage) :]
    # Of the values that are derived from other settings, this one depends on a setting of a later stage.
    stages = {"num_iters": Stage.SWITCH} | _stages(settings["model"])
    return {key: value for key, value in settings.items() if stages.get(key, Stage.START) not in later}


def settings_from(stage: Stage, settings: dict[str, Any]) -> dict[str, Any]:
    """Return those of the ``settings`` of a run that matter only from ``stage`` on."""
    earlier = settings_until(stage, settings)
    return {key: value for key, value in settings.items() if key not in earlier}


def is_list(schema: dict[str, Any]) -> bool:
    """Tell whether the JSON schema of a setting allows a list."""
    return any(option.get("type") == "array" for option in schema.get("anyOf", [schema]))


def allowed_values(schema: dict[str, Any]) -> str:
    """Say in words what the JSON schema of a value allows: ``a positive integer``.

    A schema can have the words itself, as ``allowed``.
    """
    if "allowed" in schema:
        return schema["allowed"]
    if "anyOf" in schema:
        return " or ".join(allowed_values(option) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if schema["type"] in ("integer", "number"):
        return _allowed_numbers(schema)
    return {"boolean": "true or false", "null": "null", "string": "a text"}[schema["type"]]


def _allowed_numbers(schema: dict[str, Any]) -> str:
    noun = "an integer" if schema["type"] == "integer" else "a number"
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is not None and high != LARGEST:
        return f"{noun} from {low} to {high}"
    if schema.get("exclusiveMinimum") == 0 or (low == 1 and schema["type"] == "integer"):
        return f"a positive {noun.split()[1]}"
    return f"{noun} of {low} or more"
