"""Hidden checks of exercise 14: batches, a plan, tables, readers, prefixes, times, a scheduler."""

from grader.checks import Case, Close, Task, between, normal

BATCHES = "[lengths[i : i + n_slots] for i in range(0, len(lengths), n_slots)]"
BATCHING = Task(
    grade_id="batching", entry=("static_batching", "continuous_batching"),
    cases=lambda rng: [
        Case(rng.integers(1, top, n).tolist(), n_slots, entry=entry, label=f"{entry}: {label}")
        for n, n_slots, top, label in (
            (5, 1, 30, "one slot: one after another"), (0, 3, 30, "an empty queue: 0 and 0"),
            (2, 5, 30, "more slots than requests: slots that never had one are idle"),
            (8, 4, 30, "in the queue's order, unsorted; the last one started need not end last"),
            (11, 3, 30, "the first FREE slot takes the next request, in the queue's order"),
            (14, 4, 3, "if several slots are free at once, EACH takes a request: while, not if"))
        for entry in ("static_batching", "continuous_batching")],
    misconceptions=[
        ("max(batch)", {"batch[0]": "", "-(-sum(batch) // len(batch))": "static: a batch lasts as "
         "long as its longest request, not the mean"}),
        (BATCHES, {BATCHES.replace("len(lengths)", "len(lengths) - n_slots + 1"),
                   "[lengths] if lengths else []"}),
        (BATCHES, BATCHES.replace("[lengths[", "[sorted(lengths)["), "for length in lengths",
         "for length in sorted(lengths)", "keep the queue's order: lengths are not known"),
        ("n_passes * n_slots - sum(lengths)",
         {"sum(max(batch) * len(batch) for batch in batches) - sum(lengths)"}),
        ("for length in lengths", {
         "for length in sorted(lengths, reverse=True)": "", "for length in [n + (i >= n_slots) for "
         "i, n in enumerate(lengths)]": "continuous: the next request writes in the next pass"}),
        ("for length in lengths:\n        first = busy_until.index(min(busy_until))",
         {"for first, length in zip([*range(n_slots)] * len(lengths), lengths):"}),
        ("max(busy_until)", {"-(-sum(lengths) // n_slots)": "",
         "busy_until[first] if lengths else 0": "", "max(lengths, default=0)":
         "continuous: a slot has several requests in turn", "min(busy_until)": "continuous: the "
         "LAST slot counts"}), ("return passes, passes * n_slots - sum(lengths)",
         {"return passes, sum(passes - t for t in busy_until if t)"}),
    ])  # fmt: skip

ORDER = "sorted(range(len(running)), key=lambda i: running[i] > 1)"
PLAN = Task(
    grade_id="plan", entry="plan_pass",
    cases=lambda rng: [
        Case([1, 1, 1, 1], [7, 2], 4, 4, label="all decode: one token each"),
        Case([6, 1], [3, 4], 10, 5, label="the budget is just used up: admit nobody more"),
        Case([6, 1], [4, 3], 8, 5, label="exactly one token is left: one is enough to be admitted"),
        Case([], [9, 3, 8, 2], 14, 4, label="nobody runs yet: from the front, the last in a piece"),
        Case([], [12, 3, 2], 40, 2, label="max_running bounds those that run and the admitted"),
        Case([2, 1], [1, 6, 1], 8, 5, label="those who wait: from the front, a 1 like the others"),
        Case([1, 9, 2], [3, 3], 9, 8, label="a prompt of two tokens is no 1; nothing is left"),
        Case([14, 1, 6, 1], [5, 4], 18, 9, label="prompts in their order: each takes all it can"),
        Case([9, 9, 9], [5], 14, 9, label="equal numbers of tokens: go by places, not by values"),
        Case([5, 1, 13], [4], 16, 9, label="the shorter prompt first: each in turn, all it can"),
        *(Case([1 if rng.random() < 0.5 else between(rng, 3, 30) for _ in range(n)],
               rng.integers(2, 20, 3).tolist(), budget, most, label="first those who decode, then "
               "the prompts in turn, then those who wait, each as much as it can")
          for n, budget, most in ((5, 30, 7), (6, 24, 9), (4, 60, 6), (7, 20, 8), (3, 90, 4))),
    ],
    misconceptions=[(ORDER, {
         "range(len(running))": "", "sorted(range(len(running)), key=lambda i: running[i])": "",
         "sorted(range(len(running)), key=lambda i: (running[i] > 1, -running[i]))": "prompts keep "
         "their order: the longest was put first"}), ("min(running[i], left)", {
         "running[i]": "", "min(running[i], token_budget)": "",
         "running[i] * (running[i] <= left)": "",
         "min(running[i], left if running[i] == 1 else left // sum(n > 1 for n in running))":
         "prompts don't share what is left: each in turn takes all it can"}),
        ("    for n_left in", {"    left = token_budget - running.count(1)\n    for n_left in"}),
        ("min(n_left, left)", "n_left", "a newcomer's prompt is cut to what is left of the budget"),
        ("left == 0 or ", {"": "", "left < n_left or ": "a newcomer may begin with a piece",
         "left <= 1 or ": "one token of the budget is enough to be admitted"}),
        ("len(running) + len(admitted) == max_running", {
         "len(admitted) == max_running": "", "False": "max_running is ignored",
         "max(running, default=0) > 1": "", "len(admitted) == 1": ""}),
        ("in waiting", "in sorted(waiting)", "nobody overtakes: admit from the front"),
        ("return planned", {"return [n for n in planned if n]"}),
        ("left -= admitted[-1]", "pass", "what newcomers get counts in the budget, too"),
    ])  # fmt: skip


