"""Early exits: where they sit, and the source of their heads from templates."""
