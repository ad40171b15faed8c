"""Secret arguments: how they are recognised, masked where they would be shown, and sealed where they are kept."""
