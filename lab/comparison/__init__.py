"""Puts what flowsonar, nmap and nDPI say of the catalogue's programs beside the truth."""
