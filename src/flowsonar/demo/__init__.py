"""The self-contained demonstration: real services and a Skype stand-in, labelled live in a network of their own."""
