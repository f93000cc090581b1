"""Twin of the small copy of the COVID-19 image data collection: notes with quirks, masks of lungs and structures."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from crossray.data.sources.expected import ExpectedCounts
from crossray.data.study import Box
from crossray.data.twins.files import Cell, Pixels, write_jpeg, write_png, write_table
from crossray.data.twins.lungs import box_rows, lung_boxes, lung_mask
from crossray.data.twins.material import TwinConfig, TwinStudy, twin_studies

NOTES_HEADER = (
    *("image", "patient_id", "offset_days", "view", "finding", "sex", "age", "survival", "intubated", "went_icu"),
    *("needed_supplemental_O2", "clinical_notes", "other_notes", "license", "source_url", "doi", "orig_filename"),
    *("orig_width", "orig_height"),
)
BOX_HEADER = ("image", "label", "x_min", "y_min", "x_max", "y_max", "source")
SCORE_HEADER = (
    "image",
    *(f"brixia_{rater}-{zone}" for rater in "SJ" for zone in (*"ABCDEF", "Global")),
    *("geographic_extent_mean", "opacity_mean"),
)
#: Finding as written -> the classes that are 1 for it.
FINDINGS: dict[str, tuple[str, ...]] = {
    "COVID-19": ("COVID-19", "Pneumonia"),
    "": (),
    "Klebsiella": ("Bacterial Pneumonia", "Pneumonia"),
    "No Finding": ("No Finding",),
    "COVID-19, ARDS": ("COVID-19", "Pneumonia"),
    "Pneumonia": ("Pneumonia",),
    "Mycoplasma Bacterial Pneumonia": ("Bacterial Pneumonia", "Pneumonia"),
    "Pneumocystis": ("Pneumonia",),
    "ARDS": (),
}
CREDIT = "Case courtesy of Dr Nobody, Radiopaedia.org, rID: 0"
_STRUCTURES = {
    "Consolidation": "consolidation",
    "Lung Lesion": "ground_glass_opacities",
    "Edema": "ground_glass_opacities",
}
_VIEWS = ("PA", "AP", "AP Supine", "")


def write_twin(out: Path, config: TwinConfig) -> ExpectedCounts:
    """Write the twin; every third study has a lateral film with the same note."""
    notes: list[list[Cell]] = []
    boxes: list[list[Cell]] = []
    scores: list[list[Cell]] = []
    studies = twin_studies(config)
    counts: Counter[str] = Counter(patients=len({study.patient for study in studies}))
    for study in studies:
        images = _write_pictures(out, study)
        notes += [_row(study, image, written) for image, written in images.items()]
        for source, drawn in film_boxes(study).items():
            boxes += box_rows(f"{stem(study)}.jpg", drawn, source)
        if study.number % 3 == 1:
            zones = (f"{(study.number + place) % 4}.0" for place in range(14))
            scores.append([f"{stem(study)}.jpg", *zones, "", "4.0"])
        counts.update(studies=len(images), images=len(images), masks=len(film_masks(study)))
        counts.update(f"positive {name}" for name in FINDINGS[finding(study)] for _ in images)
    write_table(out / "reports.csv", NOTES_HEADER, notes)
    write_table(out / "boxes.csv", BOX_HEADER, boxes)
    write_table(out / "scores.csv", SCORE_HEADER, scores)
    return ExpectedCounts(counts={**counts, "boxes": len(boxes)})


def stem(study: TwinStudy) -> str:
    """The film's name without its ending: the site's, with dots and underscores."""
    return f"covid-19-pneumonia_{study.number + 1}.{study.visit}-day{study.visit}"


def view(study: TwinStudy) -> str:
    """The view as written; some are not told."""
    return _VIEWS[study.number % len(_VIEWS)]


def has_lateral(study: TwinStudy) -> bool:
    """Whether the study has a second film."""
    return study.number % 3 == 2


def finding(study: TwinStudy) -> str:
    """The finding as written; it knows nothing of what the phantom drew."""
    return tuple(FINDINGS)[study.number % len(FINDINGS)]


def note(study: TwinStudy) -> tuple[str, str]:
    """The note and the other note: with the site's headings, without, with the history's heading alone."""
    history = study.section("indication") or "Fever and cough."
    described = study.section("findings") or study.section("impression")
    kind = study.number % 4
    if kind == 0:
        return f"Presentation: {history} . Imaging Notes: {described}. Discussion: Treated and discharged.", CREDIT
    if kind == 1:
        return f"Presentation: {history} {described}", CREDIT
    return f"{history} {described}", "Opacity in the right lower lobe." if kind == 2 else ""


def film_boxes(study: TwinStudy) -> dict[str, list[Box]]:
    """Source -> its boxes: lungs of most films, and of a film with masked structures these and the lungs again."""
    found = {}
    if study.number % 5 != 4:
        found["GeneralBlockchain lung boxes"] = lung_boxes(study.pixels)
    if is_outlined(study):
        structures = [
            Box(_STRUCTURES[box.label], box.x_min, box.y_min, box.x_max, box.y_max)
            for box in study.boxes
            if box.label in _STRUCTURES
        ]
        found["GeneralBlockchain segmentations"] = [*structures, *lung_boxes(study.pixels)]
    return found


def film_masks(study: TwinStudy) -> dict[str, Pixels]:
    """Folder -> mask of the frontal film."""
    masks = {}
    if study.number % 2 == 0:
        masks["lungs"] = lung_mask(study.pixels)
    if is_outlined(study):
        # Of two opacities with one name the later one stays, which is enough for a twin.
        masks |= {_STRUCTURES[name]: mask for name, mask in study.masks.items() if name in _STRUCTURES}
    return masks


def is_outlined(study: TwinStudy) -> bool:
    """Whether people masked the structures on a study's frontal film."""
    return study.number % 4 != 3


def _write_pictures(out: Path, study: TwinStudy) -> dict[str, str]:
    """Write films and masks of a study; name of each film -> its view as written."""
    images = {f"{stem(study)}.jpg": view(study)}
    write_jpeg(out / "images" / f"{stem(study)}.jpg", study.pixels)
    for name, mask in film_masks(study).items():
        write_png(out / "masks" / name / f"{stem(study)}.png", mask)
    if has_lateral(study):
        images[f"{stem(study)}-lateral.jpg"] = "L"
        write_jpeg(out / "images" / f"{stem(study)}-lateral.jpg", study.lateral)
    return images


def _row(study: TwinStudy, image: str, written_view: str) -> list[Cell]:
    clinical, other = note(study)
    height, width = study.pixels.shape
    return [
        *(image, study.patient + 1, "?" if study.number % 6 == 5 else study.visit * 3, written_view, finding(study)),
        *(study.sex, study.age, "YN?"[study.number % 3], ("Y", "N", "Not visible")[study.number % 3], "", ""),
        *(clinical, other, "CC BY-NC-SA", "https://radiopaedia.org/cases/nothing", "", f"{image}.png", width, height),
    ]
