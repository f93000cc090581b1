"""Frontal or lateral: what a DICOM header says of a film's view, and which attribute said it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossray.data.study import View

#: Codes of the view (DICOM CID 4010: SNOMED CT, and the SNOMED RT codes that older devices write).
VIEW_CODES: Mapping[str, View] = {
    "399348003": "frontal",  # antero-posterior
    "R-10206": "frontal",
    "272479007": "frontal",  # postero-anterior
    "R-10214": "frontal",
    "R-40888": "frontal",
    "399033003": "frontal",  # frontal
    "R-10202": "frontal",
    "399067008": "lateral",  # lateral
    "R-102CD": "lateral",
    "399173006": "lateral",  # left lateral
    "R-10236": "lateral",
    "399198007": "lateral",  # right lateral
    "R-10232": "lateral",
}

_FRONTAL = re.compile(
    r"\b(?:pa|ap|p\.a\.?|a\.p\.?|frontal|front|postero-?\s?anterior|antero-?\s?posterior|thorax[_ ]?(?:pa|ap))\b",
    re.IGNORECASE,
)
_LATERAL = re.compile(r"\b(?:lat|lateral\w*|ll|rl|llat|rlat|seitl\w*|profil\w*|perfil)\b", re.IGNORECASE)
# Neither a frontal nor a lateral film; a decubitus film is named lateral for the patient, not for the beam.
_OTHER = re.compile(
    r"\b(?:oblique\w*|obl|lao|rao|lpo|rpo|decub\w*|decubitus|lld|rld|lldec|rldec|axial)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class ViewFinding:
    """A film's view, the attribute that told it, and the first later attribute that says otherwise.

    ``source`` is ``""`` where the header is silent; ``contradiction`` is ``""`` where nothing contradicts.
    """

    view: View
    source: str
    contradiction: str = ""


def view_of(position: str, codes: Sequence[tuple[str, str]], descriptions: Mapping[str, str]) -> ViewFinding:
    """The view of a film: ViewPosition, then ViewCodeSequence, then the words of descriptions, in that order.

    The first that speaks decides. An oblique or decubitus film is ``unknown``, and said so by its attribute. A
    description that names both views ("CHEST PA AND LAT") says nothing of one film.

    Args:
        position: ViewPosition, ``""`` if absent.
        codes: value and meaning of the codes in ViewCodeSequence.
        descriptions: keyword to text, in the order in which they are asked.
    """
    said: list[tuple[str, View]] = []
    for source, view in (
        ("ViewPosition", view_in_words(position.replace("\\", " "))),
        ("ViewCodeSequence", _view_in_codes(codes)),
        *((keyword, view_in_words(text)) for keyword, text in descriptions.items()),
    ):
        if view is not None:
            said.append((source, view))
    if not said:
        return ViewFinding("unknown", "")
    source, view = said[0]
    contradiction = next((other for other, seen in said[1:] if {seen, view} == {"frontal", "lateral"}), "")
    return ViewFinding(view, source, contradiction)


def view_in_words(text: str) -> View | None:
    """The view that words name; ``None`` if they name none, or both."""
    words = text.replace("_", " ").replace("/", " ").replace("^", " ")
    if _OTHER.search(words):
        return "unknown"
    frontal, lateral = bool(_FRONTAL.search(words)), bool(_LATERAL.search(words))
    if frontal == lateral:
        return None
    return "frontal" if frontal else "lateral"


def _view_in_codes(codes: Sequence[tuple[str, str]]) -> View | None:
    for value, meaning in codes:
        view = VIEW_CODES.get(value) or view_in_words(meaning)
        if view is not None:
            return view
    return None
