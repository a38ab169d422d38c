"""The Python face in processes that have another Django already."""

import os
import subprocess
import sys

from tests.processes import ROOT

SETTINGS = 'SECRET_KEY = "s"\nINSTALLED_APPS = ["django.contrib.contenttypes"]\n'
ASK = """
from hub import IntegrationError
try:
    from hub import IntegrationLayer
except IntegrationError as exc:
    print(exc.code, exc.message)
"""


def test_another_django_project_is_told_that_it_is_one(tmp_path):
    (tmp_path / "shop_settings.py").write_text(SETTINGS)
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "shop_settings", "PYTHONPATH": f"{ROOT}:{tmp_path}"}

    asked = subprocess.run([sys.executable, "-c", ASK], env=env, capture_output=True, text=True, timeout=60)

    assert asked.stdout == "E11931 this process runs another Django project, shop_settings\n", asked.stderr[-500:]
