# Sourced by the other scripts: `extras=NAMES; . scripts/venv.sh` makes a virtual environment with flow and its
# extras NAMES in it, once per pyproject.toml, and sets $python to its interpreter.
#
# PYTHON names the interpreter to make it with (python3), FLOW_VENV the folder (.venv): one that is new, empty or a
# virtual environment, since that is emptied where it does not fit.
set -eu
CDPATH='' cd -- "$(dirname -- "$0")/.."
venv="${FLOW_VENV:-.venv}"
base="${PYTHON:-python3}"
if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "flow needs Python 3.11 or newer; '$base' is $("$base" --version 2>&1). Set PYTHON=python3.x" >&2
    exit 2
fi
case "$venv" in
    /*) ;;
    *) venv="./$venv" ;; # else a name that begins with '-' would be an option
esac
if { [ -e "$venv" ] || [ -L "$venv" ]; } && [ ! -d "$venv" ]; then
    echo "'$venv' is no folder. Set FLOW_VENV to another" >&2
    exit 2
fi
version='import sys; print("%d.%d" % sys.version_info[:2])'
# Made anew if it is another Python's, or was left half made.
if [ "$("$venv/bin/python" -c "$version" 2>/dev/null || true)" != "$("$base" -c "$version")" ] \
    || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    if [ -d "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        echo "'$venv' is not emptied: it is no virtual environment (no pyvenv.cfg). Set FLOW_VENV to another" >&2
        exit 2
    fi
    "$base" -m venv --clear "$venv"
fi
python="$venv/bin/python"
stamp="$venv/.flow-$extras"
wanted="$(cksum pyproject.toml)"
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
    "$python" -m pip install --quiet --disable-pip-version-check --editable ".[$extras]"
    echo "$wanted" > "$stamp"
fi
