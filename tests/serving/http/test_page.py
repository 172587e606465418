"""The page in a real browser. Screenshots are kept in .scratch/screenshots."""

import base64
import os
from pathlib import Path

import pytest

from tests.serving.live import make_version
from tests.serving.small_service import BASE, NEW
from udml.serving.http import keys

pytest.importorskip("selenium")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.serving.http.browser import complaints, look, screenshot
from tests.serving.http.page import DESKTOP, IN_A_BROWSER, PHONE, Page, name_of, opened, services

pytestmark = IN_A_BROWSER
_PASTE_OR_DROP = """
const bytes = Uint8Array.from(atob(arguments[1]), (letter) => letter.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], arguments[2], {type: arguments[3]}));
const event = arguments[0] === "paste"
  ? new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true})
  : new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true});
document.body.dispatchEvent(event);
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    make_version(root, BASE)
    for name, data, _ in (*BASE, *NEW):
        (root / Path(name).name.replace("0", "q", 1)).write_bytes(data)
    return root


@pytest.fixture(scope="module")
def key(registry):
    return keys.add_key(registry / "keys.json", "anna")


@pytest.fixture(scope="module")
def serve(registry):
    with services(registry) as start:
        yield start


@pytest.fixture(scope="module")
def open_url(serve):
    return serve(open_writes=True)


@pytest.fixture
def page(driver, open_url):
    with opened(driver, open_url) as shown:
        yield shown


def test_choosing_a_picture_shows_its_neighbours_with_scores(page):
    page.search("mine.png", BASE[3][1])
    assert len(page.cards()) == len(BASE)
    assert page.names()[0] == name_of(BASE[3])
    assert page.cards()[0].find_element(By.CSS_SELECTOR, "b").text == "1.00"
    assert page.cards()[0].find_element(By.CSS_SELECTOR, ".label").text == BASE[3][2]
    assert page.find("#results-heading").text == f"{len(BASE)} neighbours"
    assert "1.00" in page.status()
    assert page.find("#preview").is_displayed()
    page.loaded()


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_pasting_and_dropping_search_too(page, way):
    def bring(data, kind):
        page.driver.execute_script(_PASTE_OR_DROP, way, base64.b64encode(data).decode(), "x.png", kind)

    page.until(lambda: page.find("#about").text)
    bring(BASE[8][1], "image/png")
    page.until(lambda: page.cards() and page.names()[0] == name_of(BASE[8]))
    if way == "drop":
        bring(b"words", "text/plain")
        assert "not a picture" in page.find("#problem").text


def test_the_slider_hides_what_is_less_similar(page):
    page.search("mine.png", BASE[3][1])
    slider = page.find("#threshold")
    page.driver.execute_script(
        "arguments[0].value = 0.99; arguments[0].dispatchEvent(new Event('input'))", slider
    )
    assert page.names() == [name_of(BASE[3])]
    assert page.find("#results-heading").text == f"1 of {len(BASE)} neighbours"
    slider.send_keys(Keys.HOME)
    assert len(page.cards()) == len(BASE)


def test_a_neighbour_is_searched_with_and_back_goes_back(page):
    page.search("mine.png", BASE[3][1])
    second = page.names()[1]
    page.cards()[1].find_element(By.CSS_SELECTOR, ".picture").click()
    page.until(lambda: second in page.find("#query-name").text)
    page.until(lambda: len(page.cards()) == len(BASE) - 1)
    assert second not in page.names()
    page.driver.back()
    page.until(lambda: page.cards() and page.names()[0] == name_of(BASE[3]))


def test_the_collection_is_browsed_by_groups(page):
    page.find("#to-browse").click()
    page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".group"))
    page.loaded()
    assert page.find("#to-browse").get_attribute("aria-current") == "page"
    group = page.find(".group button")
    count = int(group.find_element(By.CSS_SELECTOR, ".count").text.split()[0])
    group.click()
    page.until(lambda: len(page.cards()) == count)
    page.cards()[0].find_element(By.CSS_SELECTOR, ".picture").click()
    page.until(lambda: "similarity" in page.status())
    page.driver.back()
    page.until(lambda: len(page.cards()) == count)
    page.find("#back").click()
    page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".group"))


def test_a_picture_is_added_and_removed(page):
    page.search("new-one.png", NEW[0][1])
    page.until(lambda: page.find("#add").is_displayed())
    page.find("#add").click()
    page.until(lambda: "Added" in page.find("#query-name").text)
    page.until(lambda: page.find("#about").text.startswith(f"{len(BASE) + 1} images"))
    page.search("again.png", NEW[0][1])
    page.until(lambda: page.names()[0] == "new-one.png")
    remove = page.cards()[0].find_element(By.CSS_SELECTOR, ".remove")
    for choice, left in (("keep", len(BASE) + 1), ("remove", len(BASE))):
        ActionChains(page.driver).move_to_element(remove).perform()
        remove.click()
        page.until(lambda: page.find("#remove-dialog").is_displayed())
        assert page.find("#remove-name").text == "new-one.png"
        page.find(f"#remove-dialog [value={choice}]").click()
        page.until(lambda: not page.find("#remove-dialog").is_displayed())
        page.until(lambda expected=left: page.find("#about").text.startswith(f"{expected} images"))
    page.until(lambda: "new-one.png" not in page.names())


def test_a_file_that_is_no_picture_is_explained(page):
    path = Path(os.environ["PYTEST_PICTURES"]) / "broken.png"
    path.write_bytes(b"\x89PNG\r\n and then nothing")
    page.find("#file").send_keys(str(path))
    page.until(lambda: "damaged" in page.find("#problem").text)
    assert page.cards() == []
    page.search("mine.png", BASE[3][1])
    assert page.find("#problem").text == ""
    complaints(page.driver)  # the browser itself reports the 422


def test_everything_works_from_the_keyboard(page):
    page.search("mine.png", BASE[3][1])
    page.until(lambda: page.driver.switch_to.active_element.get_attribute("id") == "results-heading")

    def press(*what):
        ActionChains(page.driver).send_keys(*what).perform()
        return page.driver.switch_to.active_element

    assert press(Keys.TAB).get_attribute("id") == "threshold"
    first = press(Keys.TAB)
    assert first.get_attribute("aria-label").startswith("Search with")
    for act in ("More like", "Less like", "Remove", "Search with"):
        assert press(Keys.TAB).get_attribute("aria-label").startswith(act)
    press(Keys.ENTER)
    page.until(lambda: "like=" in page.driver.current_url)
    page.driver.get(page.driver.current_url.partition("#")[0])
    page.until(lambda: page.find("#about").text)
    visited = [press(Keys.TAB) for _ in range(5)]
    order = [element.get_attribute("id") or element.get_attribute("class") for element in visited]
    assert order == ["skip", "home", "to-search", "to-browse", "file"]


def test_everything_has_a_name_for_screen_readers(page):
    page.search("mine.png", BASE[3][1])
    nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    shown = [node for node in nodes if not node["ignored"]]

    def having(role):
        return [node.get("name", {}).get("value", "") for node in shown if node["role"]["value"] == role]

    for role in ("button", "link", "slider", "image", "heading"):
        assert having(role), role
        assert all(name.strip() for name in having(role)), role
    assert {"main", "banner", "navigation", "status", "alert"} <= {node["role"]["value"] for node in shown}
    assert "Similarity at least" in having("slider")


def test_with_keys_the_page_asks_for_one(driver, serve, registry, key):
    look(driver, *DESKTOP)
    driver.get(serve(keys=registry / "keys.json"))
    page = Page(driver)
    page.until(lambda: page.find("#key-dialog").is_displayed())
    assert "needs an API key" in page.find("#key-why").text
    page.find("#key").send_keys("udml_wrong", Keys.ENTER)
    page.until(lambda: "not known" in page.find("#key-why").text)
    page.find("#key").clear()
    page.find("#key").send_keys(key)
    page.find("#key-dialog [value=use]").click()
    page.until(lambda: page.find("#about").text)
    page.search("mine.png", BASE[3][1])
    page.loaded()  # thumbnails come with the key
    assert page.find("#add").is_displayed()
    assert key not in driver.current_url
    page.find("#key-button").click()
    page.until(lambda: page.find("#key-dialog").is_displayed())
    page.find("#key-dialog [value=forget]").click()
    page.until(lambda: "needs an API key" in page.find("#key-why").text)


def test_without_writing_there_is_nothing_to_write_with(driver, serve):
    look(driver, *DESKTOP)
    driver.get(serve())
    page = Page(driver)
    page.search("mine.png", BASE[3][1])
    assert not page.find("#add").is_displayed()
    assert not any(button.is_displayed() for button in driver.find_elements(By.CSS_SELECTOR, ".remove"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_and_can_be_read_at_every_size_and_in_both_schemes(page, size, dark):
    name = f"{'phone' if size == PHONE else 'desktop'}-{'dark' if dark else 'light'}"
    look(page.driver, *size, dark)
    page.until(lambda: page.find("#about").text)
    screenshot(page.driver, f"{name}-start")
    page.search("mine.png", BASE[3][1])
    page.loaded()
    screenshot(page.driver, f"{name}-search")
    width = page.driver.execute_script("return document.documentElement.scrollWidth")
    assert width <= size[0]
    for element in ("#results-heading", ".name", "#about", "#prompt", "label.primary"):
        assert contrast(page.driver, element) >= 4.5, element
    page.find("#to-browse").click()
    page.until(lambda: page.driver.find_elements(By.CSS_SELECTOR, ".group"))
    page.loaded()
    screenshot(page.driver, f"{name}-browse")


def contrast(driver, css):
    """WCAG contrast of an element's text with what is painted behind it."""
    script = """
    let element = document.querySelector(arguments[0]), text = getComputedStyle(element).color;
    while (getComputedStyle(element).backgroundColor === "rgba(0, 0, 0, 0)") element = element.parentElement;
    return [text, getComputedStyle(element).backgroundColor].map((c) => c.match(/[\\d.]+/g).map(Number));
    """

    def luminance(rgb):
        linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((luminance(c[:3]) for c in driver.execute_script(script, css)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)
