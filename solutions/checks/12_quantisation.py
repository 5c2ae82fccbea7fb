"""Hidden checks of exercise 12: absmax in groups, bytes, Q4_0 blocks, moved scales, packing."""

import struct

from grader.checks import Case, Close, Task, between, normal

CLOSE = Close(rtol=1e-6, atol=1e-9)


def numbers(rng, n, size=1.0):
    return rng.normal(0, size, n).tolist()


GROUPS = Task(
    grade_id="groups", entry="quantise", compare=CLOSE, watch=("mutated",),
    cases=lambda rng: [
        *(Case(numbers(rng, 24), bits, 8) for bits in (8, 4, 3)),
        Case([-abs(x) for x in numbers(rng, 12)], 8, 4, label="only negative numbers"),
        Case([*numbers(rng, 10), 60.0], 8, 4, label="a last group that is shorter"),
        Case([*numbers(rng, 4), 0.0, 0.0, 0.0, 0.0], 4, 4, label="a group of zeros"),
        Case([2.5, -2.5, 0.5, -0.5, 9.0], 4, 4, label="a group whose sum is 0, not of zeros"),
        Case([0.3, -200.0, 90.0, 0.2, 0.1, -0.25], 5, 3, label="an outlier"),
        Case(numbers(rng, 5), 8, 100, label="a group larger than the list"),
        Case([1.0, -0.4, 0.3], 2, 2, label="two bits"),
    ],
    misconceptions=[
        ("one-level-too-many", "(bits - 1) - 1", "(bits - 1)",
         "the largest integer of 8 bits is 127, not 128"),
        ("all-levels", "2 ** (bits - 1) - 1", "2**bits - 1",
         "half of the integers are for negative numbers: the largest is 2^(bits - 1) - 1"),
        ("forgets-sign", "max(abs(x) for x in group)", "max(group)",
         "a negative number may be the largest by its size: take absolute values"),
        ("cuts-off", "round(x / scale)", "int(x / scale)",
         "int() cuts off what is behind the point: round to the nearest integer"),
        ("one-scale", "max(abs(x) for x in group)", "max(abs(x) for x in numbers)",
         "the largest of ALL numbers sets every scale: take the group's own"),
        ("drops-the-rest", "len(numbers), group_size)",
         "len(numbers) - group_size + 1, group_size)",
         "the last group may be shorter than the others, and is left out"),
        ("divides-by-zero", "largest / levels if largest > 0 else 1.0", "largest / levels",
         "a group of zeros has the scale 1.0: nothing can be divided by 0"),
    ])  # fmt: skip


def byte_cases(rng):
    def case(row_len, bits, group_size, minimum, label=""):
        n_rows = between(rng, 2, 90)
        return Case(n_rows, row_len, bits, group_size, minimum, entry="packed_bytes", label=label)

    matrices = [(between(rng, 20, 90), 32 * between(rng, 1, 9)) for _ in range(3)]
    speed = {"entry": "tokens_per_s", "label": "tokens per second"}
    return [
        *(case(64 * between(rng, 1, 9), bits, 32, m) for bits in (4, 8) for m in (False, True)),
        case(100, 4, 32, False, "a last group that is shorter"),
        case(9, 3, 3, False, "groups that end inside a byte"),
        case(37, 3, 64, True, "a row shorter than a group"),
        case(33, 3, 16, False, "a row that ends inside a byte"),
        Case(matrices, 4, 32, True, 1e6, 0.0, **speed),
        Case(matrices, 8, 64, False, 2e5, 0.25, **speed),
        Case([(3, 41)], 3, 16, False, 1e3, 0.01, **speed),
    ]


