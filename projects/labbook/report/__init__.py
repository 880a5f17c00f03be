"""One self-contained HTML page on a study, made from its run folders alone."""
