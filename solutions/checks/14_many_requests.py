"""Hidden checks of exercise 14: batches, a plan, tables, readers, prefixes, times, a scheduler."""

import torch

from grader.checks import Case, Close, Task, between, normal

QUEUES = (
    (11, 3, "a last batch that is not full"), (14, 4, "four slots"), (9, 2, "two slots"),
    (8, 4, "full batches"), (5, 1, "a single slot"), (2, 5, "fewer requests than slots"),
    (4, 4, "one batch"), (0, 3, "an empty queue"),
)  # fmt: skip
QUEUE_ORDER = "keep the order of the queue: nobody knows the lengths beforehand"
USED = "subtract the slots that write a token: idle = passes * n_slots - sum(lengths)"
BATCHES = "[lengths[i : i + n_slots] for i in range(0, len(lengths), n_slots)]"
BATCHING = Task(
    grade_id="batching", entry=("static_batching", "continuous_batching"),
    cases=lambda rng: [
        Case(rng.integers(1, 30, n).tolist(), n_slots, entry=entry, label=label)
        for n, n_slots, label in QUEUES for entry in ("static_batching", "continuous_batching")],
    misconceptions=[
        ("max(batch)", {
         "batch[0]": "static: a batch lasts as long as its LONGEST request, not its first",
         "batch[-1]": "static: a batch lasts as long as its longest request, not its last",
         "-(-sum(batch) // len(batch))": "static: a batch lasts as long as its longest request, "
         "not the mean"}),
        (BATCHES, {
         "[lengths[i : i + n_slots] for i in range(0, len(lengths) - n_slots + 1, n_slots)]":
         "static: the last batch counts though it is not full",
         "[lengths[i::n_slots] for i in range(n_slots) if lengths[i::n_slots]]":
         "static: a batch is n_slots NEIGHBOURS in the queue",
         "[lengths] if lengths else []": "static: one batch after another; this is one for all"}),
        ("n_passes * n_slots - sum(lengths)",
         "sum(max(batch) * len(batch) for batch in batches) - sum(lengths)",
         "static: slots of the last batch that never had a request are idle, too"),
        ("n_passes * n_slots - sum(lengths)", "n_passes * n_slots",
         "return passes, passes * n_slots - sum(lengths)", "return passes, passes * n_slots", USED),
        (BATCHES, BATCHES.replace("[lengths[", "[sorted(lengths)["),
         "for length in lengths", "for length in sorted(lengths)", QUEUE_ORDER),
        ("for length in lengths", {
         "for length in sorted(lengths, reverse=True)": "continuous: longest first packs better, "
         "but nobody may overtake",
         "for length in [n + (i >= n_slots) for i, n in enumerate(lengths)]":
         "continuous: the next request writes in the very next pass, with no pass in between"}),
        ("busy_until.index(min(busy_until))", {
         "(busy_until[:] + [0]).index(0) % n_slots": "continuous: the slot that is free FIRST "
         "takes the next request",
         "lengths.index(length) % n_slots": "continuous: not dealt out in turn; the first free "
         "slot takes the next"}),
        ("passes = max(busy_until)", {
         "passes = -(-sum(lengths) // n_slots)": "continuous: at the end slots run empty; this is "
         "perfect packing",
         "passes = max(lengths, default=0)": "continuous: a slot has several requests in turn, not "
         "only the longest",
         "passes = min(busy_until)": "continuous: it ends when the LAST slot has ended"}),
        ("return passes, passes * n_slots - sum(lengths)",
         "return passes, sum(passes - t for t in busy_until if t)",
         "continuous: a slot that never had a request is idle, too"),
    ])  # fmt: skip

