"""What an editor asks of the language: `vrun lsp`. No torch; what computes is a process of its own."""
