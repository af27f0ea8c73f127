"""A slow line that a call, downloads and BitTorrent share: what flowsonar's marks and queues do for the call."""