ORDER = "sorted(range(len(running)), key=lambda i: running[i] > 1)"
PLAN = Task(
    grade_id="plan", entry="plan_pass",
    cases=lambda rng: [
        *(Case([1 if rng.random() < 0.5 else between(rng, 3, 30) for _ in range(n)],
               rng.integers(2, 20, 3).tolist(), budget, most, label="requests of both kinds")
          for n, budget, most in ((5, 30, 7), (6, 24, 9), (4, 60, 6), (7, 20, 8), (3, 90, 4))),
        Case([14, 1, 6, 1], [5, 4], 18, 9, label="two prompts, the longer one first"),
        Case([5, 1, 13], [4], 16, 9, label="two prompts, the shorter one first"),
        Case([1, 1, 1, 1], [7, 2], 4, 4, label="those who decode take the whole budget"),
        Case([6, 1], [3, 4], 10, 5, label="the budget is just used up"),
        Case([], [9, 3, 8, 2], 14, 4, label="nobody runs yet"),
        Case([], [12, 3, 2], 40, 2, label="few may run"),
        Case([1, 8], [], 30, 4, label="nobody waits"),
        Case([2, 1], [1, 6, 1], 30, 5, label="prompts of a single token"),
        Case([1, 1, 25], [3, 3], 9, 8, label="nothing is left for those who wait"),
    ],
    misconceptions=[
        (ORDER, {
         "range(len(running))": "those who decode come first, wherever they are in the list",
         "sorted(range(len(running)), key=lambda i: running[i])": "prompts keep their order: the "
         "shortest was put first",
         "sorted(range(len(running)), key=lambda i: (running[i] > 1, -running[i]))":
         "prompts keep their order: the longest was put first",
         "sorted(range(len(running)), key=lambda i: running[i] == 1)": "prompts came before those "
         "who decode: turn it round"}),
        ("min(running[i], left)", {
         "running[i]": "more than token_budget tokens: a running prompt is cut",
         "min(running[i], token_budget)": "the budget is for all together: count down what is left",
         "running[i] * (running[i] <= left)": "a running prompt that does not fit is computed in "
         "pieces",
         "min(running[i], left if running[i] == 1 else left // sum(n > 1 for n in running))":
         "prompts don't share what is left: each in turn takes all it can"}),
        ("min(n_left, left)", "n_left", "a newcomer's prompt is cut to what is left of the budget"),
        ("left == 0 or ", {
         "left < n_left or ": "a newcomer's prompt may begin with a piece",
         "": "admitted with 0 tokens: one needs at least one token of this pass"}),
        ("len(running) + len(admitted) == max_running", {
         "len(admitted) == max_running": "max_running counts those that run already, too",
         "False": "max_running is ignored",
         "len(running) + len(admitted) == max_running - 1": "one more may run: up to max_running",
         "max(running, default=0) > 1": "newcomers may begin while others are in their prompts",
         "len(admitted) == 1": "only one was admitted: go on while there is budget"}),
        ("in waiting", "in sorted(waiting)", "nobody overtakes: take those who wait from the front"),
        ("return planned", "return [n for n in planned if n]",
         "a request that gets nothing has a 0 in the list"),
        ("left -= planned[i]", "left -= planned[i] * (running[i] > 1)",
         "tokens of those who decode count in the budget, too"),
        ("left -= admitted[-1]", "pass", "what newcomers get counts in the budget, too"),
    ])  # fmt: skip


def use_pages(answer, what, *args):
    if what == "missing":
        return answer.blocks_missing(*args)
    if what == "read":
        return answer.read(*args)
    memory, table, writes = args
    memory = memory.clone()
    for start, rows in writes:
        answer.write(memory, table, start, rows)
    return memory


def pages_cases(rng):
    def writing(table, lengths, size, label):
        starts = [sum(lengths[:i]) for i in range(len(lengths))]
        writes = [(start, normal(rng, n, 3)) for start, n in zip(starts, lengths, strict=True)]
        return Case("write", torch.zeros(9, size, 3).double(), table, writes, label=f"write {label}")

    return [
        writing([7, 2, 5], [9, 1, 1], 4, "a prompt and two tokens"),
        writing([1, 8], [3, 4, 2], 5, "pieces that cross a block's end"),
        writing([6, 0, 3, 4], [2] * 6, 3, "two at a time"),
        writing([4], [1], 2, "a single token"),
        Case("read", normal(rng, 6, 4, 5), [5, 0, 3], 11, label="read a part of a block"),
        Case("read", normal(rng, 7, 3, 2), [6, 2], 6, label="read full blocks"),
        Case("read", normal(rng, 5, 4, 2), [3, 4, 1], 2, label="read less than the table has"),
        *(Case("missing", [2] * n, past, new, size, label="missing blocks") for n, past, new, size in
          ((2, 13, 3, 8), (2, 13, 4, 8), (0, 0, 33, 8), (4, 9, 2, 4), (1, 4, 9, 4), (3, 45, 30, 16),
           (0, 0, 16, 16), (5, 20, 1, 4), (2, 5, 1, 3), (3, 9, 8, 3))),
    ]  # fmt: skip


