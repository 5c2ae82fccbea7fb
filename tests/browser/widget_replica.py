"""A widget in the page beside the same widget in this process: move both, and compare."""

import html
import re

import ipywidgets

REDRAW_MS = 60_000  # one that asks the real model, on a busy machine
_MOVED_BY_ARROWS = (ipywidgets.IntSlider, ipywidgets.FloatSlider, ipywidgets.SelectionSlider)


class Replica:
    """``shown`` is the widget's output area in the page, ``here`` a new widget of its class.

    What the page shows after a control was moved by hand must be what ``here`` has after its value
    was set: the same picture byte for byte, the same words.
    """

    def __init__(self, shown, here):
        self.shown, self.here = shown, here
        found = list(controls(here))
        self.sliders = [c for c in found if isinstance(c, _MOVED_BY_ARROWS)]
        self.lists = [c for c in found if isinstance(c, ipywidgets.Dropdown)]
        self.boxes = [c for c in found if isinstance(c, ipywidgets.Checkbox)]
        self.toggles = [c for c in found if isinstance(c, ipywidgets.ToggleButtons)]

    def handle(self, slider):
        """The slider's handle in the page."""
        return self.shown.get_by_role("slider").nth(self.sliders.index(slider))

    def press_arrow(self, slider, by: int = 1) -> None:
        """Arrow keys: ``by`` steps to the right, or to the left where negative, in both."""
        self.handle(slider).focus()
        for _ in range(abs(by)):
            self.shown.page.keyboard.press("ArrowRight" if by > 0 else "ArrowLeft")
        self.set_here(slider, by)

    def set_here(self, slider, by: int) -> None:
        if isinstance(slider, ipywidgets.SelectionSlider):
            last = len(slider.options) - 1
            slider.index = min(last, max(0, slider.index + by))
        else:
            value = slider.value + by * slider.step
            slider.value = min(slider.max, max(slider.min, value))

    def room_above(self, slider) -> int:
        """How many steps to the right there are."""
        if isinstance(slider, ipywidgets.SelectionSlider):
            return len(slider.options) - 1 - slider.index
        return int((slider.max - slider.value) / slider.step)

    def choose(self, dropdown, index: int) -> None:
        """Choose the entry of a list in both."""
        name = dropdown.description
        self.shown.get_by_role("combobox", name=name).select_option(index=index)
        dropdown.index = index

    def tick(self, box) -> None:
        self.shown.get_by_role("checkbox", name=box.description).click()
        box.value = not box.value

    def toggle(self, buttons, index: int) -> None:
        label = buttons.options[index]
        self.shown.get_by_role("button", name=label, exact=True).click()
        buttons.index = index

    def expect_the_same(self, expect) -> None:
        """The page's picture and words are those of the widget here."""
        if self.here.draws_live:
            picture = self.shown.get_by_role("img").first
            expect(picture).to_have_attribute("alt", self.here.picture.alt, timeout=REDRAW_MS)
            source = re.search(r'src="([^"]*)"', self.here.picture.html(live=True))[1]
            expect(picture).to_have_attribute("src", source)
        for words in texts(self.here):
            expect(self.shown).to_contain_text(words)


def controls(widget):
    """The widgets inside, in the order in which the page has them."""
    for child in getattr(widget, "children", ()):
        yield child
        yield from controls(child)


def texts(widget) -> list[str]:
    """The words of the HTML below and above the picture, cut where a tag stands."""
    found = []
    for child in controls(widget):
        if isinstance(child, ipywidgets.HTML) and "<img" not in child.value:
            found += re.split(r"<[^>]*>", child.value)
    return [html.unescape(words).strip() for words in found if words.strip()]