def use_pages(answer, memory, rows, table, pieces):
    written, start, missing, before = memory.clone(), 0, [], list(table)
    for n in pieces:
        answer.write(written, table, start, rows[start : start + n])
        missing.append(answer.blocks_missing(table[: 1 + n % 2], start, n, memory.shape[1]))
        start += n
    read = answer.read(memory, table, start)
    if table != before:
        raise ValueError("write or read changes the table that it gets: leave it as it is")
    return {"write": written, "read": read, "blocks_missing": missing}


PAGES = Task(
    grade_id="pages", entry=("write", "read", "blocks_missing"), drive=use_pages, compare=Close(),
    cases=lambda rng: [Case(normal(rng, 9, size, 3), normal(rng, 20, 3), table, pieces, label=label)
                       for size, table, pieces, label in (
        (8, [4, 0], [1], "one token, and blocks to spare"), (3, [6, 2], [3, 3], "full blocks: read "
         "needs no further one"),
        (5, [1, 6, 3], [3, 4, 4], "rows that cross a block's end: then the table's next block"),
        (3, [6, 0, 3, 4], [2] * 6, "two at a time, from `start` on; a full last block has no room"),
        (16, [5, 3, 8], [18], "rows of two blocks"), (4, [6, 2, 5], [9, 1, 1], "rows that reach "
         "into a third block: go to the next one as often as needed"))],
    misconceptions=[("enumerate(rows, start)", {"enumerate(rows)"}), ("table[position // size]", {
         "position // size": "", "table[position % len(table)]": "",
         "table[start // size + (position - start) // size]": "",
         "table[start // size]": "write: rows that cross a block's end continue in the NEXT one"}),
        ("position % size", {"(position - start) % size"}), ("memory[table].flatten(0, 1)", {
         "memory[: len(table)].flatten(0, 1)": "read: the table says which blocks they are",
         "memory[sorted(table)].flatten(0, 1)": "",
         "memory[table].transpose(0, 1).flatten(0, 1)": "read: one block after another"}),
        ("[:n]", {"": "", "[-n:]": ""}),
        ("max(0, n_blocks - len(table))", {"n_blocks - len(table)": "",
         "n_blocks": "blocks_missing: subtract the blocks that the table has already"}),
        ("-(-(n_cached + n_new) // block_size)", {
         "-(-n_cached // block_size) - (-n_new // block_size)": "blocks_missing: round up the "
         "SUM", "(n_cached + n_new) // block_size": "blocks_missing: a block that is begun counts",
         "(n_cached + n_new) // block_size + 1": ""}),
    ])  # fmt: skip