PAGES = Task(
    grade_id="pages", entry=("write", "read", "blocks_missing"), drive=use_pages, compare=Close(),
    cases=pages_cases, misconceptions=[
        ("enumerate(rows, start)", {
         "enumerate(rows)": "write: new positions begin at `start`",
         "enumerate(rows, start + 1)": "write: the first row is position start, not start + 1"}),
        ("table[position // size]", {
         "position // size": "write: the table says which block it is",
         "table[start // size]": "write: rows that cross a block's end go on in the NEXT block",
         "table[position % len(table)]": "write: a block is filled before the next one begins",
         "sorted(table)[position // size]": "write: the table's order is the text's order"}),
        ("position % size", "(position - start) % size",
         "write: go on behind the rows that the block has already"),
        ("memory[table].flatten(0, 1)", {
         "memory[: len(table)].flatten(0, 1)": "read: the table says which blocks they are",
         "memory[sorted(table)].flatten(0, 1)": "read: in the order of the table",
         "memory[table].transpose(0, 1).flatten(0, 1)": "read: one block after another"}),
        ("[:n]", {"": "read: only the first n positions; the rest of the block is no text",
                  "[-n:]": "read: the FIRST n positions"}),
        ("max(0, n_blocks - len(table))", {
         "n_blocks - len(table)": "blocks_missing: 0, not less, where the table has enough",
         "n_blocks": "blocks_missing: subtract the blocks that the table has already"}),
        ("-(-(n_cached + n_new) // block_size)", {
         "-(-n_cached // block_size) - (-n_new // block_size)": "blocks_missing: round up the SUM: "
         "the last block may have room",
         "(n_cached + n_new) // block_size": "blocks_missing: a block that is begun counts: round "
         "up",
         "(n_cached + n_new) // block_size + 1": "blocks_missing: a block that is just full needs "
         "no other"}),
        ("(n_cached + n_new)", "n_new", "blocks_missing: positions that are cached need blocks, too"),
    ])  # fmt: skip


def use_pool(answer, n_blocks, ops):
    """What an observer sees, without block numbers: free blocks, and the contents of all texts."""
    pool, tables, memory, seen = answer.Pool(n_blocks), [], {}, []
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
                i = i % len(table)
                pair = pool.make_own(table, i)
                if pair is not None:
                    old, new = pair
                    note = "copied" if new == table[i] != old else "not the table's new block"
                    memory[new] = memory.get(old)
                memory[table[i]] = (stamp, -1)
            elif what == "release":
                pool.release(table)
                note = "empty" if not table else "not empty"
                tables = [other for other in tables if other is not table]
        except MemoryError:
            note = "full"
        if any(not 0 <= block < n_blocks for table in tables for block in table):
            raise ValueError("there are blocks 0 to n_blocks - 1 only")
        seen.append([note, pool.n_free(), [[memory.get(b) for b in table] for table in tables]])
    return seen


def pool_cases(rng):
    kinds = ["new", "fork", "fork", "write", "write", "write", "release"]
    random = [
        Case(n_blocks, [("new", 0, 3)] + [
            (str(rng.choice(kinds)), between(rng, 0, 9), between(rng, 0, 4)) for _ in range(n)
        ], label=f"texts that come, fork, write and end, {room}")
        for n_blocks, n, room in ((40, 30, "much room"), (9, 30, "little room"), (6, 25, "very little"))
    ]  # fmt: skip
    three = [("new", 0, 2), ("fork", 0, 0), ("fork", 0, 0)]
    return [
        *random,
        Case(4, [*three, ("release", 0, 0), ("write", 0, 1), ("write", 1, 1), ("release", 0, 0),
                 ("release", 0, 0), ("new", 0, 4)], label="the first text ends before its forks"),
        Case(3, [*three, ("write", 0, 0), ("write", 1, 0), ("write", 2, 0), ("release", 1, 0),
                 ("write", 0, 0), ("write", 1, 1)], label="no block is free for a copy"),
        Case(5, [("new", 0, 0), ("fork", 0, 0), ("release", 0, 0), ("new", 0, 5), ("new", 0, 1)],
             label="a table without blocks, and a full pool"),
    ]  # fmt: skip


