"""The stages of a build that touch the outside: what goes in, what is proven of it, what is told about it."""