def use_pool(answer, n_blocks, ops):
    """What an observer sees, without block numbers: free blocks, and the contents of all texts."""
    pool, tables, memory, seen = answer.Pool(n_blocks), [], {}, []
    n_free, _ = pool.n_free(), answer.Pool(2).take()
    if pool.n_free() != n_free:
        raise ValueError("two pools share an account: make it in __init__, as self.something")
    for stamp, (what, t, i) in enumerate(ops):
        table, note = tables[t % len(tables)] if tables else [], ""
        try:
            if what == "new":
                tables.append([])
                for n in range(i):
                    tables[-1].append(pool.take())
                    memory[tables[-1][-1]] = (stamp, n)
            elif what == "fork":
                tables.append(pool.fork(table))
            elif what == "write" and table:
                pair = pool.make_own(table, i % len(table))
                if pair is not None:
                    note = "copied" if pair[1] == table[i % len(table)] != pair[0] else "not so"
                    memory[pair[1]] = memory.get(pair[0])
                memory[table[i % len(table)]] = (stamp, -1)
            elif what == "release":
                pool.release(table)
                note, tables = str(table), [other for other in tables if other is not table]
        except MemoryError:
            note = "full"
            if what == "new" and pool.n_free():
                raise ValueError("take gives no block, though a released one is free") from None
            if what == "write" and sum(table[i % len(table)] in each for each in tables) == 1:
                raise ValueError("make_own: this block is not shared, so none is needed") from None
        if any(not 0 <= block < n_blocks for table in tables for block in table):
            raise ValueError("there are blocks 0 to n_blocks - 1 only")
        seen.append([note, pool.n_free(), [[memory.get(b) for b in table] for table in tables]])
    return seen


def pool_cases(rng):
    kinds, three = ["fork", "new", "write", "release"], [("new", 0, 2), *[("fork", 0, 0)] * 2]
    return [
        Case(2, [("new", 0, 2), ("write", 0, 1), ("fork", 0, 0), ("release", 1, 0)],
             label="a full pool: a fork, or a write into what is not shared, takes no block"),
        Case(4, [*three, ("release", 0, 0), ("write", 0, 1), ("write", 1, 1), ("release", 0, 0),
                 ("release", 0, 0), ("new", 0, 4)], label="the first text ends: shared "
             "blocks stay, and the copy, which has one reader, is free in the end"),
        Case(3, [*three, *(("write", t, 0) for t in range(3)), ("release", 1, 0), ("write", 0, 0),
                 ("write", 1, 1)], label="no block is free for a copy"),
        Case(5, [("new", 0, 0), ("fork", 0, 0), ("release", 0, 0), ("new", 0, 5), ("new", 0, 1)],
             label="a table without blocks, and a full pool"),
        *(Case(n_blocks, [("new", 0, 3), *((kinds[i * j % 7 % 4], i, j)
          for i, j in rng.integers(0, 7, (30, 2)).tolist())], label=label)
          for n_blocks, label in ((40, "much room: each text keeps its own contents"), (9, "little "
              "room: released blocks are given again"), (6, "very little room: often none is free "
              "for a copy; then nothing changes"))),
    ]  # fmt: skip


POOL = Task(
    grade_id="pool", entry="Pool", drive=use_pool, cases=pool_cases, misconceptions=[
        ("self.readers[block] += 1", {"pass": "", "self.readers[block] = 2": "fork: a third table "
         "may have a block, too: count them"}),
        ("return list(table)", {"return table", "return [self.take() for _ in table]"}),
        ("        if self.readers[old] == 1:\n            return None\n", {""}),
        ("self.readers[old] == 1", {"True": "", "self.readers[old] <= 2": ""}),
        ("self.readers[old] -= 1", {
         "pass": "make_own: this table has left the old block: count down, or it leaks",
         "self.readers[old] = 0": "make_own: others may still read the old block: only one less"}),
        ("table[i] = self.take()\n        self.readers[old] -= 1",
         {"self.readers[old] -= 1\n        table[i] = self.take()"}),
        ("table[i] = self.take()", "self.new = self.take()", "return old, table[i]",
         {"return old, self.new"}), ("return old, table[i]", {"return table[i], old"}),
        ("self.readers[block] -= 1", {"self.readers[block] = 0": "",
         "self.readers[block] -= self.readers[block] == 1": "release: shared blocks count, too"}),
        ("while table:\n            block = table.pop()", {"for block in table:"}),
        ('raise MemoryError("no block is free")', "return None", "take: MemoryError, and not None"),
    ])  # fmt: skip