POOL = Task(
    grade_id="pool", entry="Pool", drive=use_pool, cases=pool_cases, misconceptions=[
        ("self.readers[block] += 1", {
         "pass": "fork: nobody counts the second table, so the first release frees its blocks",
         "self.readers[block] = 2": "fork: three tables may have a block: count, no yes or no"}),
        ("return list(table)", {
         "return table": "fork: the same list under two names: make_own then changes both",
         "return [self.take() for _ in table]": "fork takes no new blocks, it shares them"}),
        ("        if self.readers[old] == 1:\n            return None\n", "",
         "make_own: a block that no other table has needs no copy"),
        ("self.readers[old] == 1", {
         "True": "make_own: a shared block must get a copy before anybody writes into it",
         "self.readers[old] <= 2": "make_own: two readers are shared already: copy"}),
        ("self.readers[old] -= 1", {
         "pass": "make_own: this table has left the old block: count down, or it leaks",
         "self.readers[old] = 0": "make_own: others may still read the old block: count down by one"}),
        ("table[i] = self.take()\n        self.readers[old] -= 1",
         "self.readers[old] -= 1\n        table[i] = self.take()",
         "make_own: where no block is free, nothing may change: take first, then count down"),
        ("table[i] = self.take()", "new = self.take()", "return old, table[i]", "return old, new",
         "make_own: the new block takes the old one's place in the table"),
        ("return old, table[i]", "return table[i], old", "make_own: (old block, new block)"),
        ("self.readers[block] -= 1", {
         "self.readers[block] = 0": "release: other tables may still have the block: count down",
         "self.readers[block] -= self.readers[block] == 1": "release: a shared block is counted "
         "down, too, or it leaks",
         "pass": "release: the blocks are never free again: count down"}),
        ("while table:\n            block = table.pop()", "for block in table:",
         "release: the table must be empty afterwards"),
        ("while table:", "if table:", "release: ALL blocks of the table, not only one"),
        ("self.readers[block] = 1", "pass", "take: the block is not free any more"),
        ('raise MemoryError("no block is free")', "return None",
         "take: raise MemoryError where no block is free"),
    ])  # fmt: skip


def use_prefix(answer, block_size, texts, asked, forgotten):
    index, found = {}, []
    for tokens, table in texts:
        answer.remember(index, tokens, table, block_size)
        found.append([answer.find(index, text, block_size) for text in asked])
    for block in forgotten:
        answer.forget(index, block)
        found.append([answer.find(index, text, block_size) for text in asked])
    return found


def prefix_cases(rng):
    def case(size, n_blocks, rest, label):
        a, b = (rng.integers(0, 50, n_blocks * size + rest).tolist() for _ in "ab")
        b[size : 2 * size] = a[size : 2 * size]  # alike, behind another beginning
        c = a[: 2 * size] + b[2 * size :]
        blocks = rng.permutation(3 * n_blocks + 3).tolist()
        blocks.remove(0)
        first, other = [0, *blocks[:n_blocks]], blocks[n_blocks : 2 * n_blocks + 1]
        third = first[:2] + blocks[2 * n_blocks + 1 :]
        asked = [text[:n] for text in (a, b, c) for n in (size - 1, size, size + 1, 2 * size, len(a))]
        asked += [[*a, 7], [*b, 7, 7], sorted(a), b[size:], [9, *a]]
        forgotten = [first[1], 99, other[0], first[0]]
        return Case(size, [(a, first), (b, other), (c, third)], asked, forgotten, label=label)

    return [case(4, 3, 2, "three texts"), case(3, 4, 0, "texts of full blocks"),
            case(5, 2, 1, "one token behind full blocks"), case(1, 4, 0, "blocks of one token")]  # fmt: skip


