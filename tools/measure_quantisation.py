"""Measures what QuantisationView shows: the real model's matrices, rounded in every way that the
widget offers, and the perplexity of ``sample_text()`` with them.

    python tools/measure_quantisation.py    # some minutes

It writes lecture_lib/widgets/quantised.json.
"""

import json
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lecture_lib.loading import load_model  # noqa: E402
from lecture_lib.quantisation import (  # noqa: E402
    dequantise,
    in_groups,
    quantise_absmax,
    quantise_zero_point,
)
from lecture_lib.scoring import sample_text, score_text  # noqa: E402

OUTPUT = ROOT / "lecture_lib" / "widgets" / "quantised.json"
BITS, GROUPS = (3, 4, 5, 6, 8), (32, 64, 0)  # 0: a whole row
METHODS = {"absmax": quantise_absmax, "zero point": quantise_zero_point}


def rounded(weight: torch.Tensor, method: str, bits: int, group_size: int) -> torch.Tensor:
    """The matrix as it comes back."""
    groups = in_groups(weight, group_size or weight.shape[-1])
    return dequantise(*METHODS[method](groups, bits, -1)).view_as(weight)


def main() -> None:
    loaded = load_model(device="cpu")  # everybody gets the values of a CPU
    blocks = [p for name, p in loaded.model.named_parameters() if p.dim() == 2 and "layers" in name]
    originals = [p.data for p in blocks]
    plain = score_text(loaded, sample_text()).perplexity
    rows = []
    with torch.no_grad():
        for method in METHODS:
            for bits in BITS:
                for group_size in GROUPS:
                    error = size = 0.0
                    for parameter, weight in zip(blocks, originals, strict=True):
                        parameter.data = rounded(weight, method, bits, group_size)
                        error += float((parameter.data - weight).double().square().sum())
                        size += float(weight.double().square().sum())
                    found = score_text(loaded, sample_text()).perplexity
                    rows.append([method, bits, group_size, (error / size) ** 0.5, found])
                    print(*rows[-1], flush=True)
    rounded_rows = [[*row[:3], float(f"{row[3]:.4g}"), float(f"{row[4]:.4g}")] for row in rows]
    lines = ",\n    ".join(json.dumps(row) for row in rounded_rows)
    text = f'{{\n  "plain": {plain:.4g},\n  "rows": [\n    {lines}\n  ]\n}}\n'
    OUTPUT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
