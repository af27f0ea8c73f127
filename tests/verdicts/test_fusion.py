import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsonar import limits
from flowsonar.model import Confidence, Evidence, EvidenceKind, Layer, Side, TrafficClass, Verdict
from flowsonar.verdicts.fusion import contradicts, fuse, is_inside

CONFIRMED, LIKELY, GUESS, UNKNOWN = Confidence.CONFIRMED, Confidence.LIKELY, Confidence.GUESS, Confidence.UNKNOWN
REPLY, PAYLOAD, ENDPOINT = EvidenceKind.REPLY, EvidenceKind.PAYLOAD, EvidenceKind.ENDPOINT
ANNOUNCED, BEHAVIOUR, NAME, PORT = (
    EvidenceKind.ANNOUNCED,
    EvidenceKind.BEHAVIOUR,
    EvidenceKind.NAME,
    EvidenceKind.PORT,
)


def piece(kind, service, confidence=CONFIRMED, **fields):
    return Evidence(kind=kind, service=service, confidence=confidence, **fields)


def class_of(service):
    return TrafficClass.REALTIME if service in ("skype", "sip") else TrafficClass.INTERACTIVE


def label(*evidence):
    verdict = fuse(evidence, class_of)
    return (verdict.service, verdict.over, verdict.confidence, verdict.conflicts)


TLS = piece(PAYLOAD, "tls")
HTTPS = piece(REPLY, "http", over=Layer.TLS)