KEY, ENDS = "[tuple(tokens[: (i + 1) * block_size])]", "range(block_size, len(tokens), block_size)"
PREFIX = Task(
    grade_id="prefix", entry=("remember", "find", "forget"), drive=use_prefix, cases=prefix_cases,
    misconceptions=[
        (KEY, "[tuple(tokens[i * block_size : (i + 1) * block_size])]", "tuple(tokens[:end])",
         "tuple(tokens[end - block_size : end])",
         "the key is one block's tokens: equal tokens behind another beginning have other keys "
         "and values"),
        (KEY, "[tuple(sorted(tokens[: (i + 1) * block_size]))]", "tuple(tokens[:end])",
         "tuple(sorted(tokens[:end]))", "the order of the tokens counts"),
        ("len(tokens) // block_size)", {
         "-(-len(tokens) // block_size))": "remember: a block that is not full was noted",
         "len(tokens) // block_size)[-1:]": "remember: shorter beginnings are wanted, too: all full "
         "blocks",
         "(len(tokens) - 1) // block_size)": "remember: the text's last block counts if it is full"}),
        (ENDS, {
         "range(block_size, len(tokens) + 1, block_size)": "find: the last token is computed "
         "always: not its block",
         "range(block_size, len(tokens) - 1, block_size)": "find: one token behind the blocks is "
         "enough",
         "range(block_size, len(tokens) - block_size, block_size)": "find: the last full block was "
         "left out"}),
        ("if block is None", "if not block", "find: block 0 is a block, too: `is None`"),
        ("break", "continue", "find: blocks behind a gap can't be used"),
        ("found.append(block)", "found = [block]", "find: all blocks, not only the last one"),
        ("        del index[text]", "        pass", "forget: a block with other content was found"),
        ("for text in [text for text, known in index.items() if known == block]:\n        del "
         "index[text]", "index.clear()", "forget: only this block; the others are still there"),
        ("known == block]", "known >= block]", "forget: only this block, whatever the numbers"),
    ])  # fmt: skip


def report_cases(rng):
    def eighths(low, high, n):
        return (rng.integers(low, high, n) / 8).tolist()

    def case(lengths, ttft, gap, label):
        arrived = [3.0 + x for x in eighths(0, 60, len(lengths))]
        token_s = []
        for start, n in zip(arrived, lengths, strict=True):
            waits = eighths(1, 24, n)
            token_s.append([start + sum(waits[: i + 1]) for i in range(n)])
        return Case(arrived, token_s, ttft, gap, label=label)

    return [
        *(case([6, 3, 8, 2, 4, 5, 3], t, g, "limits in the middle") for t, g in ((2, 2), (1.5, 2.5))),
        case([1, 4, 1, 2], 1.0, 2.75, "requests of one token"),
        case([5, 2, 3], 9.0, 9.0, "all are good"),
        case([2, 9, 3], 0.0, 0.0, "none is good"),
        Case([2.0, 1.0, 4.0], [[3.0, 5.0], [2.0, 3.0, 5.0], [4.5, 9.0]], 1.0, 2.0,
             label="exactly at the limits"),
        Case([1.0, 3.0], [[2.0, 3.0, 12.0], [3.5, 4.0]], 2.0, 5.0, label="the first one ends last"),
    ]  # fmt: skip


REPORT = Task(
    grade_id="report", entry="report", compare=Close(rtol=1e-9), cases=report_cases,
    misconceptions=[
        ("times[0] - arrived for", {
         "times[0] for": "ttft_s: from the request's own arrival",
         "times[0] - min(arrived_s) for": "ttft_s: from the request's OWN arrival, not the first",
         "times[-1] - arrived for": "ttft_s: the first token, not the last"}),
        ("sum(own) / max(len(own), 1) for own in gaps", {
         "sum(own) / (len(own) + 1) for own in gaps": "tpot_s: n tokens have n - 1 waits between",
         "max(own, default=0) for own in gaps": "tpot_s: the mean wait, not the longest",
         "(times[-1] - arrived) / len(times) for arrived, times in pairs":
         "tpot_s: without the first token, whose time is the TTFT"}),
        ("all(gap <= gap_limit for gap in own)", {
         "sum(own) <= gap_limit * len(own)": "goodput: EVERY wait, not their mean",
         "all(gap < gap_limit for gap in own)": "goodput: a wait just at the limit is kept",
         "True": "goodput: the limit on waits is missing"}),
        ("ttft <= ttft_limit and", {
         "ttft <= ttft_limit or": "goodput: BOTH limits",
         "ttft < ttft_limit and": "goodput: a TTFT just at the limit is kept",
         "": "goodput: the limit on TTFT is missing"}),
        ("n_good / seconds", {
         "n_good / len(token_s)": "goodput: per second; this is a share of the requests",
         "n_good": "goodput: per second; this is a number of requests"}),
        ("- min(arrived_s)\n", "\n", "the run begins with the first arrival, not at 0"),
        ("- min(arrived_s)\n", "- arrived_s[0]\n", "the FIRST arrival: the list has any order"),
        ("max(times[-1] for times in token_s)", "token_s[-1][-1]",
         "the last token of ALL requests ends the run"),
        ("for arrived, times in pairs) / seconds", {
         "for arrived, times in pairs) / len(pairs)": "in_system: this is the mean time in it; "
         "times the rate of arrivals",
         "for arrived, times in pairs)": "in_system: divide by the seconds of the run"}),
        ("sum(times[-1] - arrived for", "sum(times[-1] - times[0] for",
         "in_system: from the arrival on, waiting counts"),
    ])  # fmt: skip


