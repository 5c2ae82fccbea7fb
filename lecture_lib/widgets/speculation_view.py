"""SpeculationView: a text pass by pass, what was drafted, accepted and rejected, and how fast."""

from collections.abc import Mapping, Sequence
from functools import cache

import ipywidgets

from ..checks import check_count, check_number, check_parts, check_text, check_type
from ..engine import Engine, Lookup, ModelDrafter
from ..engine.run import greedy
from ..engine.speculation import accept
from ..figures import Picture, speculation_html, speculation_strip
from ..scoring import token_texts
from .base import IntSlider, PictureWidget, close_lines

MOST_DRAFTED = 10
_N_NEW = 25


class SpeculationView(PictureWidget):
    """Choose a text, a drafter and k, and see each token's origin; **Measure** runs it for real.

    The greedy text is the same for every drafter and k. So the model writes it once, and a slider
    only replays which drafts it would have accepted.

    Args:
        engine: the model. prompts: name to prompt; the first is shown at the start.
        row_costs: what a pass of 1, 2, ... 11 rows costs, in decode steps; none: not predicted.
        draft_engine: a small model, as another drafter. draft_cost: of one of its tokens, in steps.
    """

    draws_live = False

    def __init__(
        self, engine: Engine, prompts: Mapping, *, row_costs: Sequence | None = None,
        draft_engine: Engine | None = None, draft_cost: float = 0.0,
    ):  # fmt: skip
        self.engine = check_parts("engine", engine)
        if row_costs is not None:
            check_type("row_costs", row_costs, Sequence, f"{MOST_DRAFTED + 1} numbers")
            row_costs = [check_number("row_costs", cost, above=0) for cost in row_costs]
            check_count("len(row_costs)", len(row_costs), least=MOST_DRAFTED + 1)
        self.row_costs = row_costs
        self.draft_cost = check_number("draft_cost", draft_cost, least=0)
        self._drafters = {"prompt lookup": Lookup}
        if draft_engine is not None:
            check_type("draft_engine", draft_engine, Engine, "an Engine")
            self._drafters["draft model"] = lambda k: ModelDrafter(draft_engine, k)
        self._write = cache(self._write)
        self._passes = cache(self._passes)
        if not check_type("prompts", prompts, Mapping, "a dictionary of texts"):
            raise ValueError("prompts: is empty; needs at least one text")
        texts = ((name, check_text("prompts", prompt, "word")) for name, prompt in prompts.items())
        options = [(check_text("prompts", name), prompt) for name, prompt in texts]
        self.text = ipywidgets.Dropdown(options=options, description="Text")
        self.drafter = ipywidgets.Dropdown(options=[*self._drafters], description="Drafter")
        self.k = IntSlider(value=4, min=1, max=MOST_DRAFTED, description="k")
        self.button = ipywidgets.Button(description="Measure", tooltip="run it with and without")
        self.facts, self.strip, self.measured = (ipywidgets.HTML() for _ in range(3))
        controls = [self.text, self.drafter, self.k]
        rows = [controls[:2], [self.k, self.button], self.facts, self.measured, self.strip]
        super().__init__(rows, watch=controls)
        self.when([self.button], self._measure)

    def _write(self, prompt: str):
        """The greedy text: the prompt's token ids and the new ones."""
        prompt_ids = self.engine.tokenizer(prompt).input_ids
        return prompt_ids, self.engine.generate(prompt_ids, _N_NEW, ignore_eos=True).token_ids

    def _passes(self, prompt: str, name: str, k: int) -> list[tuple[list[int], list[int]]]:
        """Each pass's draft and the tokens that it gave; the prefill, which gives the first token,
        is not among them."""
        prompt_ids, new_ids = self._write(prompt)
        drafter, n, passes = self._drafters[name](k), 1, []
        while n < len(new_ids):
            room = min(k, len(new_ids) - n - 1)
            draft = drafter([*prompt_ids, *new_ids[:n]], room, greedy)[0] if room else []
            passes.append((draft, accept(draft, new_ids[n:])))
            n += len(passes[-1][1])
        return passes

    @property
    def passes(self) -> list[tuple[list[int], list[int]]]:
        """The passes that are shown, as (draft, new tokens)."""
        return self._passes(self.text.value, self.drafter.value, self.k.value)

    @property
    def predicted_speed_up(self) -> float | None:
        """Decode steps that the text would take, over those that its passes cost."""
        if self.row_costs is None:
            return None
        drafting = self.draft_cost if self.drafter.value == "draft model" else 0.0
        costs = (self.row_costs[len(draft)] + drafting * len(draft) for draft, _ in self.passes)
        return sum(len(new) for _, new in self.passes) / sum(costs)

    def draw(self) -> Picture:
        return speculation_strip(self._texts(), caption="Drafted tokens and the model's own.")

    def show(self) -> None:
        passes, speed_up = self.passes, self.predicted_speed_up
        n_new = sum(len(new) for _, new in passes)
        n_drafted, n_accepted = sum(len(draft) for draft, _ in passes), n_new - len(passes)
        predicted = f"; predicted speed-up <b>{speed_up:.2f}</b>" if speed_up else ""
        self.facts.value = close_lines(
            f"<b>{len(passes)}</b> passes for {n_new} tokens, {n_new / len(passes):.2f} per pass; "
            f"of {n_drafted} drafted tokens {n_accepted} were accepted{predicted}"
        )
        self.strip.value, self.measured.value = speculation_html(self._texts()), ""
        super().show()

    def _texts(self) -> list[tuple[list[str], list[str], str]]:
        tokenizer, shown = self.engine.tokenizer, []
        for draft, new in self.passes:
            groups = new[:-1], draft[len(new) - 1 :], new[-1:]
            accepted, rejected, own = (token_texts(tokenizer, ids) if ids else [] for ids in groups)
            shown.append((accepted, rejected, own[0]))
        return shown

    def _measure(self) -> None:
        """Both ways for real, in turn; the seconds per token after the first."""
        drafter = self._drafters[self.drafter.value](self.k.value)
        seconds = []
        for speculate in (None, drafter) * 2:  # the first round warms up
            run = self.engine.generate(
                self.text.value, _N_NEW, ignore_eos=True, speculate=speculate
            )
            seconds.append(sum(run.timings.step_s))
        plain, speculative = seconds[2:]
        self.measured.value = close_lines(
            f"measured: plain {_N_NEW / plain:.1f} tokens/s, with drafts "
            f"{_N_NEW / speculative:.1f} tokens/s, speed-up <b>{plain / speculative:.2f}</b>"
        )
