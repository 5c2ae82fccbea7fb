"""Hidden checks of exercise 8: merges, batches, settings, special tokens, templates, a pipeline.

tests/test_exercise_08.py compares the solutions with Transformers and Tokenizers themselves.
"""

from grader.checks import Case, Probe, Task, between


def make_tiny(seed, n_rows, kind="Llama"):
    """A random model over 17 words, and its tokenizer: those of the notebook."""
    from importlib import import_module

    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    # A worker imports a module that is named so once, and not again for each task.
    library = import_module(f"transformers.models.{kind.lower()}.modeling_{kind.lower()}")
    Config, Model = getattr(library, f"{kind}Config"), getattr(library, f"{kind}ForCausalLM")
    words = "<pad> <end> <unk> system user assistant the a cat dog bird sees hears likes small big"
    vocab = {word: i for i, word in enumerate([*words.split(), "red"])}
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words = PreTrainedTokenizerFast(tokenizer_object=words, padding_side="left", pad_token="<pad>",
                                    eos_token="<end>", unk_token="<unk>")  # fmt: skip
    words.chat_template = ("{% for m in messages %}{{ m.role }} {{ m.content }} <end> {% endfor %}"
                           "{% if add_generation_prompt %}assistant {% endif %}")  # fmt: skip
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.6}
    ends = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
    return Model(Config(vocab_size=n_rows, **sizes, **heads, **ends)).eval(), words


def tiny(rng, *settings):
    return Probe(make_tiny, between(rng, 0, 10**6), *(settings or (17,)))


def words_of(rng, n, letters):
    texts = ["".join(rng.choice(list(letters), size=between(rng, 1, 7))) for _ in range(n)]
    return {text: between(rng, 1, 9) for text in texts}


MERGES = Task(
    grade_id="merges", entry="learn_merges", cases=lambda rng: [
        Case(words_of(rng, 12, "abcde"), 10, label="ten merges"),
        Case(dict.fromkeys(words_of(rng, 9, "zyxba"), 1), 10, label="words that occur once each"),
        Case({"aaaaa": 3, "aaa": between(rng, 1, 4), "baab": 2}, 3, label="a letter many times"),
        Case({"zzab": 2, "cd": 2, "abz": 1, "zz": 1}, 6, label="equally frequent pairs"),
        Case({"abc": 1, "x": 7}, 5, label="fewer pairs than merges"),
        Case({"aaa": 2, "bc": 3}, 1, label="two pairs in aaa, which overlap"),
    ], misconceptions=[
        ("+ counts[word]", {"+ 1"}),
        ("in range(len(tokens) - 1)",
         {"in {tuple(tokens[j : j + 2]): j for j in range(len(tokens) - 1)}.values()"}),
        ("ids[pair[0]], ids[pair[1]]",
         {"pair": "of equal pairs the smaller IDS win: a joined token's is above all characters'",
         "ids[pair[0]]": "the same left id: the smaller right one",
         "ids[pair[1]]": "of equal pairs the LEFT ids are compared first"}),
        (", ids[pair[0]], ids[pair[1]]", {","}),
        ("if not pairs:", {"if False:": "stop where no word has two tokens any more",
         "if max(pairs.values(), default=0) < 2:": "a pair that occurs once is joined as well"}),
        ('sorted(set("".join(counts)))', 'dict.fromkeys("".join(counts))',
         "characters get ids in sorted order"),
        ('ids.setdefault("".join(best), len(ids))', {'ids.setdefault("".join(best), -len(ids))'}),
        ('= ["".join(best)]', {'= ["".join(best)]\n                    break'}),
        ("in range(len(tokens)):", {"in range(len(tokens))[::-1]:"}),
    ])  # fmt: skip

