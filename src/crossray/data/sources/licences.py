"""The licences of the sources in a few words, for model cards. ``docs/data-sets.md`` says where each is written."""

from __future__ import annotations

from collections.abc import Mapping

_PHYSIONET = "PhysioNet Credentialed Health Data Licence"
_STANFORD = "Stanford University Dataset Research Use Agreement: no commercial use, no sharing"
_NIH = "no restriction on use; acknowledge the NIH Clinical Center"

LICENCES: Mapping[str, str] = {
    "iu_xray": "CC BY-NC-ND 4.0",
    "folder": "a hospital's own films and reports: whoever gave them says what may be done with what was learned",
    "phantom": "drawn by CrossRay, nobody's films",
    "mimic_cxr": _PHYSIONET,
    "chexpert": _STANFORD,
    "chexphoto": _STANFORD,
    "nih_cxr14": _NIH,
    "rsna_pneumonia": "RSNA's terms of use, with attribution",
    "siim_acr": "the terms of the challenge on Kaggle",
    "covid_rural": "CC BY 4.0",
    "object_cxr": "CC BY-NC 4.0",
    "vindr_cxr": _PHYSIONET,
    "ms_cxr": _PHYSIONET,
    "covid_cxr": "of each film, mostly CC BY-NC-SA; notes CC BY-NC-SA 4.0",
    "mhh_covid": "CC BY 3.0",
    "kermany_pneumonia": "CC BY 4.0",
    "nih_cxr14_sample": f"{_NIH}; boxes of RSNA under RSNA's terms",
}
