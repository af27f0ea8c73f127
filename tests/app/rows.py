"""What formats write of records, for comparing."""

from flowsonar.model import FlowRecord
from flowsonar.outputs.flat import flat


def row(record: FlowRecord) -> str:
    """All that any format writes of a record: what JSON lines do not tell of evidence is left out."""
    flattened = flat(record)
    told = tuple(
        piece._replace(product=None, version=None, cpe=None, data=b"", specificity=0) for piece in flattened.evidence
    )
    return str(flattened._replace(evidence=told)).encode("utf-8", "backslashreplace").decode()