PADDING = Task(
    grade_id="padding", entry="pad_left", cases=lambda rng: [
        *(Case([[7, 2, between(rng, 3, 99), 5, 6, 8], [2, 9, 5], [90]], pad_id, label=label)
          for pad_id, label in ((0, "three lengths"), (2, "pad_id within a prompt"))),
        Case([[90], [5, 6, 7, 8]], 0, label="a short prompt of a large id"),
        Case([[7, 8]], 1, label="a batch of one"),
    ], misconceptions=[
        ("[0] * n_pad + [1] * len(prompt)",
         {"[int(i != pad_id) for i in [pad_id] * n_pad + prompt]": "", "[1] * longest": "",
         "[1] * n_pad + [0] * len(prompt)": "the mask is turned round: 1 is a token"}),
        ('batch["attention_mask"]',
         'n_pad = ([pad_id] * n_pad + prompt).index(prompt[0])\n        batch["attention_mask"]',
         "+ [1] * len(prompt)", "+ [1] * (longest - n_pad)", "range(len(prompt))",
         "range(longest - n_pad)", "a prompt may begin with pad_id"),
        ("[pad_id] * n_pad + prompt", "[0] * n_pad + prompt", "pad with pad_id, not always 0"),
        ("max(len(prompt) for prompt in prompts)", {"len(max(prompts))": "",
         "len(prompts[0])": "the longest prompt need not be the first"}),
        ("[0] * n_pad + list(range(len(prompt)))", {"[-1] * n_pad + list(range(len(prompt)))",
         "[1] * n_pad + list(range(len(prompt)))", "list(range(longest))",
         "[0] * n_pad + list(range(1, len(prompt) + 1))"}),
    ])  # fmt: skip


def use_batch(answer, make, prompts, pad_id, n_new, own):
    model, passes = make()[0], []
    model.generation_config.update(**own)
    before = model.generation_config.to_dict()
    model.register_forward_hook(lambda *_: passes.append(1))
    new = answer.continue_batch(model, prompts, pad_id, n_new)
    same = model.generation_config.to_dict() == before
    return {"new ids": new, "one call": len(passes) <= n_new, "its settings as before": same}


def batch_case(rng, pad_id, n_new, label, lengths=(3, 1, 6, 2, 5, 4), **own):
    prompts = [rng.integers(1, 17, size=n).tolist() for n in lengths]
    return Case(tiny(rng), prompts, pad_id, n_new, own, label=label)


BATCH = Task(
    grade_id="batch", entry="continue_batch", drive=use_batch, cases=lambda rng: [
        batch_case(rng, 0, 10, "a batch: cut off the whole padded width in front"),
        *(batch_case(rng, 1, 10, "padded with the end token") for _ in range(2)),
        batch_case(rng, 0, 9, "a model that samples by itself", do_sample=True),
        # Three, because a model may never write the token that is drawn.
        *(batch_case(rng, 0, 9, "a model with another end token", eos_token_id=between(rng, 5, 15))
          for _ in range(3)),
        batch_case(rng, 0, 1, "one prompt, one new token", lengths=(4,)),
    ], misconceptions=[
        ("mask, **", "(ids != pad_id).long(), **", "make the mask from lengths, not ids"),
        ("attention_mask=mask, ", "", "pass attention_mask: else generate guesses from the ids"),
        ("row[: row.index(end) + 1] if end in row else row for row in new",
         {"row for row in new": "", "[i for i in row if i != pad_id] for row in new": "padding "
         "can't be told by its id: cut behind the first end token",
         "row[: max((i + 1 for i in range(len(row)) if row[i] != pad_id), default=0)] for row in "
         "new": "a model may end with pad_id by itself: cut behind the first end token"}),
        ("row.index(end) + 1", {"row.index(end)": "the end token belongs to the answer",
         "len(row) - row[::-1].index(end)": ""}), (', "do_sample": False', {""}),
        ("settings = {", "model.generation_config.do_sample = False\n    settings = {",
         "the model's own generation_config stays changed"),
        ("= model.generation_config.eos_token_id",
         {"= 1": "the end token need not be 1: ask the model's generation_config",
         "= pad_id": "the padding need not be the end token"}),
        ("output[:, ids.shape[1] :]", {"output"}),
        ("return [", "[model.generate(ids[:1]) for _ in prompts]\n    return [",
         "right, but take ONE call of generate"),
    ])  # fmt: skip

DEFAULT = {"do_sample": False, "top_k": 50, "top_p": 1.0, "temperature": 1.0, "num_beams": 1,
           "max_length": 20, "max_new_tokens": None, "eos_token_id": None}  # fmt: skip
