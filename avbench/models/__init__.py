"""Networks only, written against the papers' equations."""