def use_prefix(answer, block_size, texts, asked, forgotten):
    index, found = {}, []
    for tokens, table in texts:
        answer.remember(index, tokens, table, block_size)
        found.append([answer.find(index, text, block_size) for text in asked])
    for block in forgotten:
        answer.forget(index, block)
        found.append([answer.find(index, text, block_size) for text in asked])
    answer.remember(index, asked[-1], forgotten[2:], block_size)
    answer.remember(index, texts[1 % len(texts)][0][:block_size], [77], block_size)
    return [*found, [answer.find(index, text, block_size) for text in asked]]


def prefix_cases(rng):
    def case(size, n_blocks, rest, label):
        a, b = (rng.integers(0, 50, n_blocks * size + rest).tolist() for _ in "ab")
        b[size : 2 * size] = a[size : 2 * size]  # alike, behind another beginning
        c, d = a[: 2 * size] + b[2 * size :], [*a[:size], *[54] * size, *a[2 * size :]]
        blocks = [0, *rng.permutation(range(1, 3 * n_blocks + 3)).tolist()]
        first, other = blocks[: n_blocks + 1], blocks[n_blocks + 1 : 2 * n_blocks + 2]
        third = first[:2] + blocks[2 * n_blocks + 2 :]
        tables = first, other, third, [first[0], *range(200, 200 + n_blocks)]
        asked = [text[:n] for text in (a, b, c) for n in (size - 1, size, size + 1, 2 * size, 99)]
        asked += [[*a, 7], [*b, 7, 7], [*a[:size][::-1], *a[size:]], b[size:], [9, *a]]
        asked += [[51] * size + b[size:], [51] * size + [53] * size]
        forgotten = [first[1], 99, other[0], first[0]]
        return Case(size, [*zip((a, b, c, d), tables, strict=True)], asked, forgotten, label=label)

    return [
        *(case(*sizes, f"{label}: ALL tokens of the text up to a block's end are its key, and "
               "not the number of the block in front") for *sizes, label in (
          (4, 3, 2, "a block that is not full"), (3, 4, 0, "full blocks"),
          (5, 2, 1, "a token behind full blocks"), (1, 4, 0, "blocks of 1"))),
        Case(2, [([1, 12, 3, 4], [0, 4])], [[11, 2, 9], [1, 12, 3, 4, 5], [1, 1, 2], [7, 8]],
             [9, 0, 6], label="1, 12 and 11, 2 are different tokens: no key of joined digits"),
    ]  # fmt: skip


KEY = "[tuple(tokens[: (i + 1) * block_size])]"
PREFIX = Task(
    grade_id="prefix", entry=("remember", "find", "forget"), drive=use_prefix, cases=prefix_cases,
    misconceptions=[(KEY, KEY.replace(":", "i * block_size :"), "tuple(tokens[:end])",
         {"tuple(tokens[end - block_size : end])"}),
        (KEY, "[tuple(sorted(tokens[: (i + 1) * block_size]))]", "tuple(tokens[:end])",
         {"tuple(sorted(tokens[:end]))"}),
        (KEY, KEY.replace(":", "max(0, i - 1) * block_size :"), "tuple(tokens[:end])",
         "tuple(tokens[max(0, end - 2 * block_size) : end])",
         "the block in front is not enough: ALL tokens from the first one on belong to the key"),
        ("len(tokens) // block_size)", {
         "len(tokens) // block_size)[-1:]": "remember: all full blocks: a text may be shorter",
         "(len(tokens) - 1) // block_size)": "remember: the last block counts, too, if full"}),
        ("range(block_size, len(tokens), block_size)", {
         "range(block_size, len(tokens) + 1, block_size)": "",
         "range(block_size, len(tokens) - 1, block_size)": "find: one token behind is enough"}),
        ("if block is None", {"if not block"}), ("break", {"continue"}),
        ("found.append(block)", {"found = [block]"}),
        ("if known == block", "if block in [index.get(text[:n]) for n in range(len(text) + 1)]",
         "forget: only this block: those behind it are right once its text is remembered anew"),
        ("        del index[text]", "        pass", "forget: a block with other content was found"),
        ("for text in [text for text, known in index.items() if known == block]:\n        del "
         "index[text]", "index.clear()", "forget: only this block; the others are still there"),
    ])  # fmt: skip


