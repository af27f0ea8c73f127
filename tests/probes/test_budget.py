import pytest

from flowsonar.config import BudgetSettings
from flowsonar.probes.budget import HOSTS_REMEMBERED, Budget, TokenBucket, prefix_of


def test_bucket_gives_its_burst_and_then_its_rate():
    bucket = TokenBucket(rate=10, burst=3, now_s=0)
    for _ in range(3):
        assert bucket.delay_s(0) == 0
        bucket.take(0)
    assert bucket.delay_s(0) == pytest.approx(0.1)
    assert bucket.delay_s(0.1) == pytest.approx(0)


def test_bucket_in_debt_makes_later_ones_wait_longer():
    bucket = TokenBucket(rate=10, burst=1, now_s=0)
    waits = []
    for _ in range(4):
        waits.append(bucket.delay_s(0))
        bucket.take(0)
    assert waits == pytest.approx([0, 0.1, 0.2, 0.3])


def test_bucket_never_holds_more_than_its_burst_and_time_never_runs_backwards():
    bucket = TokenBucket(rate=10, burst=2, now_s=0)
    bucket.take(1000)
    bucket.take(1000)
    assert bucket.delay_s(1000) == pytest.approx(0.1)
    assert bucket.delay_s(5) == pytest.approx(0.1)


def settings(**values) -> BudgetSettings:
    return BudgetSettings(**{"rate": 1000.0, "burst": 1000, "per_host_rate": 1000.0, "per_host_burst": 1000,
                             "per_prefix_rate": 1000.0, "per_prefix_burst": 1000, **values})  # fmt: skip


@pytest.mark.parametrize(
    ("values", "other_host_waits", "other_prefix_waits"),
    [
        ({"rate": 10.0, "burst": 1}, True, True),
        ({"per_prefix_rate": 10.0, "per_prefix_burst": 1}, True, False),
        ({"per_host_rate": 10.0, "per_host_burst": 1}, False, False),
    ],
)
def test_each_bucket_holds_back_what_it_is_for(values, other_host_waits, other_prefix_waits):
    budget = Budget(settings(**values), 0)
    assert budget.take("10.0.0.1", 0) == 0
    assert budget.delay_s("10.0.0.1", 0) == pytest.approx(0.1)
    assert (budget.delay_s("10.0.0.2", 0) > 0) is other_host_waits
    assert (budget.delay_s("10.0.1.2", 0) > 0) is other_prefix_waits
    assert budget.take("10.0.0.1", 0) == pytest.approx(0.1)
    assert budget.waited == 1


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("10.0.0.1", "10.0.0.254", "10.0.1.1"),
        ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),
        ("::ffff:10.0.0.1", "10.0.0.9", "10.0.1.9"),
    ],
)
def test_prefixes(address, same, other):
    assert prefix_of(address) == prefix_of(same)
    assert prefix_of(address) != prefix_of(other)


def test_refusals_in_a_row_slow_down_and_an_answer_ends_it():
    budget = Budget(settings(), 0)
    for _ in range(64):
        budget.refused("10.0.0.1", 0)
    assert budget.delay_s("10.0.0.1", 0) == 0
    budget.refused("10.0.0.1", 0)
    first = budget.delay_s("10.0.0.1", 0)
    assert first > 0
    budget.refused("10.0.0.1", 0)
    assert budget.delay_s("10.0.0.1", 0) == pytest.approx(2 * first)
    for _ in range(40):
        budget.refused("10.0.0.1", 0)
    assert budget.delay_s("10.0.0.1", 0) == pytest.approx(0.25)
    assert budget.delay_s("10.0.0.2", 0) == 0
    budget.answered("10.0.0.1")
    assert budget.delay_s("10.0.0.1", 0) == 0


def test_prohibitions_are_respected_for_longer_each_time():
    budget = Budget(settings(), 0)
    budget.prohibited("10.0.0.1", 0)
    assert budget.delay_s("10.0.0.1", 0) == pytest.approx(10)
    budget.prohibited("10.0.0.1", 10)
    assert budget.delay_s("10.0.0.1", 10) == pytest.approx(20)
    for _ in range(40):
        budget.prohibited("10.0.0.1", 10)
    assert budget.delay_s("10.0.0.1", 10) == pytest.approx(600)


def test_memory_is_bounded():
    budget = Budget(settings(), 0)
    for number in range(HOSTS_REMEMBERED + 10):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        budget.take(address, 0)
        budget.refused(address, 0)
    assert len(budget._hosts) == HOSTS_REMEMBERED
    assert len(budget._backoffs) == HOSTS_REMEMBERED
