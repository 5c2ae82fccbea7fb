"""Hidden checks of exercise 8: pipelines, padding, label words, settings, resizing, shards.

The solutions are held against Transformers itself, and the last one against huggingface_hub's own
function, in tests/test_exercise_08.py.
"""

from grader.checks import Case, Close, Exact, Task

CLOSE = Close(rtol=1e-6, atol=1e-9)


def postprocess_cases(rng):
    stars = {i: f"{i + 1} stars" for i in range(7)}
    sentiment = {0: "NEGATIVE", 1: "POSITIVE"}
    return [
        Case(rng.normal(0, 2, (3, 7)).tolist(), stars, top_k=2),
        Case(rng.normal(0, 2, (2, 7)).tolist(), stars, label="all labels"),
        Case(rng.normal(0, 2, (4, 2)).tolist(), sentiment, top_k=1, label="the best only"),
        Case(rng.normal(0, 2, (1, 2)).tolist(), sentiment, top_k=7, label="top_k above the labels"),
        # The first text's best label is the last one, so that a list left unsorted shows.
        Case([[-1.0, 0.5, 3.0], [2.0, 0.0, -2.0]], {0: "A", 1: "B", 2: "C"}, top_k=2),
        Case([[1.0, 0.5, 1.0]], {0: "A", 1: "B", 2: "C"}, label="two labels of equal score"),
        Case([[1.0, 0.5, 1.0]], {2: "A", 0: "C", 1: "B"}, label="labels in another order"),
    ]


POSTPROCESS = Task(
    grade_id="postprocess", entry="postprocess", cases=postprocess_cases, compare=CLOSE,
    watch=("mutated",), misconceptions=[
        ("raw-logits", "weights[i] / sum(weights)", "row[i]",
         "these are the logits: the scores are their softmax"),
        ("sigmoid", "weights[i] / sum(weights)", "1 / (1 + 1 / weights[i])",
         "this is the sigmoid of each logit by itself; a softmax shares 1 among the labels"),
        ("one-flat-list", "answers.append([", "answers.extend([",
         "the texts are run together: one entry a text, a list of its labels"),
        ("whole-batch", "sum(weights)", "sum(math.exp(x) for row in logits for x in row)",
         "the softmax runs over one text's labels: the texts of a batch don't share it"),
        ("cut-before-softmax", "sum(weights)", "sum(weights[j] for j in best)",
         "the softmax is over ALL labels, then top_k cuts: the scores needn't sum to 1"),
        ("unsorted", "sorted(range(len(row)), key=lambda label: -row[label])",
         "list(range(len(row)))", "the labels stand in the order of their ids: best first"),
        ("keyed-by-score", "sorted(range(len(row)), key=lambda label: -row[label])",
         "[label for _, label in sorted({x: i for i, x in enumerate(row)}.items())[::-1]]",
         "of labels with equal scores only one is left: a dictionary holds each key once"),
        ("first-by-score", "ranked[:top_k]",
         "[label for label in ranked if row.index(row[label]) == label][:top_k]",
         "each score stands there once: labels of equal scores have been lost"),
        ("five-at-most", "ranked[:top_k]", "ranked[: top_k or 5]",
         "top_k=None gives ALL labels, however many"),
        ("larger-id-first", "-row[label]", "(-row[label], -label)",
         "of two equal scores the smaller id comes first"),
        ("worst-first", "-row[label]", "row[label]", "sorted the wrong way: the best comes first"),
        ("ids-for-labels", "id2label[i]", "i",
         "a label is its name, not its number: look it up in id2label"),
        ("bare-dict",
         "return answers", "return [answer[0] if top_k == 1 else answer for answer in answers]",
         "each text's entry is a list of dicts, also where top_k=1 leaves one"),
        ("rounded", "weights[i] / sum(weights)", "round(weights[i] / sum(weights), 4)",
         "the scores are rounded; return them as they are"),
        ("order-of-the-dict", "id2label[i]", "list(id2label.values())[i]", "the names are taken in "
         "the order in which the dictionary lists them; look each up by its id"),
        ("ties-by-name", "-row[label]", "(-row[label], id2label[label])",
         "labels of equal scores are sorted by their names; the smaller ID comes first"),
    ])  # fmt: skip


