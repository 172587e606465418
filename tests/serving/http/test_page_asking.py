"""The page in a real browser: several pictures at once, parts of one, folded copies, an empty page."""

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.serving.live import make_version
from tests.serving.small_service import BASE, NEW
from udml import Searcher
from udml.cropping import Crop
from udml.data.identity import image_id
from udml.search.mixed_query import mixed_query

pytest.importorskip("selenium")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.serving.http.browser import look, screenshot
from tests.serving.http.conftest import vector
from tests.serving.http.page import DESKTOP, IN_A_BROWSER, PHONE, name_of, opened, services

pytestmark = IN_A_BROWSER
QUERY = NEW[3]


@pytest.fixture(scope="module")
def url(mixed_registry):
    with services(mixed_registry) as start:
        yield start(open_writes=True)


@pytest.fixture
def page(driver, url):
    with opened(driver, url) as shown:
        yield shown


def expected(searcher, query, leave_out=()):
    out = [image_id(file[0]) for file in leave_out]
    return [
        Path(h.source).name for h in searcher.neighbours(query[None], 24, collapse=True, leave_out=out)[0]
    ]


def act(page, file, which):
    """Press a button of the card of an image."""
    card = page.cards()[page.names().index(name_of(file))]
    button = card.find_element(By.CSS_SELECTOR, f".{which}")
    ActionChains(page.driver).move_to_element(button).perform()
    button.click()
    if which != "remove":  # what is asked with is not among what is found
        page.until(lambda: page.cards() and name_of(file) not in page.names())


def chips(page, side):
    return page.driver.find_elements(By.CSS_SELECTOR, f"#{side}-list .chip button")


def press(page, *what):
    chain = ActionChains(page.driver)
    for keys in what:
        if isinstance(keys, tuple):
            chain.key_down(keys[0]).send_keys(keys[1]).key_up(keys[0])
        else:
            chain.send_keys(keys)
    chain.perform()
    return page.driver.switch_to.active_element


def focus_on(page, css, *, back=False):
    """Go on, or back, with Tab until what has the focus matches."""
    for _ in range(60):
        press(page, (Keys.SHIFT, Keys.TAB) if back else Keys.TAB)
        if page.driver.execute_script("return document.activeElement.matches(arguments[0])", css):
            return
    raise AssertionError(f"the keyboard does not reach {css}")


def test_more_like_these_and_less_like_that_by_pointer(page, searcher):
    page.search("mine.png", QUERY[1])
    base = vector(searcher, QUERY)
    assert page.names() == expected(searcher, base)
    act(page, BASE[5], "more")
    both = expected(searcher, mixed_query([base, vector(searcher, BASE[5])]), BASE[5:6])
    page.until(lambda: page.names() == both)
    assert [chip.get_attribute("aria-label") for chip in chips(page, "more")] == [
        f"No longer more like {BASE[5][0]}"
    ]
    act(page, BASE[7], "less")
    query = mixed_query([base, vector(searcher, BASE[5])], [vector(searcher, BASE[7])])
    all_three = expected(searcher, query, [BASE[5], BASE[7]])
    page.until(lambda: page.names() == all_three)
    assert page.find("#less-like").is_displayed()
    screenshot(page.driver, "desktop-tray")
    page.driver.back()
    page.until(lambda: page.names() == both)
    assert not page.find("#less-like").is_displayed()
    page.driver.forward()
    page.until(lambda: page.names() == all_three)
    chips(page, "more")[0].click()
    left = expected(searcher, mixed_query([base], [vector(searcher, BASE[7])]), BASE[7:8])
    page.until(lambda: page.names() == left)
    chips(page, "less")[0].click()
    page.until(lambda: page.names() == expected(searcher, base))
    assert not page.find("#tray").is_displayed()


def test_more_and_less_by_keyboard_and_from_an_address(page, searcher, url):
    page.driver.get(f"{url}#like={image_id(BASE[4][0]):016x}")
    page.until(lambda: page.cards() and BASE[4][0] in page.find("#query-name").text)
    base = vector(searcher, BASE[4])
    first = page.names()[0]
    focus_on(page, "#grid .card:first-child .more")
    press(page, Keys.ENTER)
    page.until(lambda: page.find("#tray").is_displayed() and first not in page.names())
    page.until(lambda: page.driver.switch_to.active_element.get_attribute("id") == "results-heading")
    file = next(file for file in BASE if name_of(file) == first)
    query = mixed_query([base, vector(searcher, file)])
    assert page.names() == expected(searcher, query, [BASE[4], file])
    shared = page.driver.current_url
    page.driver.get("about:blank")
    page.driver.get(shared)  # it can be sent to somebody
    page.until(lambda: page.names() == expected(searcher, query, [BASE[4], file]))
    page.until(lambda: file[0] in chips(page, "more")[0].get_attribute("aria-label"))
    focus_on(page, "#more-list button", back=True)
    press(page, Keys.SPACE)
    page.until(lambda: page.names() == expected(searcher, base, BASE[4:5]))


