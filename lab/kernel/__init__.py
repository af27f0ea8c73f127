"""Debian's own kernel, booted in an emulator, for what the kernel of this machine lacks: CAKE, ctinfo, fq_codel."""
