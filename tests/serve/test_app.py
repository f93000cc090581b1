"""The HTTP interface: answers, places on the film, refusals, and what never leaves the server."""

from __future__ import annotations

import base64
import io
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian
from scipy.special import expit
from starlette.testclient import TestClient

from crossray.data.geometry import CropWindow, prepare_film
from crossray.errors import ConfigError
from crossray.evaluation.prompts import load_prompts
from crossray.inference.model import PromptPair
from crossray.methods.base import ImageEmbedding
from crossray.serve.app import Desk, build_app
from crossray.serve.run_server import ServeConfig, check_host, serve

from .conftest import png

PHRASE = "Small right pleural effusion."


def opened(client: TestClient, content: bytes | None = None) -> str:
    answer = client.post("/api/film", content=png() if content is None else content)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["film"])


def prompts() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    return {name: (own.positive, own.negated) for name, own in load_prompts().classes.items()}


def dicom_of_a_named_patient() -> bytes:
    from pydicom.dataset import Dataset, FileMetaDataset

    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.PatientName, film.PatientID = "Doe^Secret", "SECRET-77"
    film.SOPClassUID = film.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1"
    film.Rows, film.Columns, film.SamplesPerPixel = 40, 30, 1
    film.BitsAllocated = film.BitsStored = 8
    film.HighBit, film.PixelRepresentation, film.PhotometricInterpretation = 7, 0, "MONOCHROME2"
    film.PixelData = bytes(range(240)) * 5
    buffer = io.BytesIO()
    film.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_a_film_is_opened_and_shown_at_a_window(client: TestClient) -> None:
    film = opened(client)
    plain = np.asarray(Image.open(io.BytesIO(client.get(f"/api/film/{film}/picture").content)))
    np.testing.assert_array_equal(plain, np.asarray(Image.open(io.BytesIO(png()))))
    answer = client.get(f"/api/film/{film}/picture", params={"level": 100, "window": 50, "invert": True})
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    np.testing.assert_array_equal(shown, np.rint(255 - np.clip((plain - 100.0) / 50 + 0.5, 0, 1) * 255))
    assert client.delete(f"/api/film/{film}").status_code == 200
    assert client.get(f"/api/film/{film}/picture").status_code == 404


def test_a_smaller_map_points_at_the_same_place_and_says_what_was_seen(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = opened(client, png(400, 300))
    answers = [
        client.post("/api/ground", json={"film": film, "phrase": PHRASE, "longest": longest}).json()
        for longest in (None, 100)
    ]
    whole, small = answers
    assert (whole["height"], whole["width"], small["height"], small["width"]) == (400, 300, 100, 75)
    np.testing.assert_allclose(small["peak"], whole["peak"], atol=4)
    maps = [np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["heat_png"])))) for answer in answers]
    shrunk = np.asarray(Image.fromarray(maps[0]).resize((75, 100), Image.Resampling.BOX), np.int64)
    assert np.abs(shrunk - maps[1]).max() <= 8
    assert small["seen"] == whole["seen"] == [0, 0, 300, 400]
    # Of a square of 64 prepared pixels, which the film's long side fills, the middle 56.
    monkeypatch.setattr("crossray.serve.engine.evaluation_window", lambda *_: CropWindow.centred(64, 56))
    cropped = client.post("/api/ground", json={"film": film, "phrase": PHRASE, "longest": 100}).json()
    assert cropped["seen"] == [0, 25, 300, 375]


def test_a_run_whose_regions_are_no_places_is_not_said_to_point_anywhere(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"film": opened(client), "phrase": PHRASE}
    assert "where, not whether" in client.post("/api/ground", json=asked).json()["meaning"]
    assert client.get("/api/about").json()["runs"][0]["grounds_phrases"] is True
    monkeypatch.setattr(desk.runs[0].model.joint.method, "regions_are_places", False)
    assert "regions are no places" in client.post("/api/ground", json=asked).json()["meaning"]
    about = client.get("/api/about").json()["runs"][0]
    assert (about["grounds_phrases"], about["regions_are_places"]) == (False, False)