def crop_of(page):
    told = page.driver.current_url.partition("crop=")[2]
    return Crop.parse(told) if told else None


def drag(page, start, end):
    """Draw over the picture from one place to another, in fractions of it."""
    box = page.find("#cutter").rect
    points = [(round(box["width"] * (x - 0.5)), round(box["height"] * (y - 0.5))) for x, y in (start, end)]
    chain = ActionChains(page.driver).move_to_element_with_offset(page.find("#cutter"), *points[0])
    chain.click_and_hold().move_by_offset(points[1][0] - points[0][0], points[1][1] - points[0][1])
    chain.release().perform()


def test_a_part_of_the_picture_by_pointer(page, searcher):
    page.search("mine.png", QUERY[1])
    page.until(lambda: page.find("#cutter").rect["height"] > 100)
    drag(page, (0.05, 0.1), (0.5, 0.6))
    page.until(lambda: crop_of(page))
    crop = crop_of(page)
    assert (crop.x, crop.y, crop.width, crop.height) == pytest.approx((0.05, 0.1, 0.45, 0.5), abs=0.02)
    part = expected(searcher, vector(searcher, QUERY, crop))
    page.until(lambda: page.names() == part)
    assert page.find("#mark").is_displayed()
    screenshot(page.driver, "desktop-crop")
    drag(page, (0.2, 0.3), (0.9, 0.9))  # from inside: it is moved, as far as the picture goes
    page.until(lambda: crop_of(page) != crop)
    moved = crop_of(page)
    assert (moved.width, moved.height) == pytest.approx((crop.width, crop.height), abs=1e-3)
    assert (moved.x + moved.width, moved.y + moved.height) == pytest.approx((1, 1), abs=1e-3)
    page.until(lambda: page.names() == expected(searcher, vector(searcher, QUERY, moved)))
    page.driver.back()
    page.until(lambda: crop_of(page) == crop and page.names() == part)
    page.find("#whole").click()
    page.until(lambda: crop_of(page) is None and page.names() == expected(searcher, vector(searcher, QUERY)))
    assert not page.find("#mark").is_displayed()
    page.find("#cutter").click()  # is no drag
    assert crop_of(page) is None


def test_a_part_of_the_picture_by_keyboard(page, searcher):
    page.search("mine.png", QUERY[1])
    page.driver.execute_script("document.getElementById('to-browse').focus()")
    focus_on(page, "#cutter")
    assert "Arrow keys move" in page.find("#crop-hint").text
    press(page, Keys.ARROW_LEFT)
    assert page.find("#mark").is_displayed()
    assert "50 % wide" in page.status()
    press(page, *[Keys.ARROW_LEFT] * 5, Keys.ARROW_DOWN, *[(Keys.SHIFT, Keys.ARROW_RIGHT)] * 3,
          (Keys.SHIFT, Keys.ARROW_UP), Keys.ENTER)  # fmt: skip
    page.until(lambda: crop_of(page))
    crop = crop_of(page)
    assert (crop.x, crop.y, crop.width, crop.height) == pytest.approx((0.15, 0.27, 0.56, 0.48))
    page.until(lambda: page.names() == expected(searcher, vector(searcher, QUERY, crop)))
    act(page, BASE[5], "more")  # the part stays the part
    query = mixed_query([vector(searcher, QUERY, crop), vector(searcher, BASE[5])])
    page.until(lambda: page.names() == expected(searcher, query, BASE[5:6]))
    page.driver.execute_script("document.getElementById('cutter').focus()")
    press(page, *[(Keys.SHIFT, Keys.ARROW_DOWN)] * 40, *[Keys.ARROW_UP] * 40)  # never out of the picture
    press(page, Keys.ESCAPE)
    whole = mixed_query([vector(searcher, QUERY), vector(searcher, BASE[5])])
    page.until(lambda: crop_of(page) is None and page.names() == expected(searcher, whole, BASE[5:6]))


def test_a_part_is_of_the_picture_as_it_is_shown(page, searcher):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.open(io.BytesIO(QUERY[1])).resize((90, 60)).save(buffer, "JPEG", quality=95, exif=exif)
    page.search("turned.jpg", buffer.getvalue())
    page.until(lambda: page.find("#cutter").rect["height"] > page.find("#cutter").rect["width"])
    drag(page, (0.1, 0.05), (0.9, 0.4))
    page.until(lambda: crop_of(page))
    query = vector(searcher, ("", buffer.getvalue()), crop_of(page))
    page.until(lambda: page.names() == expected(searcher, query))