def padding_cases(rng):
    def prompt(length):
        return rng.integers(3, 100, size=length).tolist()

    n = int(rng.integers(2, 5))
    return [
        Case([prompt(n + 3), prompt(n), prompt(n + 1)], 0),
        Case([prompt(1), prompt(6)], 0, label="a prompt of one token"),
        Case([[*prompt(3), 2, *prompt(2)], [2, *prompt(2)]], 2, label="pad_id within a prompt"),
        Case([[90, 4], [5, 6, 7, 8]], 0, label="a short prompt of large ids"),
        Case([prompt(4)], 1, label="a batch of one"),
    ]


PADDING = Task(
    grade_id="padding", entry="pad_left", cases=padding_cases, compare=Exact(), watch=("mutated",),
    misconceptions=[
        ("pads-right", "[pad_id] * n_pad + prompt", "prompt + [pad_id] * n_pad",
         "[0] * n_pad + [1] * len(prompt)", "[1] * len(prompt) + [0] * n_pad",
         "[0] * n_pad + list(range(len(prompt)))", "list(range(len(prompt))) + [0] * n_pad",
         "padded on the right: a decoder-only model would write behind the padding"),
        ("mask-by-id", "    return batch",
         '    mask = [[int(i != pad_id) for i in row] for row in batch["input_ids"]]\n'
         "    places = [[m * (sum(row[: i + 1]) - 1) for i, m in enumerate(row)] for row in "
         'mask]\n    return batch | {"attention_mask": mask, "position_ids": places}',
         "a prompt may contain pad_id as a token: take the mask from the lengths, not from the "
         "ids"),
        ("mask-alone-by-id", '.append([0] * n_pad + [1] * len(prompt))',
         '.append([int(i != pad_id) for i in [pad_id] * n_pad + prompt])',
         "the mask compares ids with pad_id, and a prompt may contain it: take the lengths"),
        ("pads-with-0", "[pad_id] * n_pad", "[0] * n_pad", "pad with pad_id, which need not be 0"),
        ("first-is-longest", "max(len(prompt) for prompt in prompts)", "len(prompts[0])",
         "the first prompt need not be the longest"),
        ("padding-at-minus-1", "[0] * n_pad + list(range", "[-1] * n_pad + list(range",
         "the padding stands at position -1; here it gets 0 (clip what the sum gives)"),
        ("padding-takes-positions",
         "[0] * n_pad + list(range(len(prompt)))", "list(range(longest))",
         "the positions count the padding: each prompt's first token is at position 0"),
        ("positions-from-1", "list(range(len(prompt)))", "list(range(1, len(prompt) + 1))",
         "a prompt's positions begin with 0"),
        ("mask-inverted", "[0] * n_pad + [1] * len(prompt)", "[1] * n_pad + [0] * len(prompt)",
         "the mask is the wrong way round: 1 is a token"),
        ("cuts-to-shortest", "max(len(prompt) for", "min(len(prompt) for",
         "n_pad = longest - len(prompt)", "prompt, n_pad = prompt[:longest], 0",
         "the prompts are cut to the shortest: pad them to the longest instead"),
        ("searches-the-prompt", 'batch["attention_mask"].append([0] * n_pad + [1] * len(prompt))',
         'n_pad = batch["input_ids"][-1].index(prompt[0])\n        '
         'batch["attention_mask"].append([0] * n_pad + [1] * (longest - n_pad))',
         "list(range(len(prompt)))", "list(range(longest - n_pad))",
         "the padding ends where the prompt's first token is first found, and that token may "
         "be pad_id itself: how much is padded follows from the lengths"),
        ("largest-list", "max(len(prompt) for prompt in prompts)", "len(max(prompts))",
         "max(prompts) compares the ids of the lists, not their lengths"),
        ("padding-at-position-1", "[0] * n_pad + list(range", "[1] * n_pad + list(range",
         "the padding stands at position 1; here it gets 0"),
    ])  # fmt: skip


def label_words_cases(rng):
    def measured(n_tokens):
        return {
            label: (-rng.uniform(0.1, 3.0, size=n)).round(4).tolist()
            for label, n in n_tokens.items()
        }

    one, some = {"NEGATIVE": 1, "POSITIVE": 1}, {"SPORT": 1, "POLITICS": 2, "SCIENCE": 3}
    return [
        Case(measured(one), [measured(one)], label="one text without content"),
        Case(measured(one), [measured(one), measured(one)]),
        Case(measured(some), [measured(some), measured(some)], label="words of several tokens"),
    ]


