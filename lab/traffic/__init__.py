"""Calls, media, games and tunnels as flows: real programs on both sides of a path that flowsonar watches."""
