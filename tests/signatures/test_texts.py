"""Texts of a pattern, filled in."""

from __future__ import annotations

import pytest

from flowsonar.signatures.language import Product
from flowsonar.signatures.texts import Texts, filled

PRODUCT = Product(product="Thing {kind}", version="{version}", cpe="a:maker:thing")


@pytest.mark.parametrize(
    ("product", "groups", "result"),
    [
        (
            PRODUCT,
            {"kind": "X", "version": "1.2"},
            ("Thing X", "1.2", "cpe:2.3:a:maker:thing:1.2:*:*:*:*:*:*:*"),
        ),
        (PRODUCT, {"kind": "X"}, ("Thing X", None, "cpe:2.3:a:maker:thing:*:*:*:*:*:*:*:*")),
        (PRODUCT, {"version": "1"}, (None, "1", None)),
        (PRODUCT, {"kind": "X", "version": "1:*?\\"}, ("Thing X", "1:*?\\", None)),
        (PRODUCT, {"kind": "\x1b[31m\0\x9b", "version": ""}, ("Thing [31m", None, None)),
        (PRODUCT, {"kind": "x" * 500}, ("Thing " + "x" * 128, None, None)),
        (Product(), {}, (None, None, None)),
        (Product(product="p", cpe="cpe:2.3:o:a:b:{version}"), {"version": "3"}, ("p", None, "cpe:2.3:o:a:b:3")),
    ],
)
def test_filled(product: Product, groups: dict[str, str], result: tuple[str | None, str | None, str | None]) -> None:
    name, version, cpe = filled(product, groups)
    assert (name, version) == result[:2]
    if result[2] is not None:
        assert cpe == result[2]


def test_a_cpe_quotes_what_would_break_it() -> None:
    assert filled(PRODUCT, {"kind": "x", "version": "1:*~B"})[2] == r"cpe:2.3:a:maker:thing:1\:\*\~b:*:*:*:*:*:*:*"


@pytest.mark.parametrize(
    ("product", "detail", "constant"),
    [
        (Product(), "", True),
        (Product(product="p", version="1", cpe="a:b:p"), "said {so it", True),
        (Product(product="p", version="{version}"), "", False),
        (Product(product="p"), "said {what}", False),
    ],
)
def test_says_whether_a_group_is_referred_to(product: Product, detail: str, constant: bool) -> None:
    assert Texts(product, detail).constant is constant


def test_the_detail_is_filled_too() -> None:
    texts = Texts(Product(product="p"), "said {what}")
    assert texts.filled({"what": " this\x07 "}) == ("p", None, None, "said this")
    assert texts.filled({}) == ("p", None, None, "")


@pytest.mark.parametrize("cpe", [None, "a:maker:thing", ""])
@pytest.mark.parametrize(
    "version", ["1.2", "R2", "1", ".", "", "1-2", "1 2", "\xe9", "\x1b", " 1", "1" * 128, "1" * 129]
)
def test_a_plain_version_says_what_the_general_way_says(cpe: str | None, version: str) -> None:
    texts = Texts(Product(product="p", version="{version}", cpe=cpe), "seen")
    said = texts.of_plain_version(version.encode("latin-1"))
    assert said in (None, texts.filled({"version": version}))
    assert (said is not None) is (version in ("1.2", "R2", "1", "1" * 128))


@pytest.mark.parametrize(
    ("product", "bare"),
    [
        (Product(product="p", version="{v}"), "v"),
        (Product(product="p", version="v{v}"), None),
        (Product(product="p {v}", version="{v}"), None),
        (Product(product="p", version="{v}", cpe="cpe:2.3:a:b:c"), None),
        (Product(product="p", version="1"), None),
    ],
)
def test_says_which_group_alone_is_the_version(product: Product, bare: str | None) -> None:
    assert Texts(product).bare == bare
