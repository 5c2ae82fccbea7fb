"""Answers to exercise 14: other right ones, and wrong ones that are no edit of the solution."""


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
        while not all(one.grow() for one in active):
            queue.insert(0, active.pop())
            queue[0].drop()
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
