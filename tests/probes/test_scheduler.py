from flowsonar.probes.scheduler import EASED, Scheduler


def started(scheduler: Scheduler[str]) -> list[str]:
    names = []
    while (one := scheduler.start()) is not None:
        names.append(one[0])
    return names


def test_heaviest_first_then_first_come():
    scheduler: Scheduler[str] = Scheduler(parallel=10, per_host=10)
    for name, weight in (("a", 1), ("b", 5), ("c", 5), ("d", 9)):
        assert scheduler.add(name, f"host-{name}", weight)
    assert started(scheduler) == ["d", "b", "c", "a"]
    assert len(scheduler) == 0


def test_no_more_at_a_time_than_parallel():
    scheduler: Scheduler[str] = Scheduler(parallel=2, per_host=10)
    for name in "abcd":
        scheduler.add(name, name, 0)
    assert started(scheduler) == ["a", "b"]
    scheduler.finish("a")
    assert started(scheduler) == ["c"]
    assert scheduler.active == 2


def test_few_per_host_and_the_rest_of_the_network_is_not_held_up():
    scheduler: Scheduler[str] = Scheduler(parallel=10, per_host=1)
    for name in ("a1", "a2", "a3", "b1"):
        scheduler.add(name, name[0], 9 if name == "a2" else 0)
    assert started(scheduler) == ["a2", "b1"]
    scheduler.finish("a")
    assert started(scheduler) == ["a1"]
    scheduler.finish("a")
    assert started(scheduler) == ["a3"]
    scheduler.finish("a")
    scheduler.finish("b")
    assert scheduler.active == 0
    assert started(scheduler) == []


def test_removed_items_are_never_started():
    scheduler: Scheduler[str] = Scheduler(parallel=10, per_host=1)
    names = ["a", "b", "c"]
    for name in names:
        scheduler.add(name, "host", 0)
    scheduler.remove(names[0])
    scheduler.remove(names[0])
    assert started(scheduler) == ["b"]
    scheduler.remove(names[2])
    scheduler.finish("host")
    assert started(scheduler) == []
    assert len(scheduler) == 0


def test_a_full_queue_turns_away():
    scheduler: Scheduler[str] = Scheduler(parallel=1, per_host=1, waiting=2)
    assert scheduler.add("a", "a", 0)
    assert scheduler.add("b", "b", 0)
    assert not scheduler.add("c", "c", 9)
    assert scheduler.turned_away == 1
    assert started(scheduler) == ["a"]
    assert scheduler.add("d", "d", 9)


def test_a_long_conversation_lets_another_one_begin_beside_it_but_not_without_end():
    scheduler: Scheduler[str] = Scheduler(parallel=100, per_host=2)
    for number in range(20):
        scheduler.add(f"a{number}", "a", 0)
    assert started(scheduler) == ["a0", "a1"]
    eased = 0
    while scheduler.ease("a"):
        eased += 1
        assert len(started(scheduler)) == 1
    assert (eased, scheduler.eased, scheduler.active) == (EASED * 2, EASED * 2, 2)
    scheduler.finish("a", eased=True)
    assert started(scheduler) == []
    assert scheduler.ease("a")
    assert len(started(scheduler)) == 1
    for _ in range(scheduler.eased):
        scheduler.finish("a", eased=True)
    for _ in range(2):
        scheduler.finish("a")
    assert (scheduler.active, scheduler.eased) == (0, 0)
    assert started(scheduler) == ["a9", "a10"]


def test_those_that_do_not_count_are_held_all_the_same():
    scheduler: Scheduler[str] = Scheduler(parallel=2, per_host=2, most=3)
    for name in "abcdef":
        scheduler.add(name, name, 0)
    assert started(scheduler) == ["a", "b"]
    assert scheduler.ease("a")
    assert scheduler.ease("b")
    assert started(scheduler) == ["c"]
    scheduler.finish("a", eased=True)
    assert started(scheduler) == ["d"]


def test_ready_says_whether_there_may_be_something_to_start():
    scheduler = Scheduler(parallel=1, per_host=1)
    assert not scheduler.ready
    scheduler.add("a", "h", 0)
    scheduler.add("b", "h", 0)
    assert scheduler.ready
    assert started(scheduler) == ["a"]
    assert not scheduler.ready
    scheduler.finish("h")
    assert scheduler.ready
