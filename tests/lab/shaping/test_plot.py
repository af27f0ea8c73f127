from lab.shaping.plot import longest


def test_the_longest_delay_of_each_part_of_the_time() -> None:
    points = [[0.0, 10.0], [0.1, 12.5], [0.25, 11.0], [0.9, 30.0], [0.85, 31.0]]
    assert longest(points, 0.5) == ([0.25, 0.75], [12.5, 31.0])
    assert longest([], 0.5) == ([], [])
