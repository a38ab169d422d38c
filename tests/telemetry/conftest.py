"""Nobody else may write rows, spans or messages while these tests look at them."""

import pytest

from tests.processes import SESSION


@pytest.fixture(autouse=True)
def _alone(request):
    if "worker" not in request.fixturenames:
        for running in SESSION:
            running.kill()
