"""Experiments: strict configs, the guard of what they declare, runs, results, a report.

``config`` loads, checks and compares config files, ``authoring`` writes studies; ``run`` plans and
starts runs and keeps their records; ``results`` turns run folders into data frames and tables;
``report`` writes the page; ``cli`` declares the commands of ``tools/lab.py``, and ``commands`` does
them.

Flows in: config files and run folders; out: tables, pages, processes. Knows no model: it never
imports torch, and Detectron2 only to run a config file. May import ``boxmetrics`` and
``runfolder``. Start reading at ``cli``.
"""