LABELS = [
    ("nothing", [], (None, None, UNKNOWN, ())),
    ("one reply", [piece(REPLY, "ftp")], ("ftp", None, CONFIRMED, ())),
    ("an observation without a service", [piece(REPLY, None)], (None, None, UNKNOWN, ())),
    ("unknown never labels", [piece(REPLY, "ftp", UNKNOWN)], (None, None, UNKNOWN, ())),
    ("a reply beats a port", [piece(PORT, "http", GUESS), piece(REPLY, "ssh")], ("ssh", None, CONFIRMED, ())),
    # rule 2: caps
    ("port is a guess", [piece(PORT, "http")], ("http", None, GUESS, ())),
    ("name is a guess", [piece(NAME, "http", LIKELY)], ("http", None, GUESS, ())),
    ("behaviour is likely", [piece(BEHAVIOUR, "skype")], ("skype", None, LIKELY, ())),
    ("cached guess stays a guess", [piece(ENDPOINT, "http", GUESS)], ("http", None, GUESS, ())),
    ("cached confirmed stays", [piece(ENDPOINT, "http")], ("http", None, CONFIRMED, ())),
    # rule 3: ties
    (
        "more specific wins",
        [piece(REPLY, "ftp", LIKELY, specificity=1), piece(REPLY, "smtp", LIKELY, specificity=9)],
        ("smtp", None, LIKELY, ("ftp",)),
    ),
    (
        "announced stands nearer than content",
        [piece(PAYLOAD, "http", specificity=90), piece(ANNOUNCED, "ftp")],
        ("ftp", None, LIKELY, ("http",)),
    ),
    (
        "a server is believed before its client",
        [piece(PAYLOAD, "http", side=Side.INITIATOR, specificity=90), piece(REPLY, "ssh", side=Side.RESPONDER)],
        ("ssh", None, LIKELY, ("http",)),
    ),
    # rule 4: guesses
    ("port and name do not add up", [piece(PORT, "sip", GUESS), piece(NAME, "sip", GUESS)], ("sip", None, GUESS, ())),
    (
        "one sign and a port do not add up",
        [piece(PAYLOAD, "sip", GUESS), piece(PORT, "sip", GUESS)],
        ("sip", None, GUESS, ()),
    ),
    (
        "two signs of one kind do not add up",
        [piece(PAYLOAD, "sip", GUESS, detail="a"), piece(PAYLOAD, "sip", GUESS, detail="b")],
        (None, None, UNKNOWN, ()),
    ),
    (
        "two independent signs are likely",
        [piece(PAYLOAD, "skype", GUESS), piece(BEHAVIOUR, "skype", GUESS)],
        ("skype", None, LIKELY, ()),
    ),
    (
        "a greeting that the flow showed and we heard is one sign",
        [piece(PAYLOAD, "ftp", GUESS), piece(REPLY, "ftp", GUESS, probe="listen"), piece(PORT, "ftp", GUESS)],
        ("ftp", None, GUESS, ()),
    ),
    (
        "a greeting and an answer are two",
        [piece(PAYLOAD, "ftp", GUESS), piece(REPLY, "ftp", GUESS, probe="ftp/features")],
        ("ftp", None, LIKELY, ()),
    ),
    (
        "they must agree",
        [piece(PAYLOAD, "skype", GUESS), piece(BEHAVIOUR, "sip", GUESS)],
        (None, None, UNKNOWN, ()),
    ),
    (
        "likely never rises",
        [piece(PAYLOAD, "skype", LIKELY), piece(BEHAVIOUR, "skype", LIKELY), piece(REPLY, "skype", LIKELY)],
        ("skype", None, LIKELY, ()),
    ),
    # rule 9: guesses that rest on nothing, and such that cancel each other
    ("bytes that anybody may say", [piece(PAYLOAD, "redis", GUESS)], (None, None, UNKNOWN, ())),
    ("a reply that fits any question", [piece(REPLY, "bittorrent", GUESS)], (None, None, UNKNOWN, ())),
    ("such bytes and a name", [piece(REPLY, "http", GUESS), piece(NAME, "http")], ("http", None, GUESS, ())),
    (
        "a greeting of two services",
        [piece(PAYLOAD, "pop3", GUESS), piece(PAYLOAD, "redis", GUESS, specificity=9)],
        (None, None, UNKNOWN, ()),
    ),
    (
        "the port decides between guesses",
        [piece(PAYLOAD, "ftp", GUESS), piece(PAYLOAD, "smtp", GUESS), piece(PORT, "ftp", GUESS)],
        ("ftp", None, GUESS, ("smtp",)),
    ),
    (
        "hints for both",
        [*(piece(PAYLOAD, of, GUESS) for of in ("ftp", "smtp")), piece(PORT, "ftp", GUESS), piece(NAME, "smtp", GUESS)],
        (None, None, UNKNOWN, ()),
    ),
    (
        "a weak sign and the port of another",
        [piece(PAYLOAD, "ftp", GUESS), piece(PORT, "http", GUESS)],
        (None, None, UNKNOWN, ()),
    ),
    # rule 5: carriers
    ("inside beats carrier", [TLS, HTTPS], ("http", Layer.TLS, CONFIRMED, ())),
    (
        "likely inside beats carrier",
        [TLS, piece(REPLY, "http", LIKELY, over=Layer.TLS)],
        ("http", Layer.TLS, LIKELY, ()),
    ),
    ("guessed inside does not", [TLS, piece(NAME, "http", GUESS, over=Layer.TLS)], ("tls", None, CONFIRMED, ())),
    (
        "of two guesses the inner",
        [piece(PORT, "tls", GUESS), piece(PORT, "http", GUESS, over=Layer.TLS)],
        ("http", Layer.TLS, GUESS, ()),
    ),
    (
        "quic does not carry what is over tls",
        [piece(PAYLOAD, "quic"), piece(ENDPOINT, "http", over=Layer.TLS)],
        ("quic", None, CONFIRMED, ("http",)),
    ),
    (
        "quic carries http",
        [piece(PAYLOAD, "quic"), piece(REPLY, "http", over=Layer.QUIC)],
        ("http", Layer.QUIC, CONFIRMED, ()),
    ),
    ("STARTTLS in the middle", [TLS, piece(ENDPOINT, "smtp")], ("smtp", Layer.TLS, CONFIRMED, ())),
    (
        "a TLS port answers plain HTTP too",
        [piece(REPLY, "http", detail="400 plain"), HTTPS, TLS],
        ("http", Layer.TLS, CONFIRMED, ()),
    ),
    (
        "a flow in clear is in clear, whatever else the port speaks",
        [piece(PAYLOAD, "http", side=Side.RESPONDER), HTTPS],
        ("http", None, CONFIRMED, ()),
    ),
    # rule 6: cached
    (
        "own bytes beat the cache",
        [piece(PAYLOAD, "ssh", LIKELY), piece(ENDPOINT, "http")],
        ("ssh", None, LIKELY, ("http",)),
    ),
    (
        "own guess does not",
        [piece(PAYLOAD, "ssh", GUESS), piece(ENDPOINT, "http", LIKELY)],
        ("http", None, LIKELY, ()),
    ),
    (
        "confirmed own bytes stay confirmed",
        [piece(PAYLOAD, "ssh"), piece(ENDPOINT, "http")],
        ("ssh", None, CONFIRMED, ("http",)),
    ),
    (
        "TLS from a port that was plain HTTP",
        [TLS, piece(ENDPOINT, "http")],
        ("tls", None, CONFIRMED, ("http",)),
    ),
    # rule 7: conflicts
    (
        "two confirmed disagree",
        [piece(PAYLOAD, "ssh", side=Side.RESPONDER, specificity=1), piece(REPLY, "http")],
        ("ssh", None, LIKELY, ("http",)),
    ),
    (
        "three",
        [piece(REPLY, "ssh", specificity=3), piece(REPLY, "http", specificity=2), piece(REPLY, "ftp", specificity=1)],
        ("ssh", None, LIKELY, ("http", "ftp")),
    ),
    ("weaker is no conflict", [piece(REPLY, "ssh"), piece(REPLY, "http", LIKELY)], ("ssh", None, CONFIRMED, ())),
    (
        "a rival of what is inside TLS",
        [TLS, HTTPS, piece(REPLY, "ssh")],
        ("http", Layer.TLS, LIKELY, ("ssh",)),
    ),
]


