"""Training: the released recipe for everybody's videos, and the small models that this package ships."""
