"""Answers to exercise 14: other right ones, and wrong ones that are no edit of the solution."""


# %% batching: right
def static_batching(lengths, n_slots):
    queue, passes, idle = list(lengths), 0, 0
    while queue:
        batch, queue = queue[:n_slots], queue[n_slots:]
        passes += max(batch)
        idle += n_slots * max(batch) - sum(batch)
    return [passes, idle]


def continuous_batching(lengths, n_slots):
    queue, slots, passes, idle = list(lengths), [0] * n_slots, 0, 0
    while queue or any(slots):
        slots = [left or (queue.pop(0) if queue else 0) for left in slots]
        passes, idle = passes + 1, idle + slots.count(0)
        slots = [max(0, left - 1) for left in slots]
    return passes, idle


# %% plan: right
def plan_pass(running, waiting, token_budget, max_running):
    gets = [int(n == 1) for n in running]
    for i, n in enumerate(running):
        gets[i] = gets[i] or min(n, token_budget - sum(gets))
    new = []
    for n in waiting[: max_running - len(running)]:
        new += [min(n, token_budget - sum(gets) - sum(new))]
    return gets, [n for n in new if n > 0]


# %% pages: right
def write(memory, table, start, rows):
    places = torch.arange(start, start + len(rows))
    blocks = torch.tensor(table)[places // memory.size(1)]
    memory[blocks, places % memory.size(1)] = rows


def read(memory, table, n):
    return torch.cat([memory[block] for block in table])[:n]


def blocks_missing(table, n_cached, n_new, block_size):
    return len(range(len(table) * block_size, n_cached + n_new, block_size))


# %% pool: right
class Pool:
    def __init__(self, n_blocks):
        self.free, self.tables_of = set(range(n_blocks)), {}

    def n_free(self):
        return len(self.free)

    def take(self):
        if not self.free:
            raise MemoryError
        block = self.free.pop()
        self.tables_of[block] = 1
        return block

    def fork(self, table):
        for block in table:
            self.tables_of[block] += 1
        return table[:]

    def leave(self, block):
        self.tables_of[block] -= 1
        if not self.tables_of[block]:
            self.free.add(block)

    def make_own(self, table, i):
        if self.tables_of[table[i]] > 1:
            old, table[i] = table[i], self.take()
            self.leave(old)
            return old, table[i]

    def release(self, table):
        for block in table:
            self.leave(block)
        del table[:]


# %% prefix: right
def remember(index, tokens, table, block_size):
    before = None  # a chain: each block's key has the block in front of it
    for i in range(len(tokens) // block_size):
        index.setdefault((before, *tokens[i * block_size : (i + 1) * block_size]), table[i])
        before = table[i]


def find(index, tokens, block_size):
    found, before = [], None
    for i in range((len(tokens) - 1) // block_size):
        before = index.get((before, *tokens[i * block_size : (i + 1) * block_size]))
        if before is None:
            return found
        found += [before]
    return found


def forget(index, block):
    for key in [key for key in index if index[key] == block]:
        index.pop(key)


# %% report: right
def report(arrived_s, token_s, ttft_limit, gap_limit):
    n = len(arrived_s)
    ttft = [token_s[i][0] - arrived_s[i] for i in range(n)]
    tpot = [(t[-1] - t[0]) / (len(t) - 1) if len(t) > 1 else 0 for t in token_s]
    worst = [max([t[k] - t[k - 1] for k in range(1, len(t))] or [0]) for t in token_s]
    good = [i for i in range(n) if ttft[i] <= ttft_limit and worst[i] <= gap_limit]
    length = max(map(max, token_s)) - sorted(arrived_s)[0]
    mean_time = sum(t[-1] - a for t, a in zip(token_s, arrived_s)) / n  # noqa: B905
    little = n / length * mean_time
    return {"in_system": little, "goodput": len(good) / length, "ttft_s": ttft, "tpot_s": tpot}


# %% serve: right
def serve(forward, requests, max_running, n_blocks, block_size):
    class One:
        def __init__(self, prompt, n_new):
            self.text, self.end, self.table, self.done = [*prompt], len(prompt) + n_new, [], 0

        def grow(self):
            while len(self.table) * block_size < len(self.text):
                if not pool:
                    return False
                self.table.append(pool.pop())
            return True

        def drop(self):
            pool.update(self.table)
            self.table, self.done = [], 0

    everybody, pool, active = [One(*request) for request in requests], set(range(n_blocks)), []
    queue = list(everybody)
    while queue or active:
        k = 0
        while k < len(active):
            if active[k].grow():
                k += 1
            else:
                last = active.pop()
                last.drop()
                queue = [last, *queue]
        while queue and len(active) < max_running:
            if not queue[0].grow():
                queue[0].drop()
                break
            active.append(queue.pop(0))
        scores = forward([(one.text[one.done :], one.table, one.done) for one in active])
        for one, row in zip(active, scores):  # noqa: B905
            one.done = len(one.text)
            one.text.append(int(row.argmax()))
        for one in [one for one in active if len(one.text) == one.end]:
            one.drop()
            active.remove(one)
    return [one.text[len(prompt) :] for one, (prompt, _) in zip(everybody, requests)]  # noqa: B905
