"""What each word of the language is, once: a frozen record a word, a table a kind of word. Imports nothing of the rest.

Who needs a fact about a word reads it here; who computes with it has a table of the same keys (tests/test_words.py holds them equal). The checker of
certificates has its own, on purpose.
"""
