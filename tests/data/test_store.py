from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from crossray.data.geometry import prepare_film
from crossray.data.prepare import PrepareConfig, prepare_store
from crossray.data.store import Store
from crossray.data.store_manifest import content_hash, read_manifest
from crossray.data.study import Study
from crossray.data.verify import verify_store
from crossray.errors import DataError, StoreError
from crossray.files import FileEntry, sha256_of, write_json
from tests.data.studies import MemorySource, make_store, make_study, studies


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    items = [*studies(150), make_study(150, ("frontal", "lateral", "frontal"))]
    config = PrepareConfig(size=16, views=("frontal", "lateral"))
    path = tmp_path_factory.mktemp("store") / "store"
    prepare_store(MemorySource(items), path, config, workers=1)
    return Store.open(path)


def test_every_study_comes_back_as_it_went_in(store: Store) -> None:
    assert store.manifest.shards == 3
    for number in (0, 63, 64, 149):
        study = make_study(number)
        index = store.index_of(study.study_id)
        assert store.study_ids[index] == study.study_id
        assert store.patient_ids[index] == study.patient_id
        assert store.report(index) == study.report
        assert store.phrase_regions(index) == study.phrase_regions
        assert store.attributes(index) == dict(study.attributes)
        np.testing.assert_array_equal(store.labels[index], [study.labels["Cardiomegaly"], study.labels["Edema"]])
        (row,) = store.films_of(index)
        film = store.film(row)
        pixels, geometry = prepare_film(study.films[0].pixels.read(), 16)
        assert (film.film_id, film.study_index, film.view) == (study.films[0].film_id, index, "frontal")
        assert (film.geometry, film.boxes, film.mask_names) == (geometry, study.films[0].boxes, ("heart",))
        np.testing.assert_array_equal(store.pixels([row])[0], pixels)


def test_films_of_a_study_keep_the_order_of_the_source_and_are_chosen_by_view(store: Store) -> None:
    index = store.index_of("s150")
    frontal, lateral = store.films_of(index), store.films_of(index, ("lateral",))
    assert [store.film(row).film_id for row in frontal] == ["film-150-frontal", "film-150-frontal"]
    assert [store.film(row).view for row in lateral] == ["lateral"]
    assert store.films_of(index, ("frontal", "lateral")) == [frontal[0], *lateral, frontal[1]]


def test_pixels_come_in_the_order_asked_for_across_shards_and_blocks(store: Store) -> None:
    rows = [149, 0, 70, 70, 63, 64]
    together = store.pixels(rows)
    assert together.shape == (6, 16, 16)
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(together, np.stack([store.pixels([row])[0] for row in rows]))
    assert store.pixels([]).shape == (0, 16, 16)
    together[:] = 0  # a copy: the mapped file is never written to
    assert store.pixels(rows).any()


@pytest.mark.parametrize("row", [-1, 10_000])
def test_a_film_row_out_of_range_is_refused(store: Store, row: int) -> None:
    with pytest.raises(IndexError):
        store.pixels([row])


def test_masks_lie_on_the_prepared_square(store: Store) -> None:
    mask = store.mask(0, "heart")
    assert mask.shape == (16, 16)
    x0, y0, x1, y1 = store.film(0).geometry.content_box()
    assert mask[y0, x0] == 255
    assert mask[y1 - 1, x1 - 1] == 0
    with pytest.raises(DataError, match=r"no mask 'lung'.*heart"):
        store.mask(0, "lung")


def test_an_unknown_study_is_named(store: Store) -> None:
    assert "s0" in store
    assert "nobody" not in store
    with pytest.raises(DataError, match="'nobody'"):
        store.index_of("nobody")


def test_a_store_travels_to_another_process_by_its_path(store: Store) -> None:
    other = pickle.loads(pickle.dumps(store))
    assert other.study_ids == store.study_ids
    np.testing.assert_array_equal(other.pixels([5]), store.pixels([5]))


def test_anyone_with_pyarrow_opens_the_tables(store: Store) -> None:
    films = pa.ipc.open_stream(store.path / "films-00000.arrow").read_all()
    size = films.column("prepared_size")[0].as_py()
    pixels = np.frombuffer(films.column("pixels")[7].as_py(), dtype=np.uint8).reshape(size, size)
    np.testing.assert_array_equal(pixels, store.pixels([7])[0])
    reports = pa.ipc.open_stream(store.path / "studies-00000.arrow").read_all()
    assert reports.column("text")[3].as_py() == store.report(3).text
    png = films.column("masks")[0].as_py()[0]["png"]
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(png))), store.mask(0, "heart"))


def test_a_source_without_labels_makes_a_matrix_without_columns(tmp_path: Path) -> None:
    source = MemorySource(studies(3), label_names=())
    prepare_store(source, tmp_path / "s", PrepareConfig(size=16), workers=1)
    assert Store.open(tmp_path / "s").labels.shape == (3, 0)


def test_a_store_of_version_1_is_read_without_attributes(tmp_path: Path) -> None:
    path = make_store(tmp_path / "s", studies(3)).path
    table = path / "studies-00000.arrow"
    old = pa.ipc.open_stream(table.read_bytes()).read_all().drop_columns(["attributes"])
    with pa.ipc.new_stream(table, old.schema) as writer:
        writer.write_table(old)
    manifest = read_manifest(path)
    entry = FileEntry(bytes=table.stat().st_size, sha256=sha256_of(table))
    files = {**manifest.files, table.name: entry}
    changed = {"format_version": 1, "files": files, "hash": content_hash(manifest.label_names, 16, files)}
    write_json(path / "manifest.json", manifest.model_copy(update=changed).model_dump(mode="json"))
    store = Store.open(path)
    assert [store.attributes(index) for index in range(3)] == [{}, {}, {}]
    assert store.report(2) == make_study(2).report
    assert verify_store(path).files == len(files)


def test_a_missing_store_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="crossray data prepare"):
        Store.open(tmp_path / "nothing")


def test_a_folder_without_manifest_is_called_half_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="half-written"):
        Store.open(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format_version": 2', '"format_version": 7', "format version 7"),
        ('"crossray-store"', '"crossray-run"', "not the manifest of a store"),
        ('"prepared_size": 16', '"prepared_size": 17', "altered"),
        ('"prepared_size": 16', '"prepared_sice": 16', "altered"),
        ("{", "[", "cannot be read"),
    ],
)
def test_another_version_and_an_altered_manifest_are_told_apart(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    manifest = make_store(tmp_path / "s", studies(3)).path / "manifest.json"
    manifest.write_text(manifest.read_text().replace(old, new, 1))
    with pytest.raises(StoreError, match=message) as raised:
        Store.open(tmp_path / "s")
    assert "manifest.json" in str(raised.value)


@pytest.mark.parametrize("keep", [0, 100])
def test_a_table_cut_short_is_named(tmp_path: Path, keep: int) -> None:
    table = make_store(tmp_path / "s", studies(3)).path / "films-00000.arrow"
    table.write_bytes(table.read_bytes()[:keep])
    with pytest.raises(StoreError, match=r"films-00000.arrow.*not whole"):
        Store.open(tmp_path / "s")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    (make_store(tmp_path / "s", studies(3)).path / "studies-00000.arrow").unlink()
    with pytest.raises(StoreError, match=r"studies-00000.arrow.*missing"):
        Store.open(tmp_path / "s")


def test_a_study_without_patient_stays_without(tmp_path: Path) -> None:
    study = make_study(0)
    unknown = Study("u", None, study.films, study.report)
    store = make_store(tmp_path / "s", [unknown])
    assert store.patient_ids == [None]
    assert np.isnan(store.labels).all()
