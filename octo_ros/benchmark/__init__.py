"""How fast a bundle runs here, and in how much memory."""
