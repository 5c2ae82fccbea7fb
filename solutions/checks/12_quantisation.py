"""Hidden checks of exercise 12: absmax in groups, bytes, Q4_0 blocks, moved scales, packing."""

import struct

from grader.checks import Case, Close, Task, between, normal

CLOSE = Close(rtol=1e-6, atol=1e-9)
WITH_INTS = Close(rtol=1e-6, atol=1e-9, exact=True)


def numbers(rng, n, size=1.0):
    return rng.normal(0, size, n).tolist()


def use_quantise(answer, *given):
    integers, scales = answer.quantise(*given)
    return {"integers": integers, "scales": [float(scale) for scale in scales]}


GROUPS = Task(
    grade_id="groups", entry="quantise", compare=WITH_INTS, drive=use_quantise, cases=lambda rng: [
        Case([abs(x) for x in numbers(rng, 8)], 8, 4, label="positive numbers: round to ints"),
        Case([-abs(x) for x in numbers(rng, 12)], 8, 4, label="only negative numbers: the largest "
             "by its SIZE decides"),
        Case([0.3, -200.0, 90.0, 0.2, 0.1, -0.25], 5, 3, label="the largest number is negative"),
        Case([*numbers(rng, 10), 60.0], 8, 4, label="a last group that is shorter"),
        Case(numbers(rng, 5), 8, 100, label="a group larger than the list"),
        Case([1.0, -0.4, 0.3], 2, 2, label="two bits: the largest integer is 1"),
        Case([*numbers(rng, 4), *[0.0] * 4, 0.5], 4, 4, label="zeros behind another group: their "
             "scale is 1.0, and no other group's"),
        Case([2.5, -2.5, 0.5, -0.5, 9.0], 4, 4, label="a group whose sum is 0, not of zeros"),
        Case([1e-9, -3e-13, 2e-30, 1e-31], 4, 2, label="very small numbers, which are not 0"),
        Case([7.0, 2.5, -3.5, 0.5], 4, 4, label="halves go to the EVEN neighbour, as in `round`"),
        *(Case(numbers(rng, 24), bits, 8, label="several groups: each has its own scale, numbers "
               "of both signs are rounded to the nearest") for bits in (8, 4, 3)),
    ], misconceptions=[
        ("2 ** (bits - 1) - 1", {"2 ** (bits - 1)": "", "2**bits - 1": "half of the integers are "
         "for negative numbers: the largest is 2^(bits - 1) - 1"}),
        ("max(abs(x) for x in group)", {"max(group)", "max(abs(x) for x in numbers)"}),
        ("if largest > 0 else 1.0", {"if largest > 0 else (scales or [1.0])[-1]": "a group of "
         "zeros has the scale 1.0 and not that of the group before it",
         "": "a group of zeros has the scale 1.0: nothing can be divided by 0"}),
        ("round(x / scale)", {"int(x / scale)": "", "round(x / scale, 0)": "",
         "math.floor(x / scale + 0.5)": "halves go to the even neighbour, 2.5 to 2: use round",
         "int(x / scale + 0.5)": "int() cuts towards 0, so + 0.5 rounds negative numbers up: "
         "round"}), ("len(numbers), group_size)", {"len(numbers) - group_size + 1, group_size)"}),
        ("largest > 0", "largest > 1e-6", "small numbers are taken for zeros: compare with 0"),
    ])  # fmt: skip


def byte_cases(rng):
    def case(row_len, bits, group_size, minimum, label=""):
        n_rows = between(rng, 2, 90)
        return Case(n_rows, row_len, bits, group_size, minimum, entry="packed_bytes", label=label)

    matrices = [(between(rng, 20, 90), 32 * between(rng, 1, 9)) for _ in range(3)] * 2
    return [
        *(case(64 * between(rng, 1, 9), bits, 32, m, f"full groups, {'with' if m else 'no'} "
               "minimums: an int of bytes") for bits in (4, 8) for m in (False, True)),
        case(100, 4, 32, False, "a last group that is shorter has a whole scale"),
        case(37, 3, 64, True, "a row shorter than a group has a scale and a minimum"),
        case(1281, 4, 256, False, "many groups of 256, and one number more"),
        case(9, 3, 3, False, "groups that end inside a byte: no gap between groups"),
        *(case(n, 3, 16, False, "a row that ends inside a byte, of an odd or an even length: round "
               "the bits of EACH row up to bytes") for n in (33, 34)),
        *(Case(*given, entry="tokens_per_s", label=f"tokens per second: {label}") for label, given
          in (("each ROW ends its groups, bytes", ([(3, 41), (5, 9)], 3, 16, False, 1e3, 0.0)),
              ("ALL matrices, also equal ones", (matrices, 4, 32, True, 1e6, 0.0)),
              ("one overhead in SECONDS, besides reading", (matrices, 8, 64, False, 2e5, 0.25)))),
    ]  # fmt: skip