@pytest.mark.parametrize("way", ["click", "enter"])
def test_copies_are_folded_and_opened(page, way):
    page.search("mine.png", BASE[9][1])
    assert len(page.cards()) == len(BASE) - 2
    assert page.names()[0] == name_of(BASE[9])
    button = page.cards()[0].find_element(By.CSS_SELECTOR, ".copies")
    assert button.text == "and 2 copies"
    assert button.get_attribute("aria-expanded") == "false"

    def toggle():
        if way == "click":
            button.click()
        else:
            page.driver.execute_script("arguments[0].focus()", button)
            press(page, Keys.ENTER)

    toggle()
    assert button.get_attribute("aria-expanded") == "true"
    assert {*page.names()[1:3]} == {name_of(BASE[1]), name_of(BASE[2])}
    assert len(page.cards()) == len(BASE)
    page.loaded()
    screenshot(page.driver, "desktop-copies")
    slider = page.find("#threshold")
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    page.driver.execute_script(script, slider, 0.99)
    assert page.names() == [name_of(BASE[9])]
    assert not button.is_displayed()
    page.driver.execute_script(script, slider, 0)
    toggle()
    assert len(page.cards()) == len(BASE)
    toggle()
    assert len(page.cards()) == len(BASE) - 2
    assert button.get_attribute("aria-expanded") == "false"
    assert page.find("#results-heading").text == f"{len(BASE) - 2} neighbours"


def test_results_are_fresh_after_adding_and_removing(page):
    page.search("added.png", NEW[5][1])
    before = page.names()
    page.find("#add").click()
    page.until(lambda: page.names() == ["added.png", *[n for n in before if n in page.names()]])
    assert page.find("#query-name").text == "Added to the collection as added.png"
    assert "Added to the collection" in page.status()
    assert page.find("#about").text.startswith(f"{len(BASE) + 1} images")
    remove = page.cards()[0].find_element(By.CSS_SELECTOR, ".remove")
    ActionChains(page.driver).move_to_element(remove).perform()
    remove.click()
    page.until(lambda: page.find("#remove-dialog").is_displayed())
    page.find("#remove-dialog [value=remove]").click()
    page.until(lambda: page.names() == before)


def test_a_removed_card_s_copies_stay(page, url):
    page.search("mine.png", BASE[9][1])
    act(page, BASE[9], "remove")
    page.until(lambda: page.find("#remove-dialog").is_displayed())
    page.find("#remove-dialog [value=remove]").click()
    try:
        told = """
        return [...document.querySelectorAll(".copies")].filter((button) => !button.hidden)
          .map((button) => button.textContent);
        """
        page.until(lambda: page.driver.execute_script(told) == ["and 1 copy"])
        assert name_of(BASE[9]) not in page.names()
    finally:
        page.until(lambda: page.find("#add").is_displayed())
        page.find("#add").click()
        page.until(lambda: "Back in the collection" in page.find("#query-name").text)


def test_the_empty_page_shows_what_the_collection_holds(page, tmp_path, driver):
    page.until(lambda: len(page.cards()) == 12)
    assert page.find("#results-heading").text == f"{len(BASE)} images in the collection, such as these"
    page.loaded()
    screenshot(page.driver, "desktop-collection")
    first = page.names()[0]
    page.cards()[0].find_element(By.CSS_SELECTOR, ".picture").click()
    page.until(lambda: first in page.find("#query-name").text and "neighbour" in page.status())
    page.find("#home").click()
    page.until(lambda: len(page.cards()) == 12 and not page.find("#cutter").is_displayed())


def test_an_empty_collection_says_so(driver, tmp_path):
    make_version(tmp_path, BASE[:1])
    with Searcher.open(tmp_path / "models/champion", tmp_path / "data", 1) as opened_one:
        opened_one.remove([image_id(BASE[0][0])])
    with services(tmp_path) as start, opened(driver, start()) as page:
        page.until(lambda: page.find("#nothing").is_displayed())
        assert page.find("#results-heading").text == "0 images in the collection"
        assert page.find("#nothing").text == "The collection is empty."


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_header_takes_one_row_and_nothing_sticks_out(page, size, mixed_registry):
    look(page.driver, *size)
    page.search("mine.png", NEW[1][1])
    act(page, BASE[5], "more")
    page.until(lambda: page.find("#tray").is_displayed())
    act(page, BASE[7], "less")
    page.until(lambda: chips(page, "less"))
    assert page.find("#less-list").rect["y"] < size[1]
    assert page.driver.execute_script("return scrollY") == 0  # what is asked is in view
    script = """
    const rows = [...document.querySelector("header").children].filter((e) => e.offsetParent)
      .map((e) => e.getBoundingClientRect()).map((box) => (box.top + box.bottom) / 2);
    return [Math.max(...rows) - Math.min(...rows), document.documentElement.scrollWidth];
    """
    page.driver.execute_script("""
    const button = document.getElementById("key-button");
    button.hidden = false;
    button.textContent = "Key in use";
    """)
    spread, width = page.driver.execute_script(script)
    screenshot(page.driver, f"{'phone' if size == PHONE else 'desktop'}-asking")
    assert spread < 4
    assert width <= size[0]
    assert page.driver.execute_script("return document.querySelector('header').offsetHeight") < 90
