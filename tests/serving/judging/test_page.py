"""The page of `udml judge` in a real browser."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.judgement.known import Known
from tests.serving.judging.a_deck import a_table, served, small
from udml.judgement.answers import read_answers

pytest.importorskip("selenium")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.serving.http.browser import CHROMIUM, DRIVER, chromium, complaints, look, requested, screenshot
from tests.serving.http.page import DESKTOP, PHONE

pytestmark = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()),
    reason=f"no {CHROMIUM} and {DRIVER}: apt-get install -y chromium chromium-driver",
)
_KEYS = {"same": Keys.ARROW_RIGHT, "different": Keys.ARROW_LEFT, "unsure": Keys.ARROW_DOWN}


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def given() -> Known:
    return small()


class Hand:
    """A scripted hand at a page."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        driver.get(url)
        self.until(lambda: self.pair() is not None)

    def find(self, css: str) -> "webdriver.remote.webelement.WebElement":
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def until(self, condition) -> None:
        WebDriverWait(self.driver, 120, poll_frequency=0.02).until(lambda _: condition())

    def pair(self) -> tuple[str, str] | None:
        """The pair whose pictures are shown, once they are; its names as the file has them."""
        script = """
        const images = [...document.querySelectorAll("#pair img")];
        return images.every((image) => image.complete && image.naturalWidth) && images.map((i) => i.src);
        """
        shown = self.driver.execute_script(script)
        return tuple(address.rpartition("/")[2] for address in shown) if shown else None

    def press(self, key: str) -> None:
        """Press a key, and wait until something else is asked."""
        before = self.status()
        self.driver.switch_to.active_element.send_keys(key)
        self.until(lambda: self.status() != before and self.pair() is not None)

    def status(self) -> str:
        return self.find("#status").get_property("textContent")


def test_fifty_answers_by_keyboard_an_undo_a_kill_and_on(
    driver: webdriver.Chrome, given: Known, tmp_path: Path
) -> None:
    file = tmp_path / "judgements.jsonl"
    truth = dict(zip(given.pairs.keys, given.same, strict=True))
    look(driver, *DESKTOP)
    complaints(driver), requested(driver)
    with served(a_table(given, file)) as url:
        hand, wanted = Hand(driver, url), {}
        began = time.monotonic()
        for number in range(50):
            pair = hand.pair()
            assert pair is not None
            wanted[pair] = "unsure" if number == 7 else "same" if truth[pair] else "different"
            hand.press(_KEYS[wanted[pair]])
        print(f"50 answers in {time.monotonic() - began:.0f} s")
        judged = read_answers(file)
        assert {key: by[""].answer for key, by in judged.standing.items()} == wanted
        assert "50 answers of at most" in hand.find("#progress").text
        assert len(driver.find_elements(By.CSS_SELECTOR, "#models tr")) == 3
        assert " to " in hand.find("#models td").text
        screenshot(driver, "judge")
        hand.press(Keys.ARROW_UP)
        assert hand.pair() == pair
        assert len(read_answers(file)) == 49
        open_pair = hand.pair()
        port = int(url.rstrip("/").rpartition(":")[2])
        assert complaints(driver) == []
        assert all(asked.startswith((url, "data:", "chrome", "about:")) for asked in requested(driver))
    driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    hand.until(lambda: "has stopped" in hand.find("#problem").text)
    with served(a_table(given, file), port=port):
        hand.press(Keys.ARROW_RIGHT)  # on the page that was left open
        assert len(read_answers(file)) == 50
        assert open_pair in read_answers(file).standing
        assert hand.find("#problem").text == ""
    complaints(driver)  # that nobody answered


def test_two_people_at_once(driver: webdriver.Chrome, given: Known, tmp_path: Path) -> None:
    file = tmp_path / "judgements.jsonl"
    with served(a_table(given, file)) as url, chromium(tmp_path / "other") as another:
        anna, ben = Hand(driver, url), Hand(another, url)
        for hand, name in ((anna, "anna"), (ben, "ben")):
            hand.find("#name").clear()
            hand.find("#name").send_keys(name, Keys.TAB)
        for _ in range(5):
            assert anna.pair() != ben.pair()
            anna.press(Keys.ARROW_RIGHT)
            ben.press(Keys.ARROW_LEFT)
        said = [one for judges in read_answers(file).standing.values() for one in judges.values()]
    assert len(said) == 10
    assert {(one.by, one.answer) for one in said} == {("anna", "same"), ("ben", "different")}
    assert all(one.at for one in said)


def test_on_a_phone_everything_is_within_reach(
    driver: webdriver.Chrome, given: Known, tmp_path: Path
) -> None:
    file = tmp_path / "judgements.jsonl"
    with served(a_table(given, file)) as url:
        look(driver, *PHONE)
        hand = Hand(driver, url)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
        for button in driver.find_elements(By.CSS_SELECTOR, "#answers button"):
            box = button.rect
            assert box["height"] >= 44
            assert box["y"] + box["height"] <= PHONE[1]  # in view without scrolling
        tops = [image.rect for image in driver.find_elements(By.CSS_SELECTOR, "#pair img")]
        assert all(box["width"] >= 120 for box in tops)
        before = hand.status()
        hand.find("#same").click()
        hand.until(lambda: hand.status() != before)
        screenshot(driver, "judge-phone")
        look(driver, *PHONE, dark=True)
        screenshot(driver, "judge-phone-dark")
        look(driver, *DESKTOP)
    assert len(read_answers(file)) == 1


def test_a_screen_reader_is_told_everything(driver: webdriver.Chrome, given: Known, tmp_path: Path) -> None:
    """Names in the accessibility tree, and what is announced."""
    with served(a_table(given, tmp_path / "judgements.jsonl")) as url:
        hand = Hand(driver, url)
        nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        named = {
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        }
        assert {
            ("heading", "Are these the same?"), ("image", "First picture"), ("image", "Second picture"),
            ("group", "Your answer"), ("button", "The same"), ("button", "Not the same"),
            ("button", "Can\N{RIGHT SINGLE QUOTATION MARK}t say"), ("button", "Undo"),
            ("textbox", "Your name"),
            ("rowheader", "challenger"), ("region", "What is known so far"),
        } <= {(role, name.strip()) for role, name in named}  # fmt: skip
        hand.press(Keys.ARROW_RIGHT)
        assert hand.status() == "The same. 1 answer. Next pair."
        hand.find("#name").send_keys("x", Keys.ARROW_LEFT, Keys.BACKSPACE)  # writing is not judging
        assert "1 answer " in hand.find("#progress").text
