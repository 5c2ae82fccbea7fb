"""SentenceScorer: type sentences, see each token's log-probability, and which sentence wins."""

import html
from functools import lru_cache, partial

import ipywidgets

from ..checks import check_parts, check_text, check_type
from ..figures import Picture, surprise_html, surprise_strip
from ..scoring import DOCUMENT_START, TextScore, score_text
from .base import PictureWidget

_MOST_SENTENCES, _MOST_CHARACTERS = 12, 1_000  # of one sentence: it is scored while it is typed
_TABLE_STYLE = """<style>
.lecture-ranking { border-collapse: collapse; line-height: 1.5; margin-top: 0.5em }
.lecture-ranking :is(th, td) { padding: 0.1em 1.2em 0.1em 0; text-align: right }
.lecture-ranking th { white-space: nowrap }
.lecture-ranking :is(th, td):nth-child(2) { text-align: left }
</style>"""
_HEAD = "".join(
    f"<th scope='col'>{name}</th>"
    for name in ("place", "sentence", "log p", "tokens scored", "perplexity")
)


class SentenceScorer(PictureWidget):
    """One sentence per line; below it, every token coloured by log p(token | its left context).

    Args:
        loaded: what ``load_model()`` returned.
        sentences: what is in the box at the start.
    """

    draws_live = False

    def __init__(self, loaded, sentences: list[str]):
        # Only the line that is being typed in is scored again.
        check_parts("loaded", loaded)
        for sentence in check_type("sentences", sentences, list | tuple, "a list of texts"):
            check_text("sentences", sentence, "")
        self._score = lru_cache(_MOST_SENTENCES)(partial(score_text, loaded))
        self.text = ipywidgets.Textarea(
            value="\n".join(sentences), description="Sentences", rows=4, layout={"width": "auto"}
        )
        self.start = ipywidgets.Checkbox(
            value=False, indent=False, description="also score the first token (document start)"
        )
        self.strip, self.table = ipywidgets.HTML(), ipywidgets.HTML()
        hint = ipywidgets.HTML("<small>One sentence per line, scored while you type.</small>")
        super().__init__([self.text, hint, self.start, self.strip, self.table])

    @property
    def scores(self) -> list[TextScore]:
        """The sentences in the box, scored."""
        sentences = [line.strip() for line in self.text.value.splitlines() if line.strip()]
        if not sentences:
            raise ValueError("Sentences: type at least one line")
        if len(sentences) > _MOST_SENTENCES:
            raise ValueError(f"Sentences: {len(sentences)} lines, at most {_MOST_SENTENCES} fit")
        if (longest := max(map(len, sentences))) > _MOST_CHARACTERS:
            raise ValueError(f"Sentences: {longest:,} characters, at most {_MOST_CHARACTERS} fit")
        start = DOCUMENT_START if self.start.value else None
        return [self._score(sentence, start=start) for sentence in sentences]

    def draw(self) -> Picture:
        return surprise_strip(self.scores, caption="Log-probability of each token, in nats.")

    def show(self) -> None:
        scores = self.scores
        self.strip.value = "".join(surprise_html(score) for score in scores)
        self.table.value = _ranking_table(scores)
        super().show()


def _ranking_table(scores: list[TextScore]) -> str:
    # A sentence of one token has nothing predicted: last, though its log p of 0 is the highest.
    ranked = sorted(scores, key=lambda s: (s.n_scored == 0, -s.total))
    rows = ""
    for place, score in enumerate(ranked, start=1):
        perplexity = f"{score.perplexity:,.0f}" if score.n_scored else "none"
        rows += (
            f"<tr><td>{place}</td><td>{html.escape(score.text)}</td><td>{score.total:.2f}</td>"
            f"<td>{score.n_scored}</td><td>{perplexity}</td></tr>"
        )
    return f"{_TABLE_STYLE}<table class='lecture-ranking'><tr>{_HEAD}</tr>{rows}</table>"
