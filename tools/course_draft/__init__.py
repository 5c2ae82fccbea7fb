"""The course's draft model: the texts that it learns from, the training, its score, its card."""
