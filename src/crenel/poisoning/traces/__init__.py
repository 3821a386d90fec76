"""What poison leaves in the data itself: copies, crowds, bursts and columns that tell the label."""
