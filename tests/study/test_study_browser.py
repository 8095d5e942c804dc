"""A whole study in a real browser: read, agree, hear, watch, answer, go on after a reload and after a kill."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avbench.study import analyse, create, record, server
from avbench.study.answers import Answers
from avbench.study.server import StudyServer
from tests.study.conftest import design

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect

from tests.browsing import page

pytestmark = pytest.mark.slow


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[StudyServer]:
    with server.opened(folder, port=port) as opened:
        threading.Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield opened
        opened.shutdown()


@pytest.fixture(scope="module")
def small(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of one pair, one clip and one Turing trial, with a check in each."""
    folder = tmp_path_factory.mktemp("small") / "study"
    asked = design(
        folders,
        tests=("pairwise", "opinion", "turing"),
        trials=1,
        title="Impacts",
        contact="nobody@example.org",
        checks={"per_test": 1, "kinds": ["asked"]},
    )
    create.create(asked, folder)
    return folder


@pytest.fixture
def folder(small: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(small, tmp_path / "study"))


def agree(tab: Page, url: str) -> None:
    tab.goto(url)
    begin = tab.get_by_role("button", name="Take part")
    expect(begin).to_be_disabled()
    tab.get_by_role("checkbox").check()
    begin.click()
    expect(tab.get_by_role("heading", name="How it works")).to_be_visible()


def hear(tab: Page, beeps: int = 2) -> None:
    tab.get_by_role("button", name="Check the sound").click()
    expect(tab.get_by_role("button", name="1", exact=True)).to_be_disabled()
    tab.get_by_role("button", name="Play the beeps").click()
    tab.get_by_role("button", name=str(beeps), exact=True).click()


def watch(tab: Page) -> None:
    """Play every clip of the trial to its end."""
    for number in range(tab.locator("figure").count()):
        figure = tab.locator("figure").nth(number)
        if figure.get_by_text("not played yet").count():
            figure.get_by_role("button").click()
            expect(figure.get_by_text("played", exact=True)).to_be_visible()


def answered(tab: Page) -> str:
    return tab.locator("#count").inner_text()


def answer(tab: Page) -> None:
    """Choose what is asked for, else the first answer, and go on."""
    before = answered(tab)
    asked = tab.locator("legend").inner_text().partition("“")[2].partition("”")[0]
    choices = tab.locator(".choices").get_by_role("button")
    (choices.filter(has_text=asked).first if asked else choices.first).click()
    tab.get_by_role("button", name="Next").click()
    expect(tab.locator("#count")).not_to_have_text(before)


def test_a_person_goes_through_the_whole_study_and_the_answers_are_there(folder: Path) -> None:
    with serving(folder) as served, page(1200, 850) as tab:
        agree(tab, served.url)
        assert "/p/" in tab.url
        hear(tab)
        assert answered(tab) == "0 of 8 answered"
        expect(tab.locator(".choices button").first).to_be_disabled()
        while tab.get_by_role("heading", name="Thank you").count() == 0:
            watch(tab)
            answer(tab)
        assert answered(tab) == "8 of 8 answered"
        study = served.session.study
        assert served.session.answers.counts() == (1, 8)
    found = analyse.of(folder)
    (person,) = found.gathered.people
    assert (person.answered, person.failed, person.checks) == (8, (), 3)
    assert all(row.took_s >= 0 and row.plays >= len(row.systems) for row in found.gathered.rows)
    assert {test for test in study.design.tests} == {row.test for row in found.gathered.rows}


def test_reload_goes_on_at_the_same_question_and_nothing_is_asked_twice(folder: Path) -> None:
    with serving(folder) as served, page(1200, 850) as tab:
        agree(tab, served.url)
        hear(tab)
        watch(tab)
        answer(tab)
        question = tab.locator("legend").inner_text()
        tab.reload()
        expect(tab.get_by_role("heading", name="Welcome back")).to_be_visible()
        hear(tab)
        assert answered(tab) == "1 of 8 answered"
        assert tab.locator("legend").inner_text() == question
        expect(tab.locator("video")).to_have_count(2)


