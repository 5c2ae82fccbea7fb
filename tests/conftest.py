"""What several test modules share."""

import pytest


@pytest.fixture(scope="session")
def loaded():
    """The bundled model, loaded once a test process. Tests that use it are marked real_model."""
    from lecture_lib.loading import load_model

    return load_model(device="cpu")
