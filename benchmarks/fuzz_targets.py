"""The targets of ``benchmarks.fuzz``: small whole inputs of every kind, and what opens them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.fuzz import Attack, mutated, mutated_json, of_bytes, of_folder
from benchmarks.fuzz_films import attack_on_dicom, attack_on_pictures

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
    """Report files in several encodings: sections, sentences, findings, identifiers."""
    from crossray.data.audit.identifiers import identifiers_in
    from crossray.data.findings import label_report
    from crossray.data.reports import decode_report, parse_report
    from crossray.data.text import TextConfig, select_text

    def read(path: Path) -> object:
        report = parse_report(decode_report(path.read_bytes(), path))
        for span in (*(item.span for item in report.sections), *(item.span for item in report.sentences)):
            if not 0 <= span.start <= span.end <= len(report.text):
                raise AssertionError(f"{span} lies outside of the text")
        return select_text(report, TextConfig()), label_report(report), identifiers_in(report.text)

    return of_bytes(
        {"a.txt": REPORT.encode(), "b.txt": REPORT.encode("utf-16"), "c.txt": b"No effusion."}, folder, read
    )


def _manifest(folder: Path) -> Attack:
    """A hospital's manifest, and split lists as CSV and JSON."""
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
    """Recipes in YAML, and overrides."""
    from crossray.training.recipe import load_recipe

    read = of_bytes({"recipe.yaml": RECIPE.read_bytes()}, folder, load_recipe)

    def attack(rng: random.Random) -> object:
        if rng.random() < 0.7:
            return read(rng)
        override = mutated(rng.choice((b"training.epochs=5", b"image.augmentation.scale=[0.9, 1]")), rng)
        return load_recipe(RECIPE, [override.decode("utf-8", "replace")])

    return attack


def _store(folder: Path) -> Attack:
    """Stores, as training and evaluation open them: hashed, every value checked, all films and reports read."""
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
    """Runs: manifest, recipe, tokenizer, weights."""
    from crossray.inference.joint_model import JointModel

    return of_folder(small_run(folder.parent / "made"), folder, "manifest.json", JointModel.load)


def _index(folder: Path) -> Attack:
    """Search indexes: manifest, tables, vectors, a search."""
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


def _published(folder: Path) -> Attack:
    """Public sets in their publishers' layouts: tables, JSON, XML, DICOM headers, folders."""
    from crossray.data.sources.build import build_source
    from crossray.data.twins.build import TWIN_NAMES, write_twin
    from crossray.data.twins.material import TwinConfig

    def attack_on(name: str) -> Attack:
        own = folder / name
        write_twin(name, own / "whole", TwinConfig(count=8, size=64))
        return of_folder(
            own / "whole",
            own,
            None,
            lambda path: list(build_source(name, path, {"expected_counts": "twin"}).studies()),
        )

    attacks = [attack_on(name) for name in TWIN_NAMES]
    return lambda rng: rng.choice(attacks)(rng)


def _tables(folder: Path) -> Attack:
    """Stores sealed over misleading tables, as commands open them that do not hash: describe, audit, split."""
    from benchmarks.fuzz_tables import attack_on_tables

    return attack_on_tables(folder)


def _checkpoint(folder: Path) -> Attack:
    """The state of a stopped run, sealed again over other facts and tensors; initial weights."""
    from benchmarks.fuzz_weights import attack_on_checkpoints

    return attack_on_checkpoints(small_run(folder.parent / "made"), folder)


def _weights(folder: Path) -> Attack:
    """Weights of others: trunks and released joint models, as safetensors and as torch.save writes them."""
    from benchmarks.fuzz_weights import attack_on_weights

    return attack_on_weights(folder)


def _results(folder: Path) -> Attack:
    """Tables of results, of evaluations and of transfers."""
    from crossray.evaluation.results import read_results

    content = (Path(__file__).parents[1] / "docs/results/iu-rr-v1/results.json").read_bytes()

    def attack(rng: random.Random) -> object:
        damaged = mutated_json(json.loads(content), rng)
        written = json.dumps(damaged).encode() if rng.random() < 0.7 else mutated(content, rng)
        (folder / "results.json").write_bytes(written)
        return read_results(folder)

    return attack


TARGETS: Mapping[str, Callable[[Path], Attack]] = {
    "reports": _reports,
    "dicom": attack_on_dicom,
    "manifest": _manifest,
    "config": _config,
    "store": _store,
    "run": _run,
    "index": _index,
    "tables": _tables,
    "checkpoint": _checkpoint,
    "weights": _weights,
    "pictures": attack_on_pictures,
    "published": _published,
    "results": _results,
}
