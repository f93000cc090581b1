from __future__ import annotations

import os
from pathlib import Path

import pytest

from crossray.data.lovt_lists import ListCounts, ListedFilm, count_list, lovt_split, read_lovt_list
from crossray.data.split_files import read_split, write_split
from crossray.errors import DataError

SIDES = ("train", "validation", "test")
LISTS_VARIABLE = "CROSSRAY_LOVT_LISTS"
COVID = Path("Opacity-Segmentation-COVID/opacity_segmentation_covid_chest_X_ray-master/covid_rural_annot")
RSNA, SIIM = "RSNA-Pneunomia-Detection", "siim-acr-pneumothorax-segmentation"
OBJECT, NIH = "object-CXR", "NIH_CXR_pathology_detection"
NIH_BOXES = {0: 180, 1: 146, 2: 153, 3: 123, 4: 85, 5: 79, 6: 120, 7: 98}


def write_lists(folder: Path, train: str, validation: str, test: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for side, content in zip(SIDES, (train, validation, test), strict=True):
        (folder / f"{side}.csv").write_text(content)
    return folder


@pytest.fixture
def boxed(tmp_path: Path) -> Path:
    """Lists with boxes: 20 films in train, of which every fourth has one; two in validation, one in test."""
    rows = [f"t{k:02},{'10.5;20;30;40' if k % 4 == 0 else ''},{'1' if k % 4 == 0 else ''}" for k in range(19, -1, -1)]
    train = "ID,boxes,classes\n" + "\n".join(rows) + "\n"
    validation = "ID,boxes,classes\nv1,1;2;3;4|5;6;7;8,0|7\nv0,,\n"
    return write_lists(tmp_path / "boxed", train, validation, "ID,boxes,classes\nx0,,\n")


def test_boxes_and_classes_are_read_in_the_order_of_the_rows(boxed: Path) -> None:
    assert read_lovt_list(boxed / "validation.csv") == (
        ListedFilm("v1", ((1, 2, 3, 4), (5, 6, 7, 8)), (0, 7)),
        ListedFilm("v0"),
    )
    films = read_lovt_list(boxed / "train.csv")
    assert [film.film_id for film in films] == [f"t{k:02}" for k in range(19, -1, -1)]
    assert count_list(films) == ListCounts(20, 5, 5, {1: 5})


def test_swapped_boxes_are_put_right(boxed: Path) -> None:
    assert read_lovt_list(boxed / "validation.csv", swapped=True)[0].boxes == ((1, 2, 4, 3), (5, 6, 8, 7))


def test_a_list_of_ids_alone_has_no_boxes(tmp_path: Path) -> None:
    folder = write_lists(tmp_path / "masks", "ID\na\nb\n", "ID\nc\n", "ID\nd\n")
    assert read_lovt_list(folder / "train.csv") == (ListedFilm("a"), ListedFilm("b"))
    (fold,) = lovt_split("covid", folder).folds
    assert (fold.name, fold.train, fold.validation, fold.test) == ("fixed", ("a", "b"), ("c",), ("d",))


def test_a_fraction_is_the_first_rows_and_test_stays_whole(boxed: Path) -> None:
    (fold,) = lovt_split("rsna-10", boxed, train_fraction=0.1, validation_fraction=0.5).folds
    assert (fold.train, fold.validation, fold.test) == (("t19", "t18"), ("v1",), ("x0",))


def test_the_split_list_survives_being_written(boxed: Path, tmp_path: Path) -> None:
    split = lovt_split("rsna-100", boxed)
    write_split(split, tmp_path / "split.json")
    assert read_split(tmp_path / "split.json").hash == split.hash


def test_a_folder_of_lists_is_taken_wherever_a_split_list_is_asked_for(boxed: Path, tmp_path: Path) -> None:
    assert read_split(boxed) == lovt_split("boxed", boxed)
    with pytest.raises(DataError, match=r"train\.csv, validation\.csv, test\.csv missing"):
        read_split(tmp_path)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("name,boxes\na,\n", "column 'ID' is missing"),
        ("ID,boxes\na,\n", "column 'classes' is missing"),
        ("ID\na\nb\na\n", "'a' stands there twice"),
        ("ID,boxes,classes\n,1;2;3;4,1\n", "row 1.*the id is empty"),
        ("ID,boxes,classes\na,1;2;3,1\n", "row 1.*'1;2;3' is not x;y;w;h"),
        ("ID,boxes,classes\na,1;2;0;4,1\n", "has no area"),
        ("ID,boxes,classes\na,1;2;nan;4,1\n", "has no area"),
        ("ID,boxes,classes\na,,\nb,1;2;3;4,1|2\n", "row 2.*1 boxes, but 2 classes"),
        ("ID,boxes,classes\na,1;2;3;4,opacity\n", "'opacity' is not the number of a class"),
        ("ID\nx0\n", "film 'x0' stands in the lists of train and test"),
    ],
)
def test_a_wrong_list_is_told_by_row_and_column(boxed: Path, train: str, message: str) -> None:
    (boxed / "train.csv").write_text(train)
    with pytest.raises(DataError, match=message):
        lovt_split("any", boxed)


