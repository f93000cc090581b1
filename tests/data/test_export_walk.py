"""What lies in an export with links, loops, pipes and folders that are reached twice."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from crossray.data.audit.dicom_audit import audit_dicom
from crossray.data.dicom_scan import scan_export
from crossray.data.export_walk import files_below
from crossray.errors import DataError
from tests.data.dicom_writing import radiograph, write


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


def test_files_come_in_the_order_of_names_at_any_depth(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a.zip/deep/er/3", "c"):
        touch(tmp_path / name)
    assert files_below(tmp_path).files == ["c", "a.zip/deep/er/3", "b/1", "b/2"]


def test_a_link_to_a_folder_outside_is_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "disc" / "y2019" / "film")
    export = tmp_path / "export"
    export.mkdir()
    (export / "first").symlink_to(tmp_path / "disc")
    (export / "second").symlink_to(tmp_path / "disc" / "y2019")
    found = files_below(export)
    assert found.files == ["first/y2019/film"]
    assert found.linked_folders == {"second": "the same folder as first/y2019, whose files are looked at there."}


def test_links_that_lead_back_are_told_and_not_followed(tmp_path: Path) -> None:
    export = tmp_path / "export"
    touch(export / "z" / "film")
    touch(tmp_path / "no part of the export")
    (export / "a").symlink_to("z")
    (export / "up").symlink_to("..")
    (export / "self").symlink_to("self")
    (export / "broken").symlink_to("nowhere")
    found = files_below(export)
    assert found.files == ["broken", "self", "z/film"]
    assert set(found.linked_folders) == {"a", "up"}
    assert "looked at there" in found.linked_folders["a"]
    assert "holds the export itself" in found.linked_folders["up"]


def test_a_pipe_and_a_socket_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        touch(tmp_path / "film")
        scanned = scan_export(tmp_path, "AccessionNumber", show=lambda done, total: None)
    assert [(file.path, file.rule) for file in scanned] == [
        ("film", "not_dicom"),
        ("pipe", "no_file"),
        ("s", "no_file"),
    ]


def test_every_link_is_listed_by_its_rule(tmp_path: Path) -> None:
    touch(tmp_path / "film")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "broken").symlink_to("nowhere")
    scanned = scan_export(tmp_path, "AccessionNumber", show=lambda done, total: None)
    assert {file.path: file.rule for file in scanned} == {
        "broken": "unreadable", "film": "not_dicom", "loop": "linked_folder",
    }  # fmt: skip


def test_what_is_to_be_left_out_is(tmp_path: Path) -> None:
    for name in ("film", "reports/1.txt", "deep/reports/film"):
        touch(tmp_path / name)
    assert files_below(tmp_path, [tmp_path / "reports"]).files == ["film", "deep/reports/film"]


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        files_below(tmp_path / "none")


def test_the_audit_of_an_export_sees_the_same_files(tmp_path: Path) -> None:
    write(radiograph(), tmp_path / "disc" / "film")
    export = tmp_path / "export"
    write(radiograph(), export / "film")
    (export / "disc").symlink_to(tmp_path / "disc")
    (export / "loop").symlink_to(".")
    os.mkfifo(export / "pipe")
    (found,) = (found for found in audit_dicom(export).findings if found.kind == "PatientName")
    assert (found.found, found.looked_at) == (2, 2)
