"""How fast this project is, side by side with what one would otherwise run."""
