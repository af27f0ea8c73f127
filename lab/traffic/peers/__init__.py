"""The laboratory's own clients and servers for flows: users of real libraries, and stand-ins that say so."""
