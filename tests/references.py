"""What Transformers' generate writes with the bundled model, stored, because it takes seconds.

    python tests/references.py    computes all of generated_tokens.json anew

A test that needs another text adds its prompts and arguments to that file, with no tokens, and runs
this. In each run of the tests a seventh of the texts is computed and compared with what is stored,
another seventh each day; where torch or Transformers have another version than those that the file
was made with, all of them are.
"""

import datetime
import json
from pathlib import Path

import torch
import transformers

FILE = Path(__file__).with_name("generated_tokens.json")
DAYS = 7


def generate(loaded, prompts: list[str], seed: int | None = None, **arguments) -> list[list[int]]:
    """The new tokens of each prompt, by Transformers, padded at their end as it does."""
    inputs = loaded.tokenizer(prompts, return_tensors="pt", padding=True)
    if seed is not None:
        torch.manual_seed(seed)
    pad = loaded.tokenizer.pad_token_id
    with torch.inference_mode():
        out = loaded.model.generate(**inputs, pad_token_id=pad, **arguments)
    return out[:, inputs.input_ids.shape[1] :].tolist()


def stored(loaded, prompts: list[str], seed: int | None = None, **arguments) -> list[list[int]]:
    """The same from the file; computed too, and compared, where it is this text's turn.

    What is drawn by chance is computed each time: another build of torch may draw other tokens.
    """
    if seed is not None:
        return generate(loaded, prompts, seed, **arguments)
    file = json.loads(FILE.read_text(encoding="utf-8"))
    asked = {"prompts": prompts, "arguments": arguments}
    for i, text in enumerate(file["texts"]):
        if asked == {name: text[name] for name in asked}:
            its_turn = (datetime.date.today().toordinal() + i) % DAYS == 0
            if its_turn or file["versions"] != versions():
                computed = generate(loaded, prompts, **arguments)
                assert computed == text["token_ids"], f"run python {Path(__file__).name}: {asked}"
            return text["token_ids"]
    raise AssertionError(f"add to the texts of {FILE.name}: {json.dumps(asked)}")


def versions() -> dict[str, str]:
    """Of the packages whose change may change a text."""
    return {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}


def main() -> None:
    """Compute all texts of the file, and write it."""
    from lecture_lib.loading import load_model

    loaded = load_model(device="cpu")
    texts = json.loads(FILE.read_text(encoding="utf-8"))["texts"]
    for text in texts:
        text["token_ids"] = generate(loaded, text["prompts"], **text["arguments"])
    lines = ",\n".join(json.dumps(text, ensure_ascii=False) for text in texts)
    head = f'{{"versions": {json.dumps(versions())},\n"texts": [\n'
    FILE.write_text(f"{head}{lines}\n]}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
