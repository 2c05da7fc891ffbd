"""Sensors: all that starts runs (jobs, schedules, and the launcher for a shell).

Does not belong here: assets, decisions (pure functions of ``countersign``).
"""
