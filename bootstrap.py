"""Make `.venv` next to this file and go on inside it, so that a machine needs nothing but python3, pip and git.

Only the standard library, and only syntax that old Pythons read too: they must come as far as the message. The rules:

1. Nothing happens inside a virtual environment, or with HUB_NO_BOOTSTRAP set (the container image sets it).
2. `up`, `test` and `demo` install; every other command only enters the `.venv` that is there.
3. The stamp (a hash of the requirements) is written last. The mark `installing` tells the next run that one was
   interrupted: half-written packages may pass for whole ones, so it begins afresh.
4. The installer inherits the lock: if only we are killed it still holds, and two never write into one `.venv`.
"""
# ruff: noqa: RUF005, S603, S606, UP032

import hashlib
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
REQUIREMENTS = {"up": "requirements.txt", "demo": "requirements.txt", "test": "requirements-dev.txt"}
OLDEST_PYTHON = (3, 11)
OLDEST_PIP = (22, 3)  # the first that knows --python
# Installing must never reach the system's packages, and a .venv of another Python cannot hold this one's wheels: its link may lead
# to a Python that was upgraded since, for which there are no packages in it.
IS_OWN_VENV = (
    "import os, sys, sysconfig; sys.exit(sys.prefix == sys.base_prefix or sys.version_info[:2] != {}"
    " or not os.path.isdir(sysconfig.get_path('purelib')))"
)


def enter(argv, root=ROOT):
    """Replace this process by the same command in `.venv`, installing it first where the command calls for that."""
    if sys.version_info < OLDEST_PYTHON:
        sys.exit("The hub needs Python 3.11 or newer, this is {}. Try: python3.11 {}".format(sys.version.split()[0], " ".join(argv)))
    if _is_kept_off():
        return
    python = os.path.join(root, ".venv", "bin", "python")
    requirements = REQUIREMENTS.get(argv[1] if len(argv) > 1 else "")
    if requirements:
        _prepare(root, python, requirements)
    if os.path.exists(python):
        os.execv(python, [python] + list(argv))


def cure():
    """Say what to do where Django is missing."""
    if not _is_kept_off():
        return "Django is not installed here. Run `python3 manage.py up` once: it installs all into .venv."
    return (
        "Django is not installed in {}, and nothing installs itself in a virtual environment or with HUB_NO_BOOTSTRAP set. "
        "Leave it (deactivate, or unset HUB_NO_BOOTSTRAP) and run `python3 manage.py up`, or install requirements.txt there."
    ).format(sys.prefix)


def _is_kept_off():
    return sys.prefix != sys.base_prefix or bool(os.environ.get("HUB_NO_BOOTSTRAP"))


def _prepare(root, python, requirements):
    try:
        if _is_installed(root, python, requirements):
            return  # without the lock: a checkout may be somebody else's
        with _lock(root) as lock:
            _install_once(root, python, requirements, lock)
    except OSError as exc:
        sys.exit("Cannot prepare .venv: {}. Correct that, then run the same command again.".format(exc))
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command begins afresh.")


def _install_once(root, python, requirements, lock):
    if _is_installed(root, python, requirements):
        return  # by another, for whose end we waited
    venv = os.path.join(root, ".venv")
    stamp, mark = _stamp(root, requirements), os.path.join(venv, "installing")
    wanted = _hash(os.path.join(root, requirements))
    _say("Installing {} into .venv (once, under a minute) ...".format(requirements))
    installer = _installer(python)
    if os.path.exists(mark) or not _is_usable(python):
        _run([sys.executable, "-m", "venv", "--without-pip", "--clear", venv], lock, "apt install python3-venv")
    _write(mark, "")
    _run(installer + ["-r", os.path.join(root, requirements)], lock, "check the network and the package index")
    _write(stamp, wanted)
    os.remove(mark)


def _is_installed(root, python, requirements):
    is_whole = not os.path.exists(os.path.join(root, ".venv", "installing"))
    return is_whole and _read(_stamp(root, requirements)) == _hash(os.path.join(root, requirements)) and _is_usable(python)


def _stamp(root, requirements):
    return os.path.join(root, ".venv", "installed-" + requirements)


def _lock(root):
    import fcntl

    os.makedirs(os.path.join(root, "var"), exist_ok=True)
    lock = open(os.path.join(root, "var", "bootstrap.lock"), "w")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("Another installation is under way; waiting for its end ...")
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _installer(python):
    if shutil.which("uv"):
        return ["uv", "pip", "install", "--quiet", "--python", python]
    pip = [sys.executable, "-m", "pip"]
    found = re.match(r"pip (\d+)\.(\d+)", subprocess.run(pip + ["--version"], capture_output=True, text=True).stdout)
    if not found:
        sys.exit("pip is missing. Run: apt install python3-pip (or install uv), then the same command again.")
    if tuple(int(number) for number in found.groups()) < OLDEST_PIP:
        sys.exit("{} is too old. Run: apt install --upgrade python3-pip (or install uv), then the same command again.".format(found[0]))
    return pip + ["--python", python, "--disable-pip-version-check", "--no-input", "install", "--quiet"]


def _is_usable(python):
    return os.path.exists(python) and subprocess.call([python, "-c", IS_OWN_VENV.format(sys.version_info[:2])]) == 0


def _run(command, lock, advice):
    if subprocess.call(command, pass_fds=(lock.fileno(),)) != 0:
        sys.exit("This failed: {}. To do: {}; then run the same command again.".format(" ".join(command), advice))


def _say(text):
    sys.stderr.write(text + "\n")


def _hash(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _read(path):
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()


def _write(path, text):
    with open(path, "w") as file:
        file.write(text)