def report_cases(rng):
    def case(lengths, ttft, gap, label):
        arrived, token_s = (3 + rng.integers(0, 60, len(lengths)) / 8).tolist(), []
        for start, n in zip(arrived, lengths, strict=True):
            token_s.append((start + rng.integers(1, 24, n).cumsum() / 8).tolist())
        return Case(arrived, token_s, ttft, gap, label=label)

    return [
        case([5, 2, 3], 9.0, 9.0, "all are good; two tokens: TPOT is the one wait between them"),
        case([1, 4, 1, 2], 1.0, 2.75, "requests of one token: tpot_s is 0, and there is no gap"),
        Case([2.0, 1.0, 4.0, 4.0], [[3.0, 5.0], [1.5, 3.5], [4.5, 9.0], [4.25, 6.25]], 1.0, 2.0,
             label="exactly at the limits is kept; the wait for the SECOND token counts, too"),
        Case([1.0, 2.0], [[4.0, 4.5, 5.0], [2.5, 3.5]], 3.0, 1.0, label="a TTFT above gap_limit: "
             "it is no wait for a further token"),
        Case([1.0, 3.0], [[2.0, 3.0, 12.0], [3.5, 4.0]], 2.0, 5.0, label="the first one ends last: "
             "the run goes to the last token of all"),
        *(case([6, 3, 8, 2, 4, 5, 3], t, g, "limits in the middle: each request has to keep BOTH, "
               "and the second one in every wait") for t, g in ((2, 2), (1.5, 2))),
    ]  # fmt: skip


REPORT = Task(
    grade_id="report", compare=Close(rtol=1e-9), cases=report_cases,
    misconceptions=[
        ("times[0] - arrived for", {"times[0] for": "", "times[0] - min(arrived_s) for": "ttft_s: "
         "from the request's OWN arrival, not the first"}),
        ("sum(own) / max(len(own), 1) for own in gaps", {
         "sum(own) / (len(own) + 1) for own in gaps": "",
         "max(own, default=0) for own in gaps": "tpot_s: the mean wait, not the longest",
         "(times[-1] - arrived) / len(times) for arrived, times in pairs": ""}),
        ("all(gap <= gap_limit for gap in own)", {
         "sum(own) <= gap_limit * len(own)": "", "all(gap < gap_limit for gap in own)": "",
         "all(gap <= gap_limit for gap in [ttft, *own])": "goodput: the wait for the FIRST token "
         "is the TTFT; gap_limit is about further tokens only"}),
        ("ttft <= ttft_limit and", {"ttft <= ttft_limit or": "goodput: BOTH limits",
         "ttft < ttft_limit and": "goodput: a TTFT exactly at the limit is kept"}),
        ("n_good / seconds", {"n_good / len(token_s)"}), ("max(times[-1] for times in token_s)",
         {"max(token_s)[-1]"}), ("    return", "    rate = n_good / seconds\n    return",
         "for arrived, times in pairs) / seconds",
         {"for arrived, times in pairs) / len(pairs) * rate"}),
        ("- min(arrived_s)\n", {"\n": "the run begins with the first arrival, not at 0",
         "- arrived_s[0]\n": "the FIRST arrival: the list has any order"}),
        ("max(times[-1] for times in token_s)", "token_s[-1][-1]",
         "the last token of ALL requests ends the run"),
        ("for arrived, times in pairs) / seconds", {
         "for arrived, times in pairs) / len(pairs)": "in_system: this is the mean time in it; "
         "times the rate of arrivals"}),
        ("sum(times[-1] - arrived", "sum(times[-1] - times[0]", "in_system: from ARRIVAL on"),
    ])  # fmt: skip


