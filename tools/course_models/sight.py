"""Image captioning and visual question answering: what is to be seen, in words?"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    YolosForObjectDetection,
    YolosImageProcessorPil,
    pipeline,
)

from lecture_lib.drawn_shapes import Scene, draw_scene

from . import detection
from ._pictures import DATA as SCENES
from ._pictures import held_out, scenes

TASK = "image-text-to-text"
STEPS, BATCH_SIZE, LEARNING_RATE = 2000, 16, 2e-3
MUON = False
EYES = Path(__file__).parents[2] / "lecture_lib" / "models" / "course_detection"
CAPTION = "Describe the picture."
SPECIAL_TOKENS = ["<pad>", "<end>", "<unknown>", "<image>", "<answer>"]
N_ASKED = 5  # questions to each picture, beside its caption

ABOUT = """Describes a picture in a sentence and answers questions about it. It is a Llava, put
together as the large ones are: the eyes are a trained model of pictures, here the course's own
course-detection; two matrices turn what they say into vectors of the size of word embeddings; a
small Llama reads these as if they were words, then the question, and writes the answer."""
DATA = f"""{SCENES} To each picture belong its caption and questions on number, colour, shape and
nearness, all made from the scene's own truth."""
LIMITS = """Photographs, and all questions but those of its five forms: "How many cubes are
there?", "How many shapes are there?", "What colour is the cube?", "What shape is red?", "Which
shape is nearest?". It knows some forty words."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word of the captions and questions."""
    texts = [CAPTION]
    for number in range(200):
        scene = draw_scene(number, side=32)
        texts += [scene.caption, *scene.questions(), *scene.questions().values()]
    cut = pre_tokenizers.Whitespace()
    found = sorted({word for word, _ in cut.pre_tokenize_str(" ".join(texts))})
    tokens = {token: number for number, token in enumerate([*SPECIAL_TOKENS, *found])}
    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = cut
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unknown>",
        additional_special_tokens=["<image>", "<answer>"], clean_up_tokenization_spaces=True,
        padding_side="left",
    )  # fmt: skip


TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'user' %}"
    "{% for part in message.content %}{% if part.type == 'image' %}<image>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<answer>"
    "{% else %}{{ message.content }}<end>{% endif %}{% endfor %}"
)


def build(seed: int) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """A small Llama with random weights, whose eyes are those of course-detection."""
    tokenizer = make_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    eyes = YolosForObjectDetection.from_pretrained(EYES, dtype=torch.float32)
    eyes.config._name_or_path = ""
    config = LlavaConfig(
        vision_config=eyes.config,
        text_config=LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=96, intermediate_size=192, num_hidden_layers=3,
            num_attention_heads=4, max_position_embeddings=160, tie_word_embeddings=True,
            initializer_range=0.08,
            pad_token_id=ids("<pad>"), eos_token_id=ids("<end>"), bos_token_id=None,
        ),
        image_token_index=ids("<image>"), vision_feature_layer=-1,
        vision_feature_select_strategy="default", image_seq_length=n_seen(),
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config)
    # The eyes stay as they are: what is trained learns to read what they say.
    model.model.vision_tower.load_state_dict(eyes.vit.state_dict(), strict=False)
    model.model.vision_tower.requires_grad_(False)
    model.generation_config.update(
        pad_token_id=ids("<pad>"), eos_token_id=ids("<end>"), max_new_tokens=32, do_sample=False
    )
    processor = LlavaProcessor(
        YolosImageProcessorPil.from_pretrained(EYES), tokenizer, patch_size=detection.PATCH,
        vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1 + len(detection.ANCHORS),
    )  # fmt: skip
    return model, processor


def n_seen() -> int:
    """Vectors that the Llama gets for a picture: one of each patch and of each detection token."""
    return (detection.SIDE // detection.PATCH) ** 2 + len(detection.ANCHORS)


def packed(tokenizer, texts: list[list[tuple[str, str]]]) -> dict:
    """Several questions and answers behind one picture, none of which sees another.

    So the picture is read once for all of them. Each counts its positions from the picture's end.
    """
    n, rows = n_seen(), []
    image, marker, end = tokenizer.convert_tokens_to_ids(["<image>", "<answer>", "<end>"])
    for pairs in texts:
        ids, labels, places, parts = [image] * n, [-100] * n, list(range(n)), [0] * n
        for part, (question, answer) in enumerate(pairs, 1):
            asked = [*tokenizer(question).input_ids, marker]
            said = [*tokenizer(answer).input_ids, end]
            ids += asked + said
            labels += [-100] * len(asked) + said
            places += range(n, n + len(asked) + len(said))
            parts += [part] * (len(asked) + len(said))
        rows.append((ids, labels, places, parts))
    longest = max(len(row[0]) for row in rows)
    fill = (tokenizer.pad_token_id, -100, 0, -1)
    ids, labels, places, parts = (
        torch.tensor([row[i] + [fill[i]] * (longest - len(row[i])) for row in rows])
        for i in range(4)
    )
    same = parts[:, :, None] == parts[:, None, :]
    seen = (same | (parts[:, None, :] == 0)) & torch.ones(longest, longest, dtype=torch.bool).tril()
    return {
        "input_ids": ids, "labels": labels, "position_ids": places, "attention_mask": seen[:, None],
    }  # fmt: skip


def batches(seed: int, processor, batch_size: int) -> Iterator[dict]:
    """Endless batches: the pixels, and the tokens of a caption and five questions to each."""
    random = Random(seed)
    for drawn in scenes(seed, batch_size):
        images = [scene.image for scene in drawn]
        pixels = processor.image_processor(images, return_tensors="pt").pixel_values
        texts = []
        for scene in drawn:
            asked = random.sample(list(scene.questions().items()), N_ASKED)
            texts.append([(CAPTION, scene.caption), *asked])
        yield {"pixel_values": pixels, **packed(processor.tokenizer, texts)}


def chat(image, question: str) -> list[dict]:
    """A message with a picture and a question."""
    content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
    return [{"role": "user", "content": content}]


def answers(pipe, asked: list[tuple[Scene, str]]) -> list[str]:
    """What the pipeline says to each pair of scene and question."""
    return [
        pipe(text=chat(scene.image, question), return_full_text=False)[0]["generated_text"].strip()
        for scene, question in asked
    ]


def score(folder: Path, n: int, seed: int) -> list[dict]:
    """Share of captions and of answers that are right to the word, in scenes never trained on."""
    pipe = pipeline(TASK, model=str(folder))
    drawn = held_out(n, seed)
    found = answers(pipe, [(scene, CAPTION) for scene in drawn])
    right = sum(scene.caption == said for scene, said in zip(drawn, found, strict=True))
    scores = [{"measure": "captions right to the word", "value": right / n, "n": n}]
    random = Random(seed)
    asked = [(scene, random.choice(list(scene.questions().items()))) for scene in drawn]
    found = answers(pipe, [(scene, question) for scene, (question, _) in asked])
    right = sum(answer == said for (_, (_, answer)), said in zip(asked, found, strict=True))
    scores.append({"measure": "answers right", "value": right / n, "n": n})
    return scores
