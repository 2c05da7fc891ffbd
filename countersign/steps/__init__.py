"""Steps: the pipeline's tasks on one project, each from verified inputs to a stored artifact; one module per group.

Belongs here: reading, calling one domain function, checking, writing. Does not belong here: Dagster (``assets``
calls these), formulas. A step takes sessions in order and yields each as soon as it is stored, so that a range costs
one read of the source and one pass over its features. Nothing is written for a session that is refused.

ingest and clean of the seed are in ``prices``, train_or_score in ``model`` (train) and ``scoring`` (score), report in
``reports``.
"""