OWN = {"do_sample": True, "temperature": 0.7, "top_k": None, "top_p": 0.8, "eos_token_id": 2}
CONFIG = {"top_k": 12, "temperature": None, "top_p": 0.95, "max_length": 100}
PRECEDENCE = Task(
    grade_id="precedence", entry="effective_settings", cases=lambda rng: [
        Case(call, config, OWN, DEFAULT | {"early_stopping": between(rng, 3, 9)}, label=label)
        for label, call, config in (
            ("False and 0 in the call", {"do_sample": False, "top_k": 0, "max_length": 8}, None),
            ("None in the call", {"top_k": None}, None),
            ("a config and a call", {"top_p": None, "num_beams": 4}, CONFIG),
            ("False in a config", {}, {"do_sample": False}),
            ("new names", {"penalty_alpha": 0.6}, {"length_penalty": 0.0, "min_p": None}))],
    misconceptions=[
        ("(default, own, config or {})", {"(default, own if config is None else config)",
         "(own, default, config or {})", "(default, config or {}, own)"}),
        (" if value is not None", {""}),
        ("if value is not None", "if value or place is default",
         "0 and False are not 'not set'; compare with None"),
        ("dict.fromkeys(names)", {"{}": "", "dict(default)": "a name that only config or own has, "
         "with None, is missing: it belongs to the result, with None"}),
        ("settings | call", {"settings | {k: v for k, v in call.items() if v is not None}": "",
         "{**call, **settings}": "", "settings | {k: v for k, v in call.items() if k in settings "
         "and k in {**default, **own, **(config or {})}}": "a name that only the call has is lost: "
         "collect those of all four"}),
    ])  # fmt: skip


def use_tags(answer, make, earlier, tags):
    import tempfile

    from transformers import AutoModelForCausalLM, AutoTokenizer

    given, words = make()
    words.add_special_tokens({"extra_special_tokens": earlier})
    old = given.get_input_embeddings().weight.detach().clone()
    text = "the cat " + "".join(f"{tag}sees {tag} " for tag in (*tags, *earlier))
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer = answer.add_tags(given, words, tags, folder)
        saved, saved_tokenizer = (auto.from_pretrained(folder)
                                  for auto in (AutoModelForCausalLM, AutoTokenizer))  # fmt: skip
    new, there = (each.get_input_embeddings().weight.detach() for each in (model, saved))
    shown = tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)
    return {"tokens": tokenizer.tokenize(text), "saved": saved_tokenizer.tokenize(text),
            "shown": shown, "special": set(tokenizer.all_special_tokens), "rows": len(new),
            "from the folder": [each.name_or_path == folder for each in (model, tokenizer)],
            "same class": type(model) is type(given),
            "old rows": new[: len(old)].equal(old), "in the folder": new.equal(there)}  # fmt: skip


TAGS = Task(
    grade_id="tags", entry="add_tags", drive=use_tags, cases=lambda rng: [
        Case(tiny(rng, 19), ["<one>", "[two]"], ["<tool>", "<a b>"], label="special ones before"),
        Case(tiny(rng, 40), ["<one>"], ["<x>", "<y>", "<z>"], label="spare rows"),
        Case(tiny(rng, 17, "Mistral"), [], ["<x>"], label="another class than Llama: AutoModel..."),
        Case(tiny(rng), [], [], label="no tags"),
    ], misconceptions=[
        ("tokenizer.add_special_tokens(added, replace_extra_special_tokens=False)",
         {"tokenizer.add_tokens(tags)"}), (", replace_extra_special_tokens=False", {""}),
        ("max(len(tokenizer), n_rows)", {"len(tokenizer)": "",
         "n_rows + len(tags)": "too many rows: where there are spare ones, none is needed"}),
        ("    model.resize_token_embeddings(max(len(tokenizer), n_rows))\n", {""}),
        ("AutoModelForCausalLM.from_pretrained(folder), Auto", {"model, Auto"}),
        ("AutoModelForCausalLM", "LlamaForCausalLM",
         "the model may be of another class than Llama: AutoModelForCausalLM reads which"),
        ("AutoTokenizer.from_pretrained(folder)", "tokenizer",
         "return the tokenizer from the folder, too"),
    ])  # fmt: skip


def use_stop(answer, make, texts, prompt_len, stop):
    import torch
    from tokenizers.decoders import Fuse
    from transformers import StoppingCriteriaList

    words, found = make()[1], {}
    words.add_tokens([" and "])  # a token with spaces at its ends
    ids = torch.tensor(words(texts).input_ids)  # the texts have equally many words
    for name in ("a token a word", "a tokenizer that puts no spaces between tokens"):
        criteria = StoppingCriteriaList([answer.StopAtText(words, prompt_len, stop)])
        lengths = [*range(prompt_len, ids.shape[1] + 1), prompt_len]  # the last: another text
        found[name] = [criteria(ids[:, :n], None).tolist() for n in lengths]
        words.backend_tokenizer.decoder = Fuse()
    return found