def use_serve(answer, seed, requests, max_running, n_blocks, size):
    """Texts, passes and tokens of a model whose cache is the blocks: it reads through the tables."""
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

    texts = answer.serve(forward, requests, max_running, n_blocks, size)
    return {"texts": [list(map(int, text)) for text in texts], "passes": len(passes),
            "tokens": sum(map(sum, passes)), "widest": max(map(len, passes))}  # fmt: skip


def serve_cases(rng):
    def case(n, most, n_blocks, size, label):
        requests = [(rng.integers(1, 50, between(rng, 1, 12)).tolist(), between(rng, 1, 14))
                    for _ in range(n)]  # fmt: skip
        return Case(between(rng, 1, 99), requests, most, n_blocks, size, label=label)

    return [
        case(7, 3, 60, 4, "much memory"),
        case(6, 1, 30, 3, "one at a time"),
        case(4, 9, 60, 5, "all at once"),
        case(8, 4, 9, 4, "little memory"),
        case(9, 5, 8, 3, "very little memory"),
        case(7, 7, 13, 2, "small blocks"),
        case(6, 6, 25, 1, "blocks of one position"),
        Case(5, [([4], 9), ([8, 8], 1), ([7] * 9, 3)], 3, 4, 3, label="a prompt that must wait"),
    ]


STOP = "waiting.insert(0, running[-1])\n                leave(running[-1])"
SERVE = Task(
    grade_id="serve", entry="serve", drive=use_serve, cases=serve_cases, misconceptions=[
        ("while waiting and len(running)", {
         "batch = not running\n        while batch and waiting and len(running)":
         "static batching: admit before every pass, not only when all have ended",
         "if waiting and len(running)": "only one was admitted per pass: go on while there is room"}),
        ("(texts[i][cached[i] :], tables[i], cached[i])", "(texts[i], tables[i], 0)",
         "right tokens, but every pass computes whole texts: only what is not cached"),
        ("len(running) < max_running and ", "", "more than max_running run at once"),
        ("len(texts[i]), block_size)", "len(requests[i][0]) + requests[i][1] - 1, block_size)",
         "blocks for the longest length were reserved: take them when they are needed"),
        (STOP, {
         STOP.replace("running[-1]", "running[0]"): "the request that began LAST is stopped",
         STOP.replace("insert(0, running[-1])", "append(running[-1])"): "a stopped request waits in "
         "FRONT of the others",
         STOP.replace("leave", "texts[running[-1]] = list(requests[running[-1]][0])\n"
         "                leave"): "a stopped request keeps its text: it was begun anew"}),
        ("tables[i], cached[i] = [], 0", "tables[i] = []",
         "a stopped request forgets its cache: its n_cached must be 0 again"),
        ("free.extend(tables[i])", "pass", "blocks of those who end are never free again"),
        ("        while waiting and len", "        waiting.sort(key=missing)\n"
         "        while waiting and len", "nobody overtakes: take those who wait from the front"),
        ("== len(requests[i][0]) + requests[i][1]", "== len(requests[i][0]) + requests[i][1] + 1",
         "one token too many"),
        ("text[len(prompt) :]", "text", "return the new tokens, without the prompts"),
        ("for text, (prompt, _) in zip(texts, requests, strict=True)",
         "for text, (prompt, _) in sorted(zip(texts, requests), key=lambda x: len(x[0]))",
         "in the order of the requests"),
    ])  # fmt: skip

TASKS = [BATCHING, PLAN, PAGES, POOL, PREFIX, REPORT, SERVE]
