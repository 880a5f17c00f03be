"""Pictures of what a model is trained on: samples as augmented, and which cells learn them.

Flows in: batches of the training loader, and a model; out: sheets (PNG), drawn by ``pictures``, and
tables. It may import all of ``smalldet`` but ``export``. Start reading at ``assignment``.
"""
