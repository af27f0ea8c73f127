from flowsonar.signatures import load_signatures
from flowsonar.signatures.page import asked, known_products, place_of, render_page

LOADED = load_signatures()
PAGE = render_page(LOADED)


def test_every_service_has_its_row_and_its_section() -> None:
    for service in LOADED.services:
        assert f"| [`{service}`](#{service}) |" in PAGE
        assert f"\n### {service}\n" in PAGE


def test_what_is_not_asked_says_so() -> None:
    for signature in LOADED.services.values():
        section = PAGE.split(f"\n### {signature.service}\n", 1)[1].split("\n### ", 1)[0]
        assert ("- passive only: no probe" in section) == (not signature.probes)
        assert all(f"- asks `{probe.name}`" in section for probe in signature.probes)


def test_it_is_the_same_every_time() -> None:
    assert render_page(load_signatures()) == PAGE


def test_parts() -> None:
    assert "22/tcp" in place_of(LOADED.services["ssh"])
    assert "IP protocol 2" in place_of(LOADED.services["igmp"])
    assert asked(LOADED.services["igmp"]) == "passive only"
    assert "OpenSSH" in known_products(LOADED.services["ssh"])
    assert not any("{" in name for one in LOADED.services.values() for name in known_products(one))
