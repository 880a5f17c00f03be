"""Box metrics on plain arrays: matching, average precision, protocols, error types, intervals.

Flows in: boxes (N, 4) xyxy_abs, scores and classes as numpy arrays (``tables.BoxTable``,
``matches.Matches``); out: scores in percent, labels of errors, bootstrap intervals. A leaf: it
imports numpy alone, so it runs wherever results are read. Start reading at ``protocols``.
"""
