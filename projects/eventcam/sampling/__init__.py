"""Which steps of prepared recordings are played together, when, and by which process.

Flows in: prepared recordings; out: lists of sequence samples, a micro-batch each. The order
depends on data, settings, seed and step only, so that a run resumes anywhere. Start reading at
``sequences`` (a sample), then ``spans`` and ``schedule`` (the order), then the two loaders.
"""
