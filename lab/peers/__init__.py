"""Small programs of the laboratory, each run as a process of its own beside the real ones."""
