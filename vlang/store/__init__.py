"""What runs leave behind: every finished row, by a key of its question and of all that its answer depends on."""
