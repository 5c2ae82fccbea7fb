"""CacheWatcher: step through decoding and see the cache grow, row by row."""

import ipywidgets

from ..engine import Engine
from ..engine.inspect import look_inside
from ..figures import Picture, cache_view
from ..scoring import token_text
from .base import PictureWidget, close_lines

_MOST_PROMPT_TOKENS = 24


class CacheWatcher(PictureWidget):
    """A prompt is prefilled, then decoded one token a step; a slider goes through the steps.

    Shown are the cached keys of one head with the row that the step wrote, the attention scores of
    the newest token, and the bytes. All of it is from the engine's own run: the keys out of its
    cache, the scores from its queries.

    Args:
        engine: an Engine on a model of the Llama family.
        prompt: what is prefilled, at most 24 tokens.
        n_steps: decode steps to go through.
    """

    def __init__(self, engine: Engine, prompt: str = "The quick brown fox", n_steps: int = 12):
        self.engine, self.n_steps = engine, n_steps
        spec = engine.spec
        self.prompt = ipywidgets.Text(
            value=prompt, description="Prompt", continuous_update=False, layout={"width": "auto"}
        )
        self.step = ipywidgets.IntSlider(description="Step", min=0, max=n_steps, value=0)
        self.layer = ipywidgets.IntSlider(description="Layer", min=0, max=spec.n_layers - 1)
        self.head = ipywidgets.IntSlider(description="Query head", min=0, max=spec.n_heads - 1)
        self.facts = ipywidgets.HTML()
        self._run(prompt)
        sliders = ipywidgets.HBox([self.step, self.layer, self.head])
        super().__init__(
            [self.prompt, sliders, self.facts], watch=[self.step, self.layer, self.head]
        )
        self.prompt.observe(lambda change: self.attempt(self._take_prompt), names="value")

    def _run(self, prompt: str) -> None:
        """Prefill and decode once; keep the cache and what each call saw."""
        if not prompt.strip():
            raise ValueError("Prompt: is empty; type at least one word")
        prompt_ids = self.engine.tokenizer(prompt).input_ids
        if len(prompt_ids) > _MOST_PROMPT_TOKENS:
            raise ValueError(f"Prompt: {len(prompt_ids)} tokens, at most {_MOST_PROMPT_TOKENS} fit")
        cache = self.engine.new_cache(1, len(prompt_ids) + self.n_steps)
        logits = self.engine.prefill(prompt_ids, cache=cache)
        token_ids = list(prompt_ids)
        for _ in range(self.n_steps):
            token_ids.append(int(logits.argmax()))
            logits = self.engine.decode(token_ids[-1], cache=cache)
        self.token_ids, self.n_prompt, self.cache = token_ids, len(prompt_ids), cache
        self.calls = list(self.engine.calls)
        self._views = {}

    def _take_prompt(self) -> None:
        self._run(self.prompt.value)
        self._replace_picture()

    def _scores(self):
        layer, head = self.layer.value, self.head.value
        if layer not in self._views:
            self._views[layer] = look_inside(self.engine, self.token_ids, layer).scores().cpu()
        # Row i of the causal map is what the decode step of token i computed: no later key is seen.
        return self._views[layer][head]

    def draw(self) -> Picture:
        step, spec = self.step.value, self.engine.spec
        kv_len = self.n_prompt + step
        kv_head = self.head.value // (spec.n_heads // spec.n_kv_heads)
        keys = self.cache.keys[self.layer.value, 0, kv_head, :kv_len].float().cpu()  # (S, H)
        tokens = [token_text(self.engine.tokenizer, i) for i in self.token_ids[:kv_len]]
        scores = self._scores()[kv_len - 1, :kv_len]
        return cache_view(keys, scores, tokens, n_new=1 if step else self.n_prompt)

    def _replace_picture(self) -> None:
        call = self.calls[self.step.value]
        spec, element = self.engine.spec, self.cache.keys.element_size()
        kv_bytes = call.kv_len * spec.kv_bytes_per_token(element)
        kind = "decode" if self.step.value else "prefill"
        self.facts.value = close_lines(
            f"<b>{kind}</b>: the model saw {call.seq_len} token{'s' * (call.seq_len > 1)}, "
            f"{call.past_len} came out of the cache, {call.kv_len} are in it now: "
            f"{kv_bytes:,} bytes in all layers (2 × {spec.n_layers} layers × {spec.n_kv_heads} KV "
            f"heads × {spec.head_dim} × {element} bytes × {call.kv_len} positions)"
        )
        super()._replace_picture()
