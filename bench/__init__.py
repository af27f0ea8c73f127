"""Speed and memory beside peers, in one run, as ratios. Never part of pass or fail: machines are noisy."""
