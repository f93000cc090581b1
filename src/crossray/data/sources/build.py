"""A source by its name, as the command line and recipes call it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crossray.data.sources.base import Source
from crossray.data.sources.expected import PublishedOptions
from crossray.errors import ConfigError
from crossray.settings import Settings, build_settings


class NoOptions(Settings):
    """A source without options of its own."""


def build_source(name: str, root: Path | None = None, options: Mapping[str, Any] | None = None) -> Source:
    """The source ``name`` in the folder (or manifest file) ``root``.

    Args:
        root: needed by all but the phantom, which has none.
        options: settings of the source itself, such as the phantom's ``count`` and ``difficulty``.

    Raises:
        ConfigError: unknown name or option, or ``root`` is missing or too much.
        DataError: ``root`` does not hold such a source.
    """
    if name not in _BUILDERS:
        raise ConfigError(f"there is no source '{name}'.", remedy=f"Sources are: {', '.join(_BUILDERS)}.")
    return _BUILDERS[name](root, options or {})


def _iu_xray(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.iu_xray import IuXraySource

    build_settings(NoOptions, options)
    return IuXraySource(_required("iu_xray", root))


def _folder(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.folder import FolderConfig, FolderSource

    return FolderSource(_required("folder", root), build_settings(FolderConfig, options))


def _phantom(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.phantom import PhantomConfig, PhantomSource

    if root is not None:
        raise ConfigError(f"the phantom is drawn, not read: '{root}' has no meaning for it.")
    return PhantomSource(build_settings(PhantomConfig, options))


def _mimic_cxr(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.mimic_cxr import MimicCxrOptions, MimicCxrSource

    return MimicCxrSource(_required("mimic_cxr", root), build_settings(MimicCxrOptions, options))


def _chexpert(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.chexpert import ChexpertOptions, ChexpertSource

    return ChexpertSource(_required("chexpert", root), build_settings(ChexpertOptions, options))


def _chexphoto(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.chexphoto import ChexphotoOptions, ChexphotoSource

    return ChexphotoSource(_required("chexphoto", root), build_settings(ChexphotoOptions, options))


def _nih_cxr14(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.nih_cxr14 import NihCxr14Options, NihCxr14Source

    return NihCxr14Source(_required("nih_cxr14", root), build_settings(NihCxr14Options, options))


def _rsna_pneumonia(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.rsna_pneumonia import RsnaPneumoniaSource

    return RsnaPneumoniaSource(_required("rsna_pneumonia", root), build_settings(PublishedOptions, options))


def _siim_acr(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.siim_acr import SiimAcrOptions, SiimAcrSource

    return SiimAcrSource(_required("siim_acr", root), build_settings(SiimAcrOptions, options))


def _covid_rural(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.covid_rural import CovidRuralOptions, CovidRuralSource

    return CovidRuralSource(_required("covid_rural", root), build_settings(CovidRuralOptions, options))


def _object_cxr(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.object_cxr import ObjectCxrOptions, ObjectCxrSource

    return ObjectCxrSource(_required("object_cxr", root), build_settings(ObjectCxrOptions, options))


def _vindr_cxr(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.vindr_cxr import VindrCxrOptions, VindrCxrSource

    return VindrCxrSource(_required("vindr_cxr", root), build_settings(VindrCxrOptions, options))


def _ms_cxr(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.ms_cxr import MsCxrOptions, MsCxrSource

    return MsCxrSource(_required("ms_cxr", root), build_settings(MsCxrOptions, options))


def _covid_cxr(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.covid_cxr import CovidCxrOptions, CovidCxrSource

    return CovidCxrSource(_required("covid_cxr", root), build_settings(CovidCxrOptions, options))


def _mhh_covid(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.mhh_covid import MhhCovidSource

    return MhhCovidSource(_required("mhh_covid", root), build_settings(PublishedOptions, options))


def _kermany_pneumonia(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.kermany_pneumonia import KermanyPneumoniaSource

    return KermanyPneumoniaSource(_required("kermany_pneumonia", root), build_settings(PublishedOptions, options))


def _nih_cxr14_sample(root: Path | None, options: Mapping[str, Any]) -> Source:
    from crossray.data.sources.nih_cxr14 import NihCxr14Options
    from crossray.data.sources.nih_cxr14_sample import NihCxr14SampleSource

    return NihCxr14SampleSource(_required("nih_cxr14_sample", root), build_settings(NihCxr14Options, options))


def _required(name: str, root: Path | None) -> Path:
    if root is None:
        raise ConfigError(f"the source '{name}' needs the folder it is in.")
    return root


_BUILDERS: Mapping[str, Callable[[Path | None, Mapping[str, Any]], Source]] = {
    "iu_xray": _iu_xray,
    "folder": _folder,
    "phantom": _phantom,
    "mimic_cxr": _mimic_cxr,
    "chexpert": _chexpert,
    "chexphoto": _chexphoto,
    "nih_cxr14": _nih_cxr14,
    "rsna_pneumonia": _rsna_pneumonia,
    "siim_acr": _siim_acr,
    "covid_rural": _covid_rural,
    "object_cxr": _object_cxr,
    "vindr_cxr": _vindr_cxr,
    "ms_cxr": _ms_cxr,
    "covid_cxr": _covid_cxr,
    "mhh_covid": _mhh_covid,
    "kermany_pneumonia": _kermany_pneumonia,
    "nih_cxr14_sample": _nih_cxr14_sample,
}
SOURCE_NAMES = tuple(_BUILDERS)
