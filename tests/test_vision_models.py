"""The small models of pictures: each answer against the truth of the scene that was drawn."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from course_models import depth, detection, segmentation, sight
from course_models._pictures import held_out, scenes
from PIL import Image
from transformers import pipeline

from lecture_lib.drawn_shapes import CLASSES, N_HELD_OUT, draw_scene
from lecture_lib.loading import ModelLoadError
from lecture_lib.pipelines import load_pipeline
from lecture_lib.pipelines.tasks import BUNDLED

RECIPES = {"detection": detection, "segmentation": segmentation, "depth": depth, "sight": sight}
SCENE = draw_scene(10)  # a green ball in front of a red cone, apart from each other


@pytest.fixture(scope="module")
def pipe():
    made = {}

    def get(name):
        if name not in made:
            made[name] = pipeline(RECIPES[name].TASK, model=str(BUNDLED / f"course_{name}"))
        return made[name]

    return get


def measured(name: str) -> dict[str, float]:
    facts = json.loads((BUNDLED / f"course_{name}" / "training.json").read_text("utf-8"))
    return {score["measure"]: score["value"] for score in facts["scores"]}


# -- one scene, against its own truth --------------------------------------------------------------


def test_each_shape_gets_its_label_and_its_box(pipe):
    found = pipe("detection")(SCENE.image)
    assert detection.compare(SCENE, found, least=0.6) == (len(SCENE.shapes), 0)
    # In a picture of another size the boxes are of that size.
    wide = SCENE.image.resize((512, 128))
    boxes = {answer["label"]: answer["box"] for answer in pipe("detection")(wide)}
    for answer in found:
        box = boxes[answer["label"]]
        assert box["xmax"] == pytest.approx(2 * answer["box"]["xmax"], abs=16)
        assert box["ymax"] == pytest.approx(answer["box"]["ymax"] / 2, abs=8)


def test_the_masks_cover_what_they_name(pipe):
    found = pipe("segmentation")(SCENE.image)
    assert {answer["label"] for answer in found} == {"sky", "ground", "ball", "cone"}
    assert min(segmentation.overlaps(SCENE, found).values()) > 0.7
    total = sum((np.asarray(answer["mask"]) > 0).astype(int) for answer in found)
    assert (total == 1).all()  # each pixel has one class


def test_what_is_nearer_has_the_higher_depth(pipe):
    found = pipe("depth")(SCENE.image)
    assert found["predicted_depth"].shape == (256, 256)
    assert depth.order(SCENE, found) == (1, 1)
    assert depth.error(SCENE, found) < 0.1
    picture = np.asarray(found["depth"])
    assert picture[:40].max() < picture[-10:].min()  # the sky is far, the lower edge is near


def test_captions_and_answers_are_those_of_the_scene(pipe):
    asked = [sight.CAPTION, "How many shapes are there?", "Which shape is nearest?"]
    truth = [SCENE.caption, "two", "green ball"]
    assert sight.answers(pipe("sight"), [(SCENE, question) for question in asked]) == truth


# -- the scores ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_a_few_scenes_score_as_the_card_says(name):
    recipe, card = RECIPES[name], measured(name)
    n = 8 if name == "sight" else 24
    for score in recipe.score(BUNDLED / f"course_{name}", n, seed=1):
        expected = card[score["measure"]]
        if "error" in score["measure"]:
            assert score["value"] < 1.5 * expected
        else:  # by chance as low in one sample of ten thousand
            spread = 4 * (expected * (1 - expected) / score["n"]) ** 0.5
            assert score["value"] >= expected - max(spread, 0.1)


def test_the_scores_tell_a_good_answer_from_a_bad_one():
    box = dict(zip(("xmin", "ymin", "xmax", "ymax"), SCENE.shapes[0].box, strict=True))
    right = {"label": str(SCENE.shapes[0]), "box": box, "score": 1.0}
    assert detection.compare(SCENE, [right]) == (1, 0)
    assert detection.compare(SCENE, [right, right]) == (1, 1)
    assert detection.compare(SCENE, [{**right, "label": "red ball"}]) == (0, 1)
    moved = {**box, "xmin": 0, "xmax": box["xmax"] - box["xmin"]}
    assert detection.compare(SCENE, [{**right, "box": moved}]) == (0, 1)
    assert detection.overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)

    masks = [
        {"label": name, "mask": Image.fromarray((SCENE.classes == i).astype(np.uint8) * 255)}
        for i, name in enumerate(CLASSES)
    ]
    assert set(segmentation.overlaps(SCENE, masks).values()) == {1.0}
    assert segmentation.overlaps(SCENE, masks[:2])["ball"] == 0

    true = {"predicted_depth": torch.from_numpy(SCENE.nearness)}
    assert depth.error(SCENE, true) == 0
    assert depth.order(SCENE, true) == (1, 1)
    assert depth.order(SCENE, {"predicted_depth": -true["predicted_depth"]}) == (0, 1)


# -- training --------------------------------------------------------------------------------------


def test_what_is_scored_was_never_trained_on():
    drawn = next(scenes(0, 3))
    assert drawn[0].shapes == draw_scene(N_HELD_OUT, side=128).shapes
    assert held_out(2, 0)[1].shapes == draw_scene(1001).shapes
    assert max(1000 * (1 + 1) + 500, 10) < N_HELD_OUT


@pytest.mark.parametrize("name", RECIPES)
def test_a_step_of_training_has_a_loss_that_falls(name):
    recipe = RECIPES[name]
    torch.manual_seed(0)
    model, processor = recipe.build(0)
    batch = next(recipe.batches(0, processor, 4))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(4):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_each_shape_has_one_detection_token_of_its_own():
    for seed in range(20):
        scene = draw_scene(seed)
        labels, boxes = detection.targets(scene)
        told = [detection.LABELS[label] for label in labels if label < len(detection.LABELS)]
        assert sorted(told) == sorted(map(str, scene.shapes))
        shown = labels < len(detection.LABELS)
        assert (boxes[shown] > 0).all()
        assert (boxes[~shown] == 0).all()


def test_questions_that_are_packed_together_are_answered_as_alone(pipe):
    model, processor = pipe("sight").model, pipe("sight").processor
    pairs = [(sight.CAPTION, SCENE.caption), *list(SCENE.questions().items())[:2]]
    pixels = processor.image_processor([SCENE.image], return_tensors="pt").pixel_values
    start = sight.n_seen()
    with torch.inference_mode():
        batch = sight.packed(processor.tokenizer, [pairs])
        batch.pop("labels")
        together = model(pixel_values=pixels, **batch).logits[0]
        for question, answer in pairs:
            ids = sight.packed(processor.tokenizer, [[(question, answer)]])["input_ids"]
            alone = model(pixel_values=pixels, input_ids=ids).logits[0, sight.n_seen() :]
            part = together[start : start + len(alone)]
            assert torch.allclose(part, alone, rtol=1e-3, atol=1e-3 * alone.abs().max().item())
            start += len(alone)


def test_what_the_chat_template_writes_is_what_was_trained(pipe):
    processor = pipe("sight").processor
    inputs = processor.apply_chat_template(
        sight.chat(SCENE.image, sight.CAPTION), tokenize=True, return_dict=True,
        return_tensors="pt", add_generation_prompt=True,
    )  # fmt: skip
    trained = sight.packed(processor.tokenizer, [[(sight.CAPTION, "")]])["input_ids"]
    assert torch.equal(inputs["input_ids"], trained[:, :-1])  # without the end
    for scene in held_out(20, 0):
        for text in (scene.caption, *scene.questions(), *scene.questions().values()):
            assert processor.tokenizer.decode(processor.tokenizer(text).input_ids) == text


def test_the_eyes_of_sight_are_those_of_the_detector(pipe):
    eyes = pipe("sight").model.model.vision_tower.state_dict()
    trained = pipe("detection").model.vit.state_dict()
    assert set(trained) <= set(eyes)
    for name, values in trained.items():
        assert torch.equal(values, eyes[name])


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("detection", "object-detection"), ("segmentation", "image-segmentation"),
        ("depth", "depth-estimation"), ("sight", "image-to-text"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_clear_error(name, task, tmp_path):
    folder = tmp_path / f"course_{name}"
    shutil.copytree(BUNDLED / folder.name, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelLoadError, match=f"a file of .*{folder.name} is damaged or missing"):
        load_pipeline(task, model=folder, device="cpu")


@pytest.mark.parametrize("name", RECIPES)
def test_the_folders_name_no_path_of_the_machine_that_made_them(name):
    for path in (BUNDLED / f"course_{name}").glob("*.json"):
        assert not re.search(r'"/[a-z]', path.read_text("utf-8")), path
