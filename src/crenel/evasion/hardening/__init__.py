"""What lowers the curves of risk 1: training, smoothing, restoration and detection."""
