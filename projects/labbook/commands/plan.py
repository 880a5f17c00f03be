"""``lab.py plan STUDY``: what running it would take."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from labbook.config.lineage import Family
from labbook.config.load import to_plain
from labbook.config.studies import Study, find_experiments, get_study
from labbook.results.runs import find_runs
from labbook.run.costs import device_name, known_costs, measure, remove_data, step_key
from labbook.run.jobs import Job, plan_jobs
from labbook.run.plan import make_plan, print_plan
from runfolder.provenance import devices


def execute(options: argparse.Namespace, root: Path) -> int:
    """Print the plan; 1 if a measurement failed."""
    study = get_study(options.study, root, options.debug)
    family = Family(study, root, options.overrides)
    jobs = plan_jobs(family, find_experiments(study, root, options.only), options.train_script)
    device = device_name(jobs[0].cfg.train.get("device", "auto"), devices())
    failed = measure_all(study, jobs, root, device, options.measure) if options.measure else 0
    costs = known_costs(study, root, device, find_runs(study, root))
    print_plan(study, make_plan(jobs, costs, options.seeds), device)
    return 1 if failed else 0


def measure_all(study: Study, jobs: Sequence[Job], root: Path, device: str, steps: int) -> int:
    """Measure what differs in the cost of a step, and return how many could not be measured."""
    distinct = {step_key(to_plain(job.cfg)): job for job in reversed(jobs)}
    failed = 0
    for number, job in enumerate(reversed(distinct.values()), 1):
        print(f"[{number}/{len(distinct)}] {job.name}: {steps} steps ...", flush=True)
        cost = measure(study, job, root, device, steps)
        if isinstance(cost, str):
            failed += 1
            print(f"{job.name} could not be measured: {cost}", file=sys.stderr)
    remove_data(root)
    return failed
