"""CacheWatcher: step through decoding and see the cache grow, row by row."""

import ipywidgets

from ..checks import check_count, check_parts
from ..engine import Engine
from ..engine.inspect import look_inside
from ..figures import Picture
from ..figures.blocks import cache_view
from ..scoring import token_texts
from .base import IntSlider, PictureWidget, close_lines, prompt_ids, text_box

_MOST_PROMPT_TOKENS = 24


class CacheWatcher(PictureWidget):
    """A prompt is prefilled, then decoded one token per step; a slider goes through the steps.

    Shown are the cached keys of one head with the row that the step wrote, the attention scores of
    the newest token, and the bytes. All of it is from the engine's own run: the keys out of its
    cache, the scores from its queries.

    Args:
        engine: an Engine on a model of the Llama family.
        prompt: what is prefilled, at most 24 tokens.
        n_steps: decode steps to go through.
        layer, head: what is shown first.
    """

    def __init__(
        self, engine: Engine, prompt="The quick brown fox", n_steps: int = 12, layer=0, head=0
    ):
        self.engine, self.spec = check_parts("engine", engine), engine.spec
        self.n_steps = check_count("n_steps", n_steps)
        layer = check_count("layer", layer, 0, self.spec.n_layers - 1)
        head = check_count("head", head, 0, self.spec.n_heads - 1)
        self.prompt = text_box("Prompt", prompt)
        self.step = IntSlider(description="Step", min=0, max=self.n_steps)
        self.layer = IntSlider(value=layer, description="Layer", min=0, max=self.spec.n_layers - 1)
        self.head = IntSlider(
            value=head, description="Query head", min=0, max=self.spec.n_heads - 1
        )
        self.facts = ipywidgets.HTML()
        self._run()
        sliders = [self.step, self.layer, self.head]
        super().__init__([self.prompt, sliders, self.facts], watch=sliders)
        self.when([self.prompt], lambda: (self._run(), self.show()))

    def _run(self) -> None:
        """Prefill and decode once; keep the cache and what each call saw."""
        token_ids = prompt_ids(self.engine.tokenizer, self.prompt.value, _MOST_PROMPT_TOKENS)
        self.n_prompt = len(token_ids)
        self.cache = self.engine.new_cache(1, self.n_prompt + self.n_steps)
        logits = self.engine.prefill(token_ids, cache=self.cache)
        for _ in range(self.n_steps):
            token_ids = [*token_ids, int(logits.argmax())]
            logits = self.engine.decode(token_ids[-1], cache=self.cache)
        self.token_ids, self.calls = token_ids, list(self.engine.calls)
        self._scores = {}  # by layer

    def draw(self) -> Picture:
        step, layer, head = self.step.value, self.layer.value, self.head.value
        kv_len = self.n_prompt + step
        kv_head = head // (self.spec.n_heads // self.spec.n_kv_heads)
        keys = self.cache.keys[layer, 0, kv_head, :kv_len].float().cpu()  # (S, H)
        tokens = token_texts(self.engine.tokenizer, self.token_ids[:kv_len])
        if layer not in self._scores:
            self._scores[layer] = look_inside(self.engine, self.token_ids, layer).scores().cpu()
        # Row i of the causal map is what the decode step of token i computed.
        scores = self._scores[layer][head, kv_len - 1, :kv_len]  # (S,)
        return cache_view(keys, scores, tokens, n_new=1 if step else self.n_prompt)

    def show(self) -> None:
        call = self.calls[self.step.value]
        spec, element = self.spec, self.cache.keys.element_size()
        kv_bytes = call.kv_len * spec.kv_bytes_per_token(element)
        self.facts.value = close_lines(
            f"<b>{'decode' if self.step.value else 'prefill'}</b>: the model saw {call.seq_len} "
            f"token{'s' * (call.seq_len > 1)}, {call.past_len} came out of the cache, "
            f"{call.kv_len} are in it now: {kv_bytes:,} bytes in all layers (2 × {spec.n_layers} "
            f"layers × {spec.n_kv_heads} KV heads × {spec.head_dim} × {element} bytes × "
            f"{call.kv_len} positions)"
        )
        super().show()
