#!/bin/sh
# One experiment of the OFAT study:  ./run_single_ofat.sh NAME [--debug] [key=value ...]
set -eu
cd "$(dirname "$0")"
python=.venv/bin/python
[ -x "$python" ] || python=python
if [ $# -eq 0 ] || [ "${1#-}" != "$1" ]; then
    echo "usage: $0 NAME [--debug] [key=value ...]; the names are:" >&2
    "$python" tools/lab.py list ofat >&2
    exit 2
fi
name=$1
shift
exec "$python" tools/lab.py run ofat --only "$name" "$@"
