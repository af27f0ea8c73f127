"""Packets in, flow events out."""
