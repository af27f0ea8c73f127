"""Probes that need arithmetic, each without sockets."""