BYTES = Task(
    grade_id="bytes", entry=("packed_bytes", "tokens_per_s"), cases=byte_cases, compare=CLOSE,
    misconceptions=[
        ("bits-for-bytes", "math.ceil(row_len * bits / 8)", "row_len * bits",
         "these are bits: a byte has 8 of them"),
        ("forgets-scales", " + 2 * numbers * n_groups", "",
         "the scales take bytes, too: 2 for each group of a row"),
        ("free-minimum", "2 if minimum else 1", "1", "a minimum takes 2 bytes for each group"),
        ("a-scale-per-row", "math.ceil(row_len / group_size)", "1",
         "each GROUP of a row has a scale, not each row"),
        ("forgets-short-group", "math.ceil(row_len / group_size)", "row_len // group_size",
         "a last group that is shorter has a scale as well: round up"),
        ("float32-scales", "2 * numbers", "4 * numbers", "a float16 has 2 bytes"),
        ("no-gap", "row = math.ceil(row_len * bits / 8)", "row = row_len * bits / 8",
         "n_rows * row", "math.ceil(n_rows * row)", "EACH row ends on a whole byte"),
        ("ignores-overhead", " + overhead_s", "", "the overhead is added to the time of reading"),
    ])  # fmt: skip


def blocks(rng, n):
    """Bytes of n blocks, as a list of ints, with scales that read backwards are finite, too."""
    data = []
    for _ in range(n):
        scale = struct.pack("<e", float(rng.choice([0.03, -0.0571, 0.131, 0.42, -1.7])))
        data += [*scale, *rng.integers(0, 256, 16).tolist()]
    return data


READ_Q4_0 = Task(
    grade_id="read-q4-0", entry="read_q4_0", compare=CLOSE, watch=("mutated",),
    cases=lambda rng: [
        *(Case(blocks(rng, n)) for n in (1, 2, 5)),
        Case([*struct.pack("<e", 1.0), *range(16)], label="upper halves of 0"),
        Case([0, 0, *[255] * 16], label="a scale of 0"),
        Case([], label="no block"),
    ],
    misconceptions=[
        ("neighbours", "[byte & 15 for byte in block[2:]] + [byte >> 4 for byte in block[2:]]",
         "[n for byte in block[2:] for n in (byte & 15, byte >> 4)]",
         "weights 0 and 1 are not in the same byte: byte i has the weights i and i + 16"),
        ("upper-first", "[byte & 15 for byte in block[2:]] + [byte >> 4 for byte in block[2:]]",
         "[byte >> 4 for byte in block[2:]] + [byte & 15 for byte in block[2:]]",
         "the lower halves are the weights 0 to 15, and come first"),
        ("no-offset", "(n - 8)", "n", "q runs from 0 to 15, and 8 stands for 0: subtract 8"),
        ("twos-complement", "(n - 8)", "(n - 16 if n > 7 else n)",
         "q is not a signed number: 8 stands for 0, so the weight is d * (q - 8)"),
        ("seven-levels", "(n - 8)", "(n - 7)", "8 stands for 0, not 7"),
        ("big-endian", '"<e"', '">e"', "the two bytes of the scale are in the other order: "
         "little-endian"),
        ("first-block-only", "range(0, len(data), 18)", "range(0, len(data[:18]), 18)",
         "there may be several blocks of 18 bytes"),
        ("first-scale", "block[:2])", "bytes(data[:2]))", "each block has a scale of its own"),
    ])  # fmt: skip


def awq_cases(rng):
    def case(n, k, bits, alphas, label="", outlier=30.0):
        weight, x = normal(rng, n, k).double(), normal(rng, 40, k).double()
        x[:, between(rng, 0, k)] *= outlier
        return Case(weight, x, alphas, bits, label=label)

    return [
        case(12, 20, 4, [0.0, 0.5]),
        case(16, 16, 3, [0.25, 0.75, 1.0], "a square matrix"),
        case(30, 24, 8, [0.5], "eight bits"),
        case(10, 24, 4, [1.0, 0.0], "even inputs", outlier=1.0),
        case(8, 12, 4, [], "no alpha"),
    ]