@pytest.mark.parametrize(("evidence", "expected"), [case[1:] for case in LABELS], ids=[case[0] for case in LABELS])
def test_label(evidence, expected):
    assert label(*evidence) == expected


def test_class_and_name_go_along():
    verdict = fuse([piece(REPLY, "skype")], class_of, "example.org")
    assert (verdict.traffic_class, verdict.name) == (TrafficClass.REALTIME, "example.org")
    assert fuse([], class_of, "example.org") == Verdict(name="example.org")


PRODUCTS = [
    ("of one piece", [piece(REPLY, "ftp", product="vsFTPd", version="3")], ("vsFTPd", "3", None)),
    (
        "merged, most specific first",
        [
            piece(REPLY, "http", product="nginx", specificity=1),
            piece(REPLY, "http", product="nginx", version="1.22", specificity=9),
            piece(PAYLOAD, "http", LIKELY, cpe="cpe:/a:nginx:nginx"),
        ],
        ("nginx", "1.22", "cpe:/a:nginx:nginx"),
    ),
    (
        "no version of another product",
        [
            piece(REPLY, "http", product="nginx", specificity=9),
            piece(REPLY, "http", product="Apache", version="2.4", specificity=1),
        ],
        ("nginx", None, None),
    ),
    (
        "not of another service",
        [piece(REPLY, "ssh"), piece(REPLY, "http", LIKELY, product="nginx", version="1")],
        (None, None, None),
    ),
    (
        "not what the client says of itself",
        [piece(PAYLOAD, "http", side=Side.INITIATOR, product="curl", version="8")],
        (None, None, None),
    ),
    (
        "a client that answered us is a service",
        [piece(REPLY, "http", side=Side.INITIATOR, product="aria2")],
        ("aria2", None, None),
    ),
    ("empty is none", [piece(REPLY, "http", product="", version="", cpe="")], (None, None, None)),
]


@pytest.mark.parametrize(("evidence", "expected"), [case[1:] for case in PRODUCTS], ids=[case[0] for case in PRODUCTS])
@pytest.mark.parametrize("turned", [False, True])
def test_product(evidence, expected, turned):
    verdict = fuse(evidence[::-1] if turned else evidence, class_of)
    assert (verdict.product, verdict.version, verdict.cpe) == expected


def test_evidence_is_ordered_and_each_piece_counts_once():
    weak, strong, observed = piece(PORT, "http", GUESS), piece(REPLY, "http"), piece(REPLY, None, UNKNOWN, detail="?")
    assert fuse([weak, observed, strong, weak, strong], class_of).evidence == (strong, weak, observed)


def test_evidence_is_bounded_and_keeps_one_of_each_kind_and_service():
    many = [piece(REPLY, "http", detail=str(number)) for number in range(50)]
    verdict = fuse([*many, piece(PORT, "http", GUESS), piece(BEHAVIOUR, "skype", GUESS)], class_of)
    assert len(verdict.evidence) == limits.EVIDENCE_ITEMS
    assert {item.kind for item in verdict.evidence} == {REPLY, PORT, BEHAVIOUR}
    assert "skype" in {item.service for item in verdict.evidence}
    assert verdict.evidence[0] == many[0]


