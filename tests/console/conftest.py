"""Nobody else may write rows, spans or messages while these tests look at them."""

import pytest

from tests.processes import end_session_processes


@pytest.fixture(autouse=True)
def _alone(request, django_db_blocker):
    if "worker" not in request.fixturenames:
        end_session_processes(django_db_blocker)
