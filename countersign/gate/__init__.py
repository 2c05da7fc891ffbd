"""Gate: the signed decision that alone puts a model into service: its words, its signature, and who may sign.

Knows nothing of Dagster, of the journal's events, or of how a model is trained.
"""
