"""The grammar of .rspec, as package data."""
