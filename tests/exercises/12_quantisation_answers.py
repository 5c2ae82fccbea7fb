"""Answers to exercise 12: other right ones, and wrong ones that are no edit of the solution."""


# %% read-q4-0: right
def read_q4_0(data):
    blocks = torch.tensor(data, dtype=torch.uint8).view(-1, 18)
    d = blocks[:, :2].contiguous().view(torch.float16).double()
    q = torch.cat((blocks[:, 2:] % 16, blocks[:, 2:] // 16), 1).double()
    return (d * (q - 8)).flatten().tolist()
