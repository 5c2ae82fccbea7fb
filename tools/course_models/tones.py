"""Audio classification: is this sound rising, falling, steady, trembling, knocking, or noise?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification, pipeline

TASK = "audio-classification"
STEPS, BATCH_SIZE, LEARNING_RATE = 500, 64, 1.5e-3
MUON = False
LABELS = ["rising", "falling", "steady", "trembling", "knocking", "noise"]
SAMPLING_RATE, SECONDS = 16_000, 1.0
N_CLIPS = 5000  # made once; each step takes some of them

ABOUT = """Says which of six kinds of sound a clip of one second is: a rising, falling, steady or
trembling tone, knocking, or noise. It is an Audio Spectrogram Transformer: the clip becomes a
picture of frequency and time, the picture becomes patches of 16 × 16 numbers, and the patches are
read like the tokens of a text."""
DATA = """All generated (`tools/course_models/tones.py`), so that the right answer is known: tones
between 150 and 2,000 Hz with up to six overtones, at changing loudness, in more or less noise."""
LIMITS = """Speech, music and every other sound of the world. Asked for them, it answers with one
of its six labels, often surely."""


def clip(label: str, rng: np.random.Generator) -> np.ndarray:
    """One second of this kind of sound at 16,000 samples per second, (16000,), float32."""
    n = int(SAMPLING_RATE * SECONDS)
    t = np.arange(n) / SAMPLING_RATE
    octaves = np.zeros(n)
    if label in ("rising", "falling"):
        begin = rng.uniform(0, 0.3)
        change = rng.uniform(0.4, 1.6) * np.clip((t - begin) / rng.uniform(0.4, 1 - begin), 0, 1)
        octaves = change if label == "rising" else -change
    elif label == "trembling":
        octaves = rng.uniform(0.06, 0.2) * np.sin(2 * np.pi * rng.uniform(4, 9) * t)
    start = np.exp(rng.uniform(np.log(150), np.log(2000)))
    if label == "rising":
        start = min(start, 1400.0)
    if label == "falling":
        start = max(start, 300.0)
    phase = 2 * np.pi * np.cumsum(start * 2.0**octaves) / SAMPLING_RATE
    n_tones = int(rng.integers(1, 7))
    volumes = rng.uniform(0.2, 1.0, n_tones) / np.arange(1, n_tones + 1) ** rng.uniform(0.5, 2)
    shifts = rng.uniform(0, 2 * np.pi, n_tones)
    sound = sum(
        v * np.sin((i + 1) * phase + s)
        for i, (v, s) in enumerate(zip(volumes, shifts, strict=True))
    )
    if label == "knocking":
        every = 1 / rng.uniform(4, 12)
        since = (t + rng.uniform(0, every)) % every
        sound = (0.3 * sound + rng.normal(0, 1, n)) * np.exp(-since * rng.uniform(40, 120))
    elif label == "noise":
        sound = rng.normal(0, 1, n)
        width = int(rng.integers(1, 8))  # a mean over neighbours makes the noise darker
        sound = np.convolve(sound, np.ones(width) / width, mode="same")
    ramp = np.minimum(1, np.minimum(t, t[-1] - t) / 0.02)
    sound = sound / np.abs(sound).max() * ramp
    sound = sound + rng.normal(0, 1, n) * rng.choice([0, 0.003, 0.02])
    return (sound * np.exp(rng.uniform(np.log(0.05), np.log(0.9)))).astype(np.float32)


def examples(n: int, seed: int | list[int]) -> tuple[list[np.ndarray], list[int]]:
    """n clips, and the number of each clip's label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(LABELS), size=n).tolist()
    return [clip(LABELS[label], rng) for label in labels], labels


def build(seed: int) -> tuple[ASTForAudioClassification, ASTFeatureExtractor]:
    """A small AST with random weights, and its feature extractor."""
    extractor = ASTFeatureExtractor(
        num_mel_bins=64, max_length=98, mean=-5.0, std=4.0, return_attention_mask=False
    )
    config = ASTConfig(
        hidden_size=96, num_hidden_layers=3, num_attention_heads=4, intermediate_size=256,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, patch_size=16,
        frequency_stride=8, time_stride=8, max_length=98, num_mel_bins=64,
        id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)},
    )  # fmt: skip
    return ASTForAudioClassification(config), extractor


def batches(seed: int, extractor, batch_size: int) -> Iterator[dict]:
    """Endless batches: input_values (B, frames, mel bins) and labels (B,)."""
    clips, labels = examples(N_CLIPS, [seed, 1])
    values = extractor(clips, sampling_rate=SAMPLING_RATE, return_tensors="pt").input_values
    labels = torch.tensor(labels)
    generator = torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.randperm(N_CLIPS, generator=generator).split(batch_size):
            # Another loudness: log power moves by a constant.
            gain = torch.empty(len(rows), 1, 1).uniform_(-0.2, 0.2, generator=generator)
            yield {"input_values": values[rows] + gain, "labels": labels[rows]}


def score(folder: Path, n: int, seed: int) -> list[dict]:
    """Share of right labels among clips that were not trained on."""
    classify = pipeline(TASK, model=str(folder))
    clips, labels = examples(n, [seed, 2])
    found = [answer[0]["label"] for answer in classify(clips, top_k=1, batch_size=50)]
    right = [LABELS[label] == name for label, name in zip(labels, found, strict=True)]
    scores = [{"measure": "right labels", "value": sum(right) / n, "n": n}]
    for i, name in enumerate(LABELS):
        these = [ok for ok, label in zip(right, labels, strict=True) if label == i]
        scores.append(
            {"measure": f"right, {name}", "value": sum(these) / len(these), "n": len(these)}
        )
    return scores
