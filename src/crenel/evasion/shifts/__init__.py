"""How far changes move a predicted value, and EVA-107."""
