"""Labels from the MeSH terms that people gave to the IU reports."""

from __future__ import annotations

import math

from crossray.data.patterns import load_patterns


def mesh_label_names() -> tuple[str, ...]:
    """The classes that the terms speak of, in the order of the CheXpert classes."""
    return tuple(load_patterns("mesh"))


def mesh_labels(mesh_major: str) -> dict[str, float]:
    """Labels of one report from its terms: 1.0 if a term of the class is there, else 0.0.

    Args:
        mesh_major: terms parted by ``;``, each a head term with qualifiers after ``/``
            ("Pulmonary Edema/interstitial/mild;Cardiomegaly"). Compared without regard to case.

    Returns:
        One value a class of :func:`mesh_label_names`. NaN for all without any term, and for ``No Finding`` where
        the people wrote "No Indexing". Mapping of the five common classes: global_local spec, §4.1.
    """
    terms = [term.strip().lower().split("/") for term in mesh_major.split(";") if term.strip()]
    if not terms:
        return dict.fromkeys(mesh_label_names(), math.nan)
    labels = {
        name: float(any(_names(term, wanted) for term in terms for wanted in accepted))
        for name, accepted in load_patterns("mesh").items()
    }
    if all(term == ["no indexing"] for term in terms):
        labels["No Finding"] = math.nan
    return labels


def _names(term: list[str], wanted: str) -> bool:
    """Whether a term has the wanted head and, if one is asked for, the wanted qualifier."""
    head, *qualifiers = wanted.split("/")
    return term[0] == head and all(qualifier in term[1:] for qualifier in qualifiers)