def test_words_look_at_regions_and_their_boxes_cover_the_film(client: TestClient) -> None:
    answer = client.post("/api/words", json={"film": opened(client), "text": PHRASE}).json()
    attention, regions = np.array(answer["attention"]), np.array(answer["regions"])
    rows, columns = answer["grid"]
    assert answer["words"][:2] == ["Small", "right"]
    assert attention.shape == (len(answer["words"]), rows * columns)
    np.testing.assert_allclose(attention.sum(axis=1), 1, atol=1e-3)
    assert regions.shape == (rows * columns, 4)
    assert "local term" in client.post("/api/words", json={"film": opened(client), "text": PHRASE, "run": 1}).text


def test_findings_batch_and_vectors_are_those_of_the_model(client: TestClient, desk: Desk) -> None:
    film = opened(client)
    model, pixels = desk.runs[0].model, desk.shelf.get(film).pixels
    vector = client.post("/api/embed", json={"film": film}).json()["vector"]
    np.testing.assert_allclose(vector, model.embed_images([pixels])[0], atol=1e-5)
    cosines = client.post("/api/batch", json={"films": [film], "sentences": [PHRASE]}).json()["cosines"]
    np.testing.assert_allclose(cosines, model.similarity([pixels], [PHRASE]), atol=1e-5)


