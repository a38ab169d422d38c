"""A secret is made once for all processes of a machine, whatever happens to the one that makes it."""

import fcntl
import os
import resource
import subprocess
import sys

import pytest

from hub.kept_secrets import kept_secret
from tests.processes import ROOT


def test_it_is_kept_for_its_owner_only(tmp_path):
    path = tmp_path / "secret"

    first, is_new = kept_secret(path)

    assert is_new
    assert kept_secret(path) == (first, False)
    assert path.stat().st_mode & 0o777 == 0o600


def test_who_comes_while_another_makes_it_gets_the_same(tmp_path):
    path = tmp_path / "secret"
    with path.open("w") as of_another:
        fcntl.flock(of_another, fcntl.LOCK_EX)
        ask = f"from pathlib import Path; from hub.kept_secrets import kept_secret; print('?'); print(kept_secret(Path({str(path)!r})))"
        asking = subprocess.Popen([sys.executable, "-u", "-c", ask], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert asking.stdout.readline() == "?\n"
        of_another.write("made by another")

    assert asking.communicate(timeout=30)[0] == "('made by another', False)\n"


def test_one_that_could_not_be_written_is_made_later(tmp_path):
    path = tmp_path / "secret"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):  # as on a full disk
            kept_secret(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    made, is_new = kept_secret(path)

    assert is_new
    assert path.read_text() == made


def settings_in(var_dir):
    env = {name: value for name, value in os.environ.items() if name != "HUB_SECRET_KEY"} | {"HUB_VAR_DIR": str(var_dir)}
    command = [sys.executable, "-c", "import hub.settings; print(hub.settings.SECRET_KEY)"]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_signing_key_that_was_left_empty_is_made(tmp_path):
    (tmp_path / "secret_key").touch()

    key = settings_in(tmp_path).stdout.strip()

    assert len(key) > 50
    assert settings_in(tmp_path).stdout.strip() == key


def test_a_folder_in_which_no_key_can_be_kept_is_one_line():
    refused = settings_in("/proc")

    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
    assert refused.stderr.startswith("E11931: a setting has a wrong value: HUB_VAR_DIR: ")


def test_only_the_owner_can_look_into_a_new_folder_of_the_hub_and_one_that_was_there_is_left(tmp_path):
    (tmp_path / "mine").mkdir(mode=0o755)

    for name in ("mine", "new"):
        settings_in(tmp_path / name)

    assert [oct((tmp_path / name).stat().st_mode & 0o777) for name in ("mine", "new")] == ["0o755", "0o700"]
