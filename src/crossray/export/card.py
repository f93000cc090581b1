"""A model card, filled from the run and, if they are given, from its results: nothing on it is made up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import yaml

from crossray.data.sources.licences import LICENCES
from crossray.evaluation.report.facts import headlines
from crossray.evaluation.results import Results
from crossray.export.parity import Parity
from crossray.export.training_facts import NAMED_WEIGHTS, TrainingFacts
from crossray.inference.run_files import ModelConfig

CARD_FILE = "README.md"

_LIMITS = """## Limits

- Research only. It is no medical device and nobody has tested it as one.
- Cosines order candidates; they are not probabilities. Where there is a `calibration.json` beside this card, the
  probabilities that it gives hold for films like those that it was fitted on.
- What it learned is what its reports say: findings that are rarely reported are rarely found, and the hospital, the
  scanners, the views and the patients of other places were not seen.
- Vectors of films and reports may let someone recognise a study of the training set: share them as you may share those.
"""
_DRAWN = "- **It was trained on drawn films and knows nothing of patients.** It shows that the method works, no more.\n"


def model_card(
    config: ModelConfig,
    trained: TrainingFacts,
    parity: Sequence[Parity],
    results: Results | None,
    licence: str | None,
    *,
    reads_reports: bool = True,
) -> str:
    """Markdown with the front matter that hubs read.

    Args:
        config: of the run.
        trained: on what and how.
        parity: how far the exported files are from the run.
        results: of ``crossray evaluate``, of this very checkpoint; without it the card says that nothing was measured.
        licence: an SPDX name or a sentence; without it the card says that nobody has chosen one.
        reads_reports: whether there is a text side.
    """
    front = {"library_name": "crossray", "license": licence or "unknown", "tags": ["chest-x-ray", config.method.name]}
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n",
        f"# {config.method.name} on chest X-rays{' and their reports' if reads_reports else ''}\n",
        "**Research only, not for diagnosis.** Made with CrossRay.\n",
        _listed("Model", _model(config, reads_reports)),
        _listed("Training", _training(config, trained, reads_reports)),
        _measured(results),
        _listed("Files", map(str, parity)),
        _LIMITS + (_DRAWN if trained.source == "phantom" else ""),
        _licence(trained, licence),
    ]
    return "\n".join(parts)


def _listed(title: str, lines: Iterable[str]) -> str:
    return f"## {title}\n\n" + "".join(f"- {line}\n" for line in lines)


def _model(config: ModelConfig, reads_reports: bool) -> Iterator[str]:
    image, text = config.image_encoder, config.text_encoder
    yield f"method `{config.method.name}`, preset {config.method.preset}"
    yield f"films: `{image.name}`, {config.image.size} × {config.image.size} grey pixels"
    if reads_reports:
        yield f"reports: BERT of {text.layers} layers, {text.width} wide, the first {text.max_tokens} tokens"


def _training(config: ModelConfig, trained: TrainingFacts, reads_reports: bool) -> Iterator[str]:
    made = trained.manifest
    source = f" of source `{trained.source}`" if trained.source else ""
    size = f", films prepared at {made.prepared_size} pixels" if made.prepared_size else ""
    yield f"store {_short(made.made_from.get('store'))}{source}{size}"
    split = f"`{trained.split}`, " if trained.split else ""
    fold = f", fold {trained.data['fold']}" if "fold" in trained.data else ""
    yield f"split {split}{_short(made.made_from.get('split'))}{fold}; its test side was not read"
    if initial := made.made_from.get("initial_weights"):
        yield f"began with the weights {_short(initial)} of another run"
    elif trained.training:  # an exported folder forgets where its encoders began
        text = f", reports: {_began(config.text_encoder.pretrained)}" if reads_reports else ""
        yield f"began with, films: {_began(config.image_encoder.pretrained)}{text}"
    if trained.training:
        budget = (f"{key} {trained.training.get(key, 'unknown')}" for key in ("epochs", "batch_size", "seed"))
        yield f"{', '.join(budget)}; {made.outcome}"
    yield f"weights {_short(trained.weights)}, by CrossRay {made.crossray}"
    if trained.hub:
        yield f"fetched from the hub as `{trained.hub}`, and exported again"


def _began(pretrained: str) -> str:
    """Where an encoder's weights began; a path would name a machine."""
    return {"none": "random weights"}.get(pretrained, pretrained if pretrained in NAMED_WEIGHTS else "other weights")


def _measured(results: Results | None) -> str:
    """What it was scored on, and the headlines."""
    if results is None:
        return "## Numbers\n\nNothing was measured for this card: `crossray export --results` fills it.\n"
    known = results.provenance
    lines = [f"| {one.title} | {one.value} [{one.interval}] | {one.compared} |" for one in headlines(results)]
    runs = f"; the numbers are of {len(known.runs)} runs, of which this is one" if len(known.runs) > 1 else ""
    return (
        "## Numbers\n\n"
        f"- source `{known.source}`, store {_short(known.store_hash)}\n"
        f"- split `{known.split_protocol}`, {_short(known.split_hash)}; folds scored: {', '.join(known.folds)}{runs}\n"
        f"- {known.studies} studies were scored that it was not trained on\n"
        f"- protocol `{known.protocol}`, preset {known.preset}; {known.level:.0%} intervals by patient, {known.draws} "
        f"draws; {known.date}\n\n| | value | beside |\n| --- | --- | --- |\n" + "\n".join(lines) + "\n"
    )


def _licence(trained: TrainingFacts, licence: str | None) -> str:
    chosen = f"{licence}." if licence else "None was chosen: give one with `crossray export --licence`."
    known = LICENCES.get(trained.source or "")
    data = f" `{trained.source}`: {known}." if known else ""
    return f"## Licence\n\n{chosen} The terms of the data that it was trained on apply too.{data}\n"


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "unknown"
