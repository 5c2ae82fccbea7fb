#!/usr/bin/env python3
"""The static site of the course: python tools/build_site.py [FOLDER]   (default build/site)

Copies the committed notebooks beside docs/site, stores what the main control of each widget shows
(site_frames.py, which runs the model), lets Sphinx make pages of them, and checks that every link
inside the site leads somewhere. No other cell is executed, and nothing is fetched.
"""

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "requirements-test.txt"


class SiteError(Exception):
    """The site could not be built; the message says why."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "site")
    folder = parser.parse_args(argv).folder
    try:
        build(folder)
    except SiteError as error:
        print(f"site: {error}", file=sys.stderr)
        return 1
    print(f"The site is in {folder}: open {folder / 'index.html'}")
    return 0


def build(folder: Path) -> None:
    """Write the site into ``folder``, which is replaced.

    Raises:
        SiteError: Sphinx is missing or complains, a widget fails, or a link leads nowhere.
    """
    if importlib.util.find_spec("myst_nb") is None:
        raise SiteError(f"needs Sphinx and myst-nb: pip install -r {EXTRAS}, or `make site`")
    with tempfile.TemporaryDirectory() as scratch:
        source, made = Path(scratch) / "source", Path(scratch) / "html"
        collect(source)
        frames = [sys.executable, str(ROOT / "tools" / "site_frames.py"), str(source)]
        made_frames = subprocess.run(
            frames, cwd=ROOT, check=False, stderr=subprocess.PIPE, text=True
        )
        if made_frames.returncode:
            raise SiteError(f"a widget has no frames:\n{made_frames.stderr[-2000:]}")
        command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
        if subprocess.run([*command, str(source), str(made)], cwd=ROOT, check=False).returncode:
            raise SiteError("Sphinx found something wrong; its own lines above say what")
        if dead := dead_links(made):
            raise SiteError("links that lead nowhere:\n  " + "\n  ".join(dead))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(made, folder)


def collect(source: Path) -> None:
    """What Sphinx reads: docs/site, the lectures, the exercises, and a table of contents."""
    shutil.copytree(ROOT / "docs" / "site", source, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("notebooks", "exercises"):
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns(".*"))
    (source / "docs").mkdir()
    for page in sorted((ROOT / "docs").glob("*.md")):  # what a lecture may point at
        text = page.read_text(encoding="utf-8")
        (source / "docs" / page.name).write_text(f"---\norphan: true\n---\n\n{text}", "utf-8")
    shutil.copy(ROOT / "docs" / "film.gif", source / "_static")
    (source / "index.md").write_text(index(), encoding="utf-8")


def index() -> str:
    """The first page: the README's beginning and table of lectures, and what is in the sidebar."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    head, rest = readme.split("## The lectures", 1)
    # GitHub's own pages are not beside this one.
    parts = [part for part in head.split("\n\n") if "](../../" not in part]
    head = "\n\n".join(parts).replace("docs/film.gif", "_static/film.gif")
    table = rest.split("\n## ", 1)[0]
    contents = "".join(
        f"\n```{{toctree}}\n:caption: {caption}\n:maxdepth: 1\n:glob:\n\n{part}/*\n```\n"
        for caption, part in (("Lectures", "notebooks"), ("Exercises", "exercises"))
    )
    note = (
        "On these pages you can read the lectures. To run them, clone the course's repository and"
        " type `make lab` in its folder."
    )
    return f"{head.strip()}\n\n{note}\n\n## The lectures{table}{contents}"


class _Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self):
        super().__init__()
        self.links, self.anchors = [], set()

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append((tag, value))
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def dead_links(site: Path) -> list[str]:
    """Links inside the site to files or anchors that aren't there, and what would be fetched."""
    pages = {}
    for path in site.rglob("*.html"):
        if "_static" in path.parts:  # templates of the theme, no pages
            continue
        pages[path.resolve()] = page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
    found = []
    for path, page in pages.items():
        for tag, link in page.links:
            if problem := _problem(path, tag, link, pages):
                found.append(f"{path.name}: {link[:80]} {problem}")
    return sorted(set(found))


def _problem(path: Path, tag: str, link: str, pages: dict[Path, _Page]) -> str | None:
    parts = urlsplit(link)
    if parts.scheme in ("data", "mailto"):
        return None
    if parts.scheme or parts.netloc:
        # A link may lead away when it is clicked; what a page loads by itself may not.
        return None if tag == "a" else "is loaded from another machine"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.exists():
        return "is not there"
    page = pages.get(target)
    known = page is None or not parts.fragment or re.fullmatch(r"_?", parts.fragment)
    return None if known or unquote(parts.fragment) in page.anchors else "has no such anchor"


if __name__ == "__main__":
    sys.exit(main())