AWQ = Task(
    grade_id="awq", entry="awq_errors", cases=awq_cases, compare=CLOSE, watch=("mutated",),
    misconceptions=[
        ("not-undone", "(x / s) @", "x @",
         "the scales are not undone: divide the inputs by s, so that the output stays"),
        ("errors-of-weights", "(output - exact).norm() / exact.norm()",
         "(rounded / s - weight).norm() / weight.norm()",
         "this is the error of the weights; compare the OUTPUTS"),
        ("forgets-sizes", "x.abs().mean(0)", "x.mean(0)",
         "positive and negative inputs cancel: take absolute values before the mean"),
        ("largest-input", "x.abs().mean(0)", "x.abs().amax(0)",
         "this is the largest size of an input; take the mean"),
        ("one-scale", "grown.abs().amax(1, keepdim=True)", "grown.abs().amax()",
         "each row has a scale of its own"),
        ("scales-of-columns", "amax(1, keepdim=True)", "amax(0, keepdim=True)",
         "these are scales of columns; a scale belongs to a row, an output"),
        ("early-scale", "grown.abs().amax(1", "weight.abs().amax(1",
         "the scales of the rows must be those of the matrix that is rounded, weight * s"),
        ("absolute", " / exact.norm()", "", "divide by the norm of x @ weight.T"),
    ])  # fmt: skip


def drive(answer, kind, weight, group_size, x):
    """What a packed matrix holds, and what comes out of its product."""
    if kind == "pack":
        return [part.tolist() for part in answer.pack(weight, group_size)]
    return answer.multiply(x, *answer.pack(weight, group_size))


def pack_cases(rng):
    def case(kind, n, k, group_size, label="", flat=False):
        weight, x = normal(rng, n, k), normal(rng, 3, k)
        weight[:, ::7] *= 6
        if flat:
            weight[0] = 1.5
        return Case(kind, weight, group_size, x, label=label)

    return [
        case("pack", 3, 32, 8),
        case("pack", 5, 48, 16),
        case("pack", 2, 16, 16, "one group per row"),
        case("pack", 3, 24, 8, "equal numbers", flat=True),
        *(case("multiply", 7, 64, g, "the product") for g in (32, 4, 64)),
        case("multiply", 1, 32, 8, "a single output"),
        case("multiply", 4, 32, 8, "the product of equal numbers", flat=True),
    ]


PACK = Task(
    grade_id="pack", entry=("pack", "multiply"), drive=drive, cases=pack_cases,
    compare=Close(rtol=1e-4, atol=1e-4), watch=("mutated",),
    misconceptions=[
        ("sixteen-steps", "/ 15", "/ 16", "4 bits have 16 levels, and so 15 steps between them"),
        ("upper-first", "q[:, ::2] | q[:, 1::2] << 4", "q[:, 1::2] | q[:, ::2] << 4",
         "(packed & 15, packed >> 4)", "(packed >> 4, packed & 15)",
         "weight 2i is in the LOWER half of byte i"),
        ("halves", "q[:, ::2] | q[:, 1::2] << 4",
         "q[:, : q.shape[1] // 2] | q[:, q.shape[1] // 2 :] << 4",
         "torch.stack((packed & 15, packed >> 4), -1).flatten(1)",
         "torch.cat((packed & 15, packed >> 4), 1)",
         "neighbours share a byte: 2i and 2i + 1, and not the two halves of a row"),
        ("cuts-off", ".round()", "", "the integers are cut off: round to the nearest"),
        ("zero-scale", "    scale[scale == 0] = 1.0\n", "",
         "a group of equal numbers has the scale 1.0: nothing can be divided by 0"),
        ("forgets-minimum", " + minimum[..., None]", "", "a weight is scale * q + minimum"),
        ("other-order", "torch.stack((packed & 15, packed >> 4), -1)",
         "torch.stack((packed >> 4, packed & 15), -1)",
         "multiply unpacks in another order than pack packs: the lower half is the first weight"),
        ("absmax", "minimum, highest = groups.aminmax(dim=-1)",
         "highest = groups.abs().amax(-1)\n    minimum = -highest",
         "this is the range of absmax, from -largest to largest: take minimum and maximum"),
    ])  # fmt: skip

TASKS = [GROUPS, BYTES, READ_Q4_0, AWQ, PACK]
