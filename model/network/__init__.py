"""The network, and its variants for fast training and export."""
