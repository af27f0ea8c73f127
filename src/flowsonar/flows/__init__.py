"""Packets in, flow events out."""

from flowsonar.flows.events import Closed, CloseReason, Established, FlowEvent, Opened, Payload
from flowsonar.flows.table import FlowTable, make_table

__all__ = ["CloseReason", "Closed", "Established", "FlowEvent", "FlowTable", "Opened", "Payload", "make_table"]