LABEL_WORDS = Task(
    grade_id="label-words", entry="label_scores", cases=label_words_cases, compare=CLOSE,
    watch=("mutated",), misconceptions=[
        ("no-prior", ") / prior", ")",
         "the prior does nothing here: subtract its logarithm from the word's"),
        ("adds-prior", ") / prior", ") * prior",
         "the prior is added, which favours the easy word twice: subtract it"),
        ("mean-of-logs",
         "sum(math.exp(sum(free[label])) for free in content_free) / len(content_free)",
         "math.exp(sum(sum(free[label]) for free in content_free) / len(content_free))",
         "the prior is the mean of the PROBABILITIES: exp, mean, then log"),
        ("mean-over-tokens", "sum(free[label])", "sum(free[label]) / len(free[label])",
         "sum(log_probs)", "sum(log_probs) / len(log_probs)",
         "a word's log-probability is the sum over its tokens, not their mean"),
        ("mean-over-its-tokens", "sum(log_probs)", "sum(log_probs) / len(log_probs)",
         "behind the text the log-probability is averaged over a word's tokens: sum it"),
        ("prior-adds-tokens", "math.exp(sum(free[label])) for",
         "sum(math.exp(x) for x in free[label]) for",
         "the prior adds up the probabilities of a word's tokens; they are multiplied"),
        ("prior-of-the-last-token", "sum(free[label])", "free[label][-1]",
         "the prior is that of the word's last token alone; take all its tokens"),
        ("no-softmax", "{label: weight / total for", "{label: math.log(weight) for",
         "these are the scores before the softmax: over the labels they must sum to 1"),
        ("prior-not-a-log", "(sum(log_probs)) / prior", "(sum(log_probs) - prior)",
         "a probability is subtracted from a log-probability: take the prior's logarithm"),
        ("priors-sum-to-1", "math.exp(sum(free[label])) for",
         "math.exp(sum(free[label])) / sum(math.exp(sum(logs)) for logs in free.values()) for",
         "each text's probabilities were divided by their sum over the labels first; the "
         "prior is their mean as they are"),
        ("prior-of-the-first-token", "math.exp(sum(free[label])) for",
         "math.exp(free[label][0]) for", "the prior is that of the word's first token; a word's "
         "probability is that of all its tokens, there as well"),
        ("first-text-only", "in content_free) / len(content_free)", "in content_free[:1])",
         "only the first text without content counts here; take the mean over all of them"),
    ])  # fmt: skip


def precedence_cases(rng):
    def one_of(*values):
        return values[int(rng.integers(len(values)))]

    default = {
        "do_sample": False, "top_k": 50, "top_p": 1.0, "temperature": 1.0, "num_beams": 1,
        "max_length": 20, "max_new_tokens": None, "eos_token_id": None, "early_stopping": False,
    }  # fmt: skip
    own = {
        "do_sample": True, "temperature": one_of(0.6, 0.7), "top_k": None,
        "top_p": one_of(0.9, 0.8), "eos_token_id": 2,
    }  # fmt: skip
    config = {"top_k": one_of(5, 20), "temperature": None, "top_p": 0.95, "max_length": 100}
    return [
        Case({}, None, own, default, label="nothing in the call"),
        Case({"max_new_tokens": one_of(8, 9), "temperature": 0.2}, None, own, default),
        Case({"do_sample": False, "top_k": 0}, None, own, default, label="False and 0 in the call"),
        Case({"top_k": None}, None, own, default, label="None in the call"),
        Case({}, config, own, default, label="a config"),
        Case({"top_p": None, "num_beams": 4}, config, own, default, label="a config and a call"),
        Case({}, {"do_sample": False}, own, default, label="False in a config"),
        Case({"penalty_alpha": 0.6}, {"length_penalty": 0.0, "min_p": None}, own, default,
             label="names that only the call or a config has"),
    ]  # fmt: skip


