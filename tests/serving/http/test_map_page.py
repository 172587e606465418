"""The page's map in a real browser: 50,000 points, the lasso, the keyboard, a key, a phone."""

import pytest

from tests.serving.live import make_version
from tests.serving.small_service import BASE
from udml.serving.http import keys

pytest.importorskip("selenium")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.serving.http.browser import look, screenshot
from tests.serving.http.page import DESKTOP, IN_A_BROWSER, PHONE, Page, opened, services

pytestmark = IN_A_BROWSER
# A map of `arguments[0]` points in 20 groups; where `arguments[1]`, all in one place.
_MADE_UP = """
const [count, same, done] = arguments;
import("./map.js").then(({ ImageMap }) => {
  const place = document.getElementById("map"), root = document.createElement("div");
  place.replaceChildren(root);
  place.hidden = false;
  const [x, y, numbers] = [new Float32Array(count), new Float32Array(count), new Uint8Array(count)];
  const points = { count, x, y, group: numbers };
  for (let i = 0; i < count && !same; i++) { // groups on a ring, each a disc
    const group = points.group[i] = Math.floor(20 * i / count), r = 0.18 * Math.sqrt((i * 20 / count) % 1);
    points.x[i] = 0.8 * Math.cos(group * Math.PI / 10) + r * Math.cos(i * 2.4);
    points.y[i] = 0.8 * Math.sin(group * Math.PI / 10) + r * Math.sin(i * 2.4);
  }
  window.opened = [];
  window.map = new ImageMap(root, points, same ? 1 : 20, {
    describe: async (indices) => indices.map((i) => ({ name: `images/${i}.jpg`, label: null })),
    picture: () => new Image(), verb: "Search with", open: (i) => window.opened.push(i),
  });
  root.scrollIntoView();
  done(true);
}, (error) => done(String(error)));
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    root = tmp_path_factory.mktemp("map")
    make_version(root, BASE)
    return root


@pytest.fixture(scope="module")
def serve(registry):
    with services(registry) as start:
        yield start


def drawn(page):
    return int(page.find(".map-view").get_attribute("data-drawn") or -1)


def frames(page):
    return int(page.find(".map-view").get_attribute("data-frames") or 0)


def made_up(page, count, same=False):
    page.until(lambda: page.find("#about").text)
    assert page.driver.execute_async_script(_MADE_UP, count, same) is True
    page.until(lambda: frames(page) > 0)
    return page.find(".map-stage")


def test_fifty_thousand_points_are_drawn_zoomed_and_circled(driver, serve):
    with opened(driver, serve()) as page:
        stage = made_up(page, 50_000)
        assert drawn(page) == 50_000
        screenshot(driver, "map-50000")
        before = frames(page)
        driver.execute_script("for (let i = 0; i < 50; i++) { map.view.pan(1, 0); map.draw(); }")
        page.until(lambda: frames(page) > before)
        assert frames(page) <= before + 5  # many wishes are one frame
        stage.send_keys("0")
        group = round(
            0.8 * driver.execute_script("return map.view.scale")
        )  # pixels from the middle to a group
        held = ActionChains(driver).move_to_element_with_offset(stage, group - 70, -70)
        held.key_down(Keys.SHIFT).click_and_hold()
        for dx, dy in ((140, 0), (0, 140), (-140, 0)):
            held.move_by_offset(dx, dy)
        held.release().key_up(Keys.SHIFT).perform()
        page.until(lambda: "inside the lasso" in page.find(".map-told").text)
        inside = driver.execute_script("return map.list.indices")
        assert page.find(".map-list-heading").text == f"{len(inside):,} images inside the lasso"
        assert 500 < len(inside) < 10_000
        page.until(lambda: len(driver.find_elements("css selector", ".map-item")) == 60)
        stage.send_keys("++++")
        page.until(lambda: "in view" in page.find(".map-told").text)
        page.until(lambda: drawn(page) < 50_000)
        stage.send_keys(Keys.ESCAPE)
        page.until(lambda: drawn(page) == 50_000)
        assert not page.find(".map-chosen").is_displayed()
        ActionChains(driver).move_to_element_with_offset(stage, group, 0).click().perform()
        page.until(lambda: len(driver.execute_script("return opened")) == 1)
        look(driver, *PHONE)
        page.until(lambda: driver.execute_script("return map.view.width") < PHONE[0])
        assert driver.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
        screenshot(driver, "map-50000-phone")


@pytest.mark.parametrize(("count", "same"), [(0, True), (1, True), (2, False), (300, True)])
def test_next_to_no_images_and_equal_ones(driver, serve, count, same):
    with opened(driver, serve()) as page:
        stage = made_up(page, count, same)
        assert drawn(page) == count
        stage.send_keys("+", Keys.ENTER)
        page.until(lambda: "in view" in page.find(".map-told").text)
        assert page.find(".map-chosen").is_displayed() is (count > 0 and same)


def test_with_a_key_and_by_keyboard_from_the_map_to_a_search(driver, serve, registry):
    key = keys.add_key(registry / "keys.json", "anna")
    look(driver, *DESKTOP)
    url = serve(keys=registry / "keys.json")
    driver.get(url)
    page = Page(driver)
    page.until(lambda: page.find("#key-dialog").is_displayed())
    page.find("#key").send_keys(key)
    page.find("#key-dialog [value=use]").click()
    page.until(lambda: page.find("#about").text)
    page.find("#to-browse").click()
    page.until(lambda: driver.find_elements("css selector", ".map-stage"))
    page.until(lambda: drawn(page) == len(BASE))
    page.until(lambda: driver.find_elements("css selector", ".group"))
    page.find("#results-heading").click()
    press(driver, Keys.TAB, "SELECT")  # what the map shows
    for _ in range(6):  # the buttons over the map, then the map itself
        focused = press(driver, Keys.TAB)
    assert focused.get_attribute("aria-label").startswith(f"Map of {len(BASE)} images")
    press(driver, Keys.ENTER)
    page.until(lambda: page.find(".map-told").text == f"{len(BASE)} images in view")
    page.until(lambda: len(driver.find_elements("css selector", ".map-item")) == len(BASE))
    first = press(driver, Keys.TAB)
    names = [first.get_attribute("aria-label"), press(driver, Keys.ARROW_RIGHT).get_attribute("aria-label")]
    assert all(name.startswith("Search with label-") for name in names)
    assert names[0] != names[1]
    assert press(driver, Keys.HOME).get_attribute("aria-label") == names[0]
    page.until(lambda: page.find(".map-card").is_displayed())
    loaded = "return document.querySelector('.map-card img')?.naturalWidth > 0"  # it comes with the key
    page.until(lambda: driver.execute_script(loaded))
    roles = {
        node["role"]["value"] for node in driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    }
    assert {"list", "listitem", "status", "application", "combobox"} <= roles
    screenshot(driver, "map-list")
    press(driver, Keys.ENTER)
    page.until(lambda: "like=" in driver.current_url)
    page.until(lambda: "similarity" in page.status())
    assert not page.find("#map").is_displayed()


def press(driver, key, tag=None):
    ActionChains(driver).send_keys(key).perform()
    focused = driver.switch_to.active_element
    assert tag is None or focused.tag_name.upper() == tag
    return focused
