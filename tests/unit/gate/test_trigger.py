"""Trigger: a retrain is asked for once for each breach, and a person is told why or why not."""

from __future__ import annotations

from datetime import timedelta

from countersign.gate.trigger import Breach, decide_retrain
from tests.unit.gate.book import DAY, HOUR, Book

DRIFT = Breach("drift", "drift:drift@2026-11-20", "2026-08-20", "2026-11-25", "PSI of volume is 0.31")
ERROR = Breach("error", "metrics:qlike_rise@2026-11-24", "2026-08-20", "2026-11-25", "QLIKE rose by 30 %")
COOL = 30 * DAY


def decide(book: Book, drift: Breach | None = DRIFT, error: Breach | None = None) -> tuple[Breach | None, str]:
    found = decide_retrain(drift, error, book.state, COOL, book.now)
    return found.breach, found.reason


def asked(book: Book, breach: Breach) -> None:
    book.wish(cause=breach.cause, breach=breach.event, by=None)


def answered(book: Book) -> None:
    book.add("retrain_blocked", retrain="", model="", evidence="", reason="not calibrated")


def test_without_a_breach_the_model_stays() -> None:
    assert decide(Book(), None) == (None, "no drift, and the error has not risen: the model stays")


def test_drift_or_error_asks_and_both_are_told_in_one_wish() -> None:
    assert decide(Book()) == (DRIFT, "PSI of volume is 0.31")
    assert decide(Book(), None, ERROR) == (ERROR, "QLIKE rose by 30 %")
    assert decide(Book(), DRIFT, ERROR) == (DRIFT, "PSI of volume is 0.31; QLIKE rose by 30 %")


def test_without_a_model_in_service_nothing_has_aged() -> None:
    breach, reason = decide(Book(bootstrapped=False))
    assert breach is None
    assert reason == "no model is in service that could have aged (PSI of volume is 0.31)"


def test_a_retrain_that_is_open_is_not_asked_for_again_however_long_it_takes() -> None:
    book = Book()
    asked(book, DRIFT)
    book.now += 365 * DAY
    breach, reason = decide(book, DRIFT, ERROR)
    assert breach is None
    assert reason.startswith("the retrain asked for at 2026-11-25 12:00 UTC is not finished yet (")


def test_while_a_request_waits_none_is_asked_for() -> None:
    book = Book()
    book.ask("second")
    breach, reason = decide(book)
    assert breach is None
    assert reason == "r1 waits for a signature since 2026-11-25 12:00 UTC (PSI of volume is 0.31)"


def test_a_breach_leads_to_one_retrain_whatever_came_of_it_and_the_next_one_to_another() -> None:
    book = Book()
    asked(book, DRIFT)
    answered(book)
    book.now += COOL
    breach, reason = decide(book)
    assert breach is None
    assert reason.startswith("this breach led to a retrain already; a person can ask for one: countersign retrain")
    assert decide(book, DRIFT, ERROR)[0] == ERROR, "the error is a breach of its own"
    came_back = Breach("drift", "drift:drift@2026-12-20", "2026-09-20", "2026-12-25", "PSI of volume is 0.4")
    assert decide(book, came_back)[0] == came_back


def test_after_a_retrain_or_a_deployment_it_cools_down_to_the_second() -> None:
    book = Book()
    asked(book, DRIFT)
    answered(book)
    book.now += COOL - timedelta(seconds=1)
    breach, reason = decide(book, None, ERROR)
    assert breach is None
    assert reason.startswith("cooling down until 2026-12-25 12:00 UTC after the last retrain")
    book.now += timedelta(seconds=1)
    assert decide(book, None, ERROR)[0] == ERROR

    book = Book()
    book.ask("second")
    book.now += 6 * DAY
    book.sign("approve", "alice")
    book.deploy()
    book.now += COOL - HOUR
    assert decide(book)[0] is None, "from the deployment on, not from the retrain"
    book.now += HOUR
    assert decide(book)[0] == DRIFT


def test_the_first_deployment_cools_nothing_down() -> None:
    assert decide(Book())[0] == DRIFT