TEXTS = ["the dog sees the big cat", "a cat likes the big dog", "the big dog sees the cat",
         "the cat hears a dog <end>", "big dog big dog a bird"]  # fmt: skip
FOUND = "[self.stop in text for text in texts]"
STOP = Task(
    grade_id="stop", entry="StopAtText", drive=use_stop, cases=lambda rng: [
        Case(tiny(rng), rng.permutation(texts).tolist(), n, stop, label=label)
        for texts, n, stop, label in (
            *((TEXTS, n, stop, "contains") for n, stop in ((2, "dog"), (1, "the big"), (3, "ig do"),
                                                          (0, "cat"), (6, "bird"), (2, "<end>"))),
            (["a bird", "assistant cat"], 1, "sis", "prompts of any length"),
            (["a dog" + 4 * " hears the cat"], 1, "dog", "a stop text long ago"),
            *((["a dog sees and ", "a bird and cat"], 1, stop, "spaces at an end count: strip "
               "neither the new text nor the stop text") for stop in (" dog ", " and", "and ")),
            (TEXTS[:1], 3, "a", "one row"))], misconceptions=[
        ("input_ids[:, self.prompt_len :]", {"input_ids"}), ("self.tokenizer.batch_decode(input_"
         "ids[:, self.prompt_len :])", "[' '.join(self.tokenizer.convert_ids_to_tokens(r)) for r "
         "in input_ids[:, self.prompt_len :]]", "decode the ids: tokens are not always words"),
        ("input_ids[:, self.prompt_len :])",
         "input_ids)\n        n = len(self.tokenizer.decode(input_ids[0, : self.prompt_len]))",
         "in text for", {"in text[n:] for"}),
        ("self.stop in text", {"text.endswith(self.stop)": "",
         "f' {self.stop} ' in f' {text} '": "compare texts, not words or ids of tokens: the stop "
         "text may begin or end within one"}),
        ("self.prompt_len :]", {"max(self.prompt_len, input_ids.shape[1] - 1) :]": "",
         "self.prompt_len + 1 :]": "", "max(self.prompt_len, input_ids.shape[1] - 8) :]": "a row "
         "whose stop text was long ago stays done: look at all new tokens, not at the last few"}),
        ("self.prompt_len :])", "self.prompt_len :], skip_special_tokens=True)",
         "the stop text may be a special token"),
        (FOUND, {f"[any({FOUND[1:-1]})] * len(texts)", f"[all({FOUND[1:-1]})] * len(texts)"}),
        ("return torch", "self.old = getattr(self, 'old', False) | torch", "in texts])",
         "in texts])\n        return self.old",
         "keep nothing on self: another call has other texts"),
    ])  # fmt: skip


def use_template(answer, make, messages, add_generation_prompt, end):
    tokenizer = make()[1]
    tokenizer.eos_token, tokenizer.chat_template = end, answer.chat_template()
    settings = {"tokenize": False, "add_generation_prompt": add_generation_prompt}
    return tokenizer.apply_chat_template(messages, **settings)


CONTENTS = ["Text 12. {{x}}", "  two\n lines \n", "", "\tA", "<b>"]
FIRST, ASKED = "{% if messages[0].role != 'system' %}", "{% if add_generation_prompt %}"
TEMPLATE = Task(
    grade_id="template", entry="chat_template", drive=use_template, cases=lambda rng: [
        Case(tiny(rng), [{"role": role, "content": content} for role, content
             in zip(roles.split(), CONTENTS, strict=False)], prompt, end, label=label)
        for roles, prompt, end, label in (
            ("user assistant user assistant user", True, "<end>", "a long talk"),
            ("system user assistant", True, "<pad>", "with a system message"),
            ("system system user", False, "<end>", "two system messages"),
            ("user system", False, "<unk>", "the system comes second"),
            ("assistant user", False, "<end>", "the assistant begins"),
            ("tool user tool assistant", True, "<end>", "the role's own name"))], misconceptions=[
        (ASKED, {"{% if true %}": "", "{% if false %}": "", "{% if add_generation_prompt and "
         "messages[-1].role == 'user' %}": "add_generation_prompt decides alone, whoever spoke "
         "last"}), (FIRST, {"{% if false %}", "{% if true %}"}),
        (" | trim", {"", " if message.role == 'system' else message.content | trim"}),
        ("brief.{{ eos_token }}", "brief.<end>", "trim }}{{ eos_token }}", {"trim }}<end>"}),
        ("messages[0].role != 'system'", {"'system' not in messages | map(attribute='role')": "the "
         "FIRST message decides about 'Be brief.', not any later one",
         "messages[0].role == 'user'": "'Be brief.' is needed in front of every other role"}),
        ("brief.{{ eos_token }}", {"brief.", "brief.<end>"}),
        ("trim }}{{ eos_token }}\\n", {"trim }}{{ eos_token }}"}),
        ("<|assistant|>\\n{%", {"<|assistant|>{%"}),
        ("in messages %}", {"in messages if message.role in ['system', 'user', 'assistant'] %}"}),
        ("message.role }}", {"'user' if message.role == 'tool' else message.role }}"}),
    ])  # fmt: skip