def test_a_clip_cannot_be_wound_forward_and_an_answer_needs_its_end(folder: Path) -> None:
    with serving(folder) as served, page(1200, 850) as tab:
        agree(tab, served.url)
        hear(tab)
        expect(tab.get_by_text("Play both clips to their end")).to_be_visible()
        # Before its metadata has come a clip has no duration, and nobody could wind it.
        tab.wait_for_function("() => document.querySelector('video').readyState >= HTMLMediaElement.HAVE_METADATA")
        tab.locator("video").first.evaluate("video => { video.currentTime = video.duration - 0.05; }")
        tab.wait_for_function("() => !document.querySelector('video').seeking")
        assert tab.locator("video").first.evaluate("video => video.currentTime") < 0.4
        tab.locator("video").first.evaluate("video => { video.playbackRate = 8; video.muted = true; }")
        tab.wait_for_function(
            "() => { const v = document.querySelector('video'); return v.playbackRate === 1 && !v.muted; }"
        )
        tab.locator("figure").first.get_by_role("button").click()
        expect(tab.locator("figure").first.get_by_text("played", exact=True)).to_be_visible()
        expect(tab.locator(".choices button").first).to_be_disabled()
        watch(tab)
        expect(tab.locator(".choices button").first).to_be_enabled()


def test_keys_alone_are_enough(folder: Path) -> None:
    with serving(folder) as served, page(1200, 850) as tab:
        agree(tab, served.url)
        tab.get_by_role("button", name="Check the sound").focus()
        tab.keyboard.press("Enter")
        tab.keyboard.press(" ")
        expect(tab.get_by_role("button", name="2", exact=True)).to_be_enabled()
        tab.keyboard.press("2")
        for number in range(2):
            tab.keyboard.press(" ")
            expect(tab.locator("figure").nth(number).get_by_text("played", exact=True)).to_be_visible()
        tab.keyboard.press("3")
        expect(tab.locator(".choices button").nth(2)).to_have_attribute("aria-pressed", "true")
        tab.keyboard.press("Enter")
        expect(tab.locator("#count")).to_have_text("1 of 8 answered")
        study = record.read(folder)
        with Answers(folder / record.ANSWERS, study.digest, read_only=True) as answers:
            assert [one.answer for one in answers.all()] == ["second"]


def test_an_answer_given_while_the_server_is_away_arrives_when_it_is_back(folder: Path) -> None:
    with page(1200, 850, expected=("ERR_CONNECTION_REFUSED",)) as tab:
        with serving(folder) as served:
            port = served.server_port
            agree(tab, served.url)
            hear(tab)
            watch(tab)
        tab.locator(".choices button").first.click()
        tab.get_by_role("button", name="Next").click()
        expect(tab.get_by_role("alert")).to_contain_text("Nothing is lost")
        with serving(folder, port) as served:
            expect(tab.locator("#count")).to_have_text("1 of 8 answered")
            expect(tab.get_by_role("alert")).to_be_hidden()
            assert served.session.answers.counts() == (1, 1)


def test_a_second_tab_does_not_answer_twice(folder: Path) -> None:
    with serving(folder) as served, page(1200, 850) as tab:
        agree(tab, served.url)
        hear(tab)
        other = tab.context.new_page()
        other.goto(tab.url)
        hear(other)
        for one in (tab, other):
            one.bring_to_front()  # a page behind another one is slowed down
            watch(one)
        tab.bring_to_front()
        answer(tab)
        other.bring_to_front()
        answer(other)
        assert answered(other) == "1 of 8 answered"
        assert served.session.answers.counts() == (1, 1)


def test_a_link_of_nobody_leads_to_the_beginning(folder: Path) -> None:
    with serving(folder) as served, page(1200, 850, expected=("404",)) as tab:
        tab.goto(served.url + "p/nobody")
        expect(tab.get_by_role("alert")).to_contain_text("begin at the first page")
        expect(tab.get_by_role("button", name="Take part")).to_be_visible()


def test_nothing_stands_out_of_a_small_phone(folder: Path) -> None:
    width = 320
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    with serving(folder) as served, page(width, 700, phone=True) as tab:
        agree(tab, served.url)
        assert tab.evaluate(wide) <= 0
        hear(tab)
        expect(tab.locator("video")).to_have_count(2)
        assert tab.evaluate(wide) <= 0
        for button in tab.get_by_role("button").all():
            box = button.bounding_box()
            assert box["height"] >= 40
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width


def test_without_script_the_page_says_what_it_needs(folder: Path) -> None:
    with serving(folder) as served, page(800, 600, script=False) as tab:
        tab.goto(served.url)
        expect(tab.locator("main")).to_contain_text("needs JavaScript")
