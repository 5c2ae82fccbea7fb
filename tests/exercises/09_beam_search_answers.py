"""Answers to exercise 09: other right ones, and wrong ones that are no edit of the solution."""


# %% follow: right
def plan_copies(rows, parents):
    first = {parent: i for i, parent in reversed(list(enumerate(parents)))}  # its oldest child
    new_rows = [rows[parent] if first[parent] == i else None for i, parent in enumerate(parents)]
    copies = []
    for i, parent in enumerate(parents):
        if new_rows[i] is None:
            new_rows[i] = min(set(rows) - set(new_rows))
            copies += [[rows[parent], new_rows[i]]]
    return new_rows, copies


# %% search: right
def beam_search(next_log_probs, num_beams, max_new_tokens, eos, length_penalty):
    texts, sums, parents, done, n = [[]], [0.0], [0], [], 0
    while texts and n < max_new_tokens:
        n += 1
        rows = next_log_probs(texts, parents)
        best = [(s + p, -i, -t) for i, s in enumerate(sums) for t, p in enumerate(rows[i])]
        going_on = []
        for place, (s, i, t) in enumerate(sorted(best, reverse=True)[: 2 * num_beams]):
            if n < max_new_tokens and -t != eos:
                going_on.append((texts[-i] + [-t], s, -i))
            elif place < num_beams:
                done.append((texts[-i] + [-t], s / n**length_penalty))
        done = sorted(done, key=lambda text: text[1], reverse=True)[:num_beams]
        texts, sums, parents = ([x[j] for x in going_on[:num_beams]] for j in range(3))
        bound = sums and sums[0] / (max_new_tokens if length_penalty > 0 else n) ** length_penalty
        if len(done) == num_beams and (not sums or bound <= done[-1][1]):
            break
    return done