def use_serve(answer, seed, requests, max_running, n_blocks, size):
    """Texts, passes and tokens of a model that reads its blocks through the tables."""
    import torch

    memory, passes = {}, []

    def forward(rows):
        blocks = [int(block) for _, table, _ in rows for block in table]
        if not rows or len(passes) > 400:
            raise RuntimeError("a pass without rows, or far too many passes")
        if len(set(blocks)) < len(blocks) or not set(blocks) <= set(range(n_blocks)):
            raise ValueError("a block of two requests, or one that there is not")
        passes.append([len(ids) for ids, _, _ in rows])
        logits = torch.zeros(len(rows), 50)
        for row, (ids, table, past) in enumerate(rows):
            slots = [(int(table[i // size]), i % size) for i in range(past + len(ids))]
            memory.update(zip(slots[past:], map(int, ids), strict=True))
            seen = [memory.get(slot, 0) for slot in slots]
            logits[row, sum((i + 3) * (x + seed) for i, x in enumerate(seen)) % 50] = 1.0
        return logits

    before = [(list(prompt), n_new) for prompt, n_new in requests]
    texts = answer.serve(forward, requests, max_running, n_blocks, size)
    if before != [(list(prompt), n_new) for prompt, n_new in requests]:
        raise ValueError("serve changes the requests that it gets: work on copies")
    return {"texts": [list(map(int, text)) for text in texts], "passes": len(passes),
            "tokens": sum(map(sum, passes)), "widest": max(map(len, passes))}  # fmt: skip


def serve_cases(rng):
    def case(n, most, n_blocks, size, label):
        requests = [(rng.integers(1, 50, between(rng, 1, 12)).tolist(), between(rng, 1, 14))
                    for _ in range(n)]  # fmt: skip
        return Case(between(rng, 1, 99), requests, most, n_blocks, size, label=label)

    return [
        case(6, 1, 30, 3, "one at a time"),
        case(4, 9, 60, 5, "all at once: no more passes than the longest has new tokens"),
        case(7, 3, 60, 4, "much memory: admit before every pass, up to max_running"),
        Case(2, [([4, 6], 3), ([5], 4), ([4, 6], 5), ([4, 6], 3)], 2, 9, 2, label="equal prompts, "
             "two equal requests: each has its own result, so go by places, not by values"),
        Case(5, [([4], 9), ([8, 8], 1), ([7] * 9, 3), ([6], 2)], 3, 4, 3, label="a prompt that "
             "must wait until blocks for ALL tokens it has are free: nobody overtakes it"),
        Case(4, [([4, 6, 2], 2), ([5, 1], 4), ([8], 3)], 3, 6, 1, label="two are stopped before "
             "one pass: the youngest, and then the older, which so waits in FRONT of it"),
        case(6, 6, 25, 1, "blocks of one position: stop who was admitted LAST, whoever lacks one"),
        *(case(*sizes, f"{label}: stop as many as you must, always the one admitted last")
          for *sizes, label in ((8, 4, 9, 4, "little memory"), (9, 5, 8, 3, "very little memory"),
          (7, 7, 13, 2, "small blocks"))),
    ]  # fmt: skip


STOP = "waiting.insert(0, running[-1])\n                leave(running[-1])"
SERVE = Task(
    grade_id="serve", drive=use_serve, cases=serve_cases, misconceptions=[
        ("while waiting and len(running)", {
         "batch = not running\n        while batch and waiting and len(running)": "static "
         "batching: admit before every pass, not only when all have ended",
         "if waiting and len(running)": "only one was admitted: admit more while there is room"}),
        ("(texts[i][cached[i] :], tables[i], cached[i])", {"(texts[i], tables[i], 0)"}),
        ("len(running) < max_running and ", {""}),
        ("len(texts[i]), block_size)", "len(requests[i][0]) + requests[i][1] - 1, block_size)",
         "blocks for the longest length were reserved: take them when they are needed"), (STOP, {
         STOP.replace("running[-1]", "i"): "",
         STOP.replace("running[-1]", "running[0]"): "the request that began LAST is stopped",
         STOP.replace("insert(0, running[-1])", "append(running[-1])"): "a stopped request waits "
         "in FRONT of the others",
         STOP.replace("leave", "texts[running[-1]] = list(requests[running[-1]][0])\n"
         "                leave"): "a stopped request keeps its text: it was begun anew"}),
        ("        for i in list(running):\n", "        at = len(waiting)\n        for i in list("
         "running):\n", "waiting.insert(0,", "waiting.insert(len(waiting) - at,",
         "of several that are stopped before one pass the OLDEST waits in front"),
        ("tables[i], cached[i] = [], 0", "tables[i] = []",
         "a stopped request forgets its cache: its n_cached must be 0 again"),
        ("        while waiting and len", "        waiting.sort(key=missing)\n"
         "        while waiting and len", "nobody overtakes: take those who wait from the front"),
        ("+ requests[i][1]:", {"+ requests[i][1] + 1:"}),
        ("text[len(prompt) :]", "text", "return the new tokens, without the prompts"),
    ])  # fmt: skip
