"""The targets of ``benchmarks.fuzz``: small whole inputs of every kind, and what opens them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.fuzz import Attack, mutated, of_bytes, of_folder

from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.sources.phantom import PhantomConfig, PhantomSource
from crossray.data.store import Store

REPORT = (
    "EXAM: CHEST PA AND LATERAL\nINDICATION: Cough. COMPARISON: None.\nFINDINGS: 1. The heart is enlarged. No pleural "
    "effusion or pneumothorax.\n2. T8-T9 approx. 2.5 cm nodule, Dr. ___ was called.\n\nIMPRESSION:\n1) Cardiomegaly.\n"
    "2) No edema?"
)
MANIFEST = (
    "study_id,patient_id,film,view,report,label:Edema,original_height,original_width\n"
    'S1,P1,a.png,PA,"FINDINGS: Clear, both lungs.",1,90,70\nS2,P2,b.dcm,lateral,"No effusion. ""So be it""",0,,\n'
)
RECIPE = Path(__file__).parents[1] / "recipes" / "cpu" / "phantom.yaml"


def make_attacks(folder: Path, names: Sequence[str] | None = None) -> dict[str, Attack]:
    """The targets called ``names`` (all by default), each with a folder of its own below ``folder``."""
    made: dict[str, Attack] = {}
    for name in names or TARGETS:
        own = folder / name
        own.mkdir(parents=True)
        made[name] = TARGETS[name](own)
    return made


def _reports(folder: Path) -> Attack:
    from crossray.data.findings import label_report
    from crossray.data.reports import decode_report, parse_report
    from crossray.data.text import TextConfig, select_text

    def read(path: Path) -> object:
        report = parse_report(decode_report(path.read_bytes(), path))
        for span in (*(item.span for item in report.sections), *(item.span for item in report.sentences)):
            if not 0 <= span.start <= span.end <= len(report.text):
                raise AssertionError(f"{span} lies outside of the text")
        return select_text(report, TextConfig()), label_report(report)

    return of_bytes(
        {"a.txt": REPORT.encode(), "b.txt": REPORT.encode("utf-16"), "c.txt": b"No effusion."}, folder, read
    )


def _dicom(folder: Path) -> Attack:
    from crossray.data.dicom_header import read_header
    from crossray.data.images import FilmPixels

    def read(path: Path) -> object:
        try:
            return FilmPixels(path).read()
        finally:
            read_header(path)

    return of_bytes(dicom_seeds(folder), folder, read)


def dicom_seeds(folder: Path) -> dict[str, bytes]:
    """A film as DICOM, uncompressed, deflated and as JPEG 2000, with a VOI LUT and nested sequences."""
    import numpy as np
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import (
        ComputedRadiographyImageStorage,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        JPEG2000Lossless,
        generate_uid,
    )

    seeds = {}
    for name, syntax in (
        ("plain.dcm", ExplicitVRLittleEndian),
        ("deflated.dcm", DeflatedExplicitVRLittleEndian),
        ("jpeg2000.dcm", JPEG2000Lossless),
    ):
        film = Dataset()
        film.file_meta = FileMetaDataset()
        film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == JPEG2000Lossless else syntax
        film.SOPClassUID, film.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid(entropy_srcs=[name])
        film.Modality, film.PatientName, film.PatientID, film.AccessionNumber = "CR", "Roe^Jane", "1", "2"
        film.Rows, film.Columns, film.SamplesPerPixel, film.PhotometricInterpretation = 64, 72, 1, "MONOCHROME1"
        film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
        film.WindowCenter, film.WindowWidth, film.RescaleSlope, film.RescaleIntercept = [2000, 900], [1000, 80], 1, 0
        code = Dataset()
        code.CodeValue, code.CodeMeaning = "R-10206", "postero-anterior"
        film.ViewCodeSequence = [code]
        values = (np.arange(64 * 72) * 5 % 4096).astype(np.uint16).reshape(64, 72)
        film.PixelData = values.tobytes()
        film["PixelData"].VR = "OW"
        if syntax == JPEG2000Lossless:
            film.compress(syntax, generate_instance_uid=False)
        film.save_as(folder / name, enforce_file_format=True)
        seeds[name] = (folder / name).read_bytes()
    return seeds