BYTES = Task(
    grade_id="bytes", entry=("packed_bytes", "tokens_per_s"), compare=WITH_INTS,
    cases=byte_cases, misconceptions=[("math.ceil(row_len * bits / 8)", {
         "row_len * bits": "these are bits: a byte has 8 of them", "float(-(-row_len * bits // 8))":
         "the bytes are a float: make them an int, with math.ceil",
         "row_len * bits // 8 + row_len % 2": "even rows may end inside a byte, too: round bits"}),
        ("matrices)", "set(matrices))", "matrices of equal shape are read, too: add up all"),
        ("sum(packed_bytes(rows, row_len, *shape) for rows, row_len in matrices)",
         {"packed_bytes(1, sum(rows * row_len for rows, row_len in matrices), *shape)"}),
        (" + 2 * numbers * n_groups", {""}), ("2 if minimum else 1", {"1"}),
        ("math.ceil(row_len / group_size)", {"1": "each GROUP of a row has a scale, not each row",
         "row_len // group_size": "a last group that is shorter has a scale as well: round up",
         "int(row_len / group_size + 0.99)": "+ 0.99 does not always round up: use math.ceil"}),
        ("2 * numbers", "4 * numbers", "a float16 has 2 bytes"),
        ("row = math.ceil(row_len * bits / 8)", "row = row_len * bits / 8", "n_rows * row",
         "math.ceil(n_rows * row)", "EACH row ends on a whole byte"),
        ("shape = bits, group_size, minimum", "shape = bits, group_size, False",
         "tokens_per_s leaves the minimums out: pass minimum on"),
        (" + overhead_s", "", "the overhead is added to the time of reading"),
    ])  # fmt: skip


def blocks(rng, n):
    """Bytes of n blocks, as a list of ints, with scales that read backwards are finite, too."""
    data = []
    for d in rng.choice([0.03, -0.0571, 0.131, 0.42, -1.7], n):
        data += [*struct.pack("<e", d), *rng.integers(0, 256, 16).tolist()]
    return data


READ_Q4_0 = Task(
    grade_id="read-q4-0", compare=CLOSE, cases=lambda rng: [
        Case([47, 48, *blocks(rng, 1)[2:]], label="one block: lower halves, then upper; d (q - 8)"),
        Case([*struct.pack("<e", 1.0), *range(16)], label="upper halves of 0: their weight is -8d"),
        *(Case([*struct.pack("<e", d), *range(100, 116)], label=f"a scale {label}") for d, label in
          ((0.0, "of 0: let struct read it"), (-0.75, "below 0: a float16 has a sign"), (6e-6, "so "
           "small that its float16 is subnormal: let struct read it"))),
        Case([], label="no block: an empty list"),
        *(Case(blocks(rng, n), label="several blocks: each has its own scale, and all its 32 "
               "weights come before the next block's") for n in (2, 5)),
    ], misconceptions=[("[byte & 15 for byte in block[2:]] + [byte >> 4 for byte in block[2:]]",
         {"[n for byte in block[2:] for n in (byte & 15, byte >> 4)]",
         "[byte >> 4 for byte in block[2:]] + [byte & 15 for byte in block[2:]]"}),
        ("(n - 8)", {"n": "", "(n - 7)": "8 means 0, not 7",
         "(n - 16 if n > 7 else n)": "q is not a signed number: 8 means 0"}),
        ('"<e"', '">e"', "the two bytes of the scale are in the other order: little-endian"),
        ("range(0, len(data), 18)", {"range(0, len(data[:18]), 18)"}),
        ("block[:2])", {"bytes(data[:2]))": "the second block has its own scale"}),
    ])  # fmt: skip


def awq_cases(rng):
    def case(n, k, bits, alphas, label="", outlier=30.0):
        weight, x = normal(rng, n, k).double(), normal(rng, 40, k).double()
        x[:, between(rng, 0, k)] *= outlier
        return Case(weight, x, alphas, bits, label=label)

    return [
        case(12, 20, 4, [0.0], "alpha 0: plain rounding, a scale per row, ONE norm of all outputs"),
        case(8, 12, 4, [], "no alpha: an empty list"),
        case(30, 24, 8, [0.0], "eight bits: the largest integer is 2^(bits - 1) - 1"),
        case(9, 20, 4, [0.5], "alpha 0.5: s is the mean of ABSOLUTE values, to that power"),
        case(10, 24, 4, [1.0, 0.0], "begin each alpha with the given weight and x", outlier=1.0),
        case(16, 16, 3, [0.25, 0.75, 1.0], "a square matrix: s belongs to columns, scales to rows"),
    ]  # fmt: skip