PARENTS = {"docker": "http", "swarm": "docker", "etcd": "http"}
FAMILIES = [
    ("as sure as its parent", [piece(REPLY, "http", specificity=90), piece(REPLY, "docker")], ("docker", CONFIRMED)),
    ("less sure", [piece(REPLY, "http"), piece(REPLY, "docker", LIKELY, specificity=90)], ("http", CONFIRMED)),
    ("surer", [piece(REPLY, "http", LIKELY), piece(REPLY, "docker")], ("docker", CONFIRMED)),
    ("both likely", [piece(REPLY, "http", LIKELY), piece(REPLY, "docker", LIKELY)], ("docker", LIKELY)),
    (
        "a guess",
        [piece(REPLY, "http", GUESS, specificity=9), piece(REPLY, "docker", GUESS), piece(PORT, "http", GUESS)],
        ("http", GUESS),
    ),
    ("its port only", [piece(REPLY, "http", LIKELY), piece(PORT, "docker", GUESS)], ("http", LIKELY)),
    ("grandchild", [piece(REPLY, "http"), piece(REPLY, "docker"), piece(REPLY, "swarm")], ("swarm", CONFIRMED)),
    ("announced", [piece(PAYLOAD, "http"), piece(ANNOUNCED, "docker", LIKELY)], ("docker", LIKELY)),
    ("cached parent", [piece(ENDPOINT, "http"), piece(PAYLOAD, "docker", LIKELY)], ("docker", LIKELY)),
    ("parent answers us", [piece(REPLY, "http"), piece(PAYLOAD, "docker", LIKELY)], ("docker", LIKELY)),
    (
        "parent shown and answers us",
        [piece(REPLY, "http"), piece(PAYLOAD, "http"), piece(PAYLOAD, "docker", LIKELY)],
        ("http", CONFIRMED),
    ),
    (
        "both shown, parent answers us",
        [piece(REPLY, "http"), piece(PAYLOAD, "http", LIKELY), piece(PAYLOAD, "docker", LIKELY)],
        ("docker", LIKELY),
    ),
    ("a loose child", [piece(REPLY, "http"), piece(PAYLOAD, "docker", GUESS)], ("http", CONFIRMED)),
    ("behaves like a child", [piece(REPLY, "http"), piece(BEHAVIOUR, "docker", LIKELY)], ("http", CONFIRMED)),
    ("grandchild shown", [piece(REPLY, "http"), piece(PAYLOAD, "swarm", LIKELY)], ("swarm", LIKELY)),
    (
        "child answers us, another shown",
        [piece(REPLY, "etcd"), piece(REPLY, "http"), piece(PAYLOAD, "docker", LIKELY)],
        ("etcd", CONFIRMED),
    ),
    ("cached child", [piece(ENDPOINT, "docker"), piece(PAYLOAD, "http")], ("docker", CONFIRMED)),
    (
        "a client's word",
        [piece(PAYLOAD, "docker", LIKELY, side=Side.INITIATOR), piece(PAYLOAD, "http", side=Side.RESPONDER)],
        ("http", CONFIRMED),
    ),
    (
        "in TLS",
        [TLS, piece(REPLY, "http", over=Layer.TLS), piece(REPLY, "docker", over=Layer.TLS)],
        ("docker", CONFIRMED),
    ),
]


@pytest.mark.parametrize(("evidence", "expected"), [case[1:] for case in FAMILIES], ids=[case[0] for case in FAMILIES])
def test_a_service_in_the_format_of_another(evidence, expected):
    verdict = fuse(evidence, class_of, None, PARENTS)
    assert (verdict.service, verdict.confidence) == expected
    assert verdict.conflicts == ()


def test_two_children_are_a_conflict():
    verdict = fuse([piece(REPLY, "http"), piece(REPLY, "docker"), piece(REPLY, "etcd")], class_of, None, PARENTS)
    assert verdict.confidence is LIKELY
    assert {verdict.service, *verdict.conflicts} == {"docker", "etcd"}


def test_a_parent_takes_the_product_of_its_likely_child():
    child = piece(REPLY, "docker", LIKELY, product="Docker", version="24.0")
    verdict = fuse([piece(REPLY, "http"), child], class_of, None, PARENTS)
    assert (verdict.service, verdict.product, verdict.version) == ("http", "Docker", "24.0")
    verdict = fuse([piece(REPLY, "http", product="nginx"), child], class_of, None, PARENTS)
    assert (verdict.product, verdict.version) == ("nginx", None)


def test_kin_do_not_contradict():
    cached = Verdict(service="docker", confidence=CONFIRMED)
    assert contradicts(cached, piece(PAYLOAD, "http"))
    assert not contradicts(cached, piece(PAYLOAD, "http"), PARENTS)
    assert contradicts(cached, piece(PAYLOAD, "etcd"), PARENTS)
    assert is_inside("swarm", "http", PARENTS)
    assert not is_inside("http", "swarm", PARENTS)
    assert not is_inside("a", "c", {"a": "b", "b": "a"})


