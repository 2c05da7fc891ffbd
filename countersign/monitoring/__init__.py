"""Monitoring: is the data sound, has the world changed, is the model still good, does the system run, what came of it.

Belongs here: measures and the verdicts on them, one module a measure; pure functions of arrays and thresholds. Does
not belong here: reading artifacts (``steps``), telling people (``report``, alerts).
"""