AWQ = Task(
    grade_id="awq", entry="awq_errors", cases=awq_cases, compare=CLOSE, misconceptions=[
        ("(x / s) @", {"x @"}), (" / exact.norm()", "", "divide by the norm of x @ weight.T"),
        ("(output - exact).norm() / exact.norm()", "(rounded / s - weight).norm() / weight.norm()",
         "this is the error of the weights; compare the OUTPUTS"),
        ("x.abs().mean(0)", {"x.mean(0)": "", "x.abs().amax(0)": "take the MEAN size of an input",
         "x.pow(2).mean(0).sqrt()": "take the mean of absolute values, not the root mean square"}),
        ("amax(1, keepdim=True)", {"amax()": "each row has its own scale",
         "amax(0, keepdim=True)": "these are scales of columns; a scale belongs to a row"}),
        ("grown.abs().amax(1", "weight.abs().amax(1",
         "the scales of the rows must be those of the matrix that is rounded, weight * s"),
        ("2 ** (bits - 1) - 1", "7", "7 is the largest integer of 4 bits only"),
    ])  # fmt: skip


def drive(answer, kind, weight, group_size, x):
    """What a packed matrix holds, and what comes out of its product."""
    before = weight.clone()
    parts = answer.pack(weight, group_size)
    if not before.equal(weight):
        raise ValueError("pack changes the weights that it gets: work on a copy")
    held = [part.clone() for part in parts]
    if kind == "pack":
        return dict(zip(("packed", "scale", "minimum"), (p.tolist() for p in held), strict=True))
    product = answer.multiply(x, *parts)
    if not all(part.equal(old) for part, old in zip(parts, held, strict=True)):
        raise ValueError("multiply changes the packed matrix that it gets: work on a copy")
    return product


def pack_cases(rng):
    def case(kind, n, k, group_size, label="", flat=False, size=1):
        weight, x = normal(rng, n, k, scale=size), normal(rng, 3, k)
        weight[:, ::7] *= 6
        weight[: int(flat)] = 1.5
        return Case(kind, weight, group_size, x, label=label)

    return [
        case("pack", 2, 16, 16, "pack, a scale for EACH row; q: (weight - min) / scale, rounded"),
        *(case("pack", n, k, g, "pack, several groups in a row: neighbours share scale and byte")
          for n, k, g in ((3, 32, 8), (5, 48, 16))),
        case("pack", 3, 24, 8, "pack, a group of equal numbers: the scale is 1.0", flat=True),
        case("pack", 2, 16, 8, "pack, very small numbers, which are not equal", size=1e-25),
        case("multiply", 1, 32, 32, "multiply, one group: a lower half, an upper half, and so on"),
        *(case("multiply", 7, 64, g, "multiply, several rows and groups: each has its own scale")
          for g in (32, 4, 64)),
        case("multiply", 4, 32, 8, "multiply, a group of equal numbers", flat=True),
    ]  # fmt: skip


PACK = Task(
    grade_id="pack", entry=("pack", "multiply"), drive=drive, cases=pack_cases,
    compare=Close(rtol=1e-4, atol=1e-4), misconceptions=[
        ("q.view(*scale.shape, -1) * scale[..., None] + minimum[..., None]", {
         "q * scale.repeat(1, len(q[0]) // len(scale[0])) + minimum.repeat(1, len(q[0]) // "
         "len(minimum[0]))"}), ("/ 15", {"/ 16"}), ("    scale[scale == 0] = 1.0\n", {""}),
        ("q[:, ::2] | q[:, 1::2] << 4", "q[:, 1::2] | q[:, ::2] << 4", "(packed & 15, packed >> 4)",
         {"(packed >> 4, packed & 15)"}),
        ("q[:, ::2] | q[:, 1::2] << 4", "q[:, : q.shape[1] // 2] | q[:, q.shape[1] // 2 :] << 4",
         "torch.stack((packed & 15, packed >> 4), -1).flatten(1)",
         "torch.cat((packed & 15, packed >> 4), 1)",
         "neighbours share a byte: 2i and 2i + 1, and not the two halves of a row"),
        (".round()", "", "the integers are cut off: round to the nearest"),
        ("scale == 0", "scale < 0.001", "small numbers are taken for equal ones: compare with 0"),
        (" + minimum[..., None]", "", "a weight is scale * q + minimum"),
        ("torch.stack((packed & 15, packed >> 4), -1)",
         "torch.stack((packed >> 4, packed & 15), -1)",
         "multiply unpacks in another order than pack packs: the lower half is the first weight"),
        ("torch.stack((packed & 15, packed >> 4), -1).flatten(1)",
         "torch.cat((packed & 15, packed >> 4), 1)", "multiply puts all lower halves in front of "
         "all upper ones: weights 2i and 2i + 1 are neighbours, so stack them on a new last axis"),
        ("minimum, highest = groups.aminmax(dim=-1)",
         "highest = groups.abs().amax(-1)\n    minimum = -highest",
         "this is the range of absmax, from -largest to largest: take minimum and maximum"),
    ])  # fmt: skip
