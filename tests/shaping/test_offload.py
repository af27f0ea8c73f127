from flowsonar.shaping import offload

from .namespaces import inside, needs_root


def test_an_interface_that_is_not_there_has_none() -> None:
    assert offload.read("fsnothere") == {}
    assert not offload.write("fsnothere", "gro", True)


@needs_root
def test_it_is_switched_and_read_back() -> None:
    with inside("wan"):
        before = offload.read("wan")
        assert set(before) <= set(offload.NAMES)
        assert offload.write("wan", "tso", not before["tso"])
        assert offload.read("wan")["tso"] is not before["tso"]
        assert offload.write("wan", "tso", before["tso"])
        assert offload.read("wan") == before
