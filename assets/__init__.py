"""Assets: what Dagster shows and runs, one module per group. Thin: each calls one step of ``countersign.steps``.

Does not belong here: formulas, file formats, schedules (``sensors``).
"""
