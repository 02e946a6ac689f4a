"""High field to low field: digital heads, scanners and the demo dataset made with them."""
