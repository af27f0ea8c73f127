"""What is known of flows and endpoints: evidence to verdicts, the store that keeps them, and why."""
