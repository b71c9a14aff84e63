"""Making audit records hold: HMACs that follow from each other, and a second copy elsewhere."""
