"""Low field drawn anew while a network learns: parameters are drawn, kept, and applied on the device."""
