"""Published ways to make prompts, each giving a bank: one sentence a class, GLoRIA's five, or all its combinations.

Source: `downstream_protocols.md`, sections 3.2, 3.3 and 9 (3.). None of them has negated sentences, so a class is
scored by its positive ones whatever ``zero_shot.contrast`` says. GLoRIA takes the best of its prompts
(``zero_shot.aggregate=max``) and standardises each class over the films (``zero_shot.normalisation=zscore``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import as_file, files

from crossray.data.findings import FINDINGS
from crossray.evaluation.prompts.bank import ClassPrompts, PromptBank, class_generator
from crossray.evaluation.prompts.grammar import PromptGrammar
from crossray.settings import build_settings, read_yaml

#: One prompt a class (section 3.2); also for methods that set classes against each other.
CLASS_PROMPT = "{} is observed"

#: How many combinations of a class GLoRIA draws.
GLORIA_PROMPTS = 5

#: Classes of ChestX-ray14 that CheXpert has none of, or calls otherwise.
_OTHER_CLASSES = ("Effusion", "Infiltration", "Mass", "Nodule", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia")


def class_prompt(label: str) -> str:
    """The one prompt of a class; a publisher's underscores are blanks."""
    return CLASS_PROMPT.format(label.replace("_", " "))


def prior_single(seed: int) -> PromptBank:
    """PRIOR's released prompt for every class of CheXpert and ChestX-ray14; nothing is drawn."""
    classes = {name: ClassPrompts(positive=(class_prompt(name),)) for name in (*FINDINGS, *_OTHER_CLASSES)}
    return PromptBank(id="prior_single", classes=classes)


def gloria5(seed: int) -> PromptBank:
    """Five combinations of each of the five classes, drawn by (seed, class) among the distinct ones.

    The released code draws from all 54 of pleural effusion without a seed, and so may take a sentence twice; here five
    sentences are five, and a seed gives the same ones.
    """
    everything = all_combinations(seed)
    classes = {
        name: prompts.sample(GLORIA_PROMPTS, class_generator(seed, name))
        for name, prompts in everything.classes.items()
    }
    return PromptBank(id=f"gloria5, seed {seed}", classes=classes)


def all_combinations(seed: int) -> PromptBank:
    """Every distinct combination of the five classes (471 sentences); nothing is drawn."""
    grammar = gloria_grammar()
    classes = {name: ClassPrompts(positive=parts.distinct()) for name, parts in grammar.classes.items()}
    return PromptBank(id="all-combinations", classes=classes)


def gloria_grammar() -> PromptGrammar:
    """The shipped parts of the combinations."""
    with as_file(files(__package__) / "gloria-grammar.yaml") as file:
        return build_settings(PromptGrammar, read_yaml(file), file=file.name)


#: By the name that ``zero_shot.bank`` takes; each makes its bank from ``zero_shot.seed``.
PROVIDERS: Mapping[str, Callable[[int], PromptBank]] = {
    "prior_single": prior_single,
    "gloria5": gloria5,
    "all-combinations": all_combinations,
}
