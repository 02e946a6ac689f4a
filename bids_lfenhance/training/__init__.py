"""Training of learned methods: examples, patches, the loop, and what it leaves behind."""
