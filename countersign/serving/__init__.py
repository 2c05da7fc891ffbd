"""Serving: the champion behind HTTP. Needs the extra ``serve``; nothing else of the package imports it but its command.

Belongs here: requests, answers, limits, access. Does not belong here: how anything is scored (``model.scoring``), which
model is in service (``steps.service``). It reads artifacts and the journal, and writes ``requests.jsonl`` alone.
"""
