"""The traffic that hides: BitTorrent clients with forced encryption, picked up mid-transfer, seen from one side."""
