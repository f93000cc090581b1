"""A model card, filled from the run and, if they are given, from its results: nothing on it is made up."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from crossray.evaluation.report.facts import headlines
from crossray.evaluation.results import Results
from crossray.export.parity import Parity
from crossray.inference.run_files import ModelConfig

CARD_FILE = "README.md"

_LIMITS = """## Limits

- Research only. It is no medical device and nobody has tested it as one.
- Cosines order candidates; they are not probabilities and are not calibrated.
- What it learned is what its reports say: findings that are rarely reported are rarely found, and the hospital, the
  scanners, the views and the patients of other places were not seen.
- Vectors of films and reports may let someone recognise a study of the training set: share them as you may share those.
"""


def model_card(config: ModelConfig, parity: Sequence[Parity], results: Results | None, licence: str | None) -> str:
    """Markdown with the front matter that hubs read.

    Args:
        config: of the run.
        parity: how far the exported files are from the run.
        results: of ``crossray evaluate``; without it the card says that nothing was measured.
        licence: an SPDX name or a sentence; without it the card says that nobody has chosen one.
    """
    front = {"library_name": "crossray", "license": licence or "unknown", "tags": ["chest-x-ray", config.method.name]}
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n",
        f"# {config.method.name} on chest X-rays and their reports\n",
        "**Research only, not for diagnosis.** Made with CrossRay.\n",
        _model(config),
        _measured(results),
        "## Files\n\n" + "\n".join(f"- {one}" for one in parity) + "\n",
        _LIMITS,
        f"## Licence\n\n{licence or 'None was chosen.'} The terms of the data that it was trained on apply too.\n",
    ]
    return "\n".join(parts)


def _model(config: ModelConfig) -> str:
    image, text = config.image_encoder, config.text_encoder
    crop = f"{config.image.size} × {config.image.size} grey pixels"
    return (
        "## Model\n\n"
        f"- method `{config.method.name}`, preset {config.method.preset}\n"
        f"- films: `{image.name}`, {crop}\n"
        f"- reports: BERT of {text.layers} layers, {text.width} wide, the first {text.max_tokens} tokens\n"
    )


def _measured(results: Results | None) -> str:
    """What it was scored on, and the headlines."""
    if results is None:
        return "## Data and numbers\n\nNothing was measured for this card.\n"
    known = results.provenance
    lines = [f"| {one.title} | {one.value} [{one.interval}] | {one.compared} |" for one in headlines(results)]
    return (
        "## Data and numbers\n\n"
        f"- source `{known.source}`, store {known.store_hash[:12]}\n"
        f"- split `{known.split_protocol}`, {known.split_hash[:12]}; folds scored: {', '.join(known.folds)}\n"
        f"- {known.studies} studies were scored that it was not trained on\n"
        f"- protocol `{known.protocol}`, preset {known.preset}; {known.level:.0%} intervals by patient, {known.draws} "
        f"draws; {known.date}\n\n| | value | beside |\n| --- | --- | --- |\n" + "\n".join(lines) + "\n"
    )
