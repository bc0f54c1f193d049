"""The network, and the forms of it that train fast."""
