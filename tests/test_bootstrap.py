"""`python3 manage.py up` on a machine with python3 and pip alone: tiny requirements, real processes."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.processes import ROOT, wait_until

SYSTEM_PYTHON = sys._base_executable
PROBE = "import sys; print('ran', *sys.argv[1:], sys.prefix != sys.base_prefix)"


@pytest.fixture
def checkout(tmp_path):
    """A checkout with a command of its own, whose requirements are one tiny wheel on disk."""
    root = tmp_path / "checkout"
    root.mkdir()
    shutil.copy(ROOT / "bootstrap.py", root)
    (root / "manage.py").write_text(f"import sys, bootstrap\nbootstrap.enter(sys.argv)\n{PROBE}\n")
    with zipfile.ZipFile(root / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "NAME = 'tiny'\n")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    (root / "requirements.txt").write_text(f"{root}/tiny-1.0-py3-none-any.whl\n")
    (root / "requirements-dev.txt").write_text(f"{root}/tiny-1.0-py3-none-any.whl\n")
    return root


@pytest.fixture
def slow_uv(tmp_path):
    """A `uv` that says when it begins and ends, and ends when told: a directory for PATH, holding `log` and `go`."""
    place = tmp_path / "uv-bin"
    place.mkdir()
    script = f'#!/bin/sh\necho "begin $*" >> {place}/log\nwhile [ ! -e {place}/go ]; do sleep 0.02; done\necho end >> {place}/log\n'
    (place / "uv").write_text(script)
    (place / "uv").chmod(0o755)
    return place


def environment(path=None, **more):
    clean = {name: value for name, value in os.environ.items() if name not in ("HUB_NO_BOOTSTRAP", "VIRTUAL_ENV", "PYTHONPATH")}
    # Without uv on PATH, so that pip is what is tested, unless a test brings its own uv.
    return {**clean, "PATH": f"{path}:/usr/bin:/bin" if path else "/usr/bin:/bin", **more}


def run(checkout, *arguments, path=None, python=(SYSTEM_PYTHON,), **more):
    command = [*python, "manage.py", *arguments]
    return subprocess.run(command, cwd=checkout, env=environment(path, **more), capture_output=True, text=True, timeout=60)


def start(checkout, *arguments, path):
    command = [SYSTEM_PYTHON, "manage.py", *arguments]
    return subprocess.Popen(
        command, cwd=checkout, env=environment(path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def log_of(uv):
    return (uv / "log").read_text().splitlines() if (uv / "log").exists() else []


def test_it_installs_with_the_systems_pip_and_goes_on_inside_the_venv(checkout):
    done = run(checkout, "up", "--once")

    assert (done.returncode, done.stdout) == (0, "ran up --once True\n"), done.stderr
    found = subprocess.run([checkout / ".venv/bin/python", "-c", "import tiny; print(tiny.NAME)"], capture_output=True, text=True)
    assert found.stdout == "tiny\n"


def test_the_second_time_nothing_is_installed(checkout, slow_uv):
    (slow_uv / "go").touch()

    first, second = (run(checkout, "up", path=slow_uv) for _ in range(2))

    assert first.stdout == second.stdout == "ran up True\n"
    assert "Installing" in first.stderr
    assert second.stderr == ""
    assert len(log_of(slow_uv)) == 2  # one begin, one end


def test_changed_requirements_are_installed_again(checkout, slow_uv):
    (slow_uv / "go").touch()
    run(checkout, "up", path=slow_uv)

    (checkout / "requirements.txt").write_text("another\n")
    run(checkout, "up", path=slow_uv)

    assert log_of(slow_uv).count("end") == 2


def test_test_installs_the_development_set(checkout, slow_uv):
    (slow_uv / "go").touch()

    run(checkout, "test", path=slow_uv)

    assert log_of(slow_uv)[0].endswith("requirements-dev.txt")


def test_other_commands_never_install_but_use_what_is_there(checkout, slow_uv):
    (slow_uv / "go").touch()
    before = run(checkout, "migrate", path=slow_uv)
    run(checkout, "up", path=slow_uv)
    after = run(checkout, "migrate", path=slow_uv)

    assert (before.stdout, after.stdout) == ("ran migrate False\n", "ran migrate True\n")
    assert log_of(slow_uv).count("end") == 1


@pytest.mark.parametrize("more", [{"HUB_NO_BOOTSTRAP": "1"}, {"python": (sys.executable,)}], ids=["told not to", "inside a venv"])
def test_it_keeps_its_hands_off(checkout, more):
    done = run(checkout, "up", **more)

    assert done.stdout.startswith("ran up")
    assert not (checkout / ".venv").exists()


def test_an_installation_killed_in_the_middle_begins_afresh(checkout, slow_uv):
    first = start(checkout, "up", path=slow_uv)
    wait_until(lambda: log_of(slow_uv), what="the installer running")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    (checkout / ".venv" / "half-written").touch()
    (slow_uv / "go").touch()

    again = run(checkout, "up", path=slow_uv)

    assert (again.returncode, again.stdout) == (0, "ran up True\n"), again.stderr
    assert not (checkout / ".venv" / "half-written").exists()


def test_an_installer_that_outlives_its_killed_parent_is_waited_for(checkout, slow_uv):
    first = start(checkout, "up", path=slow_uv)
    wait_until(lambda: log_of(slow_uv), what="the installer running")
    first.kill()
    first.wait()

    second = start(checkout, "up", path=slow_uv)
    assert second.stdout.readline() == "Another installation is under way; waiting for its end ...\n"
    (slow_uv / "go").touch()
    output, _ = second.communicate(timeout=30)

    assert output.endswith("ran up True\n")
    assert [line.split()[0] for line in log_of(slow_uv)] == ["begin", "end", "begin", "end"]  # never two at once


def test_two_at_once_install_once(checkout, slow_uv):
    both = [start(checkout, "up", path=slow_uv) for _ in range(2)]
    wait_until(lambda: log_of(slow_uv), what="the installer running")
    (slow_uv / "go").touch()

    outputs = [one.communicate(timeout=30)[0] for one in both]

    assert all(output.endswith("ran up True\n") for output in outputs), outputs
    assert len(log_of(slow_uv)) == 2


def test_a_failed_installation_is_one_line_and_is_tried_again(checkout, slow_uv):
    (slow_uv / "uv").write_text("#!/bin/sh\nexit 1\n")

    failed = run(checkout, "up", path=slow_uv)

    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("This failed: uv pip install")
    assert not (checkout / ".venv" / "installed-requirements.txt").exists()


@pytest.mark.parametrize("in_the_way", [".venv", "var"])
def test_a_file_in_the_way_is_one_line(checkout, in_the_way, slow_uv):
    (checkout / in_the_way).write_text("")

    done = run(checkout, "up", path=slow_uv)

    assert done.returncode == 1
    assert "then run the same command again." in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("version", "advice"), [("", "pip is missing. Run: apt install python3-pip"), ("pip 20.3.4 from x", "pip 20.3 is too old. Run: apt")]
)
def test_a_missing_or_old_pip_is_one_line_with_the_cure(checkout, tmp_path, version, advice):
    fake = tmp_path / "fake" / "pip"
    fake.mkdir(parents=True)
    (fake / "__init__.py").touch()
    (fake / "__main__.py").write_text(f"print({version!r})")

    done = run(checkout, "up", PYTHONPATH=str(fake.parent))

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(advice)


def test_an_old_python_gets_as_far_as_the_message(checkout):
    (checkout / "manage.py").write_text("import sys\nsys.version_info = (3, 9, 1)\nimport bootstrap\nbootstrap.enter(sys.argv)\n")

    done = run(checkout, "up")

    assert done.returncode == 1
    assert done.stderr.startswith("The hub needs Python 3.11 or newer")


@pytest.mark.parametrize("name", ["python2.7", "python3.6", "python3.8", "python3.10"])
def test_real_old_pythons_can_read_it(checkout, name):
    old = shutil.which(name)
    if old is None or subprocess.run([old, "--version"], capture_output=True).returncode:
        pytest.skip(f"no {name} on this machine")

    done = subprocess.run([old, ROOT / "manage.py", "up"], capture_output=True, text=True)

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_the_venv_of_another_python_is_made_anew(checkout, slow_uv):
    (slow_uv / "go").touch()
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    (checkout / ".venv" / "installed-requirements.txt").write_text("whatever")

    done = run(checkout, "up", path=slow_uv)

    assert done.stdout == "ran up True\n"
    assert Path(python).is_symlink()


def test_a_venv_whose_python_became_another_one_is_made_anew(checkout):
    run(checkout, "up")
    lib = checkout / ".venv" / "lib"
    packages = next(lib.glob("python3.*"))
    packages.rename(lib / "python3.2")  # as when the system's python3, to which its link leads, was upgraded

    done = run(checkout, "up")

    assert done.stdout == "ran up True\n", done.stderr
    assert (packages / "site-packages" / "tiny.py").exists()


@pytest.mark.parametrize("kept_off", ["by a venv of somebody", "by HUB_NO_BOOTSTRAP"])
def test_where_up_installs_nothing_nobody_is_told_that_it_does(checkout, tmp_path, kept_off):
    shutil.copy(ROOT / "manage.py", checkout)
    python, more = SYSTEM_PYTHON, {"HUB_NO_BOOTSTRAP": "1"}
    if kept_off == "by a venv of somebody":
        subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", tmp_path / "own"], check=True)
        python, more = tmp_path / "own" / "bin" / "python", {}

    done = run(checkout, "up", python=(python, "-S") if more else (python,), **more)

    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "deactivate" in done.stderr
    assert "Run `python3 manage.py up` once" not in done.stderr


def test_what_is_installed_is_used_where_nothing_can_be_written(checkout):
    run(checkout, "up")
    shutil.rmtree(checkout / "var")
    (checkout / "var").touch()  # no lock can be made there, as in a checkout that belongs to somebody else

    done = run(checkout, "up")

    assert done.stdout == "ran up True\n", done.stderr
