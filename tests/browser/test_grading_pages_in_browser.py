"""The grader's pages as people see them: on a wide and a narrow screen, by day and by night."""

import pytest

from grader import reports
from grader.gradebook import ADJUSTMENT, RESULT, Gradebook, read_adjustments

PIXEL = (  # a picture of one black pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
NAMES = ["<b>Ann</b> & Co", "A" * 110, "=cmd()", "José Ñandú"]
CODE = "def mean(x):\n" + "\n".join(f"    y = {'x + ' * 60}{i}" for i in range(120))
# Relative luminance and contrast: https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio
FAINT = """() => {
  const parts = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => parts(color).slice(0, 3)
    .map(c => c / 255).map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (parts(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.body.querySelectorAll("*")]
    .filter(e => [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()))
    .filter(e => {
      const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
      return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5;
    }).map(e => e.outerHTML);
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pages of few students with odd names, long code, and everything that can be told."""
    task = {"exercise": "01_lists", "task": "mean", "column": "01_lists/mean"}
    checks = [{"label": f"a list of {n}", "outcome": outcome, "message": outcome, "seconds": 0.1}
              for n, outcome in [("one", "passed"), ("many", "NameError")]]  # fmt: skip
    told = {"message": "NameError in line 2", "student_message": "NameError in line 2"}
    visible = {"outcome": "failed", "message": "no", "student_message": "no"}
    rows = [{**dict.fromkeys(RESULT), **task, **told, "student": name, "points": 0.0,
             "max_points": 3, "passed": False, "late": True, "remark": "two cells were joined",
             "visible": {**visible, "outcome": "passed"} if i else visible, "checks": checks,
             "parts": None, "source": CODE} for i, name in enumerate(NAMES)]  # fmt: skip
    rows += [{**row, "task": "why", "column": "01_lists/why", "points": None, "visible": None,
              "checks": [], "parts": [{"text": CODE, "shown": [{"png": PIXEL}, {"text": CODE}]}]}
             for row in rows]  # fmt: skip
    handed_in = {"exercise": "01_lists", "submitted": "2030-01-31T23:59:00+01:00", "late": True}
    submissions = [{**handed_in, "student": name, "path": f"{name}/01_lists.ipynb",
                    "remarks": ["a version was damaged"]} for name in NAMES]  # fmt: skip
    out = tmp_path_factory.mktemp("out")
    reports.write_reports(
        out, Gradebook({"01_lists/mean": 3, "01_lists/why": 3}, rows, submissions),
        {"01_lists/mean": "Task 1: the mean", "01_lists/why": "Task 2: why"},
        seed=1, rejected=[("x" * 150, "no notebook")],
        similar=[("01_lists/mean", *NAMES[:2], 0.7)],
    )  # fmt: skip
    return out


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_nothing_is_cut_off_or_too_faint_to_read(chromium, folder, scheme, width):
    page = chromium.new_page()
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    for path in (
        folder / "summary.html",
        *(folder / "feedback").iterdir(),
        *(folder / "written").iterdir(),
    ):
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
        assert page.evaluate(FAINT) == [], path.name
    page.close()


@pytest.mark.browser
def test_lines_have_the_numbers_that_messages_tell(chromium, folder):
    """The numbers are the style's, so that copied code has none."""
    page = chromium.new_page()
    page.goto((folder / "summary.html").as_uri())
    page.get_by_role("link", name=NAMES[0]).last.click()
    lines = page.locator("pre span")
    assert lines.count() == 121
    tops = [lines.nth(i).bounding_box()["y"] for i in (0, 1, 2)]
    assert tops[0] < tops[1] < tops[2]
    assert page.locator("pre").first.inner_text().splitlines()[0] == "def mean(x):"
    number = "e => getComputedStyle(e, '::before').content"
    assert lines.nth(1).evaluate(number) == "counter(line)"
    page.close()


@pytest.mark.browser
def test_points_that_are_typed_in_are_lines_that_the_grader_reads(chromium, folder, tmp_path):
    page = chromium.new_page()
    [path] = (folder / "written").iterdir()
    page.goto(path.as_uri())
    assert page.evaluate("document.querySelector('img').naturalWidth") == 1
    page.get_by_label("Your name").fill('A. "Lecturer", PhD')
    for i, points in ((2, "1.5"), (3, "0")):
        page.locator(".points").nth(i).fill(points)
    page.get_by_label("Reason").last.fill("no, not at all")
    lines = page.locator("#lines").input_value()
    page.close()
    table = tmp_path / "adjustments.csv"
    table.write_text(f"{','.join(ADJUSTMENT)}\n{lines}\n", encoding="utf-8")
    why = {"task": "01_lists/why", "who": 'A. "Lecturer", PhD'}
    assert read_adjustments(table) == [
        {**why, "student": "'=cmd()", "points": 1.5, "reason": "marked by hand"},
        {**why, "student": NAMES[3], "points": 0.0, "reason": "no, not at all"},
    ]