def test_missing_lists_and_impossible_fractions_are_told(boxed: Path) -> None:
    with pytest.raises(DataError, match=r"0\.01 of the 20 films of the train list is none"):
        lovt_split("any", boxed, train_fraction=0.01)
    with pytest.raises(DataError, match=r"1\.5 of the validation list"):
        lovt_split("any", boxed, validation_fraction=1.5)
    (boxed / "test.csv").unlink()
    with pytest.raises(DataError, match=r"test\.csv missing"):
        lovt_split("any", boxed)


@pytest.fixture(scope="module")
def released() -> Path:
    """The folder ``datasets`` of LoVT's release, where someone has it."""
    named = os.environ.get(LISTS_VARIABLE)
    if not named:
        pytest.skip(f"LoVT's split lists are not at hand: set {LISTS_VARIABLE} to the folder datasets/ of its release")
    return Path(named)


def counts_of(folder: Path) -> list[ListCounts]:
    return [count_list(read_lovt_list(folder / f"{side}.csv")) for side in SIDES]


def test_E1_sizes_positives_and_boxes_of_the_released_lists(released: Path) -> None:
    rsna, siim, covid, objects, nih = (counts_of(released / name) for name in (RSNA, SIIM, COVID, OBJECT, NIH))
    assert [counts.films for counts in rsna] == [16_010, 5_337, 5_337]
    assert [counts.positives for counts in rsna] == [3_584, 1_210, 1_218]
    assert [counts.boxes for counts in rsna] == [5_707, 1_901, 1_947]
    assert sum(counts.boxes for counts in rsna) == 9_555
    assert sum(counts.positives for counts in rsna) == 6_012
    assert [counts.films for counts in covid] == [133, 44, 44]
    assert [counts.films for counts in siim] == [7_229, 2_409, 2_409]
    assert [counts.films for counts in objects] == [6_400, 1_600, 1_000]
    assert [counts.positives for counts in objects] == [3_190, 810, 500]
    assert [counts.boxes for counts in objects] == [6_506, 1_717, 1_015]
    assert [counts.films for counts in nih] == [588, 196, 196]
    assert [counts.positives for counts in nih] == [528, 176, 176]
    assert [counts.boxes for counts in nih] == [584, 196, 204]
    assert {k: sum(counts.by_class.get(k, 0) for counts in nih) for k in NIH_BOXES} == NIH_BOXES


def test_E1_the_first_rows_of_the_released_rsna_lists(released: Path) -> None:
    train = read_lovt_list(released / RSNA / "train.csv")
    validation = read_lovt_list(released / RSNA / "validation.csv")
    first = {share: count_list(train[: round(share * len(train))]) for share in (0.01, 0.1)}
    assert [(counts.films, counts.positives, counts.boxes) for counts in first.values()] == [
        (160, 36, 56),
        (1_601, 360, 586),
    ]
    assert (count_list(validation[:534]).positives, round(0.1 * len(validation))) == (132, 534)
    (fold,) = lovt_split("rsna", released / RSNA, train_fraction=0.1, validation_fraction=0.1).folds
    assert (len(fold.train), len(fold.validation), len(fold.test)) == (1_601, 534, 5_337)


def test_E1_patients_of_the_released_covid_lists_stay_on_one_side(released: Path) -> None:
    patients = [
        {film.film_id.split("_")[0] for film in read_lovt_list(released / COVID / f"{side}.csv")} for side in SIDES
    ]
    assert [len(side) for side in patients] == [63, 23, 18]
    assert len(set.union(*patients)) == 104


def test_E1_the_released_object_boxes_are_swapped(released: Path) -> None:
    def reach(swapped: bool) -> float:
        lists = [read_lovt_list(released / OBJECT / f"{side}.csv", swapped=swapped) for side in SIDES]
        return max(x + width for films in lists for film in films for x, _, width, _ in film.boxes)

    assert (round(reach(False)), round(reach(True))) == (5_295, 4_020)
