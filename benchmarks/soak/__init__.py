"""What a long life does to the project (``make soak``): kills, damaged inputs, many steps.

``parts.py`` names the parts. ``kills.py`` kills a training run at random moments and resumes it,
until it ends in the digits of one that was left alone. ``inputs.py`` has damaged files, made by
``mutate.py``, read in a child process (``reading.py``) with limits of time and memory;
``readers.py`` says which files, and how they are read. ``steps.py`` watches memory and open files
of a long run. ``page.py`` writes ``docs/soak.md`` from what was found. All that is random follows
from a seed, which is printed with each finding.
"""
