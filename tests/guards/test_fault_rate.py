"""Faults of the link among the last 1000 vectors."""

from hil.campaign.guards.fault_rate import FaultRate


def test_faults_of_the_last_thousand_vectors_count() -> None:
    rate = FaultRate()
    assert rate.read(400, faults_so_far=2) == 2
    assert rate.read(400, faults_so_far=3) == 3
    assert rate.read(200, faults_so_far=3) == 3


def test_faults_before_them_do_not() -> None:
    rate = FaultRate()
    rate.read(500, faults_so_far=4)
    assert rate.read(500, faults_so_far=5) == 5
    assert rate.read(500, faults_so_far=6) == 2


def test_what_was_dealt_with_is_forgotten() -> None:
    rate = FaultRate()
    rate.read(500, faults_so_far=4)
    rate.forget(faults_so_far=4)
    assert rate.read(100, faults_so_far=5) == 1
