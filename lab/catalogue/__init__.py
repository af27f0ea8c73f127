"""Every program that `make lab-services` asks: one module a family, each with its `PROGRAMS`."""