def _manifest(folder: Path) -> Attack:
    from crossray.data.sources.folder import FolderSource
    from crossray.data.split_files import read_split

    def read(path: Path) -> object:
        (folder / "a.png").touch()
        if path.name.startswith("split"):
            return read_split(path)
        return list(FolderSource(path).studies())

    seeds = {"manifest.csv": MANIFEST.encode(), "split.csv": b"study_id,split\nS1,train\nS2,test\n"}
    return of_bytes(
        seeds | {"split.json": b'{"protocol": "p", "folds": [{"name": "fixed", "train": ["S1"]}]}'}, folder, read
    )


def _config(folder: Path) -> Attack:
    from crossray.training.recipe import load_recipe

    read = of_bytes({"recipe.yaml": RECIPE.read_bytes()}, folder, load_recipe)

    def attack(rng: random.Random) -> object:
        if rng.random() < 0.7:
            return read(rng)
        override = mutated(rng.choice((b"training.epochs=5", b"image.augmentation.scale=[0.9, 1]")), rng)
        return load_recipe(RECIPE, [override.decode("utf-8", "replace")])

    return attack


def _store(folder: Path) -> Attack:
    prepare_store(PhantomSource(PhantomConfig(count=3, size=64)), folder / "whole", PrepareConfig(size=32), workers=1)

    def read(path: Path) -> object:
        from crossray.data.verify import open_whole

        store = open_whole(path)
        return [store.pixels(range(store.film_count)), *(store.report(row) for row in range(len(store)))]

    return of_folder(folder / "whole", folder, "manifest.json", read)


def small_run(folder: Path) -> Path:
    """A run of one epoch on a few phantom studies, made once in ``folder``, its store beside it."""
    if (folder / "run").is_dir():
        return folder / "run"
    from crossray.data.split_files import write_split
    from crossray.data.split_table import SplitTable, split_table
    from crossray.evaluation.validator import RetrievalValidator
    from crossray.training.pretrain import pretrain
    from crossray.training.recipe import load_recipe

    prepare_store(PhantomSource(PhantomConfig(count=20, size=64)), folder / "store", PrepareConfig(size=40), workers=1)
    table = SplitTable.from_store(Store.open(folder / "store"))
    write_split(split_table(table, test_fraction=0.3, validation_fraction=0.3, texts="apart"), folder / "split.json")
    changes = (
        f"data.store={folder / 'store'}", f"data.split={folder / 'split.json'}", "image.size=32", "image.resize=36",
        "image_encoder.name=test_resnet", "image_encoder.pretrained=none", "image_encoder.frozen_stages=0",
        "image_encoder.local_stage=-1", "text_encoder.layers=1", "text_encoder.width=16", "text_encoder.heads=2",
        "text_encoder.vocabulary_size=200", "method.embed_dim=8", "training.epochs=1", "training.batch_size=4",
        "runtime.progress=false", "runtime.tensorboard=false",
    )  # fmt: skip
    pretrain(load_recipe(RECIPE, changes), folder / "run", validator=RetrievalValidator())
    return folder / "run"


def _run(folder: Path) -> Attack:
    from crossray.inference.joint_model import JointModel

    return of_folder(small_run(folder.parent / "made"), folder, "manifest.json", JointModel.load)


def _index(folder: Path) -> Attack:
    import numpy as np

    from crossray.inference.search.build import build_index
    from crossray.inference.search.index import SearchIndex
    from crossray.inference.search.manifest import MANIFEST_FILE

    run = small_run(folder.parent / "made")
    build_index(run, run.with_name("store"), folder / "index")

    def read(path: Path) -> object:
        index = SearchIndex.open(path)
        return index.search(np.eye(1, min(index.manifest.dimension, 99), dtype=np.float32), 2)

    return of_folder(folder / "index", folder, MANIFEST_FILE, read)


TARGETS: Mapping[str, Callable[[Path], Attack]] = {
    "reports": _reports,
    "dicom": _dicom,
    "manifest": _manifest,
    "config": _config,
    "store": _store,
    "run": _run,
    "index": _index,
}
