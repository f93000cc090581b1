"""How the shipped split lists of the IU collection were made, so that anyone can make them again."""

from __future__ import annotations

from crossray.data.selection import select_studies
from crossray.data.sources.base import Source
from crossray.data.sources.tables import Table
from crossray.data.split_table import SplitTable
from crossray.data.splits import Fold, Side, SplitList, make_splits

#: The five labels that the folds are stratified on (global_local spec, §4.1).
STRATIFIED_ON = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")

IU_RR_V1 = "iu-rr-v1"
IU_R2GEN_LEGACY = "iu-r2gen-legacy"


def iu_rr_v1(source: Source) -> SplitList:
    """Five folds over the studies with a frontal film and a described report; a tenth of each training side validates.

    Identical texts stay together, the folds are stratified on five labels from the MeSH terms that people gave.
    """
    table = SplitTable.from_studies(select_studies(source, ("frontal",)).studies, STRATIFIED_ON)
    return make_splits(
        table.study_ids,
        table.patient_ids,
        table.text_keys,
        table.labels,
        folds=5,
        seed=0,
        validation_fraction=0.1,
        protocol=IU_RR_V1,
        notes="Five folds over the IU frontal studies with findings or impression, of the copy of 2,855 studies: "
        "by study (patients are unknown), identical normalised texts together, stratified on "
        f"{', '.join(STRATIFIED_ON)}; a tenth of each training side is its validation side. Seed 0.",
    )


def iu_r2gen_legacy(reports: Table) -> SplitList:
    """The R2Gen list as far as the collection at hand has its studies: one fold, whose test side may be empty.

    It knows nothing of identical texts; :func:`crossray.data.split_files.shared_texts` counts them.

    Args:
        reports: ``reports.csv`` of the table layout, with its column ``r2gen_split``.
    """
    reports.require(("study_id", "r2gen_split"))
    sides: dict[str, Side] = {"train": "train", "val": "validation", "test": "test"}
    ids: dict[Side, list[str]] = {side: [] for side in sides.values()}
    for row in reports.rows:
        if row["r2gen_split"] in sides:
            ids[sides[row["r2gen_split"]]].append(row["study_id"])
    fold = Fold("fixed", tuple(ids["train"]), tuple(ids["validation"]), tuple(ids["test"]))
    notes = "The list of R2Gen, for comparison with published figures; the copy at hand has none of its test studies."
    return SplitList(IU_R2GEN_LEGACY, (fold,), notes)
