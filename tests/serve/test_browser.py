"""The viewer in a real browser: what a person does with it, and what the page then shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from crossray.inference.calibration import FindingScale
from crossray.methods.global_local import GlobalLocalConfig
from crossray.serve.app import Desk
from crossray.serve.engine import LoadedRun
from tests.inference.test_joint_model import write_run

from .browser import (
    canvas,
    centre_of_light,
    chromium,
    colourfulness,
    drop_film,
    film_file,
    open_film,
    opened_page,
    served,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

REPORT = "Small right pleural effusion. The heart is enlarged."
PAGE_CHECKS = (Path(__file__).parent / "page_checks.js").read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(desk: Desk) -> Iterator[str]:
    with served(desk) as found:
        yield found


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with opened_page(browser, address) as opened:
        yield opened


def ramp() -> NDArray[np.uint8]:
    return np.tile(np.linspace(40, 200, 120).astype(np.uint8), (90, 1))


def dot() -> NDArray[np.uint8]:
    film = np.zeros((100, 100), np.uint8)
    film[30:34, 60:64] = 255
    return film


def middle(page: Page) -> float:
    shown = canvas(page)
    return float(shown[shown.shape[0] // 2, shown.shape[1] // 2].mean())


def test_a_film_is_chosen_or_dropped_and_shown(page: Page) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#empty")).to_be_visible()
    open_film(page, ramp())
    expect(page.locator("#empty")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("film.png: 120 × 90 pixels")
    assert middle(page) == pytest.approx(120, abs=2)
    drop_film(page, np.full((50, 50), 77, np.uint8))
    expect(page.locator("#status")).to_have_text("dropped.png: 50 × 50 pixels")
    assert middle(page) == pytest.approx(77, abs=1)


def test_a_file_that_is_no_film_is_refused_in_words(page: Page) -> None:
    from playwright.sync_api import expect

    page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"not a film"})
    expect(page.locator("#status.wrong")).to_have_text("This is neither PNG nor JPEG nor DICOM.")
    open_film(page, ramp())
    assert page.locator("#status.wrong").count() == 0


def test_level_window_and_invert_change_the_greys(page: Page) -> None:
    open_film(page, ramp())
    page.keyboard.press("i")
    assert middle(page) == pytest.approx(255 - 120, abs=2)
    page.keyboard.press("i")
    page.fill("#level", "100")
    page.fill("#window", "64")
    assert middle(page) == pytest.approx((120 - 100) / 64 * 255 + 127.5, abs=8)
    assert page.locator("#level-value").text_content() == "100"
    page.mouse.move(400, 400)
    page.mouse.down(button="right")
    page.mouse.move(430, 380, steps=3)
    page.mouse.up(button="right")
    assert page.locator("#level-value").text_content() == "80"
    assert page.locator("#window-value").text_content() == "94"
    page.click("#reset")
    assert middle(page) == pytest.approx(120, abs=2)


def test_the_wheel_zooms_where_it_points_and_dragging_moves_the_film(page: Page) -> None:
    open_film(page, dot())
    box = page.locator("figure canvas").first.bounding_box()
    assert box is not None
    x, y = centre_of_light(canvas(page))
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.wheel(0, -500)
    page.locator("#zoom-value").filter(has_text="272 %").wait_for()
    assert centre_of_light(canvas(page)) == pytest.approx((x, y), abs=3)
    page.mouse.down()
    page.mouse.move(box["x"] + x - 60, box["y"] + y + 40, steps=4)
    page.mouse.up()
    assert centre_of_light(canvas(page)) == pytest.approx((x - 60, y + 40), abs=3)
    page.keyboard.press("ArrowRight")
    assert centre_of_light(canvas(page))[0] == pytest.approx(x - 60 + 0.05 * box["width"], abs=3)
    page.keyboard.press("0")
    assert centre_of_light(canvas(page)) == pytest.approx((x, y), abs=3)


def test_a_sentence_becomes_a_map_with_its_peak_marked(page: Page) -> None:
    from playwright.sync_api import expect

    open_film(page, ramp())
    assert colourfulness(canvas(page)).max() == 0
    with page.expect_response("**/api/ground") as asked:
        page.keyboard.press("/")
        page.keyboard.type("Left effusion.")
        page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("“Left effusion.”: the ring marks")
    shown = canvas(page)
    assert colourfulness(shown).max() > 60
    scale = min(shown.shape[1] / 120, shown.shape[0] / 90)
    peak = np.array(asked.value.json()["peak"])
    at = (peak - [60, 45]) * scale + [shown.shape[1] / 2, shown.shape[0] / 2]
    ring = shown[int(at[1]) - 12 : int(at[1]) + 12, int(at[0]) - 12 : int(at[0]) + 12].min(axis=2)
    assert ring.max() > 250  # white: no colour of the map is
    page.locator("body").press("h")
    assert colourfulness(canvas(page)).max() > 0  # the sentence still has the focus: h is a letter there
    page.locator("figure canvas").first.focus()
    page.keyboard.press("h")
    assert colourfulness(canvas(page)).max() == 0
    page.keyboard.press("h")
    page.click("#examples button >> nth=1")
    expect(page.locator("#status")).to_contain_text("“The heart is enlarged.”: the ring")


def test_words_light_regions_and_regions_light_words(page: Page) -> None:
    open_film(page, ramp())
    page.fill("#report", REPORT)
    with page.expect_response("**/api/words") as asked:
        page.get_by_role("button", name="Link words").click()
    answer = asked.value.json()
    words = page.locator("#words button")
    words.filter(has_text="effusion").hover()
    page.locator("#words button.chosen", has_text="effusion").wait_for()
    assert colourfulness(canvas(page)).max() > 60
    shown = canvas(page)
    scale = min(shown.shape[1] / 120, shown.shape[0] / 90)
    x0, y0, x1, y1 = answer["regions"][9]
    position = {
        "x": ((x0 + x1) / 2 - 60) * scale + shown.shape[1] / 2,
        "y": ((y0 + y1) / 2 - 45) * scale + shown.shape[0] / 2,
    }
    page.locator("figure canvas").first.click(position=position)  # type: ignore[arg-type]
    attention = np.array(answer["attention"])[:, 9] * len(answer["regions"])
    order = np.argsort(-attention, kind="stable")[:5]
    wanted = {answer["words"][k] for k in order if attention[k] > 1}
    assert set(page.locator("#words button.speaks").all_text_contents()) == wanted
    page.locator("figure canvas").first.press("Shift+ArrowRight")
    attention = np.array(answer["attention"])[:, 10] * len(answer["regions"])
    assert page.locator("#words button.speaks").count() == min(5, int((attention > 1).sum()))


def test_nothing_lies_over_the_film_whose_corners_tell_its_side(page: Page) -> None:
    open_film(page, ramp())
    film = page.locator("figure canvas").first.bounding_box()
    assert film is not None
    for name in ("figcaption", "#zoom", "#status", "#tools"):
        other = page.locator(name).first.bounding_box()
        assert other is not None
        assert other["y"] + other["height"] <= film["y"] or other["y"] >= film["y"] + film["height"], name
    across = page.locator("#findings").evaluate("table => [table.scrollWidth, table.parentElement.clientWidth]")
    assert across[0] <= across[1]


def test_findings_show_probabilities_and_what_they_are_of(page: Page) -> None:
    with page.expect_response("**/api/findings") as asked:
        open_film(page, ramp())
    answer = asked.value.json()
    table = page.locator("#findings")
    titles = table.locator("thead th").all_text_contents()
    assert titles == ["Finding", "Probability", "Prevalence", "Films below"]
    names = table.locator("tbody th").all_text_contents()
    assert sorted(names) == sorted(answer["scores"])
    likely = sorted(answer["probabilities"], key=answer["probabilities"].get, reverse=True)
    assert names[: len(likely)] == likely  # what has no probability stands behind
    shown = [answer["probabilities"][name] for name in likely]
    assert table.locator("meter").evaluate_all("all => all.map(one => one.value)") == pytest.approx(shown)
    first = table.locator("tbody tr").first.locator("td").all_text_contents()
    assert first == [
        percent(shown[0]),
        percent(answer["prevalence"][likely[0]]),
        percent(answer["standing"][likely[0]]),
    ]
    assert table.locator("tbody tr").last.locator("td").first.text_content() == "–"
    hint = page.locator("#findings-hint").text_content() or ""
    assert "calibrated on 120 frontal validation films of phantom" in hint
    assert "It holds for films like those only." in hint
    assert "Fracture: 4 of 120 validation films have it." in hint
    assert "index's 6 films" in hint


def percent(share: float) -> str:
    """As the page writes it."""
    return "<1 %" if share < 0.005 else ">99 %" if share > 0.995 else f"{100 * share:.0f} %"


def test_findings_of_a_run_that_is_not_calibrated_are_ordered_by_their_place(
    page: Page, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    why_not = FindingScale(why_not="crossray calibrate was not called for this run")
    monkeypatch.setitem(desk.runs[0].__dict__, "scales", dict.fromkeys(desk.runs[0].directions, why_not))
    with page.expect_response("**/api/findings") as asked:
        open_film(page, ramp())
    answer = asked.value.json()
    assert page.locator("#findings thead th").all_text_contents() == ["Finding", "Films below", "Score"]
    names = page.locator("#findings tbody th").all_text_contents()
    standing = [answer["standing"][name] for name in names]
    assert standing == sorted(standing, reverse=True)
    assert page.locator("meter").evaluate_all("meters => meters.map(meter => meter.value)") == pytest.approx(standing)
    hint = page.locator("#findings-hint").text_content() or ""
    assert "uncalibrated difference of cosines (crossray calibrate was not called for this run)" in hint


def test_nearest_reports_come_with_films_and_their_words_can_be_linked(page: Page) -> None:
    from playwright.sync_api import expect

    open_film(page, ramp())
    items = page.locator("#near li")
    expect(items).to_have_count(5)
    items.first.locator("img").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    assert (
        items.first.locator("img").evaluate("async picture => { await picture.decode(); return picture.naturalWidth; }")
        == 64
    )
    report = items.first.locator("div > p").nth(1).text_content()
    items.first.get_by_role("button").click()
    page.locator("#words button").first.wait_for()
    assert page.locator("#report").input_value().split() == (report or "").split()
    page.fill("#phrase", "Left effusion.")
    page.click("#search")
    expect(page.locator("#h-near")).to_have_text("Films nearest to “Left effusion.”")


def test_two_methods_stand_side_by_side(page: Page) -> None:
    from playwright.sync_api import expect

    open_film(page, ramp())
    page.click("#examples button >> nth=0")
    expect(page.locator("#status")).to_contain_text("the ring marks")
    expect(page.locator("figure:visible")).to_have_count(1)
    page.locator("figure canvas").first.press("c")
    expect(page.locator("figure:visible")).to_have_count(2)
    expect(page.locator("figcaption").nth(0)).to_contain_text("global_local")
    expect(page.locator("figcaption").nth(1)).to_contain_text("clip")
    expect(page.locator("#findings thead th")).to_have_text(
        ["Finding", "global_local, probability", "clip, score", "Films below"]
    )
    hint = page.locator("#findings-hint")
    expect(hint).to_contain_text("global_local: Probability: calibrated on 120 frontal validation films of phantom.")
    expect(hint).to_contain_text(
        "clip: Score: an uncalibrated difference of cosines (crossray calibrate was not called"
    )
    np.testing.assert_array_equal(canvas(page, 0).shape, canvas(page, 1).shape)
    page.uncheck("#compare")
    expect(page.locator("figure:visible")).to_have_count(1)


def test_two_runs_of_one_method_go_by_their_own_names(browser: Browser, desk: Desk, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    write_run(tmp_path / "another", GlobalLocalConfig())
    twice = Desk([desk.runs[0], LoadedRun(1, tmp_path / "another")])
    with served(twice) as address, opened_page(browser, address) as page:
        open_film(page, ramp())
        page.check("#compare")
        expect(page.locator("#findings thead th")).to_have_text(["Finding", "run, probability", "another, score"])
    twice.decoder.close()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800), (3840, 2160)])
def test_the_page_fits_and_says_for_research_only_whatever_is_open(
    browser: Browser, address: str, width: int, height: int
) -> None:
    with opened_page(browser, address, width, height) as page:
        for step in (None, "film", "compare", "help", "scrolled"):
            if step == "film":
                open_film(page, ramp())
            elif step == "compare":
                page.check("#compare")
            elif step == "help":
                page.click("#help-button")
            elif step == "scrolled":
                page.locator("#near li").last.scroll_into_view_if_needed()
            found = page.evaluate(PAGE_CHECKS)
            assert found["notice"] == "Research only, not for diagnosis", step
            assert found["overflow"] == 0, step
            assert found["unnamed"] == [], step
            assert found["faint"] == [], step
            assert found["smallest"] >= (18 if width == 3840 else 11), step
        page.keyboard.press("Escape")
        assert page.locator("#help").is_hidden()


def test_the_keyboard_reaches_everything_in_reading_order(page: Page) -> None:
    open_film(page, ramp())
    page.locator("#file").focus()
    reached = []
    for _ in range(24):
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.localName"))
        page.keyboard.press("Tab")
    assert reached[:9] == ["file", "help-button", "canvas", "level", "window", "opacity", "invert", "compare", "reset"]
    assert reached[9:11] == ["phrase", "button"]
    assert "report" in reached
    page.locator("#level").focus()
    assert page.locator("#level").evaluate("element => getComputedStyle(element).outlineStyle") == "solid"


def test_keys_do_what_the_help_says(page: Page) -> None:
    page.evaluate("() => { document.getElementById('file').onclick = () => { window.asked = true; return false; }; }")
    page.keyboard.press("o")
    assert page.evaluate("window.asked")
    page.evaluate("document.getElementById('file').onclick = null")
    with page.expect_file_chooser() as chooser:
        page.click("#choose")
    chooser.value.set_files(film_file(ramp()))
    page.wait_for_selector("#findings tbody tr")
    page.keyboard.press("+")
    assert page.locator("#zoom-value").text_content() == "125 %"
    page.keyboard.press("-")
    page.keyboard.press("[")
    page.keyboard.press("}")
    assert page.locator("#level-value").text_content() == "120"
    assert page.locator("#window-value").text_content() == "271"
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
