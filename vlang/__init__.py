"""rspec-verify: a declarative language for certified robustness of recurrent networks."""

__version__ = "0.1.0"