PRECEDENCE = Task(
    grade_id="precedence", entry="effective_settings", cases=precedence_cases, compare=Exact(),
    watch=("mutated",), misconceptions=[
        ("config-replaces-own", "own, config or {})", "own if config is None else config)",
         "what a config leaves open still comes from the model's own settings"),
        ("config-instead-of-own", "own, config or {})", "own if config is None else config)",
         "dict.fromkeys(names)", "dict(default)",
         "a config takes the place of all of the model's own settings; it beats only what it sets"),
        ("none-overwrites", " if value is not None", "",
         "None in config or own means 'not set': it must not hide the next place's value"),
        ("none-in-call-ignored", "settings | call",
         "settings | {name: value for name, value in call.items() if value is not None}",
         "None in the CALL counts: top_k=None switches the filter off"),
        ("falsy-is-unset", "if value is not None", "if value or place is default",
         "settings | call", "settings | {name: value for name, value in call.items() if value}",
         "0 and False are values: compare with None, don't ask whether they are true"),
        ("own-beats-config", "own, config or {})", "config or {}, own)",
         "a config that is passed to generate beats the model's own"),
        ("default-beats-own", "(default, own, config", "(own, default, config",
         "the library's default is the weakest: the model's own settings beat it"),
        ("known-names-only", "return settings | call",
         "return {name: value for name, value in (settings | call).items() if name in own | "
         "default}",
         "a name that only the call or a config has is missing: every setting that any of "
         "the four names"),
        ("false-is-unset", "if value is not None", "if value",
         "0 and False in one of the dicts were taken for 'not set'; compare with None"),
        ("or-chain", "if value is not None", "if value or place is default",
         "0 and False are skipped by `or` and `if value`: ask `is not None`"),
        ("unset-is-missing", "dict.fromkeys(names)", "{}",
         "a name that nobody sets is missing: it belongs to the result, with None"),
        ("changes-default", "settings = dict.fromkeys(names)",
         "settings = default\n    for name in names:\n        settings.setdefault(name)",
         "the settings are collected in `default` itself, which the next call gets: begin "
         "with a dict of your own"),
    ])  # fmt: skip


def resize_drive(answer, embedding, output, n_tokens):
    """output None: tied. Returns both matrices, and whether they are one object."""
    new, new_output = answer.resize(embedding, embedding if output is None else output, n_tokens)
    return new, new_output, new is new_output


def resize_cases(rng):
    def matrix(n_rows, width):
        return rng.normal(1, 2, (n_rows, width)).round(3)

    same = matrix(4, 3)
    return [
        Case(matrix(6, 3), matrix(6, 3), 8),
        Case(matrix(5, 4), None, 6, label="tied weights"),
        Case(matrix(5, 2), matrix(5, 2), 1, label="fewer tokens"),
        Case(matrix(4, 2), matrix(4, 2), 4, label="as many tokens as before"),
        Case(same, same.copy(), 6, label="two matrices that are equal"),
    ]


RESIZE = Task(
    grade_id="resize", entry="resize", cases=resize_cases, drive=resize_drive, compare=CLOSE,
    watch=("mutated",), misconceptions=[
        ("zero-rows", "matrix.mean(axis=0)", "0 * matrix[0]",
         "new rows of zeros: each should be the mean of the old rows"),
        ("one-number", "matrix.mean(axis=0)", "matrix.mean() + 0 * matrix[0]",
         "the mean of the whole matrix is one number: take it over the rows (axis 0)"),
        ("new-in-front", "[matrix[:n_tokens], np.tile(matrix.mean(axis=0), (n_new, 1))]",
         "[np.tile(matrix.mean(axis=0), (n_new, 1)), matrix[:n_tokens]]",
         "the new rows stand in front: token i must keep row i, they follow behind"),
        ("n-more-rows", "max(n_tokens - len(matrix), 0)", "n_tokens", "matrix[:n_tokens]", "matrix",
         "n_tokens rows were added; it is the number of rows in all"),
        ("never-shrinks", "matrix[:n_tokens]", "matrix",
         "with fewer tokens the last rows go; here they stay"),
        ("whole-numbers", "(n_new, 1))])", "(n_new, 1))]).astype(int)",
         "the result is of whole numbers, so fractions are cut off: keep the dtype of the matrix"),
        ("unties", "new if output is embedding else ", "",
         "tied weights became two arrays: return the same object twice where output is embedding"),
        ("always-ties", " if output is embedding else resized(output)", "",
         "a model with its own output matrix keeps it: tie them only where they were one"),
        ("output-from-embedding",
         "else resized(output)", "else np.vstack([output[:n_tokens], new[len(output) :]])",
         "the output's new rows are the mean of the OUTPUT's old rows"),
        ("first-rows-go", "matrix[:n_tokens]", "matrix[-n_tokens:]",
         "with fewer tokens the LAST rows go; token i keeps row i"),
        ("ties-what-is-equal", "if output is embedding", "if np.array_equal(output, embedding)",
         "two matrices with equal numbers were tied; ask whether they are one object, with `is`"),
        ("divided-by-the-new", "matrix.mean(axis=0)", "matrix.sum(axis=0) / n_tokens",
         "the sum of the old rows is divided by the number of NEW rows: it is their mean"),
    ])  # fmt: skip


