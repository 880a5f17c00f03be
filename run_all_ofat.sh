#!/bin/sh
# All experiments of the OFAT study:  ./run_all_ofat.sh [--debug] [--seeds K] [--gpus 0,1] [key=value ...]
# Skips finished runs, resumes interrupted ones, goes on past failed ones; ends with the table.
set -eu
cd "$(dirname "$0")"
python=.venv/bin/python
[ -x "$python" ] || python=python
exec "$python" tools/lab.py run ofat "$@"