def test_films_of_a_batch_are_embedded_together_and_a_bad_one_spoils_no_other(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, handles = desk.runs[0], [opened(client, png(seed=seed)) for seed in (1, 2, 3)]
    bad, gone = handles[1], "no-such-film"
    refused = run.model.joint.embed_images
    calls: list[int] = []

    def embed(films: NDArray[np.uint8]) -> ImageEmbedding:
        calls.append(len(films))
        if any((film == prepared).all() for film in films):
            raise RuntimeError("a secret of the server")
        return refused(films)

    sentences = ["Edema.", PHRASE]
    alone = [desk.runs[0].model.similarity([desk.shelf.get(film).pixels], sentences)[0] for film in handles]
    prepared, _ = prepare_film(desk.shelf.get(bad).pixels, run.model.prepared_size)
    monkeypatch.setattr(run.model.joint, "embed_images", embed)
    body = {"films": [handles[0], gone, bad, handles[2], handles[0]], "sentences": sentences}
    answer = client.post("/api/batch", json=body).json()
    assert calls == [3, 1, 1, 1]  # together; then, since that failed, each by itself
    assert [row is None for row in answer["cosines"]] == [False, True, True, False, False]
    assert answer["errors"].keys() == {gone, bad}
    assert "no longer held" in answer["errors"][gone]
    assert "its log says which" in answer["errors"][bad]
    for place, own in ((0, alone[0]), (3, alone[2]), (4, alone[0])):
        np.testing.assert_allclose(answer["cosines"][place], own, atol=1e-6)

    assert client.post("/api/batch", json={**body, "films": [gone]}).status_code == 404
    assert client.post("/api/batch", json={**body, "films": [bad]}).status_code == 500
    monkeypatch.setattr(run.model.joint, "embed_images", refused)
    again = client.post("/api/batch", json={**body, "films": handles}).json()
    assert again["errors"] == {}
    np.testing.assert_allclose(again["cosines"], alone, atol=1e-6)


def test_a_film_that_cannot_be_prepared_spoils_no_other_of_its_batch(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = (opened(client, png(seed=seed)) for seed in (1, 2))
    pixels = desk.shelf.get(bad).pixels

    def prepare(film: NDArray[np.uint8], size: int) -> object:
        if film is pixels:
            raise RuntimeError("a secret of the server")
        return prepare_film(film, size)

    monkeypatch.setattr("crossray.serve.engine.prepare_film", prepare)
    answer = client.post("/api/batch", json={"films": [bad, good], "sentences": [PHRASE]}).json()
    assert answer["errors"].keys() == {bad}
    assert answer["cosines"][0] is None
    own = desk.runs[0].model.similarity([desk.shelf.get(good).pixels], [PHRASE])[0]
    np.testing.assert_allclose(answer["cosines"][1], own, atol=1e-6)


def test_findings_have_probabilities_where_the_run_was_calibrated_and_say_of_which_films(
    client: TestClient, desk: Desk
) -> None:
    film = opened(client)
    run, pixels = desk.runs[0], desk.shelf.get(film).pixels
    answer = client.post("/api/findings", json={"film": film}).json()
    classified = run.model.classify([pixels], {name: PromptPair(*pair) for name, pair in prompts().items()})
    assert answer["scores"] == pytest.approx({name: own[0] for name, own in classified.items()}, abs=1e-5)
    assert answer["probabilities"] == pytest.approx(
        {name: own[0] for name, own in classified.probabilities.items()}, abs=1e-4
    )
    assert answer["probabilities"]["Edema"] == pytest.approx(expit(20 * answer["scores"]["Edema"] - 1))
    assert answer["prevalence"] == {"Edema": 0.25, "Pneumothorax": 0.1}
    assert answer["calibrated"] is True
    assert answer["calibrated_on"] == "120 frontal validation films of phantom"
    assert "valid for films like those only" in answer["meaning"]
    assert answer["not_calibrated"]["Fracture"] == "4 of 120 validation films have it"
    assert set(answer["not_calibrated"]) | set(answer["probabilities"]) == set(answer["scores"])


def test_findings_of_a_run_without_calibration_say_that_they_are_no_probabilities(client: TestClient) -> None:
    answer = client.post("/api/findings", json={"film": opened(client), "run": 1}).json()
    assert (answer["calibrated"], answer["probabilities"], answer["calibrated_on"]) == (False, {}, None)
    assert "no probability" in answer["meaning"]
    assert set(answer["not_calibrated"].values()) == {"crossray calibrate was not called for this run"}


def test_the_schema_says_what_a_probability_is_of(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    answer = schema["paths"]["/api/findings"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    fields = schema["components"]["schemas"][answer["$ref"].rsplit("/", 1)[1]]["properties"]
    assert {"scores", "probabilities", "prevalence", "calibrated_on", "not_calibrated"} <= fields.keys()
    assert "films like them only" in fields["calibrated_on"]["description"]


def test_findings_are_placed_among_the_films_of_the_index(client: TestClient, desk: Desk) -> None:
    assert desk.neighbours is not None
    assert desk.neighbours.store is not None
    run, store = desk.runs[0], desk.neighbours.store
    pooled = run.model.joint.embed_images(store.pixels(range(6))).pooled.numpy()
    scores = {name: pooled @ direction / np.linalg.norm(pooled, axis=1) for name, direction in run.directions.items()}
    answer = client.post("/api/findings", json={"film": opened(client)}).json()
    assert answer["films"] == 6
    for name, share in answer["standing"].items():
        assert share == pytest.approx((scores[name] < answer["scores"][name] - 1e-6).mean()), name
    assert client.post("/api/findings", json={"film": opened(client), "run": 1}).json()["standing"] is None


def test_neighbours_come_with_report_and_film(client: TestClient) -> None:
    film = opened(client)
    for query in ({"film": film}, {"text": PHRASE, "side": "films"}):
        hits = client.post("/api/search", json={**query, "k": 3}).json()["hits"]
        assert [hit["cosine"] for hit in hits] == sorted((hit["cosine"] for hit in hits), reverse=True)
        assert all(hit["report"] for hit in hits)
        shown = client.get("/api/neighbour", params={"study": hits[0]["study"]})
        assert Image.open(io.BytesIO(shown.content)).size == (64, 64)
    assert client.post("/api/search", json={"film": film, "text": PHRASE}).status_code == 422
    assert client.get("/api/neighbour", params={"study": "../../etc/passwd"}).status_code == 422


def test_what_a_dicom_says_of_a_patient_never_comes_back(client: TestClient) -> None:
    film = opened(client, dicom_of_a_named_patient())
    for answer in (client.get(f"/api/film/{film}/picture"), client.post("/api/embed", json={"film": film})):
        assert b"Secret" not in answer.content
        assert b"SECRET" not in answer.content
    broken = dicom_of_a_named_patient().replace(b"MONOCHROME2", b"Doe^Secret ")
    refused = client.post("/api/film", content=broken)
    assert refused.status_code == 422
    assert "Secret" not in refused.text


def test_a_vast_picture_is_refused_by_its_header(client: TestClient) -> None:
    buffer = io.BytesIO()
    Image.new("L", (5000, 5000)).save(buffer, "PNG")
    answer = client.post("/api/film", content=buffer.getvalue())
    assert (answer.status_code, answer.json()["stage"]) == (422, "header")
    damaged = bytearray(png())
    damaged[-30] ^= 1  # in its pixels: their checksum is wrong
    answer = client.post("/api/film", content=bytes(damaged))
    assert (answer.status_code, answer.json()["stage"]) == (422, "pixels")
    answer = client.post("/api/film", content=bytes(2_000_001))
    assert (answer.status_code, answer.json()["stage"]) == (413, "size")
    assert client.post("/api/film", content=b"GIF89a").status_code == 415
    assert client.post("/api/film", content=b"").status_code == 415


def test_every_answer_carries_notice_and_policy_and_no_script_is_inline(client: TestClient) -> None:
    for path in ("/", "/viewer.js", "/openapi.json", "/api/health", "/nowhere", "/..%2f..%2fetc/passwd"):
        headers = client.get(path).headers
        assert headers["x-crossray-notice"] == "Research only, not for diagnosis."
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
    page = client.get("/").text
    assert "Research only, not for diagnosis" in page
    assert "<script>" not in page
    assert "style=" not in page
    assert "://" not in page
    assert client.get("/docs").status_code == 404
    assert "/api/ground" in client.get("/openapi.json").json()["paths"]


def test_other_sites_names_and_sizes_are_refused(client: TestClient) -> None:
    assert client.get("/api/health", headers={"host": "evil.example"}).status_code == 421
    assert client.get("/api/health", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post("/api/ground", content=b" " * 300_000).status_code == 413
    assert client.post("/api/ground", content=iter([b"{}"])).status_code == 411
    wrong = client.post("/api/ground", json={"film": "x", "phrase": "y", "path": "z"})
    assert wrong.status_code == 422
    assert "Traceback" not in wrong.text
    assert client.post("/api/ground", json={"film": "x", "phrase": "y", "run": 7}).status_code == 422


def test_a_mistake_of_ours_shows_no_stack_trace(
    client: TestClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(desk.runs[0], "film_vector", fail)
    answer = client.post("/api/embed", json={"film": opened(client)})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "x-crossray-notice" in answer.headers


def test_a_token_is_asked_for_and_the_page_takes_it_once(desk: Desk) -> None:
    guarded = Desk(desk.runs, desk.limits, None, "a1" * 10)
    client = TestClient(build_app(guarded), base_url="http://films.example")
    assert client.get("/api/health").status_code == 401
    assert client.get("/", params={"token": "wrong"}).status_code == 401
    assert client.get("/api/health", headers={"authorization": "Bearer " + "a1" * 10}).status_code == 200
    assert client.get("/", params={"token": "a1" * 10}).status_code == 200
    assert client.get("/api/health").status_code == 200


def test_metrics_count_answers_and_refusals(client: TestClient) -> None:
    client.post("/api/film", content=b"nothing")
    text = client.get("/api/metrics").text
    assert 'crossray_answers_total{path="/api/film",status="415"} 1' in text
    assert 'crossray_uploads_refused_total{stage="format"}' in text


def test_an_address_beyond_loopback_needs_a_token() -> None:
    check_host("127.0.0.1", None)
    check_host("::1", None)
    check_host("0.0.0.0", "a" * 16)
    for host, token in (("0.0.0.0", None), ("films.example", None), ("127.0.0.1", "short")):
        with pytest.raises(ConfigError, match=r"--token"):
            check_host(host, token)


def test_missing_dependencies_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"crossray\[serve\]"):
        serve(ServeConfig(run=__import__("pathlib").Path("nowhere")))
