"""Bounds of live networks that gradients flow through: what training for what is certified is made of."""
