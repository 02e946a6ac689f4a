"""Low field simulated while a network learns: parameters are drawn, recorded, and applied on the device."""