def use_pipeline(answer, make, own, made, texts, called):
    from tokenizers import Regex, decoders
    from tokenizers.processors import TemplateProcessing

    model, words = make()
    words.backend_tokenizer.decoder = decoders.Replace(Regex("[a-z]$"), " ")  # a space at the end
    words.backend_tokenizer.post_processor = TemplateProcessing("<unk> $A", None, [("<unk>", 2)])
    words.add_special_tokens({"pad_token": "<end>", "extra_special_tokens": ["<pad>"]})
    model.generation_config.update(pad_token_id=1, **own)
    pipe = answer.ChatPipeline(model=model, tokenizer=words, **made)
    return {"answers": pipe(texts, **called), "a call after it, with nothing given": pipe("a bird")}


def pipeline_case(rng, label, texts=TEXTS, made=(), own=(), **called):
    return Case(tiny(rng), dict(own), dict(made), texts, called, label=label)


BOTH, OTHER = {"system": "likes red", "max_new_tokens": 9}, {"system": "the bird hears"}
PIPELINE = Task(
    grade_id="pipeline", entry="ChatPipeline", drive=use_pipeline, cases=lambda rng: [
        pipeline_case(rng, "one question", "a bird", max_new_tokens=between(rng, 8, 12)),
        pipeline_case(rng, "nothing given", own={"eos_token_id": None}),
        pipeline_case(rng, "given when it was made", made=BOTH),
        pipeline_case(rng, "a system message in the call", made={"max_new_tokens": 9}, **OTHER),
        pipeline_case(rng, "both in the call", made=BOTH, **OTHER, max_new_tokens=5),
        pipeline_case(rng, "an empty string is given, too: only None is not", made=BOTH, system=""),
        pipeline_case(rng, "a padded batch: cut off its whole width, which _forward knows",
                      ["a bird", *TEXTS, "a dog"], made=BOTH, batch_size=7),
        pipeline_case(rng, "a model that samples by itself", own={"do_sample": True}),
    ], misconceptions=[
        ("add_generation_prompt=True, ", "", "it isn't the assistant's turn yet"),
        ("output[:, inputs", "output[:, 0 * inputs", "cut the prompt off"),
        ('inputs["input_ids"].shape[1]', {'int(inputs["attention_mask"][0].sum())'}),
        (", skip_special_tokens=True", "", "decode without the special tokens"),
        ("skip_special_tokens=True)", "skip_special_tokens=True).strip()",
         "white space at the ends of an answer is text, too: don't strip"),
        (", do_sample=False", "", "a model may sample by itself: say do_sample=False"),
        ("(**inputs, ", '(inputs["input_ids"], ', "in a batch generate needs the mask, too"),
        ("[] if system is None else ", "[] if True else ", "system is ignored"),
        ('{} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}',
         '{"max_new_tokens": max_new_tokens or 20}',
         "a call without max_new_tokens sets it back to 20: hand out only what was given"),
        ('preprocess = {} if system is None else {"system": system}',
         'self.system = system or getattr(self, "system", None)\n        preprocess = {} if '
         'self.system is None else {"system": self.system}',
         "one call's system message stays for the next: keep nothing on self"),
        ("{} if system is None else", {"": "a call without system removes the one that was given "
         "when the pipeline was made: hand out only what was given", "{} if not system else":
         "an empty string is given, too, and wins: only None is not given"}),
        ("{} if system is None else", "",
         '{} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}',
         '{"max_new_tokens": max_new_tokens or 20}',
         "a call puts back what it wasn't given: hand out only what was given"),
        ("return self.tokenizer.apply", "text = self.tokenizer.apply",
         'return_tensors="pt", return_dict=True\n        )',
         'tokenize=False\n        )\n        return self.tokenizer(text, return_tensors="pt")',
         "a chat text tokenised again gets special tokens twice"),
    ])  # fmt: skip