CONTRADICTIONS = [
    ("same service", ("http", None), piece(PAYLOAD, "http"), False),
    ("another service", ("http", None), piece(PAYLOAD, "ssh"), True),
    ("another service, weakly", ("http", None), piece(PAYLOAD, "ssh", GUESS), False),
    ("no service", ("http", None), piece(PAYLOAD, None), False),
    ("the carrier", ("http", Layer.TLS), piece(PAYLOAD, "tls"), False),
    ("what is inside", ("tls", None), piece(REPLY, "http", over=Layer.TLS), False),
    ("plain where TLS was", ("tls", None), piece(PAYLOAD, "http"), True),
    ("TLS where plain was", ("http", None), piece(PAYLOAD, "tls"), True),
    ("STARTTLS", ("imap", None), piece(PAYLOAD, "tls"), False),
    ("a confused client", ("http", None), piece(PAYLOAD, "ssh", LIKELY, side=Side.INITIATOR), False),
    ("a clear client", ("http", None), piece(PAYLOAD, "ssh", side=Side.INITIATOR), True),
    ("announced", ("http", None), piece(ANNOUNCED, "ftp"), True),
    ("a weaker reply", ("http", None), piece(REPLY, "ssh", LIKELY), False),
    ("a reply", ("http", None), piece(REPLY, "ssh"), True),
    ("another cached verdict", ("http", None), piece(ENDPOINT, "ssh"), False),
    ("a port", ("http", None), piece(PORT, "ssh"), False),
    ("nothing to contradict", (None, None), piece(PAYLOAD, "ssh"), False),
]


@pytest.mark.parametrize(
    ("cached", "fresh", "expected"), [case[1:] for case in CONTRADICTIONS], ids=[case[0] for case in CONTRADICTIONS]
)
def test_contradiction(cached, fresh, expected):
    service, over = cached
    assert contradicts(Verdict(service=service, over=over, confidence=CONFIRMED), fresh) is expected


PIECES = st.builds(
    Evidence,
    kind=st.sampled_from(EvidenceKind),
    service=st.sampled_from(["http", "ssh", "tls", "quic", "smtp", None]),
    confidence=st.sampled_from(Confidence),
    side=st.sampled_from([None, *Side]),
    over=st.sampled_from([None, *Layer]),
    product=st.sampled_from([None, "a", "b"]),
    version=st.sampled_from([None, "1"]),
    specificity=st.integers(-5, 1000),
)
FIRST_HAND = {REPLY, PAYLOAD, ANNOUNCED, ENDPOINT}


@given(st.lists(PIECES, max_size=40))
def test_invariants(evidence):
    verdict = fuse(evidence, class_of)
    mine = [item for item in evidence if item.service == verdict.service and item.confidence is not UNKNOWN]
    assert len(verdict.evidence) <= limits.EVIDENCE_ITEMS
    assert set(verdict.evidence) <= set(evidence)
    assert (verdict.service is None) == (verdict.confidence is UNKNOWN)
    assert verdict.service not in verdict.conflicts
    if verdict.confidence is CONFIRMED:
        assert any(item.kind in FIRST_HAND and item.confidence is CONFIRMED for item in mine)
    if verdict.service is not None:
        assert mine
        strongest = max(item.confidence.rank for item in evidence if item.service is not None)
        assert verdict.confidence.rank <= max(strongest, LIKELY.rank)


@given(st.lists(PIECES, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_change_service_and_confidence_of_one_service(evidence, random):
    evidence = [item for item in evidence if item.service in ("http", None)]
    shuffled = list(evidence)
    random.shuffle(shuffled)
    first, second = fuse(evidence, class_of), fuse(shuffled, class_of)
    assert (first.service, first.confidence) == (second.service, second.confidence)


def test_the_same_said_of_other_bytes_counts_once() -> None:
    first = piece(PAYLOAD, "wireguard", LIKELY, side=Side.INITIATOR, signature="wireguard/counter")
    verdict = fuse([first._replace(data=b"1"), first._replace(data=b"2"), first], class_of)
    assert [one.signature for one in verdict.evidence] == ["wireguard/counter"]
    assert verdict.confidence is LIKELY
    assert len(fuse([first, first._replace(side=Side.RESPONDER)], class_of).evidence) == 2
