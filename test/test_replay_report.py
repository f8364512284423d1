"""The report: one page that needs nothing else, says what must not be missed, and draws what happened."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="the rosbags library is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from bag_maker import FRAMES, INSTRUCTIONS, START_NS, episodes, picture, words, write_bag
from replay_cell import make_bundle

from octo_ros.bags.log import ReplayLog
from octo_ros.bags.overlay import arrow_scale, framed_action
from octo_ros.bags.plots import PREDICTED, RECORDED, STATE_COLOURS, timeline_plot
from octo_ros.bags.replay import replay
from octo_ros.bags.thumbnails import HEIGHT, Thumbnail
from octo_ros.policy.frames import FrameRefusal
from octo_ros.safety.decision import FilterState
from octo_ros.types import NANOSECONDS

WORDS = 'put <script>alert("x")</script> & the cup away'


class Page(HTMLParser):
    """What a browser would load or run, and the text it would show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "image", "line", "circle", "rect", "polygon", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def having(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def page(tmp_path_factory, bundle):
    entries = [*episodes(count=2), (INSTRUCTIONS, START_NS + 3 * NANOSECONDS, words(WORDS))]
    entries += [
        (FRAMES, START_NS + (30 + i) * 100_000_000, picture(START_NS + (30 + i) * 100_000_000, i))
        for i in range(0, 10, 2)
    ]
    folder = tmp_path_factory.mktemp("report")
    replay(write_bag(folder / "bag", entries), bundle, "fr3", folder / "out")
    return Page((folder / "out" / "report.html").read_text(encoding="utf-8"))


def test_the_page_is_whole_and_needs_nothing_else(page):
    assert page.open == []
    assert not page.having("script") and not page.having("link")
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "data:").startswith("data:")
    style = page.text[: page.text.index("octo_ros replay")]
    assert "@import" not in style and "url(" not in style


def test_words_of_the_bag_are_text_and_not_code(page):
    assert WORDS in page.text


def test_the_notice_is_a_banner_before_everything_else(page):
    banners = [attributes for attributes in page.having("div") if "banner" in attributes.get("class", "")]
    assert banners[0] == {"class": "banner alarm", "role": "alert"}
    assert page.text.index("camera wrist: not in the bag") < page.text.index("Frames and actions")


def test_pictures_are_pictures(page):
    plots = [attributes["src"] for attributes in page.having("img")]
    frames = [attributes["href"] for attributes in page.having("image")]
    assert len(plots) == 3
    assert len(frames) == 3 * 4
    for source in plots + frames:
        kind, data = source.split(";base64,")
        assert kind in ("data:image/png", "data:image/jpeg")
        image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert image.std() > 5.0
    assert all(attributes["alt"] for attributes in page.having("img"))


@pytest.mark.parametrize(("count", "frames"), [(3, 4), (5, 2), (13, 1)])
def test_every_episode_shows_its_frames(tmp_path, bundle, count, frames):
    path = write_bag(tmp_path / "bag", episodes(count=count, frames=4, pause_s=0.2))
    replay(path, bundle, "fr3", tmp_path / "out")
    shown = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert len(shown.having("image")) == count * frames
    assert all(f"{i + 1}." in shown.text and f"put block {i} away" in shown.text for i in range(count))


def test_a_replay_without_actions_has_a_report(tmp_path, bundle):
    path = write_bag(tmp_path / "bag", episodes(count=1, lag_ns=300_000_000))
    replay(path, bundle, "fr3", tmp_path / "out")
    shown = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert shown.open == []
    assert "NO ACTION WAS MADE" in shown.text
    assert len(shown.having("img")) == 1  # the time line alone


# The overlay.


def thumbnail():
    return Thumbnail(0, 0, np.zeros((HEIGHT, 256, 3), np.uint8))


def tip(svg: str, colour: str) -> np.ndarray:
    """Where the arrow of a colour points to, from the middle of the frame; x right, y down."""
    corners = re.search(rf'<polygon points="([^ ]+) [^"]*" fill="{colour}"', svg)
    return np.array([float(value) for value in corners.group(1).split(",")]) - (128.0, HEIGHT / 2)


@pytest.mark.parametrize(
    ("translation", "towards"),
    [((0.1, 0.0, 0.0), (0, -1)), ((0.0, 0.1, 0.0), (-1, 0)), ((-0.1, -0.1, 0.0), (1, 1))],
)
def test_the_arrow_points_up_for_x_and_left_for_y(translation, towards):
    action = np.array([*translation, 0.0, 0.0, 0.0, 1.0])
    svg = framed_action(thumbnail(), action, None, arrow_scale(action[None]))
    np.testing.assert_allclose(tip(svg, PREDICTED), np.array(towards) * 0.42 * HEIGHT, atol=0.1)
    assert RECORDED not in svg


def test_predicted_and_recorded_share_a_scale():
    predicted, recorded = np.array([0.1, 0, 0, 0, 0, 0, 1.0]), np.array([0.05, 0, 0, 0, 0, 0, 0.0])
    svg = framed_action(thumbnail(), predicted, recorded, 0.1)
    np.testing.assert_allclose(tip(svg, PREDICTED), 2 * tip(svg, RECORDED), atol=0.2)
    broken = framed_action(thumbnail(), predicted, np.full(7, np.nan), 0.1)
    assert RECORDED not in broken and "nan" not in broken


def test_an_action_of_nothing_is_a_dot():
    svg = framed_action(thumbnail(), np.zeros(7), None, arrow_scale(np.zeros((0, 7))))
    assert "<polygon" not in svg and "<circle" in svg


# The time line.


def colours(png: str) -> np.ndarray:
    """(n, 3) every RGB colour in a picture."""
    image = cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_COLOR)
    return np.unique(cv2.cvtColor(image, cv2.COLOR_BGR2RGB).reshape(-1, 3), axis=0)


def test_the_time_line_shows_every_state_there_was():
    log = ReplayLog(("joint1",), start_ns=START_NS, end_ns=START_NS + 10 * NANOSECONDS)
    states = [FilterState.READY, FilterState.ACTIVE, FilterState.STOPPED]
    for i, state in enumerate(states):
        log.state(START_NS + 3 * i * NANOSECONDS, state)
    log.frame_refusals.append((START_NS, FrameRefusal("stale", "primary", 0.3, 0.2)))
    shown = {tuple(colour) for colour in colours(timeline_plot(log)).tolist()}
    for state, colour in STATE_COLOURS.items():
        rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        assert (rgb in shown) == (state in states)


def test_limits_of_one_kind_are_one_row():
    log = ReplayLog(("fr3_joint1", "fr3_joint2"))
    for limit, kind in (
        ("joint position fr3_joint1", "joint position"),
        ("joint position fr3_joint2", "joint position"),
        ("workspace x in fr3_link0", "workspace x"),
        ("joint state entries for fr3_joint2", "joint state entries"),
        ("tool speed", "tool speed"),
        ("action stamp in the future", "action stamp in the future"),
    ):
        assert log.kind(limit) == kind
