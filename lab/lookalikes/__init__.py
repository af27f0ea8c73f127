"""Servers that are no peers, no calls and no Skype, asked with everything that looks for these."""
