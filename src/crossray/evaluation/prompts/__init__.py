"""Prompts for zero-shot classification: shipped banks, banks of one's own, and published ways to make them."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from crossray.errors import ConfigError
from crossray.evaluation.prompts.bank import ClassPrompts, PromptBank, class_generator
from crossray.evaluation.prompts.providers import CLASS_PROMPT, PROVIDERS, class_prompt
from crossray.settings import build_settings, read_yaml

__all__ = [
    "CLASS_PROMPT",
    "DEFAULT_BANK",
    "ClassPrompts",
    "PromptBank",
    "class_generator",
    "class_prompt",
    "load_prompts",
]

DEFAULT_BANK = "chexpert-v1"


def load_prompts(bank: str | Path = DEFAULT_BANK, *, seed: int = 0) -> PromptBank:
    """A bank shipped with CrossRay or a provider's (by name), or one's own YAML file (by path).

    Args:
        bank: ``chexpert-v1``, ``prior_single``, ``gloria5``, ``all-combinations``, or a path.
        seed: what a provider that draws draws by.

    Raises:
        ConfigError: there is no such bank, or it is not valid.
    """
    if str(bank) in PROVIDERS:
        return PROVIDERS[str(bank)](seed)
    path = Path(bank)
    if path.suffix in (".yaml", ".yml"):
        return build_settings(PromptBank, read_yaml(path), file=path)
    shipped = files(__package__) / f"{DEFAULT_BANK}.yaml"
    if str(bank) != DEFAULT_BANK:
        names = ", ".join(f"'{name}'" for name in (DEFAULT_BANK, *PROVIDERS))
        raise ConfigError(f"there is no prompt bank '{bank}'.", remedy=f"Use {names} or the path of a YAML file.")
    with as_file(shipped) as file:
        return build_settings(PromptBank, read_yaml(file), file=file.name)
