"""The small models that lecture 08c runs, trained on generated data by tools/train_course_model.py.

Each module here is one model. It has

TASK                               the task of Transformers that the model is for
STEPS, BATCH_SIZE, LEARNING_RATE   how it is trained
MUON                               whether with Muon (see training.py)
build(seed)                        (model with random weights, what is saved beside it)
batches(seed, processor, size)     endless batches that ``model(**batch)`` takes, with the labels
score(folder, n, seed)             what the stored weights do on data that they never saw
ABOUT, DATA, LIMITS                what the model card says
"""
