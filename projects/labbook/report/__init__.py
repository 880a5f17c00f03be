"""One self-contained HTML page on a study, made from its run folders alone.

The frames of ``labbook.results`` (and ``matches.npz`` of each run) go in; the page and the error
analysis as JSON come out, both in the study's work folder. Imports ``labbook.results``,
``boxmetrics`` and ``runfolder``.

Start reading at ``page.py``, which puts together what each section shows; ``data.py`` holds what
the sections share. ``templates/`` has a file for each section with all its prose; ``plots.py``
draws, and ``figure.py`` turns a drawing into SVG. ``errors.py`` analyses one run by its matches,
``error_tables.py`` sets the runs side by side.
"""
