"""SamplingView: move temperature, top-k, top-p and min-p, and see what can still be drawn."""

from functools import cache

import ipywidgets
import torch

from ..checks import check_choice, check_parts
from ..decoding.sampling import apply_temperature, sampling_distribution, top_k_filter
from ..decoding.toy_models import TOY_DISTRIBUTIONS, toy_logits
from ..figures import Picture
from ..figures.sampling import filter_view
from ..scoring import next_token_logits, token_text
from .base import IntSlider, PictureWidget, number_slider, prompt_ids, text_box

_CONTEXTS = {"flat": "The", "peaked": "The car"}
_MODEL = "the model"
_MOST_TOKENS = 256


class SamplingView(PictureWidget):
    """A next-token distribution, filtered: what is kept, its mass, and what is drawn from.

    The logits are computed once for a prompt; a slider only filters them again.

    Args:
        loaded: what ``load_model()`` returned; without it the lecture's toy distributions alone.
        source: "flat", "peaked" (the lecture's two), or "the model".
    """

    def __init__(self, loaded=None, *, source: str = "flat"):
        self.loaded = None if loaded is None else check_parts("loaded", loaded)
        sources = [*TOY_DISTRIBUTIONS, *([] if loaded is None else [_MODEL])]
        check_choice("source", source, sources)
        self.source = ipywidgets.Dropdown(options=sources, value=source, description="After")
        self.prompt = text_box("Prompt", "The car", "60%")
        self.temperature = number_slider("Temperature", 1.0, 0.1, 3.0, 0.05)
        self.top_k = IntSlider(description="Top-k (0: off)", min=0, max=100, value=6)
        self.top_p = number_slider("Top-p", 1.0, 0.01, 1.0, 0.01)
        self.min_p = number_slider("Min-p", 0.0, 0.0, 1.0, 0.01)
        sliders = [self.temperature, self.top_k, self.top_p, self.min_p]
        for slider in sliders:
            slider.style.description_width = "100px"
        self.facts = ipywidgets.HTML()
        self._load()
        after = [self.source] if loaded is None else [self.source, self.prompt]
        super().__init__([after, sliders[:2], sliders[2:], self.facts], watch=sliders)
        self.when([self.source, self.prompt], lambda: (self._load(), self.show()))

    def _load(self) -> None:
        """The logits of the source: the one time that the model runs."""
        source = self.source.value
        if source == _MODEL:
            context = self.prompt.value
            tokenizer = self.loaded.tokenizer
            ids = prompt_ids(tokenizer, context, _MOST_TOKENS)
            logits = next_token_logits(self.loaded, ids).cpu()
            # Decoded when first shown: the vocabulary is far larger than the picture.
            name = cache(lambda token_id: token_text(tokenizer, token_id))
        else:
            context = _CONTEXTS[source]
            words, logits = toy_logits(source)
            name = words.__getitem__
        self.logits, self._name, self.context = logits, name, context

    def draw(self) -> Picture:
        k, p = self.top_k.value, self.top_p.value
        warm = apply_temperature(self.logits, self.temperature.value)
        self.before = warm.softmax(-1)  # (V,)
        self.after = sampling_distribution(warm, top_k=k, top_p=p, min_p=self.min_p.value)
        return filter_view(
            self.before,
            self.after,
            self._name,
            top_p=p if p < 1 else None,
            # Top-p comes after top-k, so its line belongs on what top-k has left over.
            seen_by_top_p=top_k_filter(warm, k).softmax(-1) if k and p < 1 else None,
            title=f"after “{self.context[-60:]}”",
        )

    def show(self) -> None:
        super().show()
        kept, entropy = self.after > 0, torch.special.entr(self.after).sum()
        self.facts.value = (
            f"<b>{int(kept.sum()):,}</b> of {len(self.after):,} tokens are kept, with "
            f"<b>{float(self.before[kept].sum()):.3f}</b> of the mass; entropy of what is drawn "
            f"from: {float(entropy):.2f} nats"
        )
