"""The page's field for a filter, in a real browser: by pointer, by keyboard, from an address, and wrong."""

import pytest

from tests.serving.filtering.conftest import sources
from tests.serving.http.page import IN_A_BROWSER, PHONE, opened, services
from tests.serving.small_service import BASE, NEW

pytest.importorskip("selenium")

from selenium.webdriver.common.keys import Keys

from tests.serving.http.browser import look, screenshot
from tests.serving.http.test_page_asking import focus_on, press

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def url(registry):
    with services(registry) as start:
        yield start()


@pytest.fixture
def page(driver, url):
    with opened(driver, url) as shown:
        shown.until(lambda: shown.find("#where-form").is_displayed() and shown.cards())
        yield shown


def names(met):
    return {source.rpartition("/")[2] for source in sources(met)}


def ask(page, where):
    field = page.find("#where")
    field.clear()
    field.send_keys(where, Keys.ENTER)


def test_what_is_found_meets_the_filter_and_the_address_keeps_it(page, url):
    page.search("mine.png", NEW[1][1])
    assert len(page.names()) > 6
    ask(page, "folder = '2023/*' and taken is not missing")
    expected = names(lambda one: one["folder"].startswith("2023/") and one["taken"] is not None)
    page.until(lambda: set(page.names()) == expected)
    assert "where=folder%20%3D%20%272023%2F*%27" in page.driver.current_url
    screenshot(page.driver, "desktop-filter")
    first = page.cards()[0]
    first.find_element("css selector", ".picture").click()  # the filter stays with the next question
    page.until(lambda: "#like=" in page.driver.current_url and len(page.names()) == len(expected) - 1)
    shared = page.driver.current_url
    page.driver.get("about:blank")
    page.driver.get(shared)
    page.until(lambda: len(page.names()) == len(expected) - 1)
    assert page.find("#where").get_property("value").startswith("folder = '2023/*'")
    page.find("#where-clear").click()
    page.until(lambda: len(page.names()) > len(expected))
    assert "where=" not in page.driver.current_url
    page.driver.back()
    page.until(lambda: len(page.names()) == len(expected) - 1)


def test_a_wrong_filter_is_told_beside_the_field(page):
    ask(page, "colour = 'red'")
    page.until(lambda: "letter 1" in page.find("#where-problem").text)
    assert "folder (text)" in page.find("#where-problem").text
    assert page.find("#problem").text == ""
    field = page.find("#where")
    assert (field.get_attribute("aria-invalid"), field.get_property("value")) == ("true", "colour = 'red'")
    assert page.driver.switch_to.active_element == field
    page.driver.get_log("browser")  # that the service has answered 422
    ask(page, "label = 'nobody'")
    page.until(lambda: page.find("#nothing").text == "No image meets the filter.")
    assert page.find("#where-problem").text == ""
    assert field.get_attribute("aria-invalid") is None
    ask(page, "")
    page.until(lambda: page.find("#results-heading").text.startswith(f"{len(BASE)} images in the collection"))


def test_columns_are_offered_to_the_keyboard_on_a_phone_too(page):
    look(page.driver, *PHONE)
    focus_on(page, "#where-help summary")
    press(page, Keys.ENTER)
    focus_on(page, "#where-columns button:nth-child(4)")
    assert page.driver.switch_to.active_element.get_attribute("aria-label") == "Filter by label, a text"
    press(page, Keys.ENTER)
    assert page.find("#where").get_property("value") == "label = '*'"
    press(page, "label-1")
    assert page.find("#where").get_property("value") == "label = 'label-1'"
    screenshot(page.driver, "phone-filter")
    width = page.driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
    assert width <= 0
    press(page, Keys.ENTER)
    met = names(lambda one: one["label"] == "label-1")
    page.until(
        lambda: page.find("#results-heading").text.startswith(f"{len(met)} images that meet the filter")
    )
    assert set(page.names()) == met
