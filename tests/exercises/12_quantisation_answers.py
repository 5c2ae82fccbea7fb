# ruff: noqa: F821
"""Answers to exercise 12: other right ones, and wrong ones that are no edit of the solution."""


# %% read-q4-0: right
def read_q4_0(data):
    blocks = torch.tensor(data, dtype=torch.uint8).view(-1, 18)
    d = blocks[:, :2].contiguous().view(torch.float16).double()
    q = torch.cat((blocks[:, 2:] % 16, blocks[:, 2:] // 16), 1).double()
    return (d * (q - 8)).flatten().tolist()


# %% awq: right
def awq_errors(weight, x, alphas, bits):
    found = []
    for alpha in alphas:
        s = torch.tensor([float(column.abs().sum() / len(column)) ** alpha for column in x.T])
        s = s.to(x.dtype)
        rows = []
        for row in weight * s[None]:
            step = row.abs().max() / (2 ** (bits - 1) - 1)
            rows.append(torch.round(row / step) * step / s)
        error = x @ (torch.stack(rows) - weight).T
        found.append((torch.linalg.norm(error) / torch.linalg.norm(x @ weight.T)).item())
    return found


# %% pack: right
def pack(weight, group_size):
    n_rows, row_len = weight.shape
    groups = weight.reshape(n_rows, row_len // group_size, group_size)
    low, high = groups.min(-1, keepdim=True).values, groups.max(-1, keepdim=True).values
    step = torch.where(high == low, torch.ones_like(low), (high - low) / 15)
    q = torch.round((groups - low) / step).clamp(0, 15).reshape(n_rows, -1, 2).to(torch.uint8)
    return q[..., 0] + 16 * q[..., 1], step[..., 0], low[..., 0]


def multiply(x, packed, scale, minimum):
    q = torch.zeros(len(packed), 2 * packed.shape[1], dtype=x.dtype)
    q[:, ::2], q[:, 1::2] = (packed % 16).to(x.dtype), (packed // 16).to(x.dtype)
    size = q.shape[1] // scale.shape[1]
    weight = q * scale.repeat_interleave(size, 1) + minimum.repeat_interleave(size, 1)
    return (weight @ x.T).T