def shards_cases(rng):
    def model(*sizes):
        return {f"layers.{i}.weight": int(size) for i, size in enumerate(sizes)}

    return [
        Case(model(*rng.integers(1, 60, size=12)), 100),
        Case(model(*rng.integers(100, 900, size=9) * 1000), "1.5MB", label="a size with a unit"),
        Case(model(30, 40, 150, 20, 90, 5), 100, label="a tensor above the maximum"),
        Case(model(200, 300), 100, label="only tensors above the maximum"),
        Case(model(60, 40, 99), 100, label="exactly the maximum"),
        Case(model(30, 100, 20), 100, label="a tensor of exactly the maximum"),
        Case(model(70, 60, 25, 50), 100, label="a gap in an earlier shard"),
        Case(model(1000, 1, 1000), "1KB", label="between 1000 and 1024"),
        Case(model(*rng.integers(1, 20, size=4)), "2GB", label="everything in one file"),
        Case(model(9 * 10**11, 8 * 10**11, 10**11), "1.5TB", label="a very large model"),
    ]


SHARDS = Task(
    grade_id="shards", entry="shard_index", cases=shards_cases, compare=Exact(), watch=("mutated",),
    misconceptions=[
        ("closes-for-big", "if size > max_shard_size:", "if False:",
         "if sum(", "if open_shard and sum(",
         "a tensor above the maximum gets its own shard while the open one stays open"),
        ("fills-gaps", "        if size > max_shard_size:", "        for shard in done:\n"
         "            if sum(sizes[other] for other in shard) + size <= max_shard_size:\n"
         "                shard.append(name)\n                break\n        else:\n"
         "            done.append([name])\n        continue\n        if size > max_shard_size:",
         "a shard that is closed stays so: don't go back to fill its gap"),
        ("overshoots", "if size > max_shard_size:", "if False:",
         "open_shard) + size > max", "open_shard) >= max",
         "shards hold more than the maximum: ask before the tensor is added, not after"),
        ("binary-units", "1000**power", "1024**power",
         "KB, MB, GB and TB are powers of 1000, not of 1024"),
        ("empty-shard", "[*done, open_shard] if open_shard else done", "[*done, open_shard]",
         "where all tensors are too large, an empty shard is counted at the end: none is open"),
        ("large-not-counted", "sum(sizes.values())",
         "sum(size for size in sizes.values() if size <= max_shard_size)",
         "total_size leaves out what is larger than the maximum: it is the bytes of ALL tensors"),
        ("counts-from-0", "number:05d", "number - 1:05d", "shards are numbered from 1"),
        ("one-is-numbered", ' if len(done) > 1 else ""', "",
         "a single shard is called model.safetensors"),
        ("exactly-does-not-fit", "+ size > max_shard_size", "+ size >= max_shard_size",
         "exactly the maximum fits: close the shard only where it would hold more"),
        ("maximum-by-itself", "if size > max_shard_size:", "if size >= max_shard_size:",
         "a tensor of exactly the maximum is not larger than it: it goes into the open shard "
         "or opens the next one"),
        ("order-of-opening", "    weight_map = {}",
         "    done.sort(key=lambda names: list(sizes).index(names[0]))\n    weight_map = {}",
         "the shards are numbered in the order in which they were opened; it is that in "
         "which they were completed"),
    ])  # fmt: skip

TASKS = [POSTPROCESS, PADDING, LABEL_WORDS, PRECEDENCE, RESIZE, SHARDS]
