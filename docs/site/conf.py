"""The course as a static site: the notebooks as they are committed, executed."""

project = "Generative inference with large language models"
author = "the contributors of the course"
copyright = "its contributors; code MIT, text and pictures CC BY 4.0"

# MathJax is copied into the site: it has to be readable without a network.
extensions = ["myst_nb", "sphinx-mathjax-offline"]
nb_execution_mode = "off"  # the committed outputs are the ones that CI has compared
# HTML first: it carries the alternative text. A widget shows its picture of the default state.
nb_mime_priority_overrides = [
    ("html", "text/html", 0),
    ("html", "text/markdown", 1),
    ("html", "image/png", 2),
    ("html", "text/plain", 3),
]
nb_render_markdown_format = "myst"  # tables and formulas in outputs, as in the text cells
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_title = "Generative inference"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = [("frames.js", {"defer": "defer"})]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
}
